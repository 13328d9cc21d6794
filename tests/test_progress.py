from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from runner.progress import Bar, Lines, Silent, Snapshot, choose_display, details, duration, line

SNAPSHOT = Snapshot(
    done=1500,
    total=4000,
    already_done=500,
    answered=990,
    failed=0,
    in_flight=8,
    waiting=0,
    retries=0,
    rate_limited=0,
    tokens=50_000,
    cost_usd=None,
    elapsed_s=100.0,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0s"),
        (0.4, "0s"),
        (42, "42s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (7800, "2h10m"),
        (360_000, "100h00m"),
    ],
)
def test_durations_read_as_people_write_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_pace_counts_this_session_alone() -> None:
    assert (SNAPSHOT.per_second, SNAPSHOT.tokens_per_second, SNAPSHOT.eta_s) == (10.0, 500.0, 250.0)


@pytest.mark.parametrize("changes", [{"elapsed_s": 0.0}, {"done": 500, "tokens": 0}, {"done": 0, "already_done": 0}])
def test_before_the_first_case_there_is_no_end_in_sight(changes: dict[str, float]) -> None:
    assert replace(SNAPSHOT, **changes).eta_s is None  # type: ignore[arg-type] # fields of two types


def test_a_line_holds_the_counters() -> None:
    assert line(SNAPSHOT) == "1,500/4,000  10.0 req/s  500 tok/s  in flight 8  retries 0  cost unknown  ETA 4m10s"


def test_servers_that_are_out_are_named() -> None:
    alone = details(replace(SNAPSHOT, out=("http://a/v1",)))
    assert "  server out: http://a/v1  " in alone
    some = details(replace(SNAPSHOT, servers=4, out=("http://a/v1", "http://b/v1")))
    assert "  2 of 4 servers out: http://a/v1, http://b/v1  " in some


def test_trouble_is_shown_when_there_is_some() -> None:
    troubled = replace(SNAPSHOT, failed=3, waiting=4, retries=5, rate_limited=6, frozen_for_s=90.0, cost_usd=1234.56789)
    assert details(troubled) == (
        "in flight 8  retries 5  rate limited 6  waiting 4  server asks to wait 1m30s  failed 3  $1,234.5679"
    )
    assert "$0.0000" in details(replace(SNAPSHOT, cost_usd=0.0))
    assert "  limit shared with 3  " in details(replace(SNAPSHOT, shared_with=3))


@pytest.mark.parametrize(("oldest_s", "shown"), [(None, False), (0.0, False), (9.9, False), (10.0, True), (95.0, True)])
def test_a_slow_request_is_shown_once_it_is_slow(oldest_s: float | None, shown: bool) -> None:  # noqa: FBT001 - a table
    text = details(replace(SNAPSHOT, oldest_s=oldest_s))
    assert (f"in flight 8  slowest {duration(oldest_s)}  retries 0" in text) is shown


def test_a_pause_is_shown_first() -> None:
    assert details(replace(SNAPSHOT, paused=True)).startswith("paused  in flight 8")


def test_lines_go_to_stderr_and_nothing_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as shown:
        shown.show(SNAPSHOT)
        shown.note("continuing")
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.endswith(line(SNAPSHOT))
    assert second == "continuing"


def test_lines_bear_that_nobody_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Closed())
    with Lines() as shown:
        shown.show(SNAPSHOT)


def test_a_bar_shows_the_counters_and_leaves_its_notes() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)
    with Bar(console) as bar:
        bar.show(SNAPSHOT)
        bar.note("3 rows [bold]marked[/] and \x1b[2Jcleared")
        bar.show(replace(SNAPSHOT, done=4000))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for part in ("1,500/4,000", "10.0 req/s", "500 tok/s", "ETA 4m10s", "in flight 8", "[bold]marked[/]"):
        assert part in text


def test_a_note_cannot_steer_the_terminal() -> None:
    """Row ids and server messages stand in notes."""
    console = Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)
    with Bar(console) as bar:
        bar.note("row \x1b]0;title\x07 \x1b[2J")
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[2J" not in console.file.getvalue()
    assert "\x1b]0;" not in console.file.getvalue()


def test_a_bar_of_nothing_is_no_error() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=40)
    with Bar(console) as bar:
        bar.show(replace(SNAPSHOT, done=0, total=0, already_done=0, elapsed_s=0.0, tokens=0))


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    display = choose_display(quiet=True)
    assert isinstance(display, Silent)
    with display:
        display.show(SNAPSHOT)
        display.note("x")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("terminal", ["dumb", "xterm"])
def test_without_a_terminal_there_are_lines(monkeypatch: pytest.MonkeyPatch, terminal: str) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", terminal)
    assert isinstance(choose_display(quiet=False), Lines)
