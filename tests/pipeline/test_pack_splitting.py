"""What is sent in place of refused packs, as pure decisions: a session of its own, without clock and server."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import (
    AuthError,
    BadRequestError,
    BodyTooLargeError,
    ContextLengthError,
    NoChoicesError,
    RequestTimeoutError,
    RequestTooLargeError,
    ServerError,
)
from runner.pipeline.requests.cases import CaseColumns
from runner.pipeline.requests.packing import Loose, Packer, PackLimits
from runner.pipeline.sending.splitting import Encoding, Family, Move, Splitter, halves
from runner.records import Wrapping

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.errors import (
        RequestError,
    )
    from runner.records import Request

AROUND = Wrapping(b'{"encoding_format":"base64","input":', b"}", b'{"input":')
KNOWN = Wrapping(b'{"input":', b"}")


def pack_of(texts: list[str], wrapping: Wrapping = KNOWN) -> Request:
    contents = [orjson.dumps(text) for text in texts]
    count, keys = len(texts), [number.to_bytes(16, "big") for number in range(len(texts))]
    ids, zeros, sizes = [key.hex() for key in keys], [0] * count, list(map(len, contents))
    cases = CaseColumns(keys, ids, zeros, keys[:], zeros[:], [None] * count, {}, sizes)
    packer = Packer(PackLimits(10**6, 10**9, 10**9))
    packer.add(Loose(cases, contents, "/embeddings", 1, wrapping))
    return packer.flush()[0]


def texts_of(request: Request) -> list[str]:
    content = orjson.loads(request.body)["input"]
    return content if isinstance(content, list) else [content]


@dataclass
class Rehearsal:
    """Does with a splitter what a session does, first come, first served, or last come."""

    answer: Callable[[Request], RequestError | None]
    splitter: Splitter = field(default_factory=Splitter)
    depth_first: bool = False
    sent: int = 0
    answered: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    waiting: deque[tuple[Request, Request | None]] = field(default_factory=deque)

    def run(self, whole: Request) -> None:
        """Send until everything ended; every text ends exactly once."""
        family: Family | None = None
        waiting = self.waiting
        waiting.append((whole, None))
        while waiting:
            request, original = waiting.pop() if self.depth_first else waiting.popleft()
            request, *others = self.splitter.fit(request)
            waiting += [(other, None) for other in others]
            if family:
                family.active += len(others)
            elif others:
                family = Family(active=1 + len(others))
            self.sent += 1
            error = self.answer(request)
            if error is None:
                self.splitter.note_answer(request, 100 * len(request.cases), tried_without=original is not None)
                self.answered += texts_of(request)
                if family:
                    family.note_answer(request)
                    held, family.held = family.held, []
                    for one in held:
                        family.active += 2
                        waiting += [(half, None) for half in halves(one)]
                    self._leave(family)
                continue
            family = family or Family()
            verdict = self.splitter.after_refusal(request, original, family, error)
            if verdict.move is Move.SPLIT:
                family.active += len(verdict.requests) - 1
                waiting += [(one, None) for one in verdict.requests]
            elif verdict.move is Move.AGAIN:
                waiting.append((verdict.requests[0], request))
            else:
                if verdict.move is Move.HOLD:
                    family.held.append(original or request)
                else:
                    self.failed += texts_of(request)
                self._leave(family)
        assert family is None or (family.active, family.held) == (0, [])

    def _leave(self, family: Family) -> None:
        family.active -= 1
        if family.active:
            return
        if not family.held:
            self.splitter.learn(family)
            return
        if requests := self.splitter.scout(family.held[0], family):
            del family.held[0]
            family.active = len(requests)
            self.waiting += [(one, None) for one in requests]
            return
        for one in family.held:
            self.failed += texts_of(one)
        family.held = []


def poison(*bad: str) -> Callable[[Request], RequestError | None]:
    return lambda request: BadRequestError("no") if set(bad) & set(texts_of(request)) else None


TEXTS = [f"t{number}" for number in range(2048)]


@pytest.mark.parametrize("depth_first", [False, True])
@pytest.mark.parametrize("place", [0, 1, 700, 1023, 1024, 2047])
@pytest.mark.parametrize(("wrapping", "most"), [(KNOWN, 22), (AROUND, 25)])
def test_one_bad_input_of_2048(place: int, wrapping: Wrapping, most: int, *, depth_first: bool) -> None:
    one = Rehearsal(poison(f"t{place}"), depth_first=depth_first)
    one.run(pack_of(TEXTS, wrapping))
    assert one.failed == [f"t{place}"]
    assert sorted(one.answered) == sorted(set(TEXTS) - {f"t{place}"})
    assert one.sent - 1 <= most


@pytest.mark.parametrize("depth_first", [False, True])
@given(bad=st.sets(st.integers(0, 255), max_size=40))
@settings(max_examples=60, deadline=None)
def test_several_bad_inputs(bad: set[int], *, depth_first: bool) -> None:
    texts = TEXTS[:256]
    one = Rehearsal(poison(*(f"t{number}" for number in bad)), depth_first=depth_first)
    one.run(pack_of(texts))
    assert sorted(one.answered + one.failed) == sorted(texts)
    if len(set(bad)) <= 3:  # more could be in all the places that are looked at
        assert sorted(one.failed) == sorted(f"t{number}" for number in bad)
    assert one.sent <= 1 + 2 * 8 * max(1, len(bad))


@pytest.mark.parametrize("depth_first", [False, True])
@pytest.mark.parametrize("wrapping", [KNOWN, AROUND])
@pytest.mark.parametrize("kind", [BadRequestError, ContextLengthError, RequestTooLargeError, ServerError])
def test_what_is_always_refused_is_not_sent_one_by_one(
    kind: type[RequestError], wrapping: Wrapping, *, depth_first: bool
) -> None:
    one = Rehearsal(lambda _: kind("no"), depth_first=depth_first)
    one.run(pack_of(TEXTS, wrapping))
    assert (sorted(one.failed), one.answered) == (sorted(TEXTS), [])
    assert one.sent <= 30


@pytest.mark.parametrize(("most", "found"), [(1, 1), (32, 32), (100, 64), (2047, 1024), (1500, 1024)])
def test_the_most_that_a_server_takes_is_learnt(most: int, found: int) -> None:
    def answer(request: Request) -> RequestError | None:
        return RequestTooLargeError("no") if len(request.cases) > most else None

    one = Rehearsal(answer)
    one.run(pack_of(TEXTS))
    assert (one.failed, sorted(one.answered)) == ([], sorted(TEXTS))
    assert one.splitter.most_inputs == found
    one.sent = 0
    one.run(pack_of(TEXTS))
    assert one.sent == 2048 // found


def test_a_limit_of_bytes_is_no_limit_of_inputs() -> None:
    def answer(request: Request) -> RequestError | None:
        return BodyTooLargeError("no") if len(request.body) > 3000 else None

    texts = ["long " * 100] * 7 + ["s"] * 200
    one = Rehearsal(answer)
    one.run(pack_of(texts))
    assert (len(one.answered), one.failed, one.splitter.most_inputs) == (207, [], None)
    assert one.splitter.most_bytes is not None
    assert one.splitter.most_bytes <= 3000
    one.sent = 0
    one.run(pack_of(["s"] * 400))
    assert one.sent <= 2


def test_nothing_is_learnt_of_a_pack_with_a_bad_input() -> None:
    one = Rehearsal(poison("t3"))
    one.run(pack_of(TEXTS[:64]))
    assert (one.splitter.most_inputs, one.splitter.most_bytes) == (None, None)


@pytest.mark.parametrize("kind", [NoChoicesError, RequestTimeoutError, AuthError])
def test_other_failures_take_nothing_apart(kind: type[RequestError]) -> None:
    one = Rehearsal(lambda _: kind("no"))
    one.run(pack_of(TEXTS))
    assert (one.sent, len(one.failed)) == (1, 2048)


def refuses_base64(request: Request) -> RequestError | None:
    return BadRequestError("no") if b"base64" in request.body else None


def test_a_refused_encoding_is_learnt_once() -> None:
    one = Rehearsal(refuses_base64)
    for _ in range(3):
        one.run(pack_of(TEXTS, AROUND))
    assert (one.sent, one.failed, len(one.answered)) == (4, [], 3 * 2048)
    assert one.splitter.encoding is Encoding.REFUSED


@pytest.mark.parametrize("bad", [["t7"], ["t0", "t9", "t40"], []])
def test_a_refused_encoding_and_bad_inputs_are_told_apart(bad: list[str]) -> None:
    one = Rehearsal(lambda request: refuses_base64(request) or poison(*bad)(request))
    one.run(pack_of(TEXTS[:64], AROUND))
    assert sorted(one.failed) == sorted(bad)
    assert sorted(one.answered) == sorted(set(TEXTS[:64]) - set(bad))
    assert one.splitter.encoding is Encoding.REFUSED


def test_an_encoding_that_was_answered_is_not_suspected() -> None:
    one = Rehearsal(poison("t1"))
    one.run(pack_of(["t0"], AROUND))
    one.sent = 0
    one.run(pack_of(TEXTS, AROUND))
    assert (one.sent, one.splitter.encoding) == (23, Encoding.ACCEPTED)


def test_large_answers_make_packs_smaller() -> None:
    one = Rehearsal(lambda _: None, Splitter(answer_bytes=51_200))  # of 100 bytes for each input
    one.run(pack_of(TEXTS))
    assert (one.sent, one.splitter.most_inputs) == (1, 512)
    one.run(pack_of(TEXTS))
    assert (one.sent, one.splitter.most_inputs, len(one.answered)) == (5, 512, 4096)


def test_an_answer_that_is_always_large_does_not_make_packs_ever_smaller() -> None:
    splitter = Splitter(answer_bytes=1000)
    for _ in range(20):
        (request, *_) = splitter.fit(pack_of(TEXTS))
        splitter.note_answer(request, 10**8, tried_without=False)
    assert splitter.most_inputs == 256
