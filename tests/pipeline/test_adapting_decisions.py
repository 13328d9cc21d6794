"""Owns the decisions about refused parameters: which lesson, which body, which requests."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.endpoints import ENDPOINTS
from runner.pipeline.requests.adapting import Adapting, choice_key, one_choice
from runner.pipeline.requests.lessons import DROP, RENAME, REPEAT, Lesson, adapt, lesson_for, lessons_from_json
from runner.records import Case, Request, Response
from runner.retry import Refusal

SAID = Refusal(("x",), "HTTP 400: no")
CHAT = ENDPOINTS["chat"]


def request_of(body: dict[str, Any], choices: int = 1, cases: int = 1) -> Request:
    case = Case(bytes(16), "s", 0, bytes(16), 0, None, b"{}")
    encoded = orjson.dumps({"model": "m", "messages": [], **body}, option=orjson.OPT_SORT_KEYS)
    return Request(bytes(16), "/chat/completions", encoded, (case,) * cases, choices, 9)


def refusal(name: str) -> Response:
    error = {"message": "no", "param": name, "code": "unsupported_parameter"}
    return Response(400, {}, orjson.dumps({"error": error}), 0.0, 0.0)


@pytest.mark.parametrize(
    ("name", "endpoint", "sent", "expected"),
    [
        ("max_completion_tokens", "chat", {}, (RENAME, "max_tokens")),
        ("max_tokens", "chat", {}, (RENAME, "max_completion_tokens")),
        ("max_tokens", "logprobs", {}, (RENAME, "max_completion_tokens")),
        ("max_completion_tokens", "completions", {}, (RENAME, "max_tokens")),
        ("max_tokens", "completions", {}, None),
        ("max_output_tokens", "responses", {}, None),
        ("n", "chat", {"n": 2}, (REPEAT, None)),
        ("n", "completions", {"n": 2, "prompt": "x"}, (REPEAT, None)),
        ("n", "completions", {"n": 2, "prompt": [1, 2]}, (REPEAT, None)),
        ("n", "completions", {"n": 2, "prompt": ["x", "y"]}, None),
        ("n", "responses", {"n": 2}, None),
        ("logprobs", "chat", {}, (DROP, None)),
        ("logprobs", "completions", {}, (DROP, None)),
        ("logprobs", "logprobs", {}, None),
        ("top_logprobs", "logprobs", {}, (DROP, None)),
        ("include", "responses", {}, (DROP, None)),
        ("temperature", "chat", {}, (DROP, None)),
        ("seed", "completions", {}, (DROP, None)),
        *(
            (name, "chat", {}, None)
            for name in ("tools", "tool_choice", "response_format", "stop", "logit_bias", "own")
        ),
    ],
)
def test_each_parameter_has_its_lesson(
    name: str, endpoint: str, sent: dict[str, Any], expected: tuple[str, str | None] | None
) -> None:
    lesson = lesson_for(name, SAID, ENDPOINTS[endpoint], sent, [])
    assert (lesson and (lesson.action, lesson.to)) == expected


def test_neither_name_of_the_longest_answer_leads_back_to_the_other() -> None:
    first = lesson_for("max_tokens", SAID, CHAT, {}, [])
    assert first is not None
    assert lesson_for("max_completion_tokens", SAID, CHAT, {}, [first]) is None


@pytest.mark.parametrize(
    ("lesson", "body", "expected"),
    [
        (Lesson("a", DROP, ""), {"a": 1, "b": 2}, {"b": 2}),
        (Lesson("a", RENAME, "", "b"), {"a": 1}, {"b": 1}),
        (Lesson("a", RENAME, "", "b"), {"a": 1, "b": 2}, {"b": 2}),
        (Lesson("logprobs", DROP, ""), {"logprobs": True, "top_logprobs": 3}, {}),
        (Lesson("top_logprobs", DROP, ""), {"logprobs": True, "top_logprobs": 3}, {"logprobs": True}),
        (Lesson("a", DROP, ""), {"b": {"a": 1}}, {"b": {"a": 1}}),
    ],
)
def test_a_body_is_adapted_once(lesson: Lesson, body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert adapt(body, [lesson]) == expected
    assert adapt(expected, [lesson]) == expected


@given(st.integers(2, 9), st.integers(1, 5))
def test_all_choices_of_all_repeats_have_seeds_of_their_own(n: int, repeats: int) -> None:
    seeds = [
        orjson.loads(one_choice(request_of({"n": n, "seed": repeat}, n), choice, repeats, CHAT).body)["seed"]
        for repeat in range(repeats)
        for choice in range(n)
    ]
    assert sorted(seeds) == list(range(n * repeats))


def test_choices_have_keys_of_their_own_and_the_first_is_the_cases() -> None:
    keys = {choice_key(bytes(16), choice) for choice in range(300)}
    assert len(keys) == 300
    assert choice_key(bytes(16), 0) == bytes(16)


def test_a_request_is_split_only_where_n_alone_counts_its_answers() -> None:
    adapting = Adapting(CHAT, stops=False, repeats=1, lessons=[Lesson("n", REPEAT, "")])
    parts = adapting.requests(request_of({"n": 3}, 3))
    assert [(part.first_choice, part.choices, part.of_choices) for part in parts] == [(0, 1, 3), (1, 1, 3), (2, 1, 3)]
    assert all("n" not in orjson.loads(part.body) for part in parts)
    assert [adapting.requests(part) for part in parts] == [[part] for part in parts]
    assert [orjson.loads(one.body).get("n") for one in adapting.requests(request_of({"n": 1}))] == [None]
    for whole in (request_of({"n": 3}, 3, cases=2), request_of({"n": "3"}, 1), request_of({}, 3)):
        assert adapting.requests(whole) == [whole]


def test_a_refusal_of_what_is_gone_already_is_the_rows_own() -> None:
    adapting = Adapting(CHAT, stops=False, repeats=1)
    first = request_of({"temperature": 0})
    taught = adapting.learn(first, refusal("temperature"))
    assert isinstance(taught, list)
    assert [lesson.action for lesson in taught] == [DROP]
    assert adapting.learn(first, refusal("temperature")) == taught  # it was on its way when the lesson was learnt
    (again,) = adapting.requests(first)
    assert adapting.learn(again, refusal("temperature")) is None
    assert [lesson.param for lesson in adapting.unsaid()] == ["temperature"]
    assert adapting.unsaid() == []


@pytest.mark.parametrize("value", [None, 3, [], "x", {"n": None}, {"n": {"action": "explode"}}, {"n": {"action": []}}])
def test_a_manifest_that_was_tampered_with_teaches_nothing(value: Any) -> None:
    assert list(lessons_from_json(value)) == []
