"""Every trouble a server can make ends as a row with a status, as a free retry, or as a stop that can be resumed."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio
import orjson
import pyarrow.parquet as pq
import pytest

import runner
from runner.folder.layout import RunFolder
from runner.pipeline.sending.backlog import Backlog
from runner.pipeline.sending.control import Control
from runner.pipeline.storing.verify import verify
from runner.simulate import KINDS, FaultRules, request_digest
from runner.simulate.answers import Stamp, build_answer
from runner.simulate.failures import FAILURES
from runner.simulate.prompts import read_chat
from runner.simulate.vectors import VECTOR_FAULTS
from tests.support.odd_server import Gone, answering, completion
from tests.support.pools import BRISK, run_pool
from tests.support.runs import by_sample, check_books, config_for, questions, run_again, sent_by, table, write_rows
from tests.support.serving import QUICK, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.odd_server import Call, Reply
    from tests.support.runs import Row

SAMPLES = 16
MAX_ATTEMPTS = 2
STALE = "stale_connection"
_HUGE = "huge" * (QUICK.fault_details.huge_bytes // 4)


# ---------------------------------------------------------------- what each kind of fault ends as


def whole(text: str) -> str | None:
    return text


def none(_text: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a row ends that meets a fault. `text` makes the column out of the answer that the server had in mind.

    `attempts` counts all but those on a connection that was closed already; `times` is how often the fault strikes,
    0 for always.
    """

    status: str = "ok"
    error_kind: str | None = None
    http_status: int | None = 200
    attempts: int = 1
    text: Callable[[str], str | None] = whole
    finish: str | None = "stop"
    note: str | None = None
    times: int = 0


def failed(error_kind: str, http_status: int | None, attempts: int = 1) -> Ending:
    return Ending("failed", error_kind, http_status, attempts, none, None)


def passed_after(times: int) -> Ending:
    return Ending(attempts=times + 1, times=times)


ENDINGS: Mapping[str, Ending] = {
    # The same request would be refused again.
    "400": failed("bad_request", 400),
    "400_content_filter": failed("bad_request", 400),
    "400_context": failed("context_length", 400),
    "422": failed("bad_request", 422),
    # Passing troubles: sent again while attempts are left.
    "408": failed("request_timeout", 408, MAX_ATTEMPTS),
    "500": failed("server", 500, MAX_ATTEMPTS),
    "502": failed("server", 502, MAX_ATTEMPTS),
    "504": failed("server", 504, MAX_ATTEMPTS),
    "reset": failed("disconnect", None, MAX_ATTEMPTS),
    "disconnect": failed("disconnect", None, MAX_ATTEMPTS),
    "cut": failed("disconnect", None, MAX_ATTEMPTS),
    "cut_chunked": failed("disconnect", None, MAX_ATTEMPTS),
    "header_50k": failed("disconnect", None, MAX_ATTEMPTS),
    "hang": failed("request_timeout", None, MAX_ATTEMPTS),
    "empty_200": failed("invalid_response", 200, MAX_ATTEMPTS),
    "html_200": failed("invalid_response", 200, MAX_ATTEMPTS),
    "garbage_json": failed("invalid_response", 200, MAX_ATTEMPTS),
    "sse_200": failed("invalid_response", 200, MAX_ATTEMPTS),
    "error_in_200": failed("server", 200, MAX_ATTEMPTS),
    # The server is busy: more of these than attempts, and the answer comes all the same.
    "429": passed_after(MAX_ATTEMPTS + 1),
    "503": passed_after(MAX_ATTEMPTS + 1),
    "503_loading": passed_after(MAX_ATTEMPTS + 1),
    "529": passed_after(MAX_ATTEMPTS + 1),
    # JSON without an answer, and an answer that no parser follows: to ask again would bring the same.
    "null_json": failed("no_choices", 200),
    "no_choices": failed("no_choices", 200),
    "deep_nesting": failed("parse", 200),
    # Answers, though odd.
    "odd_finish": Ending(finish="sto"),
    "refusal_none": Ending(),
    "refusal": Ending("refused", text=none),
    "tool_calls": Ending(text=none, finish="tool_calls"),
    "reasoning": Ending(),
    "content_filter": Ending("content_filter", text=none, finish="content_filter"),
    "null_content": Ending(text=none),
    "missing_usage": Ending(),
    "fewer_choices": Ending(),
    "duplicate_keys": Ending(),
    "nan": Ending(note="not strict JSON"),
    "invalid_utf8": Ending(text=lambda text: f"\ufffd\ufffd{text}", note="invalid UTF-8"),
    "surrogate": Ending(text=lambda text: f"\ufffd{text}", note="not strict JSON"),
    "big_int": Ending(note="usage.total_tokens is not a count"),
    "bom": Ending(note="byte-order mark"),
    "extra_bytes": Ending(note="13 characters after the JSON value"),
    "huge": Ending(text=lambda _: _HUGE),
    "gzip_bomb": Ending(),
    "drip": Ending(),
    "stall": Ending(),
    "keepalive_close": Ending(),
    "idle_close": Ending(),
}

