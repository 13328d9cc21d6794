"""Owns 200s with a spoilt body, and the other replies a client must not trip over: redirects, giant headers, bombs.

Each makes a whole reply from the answer the server would have given.
"""

from __future__ import annotations

import re
import zlib
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import orjson

from runner.simulate.failures import FAILURES
from runner.simulate.logprobs import chat_logprobs
from runner.simulate.replies import JSON, Reply, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.simulate.details import FaultDetails
    from runner.simulate.variants import Answer, Dress

_NESTING = 5_000
_HEADER_BYTES = 50_000
_MIB = 1 << 20
_GZIP_WINDOW = 31
_LOGPROB = re.compile(rb'("logprob":|"token_logprobs":\[(?:null,)?)-?[0-9.e+-]+')
_CONTENT = re.compile(rb'"(?:content|text)":"')


def _empty(_answer: Answer, _details: FaultDetails, _dress: Dress) -> Reply:
    """Send nothing, as vLLM has done under load."""
    return Reply(200, b"", {"Content-Type": JSON})


def _html(_answer: Answer, _details: FaultDetails, _dress: Dress) -> Reply:
    """Send a proxy's page under the wrong status."""
    page = FAILURES["502"]
    return Reply(200, page.body, page.headers)


def _half(answer: Answer, _details: FaultDetails, dress: Dress) -> Reply:
    """Stop in the middle of the JSON, though HTTP says the body is whole."""
    body = orjson.dumps(dress(answer))
    return _body(body[: len(body) // 2])


def _null(_answer: Answer, _details: FaultDetails, _dress: Dress) -> Reply:
    return _body(b"null")


def _error_object(_answer: Answer, _details: FaultDetails, _dress: Dress) -> Reply:
    """Send an error object, as OpenRouter does when the provider fails after it has accepted the request."""
    metadata = {"provider_name": "Simulated", "raw": "upstream timed out"}
    return json_reply(200, {"error": {"message": "Provider returned error", "code": 502, "metadata": metadata}})


def _sse(answer: Answer, _details: FaultDetails, _dress: Dress) -> Reply:
    """Send a stream though none was asked for."""
    chunk = {key: answer[key] for key in ("id", "created", "model")} | {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": None}],
    }
    body = b"data: " + orjson.dumps(chunk) + b"\n\ndata: [DONE]\n\n"
    return Reply(200, body, {"Content-Type": "text/event-stream"})


def _nan(answer: Answer, _details: FaultDetails, dress: Dress) -> Reply:
    """Write NaN and -Infinity, which are no JSON: Python servers do, of log probabilities of minus infinity."""
    for choice in answer["choices"]:
        if choice["logprobs"] is None:
            choice["logprobs"] = chat_logprobs(choice["message"]["content"], 2, answer["id"], greedy=False)
    body = _LOGPROB.sub(rb"\1NaN", orjson.dumps(dress(answer)), count=1)
    return _body(_LOGPROB.sub(rb"\1-Infinity", body, count=1))


def _invalid_utf8(answer: Answer, _details: FaultDetails, dress: Dress) -> Reply:
    return _body(_CONTENT.sub(lambda found: found[0] + b"\xff\xfe", orjson.dumps(dress(answer)), count=1))


def _surrogate(answer: Answer, _details: FaultDetails, dress: Dress) -> Reply:
    """Send half of an emoji, as a server does that cuts text between two UTF-16 units."""
    return _body(_CONTENT.sub(lambda found: found[0] + b"\\ud83d", orjson.dumps(dress(answer)), count=1))


def _big_int(answer: Answer, _details: FaultDetails, dress: Dress) -> Reply:
    body = orjson.dumps(dress(answer))
    return _body(re.sub(rb'"total_tokens":[0-9]+', b'"total_tokens":' + b"9" * 30, body, count=1))


def _deep(answer: Answer, _details: FaultDetails, dress: Dress) -> Reply:
    return _body(orjson.dumps(dress(answer))[:-1] + b',"metadata":' + b"[" * _NESTING + b"]" * _NESTING + b"}")


def _duplicate_keys(answer: Answer, _details: FaultDetails, dress: Dress) -> Reply:
    return _body(b'{"id":"first",' + orjson.dumps(dress(answer))[1:])


def _bom(answer: Answer, _details: FaultDetails, dress: Dress) -> Reply:
    return _body(b"\xef\xbb\xbf" + orjson.dumps(dress(answer)))


def _extra_bytes(answer: Answer, _details: FaultDetails, dress: Dress) -> Reply:
    """Append a stream's end mark to a whole answer."""
    return _body(orjson.dumps(dress(answer)) + b"\ndata: [DONE]\n\n")


def _huge(answer: Answer, details: FaultDetails, dress: Dress) -> Reply:
    answer["choices"][0]["message"]["content"] = "huge" * (details.huge_bytes // 4)
    return json_reply(200, dress(answer))


def _gzip_bomb(answer: Answer, details: FaultDetails, dress: Dress) -> Reply:
    """Hide a valid answer behind megabytes of spaces: who unpacks it without a cap pays with memory."""
    head, packer = _packed_spaces(details.bomb_bytes)
    packer = packer.copy()
    body = head + packer.compress(orjson.dumps(dress(answer))) + packer.flush()
    return Reply(200, body, {"Content-Type": JSON, "Content-Encoding": "gzip"})


def _header_50k(answer: Answer, _details: FaultDetails, dress: Dress) -> Reply:
    return Reply(200, orjson.dumps(dress(answer)), {"Content-Type": JSON, "X-Padding": "x" * _HEADER_BYTES})


def _redirect_302(_answer: Answer, details: FaultDetails, _dress: Dress) -> Reply:
    return Reply(302, b"", {"Location": details.redirect_url})


def _redirect_307(_answer: Answer, details: FaultDetails, _dress: Dress) -> Reply:
    return Reply(307, b"", {"Location": details.redirect_url})


SPOILS: Mapping[str, Callable[[Answer, FaultDetails, Dress], Reply]] = MappingProxyType(
    {
        "empty_200": _empty,
        "html_200": _html,
        "garbage_json": _half,
        "null_json": _null,
        "error_in_200": _error_object,
        "sse_200": _sse,
        "nan": _nan,
        "invalid_utf8": _invalid_utf8,
        "surrogate": _surrogate,
        "big_int": _big_int,
        "deep_nesting": _deep,
        "duplicate_keys": _duplicate_keys,
        "bom": _bom,
        "extra_bytes": _extra_bytes,
        "huge": _huge,
        "gzip_bomb": _gzip_bomb,
        "header_50k": _header_50k,
        "redirect_302": _redirect_302,
        "redirect_307": _redirect_307,
    }
)


def _body(body: bytes) -> Reply:
    return Reply(200, body, {"Content-Type": JSON})


@cache
def _packed_spaces(size: int) -> tuple[bytes, zlib._Compress]:
    """Return `size` spaces packed so far, and the packer to go on with (copy it first)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP_WINDOW)
    spaces = b" " * _MIB
    head = b"".join(packer.compress(spaces[: min(_MIB, size - done)]) for done in range(0, size, _MIB))
    return head, packer
