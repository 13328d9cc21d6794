"""Nights whose runs are stood in for by a script: what becomes of a night, whatever its runs do."""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runner.errors import BusyError, ConfigError, UsageError, gravest
from runner.folder.layout import RunFolder
from runner.folder.lock import hold_lock
from runner.nightly import NightOptions, Ways, load_suite, run_night
from runner.nightly.child import Patience
from runner.nightly.outcome import event_of, state_of
from runner.nightly.record import read_record
from runner.nightly.retention import remove_runs, surplus
from runner.nightly.suite import suite_name
from runner.nightly.suitelock import hold_suite

if TYPE_CHECKING:
    from runner.nightly import NightRecord

NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
# Stands in for `evalrunner run CONFIG --run-id ID --json`: what it does is said by a file beside the config's dataset.
SCRIPT = """
import json, os, pathlib, signal, sys, time
config = json.loads(pathlib.Path(sys.argv[2]).read_bytes())
folder = pathlib.Path(config["dataset"]["path"]).parent
with (folder / "calls").open("a") as calls:
    calls.write(config["name"] + "\\n")
plan = json.loads((folder / "plan.json").read_bytes()).get(config["name"], {})
if plan.get("says"):
    sys.stderr.write("words for the log\\n")
if plan.get("kill"):
    os.kill(os.getpid(), plan["kill"])
if plan.get("stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if plan.get("hangs"):
    while True:
        signal.pause()
print(json.dumps({"status": "complete", "samples": 3, "ok": 3, "failed": 0} | plan.get("summary", {})))
sys.exit(plan.get("code", 0))
"""