# What dooms every row: error_kind, http_status, and the request that meets it (403 tells of the key only before the
# first answer).
STOPPING: Mapping[str, tuple[str, int, int]] = {
    "401": ("auth", 401, 5),
    "402": ("quota", 402, 5),
    "403": ("auth", 403, 1),
    "404": ("not_found", 404, 5),
    "404_model": ("model_not_found", 404, 5),
    "429_quota": ("quota", 429, 5),
    "redirect_302": ("redirect", 302, 5),
    "redirect_307": ("redirect", 307, 5),
}

# These get a run of their own: one with a short time-out, one with one connection at a time.
ALONE: Mapping[str, dict[str, dict[str, Any]]] = {
    "hang": {"request": {"timeout_s": {"connect": 5, "total": 0.3}}},
    "idle_close": {"limits": {"max_in_flight": 1}},
    "keepalive_close": {"limits": {"max_in_flight": 1}},
}


@dataclass(frozen=True, slots=True)
class Met:
    """What became of the row that met a fault: its rows, and the text of the answer that the server had in mind."""

    run_dir: Path
    row: Row
    attempts: list[Row]
    raw: Row
    answer: str


def marked(rows: list[Row], kind: str, times: int = 0) -> list[Row]:
    """Return the rows, the first of which meets a fault: always, or the first `times` times."""
    marker = f"[[fault:{kind}{f'*{times}' if times else ''}]]"
    return [{**rows[0], "question": f"{rows[0]['question']} {marker}"}, *rows[1:]]


def server_text(request: bytes) -> str:
    """Return the text that the simulator makes of a request: it depends on nothing else."""
    body = orjson.loads(request)
    chat = read_chat(body, request_digest(body))
    text: str = build_answer(chat, QUICK.answers, Stamp(QUICK.seed, 0, 0))["choices"][0]["message"]["content"]
    return text


def meet(simulator: Simulator, folder: Path, kinds: list[str], **sections: Any) -> dict[str, Met]:
    """Run a dataset with one row for each kind, and a healthy row after each; return what became of them."""
    rows = [
        row
        for number, kind in enumerate(kinds)
        for row in marked(questions(2, first=2 * number), kind, ENDINGS[kind].times)
    ]
    dataset = write_rows(folder / "data.jsonl", rows)
    config = config_for(simulator, dataset, **sections)
    config["request"]["params"] |= {"logprobs": True, "top_logprobs": 2}
    config["retry"]["max_attempts"] = MAX_ATTEMPTS
    before = sent_by(simulator)
    summary = runner.run(config, run_dir=folder / "run")
    responses, attempts, raw = (table(summary.run_dir, name) for name in ("responses", "attempts", "raw"))
    assert verify(RunFolder(folder / "run")).findings == []
    assert [row["choice"] for row in responses] == [0] * len(rows)
    assert {row["status"] for row in responses if int(row["sample_id"][1:]) % 2} == {"ok"}
    # What was written to a connection that was closed already never reached the server.
    assert summary.http_requests == len(attempts) >= sent_by(simulator) - before
    by_id = {row["sample_id"]: row for row in responses}
    assert by_id.keys() == {row["id"] for row in rows}
    found = {}
    for number, kind in enumerate(kinds):
        row = by_id[f"q{2 * number}"]
        (body,) = (one for one in raw if one["request_key"] == row["request_key"])
        own = [one for one in attempts if one["request_key"] == row["request_key"]]
        own.sort(key=lambda one: one["attempt"])
        found[kind] = Met(folder / "run", row, own, body, server_text(body["request"]))
    return found


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Met]:
    """Every kind that ends in a row, met once."""
    found: dict[str, Met] = {}
    with serving() as simulator:
        together = [kind for kind in ENDINGS if kind not in ALONE]
        found |= meet(simulator, tmp_path_factory.mktemp("together"), together)
        for kind, sections in ALONE.items():
            found |= meet(simulator, tmp_path_factory.mktemp(kind), [kind], **sections)
    return found


