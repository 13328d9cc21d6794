"""Owns the gates of a run: what counts as reached and what as a miss. Decisions over figures; nothing is read here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner.comparison import Comparison, ScoreComparison
    from runner.config import ScoreGate

FAILED_FRACTION = "max_failed_fraction"
# The exit codes of a complete run that missed a gate; too many failed rows come first.
_TOO_MANY_FAILED, _SCORE_MISSED = 3, 4
# So much of a limit is rounding: 0.30 - 0.28 is more than 0.02.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a run is judged against: a comparison with another run, or `note`, which says why there is none.

    `binding`: what cannot be compared with it is a miss. So it is with a run that somebody named. A last good run that
    cannot be compared binds nobody: a run that misses a gate is no good run, and none would ever take its place.
    """

    comparison: Comparison | None = None
    run_id: str | None = None
    run_dir: str | None = None
    note: str = ""
    binding: bool = True


def failed_fraction_gate(by_status: Mapping[str, int], most: float) -> dict[str, Any]:
    """Return the gate of failed rows, a fraction of all rows that were not skipped."""
    rows = sum(count for status, count in by_status.items() if status != "skipped")
    fraction = by_status.get("failed", 0) / rows if rows else 0.0
    return {"name": FAILED_FRACTION, "limit": most, "value": fraction, "passed": fraction <= most}


def score_gates(
    gates: Mapping[str, ScoreGate], scores: Mapping[str, Any], baseline: Baseline | None
) -> list[dict[str, Any]]:
    """Return the gates of scores, `scores.NAME.min` and `scores.NAME.max_drop`, with what was found and what was limit.

    `scores` are those of the run's summary. Each `value` is in the score's unit; that of `max_drop` is how much worse
    the run is than its baseline, negative where it is better, and `interval` is its 95 % interval.
    """
    judged = []
    for name, gate in gates.items():
        if gate.min is not None:
            judged.append(_least(name, gate.min, scores.get(name)))
        if gate.max_drop is not None:
            judged.append(_drop(name, gate.max_drop, baseline or Baseline(note="there is no baseline")))
    return judged


def unjudged_gates(gates: Mapping[str, ScoreGate], why: str) -> list[dict[str, Any]]:
    """Return the gates of scores as such that nobody judged: `passed` is null."""
    limits = (
        (f"scores.{name}.{kind}", limit)
        for name, gate in gates.items()
        for kind, limit in (("min", gate.min), ("max_drop", gate.max_drop))
        if limit is not None
    )
    return [{"name": name, "limit": limit, "value": None, "passed": None, "note": why} for name, limit in limits]


def exit_code_of(gates: Iterable[Mapping[str, Any]]) -> int:
    """Return the exit code of a complete run with these gates: 0, 3 for failed rows, 4 for a missed score gate."""
    missed = {gate["name"] for gate in gates if gate["passed"] is False}
    if FAILED_FRACTION in missed:
        return _TOO_MANY_FAILED
    return _SCORE_MISSED if missed else 0


def describe_gate(gate: Mapping[str, Any]) -> str:
    """Return value and limit of a gate, what it was compared with, and its note, on one line."""
    least = gate["name"].endswith(".min")
    value = "no value" if gate["value"] is None else _apart(gate["value"], gate["limit"])
    text = f"{value}, {'at least' if least else 'at most'} {gate['limit']:.6g}"
    if gate.get("interval"):
        low, high = gate["interval"]
        text += f"; 95 % interval [{low:.4g}, {high:.4g}], {gate['verdict']}"
    if gate.get("baseline"):
        text += f"; against {gate['baseline']}"
    return f"{text} ({gate['note']})" if gate.get("note") else text


def _least(name: str, least: float, facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Judge a mean over all rows, those without a score as the worst; where there is no worst, over those with one."""
    value = None
    if facts is not None:
        value = facts["mean"] if facts["mean_all"] is None else facts["mean_all"]
    gate = {"name": f"scores.{name}.min", "limit": least, "value": value}
    if facts is None or value is None:
        return {**gate, "passed": False, "note": "no row has a score"}
    passed = not _exceeds(least, value)
    if not passed and facts["mean"] is not None and not _exceeds(least, facts["mean"]):
        unscored = facts["all"] - facts["scored"]
        note = f"the mean of the rows with a score is {facts['mean']:.4g}; {unscored:,} without one count as the worst"
        return {**gate, "passed": False, "note": note}
    return {**gate, "passed": passed}


def _drop(name: str, most: float, baseline: Baseline) -> dict[str, Any]:
    """Judge how much worse the score is than the baseline's, over the pairs in which both runs answered."""
    comparison = baseline.comparison
    found = comparison.scores.get(name) if comparison is not None else None
    gate: dict[str, Any] = {
        "name": f"scores.{name}.max_drop",
        "limit": most,
        "value": None,
        "passed": not baseline.binding,
    }
    gate |= {"baseline": baseline.run_id, "baseline_dir": baseline.run_dir, "interval": None, "verdict": None}
    if comparison is None or found is None or found.difference is None:
        return {**gate, "note": _why_not_compared(name, baseline)}
    drop = found.difference if found.lower_is_better else -found.difference
    missed = _exceeds(drop, most)
    gate |= {
        "value": drop,
        "passed": not (missed and found.verdict == "worse"),
        "interval": _of_drop(found),
        "verdict": found.verdict,
        "pairs": found.pairs,
        "minimum_detectable_effect": found.minimum_detectable_effect,
    }
    notes = [] if comparison.base.model == comparison.run.model else [f"the baseline is of {comparison.base.model}"]
    if missed and gate["passed"]:
        notes.append(_within_noise(found))
    if not missed and found.difference_all is not None and _exceeds(-found.difference_all, most):
        left_out = f"{sum(found.unpaired.values()):,} pairs without both answers are left out"
        notes.append(f"{left_out}; with them as the worst it is {-found.difference_all:.4g}")
    return gate | {"note": "; ".join(notes)} if notes else gate


def _why_not_compared(name: str, baseline: Baseline) -> str:
    if baseline.comparison is None:
        return baseline.note
    no_pair = "the runs have no row in common of which both have this score"
    return baseline.comparison.not_compared.get(name, no_pair)


def _of_drop(found: ScoreComparison) -> list[float] | None:
    """Return the interval of the drop, from that of the difference."""
    if found.interval is None:
        return None
    low, high = found.interval
    return [low, high] if found.lower_is_better else [-high, -low]


def _within_noise(found: ScoreComparison) -> str:
    note = f"more than the limit, and within noise: {found.pairs:,} pairs"
    if found.minimum_detectable_effect is None:
        return f"{note} tell nothing"
    return f"{note} show a difference of {found.minimum_detectable_effect:.3g} or more; a larger dataset shows less"


def _apart(value: float, limit: float) -> str:
    """Return a value with four digits, or more where it would look like a limit that it is not."""
    text = f"{value:.4g}"
    return f"{value:.12g}" if _exceeds(abs(value - limit), 0.0) and text == f"{limit:.4g}" else text


def _exceeds(value: float, limit: float) -> bool:
    return value - limit > _ROUNDING * max(1.0, abs(limit))
