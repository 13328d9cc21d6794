"""Whole runs of embeddings: packs on a real connection, what is refused, what comes back odd, and what is resumed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

import runner
from runner.config import config_from_dict
from runner.folder.commits import read_commits
from runner.pipeline.opening import open_existing, sealing_of
from runner.pipeline.storing.reseal import reseal
from runner.simulate import FaultRules, Limits, VectorStyle, vector_of
from tests.support.odd_server import Reply, answering
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
    from collections.abc import Iterator
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.odd_server import Call

DIMENSIONS = 32


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with serving() as simulator:
        yield simulator


def embedding_config(simulator: Simulator, rows: list[dict[str, Any]], folder: Path, **sections: Any) -> dict[str, Any]:
    """Return a config that embeds the question of each row; keys of `request` and other sections are merged in."""
    request = {"endpoint": "embeddings", "input": "{{ question }}", **sections.pop("request", {})}
    config = config_for(simulator, write_rows(folder / "data.jsonl", rows), **sections)
    return {**config, "request": {"timeout_s": config["request"]["timeout_s"], **request}}


def check_vectors(run_dir: Path, rows: list[dict[str, Any]], *, but: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Compare every vector with the one that the server gives for that text alone."""
    found = by_sample(run_dir)
    assert found.keys() == {row["id"] for row in rows}
    for row in rows:
        own = found[row["id"]]
        if row["id"] in but:
            assert (own["status"], own["embedding"]) == ("failed", None), row["id"]
        else:
            assert own["status"] == "ok", own["error_message"]
            np.testing.assert_array_equal(np.float32(own["embedding"]), vector_of(row["question"], DIMENSIONS))


def marked(rows: list[dict[str, Any]], fault: str, *places: int) -> list[dict[str, Any]]:
    for place in places:
        rows[place]["question"] += f" [[fault:{fault}]]"
    return rows


# ---------------------------------------------------------------- packs


def test_a_run_is_a_few_packs_and_sends_nothing_twice(simulator: Simulator, tmp_path: Path) -> None:
    rows = questions(100)
    config = embedding_config(simulator, rows, tmp_path, request={"batch_size": 40})
    run_dir = tmp_path / "run"
    summary, sent = run_again(config, run_dir, simulator)
    assert (summary.status, summary.exit_code, summary.ok, summary.warnings, sent) == ("complete", 0, 100, [], 3)
    check_vectors(run_dir, rows)
    attempts = table(run_dir, "attempts")
    assert sorted(row["n_samples"] for row in attempts) == [20, 40, 40]
    by_request: dict[str, list[int]] = {}
    for row in table(run_dir):
        by_request.setdefault(row["request_key"], []).append(row["request_row"])
        assert (row["endpoint"], row["served_model"], row["text"], row["finish_reason"]) == (
            "embeddings",
            "m",
            None,
            None,
        )
    assert sorted(map(len, by_request.values())) == [20, 40, 40]
    assert all(sorted(places) == list(range(len(places))) for places in by_request.values())
    assert by_request.keys() == {row["request_key"] for row in attempts}
    assert run_again(config, run_dir, simulator)[1] == 0


@pytest.mark.parametrize("batch_size", [1, 7, "auto"])
def test_a_run_continues_with_another_batch_size(batch_size: Any, simulator: Simulator, tmp_path: Path) -> None:
    rows = questions(30)
    run_dir = tmp_path / "run"
    config = embedding_config(simulator, rows[:12], tmp_path, request={"batch_size": 5})
    keys = {row["key"] for row in (runner.run(config, run_dir=run_dir), table(run_dir))[1]}
    before = sent_by(simulator)
    config = embedding_config(simulator, rows, tmp_path, request={"batch_size": batch_size})
    summary = runner.run(config, run_dir=run_dir)
    check_books(summary, simulator)
    check_vectors(run_dir, rows)
    assert sent_by(simulator) - before == {1: 18, 7: 3, "auto": 1}[batch_size]
    assert keys < {row["key"] for row in table(run_dir)}
    other = tmp_path / "other"
    runner.run(config, run_dir=other)
    assert {row["key"] for row in table(other)} == {row["key"] for row in table(run_dir)}


