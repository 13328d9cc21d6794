"""Owns `check`: the connection test as a table for people and JSON for machines."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from runner.cli.output import print_json, print_result, table
from runner.config import LoadedConfig, load_configs
from runner.config.adapter_names import NATIVE
from runner.errors import gravest
from runner.notify import readiness, targets_of
from runner.pipeline.probe import PASSED, Target, probe
from runner.pipeline.probe.adapter import probe_adapter
from runner.pipeline.probe.checked import remember_check
from runner.pipeline.requests.prepare import prepare, read_api_key, refuse_unavailable, server_names
from runner.pipeline.sending.connect import connect

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
    """Test the connection: reach, key, model, and what the server can do: log probabilities, n, streaming and more.

    Sends at most 15 small requests, which may cost a few tokens, and says what it did not test and why. Runs on the
    same server and model that begin within a day know the result. Exits with 0 when a request of the run's own kind is
    answered, 5 when the server refuses it, 6 when it cannot be reached. With an adapter it sends the dataset's first
    row instead, and says what each expression of the adapter finds in the answer. Of a pool the first server is asked,
    of a matrix each model.
    """
    configs = _each_model_once(load_configs(config, overrides=overrides or ()))
    results = [(loaded.config, _checked(loaded)) for loaded in configs]
    if not as_json:
        print_result("\n\n".join(_describe(found, config) for config, found in results))
    elif configs[0].of_matrix:
        print_json({"configs": [{"name": config.name} | _facts(found, config) for config, found in results]})
    else:
        print_json(_facts(results[0][1], results[0][0]))
    raise typer.Exit(gravest(found.exit_code for _, found in results))


def _each_model_once(configs: tuple[LoadedConfig, ...]) -> list[LoadedConfig]:
    """Return the first config of each model of a matrix; a server does not answer otherwise for another dataset."""
    models = [loaded.config.model for loaded in configs]
    return [loaded for number, loaded in enumerate(configs) if models.index(loaded.config.model) == number]


def _checked(loaded: LoadedConfig) -> Probe:
    with loaded.naming_places():
        found = anyio.run(_check, loaded.config, backend="asyncio")
    if found.exit_code == 0:
        remember_check(loaded.config, found, datetime.now(UTC))
    return found


def _facts(found: Probe, config: RunConfig) -> dict[str, Any]:
    server, *others = server_names(config)
    facts = {"server": server, "servers_not_asked": others, "model": config.model.name}
    checks = [asdict(one) for one in found.checks]
    notify = [asdict(one) for one in readiness(targets_of(config.notify), os.environ)]
    return {**facts, "requests": found.requests, "checks": checks, "capabilities": found.facts, "notify": notify}


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
        return await probe(transport, Target(config.model.name or "", config.request.endpoint, config.model.path, name))


def _describe(found: Probe, config: RunConfig) -> str:
    rows = [(one.outcome, one.name, one.detail) for one in found.checks]
    hints = [f"hint: {one.hint}" for one in found.checks if one.hint and one.outcome != PASSED]
    server, *others = server_names(config)
    head = f"{server}  model {config.model.name}  ({found.requests} requests)"
    left_out = [f"not asked: {', '.join(others)}, taken to be the same"] if others else []
    places = readiness(targets_of(config.notify), os.environ)
    told = [f"notify: {one.label}: {one.problem or 'ready, nothing was sent'}" for one in places]
    return "\n".join([head, table(rows), *hints, *left_out, *told])
