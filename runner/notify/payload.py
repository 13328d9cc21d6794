"""Owns the JSON that a webhook receives, and its schema. What a reader relies on changes only with `version`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from runner.notify.message import EVENTS
from runner.notify.plain import one_line
from runner.notify.text import MOST_FLIPS, render

if TYPE_CHECKING:
    from runner.notify.message import ConfigResult, Flip, Gate, Message, Score

VERSION: Final = 1
_MOST_CONFIGS = 200
_MOST_EACH = 100
_LONGEST = 1000


def payload(message: Message, *, delivery_id: str, sent_at: str) -> dict[str, Any]:
    """Return the JSON object of a notification; `delivery_id` is the same in every attempt, `sent_at` is ISO 8601.

    `text` is the whole message for people: Slack and Mattermost show it, and anybody can post it on.
    """
    title, body = render(message)
    return {
        "version": VERSION,
        "id": delivery_id,
        "sent_at": sent_at,
        "event": message.event,
        "suite": _plain(message.suite),
        "night": _plain(message.night),
        "title": title,
        "text": f"{title}\n{body}",
        "verdict": _plain(message.verdict),
        "started_at": message.started_at,
        "ended_at": message.ended_at,
        "paths": {_plain(what): _plain(path) for what, path in message.paths},
        "configs": [_config(one) for one in message.configs[:_MOST_CONFIGS]],
        "configs_in_all": len(message.configs),
    }


def payload_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a webhook's body, version 1."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "evalrunner notification",
        "description": "What a webhook receives about a night. Fields may be added; others keep name and meaning.",
        **_object(
            {
                "version": {"const": VERSION},
                "id": {"type": "string", "description": "Of the notification: the same in each attempt to deliver it."},
                "sent_at": {"type": "string", "format": "date-time"},
                "event": {"enum": list(EVENTS)},
                "suite": _TEXT,
                "night": {"type": "string", "description": "YYYY-MM-DD in the suite's time zone."},
                "title": _TEXT,
                "text": {
                    "type": "string",
                    "description": "The message for people, plain text; title on the first line.",
                },
                "verdict": _TEXT,
                "started_at": _TEXT_OR_NULL,
                "ended_at": _TEXT_OR_NULL,
                "paths": {"type": "object", "additionalProperties": _TEXT},
                "configs": {"type": "array", "items": _config_schema()},
                "configs_in_all": {"type": "integer", "description": "More than `configs` has, where that was cut."},
            }
        ),
    }


def _config(config: ConfigResult) -> dict[str, Any]:
    return {
        "name": _plain(config.name),
        "status": _plain(config.status),
        "exit_code": config.exit_code,
        "verdict": _plain(config.verdict),
        "message": _plain(config.message),
        "scores": [_score(one) for one in config.scores[:_MOST_EACH]],
        "gates": [_gate(one) for one in config.gates[:_MOST_EACH]],
        "flips": [_flip(one) for one in config.flips[:MOST_FLIPS]],
        "flips_in_all": config.flip_count,
        "paths": {_plain(what): _plain(path) for what, path in config.paths},
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "name": _plain(score.name),
        "mean": _finite(score.mean),
        "interval": _pair(score.interval),
        "baseline": _finite(score.baseline),
        "difference": _finite(score.difference),
        "difference_interval": _pair(score.difference_interval),
    }


def _gate(gate: Gate) -> dict[str, Any]:
    return {"name": _plain(gate.name), "passed": gate.passed, "detail": _plain(gate.detail)}


def _flip(flip: Flip) -> dict[str, Any]:
    before, after = _finite(flip.before), _finite(flip.after)
    return {
        "sample_id": _plain(flip.sample_id),
        "score": _plain(flip.score),
        "before": before,
        "after": after,
        "text": _plain(flip.text),
    }


def _plain(text: str) -> str:
    return one_line(text, _LONGEST)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _pair(interval: tuple[float, float] | None) -> list[float | None] | None:
    return None if interval is None else [_finite(interval[0]), _finite(interval[1])]


_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_NUMBER = {"type": ["number", "null"]}
_PAIR = {"type": ["array", "null"], "items": _NUMBER, "minItems": 2, "maxItems": 2}


def _config_schema() -> dict[str, Any]:
    numbers = {"mean": _NUMBER, "interval": _PAIR, "baseline": _NUMBER}
    change = {"difference": _NUMBER, "difference_interval": _PAIR}
    flip = {"sample_id": _TEXT, "score": _TEXT, "before": _NUMBER, "after": _NUMBER, "text": _TEXT}
    return _object(
        {
            "name": _TEXT,
            "status": {"type": "string", "description": "Of the run: complete, stopped, incomplete, interrupted, …"},
            "exit_code": {"type": "integer"},
            "verdict": _TEXT,
            "message": _TEXT,
            "scores": {"type": "array", "items": _object({"name": _TEXT, **numbers, **change})},
            "gates": {
                "type": "array",
                "items": _object({"name": _TEXT, "passed": {"type": ["boolean", "null"]}, "detail": _TEXT}),
            },
            "flips": {"type": "array", "items": _object(flip), "description": "Worst first, and the first few only."},
            "flips_in_all": {"type": "integer"},
            "paths": {"type": "object", "additionalProperties": _TEXT},
        }
    )


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