def test_an_edited_row_alone_is_sent_again(simulator: Simulator, tmp_path: Path) -> None:
    rows = questions(40)
    run_dir = tmp_path / "run"
    runner.run(embedding_config(simulator, rows, tmp_path), run_dir=run_dir)
    rows[17]["question"], rows[20]["level"], rows[21]["answer"] = "What else?", 99, "changed"
    rows.reverse()
    summary, sent = run_again(embedding_config(simulator, rows, tmp_path), run_dir, simulator)
    assert (sent, summary.superseded, summary.ok) == (1, 1, 40)
    check_vectors(run_dir, rows)
    assert by_sample(run_dir)["q20"]["in_level"] == 99
    assert by_sample(run_dir)["q21"]["target"] == "changed"
    last = max(table(run_dir, "raw"), key=lambda row: orjson.loads(row["meta"])[7])
    assert orjson.loads(last["request"])["input"] == "What else?"


def test_a_row_whose_request_is_the_same_is_relinked_and_not_sent(simulator: Simulator, tmp_path: Path) -> None:
    rows = [{**row, "hint": "a"} for row in questions(10)]
    text = "{% if hint %}{% endif %}{{ question }}"
    config = embedding_config(simulator, rows, tmp_path, request={"input": text})
    runner.run(config, run_dir=tmp_path / "run")
    rows[4]["hint"] = "b"
    write_rows(tmp_path / "data.jsonl", rows)
    assert run_again(config, tmp_path / "run", simulator)[1] == 0
    assert by_sample(tmp_path / "run")["q4"]["in_hint"] == "b"


def test_token_ids_several_inputs_and_repeats(simulator: Simulator, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "given": "one"},
        {"id": "b", "given": [1, 2, 3]},
        {"id": "c", "given": ["two", "three"]},
        {"id": "d", "given": [4]},
        {"id": "e", "given": [[5, 6], [7]]},
        {"id": "f", "given": "one"},
    ]
    config = embedding_config(simulator, rows, tmp_path, request={"input": "{{ given }}", "repeats": 2})
    config["dataset"].pop("target")
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    found = {(row["sample_id"], row["repeat"], row["choice"]): row for row in table(tmp_path / "run")}
    assert len(found) == 2 * 8 == summary.ok
    for repeat in (0, 1):
        for sample, given in (("a", ["one"]), ("c", ["two", "three"]), ("e", [(5, 6), (7,)]), ("b", [(1, 2, 3)])):
            for choice, one in enumerate(given):
                vector = np.float32(found[sample, repeat, choice]["embedding"])
                np.testing.assert_array_equal(vector, vector_of(one, DIMENSIONS))
    # Texts in one pack, token ids in another, what holds several inputs alone.
    assert sorted(row["n_samples"] for row in table(tmp_path / "run", "attempts")) == [1, 1, 1, 1, 4, 4]
    assert found["a", 0, 0]["key"] != found["f", 0, 0]["key"]


def test_rows_without_ids_shuffled_skipped_and_limited(simulator: Simulator, tmp_path: Path) -> None:
    rows = [{"question": f"q{number % 20}"} for number in range(60)]
    path = write_rows(tmp_path / "data.jsonl", rows)
    path.write_bytes(path.read_bytes() + b'{"question": null}\n{"other": 1}\nnot json\n')
    config = embedding_config(simulator, rows, tmp_path, request={"batch_size": 16, "input": "{{ question }}!"})
    path.write_bytes(path.read_bytes() + b'{"question": null}\n{"other": 1}\nnot json\n')
    config["dataset"] = {"path": str(path), "on_bad_row": "skip", "shuffle_seed": 3}
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.by_status, sent) == ({"ok": 60, "skipped": 3}, 4)
    assert run_again(config, tmp_path / "run", simulator)[1] == 0
    found = table(tmp_path / "run")
    assert Counter(row["in_question"] for row in found if row["status"] == "ok") == {f"q{n}": 3 for n in range(20)}
    for row in found:
        if row["status"] == "ok":
            np.testing.assert_array_equal(np.float32(row["embedding"]), vector_of(f"{row['in_question']}!", DIMENSIONS))
    requests = [orjson.loads(row["request"])["input"] for row in table(tmp_path / "run", "raw")]
    assert requests[0] != sorted(requests[0])


