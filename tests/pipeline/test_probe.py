"""Owns the connection test against healthy servers, lacking ones, and those that mean no good."""

from __future__ import annotations

import base64
import struct
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.pipeline.probe import FAILED, LIMITED, MOST_REQUESTS, PASSED, SKIPPED, UNCLEAR, Target, asking, probe
from runner.pipeline.probe.reading import read_answer, read_stream, read_vectors, stop_for
from runner.records import Response
from runner.simulate import DIALECTS, FaultRules, Unsupported
from runner.transport import TransportOptions, open_transport
from tests.support.odd_server import Gone, Reply, answering
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.pipeline.probe import Probe
    from runner.simulate import Simulator
    from tests.support.odd_server import Call

KEY = "sk-planted-0123456789"


def probed(base_url: str, target: Target | None = None) -> Probe:
    async def main() -> Probe:
        async with open_transport(TransportOptions(base_url=base_url, api_key=KEY)) as transport:
            return await probe(transport, target or Target("simulated"))

    return anyio.run(main)


def outcomes(found: Probe) -> dict[str, str]:
    names = [check.name for check in found.checks]
    assert len(set(names)) == len(names)
    return {check.name: check.outcome for check in found.checks}


def detail(found: Probe, name: str) -> str:
    return next(check.detail for check in found.checks if check.name == name)


# ---------------------------------------------------------------- the simulator, in its dialects


def test_a_healthy_server_shows_what_it_can(simulator: Simulator) -> None:
    found = probed(simulator.base_url)
    said = outcomes(found)
    for name in (
        "reach",
        "auth",
        "model",
        "chat",
        "completions",
        "max tokens",
        "usage",
        "stop",
        "n",
        "seed",
        "logprobs",
    ):
        assert said[name] == PASSED, name
    assert (said["echo"], said["temperature"], said["top_p"], said["latency"]) == (PASSED,) * 4
    assert (said["embeddings"], said["streaming"], said["tools"]) == (PASSED, PASSED, UNCLEAR)
    assert said["responses"] == SKIPPED
    assert found.exit_code == 0
    assert found.requests == simulator.statistics().requests + 1 <= MOST_REQUESTS  # the list is not entered
    facts = found.facts
    assert (facts["logprobs"], facts["top_logprobs"], facts["n"], facts["seed"]) == (True, 20, True, True)
    assert facts["max_tokens_names"] == {"max_tokens": "ok", "max_completion_tokens": "ok"}
    assert all(check.detail for check in found.checks if check.outcome == SKIPPED)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_refused_is_named_in_every_dialect(dialect: str, simulator: Simulator) -> None:
    refused = ("n", "seed", "logprobs", "temperature", "stop", "max_completion_tokens")
    simulator.change(replace(QUICK, unsupported=Unsupported(refused, (), dialect)))
    found = probed(simulator.base_url)
    said = outcomes(found)
    assert {said[name] for name in ("n", "seed", "logprobs", "temperature", "stop")} == {LIMITED}
    assert (said["chat"], said["top_p"], said["max tokens"]) == (PASSED,) * 3
    assert found.facts["max_tokens_names"] == {"max_tokens": "ok", "max_completion_tokens": "refused"}
    assert {found.facts[name] for name in ("n", "seed", "logprobs", "temperature", "stop")} == {False}
    assert (found.exit_code, found.requests <= MOST_REQUESTS) == (0, True)


def test_a_server_that_knows_only_the_newer_name_is_asked_by_it(simulator: Simulator) -> None:
    simulator.change(replace(QUICK, unsupported=Unsupported(("max_tokens",))))
    found = probed(simulator.base_url)
    assert outcomes(found)["chat"] == PASSED
    assert found.facts["max_tokens_names"] == {"max_tokens": "refused", "max_completion_tokens": "ok"}


def test_what_is_ignored_without_a_word_is_found_out(simulator: Simulator) -> None:
    ignored = ("n", "logprobs", "stop", "echo", "max_completion_tokens")
    unsupported = Unsupported((), ignored)
    simulator.change(replace(QUICK, answers=replace(QUICK.answers, completion_tokens=40), unsupported=unsupported))
    found = probed(simulator.base_url)
    said = outcomes(found)
    assert {said[name] for name in ("n", "logprobs", "stop", "echo")} == {LIMITED}
    assert found.facts["max_tokens_names"] == {"max_tokens": "ok", "max_completion_tokens": "ignored"}


@pytest.mark.parametrize("endpoint", ["completions", "responses", "logprobs"])
def test_the_runs_own_endpoint_decides(endpoint: str, simulator: Simulator) -> None:
    own = "chat" if endpoint == "logprobs" else endpoint
    assert outcomes(probed(simulator.base_url, Target("simulated", endpoint)))[own] == PASSED
    lost = probed(simulator.base_url, Target("simulated", endpoint, "/nowhere"))
    assert (outcomes(lost)[own], lost.exit_code) == (FAILED, 5)
    assert lost.requests == 2