def test_the_tables_name_every_kind_of_fault_once() -> None:
    elsewhere = {kind for kind in KINDS if kind.startswith("stream_")} | VECTOR_FAULTS.keys()
    assert ENDINGS.keys() | STOPPING.keys() == KINDS - elsewhere
    assert not ENDINGS.keys() & STOPPING.keys()
    assert ALONE.keys() <= ENDINGS.keys()


@pytest.mark.parametrize("kind", ENDINGS)
def test_each_kind_ends_in_its_row(met: dict[str, Met], kind: str) -> None:
    expected, row = ENDINGS[kind], met[kind].row
    told = (row["status"], row["error_kind"], row["http_status"], row["finish_reason"])
    assert told == (expected.status, expected.error_kind, expected.http_status, expected.finish)
    assert row["text"] == expected.text(met[kind].answer)
    assert (row["error_message"] is None) == (expected.error_kind is None)
    assert row["parse_note"] is None if expected.note is None else expected.note in row["parse_note"]


@pytest.mark.parametrize("kind", ENDINGS)
def test_each_attempt_stands_in_its_table_with_what_it_met(met: dict[str, Met], kind: str) -> None:
    expected, own = ENDINGS[kind], met[kind].attempts
    assert [one["attempt"] for one in own] == list(range(1, len(own) + 1))
    assert met[kind].row["attempts"] == len(own)
    sent = [one for one in own if one["error_kind"] != STALE]
    assert len(sent) == expected.attempts
    if expected.times:
        assert {one["http_status"] for one in sent[:-1]} == {int(kind[:3])}
        assert {one["error_kind"] for one in sent[:-1]} == {"rate_limit" if kind == "429" else "overload"}
    ended_as = None if expected.error_kind == "parse" else expected.error_kind
    assert (sent[-1]["error_kind"], sent[-1]["http_status"]) == (ended_as, expected.http_status)


@pytest.mark.parametrize("kind", [kind for kind, ending in ENDINGS.items() if ending.error_kind is None])
def test_usage_of_an_odd_answer_is_the_servers(met: dict[str, Met], kind: str) -> None:
    row, raw = met[kind].row, met[kind].raw
    stated = orjson.loads(row["usage_json"]) if row["usage_json"] else {}
    assert (row["prompt_tokens"], row["completion_tokens"]) == (
        stated.get("prompt_tokens"),
        stated.get("completion_tokens"),
    )
    assert (row["prompt_tokens"] is None) == (b'"usage"' not in raw["response"]) == (kind == "missing_usage")


def test_the_shapes_of_odd_answers_reach_their_columns(met: dict[str, Met]) -> None:
    rows = {kind: found.row for kind, found in met.items()}
    assert rows["refusal"]["refusal"] == "I'm sorry, I can't assist with that request."
    assert "".join(rows["refusal"]["tokens"]) == met["refusal"].answer
    assert rows["refusal_none"]["refusal"] is None
    assert rows["reasoning"]["reasoning"] == f"The question needs thought. {met['reasoning'].answer}"
    assert rows["reasoning"]["reasoning_tokens"] > 0
    (call,) = orjson.loads(rows["tool_calls"]["tool_calls"])
    assert orjson.loads(call["function"]["arguments"]) == {"query": met["tool_calls"].answer}
    assert (rows["big_int"]["total_tokens"], rows["big_int"]["prompt_tokens"] > 0) == (None, True)
    assert rows["nan"]["token_logprobs"][0] is None
    assert rows["nan"]["top_logprobs"][0][0] == float("-inf")
    assert all(value < 0 for value in rows["nan"]["token_logprobs"][1:])
    assert rows["duplicate_keys"]["response_id"].startswith("chatcmpl-")
    assert "".join(rows["drip"]["tokens"]) == rows["drip"]["text"]


def test_error_messages_say_what_the_server_said(met: dict[str, Met]) -> None:
    said = {
        "400": "This request cannot be served.",
        "400_content_filter": "content management policy",
        "400_context": "exceeds the available context size",
        "422": "body.messages: Field required",
        "408": "The operation was timeout.",
        "500": "Sorry about that!",
        "502": "502 Bad Gateway",
        "504": "504 Gateway Time-out",
        "error_in_200": "Provider returned error",
        "deep_nesting": "raw/",
        "hang": "0.3 s",
        "cut": "cut",
        "cut_chunked": "cut",
        "header_50k": "headers",
        "disconnect": "without an answer",
    }
    for kind, words in said.items():
        message = met[kind].row["error_message"]
        assert words in message, kind
        assert message.isprintable(), kind
        assert len(message) <= 400, kind


