"""Parts of a limit: even where all want it, what is not wanted goes to the others, and never more than all of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.limiter import Claim, Unit
from runner.limiter.shares import fair_parts, next_grant, renewed

LIMIT = 6_000.0
ALL = Claim(LIMIT, LIMIT)
IDLE = Claim(LIMIT, 0.0)

limits = st.sampled_from([60.0, 500.0, 6_000.0, 3e6])
groups = st.lists(
    st.builds(lambda limit, wanted: Claim(limit, wanted * limit), limits, st.floats(0.0, 1.0)), min_size=1, max_size=12
)


def take_turns(claims: list[Claim], rounds: int = 1) -> list[Claim]:
    """Let each in its turn renew what it has; the parts may never be more than all of it."""
    claims = list(claims)
    limit = max(one.limit for one in claims)
    for number in [*range(len(claims))] * rounds:
        others = claims[:number] + claims[number + 1 :]
        claims[number] = replace(claims[number], granted=next_grant(claims[number], others))
        assert sum(one.granted for one in claims) <= limit * (1 + 1e-9)
    return claims


@pytest.mark.parametrize(
    ("claims", "parts"),
    [
        ([ALL], [6_000]),
        ([IDLE], [6_000]),
        ([ALL] * 4, [1_500] * 4),
        ([Claim(LIMIT, 900), ALL], [900, 5_100]),
        ([Claim(LIMIT, 900), Claim(LIMIT, 600)], [3_150, 2_850]),
        ([Claim(500, 500), ALL], [500, 5_500]),
        ([Claim(500, 100), Claim(500, 500), ALL], [100, 500, 5_400]),
        ([IDLE, ALL, ALL], [100, 2_950, 2_950]),
    ],
    ids=["alone", "alone and idle", "even", "less", "all want less", "typed less", "mixed", "idle is left a little"],
)
def test_fair_parts(claims: list[Claim], parts: list[float]) -> None:
    assert fair_parts(claims) == pytest.approx(parts)


@given(groups)
def test_parts_are_never_more_than_all_and_nobody_starves(claims: list[Claim]) -> None:
    parts = fair_parts(claims)
    limit = max(one.limit for one in claims)
    assert sum(parts) <= limit * (1 + 1e-9)
    assert sum(parts) == pytest.approx(limit)  # who knows the highest limit takes what nobody else may have
    for part, one in zip(parts, claims, strict=True):
        assert 0.0 < part <= one.limit * (1 + 1e-9)
        assert part >= min(one.wanted, limit / len(claims)) * (1 - 1e-9)


@given(groups, st.data())
def test_whatever_changes_parts_settle_in_two_rounds_and_never_add_up_to_more(
    claims: list[Claim], data: st.DataObject
) -> None:
    claims = take_turns(claims, rounds=2)
    for _ in range(3):
        wanted = data.draw(st.lists(st.floats(0.0, 1.0), min_size=len(claims), max_size=len(claims)))
        claims = [replace(one, wanted=part * one.limit) for one, part in zip(claims, wanted, strict=True)]
        claims = take_turns(claims, rounds=2)
        assert [one.granted for one in claims] == pytest.approx(fair_parts(claims), rel=1e-6, abs=1e-5)


def test_a_newcomer_has_nothing_until_there_is_room() -> None:
    old = replace(ALL, granted=LIMIT)
    assert next_grant(ALL, [old]) == 0.0
    old = replace(ALL, granted=next_grant(old, [ALL]))
    assert old.granted == 3_000.0
    assert next_grant(ALL, [old]) == 3_000.0


def test_what_a_dead_process_had_is_taken_by_the_others() -> None:
    claims = take_turns([ALL] * 4, rounds=2)[:3]
    assert [one.granted for one in take_turns(claims)] == pytest.approx([2_000.0] * 3)


def test_a_limit_that_fell_leaves_nobody_without() -> None:
    halved = [Claim(LIMIT / 2, LIMIT / 2, granted=1_500.0)] * 4
    assert next_grant(halved[0], halved[1:]) == 750.0


def test_each_limit_is_a_matter_of_its_own() -> None:
    mine = {Unit.REQUESTS: ALL, Unit.TOKENS: Claim(1e6, 2e5)}
    others = [{Unit.REQUESTS: replace(IDLE, granted=150.0)}, {Unit.TOKENS: Claim(1e6, 1e6, granted=8e5)}]
    granted = renewed(mine, others)
    assert {unit: round(one.granted) for unit, one in granted.items()} == {Unit.REQUESTS: 5_850, Unit.TOKENS: 200_000}
