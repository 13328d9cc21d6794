"""Owns `check`: the connection test as a table for people and JSON for machines."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from runner.cli.output import print_json, print_result, table
from runner.config import load_config
from runner.config.adapter_names import NATIVE
from runner.pipeline.adapterprobe import probe_adapter
from runner.pipeline.connect import connect
from runner.pipeline.prepare import prepare, read_api_key, refuse_unavailable, server_name
from runner.pipeline.probe import PASSED, Target, probe

if TYPE_CHECKING:
    from runner.config import RunConfig
    from runner.pipeline.probe import Probe


def check(
    config: Annotated[Path, typer.Argument(help="The config file (YAML).", show_default=False)],
    *,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a config key.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, errors too.")] = False,
) -> None:
    """Test the connection: reach, key, model, a chat request, log probabilities, n, usage, rate limits, streaming.

    Sends at most 5 small requests, which may cost a few tokens, and says what it did not test. With an adapter it sends
    the dataset's first row, and says what each expression of the adapter finds in the answer. Exits with 0 when a chat
    request is answered, 5 when the server refuses, 6 when it cannot be reached.
    """
    loaded = load_config(config, overrides=overrides or ())
    with loaded.naming_places():
        found = anyio.run(_check, loaded.config, backend="asyncio")
    if as_json:
        facts = {"server": server_name(loaded.config), "model": loaded.config.model.name}
        print_json({**facts, "requests": found.requests, "checks": [asdict(one) for one in found.checks]})
    else:
        print_result(_describe(found, loaded.config))
    raise typer.Exit(found.exit_code)


async def _check(config: RunConfig) -> Probe:
    refuse_unavailable(config)
    if config.model.adapter != NATIVE:
        prepared = prepare(config)
        adapter = prepared.adapter
        if adapter is not None:
            async with connect(config, prepared.api_key, log_path=None, adapter=adapter) as transport:
                return await probe_adapter(transport, prepared, adapter)
    async with connect(config, read_api_key(config), log_path=None) as transport:
        name = "max_completion_tokens" if "max_completion_tokens" in config.request.params else "max_tokens"
        # The test asks a chat; a path given for another shape is not one for chat.
        own_path = config.model.path if config.request.endpoint in ("chat", "logprobs") else None
        target = Target(config.model.name or "", own_path or "/chat/completions", name)
        return await probe(transport, target)


def _describe(found: Probe, config: RunConfig) -> str:
    rows = [(one.outcome, one.name, one.detail) for one in found.checks]
    hints = [f"hint: {one.hint}" for one in found.checks if one.hint and one.outcome != PASSED]
    head = f"{server_name(config)}  model {config.model.name}  ({found.requests} requests)"
    return "\n".join([head, table(rows), *hints])
