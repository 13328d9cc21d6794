"""Owns asking again after answers that were cut off: which request follows, and what a run makes of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.config import config_from_dict
from runner.endpoints import ENDPOINTS
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.pipeline.opening import open_existing, sealing_of
from runner.pipeline.requests.truncation import Enlarging
from runner.pipeline.storing.reseal import reseal
from runner.pipeline.storing.verify import salvage, verify
from runner.records import Request, Response
from tests.support.odd_server import Reply, answering
from tests.support.runs import by_sample, config_for, questions, run_again, table, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.odd_server import Call

SAMPLES = 12
TOKENS = 8  # of an answer of the simulator that is not cut off
NAMES = frozenset({"max_tokens", "max_completion_tokens"})


# ---------------------------------------------------------------- which request follows


def request(body: dict[str, Any], choices: int = 1) -> Request:
    return Request(b"k" * 16, "/chat/completions", orjson.dumps(body), (None,), choices, 100, answer_tokens=40)  # type: ignore[arg-type]


def cut(*finishes: str) -> Response:
    choices = [
        {"index": index, "message": {"content": "a"}, "finish_reason": finish} for index, finish in enumerate(finishes)
    ]
    return Response(200, {}, orjson.dumps({"choices": choices}), 0.0, 0.1)


@pytest.mark.parametrize(
    ("body", "cap", "asked"),
    [
        ({"max_tokens": 10}, 100, {"max_tokens": 20}),
        ({"max_completion_tokens": 10}, 15, {"max_completion_tokens": 15}),
        ({"max_tokens": 10, "max_completion_tokens": 4}, 12, {"max_tokens": 12, "max_completion_tokens": 8}),
        ({"max_tokens": 10, "min_tokens": 5, "n": 2}, 100, {"max_tokens": 20, "min_tokens": 5, "n": 2}),
        ({"max_tokens": 10}, 10, None),
        ({"max_tokens": 10}, 9, None),
        ({}, 100, None),
        ({"max_tokens": -1}, 100, None),
        ({"max_tokens": True}, 100, None),
        ({"max_tokens": "10"}, 100, None),
        ({"metadata": {"max_tokens": 10}}, 100, None),
    ],
)
def test_twice_the_tokens_are_asked_for_up_to_the_cap(
    body: dict[str, Any], cap: int, asked: dict[str, Any] | None
) -> None:
    larger = Enlarging(ENDPOINTS["chat"], cap, NAMES).larger(request(body), cut("length"))
    assert (larger and orjson.loads(larger.body)) == asked
    if larger is not None:
        assert (larger.key, larger.path) == (b"k" * 16, "/chat/completions")


def test_what_is_reserved_grows_with_the_answers() -> None:
    larger = Enlarging(ENDPOINTS["chat"], 100, NAMES).larger(request({"max_tokens": 10}, 3), cut("stop", "length"))
    assert larger is not None
    assert (larger.reserve_tokens, larger.answer_tokens) == (100 + 3 * 10, 40 + 3 * 10)


@pytest.mark.parametrize(
    "response",
    [
        None,
        cut("stop"),
        cut("content_filter"),
        cut("tool_calls"),
        Response(200, {}, b'{"choices": [{"message": {"content": "the length"}}]}', 0.0, 0.1),
        Response(200, {}, b"length, but no JSON", 0.0, 0.1),
    ],
)
def test_an_answer_that_was_not_cut_off_is_not_asked_for_again(response: Response | None) -> None:
    assert Enlarging(ENDPOINTS["chat"], 100, NAMES).larger(request({"max_tokens": 10}), response) is None


def test_an_adapters_parameter_is_found_deeper_in_its_body() -> None:
    enlarging = Enlarging(ENDPOINTS["chat"], 100, frozenset({"num_predict"}), mapped=True)
    larger = enlarging.larger(request({"options": {"num_predict": 10, "top_k": 1}, "stream": False}), cut("length"))
    assert larger is not None
    assert orjson.loads(larger.body) == {"options": {"num_predict": 20, "top_k": 1}, "stream": False}


# ---------------------------------------------------------------- what a run makes of it


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "data.jsonl", questions(SAMPLES))


def retrying(
    simulator: Simulator, dataset: Path, cap: int, /, params: dict[str, Any] | None = None, **request: Any
) -> dict[str, Any]:
    sections = {"params": params or {"max_tokens": 2}, "on_truncated": "retry", "max_tokens_cap": cap}
    return config_for(simulator, dataset, request=sections | request)


def lone_config(base_url: str, folder: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a run over three rows against a server made for a test, one row after the other."""
    dataset = write_rows(folder / "data.jsonl", questions(3))
    return {
        "name": "alone",
        "dataset": {"path": str(dataset), "id": "id"},
        "model": {"base_url": base_url, "name": "m"},
        "request": {
            "messages": [{"role": "user", "content": "{{ question }}"}],
            "params": params,
            "on_truncated": "retry",
            "max_tokens_cap": 100,
        },
        "limits": {"max_in_flight": 1},
    }


