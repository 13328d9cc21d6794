"""Owns noticing what was asked for and silently left out: log probabilities, by servers that ignore the flag. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runner.errors import UnsupportedError
from runner.jsontext import loads

if TYPE_CHECKING:
    from runner.endpoints import Endpoint
    from runner.records import Output, Request

# In JSON a quote inside a text is escaped, so that these names with their quotes can be nothing but keys.
_DELIVERED = re.compile(rb'"logprob"\s*:|"token_logprobs"\s*:\s*\[')
_ASKED = b'logprobs"'


def find_omission(endpoint: Endpoint, request: Request, answer: bytes) -> UnsupportedError | None:
    """Return the error that an accepted answer without the log probabilities its request asked for is; else null.

    An answer without text (a refusal, a tool call, nothing at all) has no tokens to be given probabilities: it shows
    nothing. Nor does one of broken characters alone: llama.cpp gives none for tokens that never made up a whole one. An
    answer that has them is told by a glance at its bytes; nothing is parsed then.
    """
    if endpoint.find_omission is not None:
        return endpoint.find_omission(request, answer)
    if _ASKED not in request.body or _DELIVERED.search(answer):
        return None
    try:
        asked, _ = loads(request.body)
        if not endpoint.asks_for_logprobs(asked):
            return None
        parsed = endpoint.parse(answer, len(request.cases), request.choices)
    except ValueError:
        return None
    outputs = [output for case in parsed.outputs for output in case]
    if not any(_has_tokens(output) for output in outputs) or any(_has_values(output) for output in outputs):
        return None
    return UnsupportedError(
        "the server left out the log probabilities that the request asked for: "
        f"its answer at {request.path} has a text and no logprobs",
        hint="its text is kept; request.on_unsupported: adapt, in a new run, goes on without log probabilities",
    )


def _has_tokens(output: Output) -> bool:
    text = (output.text or "").strip("\ufffd")
    return bool(text) and output.status in ("ok", "truncated") and not output.tool_calls


def _has_values(output: Output) -> bool:
    return output.logprobs is not None and any(value is not None for value in output.logprobs.token_logprobs)