def test_raw_holds_what_the_server_sent(met: dict[str, Met]) -> None:
    for kind in ENDINGS.keys() & FAILURES.keys():
        if ENDINGS[kind].status == "failed":
            assert met[kind].raw["response"] == FAILURES[kind].body, kind
    assert met["null_json"].raw["response"] == b"null"
    assert met["sse_200"].raw["response"].endswith(b"data: [DONE]\n\n")
    assert b"[" * 5000 in met["deep_nesting"].raw["response"]
    assert b"NaN" in met["nan"].raw["response"]
    assert b"\xff\xfe" in met["invalid_utf8"].raw["response"]
    for kind in ("hang", "reset", "disconnect", "cut"):
        assert (met[kind].raw["response"], met[kind].raw["http_status"]) == (None, None)


def test_the_types_are_the_same_whatever_became_of_the_rows(
    met: dict[str, Met], simulator: Simulator, tmp_path: Path
) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", marked(questions(1), "400"))
    all_failed = runner.run(config_for(simulator, dataset))
    for name in ("responses", "attempts", "raw"):
        parts = [*met["400"].run_dir.glob(f"{name}/*.parquet")]
        parts += (RunFolder(tmp_path / "outputs" / "test" / all_failed.run_id).root / name).glob("*.parquet")
        schemas = [pq.read_schema(part).remove_metadata() for part in parts]
        assert len(schemas) == 4
        assert all(schema == schemas[0] for schema in schemas)


# ---------------------------------------------------------------- free retries


def test_a_busy_server_uses_no_attempt(simulator: Simulator, tmp_path: Path) -> None:
    kinds = ("429", "503", "503_loading", "529")
    rows = [marked(questions(1, first=number), kind, 4)[0] for number, kind in enumerate(kinds)]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    config = config_for(simulator, dataset, retry={"max_attempts": 1})
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.ok, summary.retries, summary.rate_limited, sent) == (4, 16, 4, 20)


def test_a_server_that_stays_busy_costs_the_row_its_deadline_and_no_more(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", marked(questions(2), "429"))
    config = config_for(simulator, dataset, retry={"max_attempts": 1, "deadline_s": 0.05})
    summary, _ = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.failed, summary.ok) == (3, 1, 1)
    assert by_sample(summary.run_dir)["q0"]["error_kind"] == "rate_limit"
    write_rows(dataset, questions(2))
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.ok, sent) == (0, 2, 1)


def test_a_connection_that_was_closed_while_idle_uses_no_attempt(simulator: Simulator, tmp_path: Path) -> None:
    rows = [*marked(questions(1), "idle_close"), *questions(3, first=1)]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    config = config_for(simulator, dataset, limits={"max_in_flight": 1}, retry={"max_attempts": 1})
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.ok, summary.retries) == (0, 4, 1)
    assert [row["error_kind"] for row in table(summary.run_dir, "attempts") if row["error_kind"]] == [STALE]
    # The request never reached the server's books: it is counted as an attempt, and answered once.
    assert (summary.http_requests, sent_by(simulator)) == (5, 4)


def test_a_request_that_kills_its_connection_does_not_go_on_for_free(simulator: Simulator, tmp_path: Path) -> None:
    """Others keep filling the pool with used connections; what the row does to each of them is its own doing."""
    rows = [*questions(1), *marked(questions(1, first=1), "disconnect"), *questions(200, first=2)]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    config = config_for(simulator, dataset, limits={"max_in_flight": 2}, retry={"max_attempts": 2, "max_wait_s": 0.002})
    summary = runner.run(config, run_dir=tmp_path / "run")
    row = by_sample(summary.run_dir)["q1"]
    assert (row["status"], row["error_kind"]) == ("failed", "disconnect")
    assert row["attempts"] <= 2 + 2


# ---------------------------------------------------------------- kinds that stop the run


