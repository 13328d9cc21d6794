"""Owns guesses of token counts: each text beside the counts that real tokenizers gave for it."""

from __future__ import annotations

from typing import Any

import pytest

from runner.pipeline.passes.tokenguess import guess_body, guess_content, guess_text

TEXTS = {
    "prose": (
        "The committee decided to postpone the vote until every member had read the report. Nobody objected, "
        "although several people had travelled a long way to be there, and the chair thanked them for it."
    ),
    "code": (
        "def mean(values: list[float]) -> float:\n    if not values:\n        raise ValueError('no values')\n"
        "    return sum(values) / len(values)\n"
    ),
    "digits": "Natalia sold 48 clips in April and 1250 in May; 48 + 1250 = 1298, which is $3,245.50 at $2.50 each.",
    "german": "Die Grundstücksgesellschaft prüft, ob der Käufer die Gebühren übernehmen könnte.",
    "russian": "Комитет решил отложить голосование до завтра.",
    "chinese": "委员会决定把投票推迟到明天,因为没有人读过报告。",
}
# The least and the most that the tokenizers of GPT-4, GPT-4o, DeepSeek and Claude 2 make of them.
COUNTS = [
    ("prose", 38, 39),
    ("code", 31, 36),
    ("digits", 37, 42),
    ("german", 15, 26),
    ("russian", 11, 22),
    ("chinese", 13, 27),
]


def test_nothing_is_no_token() -> None:
    assert guess_text("") == 0.0


@pytest.mark.parametrize(("name", "least", "most"), COUNTS)
def test_a_guess_lies_near_what_tokenizers_count(name: str, least: int, most: int) -> None:
    assert 0.85 * least <= guess_text(TEXTS[name]) <= 1.15 * most


def test_token_ids_are_what_they_are() -> None:
    assert guess_content([5, 6, 7]) == 3
    assert guess_content([[5, 6, 7], [8, 9]]) == 5


def test_a_file_in_base64_counts_as_for_limits() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 100_000, "format": "wav"}}
    text = {"type": "text", "text": "What is it?"}
    message = {"role": "user", "content": [text, picture, sound]}
    assert guess_content([message]) == pytest.approx(2000 + 4 + guess_text("What is it?"))


@pytest.mark.parametrize("name", ["tools", "response_format"])
def test_tools_and_schemas_are_part_of_the_prompt(name: str) -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
    schema = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
    assert guess_body({**body, name: schema}, "messages") > guess_body(body, "messages") + 10


def test_broken_code_points_are_counted() -> None:
    assert guess_text("a\ud800b") > 1
