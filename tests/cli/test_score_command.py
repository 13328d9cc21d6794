"""`evalrunner score`: other scores without a request, all at once, or the old ones."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.folder.layout import RunFolder
from runner.folder.lock import hold_lock
from runner.pipeline.sending import groupcommit
from runner.pipeline.storing.verify import verify
from tests.support.commands import evalrunner, one_message
from tests.support.odd_server import answering, completion
from tests.support.runs import questions, write_config, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commands import Finished
    from tests.support.odd_server import Call, Reply

    Here = Callable[..., Finished]

SAMPLES = 30
INCLUDES = "scorers=[{name: includes}]"
KILLED_AT = (
    "scoring:after-part",
    "scoring:after-part:3",
    "commit:after-commit-file",
    "commit:after-rename:2",
    "scoring:after-commit",
    "atomic:after-sync:2",
    "scoring:after-switch",
    "commit:after-commit-file:2",
    "remove:after:2",
)


def reply(call: Call) -> Reply:
    number = int(call.question.split()[2])
    return completion(f"{number + 1}" if number % 3 else f"it is {number + 1}")


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A complete run in several parts, with scores."""
    monkeypatch.setattr(groupcommit, "_SEGMENT_BYTES", 5_000)
    dataset = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))
    with answering(reply) as url:
        config: dict[str, Any] = {
            "name": "test",
            "dataset": {"path": str(dataset), "id": "id", "target": "answer"},
            "model": {"base_url": url, "name": "m"},
            "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
            "limits": {"max_in_flight": 2},
            "scorers": [{"name": "exact_match"}],
        }
        assert runner.run(config, run_dir=tmp_path / "run").exit_code == 0
    write_config(tmp_path / "run.yaml", config)
    monkeypatch.undo()
    assert len(list((tmp_path / "run" / "responses").iterdir())) > 3
    return tmp_path / "run"


def manifest_of(run_dir: Path) -> Any:
    return orjson.loads((run_dir / "manifest.json").read_bytes())


def test_scores_are_made_again_without_a_request(run_dir: Path, here: Here) -> None:
    before = manifest_of(run_dir)
    finished = here("score", run_dir, "--set", INCLUDES, "--json")
    assert finished.code == 0
    after = manifest_of(run_dir)
    assert (before["scoring"][:5], after["scoring"][:5]) == ("0001-", "0002-")
    assert finished.json["scoring"] == after["scoring"]
    assert finished.json["rows"] == SAMPLES
    assert after["summary"]["scores"] == finished.json["scores"]
    assert finished.json["scores"]["includes"]["mean"] == 1.0
    assert after["summary"]["http_requests"] == before["summary"]["http_requests"]
    assert [scorer["name"] for scorer in after["config"]["scorers"]] == ["includes"]
    assert [path.name for path in (run_dir / "scores").iterdir()] == [after["scoring"]]
    assert verify(RunFolder(run_dir)).findings == []
    frame = runner.load(run_dir)
    assert frame["score_includes"].sum() == SAMPLES
    assert "score_exact_match" not in frame.columns


def test_the_same_scorers_can_be_applied_again(run_dir: Path, here: Here) -> None:
    scores = manifest_of(run_dir)["summary"]["scores"]
    assert here("score", run_dir).code == 0
    after = manifest_of(run_dir)
    assert after["scoring"].startswith("0002-")
    assert after["summary"]["scores"] == scores


def test_people_read_mean_interval_and_both_denominators(run_dir: Path, here: Here) -> None:
    out = here("score", run_dir).out
    assert "exact_match  0.6667 [0." in out
    assert f"of {SAMPLES} answered; 0.6667 of all {SAMPLES}" in out
    status = here("status", run_dir)
    assert "exact_match 0.6667" in status.out
    assert here("status", run_dir, "--json").json["scores"]["exact_match"]["mean"] == 20 / 30


