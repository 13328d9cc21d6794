from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict
from runner.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USE_VARIABLE = "(put the key into an environment variable, and the variable's name into model.api_key_env)"
A_URL = "expected a URL that begins with http:// or https:// and names a host (e.g. http://127.0.0.1:8000/v1)"
A_MESSAGE = '(e.g. [{role: user, content: "{{ question }}"}])'
A_NAME = "(letters, digits, `.`, `_` and `-`, a letter or digit first, no `..`, 100 characters at most)"
A_VARIABLE = (
    "expected the NAME of an environment variable (letters, digits, _), not a key (e.g. api_key_env: OPENAI_API_KEY)"
)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("name", "", f'"" cannot name a folder {A_NAME}'),
        ("name", "../up", f'"../up" cannot name a folder {A_NAME}'),
        ("name", "a..b", f'"a..b" cannot name a folder {A_NAME}'),
        ("name", ".hidden", f'".hidden" cannot name a folder {A_NAME}'),
        ("name", "a b", f'"a b" cannot name a folder {A_NAME}'),
        ("name", "a\n", f'"a\\u000a" cannot name a folder {A_NAME}'),
        ("name", "ä", f'"ä" cannot name a folder {A_NAME}'),
        ("name", "a" * 101, f'"{"a" * 80}…" cannot name a folder {A_NAME}'),
        ("name", 5, "expected a text, found 5"),
        ("name", None, "expected a text, found null"),
        ("dataset.path", [], "the list is empty (name at least one file)"),
        ("dataset.path", "", '"" cannot be a path'),
        ("dataset.path", "a\0b", '"a\\u0000b" cannot be a path'),
        ("dataset.path", {}, "expected a text or a list, found a mapping"),
        ("dataset.types", {"a": "int32"}, None),
        ("dataset.limit", 0, "expected 1 or more, found 0"),
        ("dataset.limit", 1.0, "expected a whole number, found 1.0"),
        ("dataset.limit", True, "expected a whole number, found true"),
        ("dataset.shuffle_seed", -1, "expected 0 or more, found -1"),
        ("dataset.on_bad_row", "warn", 'expected stop or skip, found "warn"'),
        ("model.name", "", 'expected a text that is not empty, found ""'),
        ("model.base_url", "127.0.0.1:8000", A_URL),
        ("model.base_url", "file:///etc/passwd", A_URL),
        ("model.base_url", "http://", A_URL),
        ("model.base_url", "http://x y/v1", A_URL),
        ("model.base_url", "http://x:0/v1", A_URL),
        ("model.base_url", "http://x/v1\n", A_URL),
        ("model.base_url", "http://x:99999/v1", "is not a URL (e.g. http://127.0.0.1:8000/v1)"),
        ("model.base_url", "http://[::1/v1", "is not a URL (e.g. http://127.0.0.1:8000/v1)"),
        ("model.base_url", "http://me@x/v1", f"holds a user name or password {USE_VARIABLE}"),
        ("model.base_url", "http://:pw@x/v1", f"holds a user name or password {USE_VARIABLE}"),
        ("model.base_url", "http://x/v1?", f"holds a query or fragment, which could carry a key {USE_VARIABLE}"),
        ("model.base_url", "http://x/v1?key=1", f"holds a query or fragment, which could carry a key {USE_VARIABLE}"),
        ("model.base_url", "http://x/v1#a", f"holds a query or fragment, which could carry a key {USE_VARIABLE}"),
        (
            "model.base_url",
            "${BASE}/v1",
            ("holds a `$` (environment variables are not put into a config; --set model.base_url=… overrides it)"),
        ),
        ("model.base_url", [], "the list is empty (give at least one {url, weight})"),
        ("model.base_url", 5, "expected a text or a list, found 5"),
        ("model.api_key_env", "MY-KEY", A_VARIABLE),
        ("model.api_key_env", "$KEY", A_VARIABLE),
        ("model.api_key_env", "", A_VARIABLE),
        ("model.api_key_env", "1KEY", A_VARIABLE),
        (
            "model.adapter",
            "anthropic",
            ('expected openai or a file *.yaml, found "anthropic" (did you mean "anthropic-messages"?)'),
        ),
        ("model.path", "logits", "expected a path such as /logits, without a query"),
        ("model.path", "/logits?key=1", "expected a path such as /logits, without a query"),
        ("model.path", "/a b", "expected a path such as /logits, without a query"),
        ("model.embedded", "tiny", "stands beside base_url (an embedded model has no URL; keep one of them)"),
        ("model.price", 5, "expected a section with keys, found 5"),
        ("request.messages", [], f"the list is empty {A_MESSAGE}"),
        (
            "request.messages",
            "{{ a }} b",
            (f"expected a list of messages, or one template that is exactly {{{{ column }}}} {A_MESSAGE}"),
        ),
        (
            "request.messages",
            "{{ a.b }}",
            (f"expected a list of messages, or one template that is exactly {{{{ column }}}} {A_MESSAGE}"),
        ),
        (
            "request.endpoint",
            "rerank",
            ('expected chat, completions, logprobs, loglikelihood, embeddings or responses, found "rerank"'),
        ),
        ("request.stream", "yes", 'expected true or false, found "yes"'),
        ("request.stream", 1, "expected true or false, found 1"),
        ("request.repeats", 0, "expected 1 or more, found 0"),
        ("request.repeats", 2**31, "expected 2.14748e+09 or less, found 2147483648"),
        ("request.batch_size", 0, "expected 1 to 100000 or auto, found 0"),
        ("request.batch_size", "all", 'expected a whole number or auto, found "all"'),
        ("request.timeout_s.total", 0, "expected more than 0, found 0"),
        ("request.timeout_s.total", "10", 'expected a number, found "10"'),
        ("request.params", [], "expected a mapping, found a list"),
        ("limits.max_in_flight", 0, "expected 1 to 65535 or auto, found 0"),
        ("limits.max_in_flight", 65_536, "expected 1 to 65535 or auto, found 65536"),
        ("limits.max_in_flight", 1.5, "expected a whole number or auto, found 1.5"),
        ("limits.max_in_flight", None, "expected a whole number or auto, found null"),
        ("limits.requests_per_minute", 0, "expected more than 0, found 0"),
        ("limits.tokens_per_minute", -1, "expected more than 0, found -1"),
        ("limits.input_tokens_per_minute", "1", 'expected a number, found "1"'),
        ("limits.output_tokens_per_minute", True, "expected a number, found true"),
        ("limits", None, "expected a section with keys, found null"),
        ("retry.max_attempts", 0, "expected 1 or more, found 0"),
        ("retry.max_timeouts", -1, "expected 0 or more, found -1"),
        ("retry.first_wait_s", 0, "expected more than 0, found 0"),
        ("retry.max_wait_s", 0.1, "0.1 is less than first_wait_s, 0.5"),
        ("retry.deadline_s", 0, "expected more than 0, found 0"),
        ("budget.max_cost_usd", 0, "expected more than 0, found 0"),
        ("gates.max_failed_fraction", 1.1, "expected 1 or less, found 1.1"),
        ("scorers", {"name": "a"}, "expected a list, found a mapping"),
        ("nightly.keep", 0, "expected 1 or more, found 0"),
        ("output.dir", "", '"" cannot be a path'),
        ("output.dir", None, "expected a text, found null"),
    ],
)
def test_a_wrong_value_is_one_problem(
    key: str, value: Any, problem: str | None, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    found = complaints({key: value})
    if problem is None:
        key, problem = "dataset.types.a", 'expected int64, double, bool or string, found "int32"'
    assert found == [f"{key}: {problem}"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "a"),
        ("name", "A9._-" + "x" * 95),
        ("dataset.path", ["a.jsonl", "b.csv"]),
        ("dataset.path", "-"),
        ("model.base_url", "https://api.example.com:8443/a/b/"),
        ("model.base_url", "http://[::1]:80"),
        ("model.base_url", [{"url": "http://a"}, {"url": "http://b", "weight": 0.5}]),
        ("model.api_key_env", "_KEY1"),
        ("model.api_key_env", "AZURE_OPENAI_KEY_FOR_EVALUATION_2026"),
        ("model.adapter", "adapters/mine.yml"),
        ("model.adapter", "tgi-generate"),
        ("model.headers", {"X-Team": "evals", "OpenAI-Organization": "org", "X-Tab": "a\tb"}),
        ("model.path", "/v2/logits"),
        ("model.price", {}),
        ("request.messages", " {{- conversation }} "),
        ("request.messages", [{"role": "user", "content": [{"type": "text", "text": "{{ a }}"}]}]),
        ("request.retrieval.knowledge_base", "{{ kb }}"),
        ("limits.max_in_flight", 65_535),
        ("request.extra_body", {"max_tokens_total": "3", "guided_choice": ["a"]}),
    ],
)
def test_a_right_value_is_no_problem(key: str, value: Any, complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    assert complaints({key: value}) == []


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ([{"url": "ftp://x"}], [f"model.base_url.0.url: {A_URL}"]),
        ([{"url": "http://x", "weight": 0}], ["model.base_url.0.weight: expected more than 0, found 0"]),
        ([{"weight": 1}], ['model.base_url.0: missing key "url"']),
        (["http://x"], ["model.base_url.0: expected a section with keys, found a text"]),
        ([{"url": 5}], ["model.base_url.0.url: expected a text, found 5"]),
        (
            [{"url": "http://x/v1"}, {"url": "http://y/v1"}, {"url": "http://x/v1/"}],
            ["model.base_url.2.url: the same server stands twice (weight gives a server more of the requests)"],
        ),
        ([{"url": "http://x", "wait": 1}], ['model.base_url.0.wait: unknown key (did you mean "weight"?)']),
    ],
)
def test_a_wrong_server_of_a_pool_is_named(
    value: Any, problems: list[str], complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    assert complaints({"model.base_url": value}) == problems


def test_nested_values_are_named_by_their_key(complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    assert complaints({"dataset.path": ["a", 5]}) == ["dataset.path.1: expected a text, found 5"]
    assert complaints({"dataset.path": ["a", "-"]}) == ["dataset.path.1: standard input cannot be one of several files"]
    assert complaints({"dataset.path": ["a", ""]}) == ['dataset.path.1: "" cannot be a path']
    assert complaints({"request.messages": [{"role": "user"}, "hi"]}) == [
        'request.messages.1: expected a mapping, found "hi"'
    ]
    assert complaints({"gates.scores": {"em": {"mn": 1}}, "scorers": [EM]}) == [
        'gates.scores.em.mn: unknown key (did you mean "min"?)'
    ]
    assert complaints({"scorers": [{"as": "x"}]}) == ['scorers.0: missing key "name"']


def test_a_model_needs_a_server(complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    assert complaints({"model": {"name": "m"}}) == [
        'model: missing key "base_url" (e.g. base_url: http://127.0.0.1:8000/v1)'
    ]
    assert complaints({"model": {"embedded": "tiny"}}) == []


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("nmae", 'did you mean "name"?'),
        ("model.api_key", "a key never stands in a config: name its environment variable in model.api_key_env"),
        ("request.max_tokens", "it belongs under request.params or under budget"),
        ("request.max_token", 'did you mean "max_tokens"? It belongs under request.params or under budget'),
        ("request.limits", "it belongs at the top level"),
        ("request.base_url", "it belongs under model"),
        ("requests_per_minute", "it belongs under limits"),
        ("path", "it belongs under dataset or under model"),
        ("limits.rpm", "write limits.requests_per_minute"),
        ("limits.concurrency", "write limits.max_in_flight"),
        ("retry.max_attempt", 'did you mean "max_attempts"?'),
        ("retry.zzz", "the keys here are max_attempts, max_timeouts, first_wait_s, max_wait_s, deadline_s"),
        (
            "model.price.output",
            (
                "it belongs at the top level; the keys here are input_per_million, cached_input_per_million, "
                "output_per_million"
            ),
        ),
    ],
)
def test_an_unknown_key_comes_with_advice(
    key: str, advice: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    assert complaints({key: "x"}) == [f"{key}: unknown key ({advice})"]


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "Cookie",
        "api-key",
        "X-API-Key",
        "apikey",
        "x-goog-api-key",
        "X-Auth-Token",
        "X-Client-Secret",
        "Ocp-Apim-Subscription_Api_Key",
        "x-password",
    ],
)
def test_a_header_that_carries_a_credential_is_refused(
    name: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    found = complaints({"model.headers": {name: "hunter2"}})
    assert found == [f"model.headers.{name}: a header of this name carries a credential {USE_VARIABLE}"]


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"X A": "b"}, "model.headers.X A: is not the name of an HTTP header"),
        ({"X-A": "b\r\nX-B: c"}, "model.headers.X-A: a line break or control character cannot stand in a header"),
        ({"X-A": "a\0"}, "model.headers.X-A: a line break or control character cannot stand in a header"),
        ({"X-A": 5}, "model.headers.X-A: expected a text, found 5"),
    ],
)
def test_a_header_has_to_be_one(
    headers: dict[str, Any], problem: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    assert complaints({"model.headers": headers}) == [problem]


EM = {"name": "exact_match", "as": "em"}
KEYS = [
    "sk-proj-abcdefghijklmnop1234",
    "hf_abcdefghijklmnopqrst",
    "ghp_abcdefghijklmnop1234",
    "AIzaSyabcdefghijklmnop1234",
    "gsk_abcdefghijklmnop1234",
    "Bearer abcdefgh12345678",
    "eyJhbGciOiJIUzI1NiJ9abc",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "place",
    [
        "model.api_key_env",
        "model.name",
        "model.base_url",
        "model.headers",
        "model.adapter",
        "model.path",
        "request.params",
        "request.extra_body",
        "name",
        "model.api_key",
        "dataset.limit",
        "request.endpoint",
        "model.price",
        "limits.max_in_flight",
        "model",
    ],
)
def test_no_message_repeats_a_key(place: str, key: str, values: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    misplaced: dict[str, Any] = {
        "model.base_url": f"http://x/{key}",
        "model.headers": {"X-Org": key},
        "model.path": f"/{key}",
        "request.params": {"metadata": {"a": [key]}},
        "request.extra_body": {"a": [{"b": key}]},
    }
    with pytest.raises(ConfigError) as caught:
        config_from_dict(values({place: misplaced.get(place, key)}), tmp_path)
    for problem in caught.value.problems:
        if place != "model":  # there it is a path, and the file's name is what is missing
            assert key not in str(problem)


def test_a_field_of_the_body_that_names_a_credential_is_refused(
    complaints: Callable[[dict[str, Any]], list[str]],
) -> None:
    for section in ("request.params", "request.extra_body"):
        assert complaints({section: {"auth": {"api_key": "hunter2"}}}) == [
            f"{section}.auth.api_key: the name of this field says that it carries a credential {USE_VARIABLE}"
        ]


def test_a_random_looking_name_is_no_variable(complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    assert complaints({"model.api_key_env": "d41d8cd98f00b204e9800998ecf8427e"}) == [f"model.api_key_env: {A_VARIABLE}"]


def test_values_are_shown_inert_and_short(complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    assert complaints({"request.stream": "\x1b[2J\u202e"}) == [
        'request.stream: expected true or false, found "\\u001b[2J\\u202e"'
    ]
    assert complaints({"request.stream": "ab " * 100}) == [
        f'request.stream: expected true or false, found "{("ab " * 100)[:80]}…"'
    ]
    assert complaints({"request.stream": "a1b2c3d4e5f6a7b8c9d0e1"}) == [
        "request.stream: expected true or false, found a text of 22 characters"
    ]
    assert complaints({"\x1b[2J": 1})[0].startswith("\\u001b[2J: unknown key")


@pytest.mark.parametrize("shape", [None, 5, "text", [], [5], {"a": 5}, [[{}]], True])
@pytest.mark.parametrize(
    "key",
    [
        "name",
        "dataset",
        "dataset.path",
        "model",
        "model.base_url",
        "model.headers",
        "request",
        "request.params",
        "request.messages",
        "request.extra_body",
        "limits",
        "retry",
        "scorers",
        "gates",
        "gates.scores",
        "output",
        "matrix",
    ],
)
def test_no_shape_of_a_value_breaks_the_checks(
    key: str, shape: Any, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    for problem in complaints({key: shape}):
        assert "Input should" not in problem