@pytest.mark.parametrize("kind", STOPPING)
def test_what_dooms_every_row_stops_the_run_and_the_rest_can_be_sent_later(
    simulator: Simulator, tmp_path: Path, kind: str
) -> None:
    error_kind, http_status, number = STOPPING[kind]
    in_flight = 4
    dataset = write_rows(tmp_path / "data.jsonl", questions(4 * SAMPLES))
    config = config_for(simulator, dataset, limits={"max_in_flight": in_flight})
    simulator.change(replace(QUICK, faults=FaultRules(script={number: kind})))
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.status, summary.failed) == (5, "stopped", 0)
    assert sent <= number + in_flight
    assert set(summary.by_status) <= {"ok"}
    assert summary.ok == sent - 1
    assert [
        (row["error_kind"], row["http_status"]) for row in table(summary.run_dir, "attempts") if row["error_kind"]
    ] == [(error_kind, http_status)]
    assert any(f"HTTP {http_status}" in warning for warning in summary.warnings)
    again, sent_again = run_again(config, tmp_path / "run", simulator)
    assert (again.exit_code, again.status, again.ok) == (0, "complete", 4 * SAMPLES)
    assert sent_again == 4 * SAMPLES - summary.ok


def test_every_request_meeting_the_stop_costs_no_more_than_was_in_flight(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(4 * SAMPLES))
    config = config_for(simulator, dataset, limits={"max_in_flight": 4})
    simulator.change(replace(QUICK, quota_after=10))
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.ok) == (5, 10)
    assert sent <= 10 + 4
    simulator.change(QUICK)
    assert run_again(config, tmp_path / "run", simulator)[1] == 4 * SAMPLES - 10


def test_after_an_answer_403_is_about_the_row(simulator: Simulator, tmp_path: Path) -> None:
    rows = [*questions(1), *marked(questions(3, first=1), "403")]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    config = config_for(simulator, dataset, limits={"max_in_flight": 1})
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.status, summary.ok, sent) == (3, "complete", 3, 4)
    row = by_sample(summary.run_dir)["q1"]
    assert (row["error_kind"], row["http_status"]) == ("permission_denied", 403)


# ---------------------------------------------------------------- nobody there


