"""Owns `run` for the configs of a matrix: one after another, with one result and one exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from runner.cli.output import print_error, print_json, print_result, say, table
from runner.errors import RunnerError, gravest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner.config import LoadedConfig
    from runner.pipeline.summary import RunSummary

_INTERRUPTED = (130, 143)
_NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a run would send: as JSON, as text, and what is doubtful about it."""

    facts: dict[str, Any]
    text: str
    warnings: tuple[str, ...]


def carry_out(loaded: LoadedConfig, start: Callable[[LoadedConfig], RunSummary]) -> RunSummary:
    """Run one config: its warnings first, and problems with the places of its keys. Raises RunnerError."""
    for warning in loaded.warnings:
        say(f"warning: {warning}")
    with loaded.naming_places():
        return start(loaded)


def run_in_turn(
    configs: Sequence[LoadedConfig],
    start: Callable[[LoadedConfig], RunSummary],
    describe: Callable[[RunSummary], str],
    *,
    as_json: bool,
) -> None:
    """Run the configs of a matrix. One that cannot begin or fails keeps none of the others from running.

    After an interrupt no other begins. Exits with the gravest of their codes.
    """
    results: list[dict[str, Any]] = []
    for loaded in configs:
        name = loaded.config.name
        if any(result["exit_code"] in _INTERRUPTED for result in results):
            results.append({"name": name, "status": _NOT_STARTED, "exit_code": 0})
            continue
        if not as_json:
            say(f"{name}: {len(results) + 1} of {len(configs)}")
        try:
            summary = carry_out(loaded, start)
        except RunnerError as error:
            results.append(_failed(name, error))
            print_error(error, as_json=False)
        else:
            results.append({"name": name, **summary.to_json()})
            if not as_json:
                print_result(f"{describe(summary)}\n")
    exit_code = gravest(result["exit_code"] for result in results)
    if as_json:
        print_json({"runs": results, "exit_code": exit_code})
    else:
        print_result(table([_HEAD, *(_row(result) for result in results)]))
    raise typer.Exit(exit_code)


def show_rehearsals(
    configs: Sequence[LoadedConfig], rehearse: Callable[[LoadedConfig], Rehearsed], *, as_json: bool
) -> None:
    """Print what each of the configs would send. Raises RunnerError for the first that cannot be looked at."""
    shown = []
    for loaded in configs:
        with loaded.naming_places():
            found = rehearse(loaded)
        # What the run would warn of stands in the facts.
        for warning in dict.fromkeys((*loaded.warnings, *(() if as_json else found.warnings))):
            say(f"warning: {warning}")
        shown.append((loaded.config.name, found))
    if not configs[0].of_matrix:
        ((_, found),) = shown
        print_json(found.facts) if as_json else print_result(found.text)
    elif as_json:
        print_json({"runs": [{"name": name, **found.facts} for name, found in shown]})
    else:
        print_result("\n\n".join(f"{name}\n{found.text}" for name, found in shown))


_HEAD = ("name", "status", "exit", "ok", "failed", "run_dir")


def _failed(name: str, error: RunnerError) -> dict[str, Any]:
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return {"name": name, "status": "error", "exit_code": error.exit_code, "error": told}


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    exit_code = "–" if result["status"] == _NOT_STARTED else str(result["exit_code"])
    figures = (str(result.get(key, "–")) for key in ("ok", "failed", "run_dir"))
    return (result["name"], result["status"], exit_code, *figures)
