"""Owns the command `report`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from runner.cli.output import print_json, print_result
from runner.report import write_report
from runner.report.wording import size


def report(
    run_dir: Annotated[Path, typer.Argument(help="The run folder.", show_default=False)],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it here; default RUN_DIR/report.html."),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="BASE", help="Compare with this run; default that of the run's gates, if it is there."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, errors too.")] = False,
) -> None:
    """Write a run as one HTML page that loads nothing: scores, speed, failures, tokens, and its rows to look into.

    At any moment of a run, also one that goes on. Of more than 2,000 rows the page holds a sample, the same each time,
    with all kinds of trouble in it. Whatever a model wrote is text there: nothing of it can run. Compared with another
    run it shows the verdict, differences with their intervals, and the rows whose scores differ, both answers side by
    side. The charts need the extra `report`.
    """
    made = write_report(run_dir, output or run_dir / "report.html", baseline)
    if as_json:
        print_json(asdict(made))
        return
    rows = f"all {made.rows:,} rows" if made.rows == made.rows_shown else f"{made.rows_shown:,} of {made.rows:,} rows"
    against = f"; {made.verdict}, compared with {made.compared_with}" if made.compared_with else ""
    print_result(f"{made.path}  {size(made.bytes)}, {rows}{against}")
