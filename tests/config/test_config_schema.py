from __future__ import annotations

from typing import Any

import orjson

from runner.config import config_json_schema
from runner.config.models import RunConfig
from runner.config.sections import keys_at


def sections(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema["$defs"].values()]


def test_it_is_json_schema_of_a_strict_mapping() -> None:
    schema = config_json_schema()
    assert orjson.loads(orjson.dumps(schema)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "evalrunner config"
    assert schema["required"] == ["name"]
    assert schema["else"] == {"required": ["dataset", "model"], "properties": {"dataset": {"required": ["path"]}}}
    assert all(section["additionalProperties"] is False for section in sections(schema))


def test_every_key_and_every_section_is_described() -> None:
    for section in sections(config_json_schema()):
        assert section["description"]
        for name, key in section["properties"].items():
            assert key.get("description"), name


def test_ranges_choices_and_patterns_are_in_it() -> None:
    schema = config_json_schema()
    limits = schema["$defs"]["Limits"]["properties"]
    assert limits["requests_per_minute"]["anyOf"] == [{"exclusiveMinimum": 0, "type": "number"}, {"type": "null"}]
    assert schema["$defs"]["RetryPolicy"]["properties"]["max_attempts"]["minimum"] == 1
    assert schema["$defs"]["Dataset"]["properties"]["on_bad_row"]["enum"] == ["stop", "skip"]
    assert schema["properties"]["name"]["pattern"].startswith("^[A-Za-z0-9]")
    exact = schema["$defs"]["exact_match"]["properties"]
    assert (exact["name"]["const"], exact["ignore_case"]["default"]) == ("exact_match", False)
    assert "as" in exact
    assert {"$ref": "#/$defs/exact_match"} in schema["properties"]["scorers"]["items"]["anyOf"]


def test_a_model_may_be_a_path() -> None:
    choices = config_json_schema()["properties"]["model"]["anyOf"]
    assert choices[0] == {"$ref": "#/$defs/Model"}
    assert choices[1]["type"] == "string"


def test_the_keys_of_a_section_are_found_through_lists_and_free_names() -> None:
    assert list(keys_at(())) == list(RunConfig.model_fields)
    assert list(keys_at(("scorers", 0))) == ["name", "as"]
    assert list(keys_at(("gates", "scores", "em"))) == ["min", "max_drop"]
    assert list(keys_at(("model", "base_url", 3))) == ["url", "weight"]
    assert keys_at(("nothing", "here")) == keys_at(())
