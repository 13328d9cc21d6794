"""Owns the list of commands and what is common to them."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Final

import typer

from runner.cli.output import print_result

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = """\
Stream prompt datasets to model endpoints, as fast as their limits allow, into typed Parquet.

A run is a config file: a dataset, a model, what is asked. It can be killed at any moment and started again with the
same command; only what is missing is sent. Results load with pandas: pd.read_parquet('RUN_DIR/responses').
"""
_EPILOG = """\
Exit codes: 0 complete · 2 usage, config or dataset error, nothing was sent · 3 too many failed rows · 4 a score gate
was missed · 5 stopped (key, quota, unknown model), resumable · 6 incomplete (server not reachable), resumable · 73/74
cannot create output / I/O error · 75 another process holds the run · 130/143 interrupted / terminated, resumable · 1
internal error.
"""
_HELP_OPTIONS: Final = ["-h", "--help"]


def _print_version(value: bool) -> None:  # noqa: FBT001 - the signature that typer calls
    if value:
        libraries = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "anyio", "pyarrow", "pandas"))
        print_result(f"evalrunner {version('evalrunner')} (Python {platform.python_version()}, {libraries})")
        raise typer.Exit


def _common(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print versions and exit.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


@dataclass(frozen=True, slots=True)
class _Command:
    """Where a command's function (or its own list of commands) is, and under which heading it is shown."""

    module: str
    function: str
    panel: str


_RUN, _LOOK, _REHEARSE = "Run", "Look", "Rehearse"
_COMMANDS: Final = {
    "run": _Command("run", "run", _RUN),
    "resume": _Command("run", "resume", _RUN),
    "check": _Command("check", "check", _RUN),
    "nightly": _Command("nightly", "nightly", _RUN),
    "pause": _Command("steer", "pause", _RUN),
    "unpause": _Command("steer", "unpause", _RUN),
    "set": _Command("steer", "set_limits", _RUN),
    "schedule": _Command("schedule", "schedule", _RUN),
    "documents": _Command("documents", "documents", _RUN),
    "status": _Command("status", "status", _LOOK),
    "verify": _Command("verify", "verify", _LOOK),
    "reseal": _Command("verify", "reseal", _LOOK),
    "score": _Command("score", "score", _LOOK),
    "export": _Command("export", "export", _LOOK),
    "report": _Command("report", "report", _LOOK),
    "compare": _Command("compare", "compare", _LOOK),
    "schema": _Command("schema", "schema", _LOOK),
    "simulate": _Command("simulate", "simulate", _REHEARSE),
}


def command_line(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the commands; where the arguments name one, and ask for no help before, that one alone.

    To import all of them takes most of the time of one that only looks at a run.
    """
    app = typer.Typer(
        name="evalrunner",
        help=_HELP,
        epilog=_EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": _HELP_OPTIONS},
    )
    app.callback()(_common)
    named = next((one for one in arguments if not one.startswith("-") or one in _HELP_OPTIONS), "")
    for name in [named] if named in _COMMANDS else _COMMANDS:
        command = _COMMANDS[name]
        found = getattr(import_module(f"runner.cli.{command.module}"), command.function)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, rich_help_panel=command.panel)
        else:
            app.command(name, rich_help_panel=command.panel)(found)
    return app
