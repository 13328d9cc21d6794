"""Owns what a running session shows: a snapshot of its counters, as a bar on a terminal or as plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from runner.terminal import inert

if TYPE_CHECKING:
    from typing import Self

LINE_EVERY_S = 30.0
DRAW_EVERY_S = 0.25
# A request that has been under way for less is nothing to wonder about.
_SLOW_S = 10.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session's counters at one moment. `done` and `total` count cases; earlier sessions' work is in `done`.

    `out` names those of the `servers` to which nothing is sent, since they did not answer. `elapsed_s` leaves pauses
    out. `oldest_s` is the age of the request that is under way for longest.
    """

    done: int
    total: int
    already_done: int
    answered: int
    failed: int
    in_flight: int
    waiting: int
    retries: int
    rate_limited: int
    tokens: int
    cost_usd: float | None
    elapsed_s: float
    frozen_for_s: float = 0.0
    paused: bool = False
    oldest_s: float | None = None
    shared_with: int = 0
    servers: int = 1
    out: tuple[str, ...] = ()

    @property
    def per_second(self) -> float:
        """Cases ended for each second of this session."""
        return (self.done - self.already_done) / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens of this session's answers for each second."""
        return self.tokens / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds until the end at this pace; null before the first case ended."""
        return (self.total - self.done) / self.per_second if self.per_second > 0 else None


class Display(Protocol):
    """Something that shows snapshots; a context manager around the session."""

    every_s: float

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(self, *error: object) -> None:
        """Stop showing."""
        ...

    def show(self, snapshot: Snapshot) -> None:
        """Show one snapshot."""
        ...

    def note(self, text: str) -> None:
        """Show a line of text that stays."""
        ...


class Silent:
    """Shows nothing."""

    every_s = LINE_EVERY_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def show(self, snapshot: Snapshot) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""


class Lines:
    """Writes a plain line to stderr now and then: for logs, pipes and dumb terminals."""

    every_s = LINE_EVERY_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def show(self, snapshot: Snapshot) -> None:
        """Write one line."""
        self.note(f"{time.strftime('%H:%M:%S')} {line(snapshot)}")

    def note(self, text: str) -> None:
        """Write one line."""
        text = inert(text)
        with contextlib.suppress(OSError):  # nobody reads stderr any more; the run goes on
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


class Bar:
    """Draws a bar with counters below it on a terminal."""

    every_s = DRAW_EVERY_S

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Draw one snapshot."""
        grid = Table.grid(padding=(0, 2))
        grid.add_row(
            ProgressBar(total=max(snapshot.total, 1), completed=snapshot.done, width=40),
            f"[bold]{snapshot.done:,}[/]/{snapshot.total:,}",
            f"{snapshot.per_second:,.1f} req/s",
            f"{snapshot.tokens_per_second:,.0f} tok/s",
            f"ETA {duration(snapshot.eta_s)}",
        )
        self._live.update(Group(grid, Text(details(snapshot), style="dim")), refresh=True)

    def note(self, text: str) -> None:
        """Print one line above the bar."""
        self._console.print(Text(inert(text), style="dim"), soft_wrap=True)


def choose_display(*, quiet: bool) -> Display:
    """Return the display that fits stderr: a bar on a terminal, else a line each 30 s, or nothing when quiet."""
    if quiet:
        return Silent()
    console = Console(stderr=True)
    return Bar(console) if console.is_terminal and not console.is_dumb_terminal else Lines()


def line(snapshot: Snapshot) -> str:
    """Return a snapshot as one line of text."""
    pace = f"{snapshot.per_second:,.1f} req/s  {snapshot.tokens_per_second:,.0f} tok/s"
    return f"{snapshot.done:,}/{snapshot.total:,}  {pace}  {details(snapshot)}  ETA {duration(snapshot.eta_s)}"


def details(snapshot: Snapshot) -> str:
    """Return the counters that explain the pace."""
    parts = ["paused"] if snapshot.paused else []
    parts += [f"in flight {snapshot.in_flight}", f"retries {snapshot.retries}"]
    if snapshot.oldest_s is not None and snapshot.oldest_s >= _SLOW_S:
        parts.insert(-1, f"slowest {duration(snapshot.oldest_s)}")
    if snapshot.rate_limited:
        parts.append(f"rate limited {snapshot.rate_limited}")
    if snapshot.waiting:
        parts.append(f"waiting {snapshot.waiting}")
    if snapshot.frozen_for_s > 0:
        parts.append(f"server asks to wait {duration(snapshot.frozen_for_s)}")
    if snapshot.shared_with:
        parts.append(f"limit shared with {snapshot.shared_with}")
    if snapshot.out:
        count = f"{len(snapshot.out)} of {snapshot.servers} servers" if snapshot.servers > 1 else "server"
        parts.append(f"{count} out: {', '.join(snapshot.out)}")
    if snapshot.failed:
        parts.append(f"failed {snapshot.failed}")
    parts.append("cost unknown" if snapshot.cost_usd is None else f"${snapshot.cost_usd:,.4f}")
    return "  ".join(parts)


def duration(seconds: float | None) -> str:
    """Return seconds as people write them: 42s, 3m05s, 2h10m."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"  # noqa: PLR2004 - as above
