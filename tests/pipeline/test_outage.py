"""What a failure says of its server, and what the servers' state means for the row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner.errors import (
    BadRequestError,
    CancelledError,
    ConnectError,
    DisconnectError,
    InvalidResponseError,
    OverloadError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StaleConnectionError,
)
from runner.limiter import BreakerPolicy, Health, Limiter, Limits, Pool, Replica, Turn, Verdict
from runner.pipeline.sending.outage import Row, Standing, gone_error, health_of, note_failure
from tests.support.fake_time import FakeTime

if TYPE_CHECKING:
    from runner.errors import RequestError

KEY = bytes(16)
REFUSED = ConnectError("cannot connect")
POLICY = BreakerPolicy(failures=2, give_up_s=60.0)


@pytest.mark.parametrize(
    ("error", "expected", "of_a_suspect"),
    [
        (REFUSED, Health.DOWN, Health.DOWN),
        (OverloadError("full", http_status=503), Health.DOWN, Health.UNKNOWN),
        (ServerError("oops", http_status=500), Health.BROKEN, Health.UNKNOWN),
        (ServerError("in a 200", http_status=200), Health.BROKEN, Health.UNKNOWN),
        (ServerError("generation failed", http_status=424), Health.SOUND, Health.SOUND),
        (RequestTimeoutError("slow"), Health.BROKEN, Health.UNKNOWN),
        (RequestTimeoutError("slow", http_status=408), Health.BROKEN, Health.UNKNOWN),
        (DisconnectError("cut"), Health.BROKEN, Health.UNKNOWN),
        (StaleConnectionError("closed"), Health.UNKNOWN, Health.UNKNOWN),
        (CancelledError("stopped"), Health.UNKNOWN, Health.UNKNOWN),
        (RateLimitError("wait", http_status=429), Health.SOUND, Health.SOUND),
        (BadRequestError("no", http_status=400), Health.SOUND, Health.SOUND),
        (InvalidResponseError("empty", http_status=200), Health.SOUND, Health.SOUND),
    ],
)
def test_each_failure_says_something_of_its_server(error: RequestError, expected: Health, of_a_suspect: Health) -> None:
    assert health_of(error, suspect=False) is expected
    assert health_of(error, suspect=True) is of_a_suspect


class Bench:
    """A pool on a fake clock; `fail` and `answer` are one attempt each."""

    def __init__(self, servers: int) -> None:
        self.time = FakeTime()
        limits = Limits(max_in_flight=100)
        replicas = [Replica(number, f"s{number}", Limiter(limits, self.time.clock)) for number in range(servers)]
        self.pool = Pool(replicas, POLICY, clock=self.time.clock, pause=self.time.pause)

    def turn(self, number: int = 0) -> Turn:
        """Return a turn at one server: all others are asked after it."""
        replica = self.pool.replicas[number]
        ticket = replica.limiter.ask(1)
        assert not isinstance(ticket, float)
        return Turn(replica, ticket, replica.breaker.admit() if replica.out else 0)

    def fail(self, error: RequestError, number: int = 0, *, failed_at: float = 0.0, key: bytes = KEY) -> Standing:
        return note_failure(self.pool, self.turn(number), error, Row(key, failed_at))

    def answer(self, number: int = 0) -> None:
        self.pool.done(self.turn(number), Verdict.ANSWERED)


def test_what_opens_the_breaker_or_meets_it_open_is_excused_and_what_came_before_is_not() -> None:
    bench = Bench(1)
    broken = ServerError("oops", http_status=500)
    met = bench.turn()
    assert [bench.fail(broken, key=bytes([number])).excused for number in range(3)] == [False, True, True]
    assert note_failure(bench.pool, met, broken, Row(b"met", 0.0)).excused
    assert not bench.fail(BadRequestError("no", http_status=400)).excused


def test_a_row_whose_server_answered_others_since_it_failed_is_not_excused() -> None:
    bench = Bench(1)
    failed_at = bench.time.now
    bench.time.now += 1.0
    bench.answer()
    bench.time.now += 1.0
    for number in range(5):
        standing = bench.fail(ServerError("oops", http_status=500), failed_at=failed_at, key=bytes([number]))
        assert standing == Standing(suspect=True)
    assert not bench.pool.replicas[0].out


def test_what_other_servers_answer_says_nothing_of_a_row_that_this_one_fails() -> None:
    bench = Bench(2)
    failed_at = bench.time.now
    bench.time.now += 1.0
    bench.answer(1)
    broken = ServerError("oops", http_status=500)
    assert not bench.fail(broken, 0, failed_at=failed_at).suspect
    assert bench.fail(broken, 1, failed_at=failed_at).suspect


def test_a_connection_that_is_refused_is_excused_once_somebody_was_reached() -> None:
    bench = Bench(1)
    assert [bench.fail(REFUSED) for _ in range(5)] == [Standing()] * 5
    assert not bench.pool.replicas[0].out
    bench.answer()
    assert bench.fail(REFUSED) == Standing(excused=True)


def test_in_a_pool_it_is_excused_while_another_server_may_be_there() -> None:
    bench = Bench(2)
    assert bench.fail(REFUSED, 0) == Standing(excused=True, elsewhere=True)
    assert bench.fail(REFUSED, 1) == Standing()  # each has refused, and none was ever reached
    bench.answer(1)
    assert bench.fail(REFUSED, 0) == Standing(excused=True, elsewhere=True)


def test_servers_that_are_all_out_for_long_are_gone() -> None:
    bench = Bench(2)
    full = OverloadError("HTTP 503: full", http_status=503)
    for number in (0, 0, 1, 1):
        standing = bench.fail(full, number)
    assert standing == Standing(excused=True)
    bench.time.now += 59.0
    assert not bench.fail(full, 0).gone
    bench.time.now += 1.0
    assert bench.fail(full, 0).gone
    said = gone_error(full, "http://h:1/v1", 900.0)
    assert said.message == "no server has answered for 15 min; http://h:1/v1: HTTP 503: full"
    assert (type(said), said.http_status) == (OverloadError, 503)
