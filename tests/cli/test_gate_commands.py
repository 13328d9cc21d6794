"""Gates where people and pipelines meet them: exit 4, the lines of run, status, score and compare, JUnit XML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import orjson
import pytest

from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest, write_manifest
from tests.support.commands import one_message
from tests.support.odd_server import answering, completion
from tests.support.runs import questions, write_config, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commands import Finished
    from tests.support.odd_server import Call, Reply

    Here = Callable[..., Finished]

SAMPLES = 30
GATES = {"baseline": "last_good", "scores": {"exact_match": {"min": 0.5, "max_drop": 0.02}}}
EVIL = "</failure>\x1b[31m\u202e"


@pytest.fixture
def carried_out(tmp_path: Path, here: Here) -> Callable[..., Finished]:
    """Run a config in `NAME.yaml` against a server that answers the first questions wrongly."""
    rows = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))

    def carry_out(wrong: int, *arguments: object, name: str = "demo", **sections: Any) -> Finished:
        def reply(call: Call) -> Reply:
            number = int(call.question.split()[2])
            return completion(f"wrong {EVIL}" if number < wrong else f"{number + 1}")

        with answering(reply) as url:
            config: dict[str, Any] = {
                "name": "demo",
                "dataset": {"path": str(rows), "id": "id", "target": "answer"},
                "model": {"base_url": url, "name": "m"},
                "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
                "scorers": [{"name": "exact_match"}],
                "gates": GATES,
                "output": {"dir": str(tmp_path / "outputs")},
            }
            return here("run", write_config(tmp_path / f"{name}.yaml", {**config, **sections}), *arguments)

    return carry_out


def suites_of(path: Path) -> ET.Element:
    return ET.fromstring(path.read_bytes())  # noqa: S314 - our own


def endings(suite: ET.Element) -> dict[str, str]:
    return {case.attrib["name"]: next((one.tag for one in case), "passed") for case in suite.iter("testcase")}


def test_a_missed_gate_is_exit_4_and_told_everywhere(carried_out: Any, here: Here, tmp_path: Path) -> None:
    first = carried_out(3, "--run-id", "night1", "--junit", "ci/results.xml")
    assert first.code == 0
    assert "gate     scores.exact_match.min passed: 0.9, at least 0.5" in first.out
    assert "scores.exact_match.max_drop passed: no value, at most 0.02 (no good run yet to compare with)" in first.out
    assert "max_failed_fraction" not in first.out
    assert set(endings(suites_of(tmp_path / "ci" / "results.xml")).values()) == {"passed", "system-out"}
    second = carried_out(20, "--run-id", "night2", "--junit", "ci/results.xml", "--json")
    assert second.code == 4
    assert second.json["exit_code"] == 4
    (suite,) = suites_of(tmp_path / "ci" / "results.xml")
    assert suite.attrib["name"] == "demo"
    assert endings(suite) == {
        "complete": "passed",
        "max_failed_fraction": "system-out",
        "scores.exact_match.min": "failure",
        "scores.exact_match.max_drop": "failure",
    }
    properties = {one.attrib["name"]: one.attrib["value"] for one in suite.iter("property")}
    assert properties == {"run_id": "night2", "run_dir": second.json["run_dir"], "exit_code": "4"}
    status = here("status", second.json["run_dir"])
    assert "gate                      scores.exact_match.min MISSED: 0.3333, at least 0.5" in status.out
    assert "against night1" in status.out
    assert here("status", second.json["run_dir"], "--json").json["gates"] == second.json["gates"]


def test_scoring_again_judges_again(carried_out: Any, here: Here, tmp_path: Path) -> None:
    assert carried_out(3, "--run-id", "night1").code == 0
    assert carried_out(20, "--run-id", "night2").code == 4
    run_dir = tmp_path / "outputs" / "demo" / "night2"
    again = here("score", run_dir)
    assert (again.code, "exact_match.max_drop MISSED" in again.out) == (4, True)
    lenient = here("score", run_dir, "--set", "gates.scores={exact_match: {min: 0.3}}", "--json")
    assert (lenient.code, [gate["passed"] for gate in lenient.json["gates"]]) == (0, [True, True])
    manifest = orjson.loads((run_dir / "manifest.json").read_bytes())
    assert (manifest["summary"]["exit_code"], manifest["summary"]["gates"]) == (0, lenient.json["gates"])
    assert manifest["config"]["gates"]["scores"] == {"exact_match": {"min": 0.3, "max_drop": None}}
    # Judged so, it is the last good run of those that come.
    third = carried_out(20, "--run-id", "night3", "--set", "gates.scores.exact_match.min=0.3", "--json")
    assert (third.code, third.json["gates"][2]["baseline"]) == (0, "night2")
    assert here("reseal", tmp_path / "outputs" / "demo" / "night3").code == 0
    other = here("score", run_dir, "--set", "scorers=[{name: includes}]")
    assert other.code == 2
    assert 'there is no score "exact_match"' in one_message(other)


def test_a_run_that_is_not_complete_keeps_its_exit_code(carried_out: Any, here: Here, tmp_path: Path) -> None:
    carried_out(20, "--run-id", "night1")
    folder = RunFolder(tmp_path / "outputs" / "demo" / "night1")
    manifest = read_manifest(folder)
    manifest.status, manifest.summary["exit_code"] = "stopped", 5
    write_manifest(folder, manifest)
    again = here("score", folder.root, "--json")
    assert (again.code, again.json["gates"][1]["passed"]) == (0, None)
    assert read_manifest(folder).summary["exit_code"] == 5


def test_compare_judges_the_run_against_the_base(carried_out: Any, here: Here, tmp_path: Path) -> None:
    carried_out(3, "--run-id", "night1")
    carried_out(20, "--run-id", "night2", "--set", "gates.scores={}", "--set", "gates.baseline=null")
    night1, night2 = (tmp_path / "outputs" / "demo" / name for name in ("night1", "night2"))
    free = here("compare", night1, night2, "--junit", "free.xml", "--json")
    assert (free.code, free.json["verdict"], free.json["gates"]) == (0, "worse", [])
    assert endings(suites_of(tmp_path / "free.xml")) == {"scores.exact_match": "failure"}
    carried_out(20, "--run-id", "night3")
    night3 = night2.with_name("night3")
    gated = here("compare", night1, night3, "--junit", "gated.xml")
    assert gated.code == 4
    assert "gate  scores.exact_match.max_drop MISSED: 0.5667, at most 0.02" in gated.out
    assert endings(suites_of(tmp_path / "gated.xml")) == {
        "scores.exact_match.min": "failure",
        "scores.exact_match.max_drop": "failure",
    }
    # Against a run that was no better, the drop is none; the least mean is missed all the same.
    alike = here("compare", night2, night3, "--json")
    assert (alike.code, [gate["passed"] for gate in alike.json["gates"]]) == (4, [False, True])
    assert here("compare", night3, night1).code == 0


def test_what_keeps_a_run_from_beginning_is_in_the_file(carried_out: Any, here: Here, tmp_path: Path) -> None:
    (tmp_path / "results.xml").write_text("<stale/>")
    refused = carried_out(0, "--junit", "results.xml", dataset={"path": "absent.jsonl"})
    assert refused.code == 2
    (suite,) = suites_of(tmp_path / "results.xml")
    (error,) = suite.iter("error")
    assert (suite.attrib["name"], suite.attrib["errors"]) == ("demo", "1")
    assert "absent.jsonl" in error.attrib["message"]
    unread = here("run", "nothing.yaml", "--junit", "results.xml")
    assert unread.code == 2
    assert endings(suites_of(tmp_path / "results.xml")) == {"complete": "error"}
    nowhere = here("compare", "nothing", "nowhere", "--junit", "results.xml")
    assert nowhere.code == 2
    assert suites_of(tmp_path / "results.xml")[0].attrib["name"] == "compare nowhere"


def test_every_config_of_a_matrix_is_a_suite(carried_out: Any, tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", questions(5))
    matrix = {"datasets": [{"path": "a.jsonl"}, {"path": "absent.jsonl"}]}
    finished = carried_out(
        0, "--junit", "results.xml", matrix=matrix, dataset={"id": "id", "target": "answer"}, name="grid"
    )
    assert finished.code == 2
    good, bad = suites_of(tmp_path / "results.xml")
    assert (good.attrib["name"], good.attrib["errors"]) == ("demo-a", "0")
    assert endings(bad) == {"complete": "error"}
    assert suites_of(tmp_path / "results.xml").attrib["errors"] == "1"


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("folder",), 73, "is a folder"),
        (("file/results.xml",), 73, "file"),
        (("results.xml", "--dry-run"), 2, "exclude each other"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_anything_is_sent(
    arguments: tuple[str, ...], code: int, named: str, carried_out: Any, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    finished = carried_out(0, "--junit", *arguments)
    assert finished.code == code
    assert named in one_message(finished)
    assert not (tmp_path / "outputs").exists()


def test_gates_that_cannot_be_judged_are_told_with_their_line(carried_out: Any) -> None:
    gates = {"baseline": "nowhere", "scores": {"exact_match": {"max_drop": 0.1}}}
    finished = carried_out(0, gates=gates)
    assert finished.code == 2
    message = one_message(finished)
    assert "demo.yaml:" in message
    assert "gates.baseline: " in message
    assert "this is not a run folder" in message
