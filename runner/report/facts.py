"""Owns what a report says beside scores and rows: the head, speed, usage, and how the run was set up."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from runner.records import STATUSES
from runner.report.pace import REASONS
from runner.report.shown import cut, name_of, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.folder.manifest import Manifest
    from runner.report.pace import Pace
    from runner.report.survey import Survey

_PERCENTILES: Final = (0.5, 0.9, 0.95, 0.99)
_TIMED: Final = {
    "latency_s": ("Latency", "from sending the last attempt to the last byte of its answer"),
    "first_token_s": ("First token", "of streams: from sending to the first output"),
    "queued_s": ("Queued", "ready to be sent and held back, over all attempts"),
}
_MOST_CONFIG: Final = 30_000
_MOST_WARNINGS: Final = 50
_MOST_WARNING: Final = 1_000


def head_of(manifest: Manifest, survey: Survey) -> dict[str, Any]:
    """Return what was run, when, and what rows it has by status."""
    config = manifest.config
    model, dataset = config.get("model", {}), config.get("dataset", {})
    sessions = manifest.sessions
    expected = manifest.summary.get("requests")
    return {
        "name": name_of(manifest.name),
        "run_id": name_of(manifest.run_id),
        "model": name_of(model.get("name") or model.get("embedded") or "unknown model"),
        "server": name_of(_server(model)),
        "dataset": name_of(PurePath(str(dataset.get("path") or "-")).name),
        "endpoint": name_of(config.get("request", {}).get("endpoint", "chat")),
        "created": manifest.created_at[:16].replace("T", " "),
        "ended": (sessions[-1].ended_at or "")[:16].replace("T", " ") if sessions else "",
        "wall_s": sum(one.wall_s for one in sessions) or None,
        "sessions": len(sessions),
        "samples": manifest.dataset.get("samples"),
        "rows": survey.rows,
        "expected": expected,
        "by_status": [(status, survey.by_status[status]) for status in STATUSES if survey.by_status[status]],
        "warnings": [cut(str(one), _MOST_WARNING)[0] for one in manifest.warnings[:_MOST_WARNINGS]],
        "more_warnings": max(0, len(manifest.warnings) - _MOST_WARNINGS),
    }


def speed_of(survey: Survey, manifest: Manifest, pace: Pace, attempts: int) -> dict[str, Any]:
    """Return percentiles of times, totals of attempts, and what held the run back."""
    summary = manifest.summary
    wall_s = sum(one.wall_s for one in manifest.sessions)
    times = [
        {"name": _TIMED[name][0], "what": _TIMED[name][1], "values": [held.percentile(one) for one in _PERCENTILES]}
        for name, held in survey.times.items()
        if held.count
    ]
    total_s = pace.total_s
    return {
        "times": times,
        "http_requests": attempts,
        "retries": summary.get("retries"),
        "rate_limited": summary.get("rate_limited"),
        "per_second": summary.get("requests_per_s"),
        "mean_in_flight": survey.times["latency_s"].total_s / wall_s if wall_s else None,
        "cpu_share": pace.cpu_s / total_s if total_s else None,
        "held_back": [
            (REASONS[reason], seconds, seconds / total_s) for reason, seconds in pace.seconds.items() if total_s
        ],
    }


def usage_of(survey: Survey, manifest: Manifest) -> dict[str, Any]:
    """Return tokens and cost of the rows as they stand, by status and in all, and the totals of the summary."""
    names = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost_usd")
    lines = [
        (status, survey.by_status[status], [survey.usage[status][name] for name in names])
        for status in STATUSES
        if status in survey.usage
    ]
    sums = [sum(values[place] for _, _, values in lines) for place in range(len(names))]
    return {
        "lines": lines,
        "sums": sums,
        "cost_known": not survey.unpriced and survey.priced > 0,
        "unpriced": survey.unpriced,
        "tokens": sums[0] + sums[2],
        "total_cost": manifest.summary.get("cost_usd"),
        "total_tokens": manifest.summary.get("total_tokens"),
    }


def setup_of(manifest: Manifest) -> dict[str, Any]:
    """Return the config as it was kept (never with a key in it), the sessions and the versions."""
    config = json.dumps(_without_defaults(manifest.config), indent=2, ensure_ascii=False)
    text, left_out = cut(config, _MOST_CONFIG)
    sessions = [
        {
            "number": one.number,
            "started": one.started_at[:19].replace("T", " "),
            "status": name_of(one.status),
            "wall_s": one.wall_s or None,
            "host": name_of(one.host),
            "message": visible(one.message or ""),
            "versions": ", ".join(f"{name_of(key)} {name_of(value)}" for key, value in one.versions.items()),
        }
        for one in manifest.sessions[-20:]
    ]
    return {
        "config": text,
        "config_left_out": left_out,
        "sessions": sessions,
        "digest": name_of(manifest.config_digest),
    }


def _server(model: Mapping[str, Any]) -> str:
    if model.get("embedded"):
        return "served on this machine"
    urls = model.get("base_url")
    listed = urls if isinstance(urls, list) else [urls]
    shown = [str(one.get("url")) if isinstance(one, dict) else str(one) for one in listed if one]
    return ", ".join(shown)


def _without_defaults(value: Any) -> Any:
    """Leave out what says nothing: nulls and empty mappings and lists."""
    if isinstance(value, dict):
        kept = {key: _without_defaults(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if one not in (None, {}, [])}
    return value