def attempts_of(run_dir: Path) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for row in table(run_dir, "attempts"):
        found.setdefault(row["request_key"], []).append((row["attempt"], row["completion_tokens"]))
    return {key: sorted(rows) for key, rows in found.items()}


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer_is_asked_for_again_until_it_is_whole(
    simulator: Simulator, dataset: Path, *, stream: bool
) -> None:
    config, run_dir = retrying(simulator, dataset, 64, stream=stream), dataset.parent / "run"
    summary, sent = run_again(config, run_dir, simulator)
    assert (summary.by_status, summary.superseded, sent) == ({"ok": SAMPLES}, 2 * SAMPLES, 3 * SAMPLES)
    assert {(row["attempts"], row["completion_tokens"]) for row in table(run_dir)} == {(3, TOKENS)}
    assert set(map(tuple, attempts_of(run_dir).values())) == {((1, 2), (2, 4), (3, TOKENS))}
    assert Counter(row["status"] for row in table(run_dir, "superseded")) == {"truncated": 2 * SAMPLES}
    assert run_again(config, run_dir, simulator)[1] == 0


def test_the_last_answer_stands_where_the_cap_is_not_enough(simulator: Simulator, dataset: Path) -> None:
    run_dir = dataset.parent / "run"
    summary, sent = run_again(retrying(simulator, dataset, 5), run_dir, simulator)
    assert (summary.by_status, summary.exit_code, sent) == ({"truncated": SAMPLES}, 0, 3 * SAMPLES)
    assert {row["completion_tokens"] for row in table(run_dir)} == {5}
    bodies = runner.load(run_dir, columns=["request", "response", "text"])
    assert {orjson.loads(body)["max_tokens"] for body in bodies["request"]} == {5}
    texts = [orjson.loads(body)["choices"][0]["message"]["content"] for body in bodies["response"]]
    assert texts == bodies["text"].tolist()


@pytest.mark.parametrize(
    ("endpoint", "content", "name"),
    [
        ("responses", {}, "max_output_tokens"),
        ("completions", {"messages": None, "prompt": "{{ question }}"}, "max_tokens"),
        ("logprobs", {}, "max_completion_tokens"),
    ],
)
def test_every_endpoint_with_texts_asks_again_in_its_own_words(
    simulator: Simulator, dataset: Path, endpoint: str, content: dict[str, Any], name: str
) -> None:
    config = retrying(simulator, dataset, 64, {name: 4}, endpoint=endpoint, **content)
    run_dir = dataset.parent / "run"
    summary = runner.run(config, run_dir=run_dir)
    assert (summary.by_status, summary.http_requests, summary.superseded) == ({"ok": SAMPLES}, 2 * SAMPLES, SAMPLES)
    assert {orjson.loads(row["request"])[name] for row in table(run_dir, "raw")} == {4, 8}


