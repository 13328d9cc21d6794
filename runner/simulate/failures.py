"""Owns failures with a status of their own: replies that real servers and the proxies before them give.

The shapes differ on purpose, as the servers do: OpenAI's and Azure's error object, vLLM's flat one, llama.cpp's with a
number as code, DeepSeek's 402, FastAPI's 422, Anthropic's 529, and nginx's pages.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from runner.simulate.replies import Reply, json_reply, model_not_found, quota_exhausted, unauthorised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.simulate.details import FaultDetails


def _error(status: int, /, **error: Any) -> Reply:
    return json_reply(status, {"error": error})


def _nginx_page(status: int, reason: str) -> Reply:
    page = (
        f"<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} {reason}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(status, page.encode(), {"Content-Type": "text/html", "Server": "nginx"})


_FILTER_VERDICT = {"hate": {"filtered": False, "severity": "safe"}, "sexual": {"filtered": True, "severity": "high"}}
_NO_ENTRY = "Country, region, or territory not supported"
_SORRY = "The server had an error while processing your request. Sorry about that!"
_FILTERED = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."

FAILURES: Mapping[str, Reply] = MappingProxyType(
    {
        "400": json_reply(
            400,
            {
                "object": "error",
                "message": "This request cannot be served.",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
        "400_content_filter": _error(
            400,
            message=_FILTERED,
            type=None,
            param="prompt",
            code="content_filter",
            status=400,
            innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": _FILTER_VERDICT},
        ),
        "400_context": _error(
            400,
            code=400,
            message="request (5031 tokens) exceeds the available context size (1024 tokens), try increasing it",
            type="exceed_context_size_error",
            n_prompt_tokens=5031,
            n_ctx=1024,
        ),
        "401": unauthorised("sk-revoked-key", "none"),
        "402": _error(
            402, message="Insufficient Balance", type="unknown_error", param=None, code="invalid_request_error"
        ),
        "403": _error(
            403, message=_NO_ENTRY, type="request_forbidden", param=None, code="unsupported_country_region_territory"
        ),
        "404_model": model_not_found("withdrawn"),
        "404": _error(404, message="File Not Found", type="not_found_error", code=404),
        "408": _error(408, code="Timeout", message="The operation was timeout."),
        "422": json_reply(422, {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required"}]}),
        "429": _error(
            429, message="Rate limit reached for requests", type="requests", param=None, code="rate_limit_exceeded"
        ),
        "429_quota": quota_exhausted(),
        "500": _error(500, message=_SORRY, type="server_error", param=None, code=None),
        "502": _nginx_page(502, "Bad Gateway"),
        "503": _error(
            503, message="The engine is currently overloaded, please try again later", type="server_error", code=None
        ),
        "503_loading": _error(503, message="Loading model", type="unavailable_error", code=503),
        "504": _nginx_page(504, "Gateway Time-out"),
        "529": json_reply(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    }
)

_ASKS_TO_WAIT = frozenset({"429", "503", "529"})


def failure_reply(kind: str, details: FaultDetails) -> Reply:
    """Return the reply of a kind in `FAILURES`, with the retry headers where that server sends them."""
    reply = FAILURES[kind]
    if kind in _ASKS_TO_WAIT:
        return replace(reply, headers={**reply.headers, **details.retry_headers})
    return reply
