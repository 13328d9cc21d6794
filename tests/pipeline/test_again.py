"""Rows that are sent again on request: which they are, and which answer stands when they have ended again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.config import config_from_dict
from runner.errors import RunFolderError, UsageError
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.pipeline import execute
from runner.pipeline.locate import Where
from runner.pipeline.opening import RunOptions, open_existing, sealing_of
from runner.pipeline.passes.again import check_kinds
from runner.pipeline.storing.replacing import outlives
from runner.pipeline.storing.reseal import reseal
from runner.pipeline.storing.verify import verify
from runner.pipeline.survey import rehearse
from runner.simulate import FaultRules
from tests.support.odd_server import Reply, answering
from tests.support.runs import by_sample, check_books, config_for, questions, run_again, sent_by, table, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runner import RunSummary
    from runner.simulate import Simulator
    from tests.support.odd_server import Call
    from tests.support.runs import Row

SAMPLES = 9  # with one more a server that fails all of them would count as out
REFUSED, BROKEN = 400, 500


@pytest.mark.parametrize(
    ("later", "earlier", "stands"),
    [
        ("ok", "truncated", True),
        ("truncated", "truncated", True),
        ("refused", "ok", True),
        ("ok", "failed", True),
        ("failed", "failed", True),
        ("failed", "truncated", False),
        ("failed", "refused", False),
    ],
)
def test_the_last_accepted_answer_stands_and_a_failure_replaces_failures_only(
    later: str, earlier: str, *, stands: bool
) -> None:
    assert outlives(later, earlier) is stands


def test_only_knows_three_statuses() -> None:
    assert check_kinds(["failed", "refused", "failed"]) == ("failed", "refused")
    with pytest.raises(UsageError, match="ok: no such rows") as caught:
        check_kinds(["failed", "ok"])
    assert caught.value.hint == "one of failed, truncated, refused; several may be given"


# ---------------------------------------------------------------- against the simulator


def only(config: Mapping[str, Any], run_dir: Path, *kinds: str) -> tuple[RunSummary, list[str]]:
    """Send rows of a run again; return the summary and what was said meanwhile."""
    said: list[str] = []
    options = RunOptions(where=Where(run_dir=run_dir, existing=True), say=said.append, only=kinds)
    return execute.run(config_from_dict(dict(config), run_dir.parent), options), said


def begun(simulator: Simulator, folder: Path, faults: Mapping[int, str], /, **sections: Any) -> dict[str, Any]:
    """Complete a run in `folder`, some of whose rows meet a fault; return its config."""
    rows = questions(SAMPLES)
    for number, fault in faults.items():
        rows[number]["question"] += f" [[fault:{fault}]]"
    config = config_for(simulator, write_rows(folder / "data.jsonl", rows), **sections)
    run_again(config, folder / "run", simulator)
    return config


def test_failed_rows_are_sent_again_terminal_ones_too(simulator: Simulator, tmp_path: Path) -> None:
    config, run_dir = begun(simulator, tmp_path, {2: "400*1", 5: "500*3", 7: "refusal"}), tmp_path / "run"
    before, sent = by_sample(run_dir), sent_by(simulator)
    summary, _ = only(config, run_dir, "failed")
    check_books(summary, simulator)
    assert (sent_by(simulator) - sent, summary.status, summary.exit_code) == (2, "complete", 0)
    assert (summary.by_status, summary.superseded) == ({"ok": SAMPLES - 1, "refused": 1}, 2)
    after = by_sample(run_dir)
    assert {name for name in after if after[name] != before[name]} == {"q2", "q5"}
    assert sorted(row["sample_id"] for row in table(run_dir, "superseded")) == ["q2", "q5"]
    manifest = orjson.loads(RunFolder(run_dir).manifest.read_bytes())
    assert [session["only"] for session in manifest["sessions"]] == [[], ["failed"]]


def test_the_same_again_finds_nothing_and_says_so(simulator: Simulator, tmp_path: Path) -> None:
    config, run_dir = begun(simulator, tmp_path, {2: "400*1"}), tmp_path / "run"
    only(config, run_dir, "failed")
    sent = sent_by(simulator)
    summary, said = only(config, run_dir, "failed", "truncated")
    assert (sent_by(simulator), summary.status, summary.exit_code) == (sent, "complete", 0)
    assert "no row has the status failed or truncated: nothing is sent" in said


def test_other_rows_stay_failures_of_a_passing_kind_too(simulator: Simulator, tmp_path: Path) -> None:
    config, run_dir = begun(simulator, tmp_path, {2: "500*3", 7: "refusal*1"}), tmp_path / "run"
    failure = by_sample(run_dir)["q2"]
    summary, _ = only(config, run_dir, "refused")
    check_books(summary, simulator)
    assert (summary.by_status, summary.exit_code) == ({"failed": 1, "ok": SAMPLES - 1}, 3)
    assert by_sample(run_dir)["q2"] == failure
    summary, sent = run_again(config, run_dir, simulator)
    assert (summary.by_status, sent) == ({"ok": SAMPLES}, 1)


def test_several_kinds_are_sent_again_at_once(simulator: Simulator, tmp_path: Path) -> None:
    config, run_dir = begun(simulator, tmp_path, {2: "400*1", 7: "refusal*1"}), tmp_path / "run"
    summary, _ = only(config, run_dir, "failed", "refused")
    assert (summary.by_status, summary.superseded) == ({"ok": SAMPLES}, 2)


def test_a_new_failure_replaces_the_old_one(simulator: Simulator, tmp_path: Path) -> None:
    config, run_dir = begun(simulator, tmp_path, {2: "400"}), tmp_path / "run"
    before = by_sample(run_dir)["q2"]
    summary, _ = only(config, run_dir, "failed")
    check_books(summary, simulator)
    after = by_sample(run_dir)["q2"]
    assert (summary.by_status["failed"], summary.superseded, summary.exit_code) == (1, 1, 3)
    assert after["finished_at"] > before["finished_at"]
    assert [row["finished_at"] for row in table(run_dir, "superseded")] == [before["finished_at"]]


def refused_then(simulator: Simulator, folder: Path, fault: str) -> tuple[dict[str, Any], dict[str, Row]]:
    """Complete a run whose answers are all refusals, and let the server fail so from now on."""
    simulator.change(replace(QUICK, faults=FaultRules({"refusal": 1.0})))
    config = begun(simulator, folder, {})
    simulator.change(replace(QUICK, faults=FaultRules({fault: 1.0})))
    before = by_sample(folder / "run")
    assert {row["status"] for row in before.values()} == {"refused"}
    return config, before


@pytest.mark.parametrize(("fault", "kind"), [("400", "bad_request"), ("500", "server")])
def test_a_failure_does_not_replace_an_answer(simulator: Simulator, tmp_path: Path, fault: str, kind: str) -> None:
    config, before = refused_then(simulator, tmp_path, fault)
    run_dir = tmp_path / "run"
    summary, _ = only(config, run_dir, "refused")
    check_books(summary, simulator)
    assert (summary.by_status, summary.superseded, summary.exit_code) == ({"refused": SAMPLES}, SAMPLES, 0)
    assert by_sample(run_dir) == before
    assert {row["error_kind"] for row in table(run_dir, "superseded")} == {kind}
    assert run_again(config, run_dir, simulator)[1] == 0


def test_loaded_bodies_are_those_of_the_rows_that_stand(simulator: Simulator, tmp_path: Path) -> None:
    config, _ = refused_then(simulator, tmp_path, "400")
    only(config, tmp_path / "run", "refused")
    bodies = runner.load(tmp_path / "run", ["response"])["response"]
    assert all(orjson.loads(body)["choices"][0]["message"]["refusal"] for body in bodies)


def test_rows_that_were_never_sent_are_left_and_the_run_says_that_it_is_incomplete(
    simulator: Simulator, tmp_path: Path
) -> None:
    config, run_dir = begun(simulator, tmp_path, {2: "400*1"}), tmp_path / "run"
    rows = [orjson.loads(line) for line in (tmp_path / "data.jsonl").read_bytes().splitlines()]
    rows[3]["question"] += " Think."  # another request now: its old answer is no longer of this dataset
    rows[4]["level"] = 100  # rides along only
    write_rows(tmp_path / "data.jsonl", [*rows, *questions(2, first=SAMPLES)])
    sent = sent_by(simulator)
    summary, _ = only(config, run_dir, "failed")
    assert (sent_by(simulator) - sent, summary.status, summary.exit_code) == (1, "incomplete", 6)
    assert summary.by_status == {"ok": SAMPLES}
    assert "3 requests were never sent: a run without --only sends them" in summary.warnings
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.by_status, summary.status) == (3, {"ok": SAMPLES + 2}, "complete")
    assert by_sample(run_dir)["q4"]["in_level"] == 100


def test_a_failed_row_that_left_the_dataset_is_not_sent(simulator: Simulator, tmp_path: Path) -> None:
    config, run_dir = begun(simulator, tmp_path, {2: "400", 5: "400*1"}), tmp_path / "run"
    rows = [orjson.loads(line) for line in (tmp_path / "data.jsonl").read_bytes().splitlines()]
    write_rows(tmp_path / "data.jsonl", [row for row in rows if row["id"] != "q2"])
    sent = sent_by(simulator)
    summary, _ = only(config, run_dir, "failed")
    assert (sent_by(simulator) - sent, summary.by_status["failed"], summary.status) == (1, 1, "complete")


def test_skipped_rows_do_not_count_as_unsent(simulator: Simulator, tmp_path: Path) -> None:
    rows = questions(4)
    rows[1]["question"] += " [[fault:400*2]]"
    path = write_rows(tmp_path / "data.jsonl", rows)
    path.write_bytes(path.read_bytes() + b"no json\n")
    config = config_for(simulator, path, dataset={"on_bad_row": "skip"}, request={"repeats": 2})
    run_dir = tmp_path / "run"
    assert run_again(config, run_dir, simulator)[0].by_status == {"failed": 2, "ok": 6, "skipped": 1}
    summary, _ = only(config, run_dir, "failed")
    assert (summary.by_status, summary.status) == ({"ok": 8, "skipped": 1}, "complete")


def test_only_the_repeat_in_question_is_sent_again(simulator: Simulator, tmp_path: Path) -> None:
    config, run_dir = begun(simulator, tmp_path, {2: "400*1"}, request={"repeats": 3}), tmp_path / "run"
    before = {(row["sample_id"], row["repeat"]): row for row in table(run_dir)}
    (failed,) = (place for place, row in before.items() if row["status"] == "failed")
    sent = sent_by(simulator)
    summary, _ = only(config, run_dir, "failed")
    check_books(summary, simulator)
    after = {(row["sample_id"], row["repeat"]): row for row in table(run_dir)}
    assert (sent_by(simulator) - sent, summary.by_status) == (1, {"ok": 3 * SAMPLES})
    assert {place for place in after if after[place] != before[place]} == {failed}


def test_a_pack_is_made_of_the_rows_in_question(simulator: Simulator, tmp_path: Path) -> None:
    section = {"endpoint": "embeddings", "messages": None, "input": "{{ question }}", "params": {}}
    config = config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(SAMPLES)), request=section)
    run_dir = tmp_path / "run"
    simulator.change(replace(QUICK, faults=FaultRules({"400": 1.0})))
    assert runner.run(config, run_dir=run_dir).by_status == {"failed": SAMPLES}
    simulator.change(QUICK)
    sent = sent_by(simulator)
    summary, _ = only(config, run_dir, "failed")
    assert (sent_by(simulator) - sent, summary.by_status, summary.superseded) == (1, {"ok": SAMPLES}, SAMPLES)
    assert verify(RunFolder(run_dir)).findings == []


def test_resealing_a_run_with_replaced_rows_changes_nothing(simulator: Simulator, tmp_path: Path) -> None:
    config, run_dir = begun(simulator, tmp_path, {2: "400*1", 7: "refusal*1"}), tmp_path / "run"
    only(config, run_dir, "failed", "refused")
    before = by_sample(run_dir)
    folder, manifest = open_existing(run_dir)
    reseal(sealing_of(folder, manifest, config_from_dict(config, tmp_path)), read_commits(folder))
    assert by_sample(run_dir) == before
    assert run_again(config, run_dir, simulator)[1] == 0


def test_rows_that_were_replaced_take_their_scores_along(simulator: Simulator, tmp_path: Path) -> None:
    scorers = [{"name": "regex", "pattern": "."}]
    config = begun(simulator, tmp_path, {2: "400*1", 5: "400*1"}, scorers=scorers)
    run_dir = tmp_path / "run"
    only(config, run_dir, "failed")
    frame = runner.load(run_dir)
    assert len(frame) == SAMPLES
    assert frame["score_regex"].notna().all()
    assert verify(RunFolder(run_dir)).findings == []


def test_a_rehearsal_shows_which_rows_would_be_sent(simulator: Simulator, tmp_path: Path) -> None:
    config, run_dir = begun(simulator, tmp_path, {2: "400*1", 7: "refusal"}), tmp_path / "run"
    sent = sent_by(simulator)
    where = Where(run_dir=run_dir, existing=True)
    found = rehearse(config_from_dict(config, tmp_path), where, ("failed", "refused"))
    assert found.again is not None
    assert (found.again.by_status, found.again.unsent) == ({"failed": 1, "refused": 1}, 0)
    rows = sorted(found.again.shown, key=lambda row: row["sample_id"])
    assert rows == [
        {"sample_id": "q2", "repeat": 0, "choice": 0, "status": "failed", "error_kind": "bad_request"},
        {"sample_id": "q7", "repeat": 0, "choice": 0, "status": "refused", "error_kind": None},
    ]
    assert (sent_by(simulator), found.production.todo.cases) == (sent, 2)


def test_a_run_has_to_be_there(simulator: Simulator, tmp_path: Path) -> None:
    config = config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(2)))
    with pytest.raises(RunFolderError, match="there is no run in it"):
        only(config, tmp_path / "none", "failed")
    options = RunOptions(where=Where(existing=True), only=("failed",))
    with pytest.raises(RunFolderError, match="no run of this config is in it"):
        execute.run(config_from_dict(config, tmp_path), options)
    assert sent_by(simulator) == 0


def test_the_newest_run_is_taken_though_it_is_complete(simulator: Simulator, tmp_path: Path) -> None:
    rows = questions(3)
    rows[1]["question"] += " [[fault:400*2]]"
    config = config_from_dict(config_for(simulator, write_rows(tmp_path / "data.jsonl", rows)), tmp_path)
    first = execute.run(config, RunOptions(where=Where(new=True)))
    second = execute.run(config, RunOptions(where=Where(new=True)))
    assert (first.failed, second.failed) == (1, 1)
    summary = execute.run(config, RunOptions(where=Where(existing=True), only=("failed",)))
    assert (summary.run_dir, summary.by_status) == (second.run_dir, {"ok": 3})


# ---------------------------------------------------------------- several choices, against a server made for it


def chat_config(base_url: str, dataset: Path, **params: Any) -> dict[str, Any]:
    return {
        "name": "again",
        "dataset": {"path": str(dataset), "id": "id"},
        "model": {"base_url": base_url, "name": "m"},
        "request": {"messages": [{"role": "user", "content": "{{ question }}"}], "params": params},
        "retry": {"max_attempts": 1},
    }


def choices(*finishes: str | None, text: str) -> Reply:
    """Return an answer with a choice for each finish_reason; of one that is null an error stands in the choice."""
    made: list[dict[str, Any]] = [
        {"index": index, "message": {"content": text}, "finish_reason": finish}
        if finish
        else {"index": index, "error": {"message": "upstream"}}
        for index, finish in enumerate(finishes)
    ]
    return Reply(body=orjson.dumps({"choices": made, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}))


def places(rows: list[Row]) -> dict[tuple[str, int], tuple[str, str]]:
    return {(row["sample_id"], row["choice"]): (row["status"], row["text"]) for row in rows}


@pytest.mark.parametrize(
    ("first", "then", "stands"),
    [
        (("stop", "length"), ("stop", "stop"), [("ok", "new"), ("ok", "new")]),
        (("stop", "length"), ("length", "stop"), [("truncated", "new"), ("ok", "new")]),
        (("stop", "length"), (None, "stop"), [("ok", "old"), ("ok", "new")]),
        (("stop", "length"), ("stop", None), [("ok", "new"), ("truncated", "old")]),
        (("stop", "length"), (None, None), [("ok", "old"), ("truncated", "old")]),
    ],
)
def test_of_a_case_with_several_choices_each_row_is_decided_for_itself(
    tmp_path: Path, first: tuple[str, ...], then: tuple[str | None, ...], stands: list[tuple[str, str]]
) -> None:
    seen: Counter[str] = Counter()

    def answer(call: Call) -> Reply:
        seen[call.question] += 1
        return choices(*first, text="old") if seen[call.question] == 1 else choices(*then, text="new")

    with answering(answer) as base_url:
        config = chat_config(base_url, write_rows(tmp_path / "data.jsonl", questions(2)), n=2)
        run_dir = tmp_path / "run"
        runner.run(config, run_dir=run_dir)
        summary, _ = only(config, run_dir, "truncated")
        assert seen.total() == 4
        expected = {(f"q{number}", choice): stands[choice] for number in range(2) for choice in range(2)}
        assert places(table(run_dir)) == expected
        assert verify(RunFolder(run_dir)).findings == []
        folder, manifest = open_existing(run_dir)
        reseal(sealing_of(folder, manifest, config_from_dict(config, tmp_path)), read_commits(folder))
        assert places(table(run_dir)) == expected
        assert verify(RunFolder(run_dir)).findings == []
        again = runner.run(config, run_dir=run_dir)
    assert (seen.total(), again.by_status, again.status) == (4, summary.by_status, "complete")
    assert places(table(run_dir)) == expected
    assert len(table(run_dir, "superseded")) == 4


def test_of_choices_that_came_one_by_one_only_those_in_question_are_sent_again(tmp_path: Path) -> None:
    asked: list[int] = []

    def answer(call: Call) -> Reply:
        if "n" in call.body:
            error = {"message": "Unsupported parameter: 'n'", "param": "n", "code": "unsupported_parameter"}
            return Reply(REFUSED, orjson.dumps({"error": error}))
        asked.append(call.body["seed"])
        return choices("length" if asked.count(1) == 1 and call.body["seed"] == 1 else "stop", text=str(len(asked)))

    with answering(answer) as base_url:
        config = chat_config(base_url, write_rows(tmp_path / "data.jsonl", questions(1)), n=3, seed=0)
        run_dir = tmp_path / "run"
        assert runner.run(config, run_dir=run_dir).by_status == {"ok": 2, "truncated": 1}
        before = places(table(run_dir))
        summary, _ = only(config, run_dir, "truncated")
        assert (summary.by_status, sorted(asked)) == ({"ok": 3}, [0, 1, 1, 2])
        assert {place for place, row in places(table(run_dir)).items() if row != before[place]} == {("q0", 1)}
        assert verify(RunFolder(run_dir)).findings == []
        runner.run(config, run_dir=run_dir)
    assert len(asked) == 4


def test_a_row_that_fails_again_as_poison_stays_so_where_the_choice_beside_it_has_its_answer_already(
    tmp_path: Path,
) -> None:
    seen: Counter[str] = Counter()

    def answer(call: Call) -> Reply:
        seen[call.question] += 1
        if seen[call.question] == 1:
            return choices("stop", None, text="old")
        return Reply(BROKEN, b"{}") if "What is 3 " in call.question else choices("stop", "stop", text="new")

    with answering(answer) as base_url:
        config = chat_config(base_url, write_rows(tmp_path / "data.jsonl", questions(20)), n=2)
        config |= {"limits": {"max_in_flight": 1}, "retry": {"max_attempts": 8, "first_wait_s": 0.0001}}
        run_dir = tmp_path / "run"
        assert runner.run(config, run_dir=run_dir).by_status == {"ok": 20, "failed": 20}
        summary, _ = only(config, run_dir, "failed")
        assert summary.by_status == {"ok": 39, "failed": 1}
        (failed,) = (row for row in table(run_dir) if row["status"] == "failed")
        assert "3 times the same, while other rows were answered" in failed["error_message"]
        sent = seen.total()
        again = runner.run(config, run_dir=run_dir)
        assert (seen.total(), again.by_status) == (sent, summary.by_status)
        only(config, run_dir, "failed")
        assert seen.total() > sent, "it is sent where it is asked for"
