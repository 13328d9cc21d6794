"""Owns how a night's figures read, on its page and in a terminal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runner.pipeline.scores.gates import FAILED_FRACTION, describe_gate

if TYPE_CHECKING:
    from collections.abc import Iterable

_ENDINGS: Final = {True: "passed", False: "MISSED", None: "not judged"}


def score_text(score: dict[str, Any]) -> str:
    """Return a score's mean with its interval."""
    return f"{figure(score.get('mean'))}{interval_text(score.get('interval'))}"


def told_gates(gates: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the gates that people are told about: that of failed rows, which every run has, only if it is missed."""
    return [gate for gate in gates if gate["name"] != FAILED_FRACTION or gate["passed"] is False]


def gate_text(gate: dict[str, Any]) -> str:
    """Return a gate as one line: its name, whether it passed, what was found and asked."""
    return f"{gate['name']} {_ENDINGS[gate['passed']]}: {describe_gate(gate)}"


def difference_text(score: dict[str, Any]) -> str:
    """Return a score's difference from the run it is compared with: with its interval, and the verdict."""
    difference = score.get("difference")
    signed = f"{difference:+.4g}" if isinstance(difference, int | float) else "–"
    return f"{signed}{interval_text(score.get('interval'))}, {score.get('verdict')}"


def flip_text(flip: dict[str, Any]) -> str:
    """Return which score of which sample changed, and how."""
    return f"{flip['sample_id']} {flip['score']}: {figure(flip['base_value'])} → {figure(flip['run_value'])}"


def interval_text(interval: Any) -> str:
    """Return an interval behind its value; nothing where there is none."""
    return f" [{interval[0]:.4g}, {interval[1]:.4g}]" if interval else ""


def figure(value: Any) -> str:
    """Return a number as four digits say it."""
    return f"{value:.4g}" if isinstance(value, int | float) else "–"
