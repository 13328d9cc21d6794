"""Owns putting down what became of rows: ends, which count once they are durable, and attempts that ended nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.errors import StorageError
from runner.journal import FrameType
from runner.pipeline.sending.attempt import failure_of
from runner.pipeline.sending.budget import NOTHING
from runner.pipeline.sending.control import StopKind
from runner.pipeline.storing.codec import Start, encode_attempt, encode_record, encode_skipped
from runner.records import Record

if TYPE_CHECKING:
    from runner.pipeline.sending.attempt import Outcome
    from runner.pipeline.sending.backlog import Pending
    from runner.pipeline.sending.groupcommit import JournalWriter
    from runner.pipeline.sending.state import SessionState
    from runner.records import Attempt, SkippedRow


@dataclass(slots=True)
class Recorder:
    """Writes to the journal for a session, and counts; a journal that refuses stops the run.

    `replaces` says that all of this session's rows may stand already, and are asked again.
    """

    session: int
    journal: JournalWriter
    state: SessionState
    replaces: bool = False

    def note_start(self, pending: Pending) -> None:
        """Note that a request goes out; not waited for."""
        self.journal.note_start(_start_of(pending))

    async def keep_start(self, pending: Pending) -> bool:
        """Make durable that a request goes out; false where that cannot be, and nothing may go out."""
        try:
            await self.journal.keep_start(_start_of(pending))
        except StorageError as trouble:
            self.state.control.stop(StopKind.STORAGE, trouble)
            return False
        return True

    async def end(self, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Store how a row ended and count it once that is durable."""
        error = outcome.error
        if not await self._store(pending, outcome, attempt):
            return
        counters, cases = self.state.counters, len(pending.request.cases)
        counters.ended += cases
        counters.failed += cases if error and not pending.kept else 0
        self.state.backlog.end(pending.counted_bytes)

    async def keep(self, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Store an answer whose row goes on; it stands until another answer comes in its place."""
        await self._store(pending, outcome, attempt)
        pending.kept = True

    async def _store(self, pending: Pending, outcome: Outcome, attempt: Attempt) -> bool:
        error = outcome.error
        record = Record(
            pending.request,
            outcome.response,
            failure_of(error) if error else None,
            pending.attempts,
            pending.created_at,
            finished_at=time.time(),
            queued_s=pending.queued_s,
            last_attempt=attempt,
            replaces=self.replaces or pending.kept,
        )
        kind = FrameType.FAILURE if error else FrameType.ANSWER
        parts = encode_record(record, self.session, attempt.server)
        try:
            await self.journal.store(pending.request.key, kind, *parts)
        except StorageError as trouble:
            self.state.control.stop(StopKind.STORAGE, trouble)
            return False
        return True

    def note(self, attempt: Attempt) -> None:
        """Put down an attempt after which its row goes on, or stays unsent."""
        try:
            payload = encode_attempt(attempt, self.session, attempt.server)
            self.journal.note_attempt(attempt.request_key, payload)
        except StorageError as error:
            self.state.control.stop(StopKind.STORAGE, error)

    def skip(self, row: SkippedRow) -> None:
        """Put down a dataset row that is left out. Raises StorageError."""
        self.journal.note_skipped(encode_skipped(row))
        self.state.counters.ended += 1


def _start_of(pending: Pending) -> Start:
    most = pending.reserve.most if pending.reserve is not None else NOTHING
    return Start(pending.request.key, pending.attempts, time.time(), most.tokens, most.usd)
