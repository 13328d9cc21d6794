"""Owns the command line that all benchmarks share, and the folder they work in."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "benchmarks"


class Size(Enum):
    """How much is measured."""

    SMALL = "small"
    DEFAULT = "default"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. `cache` is on the disk that is measured; all files go below it.

    `only` is a part of the names of cases; without it, all that belong to the size are measured.
    """

    size: Size
    as_json: bool
    cache: Path
    only: str | None = None

    def wants(self, name: str, *, usual: bool) -> bool:
        """Say whether a case is measured: if it was asked for, or belongs to the size; only `--full` has all."""
        return self.only in name if self.only else usual or self.size is Size.FULL

    def scratch(self) -> tempfile.TemporaryDirectory[str]:
        """Return a new folder that is removed at the end."""
        self.cache.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="run-", dir=self.cache)


def read_options(description: str, *, cases: bool = False) -> Options:
    """Read the process's arguments; exits with code 2 for wrong ones. With `cases`, single ones can be asked for."""
    parser = argparse.ArgumentParser(description=description)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", dest="size", action="store_const", const=Size.SMALL, help="few rows: does it work?")
    size.add_argument("--full", dest="size", action="store_const", const=Size.FULL, help="up to a million rows")
    parser.add_argument("--json", dest="as_json", action="store_true", help="print one JSON list of results")
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="folder to work in and to keep built runs in (default: %(default)s)"
    )
    if cases:
        parser.add_argument("--only", help="measure the cases, of all sizes, whose name contains this")
    parsed = parser.parse_args()
    only = parsed.only if cases else None
    return Options(parsed.size or Size.DEFAULT, parsed.as_json, parsed.cache.resolve(), only)