@pytest.mark.parametrize(
    ("changes", "name", "code"),
    [
        ({"api_keys": ("sk-another-one",), "echo_key": "full"}, "auth", 5),
        ({"models": ("another",)}, "model", 5),
        ({"quota_after": 0}, "chat", 5),
        ({"faults": FaultRules({"503": 1.0})}, "chat", 6),
        ({"faults": FaultRules({"429": 1.0})}, "chat", 6),
        ({"faults": FaultRules({"html_200": 1.0})}, "chat", 5),
        ({"faults": FaultRules({"disconnect": 1.0})}, "chat", 6),
    ],
)
def test_the_first_failure_ends_it(changes: dict[str, Any], name: str, code: int, simulator: Simulator) -> None:
    simulator.change(replace(QUICK, **changes))
    found = probed(simulator.base_url)
    assert (outcomes(found)[name], found.exit_code, found.requests) == (FAILED, code, 2)
    assert KEY not in str(asdict(found))
    assert outcomes(found)["logprobs"] == SKIPPED


def test_trouble_that_passes_is_no_lack(simulator: Simulator) -> None:
    script = dict.fromkeys(range(2, 20), "503")
    simulator.change(replace(QUICK, faults=FaultRules(script=script)))
    found = probed(simulator.base_url)
    said = outcomes(found)
    assert (said["chat"], said["n"], said["logprobs"], said["completions"]) == (PASSED, SKIPPED, SKIPPED, SKIPPED)
    assert (found.facts["n"], found.facts["logprobs"], found.exit_code) == (None, None, 0)


# ---------------------------------------------------------------- servers of all kinds


def chat(text: str = "1 2 3 4 5 6 7", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **more}]}


def as_json(value: Any, status: int = 200) -> Reply:
    return Reply(status, orjson.dumps(value), {"Content-Type": "application/json"})


def sse(*events: Any) -> Reply:
    lines = [b"data: " + orjson.dumps(event) + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]
    return Reply(200, b": hi\n\n" + b"".join(lines), {"Content-Type": "text/event-stream"})


@pytest.mark.parametrize("usage", [True, False])
def test_a_stream_is_seen_by_a_plain_post(usage: bool) -> None:  # noqa: FBT001 - what the table is about
    def answer(call: Call) -> Reply:
        if not call.body.get("stream"):
            return as_json(chat())
        if not usage and "stream_options" in call.body:
            return as_json({"error": {"message": "property 'stream_options' is unsupported"}}, 400)
        pieces = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("1 ", "2")]
        return sse(*pieces, *([{"choices": [], "usage": {"prompt_tokens": 1}}] if usage else []))

    with answering(answer) as base_url:
        found = probed(base_url)
    assert outcomes(found)["streaming"] == PASSED
    assert (found.facts["stream"], found.facts["stream_usage"]) == (True, usage)
    assert ("stream_options is refused" in detail(found, "streaming")) is not usage


@pytest.mark.parametrize("encoding", ["base64", "float", "one at a time"])
def test_vectors_are_measured(encoding: str) -> None:
    def answer(call: Call) -> Reply:
        if not call.path.endswith("/embeddings"):
            return as_json(chat())
        inputs = call.body["input"]
        if encoding == "one at a time" and isinstance(inputs, list):
            return as_json({"detail": [{"type": "string_type", "loc": ["body", "input"], "msg": "a string"}]}, 422)
        vector = [0.5, 1.0, -2.0]
        packed = base64.b64encode(struct.pack("<3f", *vector)).decode()
        one = packed if encoding == "base64" else vector
        count = len(inputs) if isinstance(inputs, list) else 1
        return as_json({"data": [{"index": number, "embedding": one} for number in range(count)]})

    with answering(answer) as base_url:
        for target in (Target("m"), Target("m", "embeddings")):
            found = probed(base_url, target)
            assert (outcomes(found)["embeddings"], found.exit_code) == (PASSED, 0)
            assert found.facts["embeddings"] == {
                "dimension": 3,
                "base64": encoding == "base64",
                "array": encoding != "one at a time",
            }


