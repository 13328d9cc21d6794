"""Owns acting on what answers teach of a server's parameters: lessons said, written down, and put into rows to come.

Which lesson there is, `adapting` decides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runner.awake import awake_s
from runner.errors import CannotCreateError, StorageError, UnsupportedError, kind_of
from runner.pipeline.requests.adapting import too_few
from runner.pipeline.sending.backlog import Pending
from runner.pipeline.sending.control import StopKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner.pipeline.requests.adapting import Adapting
    from runner.pipeline.requests.lessons import Lesson
    from runner.pipeline.sending.recording import Recorder
    from runner.pipeline.sending.sessionplan import Audience
    from runner.pipeline.sending.state import SessionState
    from runner.records import Attempt, Request, Response

# Until a first answer shows that the server takes the parameters, so many requests are under way and no more, for so
# long at most: a refusal comes at once, and all slots would meet it.
_SCOUTS = 2
_SCOUTING_S = 2.0


@dataclass(slots=True)
class Learning:
    """What a session does with lessons. `remember` writes them down; it is called in a thread."""

    adapting: Adapting
    remember: Callable[[], None]
    audience: Audience
    recorder: Recorder
    state: SessionState
    _keeping: anyio.Lock = field(default_factory=anyio.Lock)
    _scouted: anyio.Event = field(default_factory=anyio.Event)

    async def hold_back(self, worker: int) -> None:
        """Let all workers but two wait for a first answer, for a while; not where one was had in an earlier session."""
        if worker < _SCOUTS or self.adapting.accepted or self._scouted.is_set():
            return
        with self.state.control.waiting(), anyio.move_on_after(_SCOUTING_S):
            await self._scouted.wait()

    def end_scouting(self) -> None:
        """Let all workers go on."""
        self._scouted.set()

    def adapt(self, pending: Pending) -> None:
        """Put what was learnt into a row that comes up; choices beyond the first go to the back of the line."""
        if self.adapting.lessons:
            pending.request, *others = self.adapting.requests(pending.request)
            self._add_parts(others)

    async def send_again(self, taught: list[Lesson] | UnsupportedError, pending: Pending, attempt: Attempt) -> None:
        """Send a row again with what its refusal taught, at no cost of an attempt; or stop the run."""
        self.recorder.note(replace(attempt, error_kind=kind_of(UnsupportedError)))
        if isinstance(taught, UnsupportedError):
            self.state.control.stop(StopKind.DOOMED, taught)
            return
        await self._keep_lessons()
        if not self.state.control.stopping:
            self.state.counters.retries += 1
            self.adapt(pending)
            self.state.backlog.postpone(pending, 0.0)

    async def note_answer(self, pending: Pending, response: Response | None) -> None:
        """Note that the server takes the parameters, and ask for the choices that it left out of its first answers."""
        adapting, request = self.adapting, pending.request
        if not adapting.accepted:
            adapting.accepted = True
            self._scouted.set()
        came = adapting.learn_choices(request, response) if adapting.watches_choices else None
        if came is None:
            return
        missing = adapting.missing(request, came)
        pending.request = replace(request, choices=came, of_choices=request.choices)
        if adapting.stops:
            self.state.control.stop(StopKind.DOOMED, too_few(came, request))
            return
        self._add_parts(missing)
        await self._keep_lessons()

    def _add_parts(self, parts: Sequence[Request]) -> None:
        self.state.backlog.split(1 + len(parts))
        self.state.counters.added += len(parts)
        for part in parts:
            self.state.backlog.postpone(Pending(part, time.time(), awake_s()), 0.0)

    async def _keep_lessons(self) -> None:
        """Say and write down lessons that are new. A manifest that cannot be written stops the run."""
        async with self._keeping:
            fresh = self.adapting.unsaid()
            if not fresh:
                return
            for lesson in fresh:
                self.audience.say(lesson.describe())
                self.audience.on_event("parameter not supported", {"parameter": lesson.param, "action": lesson.action})
            try:
                await anyio.to_thread.run_sync(self.remember)
            except (StorageError, CannotCreateError) as error:
                self.state.control.stop(StopKind.STORAGE, error)
