"""Owns the connection test of an adapter: the dataset's first row is sent, and what each expression finds is said."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from runner.endpoints import is_event_stream
from runner.endpoints.expressions import compile_expression
from runner.errors import ConnectError, TemplateError, UsageError
from runner.jsontext import describe, dumps, loads
from runner.pipeline.probe import FAILED, LIMITED, PASSED, SKIPPED, Check, Probe
from runner.pipeline.requests.fingerprint import RequestBuilder, Row, RowReader, UnusableRowError
from runner.pipeline.requests.loose import LooseBuilder
from runner.pipeline.requests.packing import Packer
from runner.pipeline.sending.attempt import send
from runner.readers import BadRow, read_batches
from runner.records import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner.endpoints import Endpoint
    from runner.endpoints.adapter import Adapter
    from runner.pipeline.requests.fingerprint import RequestPlan
    from runner.pipeline.requests.prepare import Prepared
    from runner.transport import Transport

_SHOWN_BODY = 600
_SHOWN_VALUE = 60
_OF_BODY = ("id", "model", "created", "system_fingerprint", "service_tier")
# Where these find nothing there is no answer, and the body is shown.
_NEEDED = frozenset({"text", "embeddings.list", "embeddings.vector", "embeddings.index"})
_NOT_TESTED = ("n", "streaming", "tools", "response_format", "seed")


async def probe_adapter(transport: Transport, prepared: Prepared, adapter: Adapter) -> Probe:
    """Send one request, as a run would, and say what every expression of the response half finds in the answer.

    Where a request may hold several inputs, it holds that of the row twice. Where text or vector is not found, the body
    that came is shown, cut, with the key removed. Raises UsageError.
    """
    found = Probe()
    for warning in prepared.warnings:
        found.note("config", LIMITED, warning)
    request = first_request(prepared)
    found.requests += 1
    outcome = await send(transport, prepared.plan.endpoint, request, answered_before=False)
    response, error = outcome.response, outcome.error
    if response is None:
        found.note("reach", FAILED, error.message if error else "no answer", error.hint if error else "")
        found.exit_code = 6 if isinstance(error, ConnectError) else 5
        return found
    found.note("reach", PASSED, f"HTTP {response.http_status} in {response.latency_s:.3f} s")
    if error is not None:
        found.note("auth" if error.http_status in {401, 403} else "answer", FAILED, error.message, error.hint)
        found.exit_code = 5
    else:
        verdict, said = _answer(prepared, response.body, request)
        found.note("answer", verdict, said)
        found.exit_code = 0 if verdict == PASSED else 5
    explained = _explain(adapter, prepared.plan.endpoint, response.body, found)
    if not explained or found.exit_code:
        verdict = FAILED if found.exit_code else SKIPPED
        found.checks.append(Check("body", verdict, _shown_body(response.body)))
    if request.stream:
        streamed = is_event_stream(response.body)
        found.note("streaming", PASSED if streamed else LIMITED, "" if streamed else "the answer is no stream")
    tested = {"streaming"} if request.stream else set()
    for name in () if prepared.plan.endpoint.name == "embeddings" else _NOT_TESTED:
        if name not in tested:
            found.note(name, SKIPPED)
    return found


def first_request(prepared: Prepared) -> Request:
    """Return the request of the dataset's first usable row. Raises UsageError where there is none."""
    if prepared.config.dataset.path == "-":
        raise UsageError(
            "dataset.path: the check of an adapter sends the first row, and standard input is left alone",
            hint="name a file: --set dataset.path=FILE",
        )
    read = RowReader(prepared.plan).read
    for batch in read_batches(prepared.paths, batch_rows=200):
        for row in batch.rows:
            with contextlib.suppress(UnusableRowError, TemplateError, TypeError):
                if not isinstance(row, BadRow):
                    content, carry = read(row)
                    return _request_of(prepared.plan, Row(row, content, carry, 0))
    raise UsageError("dataset.path: the dataset has no row that can be sent")


