"""Owns the command `export`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from runner.cli.output import print_json, say
from runner.errors import UsageError
from runner.export import FORMATS, Export, write_to_file, write_to_stream


def export(
    run_dir: Annotated[Path, typer.Argument(help="The run folder.", show_default=False)],
    *,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help=f"One of {', '.join(FORMATS)}.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A file in place of stdout; compressed as .gz or .zst."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="Only these columns, in this order (jsonl, csv).", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With -o: print one JSON object on stdout, errors too.")
    ] = False,
) -> None:
    """Write a run's answers in another format: to stdout, or to a file that is there whole or not at all.

    `jsonl` has every column of `responses` and of the scores, nested ones as JSON. `csv` has them for spreadsheets:
    a text that one would execute has an apostrophe before it. `openai-batch` has the server's own answers as OpenAI's
    Batch API returns them, a line a request, failures too. Works at any moment of a run.
    """
    wanted = Export(run_dir, form, [name.strip() for name in columns.split(",")] if columns else ())
    if output is None or str(output) == "-":
        if as_json:
            raise UsageError("--json: stdout holds the data", hint="name a file with -o")
        try:
            write_to_stream(wanted, sys.stdout.buffer)
        except BrokenPipeError:
            # `head` has seen enough; Python would complain when it flushes stdout at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    lines = write_to_file(wanted, output)
    if as_json:
        print_json({"file": str(output), "format": form, "lines": lines, "bytes": output.stat().st_size})
    else:
        say(f"{lines:,} lines in {output}")
