"""Runs that stream: the same rows as without, each fault's ending, resuming, and what is kept of what was paid for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.config import config_from_dict
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.pipeline.opening import open_existing, sealing_of
from runner.pipeline.storing.reseal import reseal
from runner.pipeline.storing.verify import verify
from runner.simulate import KINDS, AnswerStyle, FaultRules, Fixed, Latency
from runner.simulate.faults import DELIVERIES
from runner.simulate.spoils import SPOILS
from runner.simulate.streams import STREAM_SPOILS
from runner.simulate.variants import VARIANTS
from tests.support.leaks import find_leaks
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import (
    by_sample,
    check_books,
    config_for,
    questions,
    run_again,
    sent_by,
    table,
    write_rows,
)
from tests.support.serving import QUICK, serving

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.odd_server import Call
    from tests.support.runs import Row

SAMPLES = 12
MAX_ATTEMPTS = 2
# What two answers of one request never have in common.
_OWN = {"started_at", "finished_at", "queued_s", "latency_s", "first_token_s", "created", "response_id", "request_id"}
# A stream though none was asked for, and what ends the run.
NO_ANSWER = {"sse_200", "redirect_302", "redirect_307"}
SSE = {"Content-Type": "text/event-stream"}
INCLUDE = ["message.output_text.logprobs"]


def streaming(simulator: Simulator, dataset: Path, /, **sections: Any) -> dict[str, Any]:
    config = config_for(simulator, dataset, **sections)
    config["request"]["stream"] = True
    return config


def told(row: Row) -> Row:
    """Return what has to be the same with and without streaming."""
    kept = {name: value for name, value in row.items() if name not in _OWN}
    if kept["tool_calls"] is not None:
        kept["tool_calls"] = [call | {"id": None} for call in orjson.loads(kept["tool_calls"])]
    return kept


def but(row: Row, names: set[str]) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def rows_of(run_dir: str) -> list[Row]:
    return sorted(table(run_dir), key=lambda row: (row["sample_id"], row["repeat"], row["choice"]))


# ---------------------------------------------------------------- the same rows


@pytest.mark.parametrize(
    ("endpoint", "params"),
    [
        ("chat", {"temperature": 0}),
        ("chat", {"logprobs": True, "top_logprobs": 3}),
        ("chat", {"n": 3, "temperature": 1, "seed": 5}),
        ("chat", {"n": 2, "logprobs": True, "max_tokens": 4}),
        ("logprobs", {"temperature": 0}),
    ],
)
def test_rows_are_the_same_with_and_without_streaming(
    simulator: Simulator, tmp_path: Path, endpoint: str, params: dict[str, Any]
) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))
    simulator.change(replace(QUICK, answers=AnswerStyle(median_tokens=20)))
    request = {"endpoint": endpoint, "params": params, "repeats": 2}
    plain = runner.run(config_for(simulator, dataset, request=request), run_dir=tmp_path / "plain")
    streamed = runner.run(streaming(simulator, dataset, request=request), run_dir=tmp_path / "streamed")
    without, with_ = rows_of(plain.run_dir), rows_of(streamed.run_dir)
    assert [told(row) for row in with_] == [told(row) for row in without]
    assert len(with_) == 2 * SAMPLES * params.get("n", 1)
    assert all(row["first_token_s"] is None for row in without)
    assert all(0 < row["first_token_s"] <= row["latency_s"] for row in with_)
    assert {row["response"][:6] for row in table(streamed.run_dir, "raw")} == {b"data: "}


@pytest.mark.parametrize(
    "params",
    [{"temperature": 0}, {"logprobs": 3}, {"n": 3, "temperature": 1, "seed": 5}, {"n": 2, "logprobs": 0, "echo": True}],
)
def test_text_completions_are_the_same_with_and_without_streaming(
    simulator: Simulator, tmp_path: Path, params: dict[str, Any]
) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))
    simulator.change(replace(QUICK, answers=AnswerStyle(median_tokens=20)))
    request = {"endpoint": "completions", "messages": None, "prompt": "{{ question }}", "params": params}
    plain = runner.run(config_for(simulator, dataset, request=request), run_dir=tmp_path / "plain")
    streamed = runner.run(streaming(simulator, dataset, request=request), run_dir=tmp_path / "streamed")
    without, with_ = rows_of(plain.run_dir), rows_of(streamed.run_dir)
    assert [told(row) for row in with_] == [told(row) for row in without]
    assert all(row["text"] for row in with_)
    assert all(bool(row["tokens"]) == ("logprobs" in params) for row in with_)
    assert all(0 < row["first_token_s"] <= row["latency_s"] for row in with_)
    assert {row["response"][:6] for row in table(streamed.run_dir, "raw")} == {b"data: "}


@pytest.mark.parametrize(
    "params",
    [{"temperature": 0}, {"include": INCLUDE, "top_logprobs": 3}, {"max_output_tokens": 4}, {"stream_options": None}],
)
def test_responses_are_the_same_with_and_without_streaming(
    simulator: Simulator, tmp_path: Path, params: dict[str, Any]
) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))
    simulator.change(replace(QUICK, answers=AnswerStyle(median_tokens=20)))
    request = {"endpoint": "responses", "params": params, "repeats": 2}
    plain_request = {**request, "params": {name: params[name] for name in params.keys() - {"stream_options"}}}
    plain = runner.run(config_for(simulator, dataset, request=plain_request), run_dir=tmp_path / "plain")
    streamed = runner.run(streaming(simulator, dataset, request=request), run_dir=tmp_path / "streamed")
    without, with_ = rows_of(plain.run_dir), rows_of(streamed.run_dir)
    own = {"key", "request_key"} if "stream_options" in params else set()
    assert [but(told(row), own) for row in with_] == [but(told(row), own) for row in without]
    assert len(with_) == 2 * SAMPLES
    assert all(row["text"] and row["total_tokens"] for row in with_)
    assert {row["status"] for row in with_} == ({"truncated"} if "max_output_tokens" in params else {"ok"})
    assert all(bool(row["tokens"]) == ("include" in params) for row in with_)
    assert all(row["first_token_s"] is None for row in without)
    assert all(0 < row["first_token_s"] <= row["latency_s"] for row in with_)
    raw = table(streamed.run_dir, "raw")
    assert {row["response"][:24] for row in raw} == {b"event: response.created\n"}
    assert {b'"stream":true' in row["request"] for row in raw} == {True}
    assert {b"stream_options" in row["request"] for row in raw} == {False}


CHAT = {"params": {"temperature": 0, "n": 2, "logprobs": True, "top_logprobs": 2}}


@pytest.mark.parametrize("kind", sorted({*VARIANTS, *SPOILS, "drip", "keepalive_close"} - NO_ANSWER))
@pytest.mark.parametrize(
    ("request_section", "choices"),
    [(CHAT, 2), ({"endpoint": "responses", "params": {"include": INCLUDE, "top_logprobs": 2}}, 1)],
)
def test_an_odd_answer_is_the_same_row_with_and_without_streaming(
    simulator: Simulator, tmp_path: Path, request_section: dict[str, Any], choices: int, kind: str
) -> None:
    rows = [{**row, "question": f"{row['question']} [[fault:{kind}]]"} for row in questions(1)]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    found = []
    for make in (config_for, streaming):
        config = make(
            simulator, dataset, request=request_section, retry={"max_attempts": 1}, limits={"max_in_flight": 1}
        )
        summary = runner.run(config, run_dir=tmp_path / make.__name__)
        found.append([told(row) for row in rows_of(summary.run_dir)])
    assert found[0] == found[1]
    assert len(found[0]) == choices


def test_the_books_agree(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))
    simulator.change(replace(QUICK, faults=FaultRules(script={2: "stream_cut", 5: "500", 7: "stream_end", 9: "429"})))
    config = streaming(simulator, dataset)
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.ok, summary.retries, sent) == (0, SAMPLES, 4, SAMPLES + 4)
    assert summary.total_tokens > 0
    kinds = [row["error_kind"] for row in table(summary.run_dir, "attempts") if row["error_kind"]]
    assert sorted(kinds) == ["disconnect", "disconnect", "rate_limit", "server"]


def test_the_first_token_is_timed_where_it_comes(simulator: Simulator, tmp_path: Path) -> None:
    simulator.change(replace(QUICK, latency=Latency(Fixed(0.05), Fixed(0.05))))
    dataset = write_rows(tmp_path / "data.jsonl", questions(2))
    for row in table(runner.run(streaming(simulator, dataset)).run_dir):
        assert row["first_token_s"] >= 0.05
        assert row["latency_s"] - row["first_token_s"] >= 0.2


# ---------------------------------------------------------------- what each fault of a stream ends as


@dataclass(frozen=True, slots=True)
class Ending:
    """How a streamed row ends. `text` is a part of its text, or of its error message."""

    status: str = "ok"
    error_kind: str | None = None
    attempts: int = 1
    note: str | None = None
    says: str = ""


def failed(error_kind: str, says: str) -> Ending:
    return Ending("failed", error_kind, MAX_ATTEMPTS, None, says)


ENDINGS: Mapping[str, Ending] = {
    "stream_cut": failed("disconnect", "the answer's body was cut"),
    "cut": failed("disconnect", "the answer's body was cut"),
    "cut_chunked": failed("disconnect", "the answer's body was cut"),
    "stream_end": failed("disconnect", "no [DONE], and choice 0 has no finish_reason"),
    "stream_half_chunk": failed("disconnect", "the stream ended before its answer was complete"),
    "stream_stall": failed("request_timeout", "nothing came for 0.3 s in the middle of the answer"),
    "hang": failed("request_timeout", "no first byte within 0.4 s"),
    "stream_error": failed("server", "The engine died in the middle"),
    "stream_error_event": failed("server", "Input is too heavy"),
    "stream_bare_done": Ending(note="choice 0 has no finish_reason: its stream may have been cut"),
    "stream_comments": Ending(),
    "stream_crlf": Ending(),
    "stream_cr": Ending(),
    "stream_bom": Ending(),
    "stream_multiline": Ending(),
    "stream_one_newline": Ending(),
    "stream_no_done": Ending(),
    "stream_huge_line": Ending(says="hugehugehuge"),
    "stream_ignored": Ending(),
    "stream_open": Ending(),
}
# Nothing but its last event says that a response is whole.
NO_RESPONSE = failed("disconnect", "no response.completed")
BY_ENDPOINT = {
    "chat": ENDINGS,
    "responses": {**ENDINGS, "stream_end": NO_RESPONSE, "stream_bare_done": NO_RESPONSE},
}
# These have no output in a block of their own.
UNTIMED = {"stream_one_newline", "stream_ignored", "hang"}


# These get a run with short time-outs.
SILENT = {"stream_stall": {"idle": 0.3}, "hang": {"first_byte": 0.4}}


@dataclass(frozen=True, slots=True)
class Met:
    """What became of a row that met a fault: its row, one of the same question that met none, attempts, and bodies."""

    row: Row
    healthy: Row
    attempts: list[Row]
    raw: Row


def meet(folder: Path, endpoint: str, kinds: list[str], timeout_s: dict[str, float]) -> dict[str, Met]:
    rows = [
        {**row, "question": f"{row['question']} [[fault:{kind}]]", "kind": kind}
        for row, kind in zip(questions(len(kinds)), kinds, strict=True)
    ]
    dataset = write_rows(folder / "data.jsonl", rows)
    with serving() as simulator:
        request = {"endpoint": endpoint, "params": {}}
        config = streaming(simulator, dataset, request=request, retry={"max_attempts": MAX_ATTEMPTS})
        healthy_config = streaming(simulator, dataset, request=request)
        config["request"]["timeout_s"] |= timeout_s
        summary = runner.run(config, run_dir=folder / "run")
        simulator.change(replace(QUICK, faults=FaultRules(script=dict.fromkeys(range(1, 1000), "ok"))))
        healthy = by_sample(runner.run(healthy_config, run_dir=folder / "healthy").run_dir)
    assert verify(RunFolder(folder / "run")).findings == []
    attempts, raw = table(summary.run_dir, "attempts"), table(summary.run_dir, "raw")
    return {
        row["in_kind"]: Met(
            row,
            healthy[row["sample_id"]],
            [one for one in attempts if one["request_key"] == row["request_key"]],
            next(one for one in raw if one["request_key"] == row["request_key"]),
        )
        for row in table(summary.run_dir)
    }


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Met]:
    """Every kind, met once by each endpoint."""
    found = {}
    for endpoint in BY_ENDPOINT:
        folder = tmp_path_factory.mktemp(endpoint)
        rounds = [([kind for kind in ENDINGS if kind not in SILENT], {})]
        rounds += [([kind], timeout_s) for kind, timeout_s in SILENT.items()]
        for number, (kinds, timeout_s) in enumerate(rounds):
            (folder / str(number)).mkdir()
            seen = meet(folder / str(number), endpoint, kinds, timeout_s)
            found |= {(endpoint, kind): one for kind, one in seen.items()}
    return found


def test_every_fault_of_a_stream_stands_in_the_table() -> None:
    streams = {kind for kind in KINDS if kind.startswith("stream_")}
    assert streams == {*STREAM_SPOILS} | {kind for kind in DELIVERIES if kind.startswith("stream_")}
    assert streams < ENDINGS.keys()


@pytest.mark.parametrize(("endpoint", "kind"), [(name, kind) for name in BY_ENDPOINT for kind in ENDINGS])
def test_each_fault_of_a_stream_ends_in_its_row(met: dict[tuple[str, str], Met], endpoint: str, kind: str) -> None:
    expected, one = BY_ENDPOINT[endpoint][kind], met[endpoint, kind]
    row, attempts, raw = one.row, one.attempts, one.raw
    ended = (row["status"], row["error_kind"], row["parse_note"])
    assert ended == (expected.status, expected.error_kind, expected.note)
    assert len([one for one in attempts if one["error_kind"] != "stale_connection"]) == expected.attempts
    assert attempts[-1]["error_kind"] == expected.error_kind
    if expected.error_kind:
        assert expected.says in row["error_message"]
        assert row["text"] is None
    elif expected.says or expected.note:
        assert expected.says in row["text"]
    else:
        assert told(row) == told(one.healthy)
    assert (row["first_token_s"] is None) == (kind in UNTIMED)
    # What came before the break was paid for, and is kept.
    if kind != "hang":
        assert raw["http_status"] == row["http_status"] == 200
        assert raw["response"]


# ---------------------------------------------------------------- identity, keys and resuming


def test_a_run_goes_on_with_streaming_switched(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(4))
    run_again(config_for(simulator, dataset), tmp_path / "run", simulator)
    write_rows(dataset, questions(8))
    _, sent = run_again(streaming(simulator, dataset), tmp_path / "run", simulator)
    assert sent == 4
    assert run_again(config_for(simulator, dataset), tmp_path / "run", simulator)[1] == 0
    timed = {row["sample_id"]: row["first_token_s"] is not None for row in table(tmp_path / "run")}
    assert timed == {f"q{number}": number >= 4 for number in range(8)}


def test_a_failed_stream_is_sent_again_by_the_next_session(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(4))
    simulator.change(replace(QUICK, faults=FaultRules(script={1: "stream_end"})))
    config = streaming(simulator, dataset, retry={"max_attempts": 1}, limits={"max_in_flight": 1})
    first = runner.run(config, run_dir=tmp_path / "run")
    assert (first.exit_code, first.failed) == (3, 1)
    again, sent = runner.run(config, run_dir=tmp_path / "run"), sent_by(simulator)
    assert (again.exit_code, again.ok, sent) == (0, 4, 5)


def test_time_outs_in_the_middle_are_sent_again_as_often_as_the_config_says(
    simulator: Simulator, tmp_path: Path
) -> None:
    rows = [{**row, "question": f"{row['question']} [[fault:stream_stall]]"} for row in questions(1)]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    config = streaming(simulator, dataset, retry={"max_attempts": 5, "max_timeouts": 2})
    config["request"]["timeout_s"]["idle"] = 0.1
    summary = runner.run(config)
    assert (summary.failed, sent_by(simulator)) == (1, 3)


def test_lines_of_a_batch_file_are_streamed_too(simulator: Simulator, tmp_path: Path) -> None:
    lines = [
        {
            "custom_id": row["id"],
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "m", "stream": False, "messages": [{"role": "user", "content": row["question"]}]},
        }
        for row in questions(3)
    ]
    dataset = write_rows(tmp_path / "data.jsonl", lines)
    config = streaming(simulator, dataset)
    config["dataset"] = {"path": str(dataset)}
    del config["request"]["messages"]
    del config["request"]["params"]
    summary = runner.run(config)
    assert (summary.ok, summary.exit_code) == (3, 0)
    assert all(row["first_token_s"] for row in table(summary.run_dir))


@pytest.mark.parametrize(
    ("options", "sent", "tokens"),
    [
        ({}, {"include_usage": True}, True),
        ({"stream_options": {"include_usage": False}}, {"include_usage": False}, False),
        ({"stream_options": None}, None, False),
    ],
)
def test_usage_is_asked_for_unless_the_config_has_its_own_say(
    simulator: Simulator,
    tmp_path: Path,
    options: dict[str, Any],
    sent: dict[str, bool] | None,
    tokens: bool,  # noqa: FBT001 - a table's column
) -> None:
    config = streaming(simulator, write_rows(tmp_path / "data.jsonl", questions(2)))
    config["request"]["params"] |= options
    summary = runner.run(config)
    assert (summary.ok, summary.total_tokens > 0) == (2, tokens)
    bodies = [orjson.loads(row["request"]) for row in table(summary.run_dir, "raw")]
    assert [(body["stream"], body.get("stream_options")) for body in bodies] == [(True, sent)] * 2


# ---------------------------------------------------------------- odd servers


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}) + b"\n\n"


def test_a_whole_stream_that_nobody_asked_for_is_an_answer(simulator: Simulator, tmp_path: Path) -> None:
    body = chunk({"content": "He"}) + chunk({"content": "re"}) + chunk({}, "stop")
    with answering(lambda _: Reply(body=body, headers=SSE)) as base_url:
        config = config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(2)), model={"base_url": base_url})
        summary = runner.run(config)
    assert [(row["text"], row["attempts"]) for row in table(summary.run_dir)] == [("Here", 1)] * 2


def test_a_half_stream_that_nobody_asked_for_is_none(simulator: Simulator, tmp_path: Path) -> None:
    with answering(lambda _: Reply(body=chunk({"content": "He"}), headers=SSE)) as base_url:
        config = config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(1)), model={"base_url": base_url})
        (row,) = table(runner.run(config).run_dir)
    assert (row["status"], row["error_kind"], row["attempts"]) == ("failed", "invalid_response", 3)


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_that_a_server_says_in_pieces_is_nowhere(
    simulator: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,  # noqa: FBT001 - a case of the table
) -> None:
    key = "sk-planted-Ab3/x+Yz09q/Vv8=="
    monkeypatch.setenv("EVALRUNNER_TEST_KEY", key)

    def answer(call: Call) -> Reply:
        pieces = b"".join(chunk({"content": letter, "reasoning": letter}) for letter in call.key)
        ends = [chunk({}, "stop"), b"", b'data: {"error":{"message":"key %s"}}\n\n' % call.key.encode()]
        return Reply(body=pieces + ends[int(call.question[8]) % 3], headers=SSE)

    with answering(answer) as base_url:
        model = {"base_url": base_url, "api_key_env": "EVALRUNNER_TEST_KEY"}
        config = config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(3)), model=model)
        config["request"]["stream"] = stream
        summary = runner.run(config, run_dir=tmp_path / "run")
    row = by_sample(summary.run_dir)["q0"]
    assert (row["status"], row["text"], row["reasoning"]) == ("ok", "[redacted]", "[redacted]")
    assert summary.failed == 2
    assert find_leaks(key, tmp_path / "run", repr(summary)) == []


def test_an_error_in_mid_stream_can_stop_the_run(simulator: Simulator, tmp_path: Path) -> None:
    error = b'data: {"error":{"message":"no money","code":"insufficient_quota"}}\n\ndata: [DONE]\n\n'
    with answering(lambda _: Reply(body=chunk({"content": "He"}) + error, headers=SSE)) as base_url:
        dataset = write_rows(tmp_path / "data.jsonl", questions(9))
        config = streaming(simulator, dataset, model={"base_url": base_url}, limits={"max_in_flight": 2})
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.status, summary.by_status) == (5, "stopped", {})
    assert summary.http_requests <= 2


def test_a_server_that_streams_now_and_then_is_read_as_it_comes(simulator: Simulator, tmp_path: Path) -> None:
    def answer(call: Call) -> Reply:
        streamed = Reply(body=chunk({"content": "x"}, "stop"), headers=SSE)
        return streamed if call.number % 2 else completion("x")

    with answering(answer) as base_url:
        dataset = write_rows(tmp_path / "data.jsonl", questions(6))
        config = streaming(simulator, dataset, model={"base_url": base_url}, limits={"max_in_flight": 1})
        summary = runner.run(config)
    assert {row["text"] for row in table(summary.run_dir)} == {"x"}
    assert sorted(row["first_token_s"] is None for row in table(summary.run_dir)) == [False] * 3 + [True] * 3


def test_streams_are_parsed_again_from_what_is_kept(simulator: Simulator, tmp_path: Path) -> None:
    config = streaming(simulator, write_rows(tmp_path / "data.jsonl", questions(4)))
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    before = rows_of(summary.run_dir)
    folder, manifest = open_existing(tmp_path / "run")
    resealed = reseal(sealing_of(folder, manifest, config_from_dict(config, tmp_path)), read_commits(folder))
    assert resealed.before == resealed.after == {"ok": 4}
    assert rows_of(summary.run_dir) == before


# ---------------------------------------------------------------- responses


def said(kind: str, **more: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps({"type": kind, **more}))


def responding(simulator: Simulator, dataset: Path, base_url: str, /, **model: Any) -> dict[str, Any]:
    config = streaming(simulator, dataset, model={"base_url": base_url, **model}, limits={"max_in_flight": 2})
    config["request"] |= {"endpoint": "responses", "params": {}}
    return config


def response(text: str, status: str = "completed", **more: Any) -> dict[str, Any]:
    item = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    return {"id": "resp_1", "object": "response", "status": status, "output": [item], **more}


def test_a_key_that_a_response_says_in_pieces_is_nowhere(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-planted-Ab3/x+Yz09q/Vv8=="
    monkeypatch.setenv("EVALRUNNER_TEST_KEY", key)

    def answer(call: Call) -> Reply:
        pieces = b"".join(said("response.output_text.delta", item_id="a", delta=letter) for letter in call.key)
        whole = b"2" not in call.body["input"][-1]["content"].encode()
        return Reply(
            body=pieces + (said("response.completed", response=response(call.key)) if whole else b""), headers=SSE
        )

    with answering(answer) as base_url:
        config = responding(
            simulator, write_rows(tmp_path / "data.jsonl", questions(3)), base_url, api_key_env="EVALRUNNER_TEST_KEY"
        )
        summary = runner.run(config, run_dir=tmp_path / "run")
    rows = by_sample(summary.run_dir)
    assert [(rows[name]["status"], rows[name]["text"]) for name in ("q0", "q1")] == [("ok", "[redacted]")] * 2
    assert (rows["q2"]["status"], rows["q2"]["error_kind"]) == ("failed", "disconnect")
    assert find_leaks(key, tmp_path / "run", repr(summary)) == []
    assert [row["response"] for row in table(summary.run_dir, "raw") if b".delta" in row["response"]] == []


@pytest.mark.parametrize(
    ("end", "ending"),
    [
        (
            said("response.failed", response=response("", "failed", error={"code": "server_error", "message": "m"})),
            "server",
        ),
        (said("error", code="rate_limit_exceeded", message="slow down", param=None), "rate_limit"),
        (b"data: [DONE]\n\n", "disconnect"),
    ],
)
def test_a_response_that_fails_in_mid_stream_is_sent_again(
    simulator: Simulator, tmp_path: Path, end: bytes, ending: str
) -> None:
    delta = said("response.output_text.delta", item_id="a", delta="He")

    def answer(call: Call) -> Reply:
        whole = said("response.incomplete", response=response("Here", "incomplete"))
        return Reply(body=delta + (whole if call.number > 1 else end), headers=SSE)

    with answering(answer) as base_url:
        config = responding(simulator, write_rows(tmp_path / "data.jsonl", questions(1)), base_url)
        summary = runner.run(config, run_dir=tmp_path / "run")
    (row,) = table(summary.run_dir)
    assert (row["status"], row["text"], row["finish_reason"]) == ("truncated", "Here", "incomplete")
    kinds = [one["error_kind"] for one in sorted(table(summary.run_dir, "attempts"), key=lambda one: one["attempt"])]
    assert kinds == [ending, None]
    assert 0 < row["first_token_s"] <= row["latency_s"]


def test_a_whole_streamed_response_that_nobody_asked_for_is_an_answer(simulator: Simulator, tmp_path: Path) -> None:
    def answer(call: Call) -> Reply:
        whole = said("response.completed", response=response("Here")) if call.number > 1 else b"data: [DONE]\n\n"
        return Reply(body=said("response.output_text.delta", item_id="a", delta="He") + whole, headers=SSE)

    with answering(answer) as base_url:
        config = responding(simulator, write_rows(tmp_path / "data.jsonl", questions(1)), base_url)
        config["request"]["stream"] = False
        summary = runner.run(config)
    assert [(row["text"], row["attempts"]) for row in table(summary.run_dir)] == [("Here", 2)]


def test_an_error_in_a_streamed_response_can_stop_the_run(simulator: Simulator, tmp_path: Path) -> None:
    error = said("error", code="insufficient_quota", message="no money", param=None)
    with answering(lambda _: Reply(body=error, headers=SSE)) as base_url:
        config = responding(simulator, write_rows(tmp_path / "data.jsonl", questions(9)), base_url)
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.status, summary.by_status) == (5, "stopped", {})


def test_streamed_responses_are_parsed_again_from_what_is_kept(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(4))
    config = streaming(simulator, dataset, request={"endpoint": "responses", "params": {}})
    summary, sent = run_again(config, tmp_path / "run", simulator)
    before = rows_of(summary.run_dir)
    folder, manifest = open_existing(tmp_path / "run")
    resealed = reseal(sealing_of(folder, manifest, config_from_dict(config, tmp_path)), read_commits(folder))
    assert (sent, resealed.before, resealed.after) == (4, {"ok": 4}, {"ok": 4})
    assert rows_of(summary.run_dir) == before
    config["request"]["stream"] = False
    assert run_again(config, tmp_path / "run", simulator)[1] == 0
