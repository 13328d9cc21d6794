"""Owns the list of what the config's contract names and this version does not do yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.config.models import RunConfig


# The endpoints whose answers can be streamed.
_STREAMED = ("chat", "logprobs", "completions", "responses")


def unavailable(config: RunConfig) -> list[Problem]:
    """Return a problem for each key that asks for what does not exist yet; `where` is the key."""
    asked = [*_model(config), *_request(config), *_limits(config), *_after(config)]
    return [Problem(key, f"{what}: not available yet", "remove the key to go on without it") for key, what in asked]


def _model(config: RunConfig) -> Iterator[tuple[str, str]]:
    if isinstance(config.model.base_url, list) and len(config.model.base_url) > 1:
        yield "model.base_url", "a pool of more than one server"


def _request(config: RunConfig) -> Iterator[tuple[str, str]]:
    request = config.request
    if request.stream and request.endpoint not in _STREAMED:
        yield "request.stream", f"streaming with the endpoint {request.endpoint}"
    several = request.batch_size not in ("auto", 1)
    if several and request.stream:
        yield "request.stream", "streaming with requests of several samples"
    if several and config.model.adapter != "openai" and request.endpoint != "embeddings":
        yield "request.batch_size", f"{request.endpoint} of several samples in a request with an adapter"
    if request.on_truncated != "keep":
        yield "request.on_truncated", "asking again after a truncated answer"
    if request.max_tokens_cap is not None:
        yield "request.max_tokens_cap", "asking again after a truncated answer"
    retrieval = request.retrieval
    if config.model.adapter != "openai" and (retrieval.knowledge_base, retrieval.documents) != (None, None):
        yield "request.retrieval", "retrieval through an adapter"


def _limits(config: RunConfig) -> Iterator[tuple[str, str]]:
    if config.limits.input_tokens_per_minute is not None:
        yield "limits.input_tokens_per_minute", "a limit for prompt tokens alone"
    if config.limits.output_tokens_per_minute is not None:
        yield "limits.output_tokens_per_minute", "a limit for answer tokens alone"


def _after(config: RunConfig) -> Iterator[tuple[str, str]]:
    if config.scorers:
        yield "scorers", "scorers"
    if config.gates.baseline is not None:
        yield "gates.baseline", "comparison with a baseline"
    if config.gates.scores:
        yield "gates.scores", "score gates"
    if config.notify:
        yield "notify", "notifications"
    if config.matrix is not None:
        yield "matrix", "a matrix of models and datasets"