def test_where_one_of_several_choices_is_cut_all_are_asked_for_again(tmp_path: Path) -> None:
    def answer(call: Call) -> Reply:
        most = call.body["max_tokens"]
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": f"{most} of {index}"},
                "finish_reason": "length" if index and most < 16 else "stop",
            }
            for index in range(call.body["n"])
        ]
        return Reply(body=orjson.dumps({"choices": choices, "usage": {"prompt_tokens": 1, "completion_tokens": most}}))

    with answering(answer) as base_url:
        config = lone_config(base_url, tmp_path, params={"n": 2, "max_tokens": 8})
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.by_status, summary.superseded, summary.completion_tokens) == ({"ok": 6}, 6, 3 * (8 + 16))
    assert Counter(row["text"] for row in table(tmp_path / "run")) == {"16 of 0": 3, "16 of 1": 3}


TOO_LONG = {"message": "This model's maximum context length is 8 tokens.", "code": "context_length_exceeded"}
TOO_MANY = {
    "message": "max_tokens is too large: 8. This model supports at most 4 completion tokens, whereas you provided 8.",
    "type": "invalid_request_error",
    "param": "max_tokens",
    "code": "invalid_value",
}


@pytest.mark.parametrize(("error", "kind"), [(TOO_LONG, "context_length"), (TOO_MANY, "bad_request")])
def test_a_failed_retry_leaves_the_cut_answer_in_its_place(tmp_path: Path, error: dict[str, Any], kind: str) -> None:
    """The larger request is refused, for the context or for the model: what was paid for stands."""

    def answer(call: Call) -> Reply:
        if call.body["max_tokens"] > 4:
            return Reply(400, orjson.dumps({"error": error}))
        choice = {"index": 0, "message": {"content": "cut"}, "finish_reason": "length"}
        return Reply(body=orjson.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 4}}))

    with answering(answer) as base_url:
        config = lone_config(base_url, tmp_path, params={"max_tokens": 4})
        run_dir = tmp_path / "run"
        summary = runner.run(config, run_dir=run_dir)
        again = runner.run(config, run_dir=run_dir)
    assert (summary.by_status, summary.exit_code, summary.http_requests) == ({"truncated": 3}, 0, 6)
    assert {(row["text"], row["error_kind"], row["attempts"]) for row in table(run_dir)} == {("cut", None, 1)}
    assert Counter(row["error_kind"] for row in table(run_dir, "attempts")) == {None: 3, kind: 3}
    assert Counter(row["error_kind"] for row in table(run_dir, "superseded")) == {kind: 3}
    assert (again.http_requests, again.by_status) == (6, {"truncated": 3})
    assert verify(RunFolder(run_dir)).findings == []
    assert {
        orjson.loads(body)["choices"][0]["finish_reason"] for body in runner.load(run_dir, ["response"])["response"]
    }


def test_an_adapters_request_is_enlarged_in_its_own_words(tmp_path: Path) -> None:
    asked: list[int] = []

    def answer(call: Call) -> Reply:
        most = call.body["options"]["num_predict"]
        asked.append(most)
        message = {"role": "assistant", "content": f"{most}"}
        body = {"message": message, "done": True, "done_reason": "length" if most < 16 else "stop", "eval_count": most}
        return Reply(body=orjson.dumps({**body, "prompt_eval_count": 1}))

    with answering(answer) as base_url:
        config = lone_config(base_url, tmp_path, params={"max_tokens": 6})
        config["model"]["adapter"] = "ollama-chat"
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.by_status, summary.superseded, summary.completion_tokens) == ({"ok": 3}, 6, 3 * (6 + 12 + 24))
    assert Counter(asked) == {6: 3, 12: 3, 24: 3}
    assert {row["text"] for row in table(tmp_path / "run")} == {"24"}


