"""Owns how a night's figures read, on its page and in a terminal. Pure."""

from __future__ import annotations

from typing import Any


def score_text(score: dict[str, Any]) -> str:
    """Return a score's mean with its interval."""
    return f"{figure(score.get('mean'))}{interval_text(score.get('interval'))}"


def gate_text(gate: dict[str, Any]) -> str:
    """Return a gate as one line: its name, what was asked and found, and whether it passed."""
    outcome = {True: "passed", False: "missed"}.get(gate.get("passed"), "not decided")  # type: ignore[arg-type]
    note = f", {gate['note']}" if gate.get("note") else ""
    return f"{gate.get('name')}: {figure(gate.get('value'))} against {figure(gate.get('limit'))}, {outcome}{note}"


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
