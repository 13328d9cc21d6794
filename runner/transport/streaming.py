"""Owns reading a streamed answer: block by block, capped, with its own time-outs, and with what came before a break."""

from __future__ import annotations

import contextlib
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

from runner.errors import BodyTooLargeError, RequestTimeoutError
from runner.transport.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    import aiohttp

    from runner.errors import RequestError
    from runner.records import Response
    from runner.transport.translate import Timeouts

# After its end mark a stream has nothing more to say; the end of the body is waited for only to keep the connection.
_GRACE_S = 1.0
# aiohttp would undo a compression that proxies buffer for: the first token would not come when it was made.
HEADERS = {"Accept-Encoding": "identity"}
_clock: ContextVar[Clock | None] = ContextVar("clock", default=None)


class StreamWatcher(Protocol):
    """What sees every block of a body as it comes, and says how far the answer has got."""

    @property
    def output_seen(self) -> bool:
        """Whether any output has come."""
        ...

    @property
    def done(self) -> bool:
        """Whether the end mark has come."""
        ...

    def feed(self, block: bytes) -> None:
        """Take in the next bytes. Must not raise."""
        ...


@dataclass(frozen=True, slots=True)
class Received:
    """What came of a streamed request. `broke` is why there is no more of the response's body, if it did not end."""

    response: Response
    broke: RequestError | None = None


@dataclass(slots=True)
class Clock:
    """The time-outs of one stream: for its first byte from when the connection stood, then between two blocks."""

    timeouts: Timeouts
    patience: Patience = field(default_factory=Patience)
    begun: bool = False

    async def __aenter__(self) -> Self:
        await self.patience.__aenter__()
        self.expect(self.timeouts.first_byte)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.patience.__aexit__(kind, error, trace)

    def expect(self, seconds: float) -> None:
        """Let the next block come within so many seconds."""
        self.patience.expect(seconds)

    def error(self, where: str) -> RequestTimeoutError:
        """Return what it means that the time is over."""
        if self.begun:
            message, name = f"nothing came for {self.timeouts.idle:g} s in the middle of the answer", "idle"
        else:
            message, name = f"no first byte within {self.timeouts.first_byte:g} s", "first_byte"
        return RequestTimeoutError(f"{where}: {message}", hint=f"request.timeout_s.{name} sets the wait")


@dataclass(slots=True)
class Body:
    """A body as far as it has come. `first_token_s` counts from `sent_at`, by the performance counter."""

    sent_at: float
    cap: int
    blocks: bytearray = field(default_factory=bytearray)
    ended_at: float = 0.0
    first_token_s: float | None = None

    async def read(self, answer: aiohttp.ClientResponse, watcher: StreamWatcher, clock: Clock) -> None:
        """Read to the end, or a moment beyond the end mark. Raises BodyTooLargeError, and what aiohttp raises."""
        async for block in answer.content.iter_any():
            clock.begun = True
            if len(self.blocks) + len(block) > self.cap:
                raise BodyTooLargeError(f"the answer's body is larger than {self.cap:,} bytes")
            self.blocks += block
            self.ended_at = time.perf_counter()
            watcher.feed(block)
            if watcher.output_seen and self.first_token_s is None:
                self.first_token_s = self.ended_at - self.sent_at
            clock.expect(min(clock.timeouts.idle, _GRACE_S) if watcher.done else clock.timeouts.idle)


@contextlib.contextmanager
def timed(clock: Clock) -> Iterator[None]:
    """Let the connector stop and start this clock, for the length of the context and in this task."""
    before = _clock.set(clock)
    try:
        yield
    finally:
        _clock.reset(before)


def note_connecting() -> None:
    """Stop the clock of the streamed request that this task sends, if it does: connecting has a time-out of its own."""
    clock = _clock.get()
    if clock is not None:
        clock.patience.expect(None)


def note_connected() -> None:
    """Start the clock of the streamed request that this task sends, if it does."""
    clock = _clock.get()
    if clock is not None:
        clock.expect(clock.timeouts.first_byte)
