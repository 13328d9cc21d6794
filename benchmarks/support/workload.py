"""Owns what is sent: a dataset of N rows and the config that runs it."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "static"
IN_FLIGHT = 64
PARAMS: dict[str, Any] = {"temperature": 0, "max_completion_tokens": 256}
RATE_PARAMS: dict[str, Any] = {"temperature": 0, "max_completion_tokens": 64}
LOGPROB_PARAMS: dict[str, Any] = {**PARAMS, "logprobs": True, "top_logprobs": 5}

# With its number a question has about 300 characters.
_QUESTION = (
    "A train leaves the northern station at a quarter past nine and runs at {speed} kilometres an hour; another leaves "
    "the southern one, {distance} kilometres away, twenty minutes later and runs towards it at ninety. After how many "
    "minutes do they meet, and how far from the northern station? Answer briefly."
)


def write_rows(path: Path, rows: int, first: int = 0) -> None:
    """Write rows `first` to `first + rows` as JSON Lines; with `first` above 0 they are appended."""
    with path.open("a" if first else "w", encoding="utf-8") as file:
        for number in range(first, first + rows):
            question = f"{number}. " + _QUESTION.format(speed=60 + number % 90, distance=100 + number % 611)
            row = {"id": f"row-{number}", "question": question, "answer": str(number % 997)}
            file.write(json.dumps(row) + "\n")


def write_prompts(path: Path, rows: int, least: int, most: int) -> None:
    """Write rows whose prompts have `least` to `most` of the simulator's tokens, short ones as likely as long ones."""
    chance = random.Random(1)  # noqa: S311 - the same prompts in every run
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            # Four characters are a token, and a message is four tokens more.
            characters = round(least * (most / least) ** chance.random()) * 4 - 16
            question = f"{number} {_QUESTION * (characters // len(_QUESTION) + 1)}"[:characters]
            file.write(json.dumps({"id": f"row-{number}", "question": question, "answer": ""}) + "\n")


def write_config(path: Path, dataset: Path, base_url: str, params: dict[str, Any]) -> None:
    """Write the config of a run over `dataset` (JSON is YAML)."""
    request = {"endpoint": "chat", "messages": [{"role": "user", "content": "{{ question }}"}], "params": params}
    _write_config(path, dataset, base_url, request, {"max_in_flight": IN_FLIGHT})


def write_rate_config(path: Path, dataset: Path, base_url: str, limits: dict[str, Any]) -> None:
    """Write the config of a run over `dataset` that is about `limits`."""
    messages = [{"role": "user", "content": "{{ question }}"}]
    request = {"endpoint": "chat", "messages": messages, "params": RATE_PARAMS}
    _write_config(path, dataset, base_url, request, limits)


def write_embedding_config(path: Path, dataset: Path, base_url: str, batch_size: int | str) -> None:
    """Write the config of a run that embeds each row of `dataset`, so many in a request."""
    request = {"endpoint": "embeddings", "input": "{{ question }}", "batch_size": batch_size}
    _write_config(path, dataset, base_url, request, {"max_in_flight": IN_FLIGHT if batch_size == 1 else "auto"})


def _write_config(path: Path, dataset: Path, base_url: str, request: dict[str, Any], limits: dict[str, Any]) -> None:
    config = {
        "name": "benchmark",
        "dataset": {"path": str(dataset), "id": "id", "target": "answer"},
        "model": {"base_url": base_url, "name": MODEL},
        "request": request,
        "limits": limits,
    }
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
