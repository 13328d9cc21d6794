from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner.errors import CannotCreateError
from runner.simulate.ledger import Entry, Ledger, Statistics, Tokens

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = "01" * 32, "02" * 32


def test_a_request_is_followed_from_arrival_to_answer() -> None:
    ledger = Ledger(None)
    with ledger.arrive(ONE) as arrival:
        assert ledger.statistics().in_flight == 1
        assert list(ledger.entries()) == [Entry(1, ONE, None, None, completed=False, answered=False)]
        arrival.expect(None, Tokens(10, 20))
        arrival.begin(200)
        arrival.finishing()
        assert ledger.statistics().answered == 0
        arrival.finished()
    assert list(ledger.entries()) == [Entry(1, ONE, 200, None, completed=True, answered=True)]
    assert ledger.statistics() == Statistics(
        requests=1,
        answered=1,
        in_flight=0,
        max_in_flight=1,
        by_status={200: 1},
        prompt_tokens=10,
        completion_tokens=20,
    )


def test_a_reply_without_an_answer_is_completed_only() -> None:
    ledger = Ledger(None)
    with ledger.arrive(ONE) as arrival:
        arrival.expect("html_200", None)
        arrival.begin(200)
        arrival.finishing()
        arrival.finished()
    assert list(ledger.entries()) == [Entry(1, ONE, 200, "html_200", completed=True, answered=False)]
    assert ledger.statistics().completion_tokens == 0


def test_a_broken_request_leaves_the_flight_and_no_answer() -> None:
    ledger = Ledger(None)
    arrival = ledger.arrive(ONE)
    arrival.expect("reset", Tokens(1, 1))
    with pytest.raises(ConnectionResetError), arrival:
        raise ConnectionResetError
    assert list(ledger.entries()) == [Entry(1, ONE, None, "reset", completed=False, answered=False)]
    assert ledger.statistics().in_flight == 0


def test_the_highest_number_in_flight_is_kept() -> None:
    ledger = Ledger(None)
    with ledger.arrive(ONE), ledger.arrive(TWO):
        pass
    with ledger.arrive(ONE):
        pass
    assert (ledger.statistics().max_in_flight, ledger.statistics().requests) == (2, 3)


def test_files_hold_arrivals_and_the_answers_about_to_be_complete(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    with ledger.arrive(ONE) as answered, ledger.arrive(TWO) as broken:
        answered.expect(None, Tokens(1, 1))
        broken.expect("html_200", None)
        assert path.read_text() == ""
        answered.finishing()
        broken.finishing()
        assert path.read_text() == f"{ONE}\n"
    assert (tmp_path / "ledger.arrivals").read_text() == f"{ONE}\n{TWO}\n"
    ledger.close()


def test_files_are_appended_to(tmp_path: Path) -> None:
    for digest in (ONE, TWO):
        ledger = Ledger(tmp_path / "ledger")
        ledger.arrive(digest)
        ledger.close()
    assert (tmp_path / "ledger.arrivals").read_text() == f"{ONE}\n{TWO}\n"


def test_a_ledger_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError, match="no-such"):
        Ledger(tmp_path / "no-such" / "ledger")
