from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.simulate import Simulator


# What a machine of the gate may lack: servers that only optional targets set up, and a user who is not root.
EXPECTED_SKIPS = ("EVALRUNNER_CRON", "EVALRUNNER_LLAMA_STACK", "EVALRUNNER_TXTAI", "root may")
_unexpected: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note tests that were skipped for a reason that nobody has foreseen."""
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and not any(one in str(report.longrepr) for one in EXPECTED_SKIPS)
    ):
        _unexpected.append(f"{report.nodeid}: {report.longrepr}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the gate for tests that were skipped unexpectedly: what they prove, nobody has seen."""
    if _unexpected and os.environ.get("CI"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that were skipped unexpectedly."""
    for one in _unexpected:
        terminalreporter.write_line(f"skipped unexpectedly: {one}", red=True)


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what `check` leaves for later runs out of other tests: they use the same addresses again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache" / os.urandom(4).hex()))


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with serving() as served:
        yield served
