"""Owns what the gates of scores have to obey: each names a score that the config makes, and asks what can be judged."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from runner.config.credentials import shown_text
from runner.config.places import Finding, value_at
from runner.scorers import SCORERS, score_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SCORES = ("gates", "scores")
_LOWER_HINT = "max_drop says how much worse than the baseline it may get"


def gate_findings(values: Any) -> Iterator[Finding]:
    """Yield what is wrong with `gates.scores`, beyond the types of its keys."""
    gates, made = value_at(values, _SCORES), _scores_of(values)
    baseline = value_at(values, ("gates", "baseline"))
    for name, gate in gates.items() if isinstance(gates, dict) else ():
        if made is not None and name not in made:
            yield Finding((*_SCORES, name), f"there is no score {shown_text(str(name))}", _meant(str(name), made))
        if not isinstance(gate, dict) or not gate.keys() <= {"min", "max_drop"}:
            continue
        if gate.get("min") is None and gate.get("max_drop") is None:
            yield Finding((*_SCORES, name), "asks for nothing", "e.g. {min: 0.4}, {max_drop: 0.02}, or both")
        if gate.get("max_drop") is not None and baseline is None:
            hint = "gates.baseline: last_good, or the folder of a run"
            yield Finding((*_SCORES, name, "max_drop"), "there is nothing to compare with", hint)
        if gate.get("min") is not None and made is not None and _lower_is_better(made.get(name)):
            yield Finding((*_SCORES, name, "min"), f"{made[name]} is better the lower it is", _LOWER_HINT)


def _scores_of(values: Any) -> dict[str, str] | None:
    """Return the scorer of each score by the score's name; null where the scorers cannot be read."""
    specs = value_at(values, ("scorers",))
    specs = [] if specs is None else specs
    if not isinstance(specs, list) or not all(isinstance(one, dict) and "name" in one for one in specs):
        return None
    return {score_name(one): str(one["name"]) for one in specs}


def _lower_is_better(scorer: str | None) -> bool:
    return scorer in SCORERS and SCORERS[scorer].lower_is_better


def _meant(name: str, made: Mapping[str, str]) -> str:
    if not made:
        return "the config has no scorers, e.g. scorers: [{name: exact_match}]"
    close = get_close_matches(name, made, n=1)
    return f'did you mean "{close[0]}"?' if close else f"there are {', '.join(made)}"
