"""Reports of runs that are not only questions and answers, of one that goes on, and of a page that comes over HTTP."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.errors import BusyError
from runner.report import making, write_report
from runner.simulate import ContentRules, LanguageModel, SimulatorOptions
from tests.support.browser import run_beside, watched
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import config_for, questions, write_rows
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from runner.folder.layout import RunFolder
    from runner.simulate import Simulator
    from runner.sinks import Snapshot
    from tests.support.odd_server import Call


def report_of(run_dir: Path) -> Path:
    write_report(run_dir, run_dir / "report.html")
    return run_dir / "report.html"


def opened_row(view: Page, sample: str) -> str:
    """Open the first row of a sample and return what it says."""
    view.fill("#search", sample)
    view.locator("#table tbody tr").first.click()
    return view.locator("#row-body").text_content() or ""


def test_log_likelihoods(tmp_path: Path, chromium: Browser) -> None:
    rows = [
        {"id": f"s{number}", "context": f"question {number}: is water wet? answer:", "choices": [" yes", " no", " A"],
         "answer": number % 2}
        for number in range(6)
    ]  # fmt: skip
    with serving(SimulatorOptions(language_model=LanguageModel())) as simulator:
        config = {
            "name": "likely",
            "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", rows)), "id": "id", "target": "answer"},
            "model": {"base_url": simulator.base_url, "name": "m"},
            "request": {"endpoint": "loglikelihood", "context": "{{ context }}", "continuations": "{{ choices }}"},
            "scorers": [{"name": "multiple_choice"}],
        }
        assert run_beside(config, tmp_path / "run").exit_code == 0
    summary = orjson.loads((tmp_path / "run" / "manifest.json").read_bytes())["summary"]["scores"]["multiple_choice"]
    with watched(chromium, report_of(tmp_path / "run")) as seen:
        view = seen.page
        tile = view.locator(".tile.lead").text_content() or ""
        assert f"{summary['mean']:.3f}" in tile
        assert "of 6 answered" in tile
        assert view.locator("#table tbody tr").count() == 18
        assert "log-likelihood" in (view.locator("#table thead").text_content() or "")
        body = opened_row(view, "s3")
        assert "question 3: is water wet?" in body
        assert "continuation" in body
        assert "log-likelihood-" in body
        assert view.locator("#row-body .token").count() >= 1
        seen.assert_quiet()


def test_retrieved_documents(tmp_path: Path, chromium: Browser) -> None:
    rules = ContentRules(index_after=0, stores=("geography",))
    with serving(SimulatorOptions(content=rules)) as simulator:
        (store,) = simulator.content.stores.values()
        file = simulator.content.add_file("france.txt", "assistants", b"The capital of France is <b>Paris</b>.")
        simulator.content.attach(store, file, {"name": "france.txt", "file_id": file.id})
        rows = [{"id": "paris", "question": "capital of France", "answer": "Paris"}]
        config = config_for(
            simulator,
            write_rows(tmp_path / "data.jsonl", rows),
            request={"endpoint": "responses", "retrieval": {"knowledge_base": next(iter(simulator.content.stores))}},
        )
        assert run_beside(config, tmp_path / "run").exit_code == 0
    with watched(chromium, report_of(tmp_path / "run")) as seen:
        body = opened_row(seen.page, "<b>paris</b>")
        assert f"retrieved 1 · {file.id} · " in body
        assert "The capital of France is <b>Paris</b>." in body
        seen.assert_quiet()


def call_a_tool(call: Call) -> Reply:
    arguments = orjson.dumps({"query": call.question, "limit": 3}).decode()
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": arguments}}],
    }
    body = {
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
    return Reply(body=orjson.dumps(body), headers={"Content-Type": "application/json"})


def test_tool_calls(tmp_path: Path, chromium: Browser) -> None:
    with answering(call_a_tool) as url:
        config = plain_config(url, tmp_path, 3)
        assert run_beside(config, tmp_path / "run").exit_code == 0
    with watched(chromium, report_of(tmp_path / "run")) as seen:
        assert "look_up" in (seen.page.locator("#table tbody tr").first.text_content() or "")
        body = opened_row(seen.page, "what is 2 + 1?")
        assert "tool calls" in body
        assert "look_up" in body
        assert "What is 2 + 1?" in body
        assert "finish reasontool_calls" in body
        seen.assert_quiet()


def plain_config(url: str, folder: Path, rows: int) -> dict[str, Any]:
    return {
        "name": "plain",
        "dataset": {
            "path": str(write_rows(folder / "data.jsonl", questions(rows))),
            "id": "id",
            "target": "answer",
        },
        "model": {"base_url": url, "name": "m"},
        "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
        "limits": {"max_in_flight": 1},
        "scorers": [{"name": "exact_match"}],
    }


def test_a_run_that_goes_on(tmp_path: Path, chromium: Browser) -> None:
    """The first session ends by a key that is refused; while the second one waits for an answer, a report is made."""
    made, second = [], threading.Event()

    def reply(call: Call) -> Reply:
        if second.is_set() and not made:
            made.append(write_report(tmp_path / "run", tmp_path / "report.html"))
        if call.number > 20 and not second.is_set():
            return Reply(401, b'{"error": {"message": "no", "code": "invalid_api_key"}}')
        return completion("1")

    with answering(reply) as url:
        config = plain_config(url, tmp_path, 30)
        assert run_beside(config, tmp_path / "run").exit_code == 5
        second.set()
        assert run_beside(config, tmp_path / "run").exit_code == 0
    assert [(one.rows, one.rows_shown) for one in made] == [(20, 20)]
    with watched(chromium, tmp_path / "report.html") as seen:
        assert "Not finished" in (seen.page.locator(".verdict").first.text_content() or "")
        assert "evalrunner resume" in (seen.page.locator(".head").text_content() or "")
        assert seen.page.locator("#table tbody tr").count() == 20
        assert seen.page.locator("#setup tbody tr").count() == 2
        seen.assert_quiet()


@pytest.fixture
def run_dir(simulator: Simulator, tmp_path: Path) -> Path:
    config = config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(8)), scorers=[{"name": "includes"}])
    run_beside(config, tmp_path / "run")
    return tmp_path / "run"


def test_parts_that_are_replaced_while_they_are_read_change_nothing(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = report_of(run_dir).read_bytes()
    survey = making.survey_rows

    def replacing(*given: Any) -> Any:
        for part in run_dir.rglob("part-*.parquet"):
            (tmp_path / "other").write_bytes(b"of the next commit")
            (tmp_path / "other").replace(part)
        return survey(*given)

    monkeypatch.setattr(making, "survey_rows", replacing)
    assert report_of(run_dir).read_bytes() == before


@pytest.mark.parametrize(("busy", "written"), [(4, True), (5, False)])
def test_where_too_much_is_replaced_reading_begins_anew(
    busy: int, *, written: bool, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[RunFolder] = []
    take = making.take_snapshot

    def crowded(folder: RunFolder, tables: Any) -> Snapshot:
        taken.append(folder)
        if len(taken) <= busy:
            raise BusyError("replaced")
        return take(folder, tables)

    monkeypatch.setattr(making, "take_snapshot", crowded)
    if written:
        assert report_of(run_dir).exists()
    else:
        with pytest.raises(BusyError):
            report_of(run_dir)
    assert len(taken) == 5


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def over_http(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine for the length of the context."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_page_that_comes_over_http_works_the_same(run_dir: Path, chromium: Browser) -> None:
    report_of(run_dir)
    with over_http(run_dir) as url, watched(chromium, f"{url}/report.html") as seen:
        assert seen.page.locator("#table tbody tr").count() == 8
        assert "What is 5 + 1?" in opened_row(seen.page, "what is 5 + 1?")
        seen.assert_quiet()
