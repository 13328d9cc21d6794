from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("changes", "where", "message"),
    [
        (
            {
                "request.endpoint": "completions",
                "request.prompt": "{{ question }}",
                "request.batch_size": 4,
                "request.params": {"max_tokens": 4},
                "request.on_truncated": "retry",
                "request.max_tokens_cap": 8,
            },
            "request.on_truncated",
            "asking again after a truncated answer with requests of several samples",
        ),
    ],
)
def test_what_does_not_exist_yet_is_named(
    changes: dict[str, Any], where: str, message: str, values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (problem,) = unavailable(config_from_dict(values(changes), tmp_path))
    assert (problem.where, problem.message) == (where, f"{message}: not available yet")
    assert problem.hint


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"request.repeats": 5},
        {"model.base_url": [{"url": "http://a"}, {"url": "http://b", "weight": 2}]},
        {"request.stream": True},
        {"request.on_unsupported": "fail"},
        {"request": {"params": {"max_tokens": 4}, "on_truncated": "retry", "max_tokens_cap": 8}},
        {"request.endpoint": "completions", "request.prompt": "{{ question }}"},
        {"request.endpoint": "embeddings", "request.input": "{{ question }}"},
        {"request.endpoint": "completions", "request.prompt": "{{ question }}", "request.batch_size": 4},
        {"request.endpoint": "logprobs"},
        {"request.endpoint": "responses"},
        {"request.endpoint": "responses", "request.stream": True},
        {"request.endpoint": "loglikelihood", "request.context": "c", "request.continuations": ["a"]},
        {"model.path": "/logits"},
        {"model.adapter": "a.yaml"},
        {"model.adapter": "openai-completions", "request.endpoint": "completions"},
        {"request.retrieval": {"knowledge_base": "{{ kb }}", "documents": ["a"]}},
        {"model.adapter": "a.yaml", "request.retrieval.documents": ["a"]},
        {"model.base_url": [{"url": "http://a"}]},
        {"model": {"embedded": "smollm2-135m"}},
        {"model.price": {"input_per_million": 1}},
        {"nightly": {"time_zone": "Europe/Zurich", "deadline": "06:00", "keep": 3}},
        {"limits": {"max_in_flight": 3, "requests_per_minute": 5, "tokens_per_minute": 6}},
        {"limits": {"input_tokens_per_minute": 7, "output_tokens_per_minute": 8}},
        {"gates": {"max_failed_fraction": 0.5, "baseline": "last_good"}},
        {"gates.scores": {"s": {"min": 0}}, "scorers": [{"name": "includes", "as": "s"}]},
        {"scorers": [{"name": "exact_match", "ignore_case": True}]},
        {"dataset": {"path": "-", "on_bad_row": "skip", "limit": 3, "shuffle_seed": 4, "types": {"a": "string"}}},
        {"output.keep_raw": False},
        {"notify": [{"webhook_env": "HOOK", "on": "always"}]},
    ],
)
def test_what_exists_is_not_named(
    changes: dict[str, Any], values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    assert unavailable(config_from_dict(values(changes), tmp_path)) == []


def test_everything_asked_for_is_named_at_once(values: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    changes = {"request.endpoint": "embeddings", "request.input": "a", "request.batch_size": 4, "request.stream": True}
    found = [problem.where for problem in unavailable(config_from_dict(values(changes), tmp_path))]
    assert found == ["request.stream", "request.stream"]


def test_what_cannot_be_streamed_is_named(values: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    config = config_from_dict(values({"request.endpoint": "embeddings", "request.stream": True}), tmp_path)
    (problem,) = [problem for problem in unavailable(config) if problem.where == "request.stream"]
    assert problem.message == "streaming with the endpoint embeddings: not available yet"
