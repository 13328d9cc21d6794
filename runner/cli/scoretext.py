"""Owns a score as people read it: its mean, its interval and both denominators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def score_lines(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the scores of a summary as rows of two cells, for people."""
    return [("score", f"{name} {describe_score(facts)}") for name, facts in scores.items()]


def describe_score(facts: Mapping[str, Any]) -> str:
    """Return one score with its interval and both denominators."""
    if facts["mean"] is None:
        return f"– (none of {facts['all']:,} rows has a score)"
    text = f"{facts['mean']:.4g}"
    if facts["interval"]:
        low, high = facts["interval"]
        text += f" [{low:.4g}, {high:.4g}]"
    unscored = facts["answered"] - facts["scored"]
    text += f" of {facts['answered']:,} answered" + (f" ({unscored:,} without a score)" if unscored > 0 else "")
    if facts["mean_all"] is not None:
        text += f"; {facts['mean_all']:.4g} of all {facts['all']:,}"
    else:
        text += f"; {facts['all']:,} in all"
    for name, value in facts.get("pass_at", {}).items():
        text += f"; pass@{name} {value:.4g}"
    vote = facts.get("majority_vote")
    if vote and vote["mean_all"] is not None:
        text += f"; majority {vote['mean_all']:.4g}"
    return text
