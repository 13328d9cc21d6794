"""Owns a run's end, and what was compared, as cases of JUnit: one for each gate, and one for the run itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.junit import Case, Suite
from runner.pipeline.scores.gates import describe_gate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner.comparison import Comparison, ScoreComparison
    from runner.pipeline.summary import RunSummary

# What ends a run that is complete: what else there is to say of it, its gates do.
_COMPLETE = "complete"


def run_suite(name: str, summary: RunSummary) -> Suite:
    """Return the suite of a run: the case `complete`, an error where the run is not, and a case for each gate.

    `name` is that of the config; it is the suite's name and its cases' class.
    """
    ended = None
    if summary.status != _COMPLETE:
        ended = "\n".join((f"{summary.status} (exit {summary.exit_code})", *summary.warnings))
    complete = Case(_COMPLETE, name, time_s=summary.wall_s, error=ended)
    properties = {"run_id": summary.run_id, "run_dir": summary.run_dir, "exit_code": str(summary.exit_code)}
    return Suite(name, (complete, *gate_cases(name, summary.gates)), properties=properties)


def failed_suite(name: str, message: str) -> Suite:
    """Return the suite of a run that could not begin."""
    return Suite(name, (Case(_COMPLETE, name, error=message),))


def comparison_suite(comparison: Comparison, gates: Iterable[Mapping[str, Any]]) -> Suite:
    """Return the suite of a comparison: the gates of its run, and each score that no gate compares.

    Such a score fails where it is worse, and is skipped where it could not be compared.
    """
    name, gates = comparison.run.name, list(gates)
    gated = {gate["name"] for gate in gates}
    cases = [
        _score_case(name, score, found)
        for score, found in comparison.scores.items()
        if f"scores.{score}.max_drop" not in gated
    ]
    cases += [
        Case(f"scores.{score}", name, skipped=why)
        for score, why in comparison.not_compared.items()
        if f"scores.{score}.max_drop" not in gated
    ]
    properties = {"base": comparison.base.run_id, "run": comparison.run.run_id, "verdict": comparison.verdict}
    return Suite(name, (*cases, *gate_cases(name, gates)), properties=properties)


def gate_cases(name: str, gates: Iterable[Mapping[str, Any]]) -> tuple[Case, ...]:
    """Return a case for each gate: failed where it is missed, skipped where nobody judged it."""
    return tuple(_gate_case(name, gate) for gate in gates)


def _gate_case(name: str, gate: Mapping[str, Any]) -> Case:
    text = describe_gate(gate)
    return Case(
        gate["name"],
        name,
        failure=text if gate["passed"] is False else None,
        skipped=text if gate["passed"] is None else None,
        system_out=text if gate["passed"] else None,
    )


def _score_case(name: str, score: str, found: ScoreComparison) -> Case:
    text = f"{found.verdict}: no pair has both scores"
    if found.difference is not None:
        text = f"{found.verdict}: {found.base_mean:.4g} → {found.run_mean:.4g}, difference {found.difference:+.4g}"
        if found.interval is not None:
            text += f" [{found.interval[0]:+.4g}, {found.interval[1]:+.4g}]"
        text += f", {found.pairs:,} pairs"
    worse = found.verdict == "worse"
    return Case(f"scores.{score}", name, failure=text if worse else None, system_out=None if worse else text)
