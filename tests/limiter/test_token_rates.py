"""A limit of tokens in virtual time: how much of it is used, and how many 429s that costs."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

import pytest

from runner.limiter import Limiter, Limits, Verdict
from runner.limiter.limiter import Ticket
from runner.limiter.refunds import Refunds
from runner.records import Usage

PER_S = 50_000.0
LONGEST = 64
UNTIL_S = 60.0


@dataclass
class Server:
    """A strict server: prompt and longest answer are charged at admission, of a bucket of one second."""

    refunds: bool = False
    tells: bool = False
    by_chance: float = 0.0
    level: float = PER_S
    at: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - a model

    def admit(self, now: float, tokens: float) -> bool:
        self.level, self.at = min(self.level + (now - self.at) * PER_S, PER_S), now
        if self.level < tokens or self.chance.random() < self.by_chance:
            return False
        self.level -= tokens
        return True

    def headers(self) -> dict[str, str]:
        told = {"x-ratelimit-limit-tokens": str(60 * PER_S), "x-ratelimit-remaining-tokens": str(int(self.level))}
        return told if self.tells else {}


@dataclass
class Course:
    admitted: list[tuple[float, float]] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def used(self, begin: float = 5.0) -> float:
        return sum(tokens for at, tokens in self.admitted if at >= begin) / ((UNTIL_S - begin) * PER_S)

    @property
    def refused_share(self) -> float:
        return len(self.refused) / (len(self.refused) + len(self.admitted))


def drive(server: Server, limits: Limits) -> Course:
    """Let a client with prompts of 20 to 4,000 tokens send all that the limiter lets it, for a minute."""
    clock = [0.0]
    limiter = Limiter(limits, clock=lambda: clock[0])
    prompts = random.Random(2)  # noqa: S311 - a model
    numbers = itertools.count()
    events: list[tuple[float, int, str, tuple[object, ...]]] = [(0.0, 0, "ask", ())]
    course, waiting, next_ask = Course(), round(20 * 200 ** prompts.random()), 0.0
    while events and events[0][0] < UNTIL_S:
        now, _, kind, facts = heapq.heappop(events)
        clock[0] = now
        if kind == "arrive":
            ticket, prompt = facts
            assert isinstance(prompt, int)
            tokens = float(prompt + LONGEST)
            admitted = server.admit(now, tokens)
            course.admitted.append((now, tokens)) if admitted else course.refused.append(now)
            answer = (ticket, prompt, prompts.randrange(10, LONGEST), admitted, server.headers())
            heapq.heappush(events, (now + prompts.uniform(0.05, 0.1), next(numbers), "answer", answer))
            continue
        if kind == "answer":
            ticket, prompt, completion, admitted, headers = facts
            assert isinstance(ticket, Ticket)
            assert isinstance(prompt, int)
            assert isinstance(completion, int)
            assert isinstance(headers, dict)
            if server.refunds and admitted:
                server.level += LONGEST - completion
            usage = Usage(prompt_tokens=prompt, completion_tokens=completion) if admitted else Usage()
            limiter.done(ticket, Verdict.ANSWERED if admitted else Verdict.REFUSED, usage, headers)
        # An estimate is off by a tenth, either way.
        while isinstance(said := limiter.ask(round(waiting * prompts.uniform(0.9, 1.1)), LONGEST), Ticket):
            heapq.heappush(events, (now + 0.002, next(numbers), "arrive", (said, waiting)))
            waiting = round(20 * 200 ** prompts.random())
        if now + said < max(next_ask, now) or next_ask <= now:
            next_ask = now + min(max(said, 0.001), 1.0)
            heapq.heappush(events, (next_ask, next(numbers), "ask", ()))
    return course


TYPED = Limits(max_in_flight=64, tokens_per_minute=60 * PER_S)
UNTYPED = Limits(max_in_flight="auto")


@pytest.mark.parametrize("refunds", [False, True])
@pytest.mark.parametrize("tells", [False, True])
def test_a_limit_of_tokens_is_used_with_next_to_no_refusals(*, refunds: bool, tells: bool) -> None:
    course = drive(Server(refunds=refunds, tells=tells), UNTYPED if tells else TYPED)
    assert course.used() >= 0.97
    assert course.refused_share <= 0.005


def test_refusals_by_chance_leave_most_of_a_limit_in_use() -> None:
    course = drive(Server(by_chance=0.02), TYPED)
    assert course.used() >= 0.9
    assert course.refused_share <= 0.03


def test_the_first_refusal_ends_refunds_and_they_are_tried_again_ever_more_seldom() -> None:
    refunds = Refunds()
    whiles = []
    for _ in range(3):
        assert refunds.refused()
        assert not refunds.given
        sent = 0
        while not refunds.given:
            refunds.sent()
            sent += 1
        whiles.append(sent)
    assert whiles == [1_000, 2_000, 4_000]


def test_refusals_that_go_on_without_refunds_have_another_reason() -> None:
    refunds = Refunds()
    assert refunds.refused()
    for number in range(400):
        refunds.sent()
        if number % 50 == 49:
            assert not refunds.refused()
    assert refunds.given
    assert not refunds.refused()
    assert refunds.given


def test_a_few_refusals_without_refunds_prove_nothing() -> None:
    refunds = Refunds()
    assert refunds.refused()
    for number in range(900):
        refunds.sent()
        if number % 250 == 249:
            assert not refunds.refused()
    assert not refunds.given