class Nights:
    """A suite in a folder, and what its runs do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "script.py"
        self.script.write_text(SCRIPT, encoding="utf-8")
        self.plan()

    def plan(self, **plans: dict[str, Any]) -> None:
        (self.folder / "plan.json").write_text(json.dumps(plans), encoding="utf-8")

    def config(self, name: str, **sections: Any) -> Path:
        path = self.folder / f"{name}.yaml"
        values = {
            "name": name,
            "dataset": {"path": "q.jsonl"},
            "model": {"embedded": "smollm2-135m"},
            "output": {"dir": "outputs"},
            **sections,
        }
        path.write_text(json.dumps(values), encoding="utf-8")
        return path

    def night(self, *configs: Path, now: datetime = NOW, wanted: date | None = None) -> NightRecord:
        ways = Ways(
            now=lambda: now,
            command=(sys.executable, str(self.script)),
            patience=Patience(drain_s=0.2, seal_s=0.2, kill_s=5.0),
            reports=False,
        )
        return run_night(load_suite(configs), NightOptions(wanted), ways)

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").split() if path.exists() else []


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def codes(record: NightRecord) -> dict[str, int | None]:
    return {one.name: one.exit_code for one in record.configs}


def test_a_crash_of_one_config_touches_none_of_the_others(nights: Nights) -> None:
    nights.plan(b={"kill": signal.SIGSEGV}, c={"kill": signal.SIGKILL, "says": True}, d={"code": 3})
    record = nights.night(*(nights.config(name) for name in "abcde"))
    assert codes(record) == {"a": 0, "b": 1, "c": 1, "d": 3, "e": 0}
    assert record.exit_code == 1
    assert [one.message for one in record.configs[1:3]] == [
        "its process was ended by SIGSEGV; the next call goes on",
        "its process was ended by SIGKILL; the next call goes on",
    ]
    assert Path(record.configs[2].log).read_text(encoding="utf-8") == "words for the log\n"
    assert record.verdict.startswith("3 of 5 bad: b: internal error")


def test_what_is_finished_is_not_run_again_and_the_rest_is(nights: Nights) -> None:
    configs = [nights.config(name) for name in "abc"]
    nights.plan(a={"code": 4}, b={"code": 6})
    assert codes(nights.night(*configs)) == {"a": 4, "b": 6, "c": 0}
    nights.plan()
    again = nights.night(*configs, now=NOW + timedelta(hours=1))
    assert (codes(again), again.exit_code) == ({"a": 4, "b": 0, "c": 0}, 4)
    assert nights.calls == ["a", "b", "c", "b"]
    nights.plan(b={"code": 0})
    nights.night(*configs[1:])
    assert nights.calls == ["a", "b", "c", "b", "b", "c"], "another set of configs is another suite"


def test_a_finished_night_is_left_alone(nights: Nights) -> None:
    config = nights.config("a")
    first = nights.night(config)
    assert nights.night(config, now=NOW + timedelta(hours=2)).to_json() == first.to_json()
    assert nights.calls == ["a"]


def test_a_night_goes_on_after_midnight_until_its_end_and_then_another_begins(nights: Nights) -> None:
    config = nights.config("a", nightly={"deadline": "06:00"})
    nights.plan(a={"code": 6})
    late = NOW.replace(hour=23)
    assert nights.night(config, now=late).run_id == "nightly-20261127"
    assert nights.night(config, now=late + timedelta(hours=3)).run_id == "nightly-20261127"
    assert nights.night(config, now=late + timedelta(hours=8)).run_id == "nightly-20261128"


def test_what_is_left_of_an_earlier_night_is_done_by_its_date(nights: Nights) -> None:
    config = nights.config("a")
    nights.plan(a={"code": 5})
    nights.night(config)
    nights.plan()
    next_day = NOW + timedelta(days=1)
    assert nights.night(config, now=next_day).run_id == "nightly-20261128"
    record = nights.night(config, now=next_day, wanted=date(2026, 11, 27))
    assert (record.run_id, record.exit_code) == ("nightly-20261127", 0)
    with pytest.raises(UsageError, match="no night of that date"):
        nights.night(config, now=next_day, wanted=date(2026, 11, 26))


def test_a_hung_run_is_ended_at_the_deadline_and_the_rest_is_not_started(nights: Nights) -> None:
    nights.plan(a={"hangs": True, "stubborn": True})
    configs = [nights.config(name, nightly={"deadline": "02:00"}) for name in "ab"]
    clock = iter([NOW - timedelta(seconds=1)] * 4)
    ways = Ways(
        now=lambda: next(clock, NOW),
        command=(sys.executable, str(nights.script)),
        patience=Patience(drain_s=0.2, seal_s=0.2, kill_s=5.0),
        reports=False,
    )
    record = run_night(load_suite(configs), NightOptions(), ways)
    assert (codes(record), record.exit_code) == ({"a": 6, "b": 6}, 6)
    assert record.configs[0].message == "not complete when the night was over"
    assert record.configs[1].message == "not started: the night was over"


def test_an_interrupt_ends_the_night_and_it_goes_on(nights: Nights) -> None:
    nights.plan(a={"hangs": True})
    configs = [nights.config(name) for name in "ab"]
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if text == "a: running":
            os.kill(os.getpid(), signal.SIGTERM)

    ways = Ways(
        now=lambda: NOW,
        command=(sys.executable, str(nights.script)),
        patience=Patience(drain_s=5.0, seal_s=5.0, kill_s=5.0),
        reports=False,
    )
    record = run_night(load_suite(configs), NightOptions(say=say), ways)
    assert (codes(record), record.exit_code) == ({"a": 143, "b": 143}, 143)
    nights.plan()
    assert nights.night(*configs).exit_code == 0


def test_a_second_night_is_told_who_holds_the_suite(nights: Nights) -> None:
    config = nights.config("a")
    nights.night(config)
    with hold_suite(load_suite([config]).folder, NOW), pytest.raises(BusyError) as caught:
        nights.night(config, now=NOW + timedelta(days=1))
    assert f"process {os.getpid()}" in caught.value.message
    assert "since 2026-11-27T02:00:00+00:00" in caught.value.message
    assert caught.value.exit_code == 75


def test_missed_and_cut_off_nights_are_named(nights: Nights) -> None:
    config = nights.config("a")
    record = nights.night(config)
    path = load_suite([config]).folder.record(record.run_id)
    path.write_text(json.dumps(record.to_json() | {"ended_at": None}), encoding="utf-8")
    later = nights.night(config, now=NOW + timedelta(days=3))
    assert later.missed == ["2026-11-28", "2026-11-29"]
    assert later.cut_off == ["nightly-20261127"]


def test_a_record_that_cannot_be_read_is_no_record(nights: Nights) -> None:
    config = nights.config("a")
    record = nights.night(config)
    folder = load_suite([config]).folder
    for text in ("", "[]", "{}", '{"format": 99}', '{"format": 1, "configs": [3]}'):
        folder.record(record.run_id).write_text(text, encoding="utf-8")
        assert read_record(folder, record.run_id) is None
    assert nights.night(config).exit_code == 0


def test_a_page_shows_what_others_wrote_as_text(nights: Nights) -> None:
    hostile = "<script>alert(1)</script>\x1b[31m"
    nights.plan(a={"code": 3, "summary": {"warnings": [hostile], "scores": {"<i>": {"mean": 0.5}}}})
    config = nights.config("a")
    nights.night(config)
    page = load_suite([config]).folder.page.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<i>" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page
    junit = load_suite([config]).folder.junit.read_text(encoding="utf-8")
    assert '<testsuite name="a" tests="1" failures="0" errors="0"' in junit
    assert "\x1b" not in junit


def test_a_place_is_told_once_of_the_gravest_thing_that_it_wants(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOK_OF_A_TEST", raising=False)
    regressions = [{"webhook_env": "HOOK_OF_A_TEST", "on": ["regression"]}]
    configs = [nights.config("a", notify=regressions), nights.config("b", notify=regressions)]
    nights.plan(a={"code": 4}, b={"code": 6})
    record = nights.night(*configs)
    assert [(one["event"], one["ok"]) for one in record.deliveries] == [("regression", False)]
    assert "HOOK_OF_A_TEST is not set" in record.deliveries[0]["error"]
    assert record.exit_code == 6
    nights.plan()
    again = nights.night(*configs, now=NOW + timedelta(hours=1))
    assert (codes(again), len(again.deliveries)) == ({"a": 4, "b": 0}, 1), "it was told before"
    assert nights.night(*configs, now=NOW + timedelta(days=1)).deliveries == []


@pytest.mark.parametrize(
    ("exit_code", "before", "event"),
    [
        (0, None, "success"),
        (0, "good", "success"),
        (0, "regression", "recovery"),
        (0, "failure", "recovery"),
        (4, "good", "regression"),
        (4, "regression", "regression"),
        (3, "good", "failure"),
        (6, None, "failure"),
    ],
)
def test_what_there_is_to_tell_follows_from_what_was_before(exit_code: int, before: str | None, event: str) -> None:
    assert event_of(state_of(exit_code), before) == event


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((), 0),
        ((0, 4), 4),
        ((4, 3), 3),
        ((3, 6), 6),
        ((6, 5), 5),
        ((5, 130), 130),
        ((143, 74), 74),
        ((73, 1), 1),
        ((0, 99), 1),
    ],
)
def test_the_gravest_exit_code_counts(codes: tuple[int, ...], expected: int) -> None:
    assert gravest(codes) == expected


def test_only_nights_beyond_the_newest_are_too_many() -> None:
    names = ["nightly-20261103", "mine", "nightly-20261101", "nightly-20261102", "nightly-2026110x"]
    assert surplus(names, 1, {"nightly-20261101"}) == ["nightly-20261102"]
    assert surplus(names, 3, ()) == []


def test_a_removal_that_was_cut_off_is_finished_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "_removing-nightly-20261101" / "responses").mkdir(parents=True)
    for day in (2, 3):
        (tmp_path / f"nightly-2026110{day}").mkdir()
    gone, troubles = remove_runs(tmp_path, 1, ())
    assert (gone, troubles) == ([str(tmp_path / "nightly-20261102")], [])
    assert [path.name for path in tmp_path.iterdir()] == ["nightly-20261103"]


def test_the_name_of_a_suite_is_that_of_its_set() -> None:
    assert suite_name(["b", "a"]) == suite_name(["a", "b"])
    assert suite_name(["a"]) == "a"
    assert suite_name(["b", "a", "c"]).startswith("a+2-")


def test_configs_that_cannot_be_one_suite_are_refused_with_their_places(nights: Nights) -> None:
    first = nights.config("a", nightly={"time_zone": "UTC"})
    second = nights.config("b", nightly={"time_zone": "Europe/Zurich"}, dataset={"path": "-"})
    third = nights.folder / "c.yaml"
    third.write_bytes(first.read_bytes())
    with pytest.raises(ConfigError) as caught:
        load_suite([first, second, third])
    told = [problem.message for problem in caught.value.problems]
    assert sum("another config of the suite" in one for one in told) == 2
    assert "nightly.time_zone: Europe/Zurich, and a has UTC" in told
    assert "dataset.path: a night has no standard input" in told


def test_a_run_dir_that_another_process_holds_is_waited_for_within_bounds(nights: Nights) -> None:
    config = nights.config("a")
    suite = load_suite([config])
    run_dir = suite.members[0].runs / "nightly-20261127"
    run_dir.mkdir(parents=True)
    command = (sys.executable, str(nights.script))
    ways = Ways(command=command, reports=False, now=lambda: NOW, server_wait_s=0.0)
    with hold_lock(RunFolder(run_dir)):
        assert run_night(suite, NightOptions(), ways).exit_code == 0
