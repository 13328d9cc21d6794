"""Owns the pictures of a report: a real run of the quickstart's config, light and dark, and one compared with it.

    make screenshots

It needs the embedded model (as `make demo` does), matplotlib, playwright and chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

import runner
from runner.report import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SCORERS = "scorers=[{name: includes, ignore_case: true}, {name: perplexity}]"
# What the other run asks in place of the quickstart's "Answer in one short sentence.".
SHORTER = 'request.messages=[{role: user, content: "{{ question }} Name the city only."}]'
SIZE = {"width": 1200, "height": 1000}
COMPARED = {"width": 1200, "height": 1500}


def main() -> None:
    """Make the runs, the reports and the pictures."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("chromium is needed and was not found: apt-get install chromium")
    with tempfile.TemporaryDirectory() as scratch:
        base, other = Path(scratch) / "first-prompt", Path(scratch) / "shorter-prompt"
        config = ROOT / "configs" / "quickstart.yaml"
        runner.run(config, overrides=[SCORERS], run_dir=base)
        runner.run(config, overrides=[SCORERS, SHORTER], run_dir=other)
        write_report(base, base / "report.html")
        write_report(other, other / "report.html", base)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            take(browser, base / "report.html", IMAGES / "report-light.png", viewport=SIZE, color_scheme="light")
            take(browser, base / "report.html", IMAGES / "report-dark.png", viewport=SIZE, color_scheme="dark")
            take(browser, other / "report.html", IMAGES / "report-compare.png", viewport=COMPARED, color_scheme="light")
            browser.close()


def take(browser: Browser, page: Path, picture: Path, **options: object) -> None:
    """Take a picture of a page's first screen."""
    view = browser.new_page(**options)
    view.goto(page.as_uri())
    view.wait_for_selector("html[data-ready=yes]", state="attached")
    view.screenshot(path=picture)
    view.close()


if __name__ == "__main__":
    main()
