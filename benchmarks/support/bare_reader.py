"""Owns the peer of resuming: reads every row of a JSON Lines file, parses it and hashes its line. Keeps the digests."""

from __future__ import annotations

import sys
from hashlib import blake2b
from pathlib import Path

import orjson


def main() -> None:
    """Read the file that the first argument names."""
    digests = bytearray()
    columns = 0
    with Path(sys.argv[1]).open("rb") as file:
        for line in file:
            columns += len(orjson.loads(line))
            digests += blake2b(line, digest_size=16).digest()
    print(len(digests) // 16, columns)


if __name__ == "__main__":
    main()
