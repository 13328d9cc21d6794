"""Reports of whole runs in a real browser: quiet, and able to filter, sort and open rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.report import write_report
from tests.support.browser import run_beside, watched
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import config_for, questions, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from runner.simulate import Simulator
    from tests.support.odd_server import Call

MANY = 3_000
FAILED_EVERY = 500


def refuse_some(call: Call) -> Reply:
    number = int(call.question.split()[2])
    if number % FAILED_EVERY == 0:
        return Reply(400, b'{"error": {"message": "no such number"}}', {"Content-Type": "application/json"})
    return completion(f"{number + 1}" if number % 3 else f"about {number}")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 3,000 rows, of which six failed and a third is wrong."""
    folder = tmp_path_factory.mktemp("many")
    with answering(refuse_some) as url:
        config = {
            "name": "many",
            "dataset": {
                "path": str(write_rows(folder / "data.jsonl", questions(MANY))),
                "id": "id",
                "target": "answer",
            },
            "model": {"base_url": url, "name": "m", "price": {"input_per_million": 1, "output_per_million": 2}},
            "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
            "limits": {"max_in_flight": 32},
            "scorers": [{"name": "exact_match"}],
        }
        assert run_beside(config, folder / "run").exit_code == 3
    return folder / "run"


@pytest.fixture(scope="module")
def page(many: Path) -> Path:
    made = write_report(many, many / "report.html")
    assert (made.rows, made.rows_shown) == (MANY, 2_000)
    return many / "report.html"


def test_a_large_run_shows_a_sample_and_says_so(page: Path, chromium: Browser) -> None:
    with watched(chromium, page) as seen:
        text = seen.page.locator("#rows .lede").text_content() or ""
        assert "A sample of 2,000 of 3,000 rows" in text
        assert "6 failed" in text
        assert "Failed" in (seen.page.locator(".verdict").text_content() or "")
        assert "0.665 of all 3,000" in (seen.page.locator(".tile.lead").text_content() or "")
        seen.assert_quiet()


def test_rows_are_filtered_sorted_and_opened(page: Path, chromium: Browser) -> None:
    with watched(chromium, page) as seen:
        view = seen.page
        assert view.locator("#count").text_content() == "2,000 of 2,000"
        view.locator(".chip", has_text="failed").click()
        assert view.locator("#count").text_content() == "6 of 2,000"
        view.locator(".chip", has_text="failed").click()
        view.fill("#search", "what is 1500 + 1")
        assert view.locator("#count").text_content() == "1 of 2,000"
        view.locator("#table tbody tr").first.click()
        body = view.locator("#row-body").text_content() or ""
        assert "no such number" in body
        assert "What is 1500 + 1?" in body
        view.keyboard.press("Escape")
        view.fill("#search", "")
        view.get_by_label("exact_match", exact=True).select_option(label="exact_match: 0")
        view.locator("#table th button", has_text="sample").click()
        first = view.locator("#table tbody tr td").first.text_content() or ""
        view.locator("#table th button", has_text="sample").click()
        last = view.locator("#table tbody tr td").first.text_content() or ""
        assert int(first[1:]) < int(last[1:])
        assert view.locator("#table th").first.get_attribute("aria-sort") == "descending"
        seen.assert_quiet()


def test_more_rows_come_as_the_page_is_scrolled(page: Path, chromium: Browser) -> None:
    with watched(chromium, page) as seen:
        rows = seen.page.locator("#table tbody tr")
        assert rows.count() < 2_000
        before = rows.count()
        seen.page.locator("#more").scroll_into_view_if_needed()
        seen.page.wait_for_function("count => document.querySelectorAll('#table tbody tr').length > count", arg=before)
        seen.assert_quiet()


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, {"viewport": {"width": 375, "height": 700}}])
def test_themes_and_phones(page: Path, chromium: Browser, options: dict[str, Any]) -> None:
    with watched(chromium, page, **options) as seen:
        view = seen.page
        colour = "getComputedStyle(document.body).backgroundColor"
        before = view.evaluate(colour)
        view.click("#theme")
        assert view.evaluate(colour) != before
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
        view.emulate_media(media="print")
        assert not view.locator(".top").is_visible()
        seen.assert_quiet()


