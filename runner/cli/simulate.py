"""Owns `simulate`: a local OpenAI-compatible server for rehearsals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from runner.cli.output import print_result

_LIMITS, _TIME, _TROUBLE, _ANSWERS = "Limits", "Latency and load", "Faults and refusals", "Answers"


def simulate(  # noqa: PLR0913 - a command has one parameter for each option
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="Port; 0 takes a free one.")] = 8000,
    like: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="openai-tier1, azure, anthropic or vllm; other options come on top."),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Know this model only (repeatable); default any.")] = None,
    api_key: Annotated[list[str] | None, typer.Option(help="Accept this key only (repeatable); default any.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of faults, latencies and answers.")] = 0,
    ledger: Annotated[Path | None, typer.Option(help="Append a line for every answer to this file.")] = None,
    requests_per_minute: Annotated[
        float | None, typer.Option("--requests-per-minute", "--rpm", help="Limit.", rich_help_panel=_LIMITS)
    ] = None,
    tokens_per_minute: Annotated[
        float | None,
        typer.Option(
            "--tokens-per-minute",
            "--tpm",
            help="Limit of prompts and longest answers, charged at admission.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    input_tokens_per_minute: Annotated[
        float | None, typer.Option(help="Limit of prompts alone.", rich_help_panel=_LIMITS)
    ] = None,
    output_tokens_per_minute: Annotated[
        float | None, typer.Option(help="Limit of longest answers alone.", rich_help_panel=_LIMITS)
    ] = None,
    burst: Annotated[
        float | None,
        typer.Option(help="Seconds' worth that may come at once; 1 is strict, default 10.", rich_help_panel=_LIMITS),
    ] = None,
    request_window: Annotated[
        float | None, typer.Option(help="Count requests in fixed windows of so many seconds.", rich_help_panel=_LIMITS)
    ] = None,
    token_window: Annotated[
        float | None, typer.Option(help="Count tokens in fixed windows of so many seconds.", rich_help_panel=_LIMITS)
    ] = None,
    headers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How limits are told: openai (default), azure, anthropic, draft, retry-after (that alone) or none.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    change_limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TIME:LIMIT=VALUE",
            help="Change a limit in mid-run, e.g. 30s:requests_per_minute=3000 (repeatable).",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    quota_after: Annotated[
        int | None, typer.Option(help="Run out of quota after this many answers.", rich_help_panel=_LIMITS)
    ] = None,
    quota_error: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="quota (429 insufficient_quota, default) or credit (402).", rich_help_panel=_LIMITS
        ),
    ] = None,
    quota_back: Annotated[
        float | None,
        typer.Option(help="As many answers again, so many seconds after it ran out.", rich_help_panel=_LIMITS),
    ] = None,
    first_token: Annotated[
        str | None,
        typer.Option(help="Seconds: 0.2, 0.1..0.5, lognormal:0.8,0.5 or pareto:0.3,1.5.", rich_help_panel=_TIME),
    ] = None,
    per_token: Annotated[
        str | None, typer.Option(help="Seconds for each answer token, in the same forms.", rich_help_panel=_TIME)
    ] = None,
    slow_above: Annotated[
        int | None,
        typer.Option(help="Beyond so many requests in flight all slow down and less is served.", rich_help_panel=_TIME),
    ] = None,
    refuse_above: Annotated[
        int | None, typer.Option(help="Beyond so many in flight, 503.", rich_help_panel=_TIME)
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=FRACTION", help="Inject a fault, e.g. 503=0.01 (repeatable).", rich_help_panel=_TROUBLE
        ),
    ] = None,
    fault_at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FROM-UNTIL:KIND=FRACTION",
            help="The same for a time only, e.g. 60s-120s:503=0.5 (repeatable).",
            rich_help_panel=_TROUBLE,
        ),
    ] = None,
    list_faults: Annotated[
        bool, typer.Option("--list-faults", help="List the kinds of faults and exit.", rich_help_panel=_TROUBLE)
    ] = False,
    refuse: Annotated[
        list[str] | None,
        typer.Option(metavar="PARAMETER", help="Refuse requests that have it (repeatable).", rich_help_panel=_TROUBLE),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="PARAMETER", help="Ignore it without a word (repeatable).", rich_help_panel=_TROUBLE),
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option(help="Whose words a refusal has, e.g. vllm; default openai.", rich_help_panel=_TROUBLE),
    ] = None,
    context_tokens: Annotated[
        int | None, typer.Option(help="Size of the model's context.", rich_help_panel=_ANSWERS)
    ] = None,
    completion_tokens: Annotated[
        int | None, typer.Option(help="Length of every answer; default varies.", rich_help_panel=_ANSWERS)
    ] = None,
    echo: Annotated[
        bool, typer.Option("--echo", help="Answer with the last user message.", rich_help_panel=_ANSWERS)
    ] = False,
) -> None:
    """Serve a local OpenAI-compatible server with limits, latency and faults, until Ctrl-C.

    Rehearse a run against it before the real thing: same config, `--set model.base_url=http://127.0.0.1:8000/v1`. Its
    answers are made up, but their shapes, headers and errors are those of real servers. Times are counted from the
    first request. `curl http://127.0.0.1:8000/_ledger/rates` says how much of what was permitted was used.

    **Examples**

    evalrunner simulate --like openai-tier1

    evalrunner simulate --like vllm --refuse-above 512 --fault hang=0.001

    evalrunner simulate --rpm 6000 --burst 1 --headers none --change-limit 60s:requests_per_minute=3000

    evalrunner simulate --first-token lognormal:0.8,0.5 --fault 503=0.02 --fault-at 60s-120s:503=0.5
    """
    from runner.simulate import (
        KINDS,
        FaultRules,
        SimulatorOptions,
        change_from_text,
        distribution_from_text,
        fault_span_from_text,
        fraction_from_text,
        likeness,
        serve,
    )

    if list_faults:
        print_result("\n".join(sorted(KINDS)))
        return
    base = SimulatorOptions() if like is None else likeness(like)
    options = _with(
        base,
        host=host,
        port=port,
        models=tuple(model or ()),
        api_keys=tuple(api_key or ()),
        quota_after=quota_after,
        quota_error=quota_error,
        quota_back_s=quota_back,
        context_tokens=context_tokens,
        seed=seed,
        answers=_with(base.answers, echo=echo, completion_tokens=completion_tokens),
        latency=_with(
            base.latency,
            first_token=None if first_token is None else distribution_from_text(first_token),
            per_token=None if per_token is None else distribution_from_text(per_token),
            slow_above=slow_above,
            refuse_above=refuse_above,
        ),
        limits=_with(
            base.limits,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            input_tokens_per_minute=input_tokens_per_minute,
            output_tokens_per_minute=output_tokens_per_minute,
            burst_s=burst,
            request_window_s=request_window,
            token_window_s=token_window,
            notice=headers,
            changes=tuple(change_from_text(text) for text in change_limit or ()),
        ),
        faults=FaultRules(
            {**base.faults.fractions, **dict(fraction_from_text(text) for text in fault or ())},
            spans=tuple(fault_span_from_text(text) for text in fault_at or ()),
        ),
        unsupported=_with(base.unsupported, refuse=tuple(refuse or ()), ignore=tuple(ignore or ()), dialect=dialect),
        ledger_path=ledger,
    )
    anyio.run(lambda: serve(options, ready=_announce), backend="asyncio")


def _announce(base_url: str) -> None:
    print_result(f"serving {base_url}")


def _with(settings: Any, **given: Any) -> Any:
    """Return settings with what was given in place of theirs; null is not given."""
    return replace(settings, **{name: value for name, value in given.items() if value is not None})
