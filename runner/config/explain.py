"""Owns putting pydantic's validation errors into plain words: what was expected, what was found, what was meant."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from runner.config.credentials import shown
from runner.config.models import RunConfig
from runner.config.places import Finding, value_at
from runner.config.sections import advice

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from runner.config.places import KeyPath

_Model = TypeVar("_Model", bound=BaseModel)

_EXPECTED = {
    "bool_type": "true or false",
    "dataclass_type": "a section with keys",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "{le:g} or less",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a section with keys",
    "too_short": "a list that is not empty",
    "string_too_short": "a text that is not empty",
    "string_type": "a text",
}
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
# The values here are credentials, or may hold one by mistake.
_NEVER_SHOWN = {"api_key_env", "apprise_env", "base_url", "headers", "notify", "url", "webhook_env"}
_MISSING_HINTS: dict[KeyPath, str] = {
    ("name",): "it names the folder under outputs, e.g. name: my-run",
    ("dataset",): "dataset: {path: …} says which rows are evaluated",
    ("model",): "model: {base_url: …, name: …} says which model is asked",
}


def config_or_findings(values: dict[str, Any]) -> RunConfig | list[Finding]:
    """Return the config that plain JSON values are, or everything that is wrong with their keys, types and ranges."""
    return validated_or_findings(RunConfig, values)


def validated_or_findings(model: type[_Model], values: dict[str, Any]) -> _Model | list[Finding]:
    """Return what plain JSON values are under a model, or everything wrong with their keys, types and ranges."""
    try:
        # From JSON, strict mode takes a mapping where a dataclass is expected; from Python it asks for an instance.
        return model.model_validate_json(orjson.dumps(values))
    except ValidationError as error:
        return _findings(error.errors(include_url=False), values, model)


def _findings(errors: list[ErrorDetails], values: dict[str, Any], model: type[BaseModel]) -> list[Finding]:
    by_path: dict[KeyPath, list[ErrorDetails]] = defaultdict(list)
    for error in errors:
        by_path[_data_path(error, values)].append(error)
    # Of a value of several types (a URL or a list of servers), what is wrong inside tells more than what it is not.
    outer = {path[:length] for path in by_path for length in range(len(path))}
    return [
        _finding(path, found, value_at(values, path), model)
        for path, found in by_path.items()
        if path not in outer or len(found[0]["loc"]) == len(path)
    ]


def _data_path(error: ErrorDetails, values: Any) -> KeyPath:
    """Return where in the values an error is: its location without the names of the types that were tried."""
    missing = error["loc"][-1:] if error["type"] == "missing" else ()
    path: KeyPath = ()
    for part in error["loc"][: len(error["loc"]) - len(missing)]:
        here = value_at(values, path)
        if (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int)):
            path = (*path, part)
    return path + missing


def _finding(path: KeyPath, errors: list[ErrorDetails], value: Any, model: type[BaseModel]) -> Finding:
    kinds = {error["type"] for error in errors}
    if "missing" in kinds:
        return Finding(
            path[:-1], f'missing key "{path[-1]}"', _MISSING_HINTS.get(path, "") if model is RunConfig else ""
        )
    if kinds & _UNKNOWN:
        return Finding(path, "unknown key", advice(path, model))
    expected = " or ".join(dict.fromkeys(_expected(error) for error in errors))
    return Finding(path, f"expected {expected}, found {_found(path, value)}")


def _expected(error: ErrorDetails) -> str:
    # Words and false as YAML writes them.
    return _EXPECTED[error["type"]].format(**error.get("ctx", {})).replace("'", "").replace("False", "false")


def _found(path: KeyPath, value: Any) -> str:
    if isinstance(value, str) and _NEVER_SHOWN.intersection(path):
        return "a text"
    return shown(value)
