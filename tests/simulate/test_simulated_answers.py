from __future__ import annotations

import math
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.simulate.answers import AnswerStyle, Stamp, build_answer
from runner.simulate.logprobs import chat_logprobs
from runner.simulate.prompts import count_tokens, read_chat, request_digest

STAMP = Stamp(seed=0, number=1, created=1_700_000_000)
STYLE = AnswerStyle()


def ask(style: AnswerStyle = STYLE, stamp: Stamp = STAMP, **body: Any) -> dict[str, Any]:
    body.setdefault("messages", [{"role": "user", "content": "What is the capital of France?"}])
    return build_answer(read_chat(body, request_digest(body)), style, stamp)


def text_of(answer: dict[str, Any], choice: int = 0) -> str:
    return str(answer["choices"][choice]["message"]["content"])


def numbered(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"question {number}"}]


def test_the_same_request_gets_the_same_text_at_any_time_and_place() -> None:
    first = ask(model="m")
    again = ask(model="other", temperature=0, stamp=Stamp(seed=0, number=99, created=1_800_000_000))
    assert text_of(first) == text_of(again)
    assert first["id"] != again["id"]


def test_messages_request_seed_server_seed_and_choice_change_the_text() -> None:
    answer = ask(n=2)
    texts = {
        text_of(answer),
        text_of(answer, 1),
        text_of(ask(messages=numbered(1))),
        text_of(ask(seed=1)),
        text_of(ask(stamp=Stamp(seed=1, number=1, created=0))),
    }
    assert len(texts) == 5


def test_the_body_has_openai_s_shape() -> None:
    answer = ask(model="m", max_tokens=3)
    assert answer["object"] == "chat.completion"
    assert (answer["created"], answer["model"], answer["service_tier"]) == (1_700_000_000, "m", "default")
    assert answer["id"].startswith("chatcmpl-")
    assert answer["system_fingerprint"].startswith("fp_")
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": text_of(answer), "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "length",
        }
    ]
    assert answer["usage"] == {
        "prompt_tokens": 12,
        "completion_tokens": 3,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


@given(tokens=st.integers(1, 300), limit=st.none() | st.integers(1, 300), n=st.integers(1, 4))
def test_lengths_are_exact_and_the_maximum_cuts(tokens: int, limit: int | None, n: int) -> None:
    answer = ask(AnswerStyle(completion_tokens=tokens), max_completion_tokens=limit, n=n)
    kept = tokens if limit is None else min(tokens, limit)
    assert [count_tokens(text_of(answer, choice)) for choice in range(n)] == [kept] * n
    assert answer["usage"]["completion_tokens"] == n * kept
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"length" if kept < tokens else "stop"}


def test_drawn_lengths_spread_around_the_median() -> None:
    lengths = [ask(messages=numbered(number))["usage"]["completion_tokens"] for number in range(500)]
    assert 36 <= median(lengths) <= 44
    assert min(lengths) < 20
    assert max(lengths) > 100


def test_stop_leaves_out_the_stop_text_and_what_follows() -> None:
    full = text_of(ask())
    stop = full[10:14]
    answer = ask(stop=["never there", stop])
    assert text_of(answer) == full[: full.index(stop)]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_stop_beyond_the_maximum_does_not_count() -> None:
    full = text_of(ask())
    answer = ask(stop=full[-5:], max_tokens=2)
    assert text_of(answer) == full[:8]
    assert answer["choices"][0]["finish_reason"] == "length"


def test_echo_answers_with_the_last_user_message() -> None:
    messages = [{"role": "user", "content": "one"}, {"role": "user", "content": [{"type": "text", "text": "two, 2"}]}]
    answer = ask(AnswerStyle(echo=True, completion_tokens=9), messages=messages)
    assert text_of(answer) == "two, 2"
    assert answer["usage"]["completion_tokens"] == 2


def test_long_prompts_may_be_cached_in_steps() -> None:
    cached = []
    for number in range(50):
        content = f"{number:04d}" * 2048
        usage = ask(messages=[{"role": "user", "content": content}])["usage"]
        cached.append(usage["prompt_tokens_details"]["cached_tokens"])
    assert {tokens % 128 for tokens in cached} == {0}
    assert 0 <= min(cached) < max(cached) <= 2052


def test_logprobs_stand_in_the_choice() -> None:
    answer = ask(logprobs=True, top_logprobs=3)
    content = answer["choices"][0]["logprobs"]["content"]
    assert answer["choices"][0]["logprobs"]["refusal"] is None
    assert "".join(entry["token"] for entry in content) == text_of(answer)
    assert len(content) == answer["usage"]["completion_tokens"]
    assert ask(logprobs=True, top_logprobs=3)["choices"][0]["logprobs"]["content"] == content


@given(text=st.text(max_size=200), top=st.integers(0, 20), key=st.text(max_size=5), greedy=st.booleans())
def test_logprobs_are_valid_for_any_text(text: str, top: int, key: str, greedy: bool) -> None:  # noqa: FBT001 - Hypothesis passes by name
    text = text.encode(errors="replace").decode()
    content = chat_logprobs(text, top, key, greedy=greedy)["content"]
    assert "".join(entry["token"] for entry in content) == text
    for entry in content:
        values = [other["logprob"] for other in entry["top_logprobs"]]
        assert len(values) == top
        assert values == sorted(values, reverse=True)
        assert all(math.isfinite(value) and value <= 0 for value in [entry["logprob"], *values])
        assert sum(math.exp(value) for value in values) <= 1 + 1e-9
        assert bytes(entry["bytes"]).decode() == entry["token"]
        names = [other["token"] for other in entry["top_logprobs"]]
        assert len(set(names)) == len(names)
        if entry["token"] in names:
            assert entry["top_logprobs"][names.index(entry["token"])]["logprob"] == entry["logprob"]
        elif values:
            assert entry["logprob"] < values[-1]


def test_the_sampled_token_is_sometimes_outside_the_list_unless_greedy() -> None:
    def outside(*, greedy: bool) -> int:
        content = chat_logprobs("word" * 500, 5, "key", greedy=greedy)["content"]
        return sum(entry["token"] not in {other["token"] for other in entry["top_logprobs"]} for entry in content)

    assert 10 < outside(greedy=False) < 250
    assert outside(greedy=True) == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_the_fingerprint_follows_the_server_s_seed(seed: int) -> None:
    stamp = Stamp(seed=seed, number=1, created=0)
    assert (ask(stamp=stamp)["system_fingerprint"] == ask()["system_fingerprint"]) is (seed == 0)
