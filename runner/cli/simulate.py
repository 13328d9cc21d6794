"""Owns `simulate`: a local OpenAI-compatible server for rehearsals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import anyio
import typer

from runner.cli.output import print_result
from runner.errors import UsageError

_NONE = "0"


def simulate(  # noqa: PLR0913 - a command has one parameter for each option
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="Port; 0 takes a free one.")] = 8000,
    model: Annotated[list[str] | None, typer.Option(help="Know this model only (repeatable); default any.")] = None,
    api_key: Annotated[list[str] | None, typer.Option(help="Accept this key only (repeatable); default any.")] = None,
    first_token: Annotated[str, typer.Option(help="Seconds: 0.2, 0.1..0.5 or lognormal:0.8,0.5.")] = _NONE,
    per_token: Annotated[str, typer.Option(help="Seconds for each answer token, in the same forms.")] = _NONE,
    slow_above: Annotated[int | None, typer.Option(help="Slow down beyond this many requests in flight.")] = None,
    requests_per_minute: Annotated[float | None, typer.Option("--requests-per-minute", "--rpm", help="Limit.")] = None,
    tokens_per_minute: Annotated[float | None, typer.Option("--tokens-per-minute", "--tpm", help="Limit.")] = None,
    burst: Annotated[float, typer.Option(help="Seconds' worth of the limits that may come at once.")] = 10.0,
    headers: Annotated[bool, typer.Option(help="Send x-ratelimit and Retry-After headers.")] = True,
    quota_after: Annotated[int | None, typer.Option(help="Run out of quota after this many answers.")] = None,
    context_tokens: Annotated[int | None, typer.Option(help="Size of the model's context.")] = None,
    completion_tokens: Annotated[int | None, typer.Option(help="Length of every answer; default varies.")] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Answer with the last user message.")] = False,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="KIND=FRACTION", help="Inject a fault, e.g. 503=0.01 (repeatable).")
    ] = None,
    refuse: Annotated[
        list[str] | None, typer.Option(metavar="PARAMETER", help="Refuse requests that have it (repeatable).")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="PARAMETER", help="Ignore it without a word (repeatable).")
    ] = None,
    dialect: Annotated[str, typer.Option(help="Whose words a refusal has, e.g. vllm or litellm.")] = "openai",
    list_faults: Annotated[bool, typer.Option("--list-faults", help="List the kinds of faults and exit.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of faults, latencies and answers.")] = 0,
    ledger: Annotated[Path | None, typer.Option(help="Append a line for every answer to this file.")] = None,
) -> None:
    """Serve a local OpenAI-compatible chat server with limits, latency and faults, until Ctrl-C.

    Rehearse a run against it before the real thing: same config, `--set model.base_url=http://127.0.0.1:8000/v1`. Its
    answers are made up, but their shapes, headers and errors are those of real servers.

    **Examples**

    evalrunner simulate --requests-per-minute 500 --tokens-per-minute 200000 --first-token lognormal:0.8,0.5

    evalrunner simulate --fault 503=0.02 --fault cut=0.01 --fault hang=0.001
    """
    from runner.simulate import (
        KINDS,
        AnswerStyle,
        FaultRules,
        Latency,
        Limits,
        SimulatorOptions,
        Unsupported,
        distribution_from_text,
        serve,
    )

    if list_faults:
        print_result("\n".join(sorted(KINDS)))
        return
    options = SimulatorOptions(
        host=host,
        port=port,
        models=tuple(model or ()),
        api_keys=tuple(api_key or ()),
        quota_after=quota_after,
        context_tokens=context_tokens,
        seed=seed,
        answers=AnswerStyle(echo=echo, completion_tokens=completion_tokens),
        latency=Latency(distribution_from_text(first_token), distribution_from_text(per_token), slow_above),
        limits=Limits(requests_per_minute, tokens_per_minute, burst_s=burst, send_headers=headers),
        faults=FaultRules(dict(_fraction(text) for text in fault or ())),
        unsupported=Unsupported(tuple(refuse or ()), tuple(ignore or ()), dialect),
        ledger_path=ledger,
    )
    anyio.run(lambda: serve(options, ready=_announce), backend="asyncio")


def _announce(base_url: str) -> None:
    print_result(f"serving {base_url}")


def _fraction(text: str) -> tuple[str, float]:
    kind, _, fraction = text.partition("=")
    try:
        return kind, float(fraction)
    except ValueError:
        raise UsageError(f"--fault {text}: expected KIND=FRACTION", hint="for example 503=0.01") from None
