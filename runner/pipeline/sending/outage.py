"""Owns what a failed attempt says of the server it went to, and what the state of the servers means for its row.

A row is not to blame for a server that is out: what opened its breaker, or met it open, uses none of the row's
attempts. A row that failed before without that excuse, and whose server answered others since, is suspect: what it
fails with again is taken for its own doing, so that a few rows that no server can answer do not look like a server that
is out.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from runner.errors import (
    CancelledError,
    ConnectError,
    DisconnectError,
    OverloadError,
    RequestTimeoutError,
    ServerError,
    StaleConnectionError,
)
from runner.limiter import Health

if TYPE_CHECKING:
    from collections.abc import Hashable

    from runner.errors import RequestError
    from runner.limiter import Pool, Turn


@dataclass(frozen=True, slots=True)
class Standing:
    """How the servers stand at a row's failure.

    `excused`: the server is to blame, not the row. `suspect`: the row failed before, and the server answered others
    since. `elsewhere`: another server may take the row. `gone`: every server has been out for as long as a run holds
    on.
    """

    excused: bool = False
    suspect: bool = False
    elsewhere: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Whose attempt failed: what is one row, and when it first failed unexcused (seconds of `awake`; 0: never).

    All parts of a pack are one: each of them may hold the input that no server can answer.
    """

    who: Hashable
    failed_at: float


def health_of(error: RequestError, *, suspect: bool) -> Health:
    """Return what a failure says of its server; `suspect` is a row that failed before while others were answered."""
    if isinstance(error, ConnectError):
        return Health.DOWN
    if isinstance(error, (StaleConnectionError, CancelledError)):
        return Health.UNKNOWN
    if isinstance(error, OverloadError):
        return Health.UNKNOWN if suspect else Health.DOWN
    if isinstance(error, (RequestTimeoutError, DisconnectError, ServerError)) and not _is_of_the_request(error):
        return Health.UNKNOWN if suspect else Health.BROKEN
    return Health.SOUND


def note_failure(pool: Pool, turn: Turn, error: RequestError, row: Row) -> Standing:
    """Tell the pool of a failed attempt, and return how its servers stand after it.

    As long as nobody was ever reached, refused connections open no breaker: a run that has the wrong address ends soon.
    """
    replica = turn.replica
    refused = isinstance(error, ConnectError)
    suspect = 0.0 < row.failed_at < replica.breaker.sound_at
    health = health_of(error, suspect=suspect)
    if refused and pool.nobody_there(replica):
        health = Health.UNKNOWN
    pool.fail(turn, health, row.who, reached=not refused)
    elsewhere = pool.elsewhere(replica)
    blamed = health in (Health.DOWN, Health.BROKEN)
    excused = blamed and (replica.out or (refused and (elsewhere or pool.reached)))
    gone = excused and pool.out_for_s() >= pool.policy.give_up_s
    return Standing(excused, suspect, elsewhere, gone)


def gone_error(error: RequestError, server: str, after_s: float) -> RequestError:
    """Return the error that a run ends with when all its servers stay out."""
    return type(error)(
        f"no server has answered for {after_s / 60:.3g} min; {server}: {error.message}",
        hint="run the same command again once the server answers: it goes on where it stopped",
        http_status=error.http_status,
    )


def _is_of_the_request(error: RequestError) -> bool:
    """Say whether the server found fault with this request alone (409, 424, 425); 408 is a time-out like others."""
    status = error.http_status
    return (
        isinstance(error, ServerError)
        and status is not None
        and HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    )
