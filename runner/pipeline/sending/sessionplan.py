"""Owns what a session works with, by what it is for: work, server, store, knowledge, terms, and who looks on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runner.config import RunConfig
    from runner.endpoints import Endpoint
    from runner.folder.commits import CommitLog
    from runner.folder.layout import RunFolder
    from runner.limiter import Limits, Pool
    from runner.pipeline.requests.adapting import Adapting
    from runner.pipeline.requests.omissions import OmissionWatch
    from runner.pipeline.requests.packing import PackLimits
    from runner.pipeline.requests.truncation import Enlarging
    from runner.pipeline.sending.budget import Budget
    from runner.pipeline.sending.likelihood import LikelihoodSender
    from runner.pipeline.sending.sharedlimit import SharedLimit
    from runner.pipeline.storing.plan import Sealing
    from runner.prices import Price
    from runner.progress import Display
    from runner.records import Request, SkippedRow
    from runner.retry import RetryPolicy
    from runner.transport import Transport


@dataclass(frozen=True, slots=True)
class Work:
    """What is left to send: `cases` is how many are left, `already_done` how many earlier sessions did.

    `packs` is set where a request may hold several samples. `again` says that all of it has rows already, which are to
    be replaced.
    """

    batches: Iterator[list[Request | SkippedRow]]
    cases: int
    already_done: int
    packs: PackLimits | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """Who is asked, and on what terms. What is one server's own stands in the `limiter`'s replicas.

    `transports` stand in the order of the replicas. `slots` requests may be under way at once, at all of them together.
    `likelihood` is set where samples go out in a form that is learnt first. `shared` holds the part that is taken in
    limits which other processes use with the same key.
    """

    endpoint: Endpoint
    transports: tuple[Transport, ...]
    limiter: Pool
    slots: int
    retry: RetryPolicy
    price: Price | None
    likelihood: LikelihoodSender | None = None
    shared: tuple[SharedLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class Store:
    """Where answers go: this session's number in its run, the first segment it writes, and how segments are sealed."""

    session: int
    run_id: str
    manifest_digest: str
    next_segment: int
    sealing: Sealing
    log: CommitLog


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known and learnt of the server, and of its answers; null where there is nothing to learn.

    `remember` writes down what `adapting` has learnt; it is called in a thread. `enlarging` asks again after answers
    that were cut off.
    """

    omissions: OmissionWatch | None
    adapting: Adapting | None
    remember: Callable[[], None]
    enlarging: Enlarging | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a session may take: the run's budget, less what earlier sessions took, and seconds of its own."""

    budget: Budget
    max_wall_s: float | None = None


@dataclass(frozen=True, slots=True)
class Audience:
    """Who looks on: the display, the person who reads lines, the event log; `catch_signals` lets them interrupt."""

    display: Display
    say: Callable[[str], None]
    on_event: Callable[[str, dict[str, object]], None]
    catch_signals: bool


@dataclass(frozen=True, slots=True)
class Steering:
    """How a session is steered while it runs: the folder whose socket it listens on, and the config it began with.

    `limits_of` gives what a config's limits come to in this run. `record` puts down what was asked; it is called in a
    thread. `redact` keeps the key out of what is answered.
    """

    folder: RunFolder
    config: RunConfig
    limits_of: Callable[[RunConfig], Limits]
    record: Callable[[dict[str, object]], None]
    redact: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """Everything one session works with; without `steering` nobody can steer it from outside."""

    work: Work
    server: Server
    store: Store
    knowledge: Knowledge
    terms: Terms
    audience: Audience
    steering: Steering | None = None
