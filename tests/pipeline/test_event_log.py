from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from runner.errors import CannotCreateError
from runner.pipeline.eventlog import EventLog
from runner.redaction import Redactor

KEY = "sk-canary-77aa"


def lines(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_events_are_json_lines_with_their_time_and_appended(tmp_path: Path) -> None:
    path = tmp_path / "run.log.jsonl"
    for session in (1, 2):
        with EventLog(path, Redactor(), None) as log:
            log.write("session started", {"session": session, "path": Path("/x")})
    events = lines(path)
    assert [(event["event"], event["session"], event["path"]) for event in events] == [
        ("session started", 1, "/x"),
        ("session started", 2, "/x"),
    ]
    assert datetime.fromisoformat(str(events[0]["at"])).tzinfo is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_are_redacted_in_file_and_debug_output(tmp_path: Path) -> None:
    shown: list[str] = []
    with EventLog(tmp_path / "log", Redactor([KEY]), shown.append) as log:
        log.write("attempt failed", {"error": f"Incorrect key {KEY}", "nested": {"again": [KEY]}})
    text = (tmp_path / "log").read_text() + "".join(shown)
    assert KEY not in text
    assert text.count("[redacted]") == 4
    assert len(shown) == 1


def test_news_of_failures_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.pipeline.eventlog._MOST_EVENTS", 5)
    with EventLog(tmp_path / "log", Redactor(), None) as log:
        for number in range(9):
            log.write("attempt failed", {"n": number})
    assert len(lines(tmp_path / "log")) == 5
    shown: list[str] = []
    with EventLog(tmp_path / "debugged", Redactor(), shown.append) as log:
        for number in range(9):
            log.write("attempt failed", {"n": number})
    assert len(lines(tmp_path / "debugged")) == len(shown) == 9


@pytest.mark.parametrize("value", ["broken \ud83d", "\udcff.jsonl:3", float("nan"), b"\xff", object()])
def test_an_event_never_costs_the_run(tmp_path: Path, value: object) -> None:
    with EventLog(tmp_path / "log", Redactor(), None) as log:
        log.write("odd", {"value": value})
        log.write("next", {})
    assert lines(tmp_path / "log")[-1]["event"] == "next"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_costs_the_event_and_not_the_run() -> None:
    with EventLog(Path("/dev/full"), Redactor(), None) as log:
        log.write("lost", {})
        log.write("lost", {})


def test_a_log_that_cannot_be_made_is_a_creation_error(tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError, match="cannot write the log"):
        EventLog(tmp_path / "no" / "log", Redactor(), None)
