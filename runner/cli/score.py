"""Owns the command `score`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner.cli.gatetext import gate_lines
from runner.cli.output import print_json, print_result, table
from runner.cli.scoretext import describe_score
from runner.pipeline.rescore import rescore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.pipeline.rescore import Rescored

# The exit code of a missed score gate.
_MISSED = 4


def score(
    run_dir: Annotated[Path, typer.Argument(help="The run folder.", show_default=False)],
    *,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="scorers=…", help="Other scorers or gates, e.g. 'scorers=[{name: includes}]'."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Also by the values of a column, e.g. in_category.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, errors too.")] = False,
) -> None:
    """Score a run's answers again, without calling the model.

    With the scorers of its config, or those of --set, which it then keeps. The score gates of a complete run are judged
    again; where one is missed, this exits with 4. All scores change at once: a kill at any
    moment leaves the old ones. A python scorer whose code has changed is applied as it is now.
    """
    result = rescore(run_dir, overrides or (), by)
    print_json(asdict(result)) if as_json else print_result(_describe(result))
    raise typer.Exit(_MISSED if result.missed else 0)


def _describe(result: Rescored) -> str:
    rows = [("scored", f"{result.rows:,} rows in {result.parts:,} parts ({result.scoring})")]
    for name, facts in result.scores.items():
        rows.append((name, describe_score(facts)))
        rows += [("", line) for line in _details(facts)]
    return table([*rows, *gate_lines(result.gates)])


def _details(facts: dict[str, Any]) -> Iterator[str]:
    for status, counted in facts["by_status"].items():
        if status != "ok":
            mean = "no score" if counted["mean"] is None else f"mean {counted['mean']:.4g}"
            yield f"{counted['rows']:,} {status}: {mean}"
    if "by" in facts:
        for name, group in facts["by"]["groups"].items():
            yield f"{facts['by']['column']} {name}: {describe_score(group)}"
