"""The comparison in a report: by an option, by the gates of a run, and what is said where the base is gone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runner.comparison import compare
from runner.errors import DamagedError, RunFolderError
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest, write_manifest
from runner.report import write_report
from tests.support.browser import run_beside, watched
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import questions, write_rows

if TYPE_CHECKING:
    from collections.abc import Collection

    from playwright.sync_api import Browser

    from tests.support.odd_server import Call

COUNT = 60
SCORERS = [{"name": "exact_match"}, {"name": "includes"}]


def make_run(
    folder: Path, wrong: Collection[int] = (), failing: Collection[int] = (), rows: int = COUNT, **sections: Any
) -> Path:
    """Return a run over questions of which some are answered wrongly, and some not at all."""

    def reply(call: Call) -> Reply:
        number = int(call.question.split()[2])
        if number in failing:
            return Reply(400, b'{"error": {"message": "no"}}', {"Content-Type": "application/json"})
        return completion(f"wrong {number}" if number in wrong else f"{number + 1}")

    folder.mkdir(parents=True)
    with answering(reply) as url:
        config = {
            "name": folder.name,
            "dataset": {
                "path": str(write_rows(folder / "data.jsonl", questions(rows))),
                "id": "id",
                "target": "answer",
            },
            "model": {"base_url": url, "name": "m"},
            "request": {"messages": [{"role": "user", "content": "{{ question }}"}], **sections.pop("request", {})},
            "scorers": SCORERS,
            "gates": {"max_failed_fraction": 1.0},
        } | sections
        run_beside(config, folder / "run")
    return folder / "run"


def name_in_gates(run_dir: Path, base: Path, run_id: str | None = None) -> None:
    """Write into the manifest what a gate of a score leaves there."""
    folder = RunFolder(run_dir)
    manifest = read_manifest(folder)
    gate = {
        "name": "scores.exact_match.max_drop", "limit": 0.02, "value": 0.1, "passed": None,
        "baseline": run_id or read_manifest(RunFolder(base)).run_id, "baseline_dir": str(base),
        "interval": [-0.01, 0.2], "verdict": "inconclusive", "note": "more than the limit, and within noise",
    }  # fmt: skip
    manifest.summary["gates"].append(gate)
    write_manifest(folder, manifest)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base, and a run that lost eleven pairs, gained one, and has two without an answer."""
    folder = tmp_path_factory.mktemp("runs")
    base = make_run(folder / "the-base", wrong={1, 2})
    return base, make_run(folder / "the-run", wrong=range(2, 14), failing={50, 51})


def test_the_verdict_is_on_the_first_screen_and_figures_are_those_of_compare(
    runs: tuple[Path, Path], tmp_path: Path, chromium: Browser
) -> None:
    base, run = runs
    made = write_report(run, tmp_path / "report.html", base)
    assert (made.compared_with, made.verdict) == (str(base), "worse")
    found = compare(base, run).scores["exact_match"]
    with watched(chromium, tmp_path / "report.html", viewport={"width": 1200, "height": 800}) as seen:
        view = seen.page
        pill = view.locator(".title .verdict").nth(1)
        assert (pill.text_content() or "").strip().startswith("Worse than")
        box = pill.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 800
        assert "worse" in (view.locator(".tile.lead .delta").first.text_content() or "")
        line = view.locator("#comparison tbody tr").first.text_content() or ""
        assert found.interval is not None
        assert f"{found.run_mean:.3f}" in line
        assert f"−{-found.interval[0]:.3f} to −{-found.interval[1]:.3f}" in line  # noqa: RUF001 - the sign for minus
        assert "0.0063" in line
        assert view.locator("#comparison svg.chart").count() == 1
        assert "rows that failed0 %3.33 %+3.33 points" in (view.locator("#comparison").text_content() or "")
        assert "2 in this run" in (view.locator("#comparison").text_content() or "")
        seen.assert_quiet()


def test_what_was_lost_comes_before_what_was_gained_with_both_texts(
    runs: tuple[Path, Path], tmp_path: Path, chromium: Browser
) -> None:
    write_report(runs[1], tmp_path / "report.html", runs[0])
    with watched(chromium, tmp_path / "report.html") as seen:
        flips = seen.page.locator("#comparison .flip")
        kinds = flips.evaluate_all("all => all.map((one) => one.querySelector('h4 b').textContent)")
        assert kinds == (["lost"] * 11 + ["gained"]) * 2
        first = flips.first.text_content() or ""
        assert "q3" in first
        assert "1 → 0" in " ".join(first.split())
        assert "target4" in first
        assert "wrong 3" in first
        assert not flips.nth(5).is_visible()
        seen.page.locator(".more-flips summary").first.click()
        assert flips.nth(5).is_visible()
        seen.assert_quiet()


