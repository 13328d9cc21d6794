"""Owns the page about a suite's nights: one file, nothing fetched, nothing run; every text in it is inert."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import jinja2

from runner.nightly.history import course_of, dates_of, marks_of
from runner.nightly.outcome import FAILURE, GOOD, REGRESSION
from runner.nightly.verdict import worse_of
from runner.nightly.wording import difference_text, figure, gate_text, interval_text, told_gates
from runner.progress import duration
from runner.report.page import source_hash
from runner.report.shown import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.nightly.history import Course, Mark
    from runner.nightly.record import ConfigRecord, NightRecord

_MOST_NIGHTS: Final = 60
_LONGEST_TEXT: Final = 500
_TONES: Final = {GOOD: "good", REGRESSION: "bad", FAILURE: "bad"}


@dataclass(frozen=True, slots=True)
class _Score:
    """One score of a config: as text, its course, and its difference from the run it is compared with.

    `span` is the difference's interval as a part of -1 to 1, with the difference in the middle.
    """

    name: str
    mean: str
    interval: str
    course: Course | None
    before: str | None
    difference: str | None
    verdict: str | None
    span: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class _Config:
    """One config of the night, and its marks in earlier ones."""

    record: ConfigRecord
    tone: str
    facts: list[tuple[str, str]]
    scores: list[_Score]
    gates: list[tuple[bool | None, str]]
    marks: list[Mark]
    links: list[tuple[str, str]]


def night_page(record: NightRecord, earlier: Sequence[NightRecord], folder: Path) -> bytes:
    """Return the page of a night, with the earlier ones below, newest first; links count from `folder`."""
    nights = [record, *earlier[: _MOST_NIGHTS - 1]]
    dates = dates_of(nights, _MOST_NIGHTS)
    style = "".join((files(package) / "page.css").read_text("utf-8") for package in ("runner.report", "runner.nightly"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    template = environment.from_string((files("runner.nightly") / "page.html.j2").read_text("utf-8"))
    page = template.render(
        policy=f"default-src 'none'; style-src '{source_hash(style)}'; base-uri 'none'; form-action 'none'",
        style=style,
        night=record,
        headline=_headline(record),
        tone="warn"
        if record.exit_code == 0 and worse_of(record.configs)
        else "good"
        if record.exit_code == 0
        else "bad",
        began=_clock(record.started_at),
        took=_took(record),
        notes=list(_notes(record)),
        configs=[_config(one, nights, dates, folder) for one in record.configs],
        dates=dates,
        told=[
            (str(one.get("label")), bool(one.get("ok")), str(one.get("error") or one.get("event")))
            for one in record.deliveries
        ],
        nights=[(one, _link(folder / "nights" / one.run_id / "night.json", folder)) for one in nights],
    )
    return page.encode("utf-8", "replace")


def _config(one: ConfigRecord, nights: Sequence[NightRecord], dates: Sequence[str], folder: Path) -> _Config:
    compared = (one.comparison or {}).get("scores", {})
    paths = (("Report", one.report), ("Run folder", one.run_dir), ("Log", one.log))
    links = [(what, _link(Path(path), folder)) for what, path in paths if path is not None]
    return _Config(
        record=one,
        tone=_TONES.get(one.state, "plain"),
        facts=list(_facts(one)),
        scores=[
            _score(name, score, compared.get(name), course_of(one.name, name, nights, dates))
            for name, score in one.scores.items()
        ],
        gates=[(gate["passed"], gate_text(gate)) for gate in told_gates(one.gates)],
        marks=list(marks_of(one.name, nights, dates)),
        links=[(what, link) for what, link in links if link],
    )


def _score(name: str, score: dict[str, Any], compared: dict[str, Any] | None, course: Course | None) -> _Score:
    return _Score(
        name=name,
        mean=figure(score.get("mean")),
        interval=interval_text(score.get("interval")),
        course=course,
        before=figure(compared["base_mean"]) if compared else None,
        difference=difference_text(compared) if compared else None,
        verdict=compared["verdict"] if compared else None,
        span=_span(compared) if compared else None,
    )


def _span(compared: dict[str, Any]) -> tuple[float, float, float] | None:
    interval, difference = compared["interval"], compared["difference"]
    if not interval or difference is None:
        return None
    widest = max(abs(value) for value in (*interval, difference)) or 1.0
    low, middle, high = (round(value / widest, 4) for value in (interval[0], difference, interval[1]))
    return low, middle, high


def _facts(one: ConfigRecord) -> Iterator[tuple[str, str]]:
    if one.samples is not None:
        yield "Samples", f"{one.samples:,}"
    if one.failed is not None:
        yield "Failed rows", f"{one.failed:,}"
    if one.total_tokens is not None:
        yield "Tokens", f"{one.total_tokens:,}"
    if one.cost_usd is not None:
        yield "Cost", f"${one.cost_usd:,.2f}"
    yield "Time", duration(one.duration_s)
    if one.waited_s >= 1:
        yield "Waited for its server", duration(one.waited_s)


def _notes(record: NightRecord) -> Iterator[str]:
    if record.missed:
        more = f" and {len(record.missed) - 31} more" if len(record.missed) > 31 else ""  # noqa: PLR2004 - a month
        yield f"No run on {', '.join(record.missed[:31])}{more}"
    for one in record.cut_off:
        yield f"{one} was cut off, and is left as it is"
    yield from record.troubles


def _headline(record: NightRecord) -> str:
    states = {one.state for one in record.configs}
    if record.exit_code == 0:
        return "Good again" if any(one.event == "recovery" for one in record.configs) else "Good"
    return "Regression" if states <= {GOOD, REGRESSION} and REGRESSION in states else "Failure"


def _clock(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M")


def _took(record: NightRecord) -> str:
    if record.ended_at is None:
        return "–"
    return duration(
        (datetime.fromisoformat(record.ended_at) - datetime.fromisoformat(record.started_at)).total_seconds()
    )


def _link(path: Path, folder: Path) -> str:
    return quote(os.path.relpath(path, folder)) if path.exists() else ""


def _shown(value: Any) -> Any:
    """Return a text as a page may show it: nothing in it is obeyed, and it is cut where it is endless."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return visible(value if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]}…")