@contextmanager
def closed_port() -> Iterator[int]:
    """Hold a port on which connections are refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_refused_connection_ends_incomplete_and_the_run_goes_on_once_the_server_is_there(
    simulator: Simulator, tmp_path: Path
) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))
    config = config_for(simulator, dataset)
    with closed_port() as port:
        config["model"]["base_url"] = f"http://127.0.0.1:{port}/v1"
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.status, summary.by_status) == (6, "incomplete", {})
    assert any("cannot connect" in warning for warning in summary.warnings)
    assert {row["error_kind"] for row in table(summary.run_dir, "attempts")} == {"connect"}
    with serving(replace(QUICK, port=port)) as revived:
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert (summary.exit_code, summary.ok, sent_by(revived)) == (0, SAMPLES, SAMPLES)


def test_a_server_that_goes_away_ends_the_run_with_its_answers_kept(simulator: Simulator, tmp_path: Path) -> None:
    def answer(call: Call) -> Reply:
        if call.number > 6:
            raise Gone
        return completion("here")

    dataset = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))
    with answering(answer) as base_url:
        config = config_for(simulator, dataset, model={"base_url": base_url}, limits={"max_in_flight": 2})
        summary = run_pool(config, tmp_path / "run", breaker=replace(BRISK, give_up_s=0.05))
    assert (summary.exit_code, summary.status, summary.ok, summary.failed) == (6, "incomplete", 6, 0)
    assert {row["text"] for row in table(summary.run_dir)} == {"here"}


def test_a_row_read_in_the_instant_of_a_stop_is_left_for_the_next_session(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, stop, stopped = Backlog.add, Control.stop, anyio.Event()

    async def add_after_the_stop(backlog: Backlog, body_bytes: int) -> None:
        await add(backlog, body_bytes)
        if backlog._open_rows == 4:  # what holds the reader up here is no wait that a stop could cut
            with anyio.CancelScope(shield=True):
                await stopped.wait()
                await anyio.sleep(0.2)

    def stop_and_tell(control: Control, *why: Any) -> None:
        stop(control, *why)
        stopped.set()

    monkeypatch.setattr(Backlog, "add", add_after_the_stop)
    monkeypatch.setattr(Control, "stop", stop_and_tell)
    dataset = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))
    config = config_for(simulator, dataset, limits={"max_in_flight": 2})
    simulator.change(replace(QUICK, quota_after=0))
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.ok) == (5, 0)
    monkeypatch.undo()
    simulator.change(QUICK)
    again, sent = run_again(config, tmp_path / "run", simulator)
    assert (again.exit_code, again.ok, sent) == (0, SAMPLES, SAMPLES)


# ---------------------------------------------------------------- what is kept, and how many rows


def test_what_did_not_parse_is_kept_even_if_bodies_are_not(simulator: Simulator, tmp_path: Path) -> None:
    kinds = ("deep_nesting", "400", "garbage_json", "no_choices", "error_in_200")
    rows = [marked(questions(1, first=number), kind)[0] for number, kind in enumerate(kinds)] + questions(5, first=10)
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    config = config_for(simulator, dataset, output={"keep_raw": False})
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.ok, summary.failed) == (5, len(kinds))
    kept = {row["request_key"]: row["response"] for row in table(summary.run_dir, "raw")}
    by_id = by_sample(summary.run_dir)
    assert kept.keys() == {by_id[f"q{number}"]["request_key"] for number in range(len(kinds))}
    assert b"[" * 5000 in kept[by_id["q0"]["request_key"]]
    assert kept[by_id["q1"]["request_key"]] == FAILURES["400"].body
    assert all(kept.values())


def test_an_answer_that_does_not_parse_is_not_bought_again(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", marked(questions(2), "deep_nesting"))
    config = config_for(simulator, dataset)
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.failed, sent_by(simulator)) == (3, 1, 2)
    runner.run(config, run_dir=tmp_path / "run")
    assert sent_by(simulator) == 2


def test_choices_that_the_server_left_out_are_failed_rows(simulator: Simulator, tmp_path: Path) -> None:
    # A server that has given all choices once knows n: that it leaves some out later is this answer's doing.
    dataset = write_rows(tmp_path / "data.jsonl", reversed(marked(questions(2), "fewer_choices")))
    config = config_for(simulator, dataset, limits={"max_in_flight": 1})
    config["request"]["params"] = {"n": 3, "temperature": 1}
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.by_status, sent) == (3, {"failed": 2, "ok": 4}, 2)
    rows = sorted((row for row in table(summary.run_dir) if row["sample_id"] == "q0"), key=lambda row: row["choice"])
    assert [(row["choice"], row["status"], row["error_kind"]) for row in rows] == [
        (0, "ok", None),
        (1, "failed", "missing_choice"),
        (2, "failed", "missing_choice"),
    ]
    assert [row["total_tokens"] is None for row in rows] == [False, True, True]
    assert len({row["key"] for row in rows}) == 1
    assert run_again(config, tmp_path / "run", simulator)[1] == 0


def test_a_failed_request_writes_a_row_for_each_choice(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", marked(questions(1), "400"))
    config = config_for(simulator, dataset)
    config["request"]["params"] = {"n": 4}
    summary, sent = run_again(config, tmp_path / "run", simulator)
    rows = table(summary.run_dir)
    assert (sent, summary.failed, {row["choice"] for row in rows}) == (1, 4, {0, 1, 2, 3})
    assert {(row["status"], row["error_kind"], row["total_tokens"]) for row in rows} == {
        ("failed", "bad_request", None)
    }


# ---------------------------------------------------------------- the gate


def test_a_run_whose_rows_all_failed_is_complete_with_exit_3(simulator: Simulator, tmp_path: Path) -> None:
    rows = [marked([row], "400")[0] for row in questions(SAMPLES)]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    summary, sent = run_again(config_for(simulator, dataset), tmp_path / "run", simulator)
    assert (summary.exit_code, summary.status, summary.by_status) == (3, "complete", {"failed": SAMPLES})
    assert (sent, summary.ok, summary.latency_s["p50"]) == (SAMPLES, 0, None)
    assert summary.gates == [{"name": "max_failed_fraction", "limit": 0.0, "value": 1.0, "passed": False}]
    assert len(runner.load(summary.run_dir)) == SAMPLES


def test_the_gate_permits_exactly_the_fraction_it_names(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", marked(questions(4), "400"))
    exits = {}
    for fraction in (0.25, 0.2499, 1.0, 0.0):
        config = config_for(simulator, dataset, gates={"max_failed_fraction": fraction})
        exits[fraction] = runner.run(config, run_dir=tmp_path / "run").exit_code
    assert exits == {0.25: 0, 0.2499: 3, 1.0: 0, 0.0: 3}
    assert sent_by(simulator) == 4
    check_books(runner.run(config, run_dir=tmp_path / "run"), simulator)
