"""Owns the peer of loading: reads the same columns of the same files with pyarrow alone, and turns them into pandas."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

import runner


def main() -> None:
    """Print seconds of ours and of the peer, by turns: the first argument says who, the second the run, then columns.

    As `both` they are timed in one process, for so many pairs as the third argument says; as `ours` or `peer` one of
    them loads once, for its peak of memory.
    """
    who, run_dir, pairs, *columns = sys.argv[1:]
    run = Path(run_dir)
    loads = {"ours": lambda: runner.load(run, columns or None), "peer": lambda: _bare(run, columns or None)}
    if who != "both":
        print(len(loads[who]()))
        return
    for load in loads.values():  # imports, and the disk's cache
        load()
    for _ in range(int(pairs)):
        took = []
        for load in loads.values():
            begun = time.perf_counter()
            load()
            took.append(time.perf_counter() - begun)
        print(*took)


def _bare(run: Path, columns: list[str] | None) -> pd.DataFrame:
    """Read responses and, where it has them, scores, and put their columns side by side."""
    responses = pq.read_table(run / "responses", columns=_own(run / "responses", columns))
    for scores in (run / "scores").glob("*"):
        wanted = [name for name in _own(scores, columns) if name not in ("key", "choice")]
        table = pq.read_table(scores, columns=wanted)
        for name in wanted:
            responses = responses.append_column(name, table[name])
    frame: pd.DataFrame = responses.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _own(folder: Path, columns: list[str] | None) -> list[str]:
    names = pq.read_schema(min(folder.glob("part-*.parquet"))).names
    return [name for name in names if columns is None or name in columns]


if __name__ == "__main__":
    main()
