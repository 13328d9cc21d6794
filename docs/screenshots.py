"""Owns the pictures of a report for the README: a real run of the quickstart's config, reported, light and dark.

    make screenshots

It needs the embedded model (as `make demo` does), matplotlib, playwright and chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import runner
from runner.report import write_report

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SCORERS = "scorers=[{name: includes, ignore_case: true}, {name: perplexity}]"
SIZE = {"width": 1200, "height": 1000}


def main() -> None:
    """Make the run, the report and both pictures."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("chromium is needed and was not found: apt-get install chromium")
    with tempfile.TemporaryDirectory() as scratch:
        runner.run(ROOT / "configs" / "quickstart.yaml", overrides=[SCORERS], run_dir=Path(scratch) / "run")
        page = Path(scratch) / "report.html"
        write_report(Path(scratch) / "run", page)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            for theme in ("light", "dark"):
                view = browser.new_page(viewport=SIZE, color_scheme=theme)
                view.goto(page.as_uri())
                view.wait_for_selector("html[data-ready=yes]", state="attached")
                view.screenshot(path=IMAGES / f"report-{theme}.png")
            browser.close()


if __name__ == "__main__":
    main()
