"""Owns who is told what of a night: for each place one message, about the configs that name it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from runner.nightly.outcome import FAILURE, gravest_event, words
from runner.nightly.verdict import verdict_of
from runner.nightly.wording import told_gates
from runner.notify import ConfigResult, Flip, Gate, Message, Score, deliver, targets_of
from runner.pipeline.scores.gates import describe_gate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.errors import RunnerError
    from runner.nightly.record import ConfigRecord, NightRecord
    from runner.nightly.suite import Suite
    from runner.notify import Target


def tell(suite: Suite, record: NightRecord) -> list[dict[str, Any]]:
    """Tell every place of the gravest thing it wants to know; return what became of it. Raises nothing.

    A place that several configs name hears of these alone, once; what was told already is no reason to tell again.
    """
    entries = {member.config.name: member.config.notify for member in suite.members}
    told = []
    for target in targets_of([entry for own in entries.values() for entry in own]):
        wanting = [one for one in record.configs if _names(target, entries[one.name])]
        message = message_for(suite, record, wanting, target)
        if message is not None:
            told += [{"event": message.event, **asdict(one)} for one in deliver([target], message)]
    for one in record.configs:
        one.told = True
    return told


def tell_of_none(suite: Suite, record: NightRecord, error: RunnerError) -> None:
    """Tell every place of a night that cannot begin, since there is nowhere to write. Raises nothing."""
    for one in record.configs:
        one.exit_code, one.state, one.event = error.exit_code, FAILURE, "failure"
        one.verdict, one.message = words(error.exit_code), error.message
    record.verdict, record.exit_code = verdict_of(record.configs), error.exit_code
    tell(suite, record)


def message_for(suite: Suite, record: NightRecord, configs: Sequence[ConfigRecord], target: Target) -> Message | None:
    """Return what a place is told about configs; null where nothing happened that it wants to know."""
    event = gravest_event(
        one.event for one in configs if one.event is not None and not one.told and target.wants(one.event)
    )
    if event is None:
        return None
    return Message(
        event=event,
        suite=suite.name,
        night=record.date,
        verdict=verdict_of(configs),
        configs=tuple(_result(one) for one in configs),
        started_at=record.started_at,
        ended_at=record.ended_at,
        paths=(("page", str(suite.folder.page)), ("record", str(suite.folder.record(record.run_id)))),
    )


def _names(target: Target, entries: Sequence[Any]) -> bool:
    return any((one.kind, one.variable) == (target.kind, target.variable) for one in targets_of(entries))


def _result(one: ConfigRecord) -> ConfigResult:
    paths = [("run", one.run_dir), ("report", one.report), ("log", one.log)]
    comparison = one.comparison or {}
    compared = comparison.get("scores", {})
    if comparison:
        paths.insert(1, ("compared with", comparison["base_dir"]))
    return ConfigResult(
        name=one.name,
        status=one.status or one.state,
        exit_code=one.exit_code if one.exit_code is not None else 6,
        verdict=_verdict(one),
        message=one.message or "; ".join(one.notes),
        scores=tuple(_score(name, score, compared.get(name)) for name, score in one.scores.items()),
        gates=tuple(Gate(gate["name"], gate["passed"], describe_gate(gate)) for gate in told_gates(one.gates)),
        flips=tuple(_flip(flip) for flip in comparison.get("flips", ())),
        flips_in_all=comparison.get("differs"),
        paths=tuple((what, path) for what, path in paths if path is not None),
    )


def _verdict(one: ConfigRecord) -> str:
    if one.comparison is None:
        return one.verdict
    return f"{one.verdict}; {one.comparison['verdict']} against {one.comparison['base']}"


def _score(name: str, score: dict[str, Any], compared: dict[str, Any] | None) -> Score:
    found = compared or {}
    return Score(
        name,
        score.get("mean"),
        _pair(score.get("interval")),
        baseline=found.get("base_mean"),
        difference=found.get("difference"),
        difference_interval=_pair(found.get("interval")),
    )


def _flip(flip: dict[str, Any]) -> Flip:
    text = flip["run_text"] or ""
    return Flip(flip["sample_id"] or "", flip["score"], flip["base_value"], flip["run_value"], text)


def _pair(interval: Any) -> tuple[float, float] | None:
    return (interval[0], interval[1]) if interval else None
