"""Datasets as they come: standard input, compressed, OpenAI Batch files, with bad rows, shuffled and limited."""

from __future__ import annotations

import gzip
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.folder.layout import RunFolder
from runner.pipeline.storing.verify import verify
from tests.support.commands import evalrunner, one_message
from tests.support.runs import by_sample, config_for, questions, run_again, sent_by, table, write_config, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.commands import Finished

    Here = Callable[..., Finished]

SAMPLES = 12


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def test_standard_input_is_kept_and_resume_reads_it_again(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    config = config_for(simulator, tmp_path / "unused", dataset={"path": "-"}, limits={"max_in_flight": 1})
    path, run_dir = write_config(tmp_path / "my.yaml", config), tmp_path / "run"
    rows = questions(SAMPLES)
    rows[4]["question"] += " [[fault:401*1]]"
    finished = evalrunner("run", path, "--run-dir", run_dir, "--json", cwd=tmp_path, stdin=as_lines(rows))
    assert (finished.code, finished.json["ok"]) == (5, 4)
    (spooled,) = (run_dir / "_input").iterdir()
    assert (spooled.read_bytes(), spooled.stat().st_mode & 0o777) == (as_lines(rows), 0o600)
    sent = sent_by(simulator)
    resumed = here("resume", run_dir, "--json")
    assert (resumed.code, resumed.json["ok"]) == (0, SAMPLES)
    assert sent_by(simulator) - sent == SAMPLES - 4
    assert by_sample(run_dir).keys() == {row["id"] for row in rows}


def test_standard_input_piped_again_is_compared_by_content(simulator: Simulator, tmp_path: Path) -> None:
    config = config_for(simulator, tmp_path / "unused", dataset={"path": "-"})
    path, run_dir = write_config(tmp_path / "my.yaml", config), tmp_path / "run"
    for count in (SAMPLES, SAMPLES + 2):
        rows = list(reversed(questions(count)))
        finished = evalrunner("run", path, "--run-dir", run_dir, "--json", cwd=tmp_path, stdin=as_lines(rows))
        assert (finished.code, finished.json["ok"], sent_by(simulator)) == (0, count, count)


def test_empty_standard_input_is_refused(simulator: Simulator, tmp_path: Path) -> None:
    config = config_for(simulator, tmp_path / "unused", dataset={"path": "-"})
    finished = evalrunner("run", write_config(tmp_path / "my.yaml", config), cwd=tmp_path)
    assert finished.code == 2
    assert "no rows" in one_message(finished)


def test_a_gzipped_dataset_is_the_same_dataset(simulator: Simulator, tmp_path: Path) -> None:
    packed = tmp_path / "data.jsonl.gz"
    packed.write_bytes(gzip.compress(as_lines(questions(SAMPLES))))
    summary, sent = run_again(config_for(simulator, packed), tmp_path / "run", simulator)
    assert (summary.exit_code, summary.ok, sent) == (0, SAMPLES, SAMPLES)
    assert by_sample(tmp_path / "run")["q3"]["in_question"] == questions(SAMPLES)[3]["question"]
    packed.write_bytes(gzip.compress(as_lines(questions(SAMPLES + 1)), compresslevel=1))
    assert run_again(config_for(simulator, packed), tmp_path / "run", simulator)[1] == 1


# ---------------------------------------------------------------- OpenAI Batch input


def batch_line(number: int, **body: Any) -> dict[str, Any]:
    content = {"model": "m", "messages": [{"role": "user", "content": f"What is {number}?"}], "temperature": 0}
    own = {"custom_id": f"task-{number}", "method": "POST", "url": "/v1/chat/completions"}
    return {**own, "body": content | body}


def batch_config(simulator: Simulator, dataset: Path) -> dict[str, Any]:
    config = config_for(simulator, dataset)
    config["dataset"] = {"path": str(dataset)}
    del config["request"]["messages"]
    del config["request"]["params"]
    return config


def test_a_batch_file_is_sent_as_it_is(simulator: Simulator, tmp_path: Path) -> None:
    lines = [batch_line(number) for number in range(SAMPLES)] + [batch_line(99, n=2, seed=7)]
    dataset = write_rows(tmp_path / "batch.jsonl", lines)
    config = batch_config(simulator, dataset)
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.by_status, sent) == (0, {"ok": SAMPLES + 2}, SAMPLES + 1)
    bodies = {row["request_key"]: orjson.loads(row["request"]) for row in table(tmp_path / "run", "raw")}
    shown = {row["sample_id"]: bodies[row["request_key"]] for row in table(tmp_path / "run")}
    assert shown == {line["custom_id"]: line["body"] for line in lines}
    lines[2] = batch_line(2, temperature=1)
    write_rows(dataset, reversed(lines))
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (sent, summary.superseded) == (1, 1)


