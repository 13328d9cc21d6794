from __future__ import annotations

from runner.pipeline.sending.backlog import Pending
from runner.pipeline.sending.underway import Straggler, UnderWay
from runner.records import Case, Request


def pending(*names: str, attempts: int = 1) -> Pending:
    cases = [Case(name.encode(), name, 0, b"", 0, None, b"") for name in names]
    return Pending(Request(names[0].encode(), "/", b"", cases, 1, 0), 0.0, 0.0, attempts=attempts)


def test_the_oldest_come_first_and_a_retry_is_young_again() -> None:
    under_way = UnderWay()
    assert under_way.oldest_s(10.0) is None
    assert under_way.slowest(10.0, 10) == []
    first, pack, third = pending("a"), pending("b", "c", attempts=2), pending("d")
    for at, one in enumerate((first, pack, third)):
        under_way.begin(one, float(at), "http://s")
    assert under_way.oldest_s(10.0) == 10.0
    assert under_way.slowest(10.0, 2) == [
        Straggler("a", 1, 1, 10.0, "http://s"),
        Straggler("b", 2, 2, 9.0, "http://s"),
    ]
    under_way.end(first)
    under_way.begin(first, 9.5, "http://s")
    assert [one.sample_id for one in under_way.slowest(10.0, 10)] == ["b", "d", "a"]
    for one in (first, pack, third, third):
        under_way.end(one)
    assert under_way.oldest_s(10.0) is None