def test_batch_lines_are_sent_as_they_are(simulator: Simulator, tmp_path: Path) -> None:
    lines = [
        {"custom_id": f"c{n}", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": given}}
        for n, given in enumerate(["one", ["two", "three"], [1, 2]])
    ]
    config = embedding_config(simulator, lines, tmp_path)
    config["dataset"] = {"path": str(tmp_path / "data.jsonl")}
    del config["request"]["input"]
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    assert (summary.ok, summary.http_requests) == (4, 3)
    sent = sorted((row["request"] for row in table(tmp_path / "run", "raw")), key=len)
    assert [orjson.loads(body) for body in sent] == sorted((line["body"] for line in lines), key=lambda b: len(str(b)))


def test_dimensions_and_other_parameters_are_passed_on(simulator: Simulator, tmp_path: Path) -> None:
    params = {"dimensions": 7, "user": "{{ level }}"}
    config = embedding_config(simulator, questions(9), tmp_path, request={"params": params})
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.ok, summary.http_requests) == (9, 3)  # a pack for each user
    assert {len(row["embedding"]) for row in table(tmp_path / "run")} == {7}
    bodies = [orjson.loads(row["request"]) for row in table(tmp_path / "run", "raw")]
    assert sorted(body["user"] for body in bodies) == [0, 1, 2] or sorted(body["user"] for body in bodies) == [
        "0",
        "1",
        "2",
    ]
    assert {(body["dimensions"], body["encoding_format"], len(body["input"])) for body in bodies} == {(7, "base64", 3)}


# ---------------------------------------------------------------- what is refused


def test_one_bad_input_of_2048_fails_alone(simulator: Simulator, tmp_path: Path) -> None:
    rows = marked(questions(2048), "400", 1234)
    config = embedding_config(simulator, rows, tmp_path)
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.ok, summary.failed, summary.exit_code) == (2047, 1, 3)
    assert sent <= 1 + 25
    check_vectors(tmp_path / "run", rows, but={"q1234"})
    bad = by_sample(tmp_path / "run")["q1234"]
    assert (bad["error_kind"], bad["http_status"], bad["request_row"], bad["attempts"]) == ("bad_request", 400, 0, 1)
    assert bad["key"] == bad["request_key"]
    assert run_again(config, tmp_path / "run", simulator)[1] == 0


@pytest.mark.parametrize("slots", [1, 8])
def test_several_bad_inputs_fail_alone(slots: int, simulator: Simulator, tmp_path: Path) -> None:
    bad = (0, 1, 77, 150, 299)
    rows = marked(questions(300), "400", *bad)
    config = embedding_config(simulator, rows, tmp_path, limits={"max_in_flight": slots}, request={"batch_size": 100})
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.ok, summary.failed) == (295, 5)
    assert sent <= 3 + 5 * 2 * 7
    check_vectors(tmp_path / "run", rows, but={f"q{number}" for number in bad})


ALWAYS = {
    "400": replace(QUICK, faults=FaultRules(fractions={"400": 1.0})),
    "413": replace(QUICK, vectors=VectorStyle(most_bytes=1)),
    "422": replace(QUICK, faults=FaultRules(fractions={"422": 1.0})),
    "500": replace(QUICK, faults=FaultRules(fractions={"500": 1.0})),
}


@pytest.mark.parametrize("fault", ALWAYS)
def test_what_is_always_refused_is_given_up_soon(fault: str, tmp_path: Path) -> None:
    with serving(ALWAYS[fault]) as simulator:
        rows = questions(512)
        config = embedding_config(simulator, rows, tmp_path, retry={"max_attempts": 2})
        summary, sent = run_again(config, tmp_path / "run", simulator)
        assert (summary.failed, summary.status, summary.exit_code) == (512, "complete", 3)
        assert sent <= 40
        simulator.change(QUICK)
        summary, sent = run_again(config, tmp_path / "run", simulator)
        assert (sent, summary.ok) == ((1, 512) if fault == "500" else (0, 0))


