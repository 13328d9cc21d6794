"""What a night makes of finished runs: compared, reported, shown; and that nothing that fails there matters."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

import runner
from runner.nightly import NightOptions, Ways, load_suite, run_night
from runner.nightly.child import Patience
from runner.nightly.history import course_of, dates_of, marks_of
from runner.nightly.record import ConfigRecord, NightRecord
from runner.nightly.retention import remove_runs
from runner.nightly.verdict import verdict_of
from tests.nightly.test_month import ECHO
from tests.support.browser import browser, watched
from tests.support.runs import config_for, questions, write_config, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.browser import Watched

NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
HOSTILE = "<script>document.title = 'run'</script><img src=x onerror=alert(1)>\u202e"
# Stands in for every command that a night starts; STEPS says what becomes of those that review a run.
SCRIPT = """
import json, os, signal, sys
how = json.loads(os.environ["STEPS"]).get(sys.argv[1])
if sys.argv[1] == "run":
    print(json.dumps({"status": "complete", "samples": 1, "failed": 0, "scores": {"exact_match": {"mean": 0.5}}}))
elif how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
elif how in ("hangs", "signalled"):
    if how == "signalled":
        os.kill(os.getppid(), signal.SIGTERM)
    while True:
        signal.pause()
elif how == "refused":
    print(json.dumps({"error": {"message": "no run is there"}}))
    sys.exit(2)
else:
    print({"mute": "", "other": "{}"}[how])
