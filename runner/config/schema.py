"""Owns the JSON Schemas of the config file and of adapter files, for editors that complete and check as one types."""

from __future__ import annotations

import inspect
from typing import Any

from runner.config.adapter_models import AdapterFile
from runner.config.models import RunConfig
from runner.config.scorers import scorer_model
from runner.limiter.policy import Limits
from runner.retry.policy import RetryPolicy
from runner.scorers import SCORERS

_MODEL_FILE = {"type": "string", "description": "Path of a file that holds the model, relative to this file."}
_DATASET_FILE = {"type": "string", "description": "Path of a dataset, or of a YAML file that holds such a section."}


def config_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config file, with a description for every key."""
    schema = RunConfig.model_json_schema(by_alias=True)
    for policy in (Limits, RetryPolicy):
        # pydantic before 2.14 leaves these out for a plain dataclass.
        section = schema["$defs"][policy.__name__]
        section.setdefault("additionalProperties", False)
        section.setdefault("description", inspect.getdoc(policy))
    model = schema["properties"]["model"]
    schema["properties"]["model"] = {
        "description": model["description"],
        "anyOf": [{"$ref": model["$ref"]}, _MODEL_FILE],
    }
    _leave_to_matrix(schema)
    del schema["$defs"]["Scorer"]
    schema["$defs"] |= {name: scorer_model(name).model_json_schema(by_alias=True) for name in SCORERS}
    schema["properties"]["scorers"]["items"] = {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in SCORERS]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "evalrunner config",
    }


def _leave_to_matrix(schema: dict[str, Any]) -> None:
    """Let a matrix bring models and datasets, and sections of the config hold what these have in common."""
    entries = schema["$defs"]["Matrix"]["properties"]
    entries["models"]["items"] = {"anyOf": [{"$ref": "#/$defs/Model"}, _MODEL_FILE]}
    entries["datasets"]["items"] = {"anyOf": [{"$ref": "#/$defs/Dataset"}, _DATASET_FILE]}
    of_dataset, always = schema["$defs"]["Dataset"].pop("required"), ["name"]
    alone = {
        "required": [key for key in schema["required"] if key not in always],
        "properties": {"dataset": {"required": of_dataset}},
    }
    schema["required"] = always
    schema["if"] = {"required": ["matrix"], "properties": {"matrix": {"type": "object"}}}
    schema["else"] = alone


def adapter_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an adapter file, with a description for every key."""
    schema = AdapterFile.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "evalrunner adapter",
    }