def test_an_input_that_costs_a_500_fails_alone(simulator: Simulator, tmp_path: Path) -> None:
    rows = marked(questions(64), "500", 5)
    config = embedding_config(simulator, rows, tmp_path, retry={"max_attempts": 2})
    summary, _ = run_again(config, tmp_path / "run", simulator)
    assert (summary.ok, summary.failed) == (63, 1)
    check_vectors(tmp_path / "run", rows, but={"q5"})
    assert by_sample(tmp_path / "run")["q5"]["error_kind"] == "server"


@pytest.mark.parametrize(
    ("style", "most"),
    [(VectorStyle(most_inputs=32), 32), (VectorStyle(most_bytes=2000), 80), (VectorStyle(most_inputs=1), 1)],
)
def test_what_the_server_takes_is_learnt(style: VectorStyle, most: int, tmp_path: Path) -> None:
    with serving(replace(QUICK, vectors=style)) as simulator:
        rows = questions(256)
        config = embedding_config(simulator, rows, tmp_path, limits={"max_in_flight": 1}, request={"batch_size": 64})
        summary, sent = run_again(config, tmp_path / "run", simulator)
        assert (summary.ok, summary.failed) == (256, 0)
        check_vectors(tmp_path / "run", rows)
        # Only the first pack was sent in vain, and its halves and quarters down to what is taken.
        assert sent <= 256 // min(most, 64) * 2 + 64


def test_the_context_of_a_pack_is_not_that_of_an_input(tmp_path: Path) -> None:
    with serving(replace(QUICK, context_tokens=100)) as simulator:
        rows = questions(64)
        rows[9]["question"] = "long " * 100
        config = embedding_config(simulator, rows, tmp_path)
        summary, _ = run_again(config, tmp_path / "run", simulator)
        assert (summary.ok, summary.failed) == (63, 1)
        assert by_sample(tmp_path / "run")["q9"]["error_kind"] == "context_length"


@pytest.mark.parametrize("base64", ["ignore", "refuse"])
@pytest.mark.parametrize("bad", [(), (3,)])
def test_a_server_without_base64(base64: Any, bad: tuple[int, ...], tmp_path: Path) -> None:
    with serving(replace(QUICK, vectors=VectorStyle(base64=base64))) as simulator:
        rows = marked(questions(90), "400", *bad)
        config = embedding_config(simulator, rows, tmp_path, limits={"max_in_flight": 1}, request={"batch_size": 5})
        summary, sent = run_again(config, tmp_path / "run", simulator)
        assert (summary.ok, summary.failed) == (90 - len(bad), len(bad))
        if not bad:  # learnt once: what was on its way by then is all that was sent in vain
            assert sent <= 18 + (4 if base64 == "refuse" else 0)
        check_vectors(tmp_path / "run", rows, but={f"q{number}" for number in bad})
        asked = [b"base64" in row["request"] for row in table(tmp_path / "run", "raw") if row["http_status"] == 200]
        assert set(asked) == {base64 == "ignore"}


def test_an_encoding_that_the_config_names_is_no_default(tmp_path: Path) -> None:
    with serving(replace(QUICK, vectors=VectorStyle(base64="refuse"))) as simulator:
        request = {"params": {"encoding_format": "base64"}, "batch_size": 1}
        config = embedding_config(simulator, questions(3), tmp_path, request=request)
        summary, sent = run_again(config, tmp_path / "run", simulator)
        assert (summary.failed, sent) == (3, 3)


# ---------------------------------------------------------------- what fails on the way


@pytest.mark.parametrize(
    "fault", ["500", "503", "429", "cut", "disconnect", "empty_200", "garbage_json", "error_in_200"]
)
def test_a_passing_failure_sends_the_same_pack_again(fault: str, simulator: Simulator, tmp_path: Path) -> None:
    rows = questions(50)
    simulator.change(replace(QUICK, faults=FaultRules(script={1: fault, 2: fault})))
    config = embedding_config(simulator, rows, tmp_path, limits={"max_in_flight": 1})
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.ok, sent, summary.retries) == (50, 3, 2)
    check_vectors(tmp_path / "run", rows)
    attempts = table(tmp_path / "run", "attempts")
    assert {(row["request_key"], row["n_samples"]) for row in attempts} == {(attempts[0]["request_key"], 50)}