"""


def stood_in_night(folder: Path, config: Path, review_s: float) -> NightRecord:
    script = folder / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    ways = Ways(
        now=lambda: NOW,
        command=(sys.executable, str(script)),
        patience=Patience(drain_s=5.0, seal_s=5.0, kill_s=5.0),
        review_s=review_s,
    )
    return run_night(load_suite([config]), NightOptions(), ways)


def stood_in_config(folder: Path) -> Path:
    values = {
        "name": "a",
        "dataset": {"path": "q.jsonl"},
        "model": {"embedded": "smollm2-135m"},
        "output": {"dir": "outputs"},
        "gates": {"baseline": "outputs/a/first"},
    }
    return write_config(folder / "a.yaml", values)


@pytest.mark.parametrize(
    ("how", "note"),
    [
        ("killed", "its process was ended by SIGKILL"),
        ("hangs", "not done in time"),
        ("signalled", "ended by a signal to the night"),
        ("refused", "no run is there"),
        ("mute", "it printed no result (exit 0)"),
    ],
)
def test_a_comparison_or_report_that_fails_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, note: str
) -> None:
    monkeypatch.setenv("STEPS", json.dumps({"compare": how, "report": how}))
    record = stood_in_night(tmp_path, stood_in_config(tmp_path), 0.0 if how == "hangs" else 60.0)
    (one,) = record.configs
    assert one.notes == [f"not compared: {note}", f"no report: {note}"]
    assert (record.exit_code, record.verdict, one.comparison, one.report) == (0, "good", None, None)


def test_a_comparison_that_is_none_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS", json.dumps({"compare": "other", "report": "other"}))
    (one,) = stood_in_night(tmp_path, stood_in_config(tmp_path), 60.0).configs
    assert one.notes == ["not compared: what the command compare printed is no comparison"]


def test_a_night_whose_page_could_not_be_written_goes_on_once_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPS", json.dumps({"compare": "other", "report": "other"}))
    config = stood_in_config(tmp_path)
    page = load_suite([config]).folder.page
    page.mkdir(parents=True)
    assert stood_in_night(tmp_path, config, 60.0).exit_code in {73, 74}
    page.rmdir()
    assert stood_in_night(tmp_path, config, 60.0).exit_code == 0
    assert page.is_file()


class Suite:
    """A config that asks a real server, whose answers are good or not as a night says."""

    def __init__(self, simulator: Simulator, folder: Path) -> None:
        rows = [row | {"answer": row["question"]} for row in questions(30)]
        rows[0] |= {"question": HOSTILE, "answer": HOSTILE}
        dataset = write_rows(folder / "questions.jsonl", rows)
        self.simulator = simulator
        config = config_for(simulator, dataset, name="arith", scorers=[{"name": "exact_match"}, {"name": "includes"}])
        self.config = write_config(folder / "arith.yaml", config)

    def night(self, day: int, *, good: bool, reports: bool = False) -> NightRecord:
        self.simulator.change(ECHO if good else QUICK)
        now = NOW + timedelta(days=day)
        return run_night(load_suite([self.config]), NightOptions(), Ways(now=lambda: now, reports=reports))


def test_a_night_without_gates_is_compared_and_its_page_shows_it_and_runs_nothing(
    simulator: Simulator, tmp_path: Path
) -> None:
    suite = Suite(simulator, tmp_path)
    assert suite.night(0, good=True).verdict == "good"
    record = suite.night(1, good=False, reports=True)
    assert (record.exit_code, record.verdict) == (0, "good; its scores are worse than before")
    (one,) = record.configs
    assert one.comparison is not None
    assert (one.comparison["base"], one.comparison["verdict"]) == ("nightly-20261127", "worse")
    assert one.comparison["scores"]["exact_match"]["difference"] == -1.0
    assert (one.comparison["differs"], len(one.comparison["flips"])) == (60, 10)
    assert HOSTILE in [flip["base_text"] for flip in one.comparison["flips"]]
    assert (one.notes, one.report) == ([], f"{one.run_dir}/report.html")
    page = load_suite([suite.config]).folder.page
    with browser() as chromium:
        for theme in ("light", "dark"):
            with watched(chromium, page, ready="html", color_scheme=theme) as seen:
                assert_page(seen, page)


def assert_page(seen: Watched, page: Path) -> None:
    view = seen.page
    assert view.title() == f"Good: {page.parent.name}, 2026-11-28"
    assert view.locator(".mark.good").count() == 2 + 1, "two nights, and the key"
    assert view.locator(".course circle").count() == 4
    assert view.locator(".worse-text").count() == 2
    assert view.locator("script, img").count() == 0
    assert "onerror=alert" in (view.locator(".flips").first.text_content() or "")
    links = [link.get_attribute("href") or "" for link in view.locator("a").all()]
    assert sum(link.endswith("report.html") for link in links) == 1
    assert all((page.parent / unquote(link)).exists() for link in links)
    assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    seen.assert_quiet()


def test_the_last_good_night_stays_though_a_newer_run_was_made_by_hand(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "questions.jsonl", questions(3))
    runs = tmp_path / "outputs" / "test"
    for run_id, least in (("nightly-20261101", 0.0), ("nightly-20261102", 1.0), ("by-hand", 0.0)):
        gates = {"scores": {"exact_match": {"min": least}}}
        config = config_for(simulator, dataset, scorers=[{"name": "exact_match"}], gates=gates)
        assert runner.run(config, run_dir=runs / run_id).exit_code == (4 if least else 0)
    assert remove_runs(runs, 1, ()) == ([], [])
    shutil.rmtree(runs / "nightly-20261101")
    shutil.copytree(runs / "by-hand", runs / "nightly-20261103")
    assert remove_runs(runs, 1, ()) == ([str(runs / "nightly-20261102")], [])


def night_of(
    date: str, state: str, mean: float | None, exit_code: int = 0, missed: tuple[str, ...] = ()
) -> NightRecord:
    scores: dict[str, Any] = {} if mean is None else {"s": {"mean": mean}}
    config = ConfigRecord("a", "a.yaml", "run", "log", state=state, exit_code=exit_code, verdict=state, scores=scores)
    run_id = f"nightly-{date.replace('-', '')}"
    return NightRecord(
        "a", run_id, date, "UTC", f"{date}T02:00:00+00:00", f"{date}T06:00:00+00:00", [config], missed=[*missed]
    )


def test_what_a_page_shows_of_many_nights() -> None:
    nights = [
        night_of("2026-11-05", "good", 0.5, missed=("2026-11-04",)),
        night_of("2026-11-03", "regression", 0.25, 4),
        night_of("2026-11-02", "failure", None, 6),
        night_of("2026-11-01", "good", 0.5),
    ]
    dates = dates_of(nights, 5)
    assert dates == [f"2026-11-0{day}" for day in range(1, 6)]
    assert dates_of(nights, 2) == dates[-2:]
    assert "".join(mark.sign for mark in marks_of("a", nights, dates)) == "✓✕↓·✓"
    course = course_of("a", "s", nights, dates)
    assert course is not None
    assert [(one.x, one.y) for one in course.points] == [(5.0, 5.0), (120.0, 39.0), (235.0, 5.0)]
    assert (course.low, course.high) == ("0.25", "0.5")
    assert course_of("a", "other", nights, dates) is None


def test_a_verdict_names_the_configs_whose_scores_are_worse() -> None:
    configs = [config for date in ("2026-11-01", "2026-11-02") for config in night_of(date, "good", 0.5).configs]
    configs[1].name, configs[1].comparison = "b", {"verdict": "worse"}
    assert verdict_of(configs) == "all 2 good; worse scores: b"
    configs[0].event = "recovery"
    assert verdict_of(configs) == "all 2 good; good again: a; worse scores: b"
    failed = night_of("2026-11-03", "failure", None, 6).configs
    assert verdict_of([*configs, *failed]) == "1 of 3 bad: a: failure; good again: a; worse scores: b"
