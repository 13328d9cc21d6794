"""Owns the connection test: few small requests that show what an endpoint can do before a run pays for finding out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from runner.endpoints import CHAT_STREAM, ENDPOINTS, is_event_stream, read_usage, stream_body
from runner.errors import ConnectError, RequestError
from runner.jsontext import loads
from runner.retry import classify_status, error_in_body

if TYPE_CHECKING:
    from runner.records import Response
    from runner.transport import Transport

PASSED, FAILED, LIMITED, SKIPPED = "ok", "failed", "no", "not tested"


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer: ok, failed (a run cannot work), no (the server lacks it), or not tested."""

    name: str
    outcome: str
    detail: str = ""
    hint: str = ""


@dataclass(slots=True)
class Probe:
    """All answers, and how many requests they took."""

    checks: list[Check] = field(default_factory=list)
    requests: int = 0
    exit_code: int = 0

    def note(self, name: str, outcome: str, detail: str = "", hint: str = "") -> None:
        """Add an answer."""
        self.checks.append(Check(name, outcome, detail, hint))


@dataclass(frozen=True, slots=True)
class Target:
    """What to ask: the model's name, the path of chat completions, and what the server calls the longest answer."""

    model: str
    path: str
    tokens_name: str = "max_tokens"


_NOT_TESTED = ("completions", "embeddings", "tools", "response_format", "seed")


async def probe(transport: Transport, target: Target) -> Probe:
    """Ask up to 5 small requests: the model list, a chat, log probabilities, two choices, a stream.

    Stops at the first failure that makes the rest pointless; `exit_code` is then that failure's.
    """
    found = Probe()
    if not await _probe_models(transport, target, found):
        return found
    answer = await _probe_chat(transport, target, found)
    if answer is not None:
        _note_usage(answer, found)
        _note_limits(answer, found)
        await _probe_logprobs(transport, target, found)
        await _probe_choices(transport, target, found)
        await _probe_stream(transport, target, found)
    for name in _NOT_TESTED:
        found.note(name, SKIPPED)
    return found


async def _probe_models(transport: Transport, target: Target, found: Probe) -> bool:
    found.requests += 1
    try:
        response = await transport.get("/models")
    except RequestError as error:
        found.note("reach", FAILED, error.message, error.hint)
        found.exit_code = 6
        return not isinstance(error, ConnectError)
    found.note("reach", PASSED, f"HTTP {response.http_status} in {response.latency_s:.3f} s")
    refused = _error(response)
    if refused is not None and refused.http_status in {401, 403}:
        found.note("auth", FAILED, refused.message, refused.hint)
        found.exit_code = 5
        return False
    names = _model_names(response) if refused is None else []
    if not names:
        found.note("model", SKIPPED, "the server has no model list")
    elif target.model in names:
        found.note("model", PASSED, f"{target.model} is one of {len(names)}")
    else:
        shown = ", ".join(names[:10])
        found.note("model", LIMITED, f"{target.model} is not in the list: {shown}", "the chat request decides")
    return True


async def _probe_chat(transport: Transport, target: Target, found: Probe) -> Response | None:
    response, error = await _ask(transport, target, found, {target.tokens_name: 4})
    if error is not None or response is None:
        message, hint = (error.message, error.hint) if error else ("no answer", "")
        name = "auth" if error is not None and error.http_status in {401, 403} else "chat"
        found.note(name, FAILED, message, hint)
        found.exit_code = 6 if isinstance(error, ConnectError) or error is None else 5
        return None
    found.note("auth", PASSED, "a chat request was answered")
    text = ENDPOINTS["chat"].parse(response.body, 1, 1).outputs[0][0].text
    found.note("chat", PASSED, f"{text!r:.60} in {response.latency_s:.3f} s")
    return response


