"""Owns a comparison as a page tells it: verdicts, figures with their units, and flips, lost before gained. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from runner.report import wording
from runner.report.shown import cut, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runner.comparison import Comparison, Difference, Flip, ScoreComparison
    from runner.report.versus import Versus

_MOST_TEXT: Final = 1_000
_MOST_NOTES: Final = 20
_MOST_NOTE: Final = 500
# Flips of a score that stand in the open; the others unfold.
_OPEN_FLIPS: Final = 4
_TONES: Final = {"better": "good", "worse": "bad", "no difference": "plain", "inconclusive": "warn"}
_HEADLINES: Final = {
    "better": ("Better", "than"),
    "worse": ("Worse", "than"),
    "no difference": ("No difference", "from"),
    "inconclusive": ("Inconclusive", "against"),
}
_NAMES: Final = {
    "latency_p50": "latency, p50",
    "latency_p95": "latency, p95",
    "first_token": "first token, p50",
    "prompt_tokens": "prompt tokens a row",
    "completion_tokens": "completion tokens a row",
    "cost_usd": "cost a row",
    "total_cost_usd": "cost of the whole run",
    "failed_fraction": "rows that failed",
    "truncated_fraction": "rows cut off",
    "refused_fraction": "rows refused",
    "content_filter_fraction": "rows stopped by a content filter",
}


@dataclass(frozen=True, slots=True)
class Forest:
    """Scores whose differences stand on one scale: `tolerance` is what does not matter on it."""

    tolerance: float
    lower_is_better: bool
    scores: tuple[tuple[str, ScoreComparison], ...]


def forests_of(scores: Mapping[str, ScoreComparison]) -> list[Forest]:
    """Return the scores that have a difference, those of one scale together."""
    scales: dict[tuple[float, bool], list[tuple[str, ScoreComparison]]] = {}
    for name, one in scores.items():
        if one.difference is not None:
            scales.setdefault((one.tolerance, one.lower_is_better), []).append((name_of(name), one))
    return [Forest(*scale, tuple(found)) for scale, found in scales.items()]


def told(versus: Versus) -> dict[str, Any]:
    """Return all that a page says of a comparison; `found` is null without one, and `note` says why if one was due."""
    return {
        "note": cut(versus.note, _MOST_NOTE)[0],
        "found": _found(versus.comparison) if versus.comparison else None,
    }


def _found(one: Comparison) -> dict[str, Any]:
    notes = [f"{name_of(name)} is not compared: {why}" for name, why in one.not_compared.items()]
    notes += one.notes
    return {
        "tone": _TONES[one.verdict],
        "headline": _HEADLINES[one.verdict],
        "base": {
            "run_id": name_of(one.base.run_id),
            "name": name_of(one.base.name),
            "model": name_of(one.base.model or "unknown model"),
            "rows": one.base.rows,
        },
        "pairs": one.pairs,
        "by_sample_means": one.by_sample_means,
        "left_out": {"only in the base": one.only_base, "only in this run": one.only_run, "changed": one.changed},
        "notes": [cut(note, _MOST_NOTE)[0] for note in notes[:_MOST_NOTES]],
        "more_notes": max(0, len(notes) - _MOST_NOTES),
        "scores": {name: _score(name, score) for name, score in one.scores.items()},
        "differences": list(_differences(one.differences)),
        "flips": list(_flips(one)),
    }


def _score(name: str, one: ScoreComparison) -> dict[str, Any]:
    return {
        "name": name_of(name),
        "verdict": one.verdict,
        "tone": _TONES[one.verdict],
        "lower_is_better": one.lower_is_better,
        "base": one.base_mean,
        "run": one.run_mean,
        "difference": wording.change(one.difference, wording.score),
        "interval": _interval(one.interval, wording.score),
        "method": one.interval_method,
        "p": wording.chance(one.p_value),
        "detectable": wording.score(one.minimum_detectable_effect),
        "tolerance": wording.score(one.tolerance),
        "pairs": one.pairs,
        "gained": one.gained,
        "lost": one.lost,
        "all": one.all,
        "base_all": one.base_mean_all,
        "run_all": one.run_mean_all,
        "difference_all": wording.change(one.difference_all, wording.score),
        "unanswered": [one.unpaired.get(side, 0) for side in ("base", "run", "both")],
    }


def _differences(found: Mapping[str, Difference]) -> Iterator[dict[str, Any]]:
    for name, one in found.items():
        if one.base is None and one.run is None:
            continue
        form, change = _forms(one.unit)
        yield {
            "name": _NAMES.get(name, name.replace("_", " ")),
            "base": form(one.base),
            "run": form(one.run),
            "difference": wording.change(one.difference, change),
            "interval": _interval(one.interval, change),
        }


def _forms(unit: str) -> tuple[Callable[[float | None], str], Callable[[float | None], str]]:
    """Return how a figure of a unit is written, and how a difference of two of them is."""
    if unit == "of rows":
        return wording.share, wording.points
    form = {"s": wording.seconds, "USD": wording.dollars, "USD/row": wording.dollars}.get(unit, wording.number)
    return form, form


def _interval(interval: tuple[float, float] | None, form: Callable[[float | None], str]) -> str:
    if interval is None:
        return wording.NOTHING
    low, high = (wording.change(end, form) for end in interval)
    unit = high.rpartition(" ")[2]
    return f"{low.removesuffix(f' {unit}')} to {high}"


def _flips(one: Comparison) -> Iterator[dict[str, Any]]:
    """Yield the flips of each score, lost before gained, as they come."""
    for name, score in one.scores.items():
        own = [flip for flip in one.flips if flip.score == name]
        if own:
            lost = partial(_lost, lower_is_better=score.lower_is_better)
            cards = [_card(flip, lost=lost(flip)) for flip in sorted(own, key=lost, reverse=True)]
            yield {
                "name": name_of(name),
                "lost": score.lost,
                "gained": score.gained,
                "shown": (sum(map(lost, own)), sum(not lost(flip) for flip in own)),
                "first": cards[:_OPEN_FLIPS],
                "others": cards[_OPEN_FLIPS:],
            }


def _lost(flip: Flip, *, lower_is_better: bool) -> bool:
    return (flip.run_value > flip.base_value) is lower_is_better


def _card(flip: Flip, *, lost: bool) -> dict[str, Any]:
    place = [f"{name} {value}" for name, value in (("repeat", flip.repeat), ("choice", flip.choice)) if value]
    return {
        "sample": " · ".join([name_of(flip.sample_id or ""), *place]),
        "lost": lost,
        "values": (flip.base_value, flip.run_value),
        "sides": [
            ("base", flip.base_status, *_text(flip.base_text)),
            ("this run", flip.run_status, *_text(flip.run_text)),
        ],
        "target": None if flip.target is None else _text(flip.target),
    }


def _text(text: str | None) -> tuple[str, bool]:
    """Return the beginning of a text, made visible, and whether there is more of it."""
    if text is None:
        return "", False
    shown, left_out = cut(text, _MOST_TEXT)
    return shown, left_out > 0
