"""Owns the command `nightly`: what a schedule calls."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli.output import print_json, print_result, say, table
from runner.nightly import NightOptions, load_suite, run_night
from runner.nightly.wording import difference_text, flip_text, gate_text, score_text, told_gates
from runner.progress import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.nightly import ConfigRecord, NightRecord, Suite

_FLIPS = 3


def nightly(
    configs: Annotated[list[Path], typer.Argument(help="The config files (YAML) of the suite.", show_default=False)],
    *,
    night: Annotated[
        datetime | None,
        typer.Option(
            "--date",
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="Go on with the night of this date, which was cut off.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, errors too.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages on stderr.")] = False,
) -> None:
    """Carry out a night: run every config once, compare with the last good night, judge, tell, keep what is worth it.

    What a schedule calls (`evalrunner schedule` writes one), and what goes on where a night was cut off: the same
    command, in the same night, runs what is missing and nothing else. The night's runs are called `nightly-YYYYMMDD`,
    by the date on which it began in nightly.time_zone. At nightly.deadline what still runs is ended, resumable. Each
    config runs in a process of its own and none of them touches the others.

    Scores are compared by pairs with the last run that ended with 0; gates.scores with gates.baseline: last_good make
    a drop exit 4. Places under `notify` are told. The page, junit.xml and the record of each night are in
    OUTPUT_DIR/_nightly/SUITE. Exits with the gravest exit code of them all.

    **Examples**

    evalrunner nightly configs/gsm8k.yaml configs/mmlu.yaml

    evalrunner nightly configs/gsm8k.yaml --date 2026-11-26

    evalrunner nightly configs/*.yaml --json | jq .verdict
    """
    suite = load_suite(configs)
    wanted: date | None = night.date() if night is not None else None
    options = NightOptions(wanted, (lambda _: None) if quiet or as_json else say)
    record = run_night(suite, options)
    if as_json:
        folder = suite.folder
        paths = {"record": folder.record(record.run_id), "page": folder.page, "junit": folder.junit}
        print_json(record.to_json() | {what: str(path) for what, path in paths.items()})
    else:
        print_result(_describe(suite, record))
    raise typer.Exit(record.exit_code or 0)


def _describe(suite: Suite, record: NightRecord) -> str:
    head = [
        ("suite", f"{record.suite}, night of {record.date} ({record.time_zone})"),
        ("verdict", f"{record.verdict} (exit {record.exit_code})"),
        *([("no run on", ", ".join(record.missed[:31]))] if record.missed else ()),
        *(("cut off", f"{one}; --date goes on with it") for one in record.cut_off),
        *(("trouble", one) for one in record.troubles),
        *(("told", f"{one['label']}: {one['error'] or one['event']}") for one in record.deliveries),
        *([("removed", f"{len(record.removed)} runs beyond nightly.keep")] if record.removed else ()),
        ("page", str(suite.folder.page)),
    ]
    rows = [("config", "exit", "verdict", "rows", "time", "run")]
    details = []
    for one in record.configs:
        count = "–" if one.samples is None else f"{one.samples:,}"
        rows.append((one.name, str(one.exit_code), one.verdict, count, duration(one.duration_s), one.run_dir))
        details += [f"{one.name}: {line}" for line in _details(one)]
    return "\n\n".join(part for part in (table(head), table(rows), "\n".join(details)) if part)


def _details(one: ConfigRecord) -> Iterator[str]:
    if one.message:
        yield one.message + (f" ({one.hint})" if one.hint else "")
    yield from (f"gate {gate_text(gate)}" for gate in told_gates(one.gates))
    compared = one.comparison or {"scores": {}, "flips": []}
    for name, score in one.scores.items():
        found = compared["scores"].get(name)
        against = f"; against {compared['base']}: {difference_text(found)}" if found else ""
        yield f"{name} {score_text(score)}{against}"
    yield from (f"changed: {flip_text(flip)}" for flip in compared["flips"][:_FLIPS])
    yield from one.notes
