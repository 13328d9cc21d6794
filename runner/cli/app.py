"""Owns the list of commands and what is common to them."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Annotated

import typer

from runner.cli.check import check
from runner.cli.compare import compare
from runner.cli.documents import documents
from runner.cli.export import export
from runner.cli.inspect import reseal, status, verify
from runner.cli.nightly import nightly
from runner.cli.output import print_result
from runner.cli.report import report
from runner.cli.run import resume, run
from runner.cli.schedule import schedule
from runner.cli.schema import schema
from runner.cli.score import score
from runner.cli.simulate import simulate
from runner.cli.steer import pause, set_limits, unpause

_EPILOG = """\
Exit codes: 0 complete · 2 usage, config or dataset error, nothing was sent · 3 too many failed rows · 4 a score gate
was missed · 5 stopped (key, quota, unknown model), resumable · 6 incomplete (server not reachable), resumable · 73/74
cannot create output / I/O error · 75 another process holds the run · 130/143 interrupted / terminated, resumable · 1
internal error.
"""

app = typer.Typer(
    name="evalrunner",
    help=(
        "Stream prompt datasets to model endpoints, as fast as their limits allow, into typed Parquet.\n\n"
        "A run is a config file: a dataset, a model, what is asked. It can be killed at any moment and started again "
        "with the same command; only what is missing is sent. Results load with pandas: "
        "pd.read_parquet('RUN_DIR/responses')."
    ),
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - the signature that typer calls
    if value:
        libraries = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "anyio", "pyarrow", "pandas"))
        print_result(f"evalrunner {version('evalrunner')} (Python {platform.python_version()}, {libraries})")
        raise typer.Exit


@app.callback()
def main(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print versions and exit.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


_RUN, _LOOK, _REHEARSE = "Run", "Look", "Rehearse"
app.command(rich_help_panel=_RUN)(run)
app.command(rich_help_panel=_RUN)(resume)
app.command(rich_help_panel=_RUN)(check)
app.command(rich_help_panel=_RUN)(nightly)
app.command(rich_help_panel=_RUN)(pause)
app.command(rich_help_panel=_RUN)(unpause)
app.command("set", rich_help_panel=_RUN)(set_limits)
app.command(rich_help_panel=_RUN)(schedule)
app.add_typer(documents, rich_help_panel=_RUN)
app.command(rich_help_panel=_LOOK)(status)
app.command(rich_help_panel=_LOOK)(verify)
app.command(rich_help_panel=_LOOK)(reseal)
app.command(rich_help_panel=_LOOK)(score)
app.command(rich_help_panel=_LOOK)(export)
app.command(rich_help_panel=_LOOK)(report)
app.command(rich_help_panel=_LOOK)(compare)
app.command(rich_help_panel=_LOOK)(schema)
app.command(rich_help_panel=_REHEARSE)(simulate)
