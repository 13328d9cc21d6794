from __future__ import annotations

import json
import math
import zlib
from collections import Counter
from typing import Any

import orjson
import pytest

from runner.errors import UsageError
from runner.simulate.answers import AnswerStyle, Stamp, build_answer
from runner.simulate.delivery import MANNERS
from runner.simulate.details import FaultDetails
from runner.simulate.failures import FAILURES
from runner.simulate.faults import (
    ANSWERLESS,
    DELIVERIES,
    KINDS,
    FaultPlan,
    FaultRules,
    FaultSpan,
    Marker,
    check_rules,
    fault_span_from_text,
    read_marker,
    shape,
)
from runner.simulate.prompts import count_tokens, read_chat
from runner.simulate.replies import Reply
from runner.simulate.spoils import SPOILS
from runner.simulate.streams import STREAM_ANSWERLESS, STREAM_SPOILS
from runner.simulate.variants import VARIANTS
from runner.simulate.vectors import VECTOR_FAULTS

DETAILS = FaultDetails(huge_bytes=4096, bomb_bytes=3_000_000)


def answer(**body: Any) -> dict[str, Any]:
    body.setdefault("messages", [{"role": "user", "content": "Hello"}])
    request = read_chat(body, "ab" * 32)
    return build_answer(request, AnswerStyle(completion_tokens=10), Stamp(seed=0, number=1, created=5))


def reply(kind: str | None, **body: Any) -> Reply:
    return shape(kind, answer(**body), DETAILS)


def tolerant(found: Reply) -> Any:
    return json.loads(found.body)


# ---------------------------------------------------------------- which request


def test_every_kind_is_acted_out_in_exactly_one_place() -> None:
    places = [FAILURES, VARIANTS, SPOILS, STREAM_SPOILS, VECTOR_FAULTS, DELIVERIES]
    assert Counter(kind for place in places for kind in place) == dict.fromkeys(KINDS, 1)
    assert MANNERS.keys() == DELIVERIES
    assert ANSWERLESS < KINDS
    assert STREAM_SPOILS.keys() > STREAM_ANSWERLESS


def test_fractions_strike_as_often_as_they_say_and_the_same_requests_each_time() -> None:
    rules = FaultRules({"500": 0.1, "cut": 0.05})

    def struck(seed: int) -> list[str | None]:
        return [FaultPlan(rules, seed).choose(number, "d", None) for number in range(1, 4001)]

    counts = Counter(struck(0))
    assert counts["500"] == pytest.approx(400, abs=60)
    assert counts["cut"] == pytest.approx(200, abs=45)
    assert struck(0) == struck(0)
    assert struck(0) != struck(1)


def test_the_whole_of_all_requests_can_fail() -> None:
    plan = FaultPlan(FaultRules({"503": 1.0}), 0)
    assert {plan.choose(number, "d", None) for number in range(1, 500)} == {"503"}


def test_script_goes_before_marker_and_marker_before_fractions() -> None:
    plan = FaultPlan(FaultRules({"500": 1.0}, {1: "cut", 2: "ok"}), 0)
    marker = Marker("hang")
    chosen = [plan.choose(number, "d", marker) for number in (1, 2, 3)]
    assert chosen == ["cut", None, "hang"]
    assert plan.choose(4, "d", None) == "500"


def test_a_counted_marker_strikes_its_request_that_often() -> None:
    plan = FaultPlan(FaultRules(), 0)
    marker = Marker("500", 2)
    assert [plan.choose(number, "one", marker) for number in range(1, 5)] == ["500", "500", None, None]
    assert plan.choose(9, "two", marker) == "500"


@pytest.mark.parametrize(
    ("raw", "marker"),
    [
        (b"nothing", None),
        (b"a [[fault:cut]] b", Marker("cut")),
        (b"[[fault:502*3]]", Marker("502", 3)),
        (b"[[fault:]]", None),
    ],
)
def test_markers_are_read_from_the_request(raw: bytes, marker: Marker | None) -> None:
    assert read_marker(raw) == marker


def test_unknown_kinds_are_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        read_marker(b"[[fault:gzip_bom]]")
    assert caught.value.hint == "did you mean 'gzip_bomb'?"