def test_a_pack_that_times_out_fails_as_a_whole_and_is_resumed(simulator: Simulator, tmp_path: Path) -> None:
    rows = questions(20)
    simulator.change(replace(QUICK, faults=FaultRules(script={1: "hang", 2: "hang"})))
    config = embedding_config(simulator, rows, tmp_path)
    config["request"]["timeout_s"] = {"connect": 5, "total": 0.3}
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.failed, sent) == (20, 2)
    config["request"]["timeout_s"] = {"connect": 5, "total": 20}
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.ok, summary.superseded, sent) == (20, 20, 1)
    check_vectors(tmp_path / "run", rows)


def test_a_limit_of_tokens_caps_packs_and_holds(tmp_path: Path) -> None:
    with serving(replace(QUICK, limits=Limits(tokens_per_minute=6000, burst_s=60))) as simulator:
        rows = questions(1000)
        config = embedding_config(simulator, rows, tmp_path, limits={"tokens_per_minute": 60_000})
        summary, _ = run_again(config, tmp_path / "run", simulator)
        assert summary.ok == 1000
        check_vectors(tmp_path / "run", rows)


# ---------------------------------------------------------------- odd answers


@pytest.mark.parametrize(
    ("fault", "failed", "kind"),
    [
        ("shuffled", (), ""),
        ("missing_index", (4,), "missing_choice"),
        ("no_index", (4,), "missing_choice"),
        ("duplicate_index", (3, 4), "missing_choice"),
        ("index_beyond", (4,), "missing_choice"),
        ("wrong_length", (4,), "parse"),
        ("empty_vector", (4,), "parse"),
        ("broken_base64", (4,), "parse"),
    ],
)
@pytest.mark.parametrize("base64", ["serve", "ignore"])
def test_no_vector_is_given_to_the_wrong_sample(
    fault: str, failed: tuple[int, ...], kind: str, base64: Any, tmp_path: Path
) -> None:
    if fault == "broken_base64" and base64 == "ignore":
        kind = "parse"
    with serving(replace(QUICK, vectors=VectorStyle(base64=base64))) as simulator:
        rows = marked(questions(12), fault, 4)
        config = embedding_config(simulator, rows, tmp_path, output={"keep_raw": False})
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert (summary.ok, summary.failed, summary.http_requests) == (12 - len(failed), len(failed), 1)
        check_vectors(tmp_path / "run", rows, but={f"q{number}" for number in failed})
        found = by_sample(tmp_path / "run")
        assert [found[f"q{number}"]["error_kind"] for number in failed] == [kind] * len(failed)
        # What could not be used was paid for: its bytes are kept, though the config keeps none.
        assert len(table(tmp_path / "run", "raw")) == bool(failed)
        if fault == "wrong_length":
            assert "33 dimensions" in found["q4"]["error_message"]
        assert summary.prompt_tokens == sum(row["prompt_tokens"] for row in found.values())


@pytest.mark.parametrize("base64", ["serve", "ignore"])
def test_what_is_not_finite_is_null(base64: Any, tmp_path: Path) -> None:
    with serving(replace(QUICK, vectors=VectorStyle(base64=base64))) as simulator:
        rows = marked(questions(6), "nan_vector", 2)
        config = embedding_config(simulator, rows, tmp_path)
        summary, _ = run_again(config, tmp_path / "run", simulator)
        assert (summary.ok, summary.warnings) == (6, ["1 rows have a parse_note"])
        found = by_sample(tmp_path / "run")
        assert found["q2"]["embedding"][:2] == [None, None]
        assert None not in found["q2"]["embedding"][2:]
        notes = {sample: row["parse_note"] for sample, row in found.items() if row["parse_note"]}
        assert notes == {"q2": "embedding: 2 values are not finite, and null"}
        ids, matrix = runner.load_embeddings(tmp_path / "run")
        assert np.isnan(matrix[ids.index("q2")]).tolist() == [True, True, *[False] * 30]