def _request_of(plan: RequestPlan, row: Row) -> Request:
    """Return the request of a row; one that may hold several inputs holds the row's twice, to see that it may."""
    if plan.packing is None:
        return RequestBuilder(plan).build(row)[0]
    made = LooseBuilder(plan, plan.packing).build(row)[0]
    if isinstance(made, Request):
        return made
    packer = Packer(plan.packing.limits)
    return [*packer.add(made), *packer.add(made), *packer.flush()][0]


def _answer(prepared: Prepared, body: bytes, request: Request) -> tuple[str, str]:
    """Return a verdict on the answer, and what rows would have of it."""
    try:
        cases = prepared.plan.endpoint.parse(body, len(request.cases), request.choices).outputs
    except ValueError as error:
        return FAILED, str(error)
    first = cases[0][0]
    failed = next((output for case in cases for output in case if output.status == "failed"), None)
    if failed is not None and prepared.plan.endpoint.name == "embeddings":
        return FAILED, failed.error_message or failed.status
    if first.embedding is not None:
        count = sum(map(len, cases))
        return PASSED, f"{count} vector{'s' if count > 1 else ''} of {len(first.embedding)} dimensions"
    return PASSED, f"{first.text!r:.{_SHOWN_VALUE}}, status {first.status}, {len(cases[0])} choices"


def _explain(adapter: Adapter, endpoint: Endpoint, body: bytes, found: Probe) -> bool:
    """Note what each expression finds; return whether text or vector was found."""
    try:
        value, _ = loads(body) if endpoint.stream is None else endpoint.stream.read(body)
    except ValueError as error:
        found.note("mapping", LIMITED, f"the body is no JSON: {error}")
        return False
    response: Mapping[str, Any] = adapter.spec["response"]
    own = _of_vectors(response, value) if endpoint.name == "embeddings" else _of_texts(response, value)
    explained = True
    for name, text, scope in (*own, *_of_body(response, value)):
        what = compile_expression(text).find(scope)
        explained = explained and (what is not None or name not in _NEEDED)
        found.note(name, LIMITED if what is None else PASSED, f"`{text}` finds {_shown(what)}")
    return explained


def _of_texts(response: Mapping[str, Any], body: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield name, expression and what it is looked up in: the first choice, or the body."""
    choice = body
    if response["choices"] is not None:
        yield "choices", response["choices"], body
        choice = _first(response["choices"], body)
    for name, text in response.items():
        if isinstance(text, str) and name != "choices" and name not in _OF_BODY:
            yield name, text, choice
    for section, names, scope in (
        ("logprobs", ("entries", "tokens", "token_logprobs", "top_lists"), choice),
        ("retrieved", ("list",), body),
    ):
        for name in names:
            if response[section] is not None and response[section][name] is not None:
                yield f"{section}.{name}", response[section][name], scope


def _of_vectors(response: Mapping[str, Any], body: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield name, expression and what it is looked up in: the body, then the first of its entries."""
    section = response["embeddings"]
    yield "embeddings.list", section["list"], body
    for name in ("vector", "index"):
        if section[name] is not None:
            yield f"embeddings.{name}", section[name], _first(section["list"], body)


def _of_body(response: Mapping[str, Any], body: Any) -> Iterator[tuple[str, str, Any]]:
    named = [(name, response[name]) for name in _OF_BODY]
    named += [(f"usage.{name}", text) for name, text in response["usage"].items()]
    yield from ((name, text, body) for name, text in named if text is not None)


def _first(expression: str, body: Any) -> Any:
    found = compile_expression(expression).find(body)
    return found[0] if isinstance(found, list) and found else None


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"{describe(value if isinstance(value, str) else dumps(value), 1000)!r:.{_SHOWN_VALUE}}"


def _shown_body(body: bytes) -> str:
    text = body[: _SHOWN_BODY + 1].decode("utf-8", "replace")
    return text if len(body) <= _SHOWN_BODY else f"{text[:_SHOWN_BODY]}… ({len(body):,} bytes)"
