"""Owns what a night keeps of a comparison with an earlier run: verdicts, differences, the worst flips. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# So many flips are kept, and so much of each text: the record of a night is read by people, too.
MOST_FLIPS: Final = 10
_LONGEST_TEXT = 300
_FIGURES = (
    "verdict", "base_mean", "run_mean", "difference", "interval", "p_value", "minimum_detectable_effect", "pairs",
    "gained", "lost", "lower_is_better",
)  # fmt: skip
_COUNTS = ("pairs", "only_base", "only_run", "changed")
_TEXTS = ("sample_id", "target", "base_text", "run_text")
_FLIP = ("score", "repeat", "choice", "base_value", "run_value", "base_status", "run_status")


def kept(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of `evalrunner compare --json`; differences are run minus base, as there.

    `differs` counts the pairs whose score differs, of which `flips` are the worst.
    """
    scores = {name: {key: one[key] for key in _FIGURES} for name, one in found["scores"].items()}
    return {
        "base": found["base"]["run_id"],
        "base_dir": found["base"]["run_dir"],
        "verdict": found["verdict"],
        **{key: found[key] for key in _COUNTS},
        "scores": scores,
        "differs": sum(one["gained"] + one["lost"] for one in scores.values()),
        "flips": [_flip(one) for one in found["flips"][:MOST_FLIPS]],
        "not_compared": found["not_compared"],
        "notes": found["notes"],
    }


def _flip(one: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _cut(one[key]) for key in _TEXTS} | {key: one[key] for key in _FLIP}


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