def test_a_batch_line_that_cannot_be_sent_is_named(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    lines = [batch_line(1), {**batch_line(2), "method": "GET"}, {**batch_line(3), "url": "/v1/images"}, batch_line(1)]
    dataset = write_rows(tmp_path / "batch.jsonl", lines[:3])
    path = write_config(tmp_path / "my.yaml", batch_config(simulator, dataset))
    message = one_message(here("run", path))
    assert "batch.jsonl:2: method is 'GET'" in message
    assert "batch.jsonl:3: url '/v1/images'" in message
    write_rows(dataset, [lines[0], lines[3]])
    twice = here("run", path)
    assert twice.code == 2
    assert "'task-1'" in one_message(twice)
    assert sent_by(simulator) == 0


# ---------------------------------------------------------------- bad rows, skipped


@pytest.fixture
def with_bad_rows(tmp_path: Path) -> Path:
    rows = questions(SAMPLES)
    del rows[5]["question"]
    lines = as_lines(rows).splitlines(keepends=True)
    lines[2] = b'{"id": "q2", "question": \n'
    lines[7] = b"[1, 2]\n"
    dataset = tmp_path / "data.jsonl"
    dataset.write_bytes(b"".join(lines))
    return dataset


def test_skipped_rows_appear_with_their_places_and_resume_sends_nothing(
    simulator: Simulator, with_bad_rows: Path, tmp_path: Path
) -> None:
    config = config_for(simulator, with_bad_rows, dataset={"on_bad_row": "skip"})
    for sent_now in (SAMPLES - 3, 0, 0):
        summary, sent = run_again(config, tmp_path / "run", simulator)
        assert (summary.exit_code, sent) == (0, sent_now)
        assert (summary.by_status, summary.failed) == ({"ok": SAMPLES - 3, "skipped": 3}, 0)
        skipped = [row for row in table(tmp_path / "run") if row["status"] == "skipped"]
        assert sorted(row["sample_id"].rpartition(":")[2] for row in skipped) == ["3", "6", "8"]
        assert all("data.jsonl:" in row["sample_id"] and row["error_message"] for row in skipped)
        assert {row["text"] for row in skipped} == {None}
    assert any("skipped" in warning for warning in summary.warnings)


def test_a_run_with_skipped_rows_is_sound_after_reseal(
    simulator: Simulator, with_bad_rows: Path, tmp_path: Path, here: Here
) -> None:
    config = config_for(simulator, with_bad_rows, dataset={"on_bad_row": "skip"})
    runner.run(config, run_dir=tmp_path / "run")
    assert here("reseal", tmp_path / "run").code == 0
    assert verify(RunFolder(tmp_path / "run")).findings == []
    resumed = here("resume", tmp_path / "run", "--json")
    assert resumed.json.get("by_status") == {"ok": SAMPLES - 3, "skipped": 3}
    assert sent_by(simulator) == SAMPLES - 3


def test_a_mended_row_is_sent_and_its_skipped_row_goes(
    simulator: Simulator, with_bad_rows: Path, tmp_path: Path
) -> None:
    config = config_for(simulator, with_bad_rows, dataset={"on_bad_row": "skip"})
    run_again(config, tmp_path / "run", simulator)
    write_rows(with_bad_rows, questions(SAMPLES))
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.by_status, sent) == (0, {"ok": SAMPLES}, 3)
    assert len(by_sample(tmp_path / "run")) == SAMPLES


def test_a_dataset_of_bad_rows_alone_ends_with_every_row_skipped(simulator: Simulator, tmp_path: Path) -> None:
    dataset = tmp_path / "data.jsonl"
    dataset.write_bytes(b"[1]\n[2]\n")
    config = config_for(simulator, dataset, dataset={"on_bad_row": "skip"})
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.status, summary.by_status, sent) == ("complete", {"skipped": 2}, 0)


# ---------------------------------------------------------------- shuffled and limited


def test_a_seed_with_a_limit_draws_the_same_rows_whatever_their_order(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(60))
    drawn = {}
    for seed in (1, 2):
        config = config_for(simulator, dataset, dataset={"shuffle_seed": seed, "limit": 10})
        summary, sent = (
            run_again(config, tmp_path / f"run-{seed}", simulator) if seed == 1 else (runner.run(config), 10)
        )
        assert (summary.ok, sent) == (10, 10)
        drawn[seed] = set(by_sample(summary.run_dir))
    assert drawn[1] != drawn[2]
    assert drawn[1] != {f"q{number}" for number in range(10)}
    write_rows(dataset, reversed(questions(60)))
    before = sent_by(simulator)
    again = runner.run(config_for(simulator, dataset, dataset={"shuffle_seed": 1, "limit": 10}))
    assert set(by_sample(again.run_dir)) == drawn[1]
    resumed = runner.run(
        config_for(simulator, dataset, dataset={"shuffle_seed": 1, "limit": 10}), run_dir=tmp_path / "run-1"
    )
    assert (resumed.ok, resumed.superseded, sent_by(simulator)) == (10, 0, before + 10)


def test_a_shuffled_run_sends_every_row_once_in_another_order(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(40))
    config = config_for(simulator, dataset, dataset={"shuffle_seed": 3}, limits={"max_in_flight": 1})
    orders = []
    for name in ("first", "second"):
        runner.run(config, run_dir=tmp_path / name)
        rows = sorted(table(tmp_path / name), key=lambda row: row["started_at"])
        orders.append([row["sample_id"] for row in rows])
    assert orders[0] == orders[1] != [row["id"] for row in questions(40)]
    assert Counter(orders[0]) == Counter(row["id"] for row in questions(40))


def test_a_limit_takes_the_first_rows_and_is_part_of_the_identity(
    simulator: Simulator, tmp_path: Path, here: Here
) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))
    path = write_config(tmp_path / "my.yaml", config_for(simulator, dataset))
    assert here("run", path, "--limit", 3, "--run-dir", "few", "--json").json["samples"] == 3
    assert by_sample(tmp_path / "few").keys() == {"q0", "q1", "q2"}
    assert "dataset.limit" in one_message(here("run", path, "--run-dir", "few"))
    assert sent_by(simulator) == 3