def test_the_same_run_gives_the_same_page(many: Path, page: Path, tmp_path: Path) -> None:
    write_report(many, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_nothing_else_in_the_folder_changes(many: Path, tmp_path: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in many.rglob("*") if path.is_file()}

    before = state()
    write_report(many, tmp_path / "report.html")
    assert state() == before


def test_scores_are_those_of_the_summary(many: Path, page: Path, chromium: Browser) -> None:
    scores = orjson.loads((many / "manifest.json").read_bytes())["summary"]["scores"]["exact_match"]
    low, high = scores["interval"]
    with watched(chromium, page) as seen:
        tile = seen.page.locator(".tile.lead").text_content() or ""
        assert f"{scores['mean']:.3f}" in tile
        assert f"95 % interval {low:.3f} to {high:.3f}" in tile
        assert f"{scores['mean_all']:.3f} of all {MANY:,}" in tile


def sections(name: str) -> dict[str, Any]:
    """Return what makes a run another kind of run."""
    return {
        "no raw": {"output": {"keep_raw": False}},
        "several choices": {"request": {"params": {"n": 3}}, "scorers": [{"name": "exact_match"}]},
        "repeats": {"request": {"repeats": 3}, "scorers": [{"name": "exact_match"}]},
        "log probabilities": {"request": {"params": {"logprobs": True, "top_logprobs": 3}}},
        "stream": {"request": {"stream": True}},
        "embeddings": {
            "request": {"endpoint": "embeddings", "messages": None, "input": "{{ question }}", "params": {}}
        },
        "completions": {"request": {"endpoint": "completions", "messages": None, "prompt": "{{ question }}"}},
        "responses": {"request": {"endpoint": "responses", "params": {}}},
        "images": {
            "request": {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "{{ question }}"},
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                        ],
                    }
                ]
            }
        },
    }[name]


@pytest.mark.parametrize(
    "kind",
    [
        "no raw",
        "several choices",
        "repeats",
        "log probabilities",
        "stream",
        "embeddings",
        "completions",
        "responses",
        "images",
    ],
)
def test_every_kind_of_run_has_a_report(kind: str, simulator: Simulator, tmp_path: Path, chromium: Browser) -> None:
    changes = sections(kind)
    dataset = write_rows(tmp_path / "data.jsonl", questions(12))
    config = config_for(simulator, dataset, **changes)
    config["request"] = {name: value for name, value in config["request"].items() if value is not None}
    run_beside(config, tmp_path / "run")
    write_report(tmp_path / "run", tmp_path / "report.html")
    with watched(chromium, tmp_path / "report.html") as seen:
        seen.page.locator("#table tbody tr").nth(2).click()
        body = seen.page.locator("#row-body").text_content() or ""
        if kind != "no raw":
            assert "What is " in body
        if kind == "log probabilities":
            seen.page.locator("#row-body .token").first.hover()
            assert "likeliest: " in (seen.page.locator(".alternatives").text_content() or "")
        if kind == "images":
            assert "[image_url: data:image/png;base64, 34 characters]" in body
        seen.assert_quiet()


def test_a_run_without_a_row_has_a_report(simulator: Simulator, tmp_path: Path, chromium: Browser) -> None:
    config = config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(3)), scorers=[{"name": "exact_match"}])
    config["model"]["base_url"] = "http://127.0.0.1:9/v1"
    assert run_beside(config, tmp_path / "run").exit_code == 6
    write_report(tmp_path / "run", tmp_path / "report.html")
    with watched(chromium, tmp_path / "report.html") as seen:
        assert "Incomplete" in (seen.page.locator(".verdict").text_content() or "")
        assert "no sample has ended yet" in (seen.page.locator("main").text_content() or "")
        seen.assert_quiet()


def test_a_run_that_only_failed_has_a_report(tmp_path: Path, chromium: Browser) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(5))
    with answering(lambda _call: Reply(400, b'{"error": {"message": "never"}}')) as url:
        config = {
            "name": "test",
            "dataset": {"path": str(dataset), "id": "id", "target": "answer"},
            "model": {"base_url": url, "name": "m"},
            "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
            "scorers": [{"name": "exact_match"}],
        }
        assert run_beside(config, tmp_path / "run").exit_code == 3
    write_report(tmp_path / "run", tmp_path / "report.html")
    with watched(chromium, tmp_path / "report.html") as seen:
        assert "never" in (seen.page.locator("#failures").text_content() or "")
        seen.assert_quiet()