def test_the_first_vector_of_a_run_says_how_long_they_are(tmp_path: Path) -> None:
    rows = questions(8)
    with serving() as simulator:
        config = embedding_config(simulator, rows[:4], tmp_path)
        runner.run(config, run_dir=tmp_path / "run")
        write_rows(tmp_path / "data.jsonl", rows)
        simulator.change(replace(QUICK, vectors=VectorStyle(dimensions=16)))
        summary, _ = run_again(config, tmp_path / "run", simulator)
        assert (summary.ok, summary.failed) == (4, 4)
        found = by_sample(tmp_path / "run")
        assert found["q6"]["error_message"] == (
            "the embedding has 16 dimensions, and this run's first one 32; its bytes are in raw/"
        )
        folder, manifest = open_existing(tmp_path / "run")
        before = table(tmp_path / "run")
        reseal(sealing_of(folder, manifest, config_from_dict(manifest.config, tmp_path)), read_commits(folder))
        assert table(tmp_path / "run") == before
        with pytest.warns(UserWarning, match="4 rows have no vector"):
            ids, matrix = runner.load_embeddings(tmp_path / "run")
        assert (len(ids), matrix.shape) == (4, (4, 32))


def hostile(body: bytes) -> Any:
    def answer(call: Call) -> Reply:
        count = len(call.body["input"]) if isinstance(call.body["input"], list) else 1
        return Reply(body=body.replace(b"COUNT", b"%d" % count))

    return answer


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[{"index":0,"embedding":"AAAAAA=="}],"usage":"none"}',
        b'{"data":[{"index":0,"embedding":"AAAAAA=="}],"usage":{"prompt_tokens":-5,"total_tokens":1e99}}',
        b'{"data":[{"index":0,"embedding":"AAAAAA=="},{"index":99999999999999999999999,"embedding":[]}]}',
        b'{"data":[{"index":0,"embedding":' + b"[" * 500 + b"]" * 500 + b"}]}",
        b'{"data":[{"index":0,"embedding":' + b"[" * 5000 + b"]" * 5000 + b"}]}",
        b'{"data":[[{"index":0}],null,7,"x",{}]}',
        b'{"data":[{"index":0,"embedding":"' + b"A" * 40_000 + b'"}]}',
        b'{"data":[{"index":0,"embedding":"\xff\xfe"}]}',
        b'{"data":[{"index":0,"embedding":"\\ud800"}],"model":"\\ud800"}',
        b'{"data":[{"embedding":"@"},{"embedding":"@"}],"model":{"a":1}}',
    ],
)
def test_hostile_answers_end_in_rows(body: bytes, tmp_path: Path) -> None:
    with answering(hostile(body)) as base_url:
        rows = questions(3)
        config = {
            "name": "test",
            "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", rows)), "id": "id"},
            "model": {"base_url": base_url, "name": "m", "price": {"input_per_million": 1}},
            "request": {"endpoint": "embeddings", "input": "{{ question }}"},
            "retry": {"max_attempts": 2, "first_wait_s": 0.001, "max_wait_s": 0.01},
        }
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert (summary.status, len(by_sample(tmp_path / "run"))) == ("complete", 3)
        assert summary.failed >= 2
        assert len(table(tmp_path / "run", "raw")) == 1


# ---------------------------------------------------------------- what it cost


def test_usage_and_cost_are_shared_by_bytes_and_sum_exactly(simulator: Simulator, tmp_path: Path) -> None:
    rows = questions(31)
    rows[3]["question"] = "long " * 80
    price = {"input_per_million": 0.13}
    config = embedding_config(simulator, rows, tmp_path, model={"price": price}, request={"batch_size": 10})
    summary, _ = run_again(config, tmp_path / "run", simulator)
    found, attempts = table(tmp_path / "run"), table(tmp_path / "run", "attempts")
    assert summary.cost_usd == pytest.approx(summary.prompt_tokens * 0.13e-6, rel=1e-9)
    assert sum(row["cost_usd"] for row in found) == pytest.approx(summary.cost_usd, rel=1e-9)
    for attempt in attempts:
        own = [row for row in found if row["request_key"] == attempt["request_key"]]
        assert sum(row["total_tokens"] for row in own) == attempt["total_tokens"] == attempt["prompt_tokens"]
        assert [row["usage_json"] is not None for row in own] == [True] + [False] * (len(own) - 1)
        assert {row["usage_exact"] for row in own} == {len(own) == 1}
        assert attempt["usage_exact"] is True
    shares = {row["sample_id"]: row["prompt_tokens"] for row in found}
    assert shares["q3"] == max(shares.values()) > 50


