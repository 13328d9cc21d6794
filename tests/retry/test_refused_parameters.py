"""Owns the table of real refusals of parameters: which server said what, and which members of the request it blames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.retry import find_refusal

BODIES = Path(__file__).parent.parent / "bodies"
# A request with everything in it.
SENT: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 5,
    "max_completion_tokens": 5,
    "temperature": 0,
    "top_p": 0.5,
    "top_k": 3,
    "n": 2,
    "seed": 1,
    "logprobs": True,
    "top_logprobs": 5,
    "tools": [],
    "best_of": 2,
    "suffix": "x",
    "echo": True,
    "logit_bias": {},
    "frequency_penalty": 1,
    "user": "u",
}

# The status stands in the file's name.
AMONG_THE_ERRORS = ("error_openai_400_param.json",)
REFUSED = {
    "openai_400_max_tokens.json": ("max_tokens",),
    "openai_400_temperature.json": ("temperature",),
    "openai_400_unknown.json": ("top_k",),
    "openai_400_n_above.json": ("n",),
    "openai_403_logprobs.json": ("logprobs",),
    "azure_400_unrecognized.json": ("max_completion_tokens",),
    "vllm_400_extra.json": ("max_completion_tokens",),
    "vllm_400_suffix.json": ("suffix",),
    "fastapi_422_extra.json": ("n",),
    "fastapi_422_extra_v1.json": ("seed",),
    "fastapi_422_n_at_most_one.json": ("n",),
    "mistral_422_extra.json": ("logprobs",),
    "mistral_422_listed_twice.json": ("tools",),
    "llamacpp_400_n.json": ("n",),
    "llamacpp_500_n_old.json": ("n",),
    "llamacpp_500_echo_old.json": ("echo",),
    "llamacpp_400_tools.json": ("tools",),
    "tgi_422_best_of.json": ("best_of",),
    "tgi_422_suffix.json": ("suffix",),
    "ollama_400_tools.json": ("tools",),
    "litellm_400_list.json": ("n", "logprobs"),
    "litellm_500_dict.json": ("n", "user"),
    "litellm_400_temperature.json": ("temperature",),
    "litellm_400_wrapped.json": ("max_completion_tokens",),
    "bedrock_400_extra.json": ("top_k",),
    "bedrock_400_extraneous.json": ("seed",),
    "anthropic_400_top_p.json": ("top_p",),
    "anthropic_400_deprecated.json": ("temperature",),
    "groq_400_property.json": ("logit_bias",),
    "groq_400_n.json": ("n",),
    "groq_400_logprobs.json": ("logprobs",),
    "gemini_400_unknown_name.json": ("seed",),
    "gemini_400_logprobs.json": ("logprobs",),
    "xai_400_camel.json": ("frequency_penalty",),
}


def find(status: int, answer: Any, sent: dict[str, Any] | None = None) -> tuple[str, ...] | None:
    body = answer if isinstance(answer, bytes) else orjson.dumps(answer)
    refusal = find_refusal(status, body, orjson.dumps(SENT if sent is None else sent))
    return refusal and refusal.names


def test_the_table_holds_every_refusal() -> None:
    assert {path.name.removeprefix("refused_") for path in BODIES.glob("refused_*")} == REFUSED.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_a_real_refusal_blames_what_it_names(name: str) -> None:
    body = (BODIES / f"refused_{name}").read_bytes()
    status = int(name.split("_")[1])
    refusal = find_refusal(status, body, orjson.dumps(SENT))
    assert refusal is not None
    assert refusal.names == REFUSED[name]
    assert refusal.said.startswith(f"HTTP {status}: ")
    assert len(refusal.said) <= 240
    without = {key: value for key, value in SENT.items() if key not in REFUSED[name]}
    assert find(status, body, without) is None


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(BODIES.glob("error_*")) if path.name not in AMONG_THE_ERRORS],
    ids=lambda path: path.name,
)
def test_no_other_real_error_is_taken_for_one(path: Path) -> None:
    for status in (200, 400, 403, 422, 500):
        assert find(status, path.read_bytes()) is None


@pytest.mark.parametrize("status", [401, 402, 404, 408, 413, 429, 502, 503, 529, 302])
def test_only_a_refusing_status_refuses_a_parameter(status: int) -> None:
    assert find(status, (BODIES / "refused_openai_400_temperature.json").read_bytes()) is None


@pytest.mark.parametrize("name", ["openai_400_temperature", "azure_400_unrecognized", "fastapi_422_extra"])
def test_a_500_is_believed_only_where_servers_are_known_to_say_it_so(name: str) -> None:
    assert find(500, (BODIES / f"refused_{name}.json").read_bytes()) is None


def test_an_error_inside_a_200_is_read_by_its_code() -> None:
    error = {"message": "property 'seed' is unsupported", "code": 400}
    assert find(200, {"error": error}) == ("seed",)
    assert find(200, {"error": {**error, "code": 502}}) is None


@pytest.mark.parametrize(
    "answer",
    [
        # The row's own content is blamed, or one of its values.
        {"error": {"message": "Unsupported value", "param": "messages[0].role", "code": "unsupported_value"}},
        {"error": {"message": "bad", "param": "model", "code": "unsupported_parameter"}},
        {"error": {"message": "bad", "param": "temperature", "code": "invalid_type"}},
        {"error": {"message": "bad", "param": "top_logprobs", "code": "integer_above_max_value"}},
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "messages", 0, "user", "name"], "msg": "Extra"}]},
        {"detail": [{"type": "missing", "loc": ["body", "seed"], "msg": "Field required"}]},
        {"detail": [{"type": "less_than_equal", "loc": ["body", "temperature"], "msg": "at most 1"}]},
        {"error": {"message": "messages.65.content.1.tool_use.text: Extra inputs are not permitted"}},
        # It blames what was not sent.
        {"error": {"message": "Unknown parameter: 'frobnicate'.", "param": "frobnicate", "code": "unknown_parameter"}},
        {"error": {"message": "The model does not support images"}},
        {"error": {"message": "temperature and seed and n"}},
        {"error": {"message": "Unsupported parameter"}},
        {"detail": "n"},
        {"detail": [["body", "n"], None, 3, {"loc": "body.n", "type": "extra_forbidden"}, {"loc": [1, 2]}]},
        {"error": {"param": ["n"], "code": ["unsupported_parameter"]}},
        [],
        None,
        b"",
        b"<html>n</html>",
        b"[" * 100_000,
    ],
)
def test_what_blames_nothing_that_can_go_is_the_rows_own(answer: Any) -> None:
    assert find(400, answer) is None
    assert find(422, answer) is None


@pytest.mark.parametrize(
    "phrase",
    [
        "Unsupported parameter: 'temperature' is not supported with this model.",
        "litellm.UnsupportedParamsError: x does not support parameters: {'n': 2}, for model=y",
        "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted'}]",
        'Unknown name "seed": Cannot find field.',
        "seed:\nExtra inputs\nare not permitted",
    ],
)
def test_the_requests_own_words_said_back_refuse_nothing(phrase: str) -> None:
    """A dataset may hold error messages, and a server may quote the prompt that it refuses."""
    sent = {**SENT, "messages": [{"role": "user", "content": f"Explain: {phrase}"}]}
    said = {"error": {"message": f"The prompt was filtered: Explain: {phrase}", "type": "invalid_request_error"}}
    assert find(400, said, sent) is None


@given(
    st.sampled_from([200, 400, 403, 422, 500]),
    st.recursive(
        st.none()
        | st.integers(0, 600)
        | st.text(max_size=20)
        | st.sampled_from(["n", "seed", "body", "extra_forbidden"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "detail", "message", "loc", "type", "param", "code"]), inner)
        ),
        max_leaves=20,
    ),
)
def test_whatever_a_server_says_only_what_was_sent_is_blamed(status: int, answer: Any) -> None:
    names = find(status, orjson.dumps(answer))
    assert names is None or set(names) <= SENT.keys() - {"model", "messages"}


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_bytes_that_are_no_json_refuse_nothing(answer: bytes, sent: bytes) -> None:
    found = find_refusal(400, answer, sent)
    assert found is None or found.names
