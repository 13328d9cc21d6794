"""Owns packs on their way through refusals: sends the parts, holds what has to wait, and ends what has failed.

What becomes of a refused pack, `splitting` decides. A pack and all that it was split into is a family; its members are
counted, so that what is held is taken up again when no other member is under way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.pipeline.sending.splitting import Encoding, Family, Move, halves
from runner.retry import History

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner.pipeline.sending.attempt import Outcome
    from runner.pipeline.sending.backlog import Pending
    from runner.pipeline.sending.recording import Recorder
    from runner.pipeline.sending.splitting import Splitter
    from runner.pipeline.sending.state import SessionState
    from runner.records import Attempt, Request


@dataclass(slots=True)
class Families:
    """What a session does about packs that are refused. A refused row has `max_attempts`, as any other."""

    splitter: Splitter
    max_attempts: int
    on_event: Callable[[str, dict[str, object]], None]
    recorder: Recorder
    state: SessionState
    _holding: set[Family] = field(default_factory=set)

    def fit(self, pending: Pending) -> None:
        """Make a row what is sent by what is known of the server; what does not fit goes apart."""
        pending.request, *others = self.splitter.fit(pending.request)
        if others:
            if pending.family is not None:
                pending.family.active += len(others)
            self.state.backlog.spread([pending.part(request) for request in others], taken=1)

    def halve(self, pending: Pending) -> None:
        """Let half of a pack go on its own, where the whole may take more than is left of a budget."""
        pending.request, other = halves(pending.request)
        pending.whole = None  # it was both halves
        if pending.family is not None:
            pending.family.active += 1
        self.state.backlog.spread([pending.part(other)], taken=1)

    def note_answer(self, pending: Pending, size_bytes: int) -> None:
        """Learn from an answer; where it shows that something is answered, what was held goes on in halves."""
        splitter = self.splitter
        unknown = splitter.encoding is Encoding.UNKNOWN
        splitter.note_answer(pending.request, size_bytes, tried_without=pending.whole is not None)
        if unknown and splitter.encoding is Encoding.REFUSED:
            self.on_event("encoding refused", {"message": "the answers are asked for as lists of numbers"})
        family = pending.family
        if family is None:
            return
        family.note_answer(pending.request)
        held, family.held = family.held, []
        self._holding.discard(family)
        for one, _, attempt in held:
            family.active += 1
            self._take_apart(one, halves(one.whole or one.request), attempt)

    async def divide(self, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Act on a failure that a retry would not mend: of several samples perhaps only one is to blame."""
        error = outcome.error
        if error is None:
            raise ValueError("nothing was refused")
        family = pending.family = pending.family or Family()
        verdict = self.splitter.after_refusal(pending.request, pending.whole, family, error)
        if verdict.move is Move.SPLIT:
            self._take_apart(pending, verdict.requests, attempt)
            return
        if verdict.move is Move.AGAIN:
            self.recorder.note(attempt)
            pending.whole, (pending.request,) = pending.request, verdict.requests
            if not self.state.control.stopping:
                self.state.backlog.postpone(pending, 0.0)
            return
        if verdict.move is Move.HOLD:
            family.held.append((pending, outcome, attempt))
            self._holding.add(family)
        else:
            await self.recorder.end(pending, outcome, attempt)
        await self.leave(family)

    async def fail(self, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """End a member that has failed as a whole, which says nothing about what the server takes."""
        await self.recorder.end(pending, outcome, attempt)
        if pending.family is not None:
            pending.family.spoilt = True
            await self.leave(pending.family)

    async def leave(self, family: Family) -> None:
        """Count a member of a family as ended. After the last of them those that are held are tried, or have failed."""
        family.active -= 1
        if family.active:
            return
        if not family.held:
            self.splitter.learn(family)
            return
        pending, _, attempt = family.held[0]
        if requests := self.splitter.scout(pending.whole or pending.request, family):
            del family.held[0]
            family.active += 1
            self._take_apart(pending, requests, attempt)
            return
        held, family.held = family.held, []
        self._holding.discard(family)
        for pending, outcome, attempt in held:
            await self.recorder.end(pending, outcome, attempt)

    def note_held(self) -> None:
        """Put down the attempts of what is held: what a run that stops leaves unsent was refused all the same."""
        for _, _, attempt in (held for family in self._holding for held in family.held):
            self.recorder.note(attempt)

    def _take_apart(self, pending: Pending, requests: Sequence[Request], attempt: Attempt) -> None:
        self.recorder.note(attempt)
        if not self.state.control.stopping and pending.family is not None:
            pending.family.active += len(requests) - 1
            parts = [self._part(pending, request) for request in requests]
            parts[0].counted_bytes = pending.counted_bytes
            self.state.backlog.spread(parts)

    def _part(self, pending: Pending, request: Request) -> Pending:
        """Return a part of a pack that was refused; where that used up its attempts, few are left for the part."""
        part, history, most = pending.part(request), pending.history, self.max_attempts
        if history is not None and history.attempts_used + 1 >= most:
            left = 1 if len(request.cases) > 1 else 2
            part.history = History(first_sent_at=pending.first_sent_at, attempts_used=max(0, most - left))
        return part
