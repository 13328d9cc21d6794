"""Owns the command `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner.cli.gatetext import gate_lines
from runner.cli.junitfile import collected_suites
from runner.cli.output import print_json, print_result, table
from runner.comparison import compare as compare_runs
from runner.pipeline.scores.gatecases import comparison_suite
from runner.pipeline.scores.gates import exit_code_of
from runner.pipeline.scores.judging import judge_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.comparison import Comparison

_TEXT = 200


def compare(
    base: Annotated[Path, typer.Argument(help="The run folder to compare with.", show_default=False)],
    run: Annotated[Path, typer.Argument(help="The run folder that is compared.", show_default=False)],
    *,
    flips: Annotated[int, typer.Option(min=0, help="Show this many pairs whose score differs.")] = 10,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write each gate and score as JUnit XML.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, errors too.")] = False,
) -> None:
    """Compare two runs, paired by sample, with a verdict. Differences are RUN minus BASE.

    A pair is the same sample, repeat and choice with the same content in both. A score is better or worse where the
    95 % interval of its difference leaves out 0. No request is sent, the runs stay as they are. The score gates that
    RUN's config has are judged against BASE: where one is missed, this exits with 4, else with 0 whatever the verdict.

    **Examples**

    evalrunner compare outputs/gsm8k/20261127T020000Z-1a2b outputs/gsm8k/20261128T020000Z-3c4d

    evalrunner compare BASE RUN --flips 50

    evalrunner compare BASE RUN --junit results.xml
    """
    with collected_suites(junit, f"compare {run.name}") as suites:
        found = compare_runs(base, run, most_flips=flips)
        gates = judge_pair(run, found)
        suites.append(comparison_suite(found, gates))
    if as_json:
        print_json({**found.to_json(), "gates": gates})
    else:
        print_result("\n\n".join(_paragraphs(found, gates)))
    raise typer.Exit(exit_code_of(gates))


def _paragraphs(found: Comparison, gates: list[dict[str, Any]]) -> Iterator[str]:
    yield f"{found.verdict}: {found.run.run_dir}\ncompared with {found.base.run_dir}"
    what, one = ("samples, by their means", "samples") if found.by_sample_means else ("pairs", "rows")
    counts = f"{found.pairs:,} {what}; {found.only_base:,} {one} only in base, {found.only_run:,} only in run"
    notes = [f"note: {note}" for note in found.notes]
    refused = [f"not compared: {name}: {why}" for name, why in found.not_compared.items()]
    yield "\n".join([f"{counts}, {found.changed:,} changed", *notes, *refused])
    if found.scores:
        yield "\n".join([table(list(_scores(found))), *_left_out(found)])
    if gates:
        yield table(gate_lines(gates))
    yield table(list(_differences(found)))
    for flip in found.flips:
        place = "" if flip.repeat is None else f" repeat {flip.repeat} choice {flip.choice}"
        yield (
            f"{flip.score} {_line(flip.sample_id)}{place}: {flip.base_value:.4g} → {flip.run_value:.4g}"
            f"\n  target  {_line(flip.target)}"
            f"\n  base    {flip.base_status}: {_line(flip.base_text)}"
            f"\n  run     {flip.run_status}: {_line(flip.run_text)}"
        )


def _scores(found: Comparison) -> Iterator[tuple[str, ...]]:
    yield "score", "verdict", "base", "run", "difference", "95 % interval", "p", "detectable", "pairs", "gained", "lost"
    for name, one in found.scores.items():
        figures = (one.base_mean, one.run_mean, one.difference)
        counts = (f"{count:,}" for count in (one.pairs, one.gained, one.lost))
        more = (_interval(one.interval), _number(one.p_value), _number(one.minimum_detectable_effect))
        yield name, one.verdict, *map(_number, figures), *more, *counts


def _left_out(found: Comparison) -> Iterator[str]:
    """Say of each score what is in no pair of it, and what it comes to with that."""
    for name, one in found.scores.items():
        alone = [f"{count:,} without an answer in {where}" for where, count in one.unpaired.items() if count]
        rest = one.all - one.pairs - sum(one.unpaired.values())
        alone += [f"{rest:,} without a score"] if rest else []
        means = (one.base_mean_all, one.run_mean_all, one.difference_all)
        if alone:
            of_all = (
                "" if one.difference_all is None else ": base {}, run {}, difference {}".format(*map(_number, means))
            )
            yield f"{name}: left out {', '.join(alone)}; of all {one.all:,}{of_all}"


def _differences(found: Comparison) -> Iterator[tuple[str, ...]]:
    yield "", "base", "run", "difference", "95 % interval", ""
    for name, one in found.differences.items():
        if one.base is not None or one.run is not None:
            figures = map(_number, (one.base, one.run, one.difference))
            yield name.replace("_", " "), *figures, _interval(one.interval), one.unit


def _interval(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else f"[{interval[0]:.4g}, {interval[1]:.4g}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _line(text: str | None) -> str:
    """Return a text on one line, cut."""
    line = "–" if text is None else " ".join(text.split())
    return line if len(line) <= _TEXT else f"{line[:_TEXT]}…"