@pytest.mark.parametrize(
    "rules",
    [
        FaultRules({"5OO": 0.1}),
        FaultRules({"500": -0.1}),
        FaultRules({"500": 0.6, "cut": 0.5}),
        FaultRules({"500": math.nan}),
        FaultRules(script={1: "nothing"}),
        FaultRules(script={0: "500"}),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: FaultRules) -> None:
    with pytest.raises(UsageError):
        check_rules(rules)


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("kind", sorted(FAILURES))
def test_a_failure_has_the_status_it_is_named_after(kind: str) -> None:
    found = reply(kind)
    assert found.status == int(kind[:3])
    html = kind in {"502", "504"}
    assert found.headers["Content-Type"] == ("text/html" if html else "application/json")
    assert (b"nginx" in found.body) is html
    if not html:
        orjson.loads(found.body)


def test_retry_headers_go_with_429_503_and_529_only() -> None:
    details = FaultDetails(retry_headers={"retry-after-ms": "250"})
    with_headers = {kind for kind in FAILURES if "retry-after-ms" in shape(kind, answer(), details).headers}
    assert with_headers == {"429", "503", "529"}


def test_error_codes_are_strings_numbers_or_null_as_servers_have_them() -> None:
    codes = {kind: orjson.loads(reply(kind).body)["error"].get("code") for kind in ("401", "400_context", "500")}
    assert codes == {"401": "invalid_api_key", "400_context": 400, "500": None}


# ---------------------------------------------------------------- variants


def varied(kind: str, **body: Any) -> dict[str, Any]:
    found = reply(kind, **body)
    assert found.status == 200
    value = orjson.loads(found.body)
    assert isinstance(value, dict)
    return value


def test_no_fault_leaves_the_answer_as_it_is() -> None:
    assert orjson.loads(reply(None).body) == answer()


def test_odd_finish_and_refusal_none_stand_as_in_the_api_description() -> None:
    assert varied("odd_finish")["choices"][0]["finish_reason"] == "sto"
    choice = varied("refusal_none", logprobs=True)["choices"][0]
    assert (choice["message"]["refusal"], choice["logprobs"]["refusal"]) == ("None", "None")
    assert varied("refusal_none")["choices"][0]["logprobs"] is None


def test_refusal_has_text_of_its_own_and_no_content() -> None:
    choice = varied("refusal", logprobs=True)["choices"][0]
    assert choice["message"]["content"] is None
    assert choice["message"]["refusal"].startswith("I'm sorry")
    assert (choice["finish_reason"], choice["logprobs"]["content"]) == ("stop", None)


def test_tool_calls_have_json_arguments() -> None:
    choice = varied("tool_calls")["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert (choice["message"]["content"], choice["finish_reason"], call["type"]) == (None, "tool_calls", "function")
    assert isinstance(json.loads(call["function"]["arguments"])["query"], str)


def test_reasoning_is_counted_in_completion_tokens() -> None:
    value = varied("reasoning", n=2)
    tokens = sum(count_tokens(choice["message"]["reasoning_content"]) for choice in value["choices"])
    usage = value["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == tokens
    assert usage["completion_tokens"] == 20 + tokens
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_content_filter_leaves_no_content() -> None:
    choice = varied("content_filter")["choices"][0]
    assert (choice["message"], choice["finish_reason"]) == ({"role": "assistant"}, "content_filter")


def test_what_servers_leave_out() -> None:
    assert varied("null_content")["choices"][0]["message"]["content"] is None
    assert "usage" not in varied("missing_usage")
    assert [len(varied("fewer_choices", n=n)["choices"]) for n in (1, 2, 5)] == [1, 1, 2]
    assert varied("no_choices")["choices"] == []


# ---------------------------------------------------------------- spoilt bodies


@pytest.mark.parametrize(
    "kind", ["empty_200", "html_200", "garbage_json", "sse_200", "nan", "invalid_utf8", "surrogate"]
)
def test_these_200s_are_no_strict_json(kind: str) -> None:
    found = reply(kind)
    assert found.status == 200
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(found.body)


@pytest.mark.parametrize("kind", ["bom", "extra_bytes", "deep_nesting"])
def test_these_hold_an_answer_that_strict_parsers_refuse(kind: str) -> None:
    found = reply(kind)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(found.body)
    assert orjson.dumps(answer())[1:-1] in found.body


def test_html_and_streams_say_so() -> None:
    assert reply("html_200").headers["Content-Type"] == "text/html"
    assert reply("sse_200").headers["Content-Type"] == "text/event-stream"
    assert reply("sse_200").body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("body", [{}, {"logprobs": True, "top_logprobs": 2}])
def test_nan_and_infinity_stand_in_the_logprobs(body: dict[str, Any]) -> None:
    content = tolerant(reply("nan", **body))["choices"][0]["logprobs"]["content"]
    values = [entry["logprob"] for entry in content] + [top["logprob"] for e in content for top in e["top_logprobs"]]
    assert sum(math.isnan(value) for value in values) == 1
    assert sum(math.isinf(value) for value in values) == 1


def test_surrogate_is_half_a_pair() -> None:
    assert tolerant(reply("surrogate"))["choices"][0]["message"]["content"][0] == "\ud83d"


def test_big_int_has_thirty_digits() -> None:
    assert tolerant(reply("big_int"))["usage"]["total_tokens"] == 10**30 - 1


def test_duplicate_keys_come_first_and_lose() -> None:
    assert reply("duplicate_keys").body.count(b'"id":') == 2
    assert tolerant(reply("duplicate_keys")) == answer()


def test_small_oddities() -> None:
    assert reply("null_json").body == b"null"
    assert tolerant(reply("error_in_200"))["error"]["code"] == 502
    assert tolerant(reply("huge"))["choices"][0]["message"]["content"] == "huge" * 1024
    assert len(reply("header_50k").headers["X-Padding"]) == 50_000
    assert {kind: reply(kind).status for kind in ("redirect_302", "redirect_307")} == {
        "redirect_302": 302,
        "redirect_307": 307,
    }
    assert reply("redirect_307").headers["Location"] == DETAILS.redirect_url


def test_the_bomb_unpacks_to_megabytes_before_a_valid_answer() -> None:
    found = reply("gzip_bomb")
    assert found.headers["Content-Encoding"] == "gzip"
    assert len(found.body) < 10_000
    unpacked = zlib.decompress(found.body, 31)
    assert len(unpacked) > 3_000_000
    assert tolerant(Reply(200, unpacked)) == answer()
    assert found.body == reply("gzip_bomb").body


def test_spans_are_read() -> None:
    assert fault_span_from_text("60s-2m:503=0.5") == FaultSpan(60, 120, {"503": 0.5})


@pytest.mark.parametrize(
    "text", ["", "60s", "60s-120s", "120s-60s:503=1", "60s-x:503=1", "1-2:503=much", "nan-2:503=1"]
)
def test_other_spans_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        fault_span_from_text(text)
