"""Owns what commands print: results, one JSON object, or an error that says what, where and what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.text import Text

from runner.terminal import inert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.errors import RunnerError


def print_result(text: str) -> None:
    """Write a result to stdout."""
    sys.stdout.write(inert(text) + "\n")
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """Write the one JSON object of a command to stdout."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(value, option=option).decode() + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Write a message to stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(inert(text), style="dim"))


def print_error(error: RunnerError, *, as_json: bool) -> None:
    """Write an error: to stderr for people, as the one JSON object on stdout for machines."""
    if as_json:
        print_json({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text("error: ", style="bold red") + Text(inert(error.message)))
    if error.hint:
        console.print(Text("hint:  ", style="bold") + Text(inert(error.hint)))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
