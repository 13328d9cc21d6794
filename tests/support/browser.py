"""Owns a real browser that looks at a page and notes all that the page does beyond showing itself."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

import runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from runner import RunSummary

_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
# Before anything of the page runs: every violation of its policy is noted, and so is the list of global names.
_WATCH = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.__violations.push(
    `${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
window.__globals = Object.getOwnPropertyNames(window);
"""


@dataclass(slots=True)
class Watched:
    """A page, and what it did: messages of its console, errors, requests, dialogs, popups."""

    page: Page
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    popups: list[str] = field(default_factory=list)

    def assert_quiet(self) -> None:
        """Assert that the page did nothing but show itself, and ran nothing but its own script."""
        assert self.console == []
        assert self.errors == []
        assert self.dialogs == []
        assert self.popups == []
        assert self.requests == [self.page.url.partition("#")[0]]
        assert self.page.evaluate("window.__violations") == []


@contextmanager
def browser() -> Iterator[Browser]:
    """Start chromium for the length of the context; where there is none the test is skipped, and says so."""
    program = shutil.which(os.environ.get("EVALRUNNER_CHROMIUM", "chromium"))
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium, or name it in EVALRUNNER_CHROMIUM")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        try:
            yield found
        finally:
            found.close()


def run_beside(config: dict[str, Any], run_dir: Path) -> RunSummary:
    """Run a config while a browser is there: it has an event loop in this thread, and a run wants one of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(runner.run, config, run_dir=run_dir).result()


@contextmanager
def watched(
    found: Browser, file: Path | str, *, ready: str = "html[data-ready=yes]", **options: object
) -> Iterator[Watched]:
    """Open a file, or an address, as a page, and wait until it is ready: its script has run to its end."""
    context = found.new_context(**options)
    try:
        page = context.new_page()
        page.add_init_script(_WATCH)
        seen = Watched(page)
        page.on("console", lambda message: seen.console.append(message.text))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("popup", lambda popup: seen.popups.append(popup.url))
        page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
        page.goto(file if isinstance(file, str) else file.as_uri())
        page.wait_for_selector(ready, state="attached")
        yield seen
    finally:
        context.close()
