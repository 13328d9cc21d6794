"""Owns the turn of requests at the budget: each waits until the most that it may take fits, and settles what it took.

What fits, `budget` decides; what a request may take, `bounds`. First come, first served: a large request is not passed
by small ones, so that every row has its turn.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from runner.errors import BudgetError
from runner.pipeline.sending.bounds import Reserve, amount_taken, counted, may_be_billed, says_all
from runner.pipeline.sending.budget import NOTHING
from runner.records import Usage

if TYPE_CHECKING:
    from runner.pipeline.sending.attempt import Outcome
    from runner.pipeline.sending.backlog import Pending
    from runner.pipeline.sending.bounds import Bound, Bounds
    from runner.pipeline.sending.budget import Amount, Budget
    from runner.records import Request

_NO_USAGE = Usage()


@dataclass(slots=True)
class Spending:
    """A session's budget and the requests that wait for it."""

    budget: Budget
    bounds: Bounds
    _waiting: deque[anyio.Event] = field(default_factory=deque)

    def try_reserve(self, pending: Pending) -> bool:
        """Reserve for a row without waiting, if that can be."""
        return not self._waiting and self._take(pending)

    async def reserve(self, pending: Pending) -> bool:
        """Return true once the row has its reserve; false when it does not fit and nothing is under way any more.

        Being cancelled reserves nothing.
        """
        if pending.reserve is not None:
            return True
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            while self._waiting[0] is not turn or not self._take(pending):
                if self._waiting[0] is turn and not self.budget.under_way:
                    return False
                place = self._waiting.index(turn)
                self._waiting[place] = turn = anyio.Event()
                await turn.wait()
        finally:
            self._waiting.remove(turn)
            self._wake_first()
        return True

    def settle(self, pending: Pending, outcome: Outcome) -> Amount:
        """Charge what an attempt took; return what of it no accepted answer's usage states."""
        reserve, pending.reserve = pending.reserve, None
        if reserve is None:
            return NOTHING
        if not self.budget.capped and self._is_plain(pending, outcome):  # nearly every answer of nearly every run
            self.bounds.learn(pending.request, outcome.usage)
            return NOTHING
        took = self._taken(reserve.bound, outcome)
        if outcome.so_far is not None:  # parts of an answer that are not bought again
            parts = amount_taken(reserve.bound, outcome.so_far, self.bounds.price)
            took, pending.paid = took + parts - pending.paid, parts
        elif outcome.error is None:
            took, pending.paid = took - pending.paid, NOTHING
        self.budget.settle(reserve.most, took, answered=outcome.error is None)
        if outcome.error is None:
            self.bounds.learn(pending.request, outcome.usage)
        self._wake_first()
        return took if outcome.error is not None else took - counted(outcome.usage, self.bounds.price)

    def release(self, pending: Pending) -> None:
        """Give back what is reserved for a row that is not sent after all."""
        reserve, pending.reserve = pending.reserve, None
        if reserve is not None:
            self.budget.settle(reserve.most, NOTHING, answered=False)
            self._wake_first()

    def used_up(self, request: Request) -> BudgetError:
        """Return why a request is not sent, and what to do about it."""
        problem, key = self.budget.describe(self.bounds.amount_of(self.bounds.of(request)))
        return BudgetError(
            problem,
            hint=f"what is done is kept: raise budget.{key} in the config and run it again on the same folder, "
            f"or `evalrunner run CONFIG --run-dir RUN_DIR {_OPTIONS[key]}`",
        )

    def _take(self, pending: Pending) -> bool:
        bound = self.bounds.of(pending.request)
        most = self.bounds.amount_of(bound)
        if not self.budget.take(most):
            return False
        pending.reserve = Reserve(bound, most)
        return True

    def _is_plain(self, pending: Pending, outcome: Outcome) -> bool:
        """Say whether an attempt is an answer, for which nothing was paid before, and whose usage says all."""
        if outcome.error is not None or outcome.so_far is not None or pending.paid is not NOTHING:
            return False
        return says_all(outcome.usage, self.bounds.price)

    def _taken(self, bound: Bound, outcome: Outcome) -> Amount:
        status = outcome.response.http_status if outcome.response is not None else None
        if outcome.usage == _NO_USAGE and not may_be_billed(outcome.error, status):
            return NOTHING
        return amount_taken(bound, outcome.usage, self.bounds.price)

    def _wake_first(self) -> None:
        if self._waiting:
            self._waiting[0].set()


_OPTIONS = {"max_cost_usd": "--max-cost USD", "max_tokens": "--set budget.max_tokens=N"}
