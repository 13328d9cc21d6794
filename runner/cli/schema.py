"""Owns `schema`: the JSON Schemas of the config and of adapter files, and the Arrow schemas of the output."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from runner.cli.output import print_json, print_result
from runner.config import adapter_json_schema, config_json_schema
from runner.sinks import table_schema


class Subject(StrEnum):
    """What a schema can be asked of."""

    CONFIG = "config"
    ADAPTER = "adapter"
    RESPONSES = "responses"
    ATTEMPTS = "attempts"
    RAW = "raw"


def schema(
    subject: Annotated[
        Subject, typer.Argument(help="config, adapter: JSON Schema. responses, attempts, raw: Arrow columns.")
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print columns as one JSON object.")] = False,
) -> None:
    """Print the schema of the config, of an adapter file, or of a table of the output.

    `evalrunner schema config > evalrunner.schema.json` gives editors completion and checks: put
    `# yaml-language-server: $schema=evalrunner.schema.json` on the config's first line.
    """
    if subject is Subject.CONFIG:
        print_json(config_json_schema())
        return
    if subject is Subject.ADAPTER:
        print_json(adapter_json_schema())
        return
    columns = table_schema(subject.value, {}, {})
    described = {field.name: f"{field.type}{'' if field.nullable else ' not null'}" for field in columns}
    if as_json:
        print_json({"table": subject.value, "columns": described})
        return
    width = max(map(len, described))
    lines = [f"{name.ljust(width)}  {kind}" for name, kind in described.items()]
    if subject is Subject.RESPONSES:
        lines.append(f"{'in_<column>'.ljust(width)}  the kept dataset columns, with their own types")
    print_result("\n".join(lines))
