"""Shows that a process killed at any named instant leaves a folder from which nothing acknowledged is missing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import runner
from runner.crash_points import CRASH_POINTS, ArmedPoint, armed_point, crash_point
from runner.journal import list_segments, scan_segment

SOURCE = Path(runner.__file__).parent
FAMILIES = {"folder", "atomic", "publish", "remove", "repair", "journal"}
POINTS = [point for point in CRASH_POINTS if point.partition(":")[0] in FAMILIES]

# Forks a process for each session, which costs less than a new interpreter. A session writes down what it was
# promised as soon as it was; its exit code says whether what it found was whole.
SESSIONS = """
import json, os, sys
from pathlib import Path
from runner import crash_points, durable
from runner.journal import FrameType, SegmentHeader, SegmentWriter, list_segments, repair_tail, scan_segment

def work(run, session):
    promises = os.open(f"{run}.promises", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    journal, staging = run / "_journal", run / "_tmp"
    durable.create_folder(journal)
    durable.create_folder(staging)
    for leftover in staging.iterdir():
        durable.remove(leftover)
    segments = list_segments(journal).paths
    for path in segments:
        scan = scan_segment(path)
        list(scan)
        repair_tail(path, scan.end.good_bytes)
    manifest = run / "manifest.json"
    assert not manifest.exists() or manifest.read_bytes() in {bytes([n]) * 9000 for n in range(9)}
    assert all(part.read_bytes() == b"part " * 1000 for part in run.glob("part-*"))

    writer = SegmentWriter.open(journal, SegmentHeader("run", len(segments) + 1, ""))
    for group in range(3):
        for n in range(4):
            writer.append(FrameType.ANSWER, f"{session} {group} {n}".encode())
        writer.commit()
        os.write(promises, b"".join(b"answer %d %d %d\\n" % (session, group, n) for n in range(4)))
    writer.close()
    durable.write_atomically(manifest, bytes([session]) * 9000, staging=staging)
    os.write(promises, b"manifest %d\\n" % session)
    part = staging / "part"
    os.close(durable.create_file(part))
    part.write_bytes(b"part " * 1000)
    durable.sync_file(part)
    durable.publish(part, run / f"part-{session}")
    os.write(promises, b"part %d\\n" % session)
    durable.remove(run / "none")

for number, point in enumerate(sys.argv[2:]):
    ends = []
    for session, setting in enumerate([point + ":2", point, ""], 1):
        child = os.fork()
        if child == 0:
            crash_points._armed = crash_points.armed_point(setting)
            try:
                work(Path(sys.argv[1]) / str(number), session)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(ends))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[int]]]:
    """Kill sessions at every point; return where their folders are and how each session ended, by point."""
    folder = tmp_path_factory.mktemp("outputs")
    command = [sys.executable, "-c", SESSIONS, str(folder), *POINTS]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert finished.stderr == ""
    return folder, dict(zip(POINTS, map(json.loads, finished.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_the_next_session_continues(killed: tuple[Path, dict[str, list[int]]], point: str) -> None:
    folder, ends = killed
    assert set(ends[point]) == {0, -signal.SIGKILL}
    assert ends[point][-1] == 0

    run = folder / str(POINTS.index(point))
    promises = (folder / f"{run.name}.promises").read_text().splitlines()
    paths = list_segments(run / "_journal").paths
    found = [frame.payload.decode() for path in paths for frame in scan_segment(path)]
    assert {line.removeprefix("answer ") for line in promises if line.startswith("answer ")} <= set(found)
    assert len(found) == len(set(found))
    assert {path.name for path in run.glob("part-*")} >= {
        line.replace(" ", "-") for line in promises if line.startswith("part ")
    }
    assert (run / "manifest.json").read_bytes() == b"\3" * 9000
    assert list((run / "_tmp").iterdir()) == []


def test_every_point_stands_in_the_source_and_every_point_of_the_source_is_listed() -> None:
    passed = {
        name
        for path in SOURCE.rglob("*.py")
        if path.name != "crash_points.py"
        for name in re.findall(r"\bcrash_point\(\s*\"([^\"]+)\"", path.read_text(encoding="utf-8"))
    }
    assert passed == set(CRASH_POINTS)
    assert len(CRASH_POINTS) == len(set(CRASH_POINTS))


@pytest.mark.parametrize(
    ("setting", "armed"),
    [
        ("", None),
        ("journal:after-sync", ArmedPoint("journal:after-sync", 1)),
        ("journal:after-sync:1", ArmedPoint("journal:after-sync", 1)),
        ("journal:after-sync:12", ArmedPoint("journal:after-sync", 12)),
    ],
)
def test_a_setting_names_a_point_and_a_passing(setting: str, armed: ArmedPoint | None) -> None:
    assert armed_point(setting) == armed


@pytest.mark.parametrize("setting", ["journal", "journal:after-lunch", "journal:after-sync:0", ":3", "3"])
def test_a_misspelt_setting_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="no such crash point; known are"):
        armed_point(setting)


def test_the_setting_is_read_from_the_environment() -> None:
    act = "from runner.crash_points import crash_point as at; at('remove:after'); at('remove:before'); print('alive')"
    for setting, end in [("remove:before", -signal.SIGKILL), ("remove:before:2", 0), ("", 0)]:
        environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent), "EVALRUNNER_CRASH_AT": setting}
        finished = subprocess.run([sys.executable, "-c", act], env=environment, stdout=subprocess.PIPE, check=False)
        assert (finished.returncode, finished.stdout) == (end, b"" if end else b"alive\n")


def test_without_a_setting_a_point_lets_the_process_live() -> None:
    assert "EVALRUNNER_CRASH_AT" not in os.environ
    for point in CRASH_POINTS:
        crash_point(point)