def test_groups_are_by_any_column(run_dir: Path, here: Here) -> None:
    groups = here("score", run_dir, "--by", "in_level", "--json").json["scores"]["exact_match"]["by"]
    assert groups["column"] == "in_level"
    assert {name: (one["mean"], one["all"]) for name, one in groups["groups"].items()} == {
        "0": (0.0, 10),
        "1": (1.0, 10),
        "2": (1.0, 10),
    }
    assert "by" not in manifest_of(run_dir)["summary"]["scores"]["exact_match"]
    assert "in_level 1: 1 [1, 1] of 10 answered" in here("score", run_dir, "--by", "in_level").out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--set", "limits.max_in_flight=3"), "only scorers and gates can change"),
        (("--set", "scorers=[]"), "has no scorers"),
        (("--set", "scorers=[{name: exactmatch}]"), 'did you mean "exact_match"?'),
        (("--set", "scorers=[{name: regex, pattern: (}]"), "is no regular expression"),
        (("--by", "nothing"), "there is no column nothing"),
    ],
)
def test_what_cannot_be_done_leaves_the_scores(
    arguments: tuple[str, ...], named: str, run_dir: Path, here: Here
) -> None:
    before = manifest_of(run_dir)
    finished = here("score", run_dir, *arguments)
    assert finished.code == 2
    assert named in one_message(finished)
    assert manifest_of(run_dir) == before
    assert verify(RunFolder(run_dir)).findings == []


def test_a_run_that_is_held_is_left_alone(run_dir: Path, here: Here) -> None:
    with hold_lock(RunFolder(run_dir)):
        finished = here("score", run_dir)
    assert finished.code == 75


@pytest.mark.parametrize("point", KILLED_AT)
def test_killed_at_any_moment_there_is_one_whole_scoring(point: str, run_dir: Path, tmp_path: Path) -> None:
    command = ("score", run_dir, "--set", INCLUDES)
    killed = evalrunner(*command, cwd=tmp_path, env={"EVALRUNNER_CRASH_AT": point})
    assert killed.code == -signal.SIGKILL
    frame = runner.load(run_dir)
    (name,) = (name for name in frame.columns if name.startswith("score_"))
    assert name == ("score_exact_match" if manifest_of(run_dir)["scoring"].startswith("0001-") else "score_includes")
    assert frame[name].notna().all()
    assert verify(RunFolder(run_dir)).findings == []
    assert evalrunner(*command, cwd=tmp_path).code == 0
    assert runner.load(run_dir)["score_includes"].sum() == SAMPLES
    assert [path.name for path in (run_dir / "scores").iterdir()] == [manifest_of(run_dir)["scoring"]]
    assert list((run_dir / "_tmp").iterdir()) == []
    assert verify(RunFolder(run_dir)).findings == []


@pytest.mark.parametrize(
    "point", ["sealing:after-staging", "commit:after-commit-file:3", "commit:after-rename:7", "run:after-manifest"]
)
def test_a_run_that_is_killed_has_all_scores_in_the_end(point: str, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))
    with answering(reply) as url:
        config = {
            "name": "test",
            "dataset": {"path": str(dataset), "id": "id", "target": "answer"},
            "model": {"base_url": url, "name": "m"},
            "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
            "scorers": [{"name": "exact_match"}],
        }
        command = ("run", write_config(tmp_path / "run.yaml", config), "--run-dir", tmp_path / "run", "--json")
        killed = evalrunner(*command, cwd=tmp_path, env={"EVALRUNNER_CRASH_AT": point})
        assert killed.code == -signal.SIGKILL
        finished = evalrunner(*command, cwd=tmp_path)
    facts = finished.json["scores"]["exact_match"]
    assert (facts["mean"], facts["answered"], facts["all"]) == (20 / 30, SAMPLES, SAMPLES)
    assert verify(RunFolder(tmp_path / "run")).findings == []
    assert runner.load(tmp_path / "run")["score_exact_match"].sum() == 20


def test_resume_goes_on_with_the_scorers_chosen_last_and_run_with_its_own(run_dir: Path, here: Here) -> None:
    assert here("score", run_dir, "--set", INCLUDES).code == 0
    chosen = manifest_of(run_dir)["scoring"]
    assert here("resume", run_dir, "--json").json["scores"]["includes"]["mean"] == 1.0
    assert manifest_of(run_dir)["scoring"] == chosen
    finished = here("run", run_dir.parent / "run.yaml", "--run-dir", run_dir, "--json")
    assert set(finished.json["scores"]) == {"exact_match"}
    assert finished.json["http_requests"] == SAMPLES


def test_reseal_keeps_the_scores_in_line(run_dir: Path, here: Here) -> None:
    before = manifest_of(run_dir)
    assert here("reseal", run_dir).code == 0
    after = manifest_of(run_dir)
    assert (after["scoring"], after["summary"]["scores"]) == (before["scoring"], before["summary"]["scores"])
    assert verify(RunFolder(run_dir)).findings == []
    assert runner.load(run_dir)["score_exact_match"].sum() == 20
