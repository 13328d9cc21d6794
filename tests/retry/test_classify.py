from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import errors
from runner.retry.classify import MAX_MESSAGE, classify_status, error_in_body

NOW = datetime(2026, 11, 22, 1, 45, tzinfo=UTC)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "errors", "detail", "message", "code", "type", "param", "loc", "metadata", "object"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def classify(
    status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, answered_before: bool = True
) -> errors.RequestError:
    error = classify_status(status, headers or {}, body, answered_before=answered_before, now=NOW)
    assert error is not None
    return error


def error_body(**members: Any) -> bytes:
    return json.dumps({"error": members}).encode()


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_2xx_is_no_error(status: int) -> None:
    assert classify_status(status, {}, b'{"error": "x"}', answered_before=False, now=NOW) is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0, errors.ServerError),
        (101, errors.ServerError),
        (300, errors.RedirectError),
        (399, errors.RedirectError),
        (400, errors.BadRequestError),
        (406, errors.BadRequestError),
        (418, errors.BadRequestError),
        (499, errors.BadRequestError),
        (500, errors.ServerError),
        (502, errors.ServerError),
        (504, errors.ServerError),
        (520, errors.ServerError),
        (599, errors.ServerError),
        (999, errors.ServerError),
    ],
)
def test_a_status_without_a_body_decides_alone(status: int, kind: type[errors.RequestError]) -> None:
    assert type(classify(status)) is kind


def test_a_403_is_about_the_key_until_there_was_an_answer() -> None:
    assert type(classify(403, answered_before=False)) is errors.AuthError
    assert type(classify(403, answered_before=True)) is errors.PermissionDeniedError


def test_a_code_decides_over_the_status() -> None:
    assert type(classify(500, error_body(code="insufficient_quota"))) is errors.QuotaError
    assert type(classify(413, error_body(code="context_length_exceeded"))) is errors.ContextLengthError


def test_codes_are_read_without_regard_to_case() -> None:
    assert type(classify(404, error_body(code="MODEL_NOT_FOUND"))) is errors.ModelNotFoundError


def test_words_in_the_text_do_not_decide_where_a_status_does() -> None:
    body = error_body(message="insufficient_quota model_not_found maximum context length", type="server_error")
    assert type(classify(500, body)) is errors.ServerError
    assert type(classify(429, body)) is errors.RateLimitError


def test_the_echo_of_a_request_decides_nothing() -> None:
    body = json.dumps({"detail": "no", "input": {"code": "insufficient_quota"}, "body": {"type": "api_key_invalid"}})
    assert type(classify(422, body.encode())) is errors.BadRequestError


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://login.example.org/in?token=secret", "the host login.example.org"),
        ("https://user:pass@other.example:8443/x", "the host other.example:8443"),
        ("//cdn.example/x", "the host cdn.example"),
        ("/v1/chat", "another path"),
        ("https://[bad/", "another path"),
        ("", "another path"),
    ],
)
def test_a_redirect_names_only_the_target_host(location: str, target: str) -> None:
    error = classify(307, b"moved", {"location": location})
    assert type(error) is errors.RedirectError
    assert error.message == f"HTTP 307: the server redirects to {target}"
    assert "base_url" in error.hint


def test_a_hostile_redirect_target_stays_on_one_short_line() -> None:
    error = classify(302, b"", {"location": "https://a\x1b[2Jb" + "c" * 500 + "/"})
    assert error.message.isprintable()
    assert len(error.message) <= MAX_MESSAGE


def test_the_wait_comes_from_the_headers() -> None:
    assert classify(429, headers={"retry-after": "7"}).retry_after_s == 7.0
    assert classify(503, headers={"retry-after": "Sun, 22 Nov 2026 01:46:00 GMT"}).retry_after_s == 60.0
    assert classify(500, headers={"retry-after": "3"}).retry_after_s == 3.0
    assert classify(429).retry_after_s is None


def test_the_reset_headers_count_only_for_a_429_without_a_retry_after() -> None:
    reset = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}
    assert classify(429, headers=reset).retry_after_s == 360.0
    assert classify(429, headers={**reset, "retry-after": "2"}).retry_after_s == 2.0
    assert classify(503, headers=reset).retry_after_s is None


def test_a_long_text_is_cut_and_its_controls_are_gone() -> None:
    error = classify(400, error_body(message="a\x1b[31m\r\n\u202eb\x00\ud83d" + "x" * 1000))
    assert error.message.startswith("HTTP 400: a [31m b \ufffdxxx")
    assert len(error.message) == MAX_MESSAGE
    assert error.message.endswith("…")


def test_a_body_with_broken_utf8_still_decides_by_its_code() -> None:
    body = b'{"error": {"message": "bad \xff prompt", "code": "insufficient_quota", "score": NaN}}'
    assert type(classify(429, body)) is errors.QuotaError


def test_a_huge_body_is_read_as_its_first_text_only() -> None:
    error = classify(500, b'{"error": {"message": "' + b"x" * (1 << 20) + b'", "code": "insufficient_quota"}}')
    assert type(error) is errors.ServerError
    assert len(error.message) == MAX_MESSAGE


def test_a_deeply_nested_body_is_survived() -> None:
    assert type(classify(500, b'{"error":' * 20_000 + b"1" + b"}" * 20_000)) is errors.ServerError
    assert type(classify(500, b'{"error":' * 500 + b'"x"' + b"}" * 500)) is errors.ServerError


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "error",
        7,
        {},
        {"choices": []},
        {"error": None, "status": "completed"},
        {"error": ""},
        {"error": {}},
        {"error": False},
        {"error": {"code": None, "message": None}, "choices": [{"index": 0}]},
        {"object": "chat.completion", "type": "insufficient_quota"},
    ],
)
def test_an_answer_without_an_error_object_is_no_error(answer: object) -> None:
    assert error_in_body(answer) is None


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        ({"error": True, "message": "no"}, errors.ServerError, "no"),
        ({"error": {"code": 401, "message": "no"}}, errors.AuthError, "no"),
        ({"error": {"code": 403, "message": "no"}}, errors.PermissionDeniedError, "no"),
        ({"error": {"code": True, "message": "no"}}, errors.ServerError, "no"),
        ({"error": {"code": 1302, "message": "no"}}, errors.ServerError, "no"),
        ({"error": {"type": "rate_limit_error"}}, errors.RateLimitError, "no text"),
        ({"error": {"type": "unheard_of", "message": "no"}}, errors.ServerError, "no"),
        ({"error": {"code": "context_length_exceeded", "message": "no"}}, errors.ContextLengthError, "no"),
        ({"error": {"errors": [{"code": 503, "message": "no"}]}}, errors.OverloadError, "no"),
    ],
)
def test_an_error_object_decides_by_code_then_type(answer: object, kind: type[errors.RequestError], text: str) -> None:
    error = error_in_body(answer)
    assert type(error) is kind
    assert error.message == f"HTTP 200 with an error: {text}"


@given(
    status=st.integers(0, 999).filter(lambda status: not 200 <= status < 300),
    body=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "location"]), st.text(max_size=20)),
    answered_before=st.booleans(),
)
def test_any_answer_is_classified(status: int, body: bytes, headers: dict[str, str], *, answered_before: bool) -> None:
    error = classify(status, body, headers, answered_before=answered_before)
    assert error.message.isprintable()
    assert len(error.message) <= MAX_MESSAGE
    assert error.http_status == status


@given(json_values)
def test_any_parsed_answer_is_examined(value: object) -> None:
    error = error_in_body(value)
    assert error is None or error.message.isprintable()
