"""Owns what a run does about packs that are refused: which smaller requests go in their place. Pure; nothing waits.

One bad input fails the request that it is in. So a refused pack is halved until only the bad input fails alone: of n
inputs that takes 2 × log2(n) requests more for each bad one. Some servers answer a bad input
with a 500, or crash: a pack whose attempts are used up that way is halved, too, and each part is sent once. Three other
things can look the same, and none of them may cost a request for every input:

- *The encoding asked for by default is refused.* Until an answer shows that it is not, a refused request goes once more
  without it. Once that is answered, all that follows goes without.
- *Whatever is sent is refused.* While nothing is answered, parts that are small already wait until all others ended.
  Then up to four of their inputs are sent apart, one after the other. If that brings no answer either, all have failed.
- *The pack is larger than the server takes.* Where no input failed in the end, the largest that was answered is the
  most from then on, in inputs or in bytes, whichever explains it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from runner.errors import (
    BadRequestError,
    BodyTooLargeError,
    ContextLengthError,
    DisconnectError,
    PermissionDeniedError,
    RequestTooLargeError,
    ServerError,
)
from runner.pipeline.requests.packing import single_out, take_apart, without_encoding

if TYPE_CHECKING:
    from runner.errors import RequestError
    from runner.records import Request

# Failures that one input can bring upon all that share its request, or their number upon all of them.
_SPLITTABLE = (
    BadRequestError,
    ContextLengthError,
    RequestTooLargeError,
    BodyTooLargeError,
    PermissionDeniedError,
)
# What a retry may mend, and one input may cause all the same.
_AFTER_RETRIES = (ServerError, DisconnectError)
# Refused are as many as the whole, both halves and all quarters: what is refused now waits.
_REFUSED_TO_EIGHTHS = 7
_SCOUTS = 4
# A server that goes away while a pack is being halved must not be asked for every input.
_MOST_UNMENDED = 48
_TRIALS, _SINGLE_TRIALS = 2, _SCOUTS


# Answers may be large for other reasons than the number of inputs: packs never get smaller than this for their sake.
_LEAST_FITTING = 256


class Encoding(Enum):
    """What is known of the encoding that is asked for by default."""

    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class Move(Enum):
    """What becomes of a request that was refused."""

    END = "it has failed"
    AGAIN = "it is sent once more, without the encoding"
    SPLIT = "its parts are sent in its place"
    HOLD = "it waits until it is known whether anything is answered"


@dataclass(slots=True, eq=False)
class Family:
    """A pack and all that it was split into.

    `active` counts those of them that are under way or will be; `held` are those that wait for the others, as whoever
    holds them keeps them. `most_answered` and `least_refused` are inputs and bytes of a body.
    """

    active: int = 1
    answered: int = 0
    packs_refused: int = 0
    singles_refused: int = 0
    scouts: int = 0
    trials: int = 0
    single_trials: int = 0
    unmended: int = 0
    spoilt: bool = False
    most_answered: tuple[int, int] = (0, 0)
    least_refused: tuple[int, int] = (1 << 60, 1 << 60)
    held: list[Any] = field(default_factory=list)

    def note_answer(self, request: Request) -> None:
        """Note that a member was answered."""
        inputs, size_bytes = self.most_answered
        self.answered += 1
        self.most_answered = (max(inputs, len(request.cases)), max(size_bytes, len(request.body)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """A move, and the requests that go out with it."""

    move: Move
    requests: tuple[Request, ...] = ()


@dataclass(slots=True)
class Splitter:
    """What a session has learnt of the packs that its server takes; null limits are not known to be there.

    `answer_bytes` is how large answers may be: where one is larger, the packs that follow hold fewer inputs.
    """

    encoding: Encoding = Encoding.UNKNOWN
    most_inputs: int | None = None
    most_bytes: int | None = None
    answer_bytes: int | None = None

    def fit(self, request: Request) -> list[Request]:
        """Return what is to be sent in place of a request by all that is known now."""
        if self.encoding is Encoding.REFUSED:
            request = without_encoding(request)
        count = len(request.cases)
        parts = max(_parts(count, self.most_inputs), _parts(len(request.body), self.most_bytes))
        if count == 1 or parts == 1:
            return [request]
        parts = min(parts, count)
        bounds = [count * part // parts for part in range(parts + 1)]
        return take_apart(request, [end - start for start, end in itertools.pairwise(bounds)])

    def note_answer(self, request: Request, size_bytes: int, *, tried_without: bool) -> None:
        """Learn from an answer, perhaps to a request that was tried without the encoding it had asked for."""
        if self.answer_bytes is not None and size_bytes > self.answer_bytes:
            fitting = max(_LEAST_FITTING, len(request.cases) * self.answer_bytes // size_bytes)
            self.most_inputs = min(fitting, self.most_inputs or fitting)
        if self.encoding is Encoding.UNKNOWN and request.wrapping is not None:
            if request.wrapping.plain is not None:
                self.encoding = Encoding.ACCEPTED
            elif tried_without:
                self.encoding = Encoding.REFUSED

    def after_refusal(self, request: Request, whole: Request | None, family: Family, error: RequestError) -> Verdict:
        """Return what becomes of a refused request, and note it in its family.

        `whole` is the request as it was, where this was the trial without the encoding.
        """
        size = len(request.cases)
        if not isinstance(error, _SPLITTABLE):
            family.spoilt = True  # it says nothing about what the server takes
            family.unmended += 1
            if not isinstance(error, _AFTER_RETRIES) or family.unmended > _MOST_UNMENDED:
                return Verdict(Move.END)
        if isinstance(error, BadRequestError) and self._may_be_encoding(request, family):
            return Verdict(Move.AGAIN, (without_encoding(request),))
        if size == 1:
            family.singles_refused += 1
            return Verdict(Move.END)
        family.packs_refused += 1
        inputs, size_bytes = family.least_refused
        family.least_refused = (min(inputs, size), min(size_bytes, len(request.body)))
        return self._split(whole or request, family)

    def _may_be_encoding(self, request: Request, family: Family) -> bool:
        if request.wrapping is None or request.wrapping.plain is None or self.encoding is Encoding.ACCEPTED:
            return False
        if self.encoding is Encoding.REFUSED:
            return True
        if len(request.cases) > 1:
            family.trials += 1
            return family.trials <= _TRIALS
        family.single_trials += 1
        return family.single_trials <= _SINGLE_TRIALS

    def _split(self, request: Request, family: Family) -> Verdict:
        if family.answered or family.packs_refused <= _REFUSED_TO_EIGHTHS:
            return Verdict(Move.SPLIT, halves(request))
        return Verdict(Move.HOLD)

    def scout(self, request: Request, family: Family) -> tuple[Request, ...]:
        """Return what is sent of a part that is held, when no other is under way; nothing where enough was tried."""
        family.scouts += 1
        return single_out(request, len(request.cases) // 2) if family.scouts <= _SCOUTS else ()

    def learn(self, family: Family) -> bool:
        """Learn from a family all of whose members have ended; say whether there was anything to learn."""
        if family.spoilt or family.singles_refused or family.held or not family.packs_refused or not family.answered:
            return False
        (most_inputs, most_bytes), (refused_inputs, refused_bytes) = family.most_answered, family.least_refused
        if most_inputs < refused_inputs:
            self.most_inputs = min(most_inputs, self.most_inputs or most_inputs)
        elif most_bytes < refused_bytes:
            self.most_bytes = min(most_bytes, self.most_bytes or most_bytes)
        return True


def halves(request: Request) -> tuple[Request, ...]:
    """Return the two halves of a pack."""
    size = len(request.cases)
    return tuple(take_apart(request, [size // 2, size - size // 2]))


def _parts(amount: int, most: int | None) -> int:
    return 1 if most is None else -(-amount // max(1, most))
