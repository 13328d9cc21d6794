from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict, warnings
from runner.config.params import CHAT_PARAMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPENAI = "(OpenAI API reference); the server decides"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("temperature", "hot", "a number"),
        ("temperature", True, "a number"),
        ("top_p", [0.5], "a number"),
        ("n", 1.0, "a whole number"),
        ("n", True, "a whole number"),
        ("max_tokens", 2.5, "a whole number"),
        ("max_completion_tokens", "256", "a whole number"),
        ("seed", 1.5, "a whole number"),
        ("top_logprobs", False, "a whole number"),
        ("top_k", 0.5, "a whole number"),
        ("presence_penalty", "x", "a number"),
        ("frequency_penalty", {}, "a number"),
        ("min_p", "x", "a number"),
        ("logprobs", 1, "true or false"),
        ("parallel_tool_calls", "yes", "true or false"),
        ("store", 0, "true or false"),
        ("ignore_eos", "no", "true or false"),
        ("stop", 5, "a text or a list of texts"),
        ("stop", ["a", 5], "a text or a list of texts"),
        ("modalities", "text", "a list of texts"),
        ("logit_bias", [], "a mapping"),
        ("response_format", "json", "a mapping"),
        ("audio", [], "a mapping"),
        ("prediction", 1, "a mapping"),
        ("metadata", [], "a mapping"),
        ("stream_options", True, "a mapping"),
        ("tools", {}, "a list"),
        ("tool_choice", 1, "a text or a mapping"),
        ("user", 1, "a text"),
        ("reasoning_effort", 1, "a text"),
        ("service_tier", 1, "a text"),
    ],
)
def test_a_wrong_type_is_an_error(
    name: str, value: Any, expected: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    found = complaints({"request.params": {name: value}})
    assert len(found) == 1
    assert found[0].startswith(f"request.params.{name}: expected {expected}, found ")


@pytest.mark.parametrize("name", sorted(CHAT_PARAMS))
def test_null_and_templates_pass_for_every_parameter(
    name: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    for value in (None, "{{ column }}", "{% if a %}1{% else %}2{% endif %}"):
        assert complaints({"request.params": {name: value}}) == []


def test_unknown_parameters_pass(complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    assert complaints({"request.params": {"mirostat": [{"a": 1}], "dry_multiplier": "x"}}) == []


def test_no_answer_cannot_be_asked_for(complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    assert complaints({"request.params": {"n": 0}}) == [
        "request.params.n: expected 1 or more, found 0 (each answer asked for is a row)"
    ]


@pytest.mark.parametrize("section", ["params", "extra_body"])
@pytest.mark.parametrize(
    ("name", "instead"), [("messages", "request.messages"), ("model", "model.name"), ("stream", "request.stream")]
)
def test_what_the_run_sets_is_no_parameter(
    section: str, name: str, instead: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    assert complaints({f"request.{section}": {name: "{{ a }}"}}) == [
        f"request.{section}.{name}: the run sets this itself (write {instead})"
    ]


def test_parameters_of_other_endpoints_are_not_checked(complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    assert complaints({"request.endpoint": "completions", "request.params": {"logprobs": 5}}) == []
    assert len(complaints({"request.endpoint": "logprobs", "request.params": {"logprobs": 5}})) == 1


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"temperature": 0}, []),
        ({"temperature": 2}, []),
        ({"temperature": 2.1}, [f"request.params.temperature: 2.1 is outside 0 to 2 {OPENAI}"]),
        ({"temperature": -0.1}, [f"request.params.temperature: -0.1 is outside 0 to 2 {OPENAI}"]),
        ({"temperature": "{{ t }}"}, []),
        ({"top_p": 1.5}, [f"request.params.top_p: 1.5 is outside 0 to 1 {OPENAI}"]),
        ({"presence_penalty": 3}, [f"request.params.presence_penalty: 3 is outside -2 to 2 {OPENAI}"]),
        ({"frequency_penalty": -3}, [f"request.params.frequency_penalty: -3 is outside -2 to 2 {OPENAI}"]),
        ({"n": 129}, [f"request.params.n: 129 is outside 1 to 128 {OPENAI}"]),
        ({"top_logprobs": 21, "logprobs": True}, [f"request.params.top_logprobs: 21 is outside 0 to 20 {OPENAI}"]),
        ({"logit_bias": {"1": 100, "2": -101}}, [f"request.params.logit_bias: -101 is outside -100 to 100 {OPENAI}"]),
        ({"stop": ["a"] * 4}, []),
        ({"stop": ["a"] * 5}, [f"request.params.stop: 5 items, more than 4 {OPENAI}"]),
        ({"min_p": 2}, ["request.params.min_p: 2 is outside 0 to 1 (vLLM documentation); the server decides"]),
        ({"top_k": -2}, ["request.params.top_k: -2 is outside -1 and more (vLLM documentation); the server decides"]),
        ({"top_logprobs": 5}, [f"request.params.top_logprobs: needs logprobs: true beside it {OPENAI}"]),
        (
            {"top_logprobs": 5, "logprobs": False},
            [f"request.params.top_logprobs: needs logprobs: true beside it {OPENAI}"],
        ),
        ({"top_logprobs": 5, "logprobs": True}, []),
        ({"top_logprobs": 5, "logprobs": "{{ l }}"}, []),
        (
            {"temperatur": 1},
            ['request.params.temperatur: not a known parameter, sent as it is; did you mean "temperature"?'],
        ),
        ({"repeat_last_n": 1}, []),
    ],
)
def test_what_is_doubtful_is_a_warning(
    params: dict[str, Any], expected: list[str], values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    assert warnings(config_from_dict(values({"request.params": params}), tmp_path)) == expected


def test_the_logprobs_endpoint_forces_logprobs_on(values: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    changes = {"request.endpoint": "logprobs", "request.params": {"top_logprobs": 5}}
    assert warnings(config_from_dict(values(changes), tmp_path)) == []


def test_parameters_of_other_endpoints_are_not_doubted(values: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    changes = {"request.endpoint": "completions", "request.params": {"temperature": 5}}
    assert warnings(config_from_dict(values(changes), tmp_path)) == []