def test_a_stop_while_asking_again_leaves_the_cut_answers(tmp_path: Path) -> None:
    def answer(call: Call) -> Reply:
        if call.body["max_tokens"] > 4:
            return Reply(401, orjson.dumps({"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}))
        choice = {"index": 0, "message": {"content": "cut"}, "finish_reason": "length"}
        return Reply(body=orjson.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 4}}))

    with answering(answer) as base_url:
        config = lone_config(base_url, tmp_path, params={"max_tokens": 4})
        summary = runner.run(config, run_dir=tmp_path / "run")
        again = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.status, summary.exit_code, summary.by_status) == ("stopped", 5, {"truncated": 3})
    assert (again.status, again.exit_code, again.by_status) == ("complete", 0, {"truncated": 3})
    assert again.http_requests == summary.http_requests == 3 + 1
    assert {row["text"] for row in table(tmp_path / "run")} == {"cut"}
    assert verify(RunFolder(tmp_path / "run")).findings == []


def test_resealing_keeps_the_last_answers(simulator: Simulator, dataset: Path) -> None:
    config, run_dir = retrying(simulator, dataset, 64), dataset.parent / "run"
    run_again(config, run_dir, simulator)
    before = by_sample(run_dir)
    folder, manifest = open_existing(run_dir)
    sealing = sealing_of(folder, manifest, config_from_dict(config, dataset.parent))
    resealed = reseal(sealing, read_commits(folder))
    assert (resealed.rows, resealed.before, resealed.after) == (SAMPLES, {"ok": SAMPLES}, {"ok": SAMPLES})
    assert by_sample(run_dir) == before
    assert run_again(config, run_dir, simulator)[1] == 0


def test_salvaging_a_damaged_part_keeps_the_last_answers(simulator: Simulator, dataset: Path) -> None:
    config, run_dir = retrying(simulator, dataset, 64), dataset.parent / "run"
    run_again(config, run_dir, simulator)
    rows = {key: row["text"] for key, row in by_sample(run_dir).items()}
    (part,) = (path for path in (run_dir / "responses").iterdir() if path.name != "part-000000.parquet")
    part.write_bytes(part.read_bytes()[:-50])
    folder, manifest = open_existing(run_dir)
    target = RunFolder(dataset.parent / "saved")
    config_read = config_from_dict(config, dataset.parent)
    report = salvage(folder, target, sealing_of(target, manifest, config_read))
    assert not report.sound
    assert {key: row["text"] for key, row in by_sample(target.root).items()} == rows
    assert verify(target).findings == []


def test_a_retry_that_meets_a_passing_failure_is_sent_again(simulator: Simulator, dataset: Path) -> None:
    rows = questions(SAMPLES)
    rows[3]["question"] += " [[fault:500*1]]"
    write_rows(dataset, rows)
    summary, sent = run_again(retrying(simulator, dataset, 64), dataset.parent / "run", simulator)
    assert (summary.by_status, sent) == ({"ok": SAMPLES}, 3 * SAMPLES + 1)


def test_with_choices_asked_for_one_by_one_each_grows_by_itself(tmp_path: Path) -> None:
    """A server that does not know n: every choice is a request of its own, and only the cut one is asked again."""

    def answer(call: Call) -> Reply:
        if "n" in call.body:
            error = {"message": "Unsupported parameter: 'n'", "param": "n", "code": "unsupported_parameter"}
            return Reply(400, orjson.dumps({"error": error}))
        most, odd = call.body["max_tokens"], call.body["seed"] % 2
        finish = "length" if odd and most < 16 else "stop"
        choice = {"index": 0, "message": {"content": f"{most}"}, "finish_reason": finish}
        return Reply(body=orjson.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}))

    with answering(answer) as base_url:
        config = lone_config(base_url, tmp_path, params={"n": 2, "max_tokens": 8, "seed": 0})
        run_dir = tmp_path / "run"
        summary = runner.run(config, run_dir=run_dir)
        again = runner.run(config, run_dir=run_dir)
    assert (summary.by_status, summary.superseded) == ({"ok": 6}, 3)
    assert Counter((row["choice"], row["text"]) for row in table(run_dir)) == {(0, "8"): 3, (1, "16"): 3}
    assert again.http_requests == summary.http_requests
    assert verify(RunFolder(run_dir)).findings == []