def test_without_an_option_it_is_the_base_of_the_gates(
    runs: tuple[Path, Path], tmp_path: Path, chromium: Browser
) -> None:
    run = shutil.copytree(runs[1], tmp_path / "run")
    alone = write_report(run, tmp_path / "report.html")
    assert (alone.compared_with, alone.verdict) == (None, None)
    assert b'id="comparison"' not in (tmp_path / "report.html").read_bytes()
    name_in_gates(run, runs[0])
    assert write_report(run, tmp_path / "report.html").compared_with == str(runs[0])
    with watched(chromium, tmp_path / "report.html") as seen:
        assert seen.page.locator("#comparison").count() == 1
        gate = seen.page.locator(".gates li").nth(1)
        text = gate.text_content() or ""
        assert "not decided" in text
        assert "95 % interval −0.01 to 0.2" in text  # noqa: RUF001 - the sign for minus
        assert str(runs[0]) not in text
        seen.assert_quiet()


@pytest.mark.parametrize("harm", ["gone", "no run", "damaged", "another", "no path"])
def test_a_base_of_the_gates_that_cannot_be_read_is_said(
    harm: str, runs: tuple[Path, Path], tmp_path: Path, chromium: Browser
) -> None:
    base, run = (shutil.copytree(one, tmp_path / name) for one, name in zip(runs, ("base", "run"), strict=True))
    named = Path("base\0<b>") if harm == "no path" else base
    name_in_gates(run, named, {"another": "another-run", "no path": "any"}.get(harm))
    if harm == "gone":
        shutil.rmtree(base)
    elif harm == "no run":
        (base / "manifest.json").unlink()
    elif harm == "damaged":
        part = next((base / "responses").glob("*.parquet"))
        part.write_bytes(part.read_bytes()[:-100])
    assert write_report(run, tmp_path / "report.html").compared_with is None
    with watched(chromium, tmp_path / "report.html") as seen:
        notes = " ".join(seen.page.locator(".head .note").all_text_contents())
        assert "Its gates compared it with" in notes
        assert "base" in notes
        assert seen.page.locator("#comparison").count() == 0
        seen.assert_quiet()


def test_a_base_that_somebody_named_must_be_there(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not a run folder"):
        write_report(runs[1], tmp_path / "report.html", tmp_path)
    base = shutil.copytree(runs[0], tmp_path / "base")
    part = next((base / "responses").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(DamagedError):
        write_report(runs[1], tmp_path / "report.html", base)
    assert not (tmp_path / "report.html").exists()


def test_the_same_runs_give_the_same_page(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        write_report(runs[1], tmp_path / name, runs[0])
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_runs_of_other_shapes_are_compared_by_means_and_say_so(
    runs: tuple[Path, Path], tmp_path: Path, chromium: Browser
) -> None:
    run = make_run(tmp_path / "repeated", wrong={5}, rows=20, request={"repeats": 2})
    write_report(run, tmp_path / "report.html", runs[0])
    with watched(chromium, tmp_path / "report.html") as seen:
        text = seen.page.locator("#comparison").text_content() or ""
        assert "by the means of their rows" in text
        assert "40 only in the base" in " ".join(text.split())
        seen.assert_quiet()


def test_runs_without_a_score_in_common_still_have_other_differences(
    runs: tuple[Path, Path], tmp_path: Path, chromium: Browser
) -> None:
    run = make_run(tmp_path / "other", rows=5, scorers=[{"name": "exact_match", "ignore_case": True}])
    write_report(run, tmp_path / "report.html", runs[0])
    with watched(chromium, tmp_path / "report.html") as seen:
        text = seen.page.locator("#comparison").text_content() or ""
        assert "No score is in both runs." in text
        assert "exact_match is not compared: " in text
        assert "what else differs" in text
        seen.assert_quiet()


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, {"viewport": {"width": 375, "height": 700}}])
def test_themes_phones_and_paper(
    runs: tuple[Path, Path], tmp_path: Path, chromium: Browser, options: dict[str, Any]
) -> None:
    write_report(runs[1], tmp_path / "report.html", runs[0])
    with watched(chromium, tmp_path / "report.html", **options) as seen:
        view = seen.page
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
        narrowest = (
            "Math.min(...[...document.querySelectorAll('#comparison td:first-child')].map((one) => one.clientWidth))"
        )
        assert view.evaluate(narrowest) >= 100
        view.emulate_media(media="print")
        assert view.locator("#comparison .flip").first.is_visible()
        assert view.locator("#comparison svg.chart").is_visible()
        seen.assert_quiet()
