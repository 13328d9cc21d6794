"""Owns a run from config to summary: the order of things, each of which is done elsewhere."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runner.allocation import share_one_arena
from runner.errors import RunnerError
from runner.limiter import Group, Limiter, Pool, Replica, shared_limits
from runner.pipeline.conclude import conclude
from runner.pipeline.memory import calm_collector, give_back_memory
from runner.pipeline.opening import open_run
from runner.pipeline.passes.produce import produce
from runner.pipeline.requests.learnt import note_learnt
from runner.pipeline.requests.truncation import enlarging_for
from runner.pipeline.sending.budget import Budget, Caps, spent_by
from runner.pipeline.sending.connect import connect_all
from runner.pipeline.sending.control import Control, StopKind
from runner.pipeline.sending.likelihood import sender_for
from runner.pipeline.sending.session import run_session
from runner.pipeline.sending.sessionplan import Audience, Knowledge, Server, SessionPlan, Steering, Store, Terms, Work
from runner.pipeline.sending.sharedlimit import SharedLimit
from runner.pipeline.storing.recovery import next_segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.config import RunConfig
    from runner.limiter import Limits
    from runner.pipeline.opening import OpenRun, RunOptions
    from runner.pipeline.requests.fingerprint import RequestPlan
    from runner.pipeline.sending.connect import Connection
    from runner.pipeline.sending.session import SessionResult
    from runner.pipeline.summary import RunSummary

# Unless the config says how many: a full pack's answer takes tens of megabytes, more than once on its way to the disk.
_INPUTS_IN_FLIGHT = 2048
_PACKS_IN_FLIGHT, _MOST_PACKS_IN_FLIGHT = 4, 64
# An embedded server lives as long as the run: one that is gone does not come back.
_EMBEDDED_GIVE_UP_S = 5.0


def run(config: RunConfig, options: RunOptions, *, use_uvloop: bool = False) -> RunSummary:
    """Carry out a run, or what is left of it, and return its summary; `exit_code` is in it.

    Raises a RunnerError for whatever prevents the run from beginning; once it began, trouble ends in the summary. All
    that reads files comes before the event loop starts, so that an interrupt there ends the process at once.
    """
    share_one_arena()
    with calm_collector(), open_run(config, options) as opened:
        backend_options = {"use_uvloop": use_uvloop}
        return anyio.run(_send_and_finish, opened, backend="asyncio", backend_options=backend_options)


async def arun(config: RunConfig, options: RunOptions) -> RunSummary:
    """Do what `run` does, inside a running event loop of asyncio."""
    share_one_arena()
    with contextlib.ExitStack() as stack:
        opened = await anyio.to_thread.run_sync(stack.enter_context, open_run(config, options))
        return await _send_and_finish(opened)


async def _send_and_finish(opened: OpenRun) -> RunSummary:
    begun = time.monotonic()
    give_back_memory()
    try:
        result = await _send(opened) if opened.production.todo.wanted.any() else None
    except RunnerError as error:
        control = Control()
        control.stop(
            StopKind.UNREACHABLE if error.exit_code == StopKind.UNREACHABLE.exit_code else StopKind.STORAGE, error
        )
        await anyio.to_thread.run_sync(conclude, opened, control, time.monotonic() - begun)
        raise
    control = result.control if result else Control()
    return await anyio.to_thread.run_sync(conclude, opened, control, time.monotonic() - begun)


async def _send(opened: OpenRun) -> SessionResult:
    prepared, config = opened.prepared, opened.prepared.config
    log_path = opened.folder.root / "server.log"
    async with connect_all(config, prepared.api_key, log_path=log_path, adapter=prepared.adapter) as connections:
        server = _server(opened, connections)
        result = await run_session(_session_plan(opened, server))
        note_learnt(opened.manifest, result.learnt)
        if server.likelihood is not None and server.likelihood.form is not None:
            opened.manifest.capabilities["loglikelihood"] = asdict(server.likelihood.form)
        return result


def _server(opened: OpenRun, connections: Sequence[Connection]) -> Server:
    prepared, config, plan = opened.prepared, opened.prepared.config, opened.prepared.plan
    transports = tuple(one.transport for one in connections)
    limits = shared_limits(_limits(config, plan), [one.weight for one in connections])
    replicas = [
        Replica(number, one.name, Limiter(own), one.weight)
        for number, (one, own) in enumerate(zip(connections, limits, strict=True))
    ]
    breaker = opened.options.breaker
    if config.model.embedded is not None:
        breaker = replace(breaker, give_up_s=min(breaker.give_up_s, _EMBEDDED_GIVE_UP_S))
    pool = Pool(replicas, breaker)
    return Server(
        endpoint=plan.endpoint,
        transports=transports,
        limiter=pool,
        slots=pool.workers,
        retry=config.retry,
        price=prepared.price,
        likelihood=sender_for(plan.endpoint, transports, pool),
        shared=_shared(opened, pool),
    )


def _shared(opened: OpenRun, pool: Pool) -> tuple[SharedLimit, ...]:
    """Return the session's part in the limits of its key at each server; one of its own has none to share."""
    prepared, model = opened.prepared, opened.prepared.config.model
    if model.embedded is not None:
        return ()
    return tuple(
        SharedLimit(
            pool, one, Group(one.name, model.name, prepared.api_key), opened.manifest.run_id, opened.events.write
        )
        for one in pool.replicas
    )


def _session_plan(opened: OpenRun, server: Server) -> SessionPlan:
    manifest, plan, options = opened.manifest, opened.prepared.plan, opened.options
    total = (opened.scan.samples + opened.scan.bad_rows) * plan.repeats
    cases, number = opened.todo.cases, manifest.sessions[-1].number
    segment = next_segment(opened.folder, opened.log)
    packs = plan.packing.limits if plan.packing else None
    return SessionPlan(
        work=Work(
            produce(opened.production),
            cases,
            already_done=max(0, total - cases),
            packs=packs,
            again=opened.again is not None,
        ),
        server=server,
        store=Store(number, manifest.run_id, manifest.config_digest, segment, opened.sealing, opened.log),
        knowledge=Knowledge(opened.omissions, opened.adapting, opened.remember, enlarging_for(opened.prepared)),
        terms=Terms(_budget(opened), opened.prepared.config.budget.max_wall_s),
        audience=Audience(options.display, options.say, opened.events.write, options.catch_signals),
        steering=Steering(
            folder=opened.folder,
            config=opened.prepared.config,
            limits_of=partial(_limits, plan=plan),
            record=opened.record_steering,
            redact=opened.prepared.redactor.text,
        ),
    )


def _budget(opened: OpenRun) -> Budget:
    """Return the run's budget, with what its earlier sessions took."""
    caps = opened.prepared.config.budget
    return Budget(Caps(caps.max_tokens, caps.max_cost_usd), spent_by(opened.log.totals, opened.prepared.price))


def _limits(config: RunConfig, plan: RequestPlan) -> Limits:
    """Return the config's limits; of large packs few are under way, unless the config says how many."""
    limits = config.limits
    if plan.packing is None or limits.max_in_flight != "auto":
        return limits
    few = max(_PACKS_IN_FLIGHT, _INPUTS_IN_FLIGHT // plan.packing.limits.inputs)
    return replace(limits, max_in_flight=min(few, _MOST_PACKS_IN_FLIGHT))
