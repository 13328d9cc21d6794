"""Owns the commands that the contract names and this version does not have: each says so, clearly, and exits with 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from runner.errors import NotAvailableError

if TYPE_CHECKING:
    from collections.abc import Callable


_COMMANDS = {
    "report": "Write one self-contained HTML page.",
    "compare": "Compare two runs, paired, with a verdict.",
    "export": "Write answers as jsonl, csv or OpenAI Batch output.",
    "schedule": "Write or install entries for systemd, cron, GitHub Actions or Kubernetes.",
}


def add_commands(app: typer.Typer) -> None:
    """Add every command that is not available yet."""
    for name, what in _COMMANDS.items():
        app.command(
            name,
            help=f"Not available yet. {what}",
            rich_help_panel="Not available yet",
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )(_refusal(name))


def _refusal(name: str) -> Callable[[typer.Context], None]:
    def refuse(_context: typer.Context) -> None:
        raise NotAvailableError(
            f"evalrunner {name}: not available yet",
            hint="`evalrunner --help` lists what this version can do",
        )

    return refuse
