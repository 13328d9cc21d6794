"""Whatever models, datasets and servers write is text in a report: nothing of it runs, loads or rearranges the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest, write_manifest
from runner.report import write_report
from tests.support.browser import run_beside, watched
from tests.support.hostile import HOSTILE
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from runner import RunSummary
    from tests.support.odd_server import Answer, Call

# Few enough to be a name, long enough to do harm.
NAMES = [text for text in HOSTILE if 0 < len(text) < 300]
OWN_ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "section", "article", "footer", "nav", "dialog",
    "form", "div", "span", "p", "h1", "h2", "h3", "h4", "h5", "a", "b", "q", "br", "small", "code", "pre", "ul", "ol",
    "li", "dl", "dt", "dd", "time", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "figure", "figcaption",
    "details", "summary",
    "button", "input", "select", "option", "noscript", "script",
    "svg", "g", "path", "rect", "text", "use", "defs", "clippath",
}  # fmt: skip


def reply(call: Call) -> Reply:
    """Answer with the hostile text whose number is asked for, in every place that an answer has."""
    number = int(call.question.split()[-1])
    text = HOSTILE[number % len(HOSTILE)]
    if number >= len(HOSTILE):
        error = {"error": {"message": text or "x", "type": "invalid_request_error", "code": None}}
        return Reply(400, orjson.dumps(error), {"Content-Type": "application/json"})
    top = [{"token": text[:500], "logprob": -0.5, "bytes": None}, {"token": "<b>", "logprob": -1.5, "bytes": None}]
    message: dict[str, Any] = {"role": "assistant", "content": text, "reasoning_content": text}
    message["tool_calls"] = [{"id": "1", "type": "function", "function": {"name": text[:99], "arguments": text[:9999]}}]
    if number % 5 == 4:
        message |= {"content": None, "refusal": text}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": text[:50] or "stop",
        "logprobs": {"content": [{**top[0], "top_logprobs": top}] * 3},
    }
    body = {"id": text[:99], "model": text[:99], "choices": [choice], "usage": {"prompt_tokens": 1, "total_tokens": 2}}
    return Reply(body=orjson.dumps(body), headers={"Content-Type": "application/json"})


def reply_of_base(call: Call) -> Reply:
    """Answer with what is asked for, and every second time with the next hostile text."""
    number = int(call.question.split()[-1])
    return completion(HOSTILE[(number + number % 2) % len(HOSTILE)])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run in which everything that is not ours is hostile, compared with such a run."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = hostile_rows()
    summary = run_hostile(folder / "run", rows, reply)
    assert summary.by_status["failed"] >= 1
    assert summary.by_status["ok"] >= 1
    # Of another type than in the run, so that a note names the column.
    run_hostile(folder / "base", [row | {"<img src=x onerror=alert(1)>": 1} for row in rows], reply_of_base)
    for number, name in enumerate(("run", "base")):
        spoil_manifest(RunFolder(folder / name), number)
    made = write_report(folder / "run", folder / "report.html", folder / "base")
    assert made.verdict is not None
    return folder / "report.html"


def hostile_rows() -> list[dict[str, Any]]:
    return [
        {
            "id": f"{number} {HOSTILE[number % len(HOSTILE)][:80]}",
            "question": f"{HOSTILE[number % len(HOSTILE)]} {number}",
            "answer": HOSTILE[number % len(HOSTILE)],
            "<img src=x onerror=alert(1)>": NAMES[number % 9],
            "$\\frac{</title><script>alert(1)</script>": NAMES[9 + number % 7],
            "__proto__": NAMES[16 + number % 3],
        }
        for number in range(len(HOSTILE) + len(NAMES))
    ]


def run_hostile(folder: Path, rows: list[dict[str, Any]], answer: Answer) -> RunSummary:
    with answering(answer) as url:
        config = {
            "name": "hostile",
            "dataset": {"path": str(write_rows(folder.with_suffix(".jsonl"), rows)), "id": "id", "target": "answer"},
            "model": {"base_url": url, "name": "</title><script>alert(1)</script>"},
            "request": {
                "messages": [{"role": "user", "content": "{{ question }}"}],
                "params": {"logprobs": True, "top_logprobs": 2},
            },
            "scorers": [{"name": "exact_match"}],
        }
        return run_beside(config, folder)


def spoil_manifest(run_folder: RunFolder, number: int) -> None:
    manifest = read_manifest(run_folder)
    manifest.warnings = list(HOSTILE)
    manifest.name, manifest.run_id = NAMES[1 + number], NAMES[5 + number]
    manifest.config["model"]["name"] = NAMES[7 + number]
    manifest.summary["gates"] = [{"name": text, "passed": False, text: text, "limit": 1.0} for text in NAMES]
    manifest.sessions[0].message, manifest.sessions[0].host = NAMES[2], NAMES[3]
    write_manifest(run_folder, manifest)


def test_nothing_hostile_runs_or_loads_or_makes_an_element(page: Path, chromium: Browser) -> None:
    with watched(chromium, page) as seen:
        view = seen.page
        count = view.locator("#table tbody tr").count()
        assert count > len(HOSTILE)
        flips = view.locator("#comparison .flip")
        assert {"lost", "gained"} <= set(flips.locator("h4 b").all_text_contents())
        for more in view.locator(".more-flips summary").all():
            more.click()
        assert flips.last.is_visible()
        assert "in_<img src=x onerror=alert(1)> has another type" in (view.locator(".notes").text_content() or "")
        view.locator("#table tbody tr").first.click()
        for _ in range(count):
            for toggle in view.locator("#row-body h3 button").all():
                toggle.click()
            for token in view.locator("#row-body .token:visible").all()[:1]:
                token.hover()
            elements = set(
                view.evaluate("[...document.querySelectorAll('*')].map((one) => one.localName.toLowerCase())")
            )
            assert elements <= OWN_ELEMENTS
            if view.locator("#row-next").is_enabled():
                view.locator("#row-next").click()
        assert view.evaluate("document.scripts.length") == 2
        assert view.evaluate("[...document.querySelectorAll('[src],[srcdoc],[action],[formaction]')].length") == 0
        links = view.evaluate("[...document.querySelectorAll('[href]')].map((one) => one.getAttribute('href'))")
        assert all(re.fullmatch(r"#[\w-]+", link) for link in links)
        attributes = set(view.evaluate("[...document.querySelectorAll('*')].flatMap((one) => one.getAttributeNames())"))
        assert not {one for one in attributes if one.startswith("on") or one == "style"}
        assert view.evaluate("typeof window.owned") == "undefined"
        fresh = view.evaluate("Object.getOwnPropertyNames(window).filter((one) => !window.__globals.includes(one))")
        assert set(fresh) <= {"__globals"}
        seen.assert_quiet()


def test_nothing_steers_the_screen(page: Path, chromium: Browser) -> None:
    with watched(chromium, page) as seen:
        view = seen.page
        obeyed = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
        whole = view.evaluate("document.documentElement.textContent")
        assert obeyed.search(whole) is None
        texts = []
        view.locator("#table tbody tr").first.click()
        for _ in range(len(HOSTILE)):
            texts.append(view.locator("#row-body").text_content() or "")
            view.locator("#row-next").click()
        assert not any(obeyed.search(text) for text in texts)
        assert any("⟦U+202E⟧" in text for text in texts)
        assert any("␛[2J" in text for text in texts)
        assert any("{{7*7}}" in text for text in texts)


def test_a_page_stays_small_and_says_what_it_left_out(page: Path, chromium: Browser) -> None:
    assert page.stat().st_size < 15_000_000
    with watched(chromium, page) as seen:
        seen.page.fill("#search", "x" * 500)
        seen.page.locator("#table tbody tr").first.click()
        assert "more characters are in the run folder" in (seen.page.locator("#row-body").text_content() or "")


def test_every_text_is_one_of_the_file_as_it_stands(page: Path) -> None:
    """The page's source holds no hostile text in a form that HTML would read."""
    source = page.read_text(encoding="utf-8")
    assert source.count("<script") == 2
    assert "<img" not in source
    assert "<!--" not in source
    assert "\u202e" not in source
    assert "\x1b" not in source
