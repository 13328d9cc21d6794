"""Owns the scorer json_schema: 1 where the answer is JSON that fits a schema; else 0, and a note says why."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from runner.errors import ConfigError, Problem
from runner.jsontext import scrub
from runner.records import Score
from runner.scorers.extra import library
from runner.scorers.scorer import RIGHT, Scorer

if TYPE_CHECKING:
    from runner.scorers.scorer import Setting

_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\n(?P<inside>.*)\n[ \t]*```\s*", re.DOTALL | re.IGNORECASE)
_MAX_NOTE = 300


@dataclass(frozen=True, slots=True)
class Options:
    """The schema, and how strictly the answer is read."""

    schema: dict[str, Any] = field(
        metadata={"description": "JSON Schema (its `$schema` names the draft; without it 2020-12). {}: any JSON."}
    )
    fenced: bool = field(default=True, metadata={"description": "JSON in a code fence counts as JSON, too."})


def make(options: Options, _setting: Setting) -> Scorer:
    """Return the scorer. Raises ConfigError for what is no schema. References to other documents are never fetched."""
    jsonschema = library("jsonschema")
    kind = jsonschema.validators.validator_for(options.schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(options.schema)
    except jsonschema.SchemaError as error:
        raise ConfigError([Problem("schema", f"is no JSON Schema: {error.message[:_MAX_NOTE]}")]) from error
    # An empty registry: without one, a `$ref` to a URL is fetched.
    validator = kind(options.schema, registry=library("referencing").Registry())

    def check(text: str | None) -> Score:
        found = _FENCED.fullmatch(text or "") if options.fenced else None
        try:
            value = orjson.loads(found["inside"] if found else text or "")
        except orjson.JSONDecodeError as error:
            return Score(0.0, f"no JSON: {scrub(str(error))[:_MAX_NOTE]}")
        wrong = next(validator.iter_errors(value), None)
        if wrong is None:
            return RIGHT
        return Score(0.0, scrub(f"{wrong.json_path}: {wrong.message}")[:_MAX_NOTE])

    return Scorer(("text",), check)
