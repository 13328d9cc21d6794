"""The list of commands: all of them are there, each explains itself, and none loads what another one needs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from runner.cli.app import command_line

COMMANDS = (
    "run", "resume", "check", "nightly", "pause", "unpause", "set", "schedule", "documents", "status", "verify",
    "reseal", "score", "export", "report", "compare", "schema", "simulate",
)  # fmt: skip


def loaded_by(*arguments: str) -> set[str]:
    """Return the modules that a new process loads to know the command that the arguments name."""
    script = f"import sys; from runner.cli.app import command_line; command_line({arguments!r}); print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    )


def test_all_commands_are_listed() -> None:
    shown = CliRunner().invoke(command_line(), ["--help"], env={"COLUMNS": "200"}).output
    assert all(f" {name} " in shown for name in COMMANDS)
    assert "Exit codes" in shown


@pytest.mark.parametrize("asked", [["--help", "status"], ["-h", "score"], ["--help", "--", "run"]])
def test_help_before_a_command_is_of_all_commands(asked: list[str]) -> None:
    shown = CliRunner().invoke(command_line(asked), asked, env={"COLUMNS": "200"}).output
    assert all(f" {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_named_is_all_there_is_and_explains_itself(name: str) -> None:
    app = command_line(["--json", name, "--help"])
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert f" {name} " in shown.output
    assert len(app.registered_commands) + len(app.registered_groups) == 1


def test_a_mistyped_command_is_met_with_a_suggestion() -> None:
    told = CliRunner().invoke(command_line(["statsu"]), ["statsu"])
    assert told.exit_code == 2
    assert "status" in told.output


@pytest.mark.parametrize(
    ("name", "not_needed"),
    [
        ("status", {"aiohttp", "pyarrow", "pandas"}),
        ("export", {"aiohttp", "pydantic", "pandas"}),
        ("report", {"aiohttp", "pydantic", "pandas", "matplotlib"}),
        ("compare", {"aiohttp", "pandas"}),
        ("run", {"pandas", "matplotlib", "apprise"}),
    ],
)
def test_a_command_loads_nothing_that_it_does_not_need(name: str, not_needed: set[str]) -> None:
    assert loaded_by(name) & not_needed == set()