async def _probe_logprobs(transport: Transport, target: Target, found: Probe) -> None:
    response, error = await _ask(transport, target, found, {target.tokens_name: 2, "logprobs": True, "top_logprobs": 2})
    if error is not None or response is None:
        found.note("logprobs", LIMITED, error.message if error else "no answer")
        return
    logprobs = ENDPOINTS["chat"].parse(response.body, 1, 1).outputs[0][0].logprobs
    if logprobs is None or not logprobs.tokens:
        found.note("logprobs", LIMITED, "asked for, and left out of the answer without a word")
    else:
        most = max((len(top) for top in logprobs.top_tokens), default=0)
        found.note("logprobs", PASSED, f"{len(logprobs.tokens)} tokens, {most} alternatives each for top_logprobs: 2")


async def _probe_choices(transport: Transport, target: Target, found: Probe) -> None:
    response, error = await _ask(transport, target, found, {target.tokens_name: 2, "n": 2, "temperature": 1})
    if error is not None or response is None:
        found.note("n", LIMITED, error.message if error else "no answer")
        return
    value, _ = loads(response.body)
    count = len(value["choices"])
    found.note("n", PASSED if count == 2 else LIMITED, f"{count} choices for n: 2")  # noqa: PLR2004 - as asked


async def _probe_stream(transport: Transport, target: Target, found: Probe) -> None:
    found.requests += 1
    try:
        received = await transport.stream(
            target.path, stream_body(_body(target, {target.tokens_name: 4})), CHAT_STREAM.open()
        )
    except RequestError as error:
        found.note("streaming", LIMITED, error.message)
        return
    response = received.response
    refused = _error(response)
    if refused is not None or not is_event_stream(response.body):
        found.note("streaming", LIMITED, refused.message if refused else "asked for, and answered in one piece")
        return
    streamed = CHAT_STREAM.assemble(response.body)
    broke = None if streamed.done else received.broke
    problem = error_in_body(streamed.value) or broke or streamed.problem
    if problem is not None:
        found.note("streaming", LIMITED, problem.message, problem.hint)
        return
    first = "no output" if response.first_token_s is None else f"first token after {response.first_token_s:.3f} s"
    usage = "usage at the end" if "usage" in streamed.value else "no usage: costs will be unknown"
    found.note("streaming", PASSED, f"{first}, {usage}")


async def _ask(
    transport: Transport, target: Target, found: Probe, params: dict[str, Any]
) -> tuple[Response | None, RequestError | None]:
    found.requests += 1
    try:
        response = await transport.post(target.path, _body(target, params))
    except RequestError as error:
        return None, error
    return response, _error(response) or _body_error(response)


def _body(target: Target, params: dict[str, Any]) -> bytes:
    return orjson.dumps({"model": target.model, "messages": [{"role": "user", "content": "Say hi."}], **params})


def _error(response: Response) -> RequestError | None:
    return classify_status(
        response.http_status, response.headers, response.body, answered_before=False, now=datetime.now(UTC)
    )


def _body_error(response: Response) -> RequestError | None:
    try:
        value, _ = loads(response.body)
    except ValueError as error:
        return RequestError(f"the answer is no JSON ({error}): {response.body[:80]!r}")
    return error_in_body(value) or ENDPOINTS["chat"].find_problem(value)


def _model_names(response: Response) -> list[str]:
    try:
        value, _ = loads(response.body)
    except ValueError:
        return []
    entries = value.get("data") if isinstance(value, dict) else None
    return [str(one["id"]) for one in entries or () if isinstance(one, dict) and "id" in one]


def _note_usage(response: Response, found: Probe) -> None:
    value, _ = loads(response.body)
    usage = read_usage(value, [])
    if usage.total_tokens is None:
        found.note("usage", LIMITED, "the server states no token counts; costs will be unknown")
    else:
        found.note("usage", PASSED, f"{usage.prompt_tokens} prompt + {usage.completion_tokens} completion tokens")


def _note_limits(response: Response, found: Probe) -> None:
    names = ("x-ratelimit-limit-requests", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-requests")
    limits = [
        f"{name.removeprefix('x-ratelimit-')} {response.headers[name]}" for name in names if name in response.headers
    ]
    if limits:
        found.note("rate headers", PASSED, ", ".join(limits))
    else:
        found.note("rate headers", LIMITED, "none; set limits.requests_per_minute if there is a limit")