# ---------------------------------------------------------------- completions


def completion_config(simulator: Simulator, rows: Any, folder: Path, **request: Any) -> dict[str, Any]:
    params = {"temperature": 0, "max_tokens": 6, "n": 2, "logprobs": 1}
    asked = {"endpoint": "completions", "prompt": "Q: {{ question }}", "params": params, **request}
    return embedding_config(simulator, rows, folder, request=asked) | {"request": asked}


def test_prompts_in_packs_have_the_texts_that_they_have_alone(simulator: Simulator, tmp_path: Path) -> None:
    rows = questions(20)
    texts = {}
    for name, size in (("alone", "auto"), ("packed", 8)):
        config = completion_config(simulator, rows, tmp_path, batch_size=size)
        with serving() as own:
            config["model"]["base_url"] = own.base_url
            summary, sent = run_again(config, tmp_path / name, own)
        assert (summary.requests, summary.exit_code, sent) == (20, 0, 20 if name == "alone" else 3)
        found = table(tmp_path / name)
        texts[name] = {(row["key"], row["choice"]): (row["text"], row["token_logprobs"]) for row in found}
        assert len(found) == len(texts[name]) == 40
        # Of two choices the first carries what the prompt used.
        assert all((row["prompt_tokens"] is None) == (row["choice"] == 1) for row in found)
    assert texts["alone"] == texts["packed"]


def test_a_bad_prompt_fails_alone_and_repeats_share_packs(simulator: Simulator, tmp_path: Path) -> None:
    rows = marked(questions(16), "400", 6)
    config = completion_config(simulator, rows, tmp_path, batch_size=32, repeats=2)
    summary, _ = run_again(config, tmp_path / "run", simulator)
    assert summary.by_status == {"failed": 4, "truncated": 60} or summary.failed == 4
    failed = {(row["sample_id"], row["repeat"], row["choice"]) for row in table(tmp_path / "run") if row["error_kind"]}
    assert failed == {("q6", repeat, choice) for repeat in (0, 1) for choice in (0, 1)}
    assert 32 in {row["n_samples"] for row in table(tmp_path / "run", "attempts")}
    assert run_again(config, tmp_path / "run", simulator)[1] == 0


def test_seeds_by_repeat_go_in_packs_of_their_own(simulator: Simulator, tmp_path: Path) -> None:
    params = {"max_tokens": 4, "seed": 7}
    config = completion_config(simulator, questions(6), tmp_path, batch_size=100, repeats=3, params=params)
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.requests, sent) == (18, 3)
    bodies = [orjson.loads(row["request"]) for row in table(tmp_path / "run", "raw")]
    assert sorted((body["seed"], len(body["prompt"])) for body in bodies) == [(7, 6), (8, 6), (9, 6)]


# ---------------------------------------------------------------- sealing again


def test_a_packed_part_is_sealed_again(simulator: Simulator, tmp_path: Path) -> None:
    rows = marked(questions(40), "missing_index", 4)
    config = embedding_config(simulator, rows, tmp_path, request={"batch_size": 15})
    summary = runner.run(config, run_dir=tmp_path / "run")
    rows[30]["level"], rows[31]["question"] = 77, "another"
    write_rows(tmp_path / "data.jsonl", rows)
    summary = runner.run(config, run_dir=tmp_path / "run")
    before = sorted(table(tmp_path / "run"), key=lambda row: row["key"])
    folder, manifest = open_existing(tmp_path / "run")
    resealed = reseal(sealing_of(folder, manifest, config_from_dict(manifest.config, tmp_path)), read_commits(folder))
    assert resealed.rows == 40
    assert sorted(table(tmp_path / "run"), key=lambda row: row["key"]) == before
    assert run_again(config, tmp_path / "run", simulator)[1] == 0
    assert summary.failed == 1