def test_a_tool_call_and_json_are_seen() -> None:
    def answer(call: Call) -> Reply:
        if "tools" in call.body:
            call_ = {"id": "c", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
            return as_json({"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [call_]}}]})
        return as_json(chat('{"colour": "red"}' if "response_format" in call.body else "1 2 3"))

    with answering(answer) as base_url:
        found = probed(base_url)
    assert (outcomes(found)["tools"], outcomes(found)["response_format"]) == (PASSED, PASSED)


def test_fewer_alternatives_are_asked_for_where_twenty_are_too_many() -> None:
    def answer(call: Call) -> Reply:
        top = call.body.get("top_logprobs", 0)
        if top > 5:
            return as_json({"error": {"message": "Requested sample logprobs of 20, max allowed: 5", "code": 400}}, 400)
        entry = {"token": "1", "logprob": -1.0, "bytes": [49], "top_logprobs": [{"token": "x", "logprob": -2}] * top}
        return as_json(chat(logprobs={"content": [entry]} if top else None))

    with answering(answer) as base_url:
        found = probed(base_url)
    assert (found.facts["logprobs"], found.facts["top_logprobs"]) == (True, 5)


HOSTILE: dict[str, Callable[[Call], Reply]] = {
    "empty": lambda _: Reply(),
    "html": lambda _: Reply(body=b"<html>hi</html>"),
    "null": lambda _: as_json(None),
    "number": lambda _: as_json(3),
    "list": lambda _: as_json([1, [2]]),
    "deep": lambda _: Reply(body=b'{"choices":[' * 50_000),
    "no choices": lambda _: as_json({"choices": []}),
    "odd choices": lambda _: as_json({"choices": [None, 1, "x", []], "usage": [1], "data": {"id": 1}}),
    "odd members": lambda _: as_json({"choices": [{"message": {"content": {"a": 1}}, "logprobs": [1], "index": "x"}]}),
    "odd logprobs": lambda _: as_json(chat(logprobs={"content": [{"token": None, "logprob": "x", "top_logprobs": 5}]})),
    "odd stream": lambda _: Reply(body=b"data: {}\n\ndata: [1]\n\ndata: \xff\n\n" + b"data: {" * 1000),
    "odd vectors": lambda _: as_json({"data": [{"embedding": "!!"}, {"embedding": None}], "choices": [{}]}),
    "evil text": lambda _: as_json(chat("\x1b]0;owned\x07\u202e\n\r" * 9) | {"model": "\x1b[31m" * 99}),
    "surrogates": lambda _: Reply(body=b'{"choices":[{"message":{"content":"\\ud800"}}]}'),
    "redirect": lambda _: Reply(302, headers={"Location": "http://user:secret@elsewhere.invalid/?k=1"}),
    "server error": lambda _: Reply(500, b"Traceback"),
    "teapot": lambda _: Reply(418, b"teapot"),
    "key said back": lambda call: as_json({"error": {"message": f"bad key {call.key}", "param": call.key}}, 400),
    "key in answers": lambda call: as_json(chat(f"your key is {call.key}") | {"model": call.key, "id": call.key}),
    "key in headers": lambda call: Reply(
        body=orjson.dumps(chat()), headers={"x-ratelimit-limit-requests": call.key, "x-request-id": call.key}
    ),
    "refuses for ever": lambda call: as_json(
        {"error": {"message": "no", "param": min(call.body), "code": "unsupported_parameter"}} if call.body else {},
        400,
    ),
    "refuses all but the first": lambda call: as_json(
        chat() if call.number < 3 else {"error": "no"}, 200 if call.number < 3 else 400
    ),
    "broken head": lambda _: Reply(head=b"HTTP/1.1 banana\r\n\r\n"),
    "huge header": lambda _: Reply(body=orjson.dumps(chat()), headers={"X-Big": "x" * 9000}),
    "ten thousand models": lambda _: as_json({"data": [{"id": f"m{n}\n"} for n in range(10_000)], **chat()}),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("endpoint", ["chat", "completions", "embeddings", "responses"])
def test_no_server_breaks_it(name: str, endpoint: str) -> None:
    calls = 0

    def answer(call: Call) -> Reply:
        nonlocal calls
        calls = call.number
        return HOSTILE[name](call)

    with answering(answer) as base_url:
        found = probed(base_url, Target("m", endpoint))
    assert calls <= found.requests <= MOST_REQUESTS
    assert found.exit_code in (0, 5, 6)
    shown = orjson.dumps([asdict(check) for check in found.checks]).decode() + str(found.facts)
    assert KEY not in shown
    assert "secret" not in shown
    assert all("\n" not in check.detail and len(check.detail) <= 240 for check in found.checks)
    assert outcomes(found).keys() >= {"reach", "auth", "model", "chat", "logprobs", "limits"}


def test_a_server_that_goes_away_ends_it() -> None:
    def answer(call: Call) -> Reply:
        if call.number > 3:
            raise Gone
        return as_json(chat())

    with answering(answer) as base_url:
        found = probed(base_url)
    assert (found.exit_code, outcomes(found)["chat"]) == (0, PASSED)
    assert found.requests <= MOST_REQUESTS


def test_nobody_there_is_said_at_once() -> None:
    found = probed("http://127.0.0.1:1/v1")
    assert (outcomes(found)["reach"], found.exit_code, found.requests) == (FAILED, 6, 1)


def test_a_server_that_hangs_is_waited_for_briefly(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "REQUEST_S", 0.2)
    simulator.change(replace(QUICK, faults=FaultRules(script=dict.fromkeys(range(2, 20), "hang"))))
    found = probed(simulator.base_url)
    said = outcomes(found)
    assert (said["chat"], said["n"], found.exit_code) == (PASSED, SKIPPED, 0)
    assert "no answer within 0.2 s" in detail(found, "n")


# ---------------------------------------------------------------- reading


@given(st.binary(max_size=300))
def test_any_bytes_are_read(body: bytes) -> None:
    response = Response(200, {}, body, 0.0, 0.0)
    for read in (read_stream, read_vectors):
        read(response)
    for endpoint in ("chat", "completions", "responses"):
        read_answer(response, endpoint)


@given(st.text())
def test_what_to_stop_at_is_in_the_text_and_not_its_beginning(text: str) -> None:
    stop = stop_for(text)
    assert stop is None or stop in text[1:]
