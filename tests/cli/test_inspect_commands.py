"""`status`, `verify`, `verify --salvage`, `reseal` and `schema`: what is damaged is named, what is sound is saved."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow.parquet as pq
import pytest

import runner
from runner.folder.layout import RunFolder
from runner.folder.lock import hold_lock
from runner.journal import FrameType, scan_segment
from runner.pipeline.sending import groupcommit
from runner.pipeline.storing.verify import verify
from runner.simulate import FaultRules
from tests.support.commands import evalrunner, one_message
from tests.support.runs import by_sample, config_for, questions, sent_by, table, write_config, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.commands import Finished

    Here = Callable[..., Finished]

SAMPLES = 30


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path) -> dict[str, Any]:
    return config_for(simulator, write_rows(tmp_path / "questions.jsonl", questions(SAMPLES)))


@pytest.fixture
def run_dir(config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A complete run in several parts."""
    monkeypatch.setattr(groupcommit, "_SEGMENT_BYTES", 6_000)
    one_by_one = config | {"limits": {"max_in_flight": 2}}
    assert runner.run(one_by_one, run_dir=tmp_path / "run").exit_code == 0
    monkeypatch.undo()
    assert len(list((tmp_path / "run" / "responses").glob("*.parquet"))) >= 4
    return tmp_path / "run"


