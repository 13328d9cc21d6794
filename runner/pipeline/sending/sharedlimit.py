"""Owns keeping a session to its share of limits that other processes of this user use with the same key.

Twice a second, beside everything else: what is wanted is read off the limiter, the lease is renewed in a thread, and
the limiter is told the share. Until a first share is known nothing is admitted where a limit is typed in. Where sharing
is not possible, the session has the whole limit, and an event says why.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runner.errors import CannotCreateError
from runner.limiter import Claim, Demand, Lease, LockBusyError, sharing_with
from runner.pipeline.usercache import user_cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.limiter import Group, Pool, Replica, Unit

TURN_S = 0.5
_MOST_BUSY = 10


@dataclass(slots=True)
class SharedLimit:
    """One server's part in a group; `others` is how many processes there are beside this one."""

    pool: Pool
    replica: Replica
    group: Group
    run_id: str
    on_event: Callable[[str, dict[str, object]], None]
    others: int = 0
    _shares: dict[Unit, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pool.share(self.replica, dict.fromkeys(self.replica.limiter.metered(), 0.0))

    async def serve(self) -> None:
        """Take part as soon as a limit is known, until cancelled."""
        try:
            while not self.replica.limiter.metered():  # noqa: ASYNC110 - half a second after a limit was told is soon enough
                await anyio.sleep(TURN_S)
            await self._take_part()
        except (OSError, CannotCreateError) as error:
            self.on_event("limits not shared", {"reason": str(error)})
            self.others = 0
            self.pool.share(self.replica, {})

    async def _take_part(self) -> None:
        limits = limits_folder()
        if limits is None:
            raise CannotCreateError("there is no folder for the user's cache")
        lease = await anyio.to_thread.run_sync(Lease, limits, self.group, self.run_id)
        demand, busy = Demand(time.monotonic()), 0
        try:
            while True:
                try:
                    await self._renew(lease, demand)
                    busy = 0
                except LockBusyError:
                    busy += 1
                    if busy >= _MOST_BUSY:
                        raise CannotCreateError(f"{limits}: a lock is held by a process that does not go on") from None
                await anyio.sleep(TURN_S)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lease.leave)

    async def _renew(self, lease: Lease, demand: Demand) -> None:
        metered = self.replica.limiter.metered()
        wanted = demand.note(time.monotonic(), metered, waiting=self.pool.waits_for_rate(self.replica))
        claims = {
            unit: Claim(one.limit, wanted[unit], self._shares.get(unit, 0.0) * one.limit)
            for unit, one in metered.items()
        }
        granted, others = await anyio.to_thread.run_sync(lease.renew, claims)
        self._shares = {unit: one.granted / one.limit for unit, one in granted.items()}
        self.pool.share(self.replica, self._shares)
        if others != self.others:
            self.others = others
            self.on_event("limits shared", {"with": others})


def limits_folder() -> Path | None:
    """Return where processes that share limits meet; null where this user has no cache."""
    cache = user_cache()
    return None if cache is None else cache / "limits"


def shared_with(run_id: str) -> int | None:
    """Return with how many other processes a run shares its limits at this moment; null where it does not take part."""
    limits = limits_folder()
    return None if limits is None else sharing_with(limits, run_id)
