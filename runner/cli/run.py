"""Owns the commands that send requests for a run: `run` and `resume`."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from runner.cli.gatetext import gate_lines
from runner.cli.inturn import Rehearsed, carry_out, run_in_turn, show_rehearsals
from runner.cli.junitfile import collected_suites, telling_errors
from runner.cli.output import print_json, print_result, say, table
from runner.cli.scoretext import score_lines
from runner.config import config_from_dict, load_configs
from runner.errors import UsageError
from runner.pipeline.execute import run as run_pipeline
from runner.pipeline.locate import Where
from runner.pipeline.opening import RunOptions, open_existing
from runner.pipeline.passes.again import check_kinds
from runner.pipeline.passes.estimate import estimate
from runner.pipeline.requests.learnt import find_learnt
from runner.pipeline.requests.prepare import server_names
from runner.pipeline.scores.gatecases import run_suite
from runner.pipeline.survey import rehearse
from runner.progress import choose_display, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.config import LoadedConfig, RunConfig
    from runner.pipeline.passes.again import Again
    from runner.pipeline.passes.estimate import Estimate
    from runner.pipeline.summary import RunSummary

_MORE_TOKENS = "answers that are cut off are asked for again, which is not in these figures"

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, errors too.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Print every event to stderr, keys removed.")]


def run(  # noqa: PLR0913 - a command has one parameter for each option that the contract names
    config: Annotated[Path, typer.Argument(help="The config file (YAML).", show_default=False)],
    *,
    run_dir: Annotated[
        Path | None, typer.Option(help="Use exactly this folder; a run in it is continued.", show_default=False)
    ] = None,
    run_id: Annotated[
        str | None, typer.Option(help="Use the folder of this name under the output folder.", show_default=False)
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Begin a new run, whatever is unfinished.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Evaluate this many rows only.", show_default=False)] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a config key, e.g. limits.max_in_flight=8."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="failed|truncated|refused",
            help="Send only the rows of an existing run that have this status, again; may be given several times.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; send nothing.")] = False,
    max_cost: Annotated[
        float | None,
        typer.Option(metavar="USD", help="Stop before all attempts together cost more.", show_default=False),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write how the run ended, and each gate, as JUnit XML.", show_default=False),
    ] = None,
    as_json: _Json = False,
    quiet: _Quiet = False,
    debug: _Debug = False,
) -> None:
    """Run a config: send its dataset to its model and write the answers to Parquet.

    Without --run-dir or --run-id the newest unfinished run of the same dataset, model and request is continued if it is
    at most 24 hours old; otherwise a new one begins. What is done is never sent again: append rows, reorder them or
    mend one prompt, and only the difference goes out. The first Ctrl-C lets answers under way come in, a second stops
    at once. The configs of a matrix run in turn, each in a folder of its own; the gravest exit code is the command's.

    **Examples**

    evalrunner run configs/quickstart.yaml

    evalrunner run my.yaml --dry-run

    evalrunner run my.yaml --limit 20 --set request.params.temperature=0.7 --set limits.requests_per_minute=500

    evalrunner run my.yaml --only failed --only truncated

    evalrunner run my.yaml --junit results.xml
    """
    again = check_kinds(only or ())
    if sum((run_dir is not None, run_id is not None, new)) > 1:
        raise UsageError("--run-dir, --run-id and --new exclude each other")
    if again and new:
        raise UsageError("--only and --new exclude each other", hint="--only sends rows of an existing run again")
    if dry_run and junit is not None:
        raise UsageError("--junit and --dry-run exclude each other", hint="--junit tells how a run ended")
    changes = [*(overrides or ()), *_shorthands(limit, max_cost)]
    where = Where(run_dir, run_id, new, existing=bool(again))
    with collected_suites(junit, config.stem) as suites:
        configs = load_configs(config, overrides=changes)
        if configs[0].of_matrix and run_dir is not None:
            raise UsageError("--run-dir is one run's folder, and a matrix has several runs", hint="use --run-id")

        def start(loaded: LoadedConfig) -> RunSummary:
            options = _options(where, tuple(loaded.warnings), quiet=quiet or as_json, debug=debug)
            with telling_errors(suites, loaded.config.name):
                summary = _run(loaded.config, replace(options, only=again))
            suites.append(run_suite(loaded.config.name, summary))
            return summary

        def rehearsed(loaded: LoadedConfig) -> Rehearsed:
            return _rehearsed(loaded.config, where, again)

        if dry_run:
            show_rehearsals(configs, rehearsed, as_json=as_json)
        elif configs[0].of_matrix:
            run_in_turn(configs, start, describe, as_json=as_json)
        else:
            _finish(carry_out(configs[0], start), as_json=as_json)


def _shorthands(limit: int | None, max_cost: float | None) -> Iterator[str]:
    """Yield the config keys that have options of their own."""
    if limit is not None:
        yield f"dataset.limit={limit}"
    if max_cost is not None:
        yield f"budget.max_cost_usd={max_cost!r}"


def resume(
    run_dir: Annotated[Path, typer.Argument(help="The run folder.", show_default=False)],
    *,
    as_json: _Json = False,
    quiet: _Quiet = False,
    debug: _Debug = False,
) -> None:
    """Continue a run with the config that its folder holds.

    Sends what is missing, and failures of a passing kind (rate, server, time-out, connection, interrupted) again; sends
    nothing when nothing is missing. The dataset is read again from where the config says.
    """
    _, manifest = open_existing(run_dir)
    config = config_from_dict(manifest.config, run_dir)
    options = _options(Where(run_dir=run_dir), (), quiet=quiet or as_json, debug=debug, reuse_input=True)
    _finish(_run(config, options), as_json=as_json)


def _options(
    where: Where, warnings: tuple[str, ...], *, quiet: bool, debug: bool, reuse_input: bool = False
) -> RunOptions:
    display = choose_display(quiet=quiet or debug)
    return RunOptions(
        where=where,
        display=display,
        say=say if debug else display.note,
        debug=say if debug else None,
        catch_signals=True,
        reuse_input=reuse_input,
        warnings=warnings,
    )


def _run(config: RunConfig, options: RunOptions) -> RunSummary:
    return run_pipeline(config, options, use_uvloop=find_spec("uvloop") is not None)


def _finish(summary: RunSummary, *, as_json: bool) -> None:
    if as_json:
        print_json(summary.to_json())
    else:
        print_result(describe(summary))
    raise typer.Exit(summary.exit_code)


def describe(summary: RunSummary) -> str:
    """Return a summary as people read it, with the lines that load the result or resume the run."""
    statuses = ", ".join(f"{count:,} {status}" for status, count in summary.by_status.items()) or "none"
    latency = "  ".join(f"{name} {value:.3g} s" for name, value in summary.latency_s.items() if value is not None)
    rows = [
        ("run", summary.run_id),
        ("status", f"{summary.status} (exit {summary.exit_code})"),
        ("rows", f"{statuses} – {summary.samples:,} samples, {summary.requests:,} requests"),
        ("http", f"{summary.http_requests:,} requests, {summary.retries:,} retries, {summary.rate_limited:,} × 429"),
        ("tokens", f"{summary.prompt_tokens:,} prompt + {summary.completion_tokens:,} completion"),
        ("cost", "unknown (no price)" if summary.cost_usd is None else f"${summary.cost_usd:,.6f}"),
        ("time", f"{duration(summary.wall_s)}, {summary.requests_per_s or 0:,.1f} answers/s"),
        ("latency", latency or "–"),
        *score_lines(summary.scores),
        *gate_lines(summary.gates),
        *(("warning", warning) for warning in summary.warnings),
    ]
    return f"{table(rows)}\n\n{_next_step(summary)}"


def _next_step(summary: RunSummary) -> str:
    if summary.status != "complete":
        return f"Resume with:\n  evalrunner resume {summary.run_dir}"
    again = (
        f"\n\nSend failures of a passing kind again:\n  evalrunner resume {summary.run_dir}" if summary.failed else ""
    )
    lines = (
        "import runner",
        f'df = runner.load("{summary.run_dir}")',
        'print(df[["sample_id", "status", "text", "target", "token_logprobs"]])',
    )
    return "Load it:\n  " + "\n  ".join(lines) + again


def _rehearsed(config: RunConfig, where: Where, only: tuple[str, ...]) -> Rehearsed:
    """Return what a run would send: as a JSON object, and as people read it."""
    found = rehearse(config, where, only)
    earlier, servers = find_learnt(config, found.located), len(server_names(config))
    guess = estimate(found.production, found.prepared.price, config.limits, earlier, servers=servers)
    facts = {
        "run_dir": str(found.located.folder.root),
        "continues": found.located.manifest is not None,
        "samples": found.scan.samples,
        "bad_rows": found.scan.bad_rows,
        "columns": dict(found.scan.columns),
        "max_in_flight": config.limits.max_in_flight,
        "warnings": list(found.prepared.warnings),
        **guess.to_json(),
    }
    if found.again is not None:
        facts["again"] = {"by_status": dict(found.again.by_status), "rows": found.again.shown}
    done = found.scan.samples * found.prepared.plan.repeats - guess.requests
    rows = [
        ("run folder", str(found.located.folder.root) + (" (continued)" if found.located.manifest else " (new)")),
        ("samples", f"{found.scan.samples:,} usable, {found.scan.bad_rows:,} bad"),
        ("requests", f"{guess.requests:,} to send, {max(done, 0):,} {'left alone' if only else 'done already'}"),
        *([("again", _rows_again(found.again))] if found.again is not None else ()),
        ("tokens", _tokens_of(guess)),
        ("cost", _cost_of(guess, priced=found.prepared.price is not None)),
        *([("truncated", _MORE_TOKENS)] if config.request.on_truncated == "retry" else ()),
        ("time", _time_under_limits(guess.seconds_under_limits, config)),
        ("columns", ", ".join(f"{name}: {kind}" for name, kind in found.scan.columns.items())),
    ]
    method = found.prepared.adapter.method if found.prepared.adapter else "POST"
    first = orjson.dumps(guess.first_request, option=orjson.OPT_INDENT_2).decode() if guess.first_request else "none"
    path = guess.first_path or found.prepared.plan.path
    text = f"{table(rows)}\n\nfirst request, {method} {path}:\n{first}\n\nNothing was sent."
    return Rehearsed(facts, text, tuple(found.prepared.warnings))


def _rows_again(again: Again) -> str:
    """Return how many rows are sent again, and the first of them."""
    counts = ", ".join(f"{count:,} {status}" for status, count in sorted(again.by_status.items()))
    first = ", ".join(dict.fromkeys(" ".join(str(row["sample_id"]).split()) for row in again.shown))
    more = ", …" if again.by_status.total() > len(again.shown) else ""
    return f"{counts}: {first}{more}" if counts else "none"


def _tokens_of(guess: Estimate) -> str:
    answers = []
    if guess.expected_completion_tokens is not None:
        answers.append(f"about {guess.expected_completion_tokens:,}")
    if guess.completion_tokens is not None:
        answers.append(f"at most {guess.completion_tokens:,}")
    source = f"by the usage of {guess.learnt_from}" if guess.learnt_from else "guessed from the texts"
    return f"about {guess.prompt_tokens:,} prompt + {', '.join(answers) or 'unknown'} completion, {source}"


def _cost_of(guess: Estimate, *, priced: bool) -> str:
    if not priced:
        return "unknown (no price)"
    costs = []
    if guess.expected_cost_usd is not None:
        costs.append(f"about ${guess.expected_cost_usd:,.4f}")
    if guess.cost_usd is not None:
        costs.append(f"up to ${guess.cost_usd:,.4f}")
    return ", ".join(costs) or "unknown (answers may be of any length)"


def _time_under_limits(seconds: float | None, config: RunConfig) -> str:
    if seconds is None:
        most = config.limits.max_in_flight
        return "no rate limit is set; what the server permits is found out" if most == "auto" else f"{most} in flight"
    return f"at least {duration(seconds)} under the limits"
