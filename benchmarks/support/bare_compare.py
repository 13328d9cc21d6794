"""Owns the peer of comparing: puts one run's scores into a dict by sample id, and counts what the other's did."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> None:
    """Compare `score_exact_match` of the runs that the two arguments name. Prints pairs, both sums, gained and lost."""
    base = dict(_scores(Path(sys.argv[1])))
    pairs = gained = lost = 0
    before = after = 0.0
    for sample, score in _scores(Path(sys.argv[2])):
        earlier = base.get(sample)
        if earlier is None or score is None:
            continue
        pairs += 1
        before += earlier
        after += score
        gained += score > earlier
        lost += score < earlier
    print(pairs, before, after, gained, lost)


def _scores(run: Path) -> Iterator[tuple[str, float | None]]:
    """Yield each sample's id and score; scores lie in the order of the rows."""
    (scores,) = (run / "scores").iterdir()
    for part in sorted((run / "responses").glob("part-*.parquet")):
        ids = pq.read_table(part, columns=["sample_id"], partitioning=None)["sample_id"].to_pylist()
        values = pq.read_table(scores / part.name, columns=["score_exact_match"], partitioning=None)
        yield from zip(ids, values["score_exact_match"].to_pylist(), strict=True)


if __name__ == "__main__":
    main()
