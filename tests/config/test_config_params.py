from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict, warnings
from runner.config.params import PARAMS

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


@pytest.mark.parametrize(
    ("endpoint", "name", "value", "expected"),
    [
        ("logprobs", "logprobs", 5, "true or false"),
        ("completions", "logprobs", "5", "a whole number or true or false"),
        ("completions", "logprobs", 0.5, "a whole number or true or false"),
        ("completions", "echo", "yes", "true or false"),
        ("completions", "suffix", 1, "a text"),
        ("completions", "best_of", 2.0, "a whole number"),
        ("completions", "max_tokens", "16", "a whole number"),
        ("completions", "stop", 5, "a text or a list of texts"),
        ("completions", "ignore_eos", 1, "true or false"),
        ("completions", "logit_bias", [], "a mapping"),
        ("completions", "modalities", "audio", "a list of texts"),
        ("completions", "prediction", "x", "a mapping"),
        ("completions", "user", 1, "a text"),
        ("responses", "max_output_tokens", "16", "a whole number"),
        ("responses", "reasoning", "low", "a mapping"),
        ("responses", "text", "json", "a mapping"),
        ("responses", "include", "logprobs", "a list of texts"),
        ("responses", "tools", {}, "a list"),
        ("responses", "temperature", "hot", "a number"),
    ],
)
def test_each_endpoint_knows_its_own_parameters(
    endpoint: str, name: str, value: Any, expected: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    found = complaints({"request.endpoint": endpoint, "request.params": {name: value}})
    assert len(found) == 1
    assert found[0].startswith(f"request.params.{name}: expected {expected}, found ")


@pytest.mark.parametrize("endpoint", sorted(PARAMS))
def test_null_and_templates_pass_for_every_parameter(
    endpoint: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    for value in (None, "{{ column }}", "{% if a %}1{% else %}2{% endif %}"):
        params = dict.fromkeys(PARAMS[endpoint], value)
        assert complaints({"request.endpoint": endpoint, "request.params": params}) == []


def test_an_answer_that_would_come_later_is_refused(complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    (found,) = complaints({"request.endpoint": "responses", "request.params": {"background": True}})
    assert found.startswith("request.params.background: the answer would come later")


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


@pytest.mark.parametrize(
    ("endpoint", "name", "instead"),
    [
        ("completions", "prompt", "request.prompt"),
        ("completions", "model", "model.name"),
        ("responses", "input", "request.messages"),
        ("responses", "stream", "request.stream"),
        ("logprobs", "messages", "request.messages"),
    ],
)
def test_what_the_run_sets_differs_by_endpoint(
    endpoint: str, name: str, instead: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    assert complaints({"request.endpoint": endpoint, "request.extra_body": {name: "x"}}) == [
        f"request.extra_body.{name}: the run sets this itself (write {instead})"
    ]


def test_parameters_of_endpoints_without_a_table_are_not_checked(
    complaints: Callable[[dict[str, Any]], list[str]],
) -> None:
    assert complaints({"request.endpoint": "embeddings", "request.params": {"temperature": "hot"}}) == []


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


STRANGE = "not a parameter of this endpoint, sent as it is; did you mean"
ROUTERS = "(completions API of model routers); the server decides"


@pytest.mark.parametrize(
    ("endpoint", "params", "expected"),
    [
        ("completions", {"temperature": 5}, [f"request.params.temperature: 5 is outside 0 to 2 {OPENAI}"]),
        ("completions", {"logprobs": 20}, []),
        ("completions", {"logprobs": True, "top_logprobs": 20}, []),
        ("completions", {"logprobs": 21}, [f"request.params.logprobs: 21 is outside 0 to 20 {ROUTERS}"]),
        (
            "completions",
            {"stop": ["a"] * 5},
            [f"request.params.stop: 5 items, more than 4 {OPENAI}"],
        ),
        ("completions", {"best_of": 3, "n": 3, "echo": True, "suffix": "x"}, []),
        ("completions", {"best_of": 2, "n": 3}, [f"request.params.best_of: 2 is less than n, 3 {OPENAI}"]),
        ("completions", {"best_of": 21}, [f"request.params.best_of: 21 is outside 1 to 20 {OPENAI}"]),
        ("completions", {"presence_penalty": -2, "frequency_penalty": 2, "mirostat": 2}, []),
        (
            "completions",
            {"presence_penalty": -2.5},
            [f"request.params.presence_penalty: -2.5 is outside -2 to 2 {OPENAI}"],
        ),
        (
            "completions",
            {"timeout": 5},
            [f"request.params.timeout: {STRANGE} request.timeout_s?"],
        ),
        (
            "chat",
            {"extra_headers": {}},
            [f"request.params.extra_headers: {STRANGE} model.headers?"],
        ),
        (
            "responses",
            {"max_tokens": 5},
            [f"request.params.max_tokens: {STRANGE} max_output_tokens?"],
        ),
        (
            "responses",
            {"top_logprobs": 5},
            [
                (
                    "request.params.top_logprobs: needs include: [message.output_text.logprobs] beside it "
                    "(OpenAI API reference); the server decides"
                )
            ],
        ),
        ("responses", {"top_logprobs": 5, "include": ["message.output_text.logprobs"]}, []),
        ("logprobs", {"logprobs": False}, ["request.params.logprobs: the endpoint logprobs always sends true"]),
        ("embeddings", {"temperature": 5}, []),
    ],
)
def test_what_is_doubtful_depends_on_the_endpoint(
    endpoint: str, params: dict[str, Any], expected: list[str], values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    changes = {"request.endpoint": endpoint, "request.params": params}
    assert warnings(config_from_dict(values(changes), tmp_path)) == expected


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"request.params": {"best_of": 2}}, True),
        ({"request.params": {"best_of": 2, "n": 2}}, True),
        ({"request.params": {"best_of": 2}, "request.stream": False}, False),
        ({"request.params": {"best_of": 1}}, False),
        ({"request.params": {"best_of": None}}, False),
        ({"request.params": {"best_of": "{{ best }}"}}, False),
        ({"request.params": {"best_of": 2}, "request.endpoint": "chat"}, False),
    ],
)
def test_the_best_of_several_cannot_be_streamed(
    changes: dict[str, Any],
    warned: bool,  # noqa: FBT001 - a column of the table
    values: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    made = values({"request.endpoint": "completions", "request.stream": True, **changes})
    said = f"request.params.best_of: its results cannot be streamed {OPENAI}"
    assert warnings(config_from_dict(made, tmp_path)) == [said] * warned
