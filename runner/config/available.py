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
    asked = _request(config)
    return [Problem(key, f"{what}: not available yet", "remove the key to go on without it") for key, what in asked]


def _request(config: RunConfig) -> Iterator[tuple[str, str]]:
    request = config.request
    if request.stream and request.endpoint not in _STREAMED:
        yield "request.stream", f"streaming with the endpoint {request.endpoint}"
    several = request.batch_size not in ("auto", 1)
    if several and request.stream:
        yield "request.stream", "streaming with requests of several samples"
    if several and config.model.adapter != "openai" and request.endpoint != "embeddings":
        yield "request.batch_size", f"{request.endpoint} of several samples in a request with an adapter"
    if several and request.on_truncated != "keep":
        yield "request.on_truncated", "asking again after a truncated answer with requests of several samples"
