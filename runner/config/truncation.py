"""Owns what a config may say about answers that are cut off: which parameter is enlarged, and when nothing can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.config.places import Finding, value_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.config.models import Request

# What an endpoint calls the most tokens of an answer; for the others there is no answer to cut off.
LONGEST_ANSWER: dict[str, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "logprobs": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens", "max_completion_tokens"),
    "responses": ("max_output_tokens",),
}
_ON_TRUNCATED, _CAP = ("request", "on_truncated"), ("request", "max_tokens_cap")


def truncation_findings(values: Any) -> Iterator[Finding]:
    """Find what keeps answers from being asked for again with more tokens."""
    endpoint, cap = value_at(values, ("request", "endpoint")) or "chat", value_at(values, _CAP)
    if value_at(values, _ON_TRUNCATED) != "retry" or not isinstance(endpoint, str):
        return
    names = LONGEST_ANSWER.get(endpoint)
    if names is None:
        yield Finding(_ON_TRUNCATED, f"is not used by the endpoint {endpoint}", "its answers cannot be cut off")
        return
    if cap is None:
        yield Finding(_ON_TRUNCATED, "needs request.max_tokens_cap beside it", "e.g. max_tokens_cap: 4096")
        return
    sections = [value_at(values, ("request", section)) for section in ("params", "extra_body")]
    given = {name: one[name] for name in names for one in sections if isinstance(one, dict) and name in one}
    # OpenAI Batch lines bring parameters of their own, and the config says nothing of what is asked.
    content = value_at(values, ("request", "prompt" if endpoint == "completions" else "messages"))
    if not given and content is not None:
        message = f"the request has no {names[0]} that could be enlarged"
        yield Finding(_ON_TRUNCATED, message, f"add {names[0]} to request.params")
    for name, value in given.items():
        if isinstance(value, int) and isinstance(cap, int) and value >= cap:
            yield Finding(_CAP, f"{cap} is not more than {name}, {value}", "no answer could be asked for again")


def truncation_doubts(request: Request) -> list[str]:
    """Return what is allowed but has no effect."""
    if request.max_tokens_cap is not None and request.on_truncated != "retry":
        return ["request.max_tokens_cap: has no effect without on_truncated: retry"]
    return []