def flip(path: Path, at: float = 0.5) -> None:
    """Change one byte of a file, that far into it."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0x20
    path.write_bytes(content)


def samples_of(path: Path) -> set[str]:
    return set(pq.read_table(path, columns=["sample_id"], partitioning=None).column("sample_id").to_pylist())


def last_part(run_dir: Path, name: str) -> Path:
    return max((run_dir / name).glob("*.parquet"))


def content_of(folder: Path) -> dict[Path, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in files if path.name != "LOCK"}


# ---------------------------------------------------------------- status


def test_status_lists_runs_newest_first_and_shows_one(
    simulator: Simulator, config: dict[str, Any], tmp_path: Path, here: Here
) -> None:
    first = runner.run(config)
    simulator.change(replace(QUICK, faults=FaultRules(script={SAMPLES + 3: "401"})))
    config["limits"]["max_in_flight"] = 1
    second = runner.run(config)
    assert (first.status, second.status) == ("complete", "stopped")
    runs = here("status", "outputs", "--json").json["runs"]
    assert [(run["run_id"], run["status"], run["rows"]) for run in runs] == [
        (second.run_id, "stopped", "2"),
        (first.run_id, "complete", f"{SAMPLES}"),
    ]
    listed = here("status")
    assert listed.out.index(second.run_id) < listed.out.index(first.run_id)
    shown = here("status", second.run_dir)
    assert "HTTP 401" in shown.out
    assert f"evalrunner resume {second.run_dir}" in shown.out
    facts = here("status", second.run_dir, "--json").json
    assert (facts["status"], facts["by_status"], facts["sessions"]) == ("stopped", {"ok": 2}, 1)
    (tmp_path / "empty").mkdir()
    assert "no runs" in here("status", "empty").out


def test_status_of_a_run_under_way_and_of_one_that_died(run_dir: Path, here: Here) -> None:
    folder = RunFolder(run_dir)
    manifest = orjson.loads(folder.manifest.read_bytes())
    folder.manifest.write_bytes(orjson.dumps(manifest | {"status": "running"}))
    assert here("status", run_dir, "--json").json["status"] == "interrupted"
    with hold_lock(folder):
        assert here("status", run_dir, "--json").json["status"] == "running"
        assert "another process" in one_message(busy := here("verify", run_dir))
        assert busy.code == 75
        assert here("resume", run_dir, "--json").json["error"]["code"] == "busy"


# ---------------------------------------------------------------- verify


def test_a_sound_run_is_found_sound_and_left_as_it_is(run_dir: Path, here: Here) -> None:
    before = content_of(run_dir)
    finished = here("verify", run_dir)
    assert finished.code == 0
    assert finished.out.endswith("sound\n")
    assert f"{SAMPLES} rows" in finished.out
    report = here("verify", run_dir, "--json").json
    assert (report["sound"], report["findings"], report["rows"], report["journal_frames"]) == (True, [], SAMPLES, 0)
    assert content_of(run_dir) == before


def damage_part(name: str) -> Callable[[Path], str]:
    def damage(run_dir: Path) -> str:
        flip(last_part(run_dir, name))
        return f"{name}/{last_part(run_dir, name).name}"

    return damage


def lose_part(run_dir: Path) -> str:
    lost = last_part(run_dir, "responses")
    lost.unlink()
    return f"responses/{lost.name}"


def lose_index(run_dir: Path) -> str:
    lost = max((run_dir / "_commits").glob("*.npy"))
    lost.unlink()
    return f"_commits/{lost.name}"


def damage_index(run_dir: Path) -> str:
    flip(max((run_dir / "_commits").glob("*.npy")), 0.9)
    return f"_commits/{max((run_dir / '_commits').glob('*.npy')).name}"


def damage_commit(run_dir: Path) -> str:
    flip(run_dir / "_commits" / "000003.json")
    return "000003.json"


def lose_commit(run_dir: Path) -> str:
    (run_dir / "_commits" / "000003.json").unlink()
    return "000003.json"


def damage_the_last_commit(run_dir: Path) -> str:
    last = max((run_dir / "_commits").glob("*.json"))
    flip(last)
    return last.name


# Damage, and whether the answers in it can be had from elsewhere in the folder.
DAMAGES: dict[str, tuple[Callable[[Path], str], bool]] = {
    "a byte of responses": (damage_part("responses"), True),
    "a byte of raw": (damage_part("raw"), True),
    "a byte of attempts": (damage_part("attempts"), True),
    "a part is gone": (lose_part, True),
    "an index is gone": (lose_index, True),
    "a byte of an index": (damage_index, True),
    "a byte of a commit": (damage_commit, False),
    "a commit is gone": (lose_commit, False),
    "a byte of the last commit": (damage_the_last_commit, False),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_salvage_saves_the_rest(
    simulator: Simulator, run_dir: Path, tmp_path: Path, here: Here, damage: str
) -> None:
    act, all_there = DAMAGES[damage]
    named = act(run_dir)
    before = content_of(run_dir)
    finished = here("verify", run_dir)
    assert finished.code == 74
    assert named in finished.out
    assert "--salvage" in finished.out
    saved = here("verify", run_dir, "--salvage", tmp_path / "saved")
    assert saved.code == 0
    assert f"evalrunner resume {tmp_path / 'saved'}" in saved.out
    assert content_of(run_dir) == before
    check_salvaged(tmp_path / "saved", here, simulator, 0 if all_there else one_part(tmp_path / "run"))


def one_part(run_dir: Path) -> int:
    """Return how many rows the largest part holds."""
    return max(pq.read_metadata(part).num_rows for part in (run_dir / "responses").glob("*.parquet"))


def check_salvaged(saved: Path, here: Here, simulator: Simulator, most_lost: int) -> None:
    """Check that a salvaged run is sound, holds nothing twice, and that resume sends what is lost and no more."""
    report = verify(RunFolder(saved))
    assert report.findings == []
    kept = by_sample(saved)
    assert len(kept) >= SAMPLES - most_lost
    assert {row["status"] for row in kept.values()} == {"ok"}
    loaded = runner.load(saved)
    assert len(loaded) == len(kept)
    before = sent_by(simulator)
    resumed = here("resume", saved, "--json")
    assert (resumed.code, resumed.json["by_status"]) == (0, {"ok": SAMPLES})
    assert sent_by(simulator) - before == SAMPLES - len(kept)
    after = by_sample(saved)
    assert len(after) == SAMPLES
    for sample_id, row in kept.items():
        assert (after[sample_id]["text"], after[sample_id]["key"]) == (row["text"], row["key"])
        assert (row["target"], row["in_question"]) == (after[sample_id]["target"], after[sample_id]["in_question"])
    assert verify(RunFolder(saved)).findings == []


def test_of_a_part_whose_raw_is_damaged_too_the_rows_are_sent_again(
    simulator: Simulator, run_dir: Path, tmp_path: Path, here: Here
) -> None:
    lost = samples_of(last_part(run_dir, "responses"))
    named = [damage_part("responses")(run_dir), damage_part("raw")(run_dir)]
    finished = here("verify", run_dir, "--json")
    assert (finished.code, sorted(one["file"] for one in finished.json["findings"])) == (74, sorted(named, key=str))
    here("verify", run_dir, "--salvage", tmp_path / "saved")
    assert by_sample(tmp_path / "saved").keys() == {row["id"] for row in questions(SAMPLES)} - lost
    check_salvaged(tmp_path / "saved", here, simulator, len(lost))


def test_a_salvaged_run_keeps_its_totals(run_dir: Path, tmp_path: Path, here: Here, simulator: Simulator) -> None:
    before = orjson.loads((run_dir / "manifest.json").read_bytes())["summary"]
    damage_part("responses")(run_dir)
    here("verify", run_dir, "--salvage", tmp_path / "saved")
    after = here("resume", tmp_path / "saved", "--json").json
    names = ("samples", "by_status", "http_requests", "prompt_tokens", "completion_tokens", "total_tokens", "retries")
    assert {name: after[name] for name in names} == {name: before[name] for name in names}
    assert len(table(tmp_path / "saved", "attempts")) == sent_by(simulator) == SAMPLES
    assert len(table(tmp_path / "saved", "raw")) == SAMPLES


def test_rows_that_were_superseded_stay_so_through_a_salvage(
    simulator: Simulator, config: dict[str, Any], run_dir: Path, tmp_path: Path, here: Here
) -> None:
    rows = questions(SAMPLES)
    rows[-1]["question"] = "changed"
    write_rows(tmp_path / "questions.jsonl", rows)
    assert runner.run(config, run_dir=run_dir).superseded == 1
    damage_part("responses")(run_dir)
    here("verify", run_dir, "--salvage", tmp_path / "saved")
    assert by_sample(tmp_path / "saved")[rows[-1]["id"]]["in_question"] == "changed"
    assert [row["sample_id"] for row in table(tmp_path / "saved", "superseded")] == [rows[-1]["id"]]
    check_salvaged(tmp_path / "saved", here, simulator, 0)


@pytest.mark.parametrize("keep_raw", [True, False])
def test_salvage_of_a_run_with_failed_skipped_and_several_choices(
    simulator: Simulator, config: dict[str, Any], tmp_path: Path, here: Here, keep_raw: Any
) -> None:
    rows = questions(SAMPLES)
    rows[1]["question"] += " [[fault:400]]"
    rows[2]["question"] += " [[fault:500*9]]"
    rows[3]["question"] += " [[fault:fewer_choices]]"
    dataset = write_rows(tmp_path / "questions.jsonl", rows)
    dataset.write_bytes(dataset.read_bytes() + b"[1]\n")
    config["request"]["params"] = {"n": 2}
    config["dataset"]["on_bad_row"] = "skip"
    config["output"]["keep_raw"] = keep_raw
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert summary.by_status == {"failed": 5, "ok": 2 * SAMPLES - 5, "skipped": 1}
    before = {(row["key"], row["choice"]): row for row in table(tmp_path / "run")}
    flip(last_part(tmp_path / "run", "responses"))
    assert here("verify", tmp_path / "run", "--salvage", tmp_path / "saved").code == 0
    assert verify(RunFolder(tmp_path / "saved")).findings == []
    saved = {(row["key"], row["choice"]): row for row in table(tmp_path / "saved")}
    assert all(row["text"] == before[place]["text"] for place, row in saved.items())
    if keep_raw:
        # A skipped row has no body; it is found in the dataset again.
        assert {place for place in before if place not in saved} == {
            place for place, row in before.items() if row["status"] == "skipped"
        }
    else:
        assert {row["status"] for row in saved.values()} == {"failed"}
    sent = sent_by(simulator)
    resumed = here("resume", tmp_path / "saved", "--json")
    assert (resumed.code, resumed.json["by_status"]) == (3, summary.by_status)
    lost = SAMPLES - len({place[0] for place in saved})
    assert sent_by(simulator) - sent == lost + 3  # the row whose failure may pass, and its attempts
    assert {(row["key"], row["choice"]) for row in table(tmp_path / "saved")} == before.keys()


def test_salvage_wants_a_new_folder(run_dir: Path, tmp_path: Path, here: Here) -> None:
    refused = here("verify", run_dir, "--salvage", tmp_path)
    assert refused.code == 2
    assert "is not empty" in one_message(refused)


def test_a_file_that_no_commit_names_is_named(run_dir: Path, here: Here) -> None:
    (run_dir / "responses" / "part-000099.parquet").write_bytes(last_part(run_dir, "responses").read_bytes())
    finished = here("verify", run_dir)
    assert finished.code == 74
    assert "responses/part-000099.parquet: no commit names this file" in finished.out


# ---------------------------------------------------------------- a journal left by SIGKILL


def killed(simulator: Simulator, tmp_path: Path) -> Path:
    """Leave a run killed after a few group commits; return its one journal segment."""
    config = config_for(simulator, tmp_path / "questions.jsonl", limits={"max_in_flight": 2})
    path = write_config(tmp_path / "my.yaml", config)
    environment = {"EVALRUNNER_CRASH_AT": "journal:after-mark:8"}
    finished = evalrunner("run", path, "--run-dir", tmp_path / "run", cwd=tmp_path, env=environment)
    assert finished.code == -9
    (segment,) = (tmp_path / "run" / "_journal").iterdir()
    return segment


def test_damage_in_the_middle_of_a_journal_is_refused_by_name_and_the_sound_rest_saved(
    simulator: Simulator, config: dict[str, Any], tmp_path: Path, here: Here
) -> None:
    segment = killed(simulator, tmp_path)
    answers = [frame for frame in scan_segment(segment) if frame.kind is FrameType.ANSWER]
    assert len(answers) >= 4
    content = bytearray(segment.read_bytes())
    content[(answers[1].offset + answers[1].end) // 2] ^= 0x20
    segment.write_bytes(content)
    before, sent = content_of(tmp_path / "run"), sent_by(simulator)
    for command in (("resume", tmp_path / "run"), ("run", tmp_path / "my.yaml", "--run-dir", tmp_path / "run")):
        refused = here(*command)
        assert refused.code == 74
        assert f"{segment} is damaged at byte {answers[1].offset}" in one_message(refused)
        assert "--salvage" in refused.err
    assert sent_by(simulator) == sent
    assert segment.read_bytes() == content
    found = here("verify", tmp_path / "run")
    assert found.code == 74
    assert "damaged: _journal/000001.journal" in found.out
    assert here("verify", tmp_path / "run", "--salvage", tmp_path / "saved").code == 0
    assert segment.read_bytes() == content
    assert before.keys() <= content_of(tmp_path / "run").keys()
    assert len(by_sample(tmp_path / "saved")) == len(answers) - 1
    check_salvaged(tmp_path / "saved", here, simulator, SAMPLES - len(answers) + 1)
    assert config["limits"]["max_in_flight"] == 8


def test_a_torn_tail_is_repaired_without_a_word_and_counted(
    simulator: Simulator, config: dict[str, Any], tmp_path: Path, here: Here
) -> None:
    segment = killed(simulator, tmp_path)
    answers = Counter(frame.kind for frame in scan_segment(segment))[FrameType.ANSWER]
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[-700:-100])
    found = here("verify", tmp_path / "run", "--json")
    assert (found.code, found.json["sound"], found.json["torn_bytes"] >= 600) == (0, True, True)
    sent = sent_by(simulator)
    resumed = here("resume", tmp_path / "run", "--json")
    assert (resumed.code, resumed.json["ok"]) == (0, SAMPLES)
    assert sent_by(simulator) - sent == SAMPLES - answers
    assert config["name"] == "test"


# ---------------------------------------------------------------- reseal


def test_reseal_makes_the_rows_again_and_sends_nothing(
    simulator: Simulator, config: dict[str, Any], run_dir: Path, tmp_path: Path, here: Here
) -> None:
    rows = questions(SAMPLES)
    rows[4]["answer"] = "corrected"
    rows[5]["question"] += " [[fault:400]]"
    write_rows(tmp_path / "questions.jsonl", rows)
    runner.run(config, run_dir=run_dir)
    before, sent = by_sample(run_dir), sent_by(simulator)
    resealed = here("reseal", run_dir, "--json")
    assert (resealed.code, resealed.json["rows"], resealed.json["after"]) == (
        0,
        SAMPLES,
        {"ok": SAMPLES - 1, "failed": 1},
    )
    assert by_sample(run_dir) == before
    assert "before:" in here("reseal", run_dir).out
    assert verify(RunFolder(run_dir)).findings == []
    again = here("resume", run_dir, "--json")
    assert (again.code, again.json["failed"], sent_by(simulator)) == (3, 1, sent)


def test_reseal_without_bodies_leaves_rows_as_they_are(
    simulator: Simulator, config: dict[str, Any], tmp_path: Path, here: Here
) -> None:
    config["output"]["keep_raw"] = False
    runner.run(config, run_dir=tmp_path / "run")
    before = by_sample(tmp_path / "run")
    assert table(tmp_path / "run", "raw") == []
    assert here("reseal", tmp_path / "run").code == 0
    assert by_sample(tmp_path / "run") == before
    resumed = here("resume", tmp_path / "run")
    assert (resumed.code, resumed.err, sent_by(simulator)) == (0, "", SAMPLES)


# ---------------------------------------------------------------- schema


def test_schema_prints_what_the_files_hold(run_dir: Path, here: Here) -> None:
    for name in ("responses", "attempts", "raw"):
        described = here("schema", name, "--json").json
        assert described["table"] == name
        held = pq.read_schema(last_part(run_dir, name))
        # What Arrow calls an item, Parquet calls an element.
        columns = {field.name: f"{field.type}{'' if field.nullable else ' not null'}" for field in held}
        own = {name: kind.replace("element", "item") for name, kind in columns.items() if not name.startswith("in_")}
        assert described["columns"] == own
        assert all(column in here("schema", name).out for column in own)
    described = json.loads(here("schema", "config").out)
    assert described["$schema"].endswith("draft/2020-12/schema")
    assert set(described["properties"]) >= {"name", "dataset", "model", "request", "limits", "retry", "output"}
