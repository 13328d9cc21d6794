"""Owns the charts of a report: scores by group, latencies, and how a run went over time. Each is one SVG element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from runner.report.svg import COLOURS, draw, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.report.comparing import Forest
    from runner.report.pace import Pace
    from runner.report.scores import GroupedScore, ScoreFacts
    from runner.report.tally import OverTime, Times

_WIDTH: Final = 560
_BARS: Final = 120
_LATENCY_BARS: Final = 60
_MOST_LABEL: Final = 22
_OF_VERDICT: Final = {"better": "good", "worse": "bad", "no difference": "main", "inconclusive": "warn"}


@dataclass(frozen=True, slots=True)
class _Margins:
    """Room around the axes for their labels, in CSS pixels."""

    left: float
    right: float
    top: float
    bottom: float


def groups_chart(name: str, facts: ScoreFacts, grouped: GroupedScore) -> str:
    """Draw a score by group: a point with its interval each, and a line where all rows together are."""
    figures = [(name, one) for name, one in grouped.groups if one.mean is not None]
    labels = [_short(name) for name, _ in figures]

    def paint(figure: Any) -> None:
        axes = _axes(figure, _height(len(figures)), _Margins(left=150, right=16, top=8, bottom=30))
        for place, (_, one) in enumerate(figures):
            if one.interval is not None:
                ends = [one.interval.low, one.interval.high]
                axes.plot(ends, [place, place], color=COLOURS["main"], linewidth=2.4, solid_capstyle="round")
            axes.plot([one.mean], [place], "o", color=COLOURS["main"], markersize=6, markeredgewidth=0)
        if facts.overall.mean is not None:
            axes.axvline(facts.overall.mean, color=COLOURS["faint"], linewidth=1, dashes=(3, 3))
        axes.set_ylim(len(figures) - 0.5, -0.5)
        axes.set_yticks(range(len(figures)), [mark(number) for number in range(len(figures))])
        if facts.unit:
            axes.set_xlim(-0.02, 1.02)
        axes.grid(axis="x", color=COLOURS["grid"], linewidth=0.8)

    title = f"{facts.name} by {grouped.column}: mean and 95 % interval of {len(figures)} groups"
    return draw(name, (_WIDTH, _height(len(figures))), paint, title, labels)


def forest_chart(name: str, forest: Forest) -> str:
    """Draw differences with their intervals, one score a line, around 0 and what does not matter beside it."""
    labels = [_short(score) for score, _ in forest.scores]

    def paint(figure: Any) -> None:
        axes = _axes(figure, _height(len(labels)), _Margins(left=150, right=16, top=8, bottom=30))
        axes.axvspan(-forest.tolerance, forest.tolerance, color=COLOURS["grid"], linewidth=0)
        axes.axvline(0, color=COLOURS["faint"], linewidth=1)
        for place, (_, one) in enumerate(forest.scores):
            colour = COLOURS[_OF_VERDICT[one.verdict]]
            if one.interval is not None:
                axes.plot(one.interval, [place, place], color=colour, linewidth=2.4, solid_capstyle="round")
            axes.plot([one.difference], [place], "o", color=colour, markersize=6, markeredgewidth=0)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(range(len(labels)), [mark(number) for number in range(len(labels))])
        axes.grid(axis="x", color=COLOURS["grid"], linewidth=0.8)

    title = f"Differences of {len(labels)} scores from the base, with 95 % intervals"
    return draw(name, (_WIDTH, _height(len(labels))), paint, title, labels)


def latency_chart(name: str, times: Times) -> str:
    """Draw how long answers took, on a logarithmic scale, with lines at p50, p95 and p99."""
    edges, counts = times.histogram(_LATENCY_BARS)

    def paint(figure: Any) -> None:
        axes = _axes(figure, 220, _Margins(left=48, right=16, top=20, bottom=30))
        axes.set_xscale("log")
        axes.bar(edges[:-1], counts, width=np.diff(edges) * 0.9, align="edge", color=COLOURS["main"], linewidth=0)
        axes.set_xlim(edges[0] * 0.9, edges[-1] * 1.1)
        for fraction, text in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
            at = times.percentile(fraction)
            axes.axvline(at, color=COLOURS["faint"], linewidth=1, dashes=(3, 3))
            axes.text(at, 1.03, text, transform=axes.get_xaxis_transform(), ha="center", color=COLOURS["faint"], size=8)
        _plain_seconds(axes)
        axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)

    return draw(name, (_WIDTH, 220), paint, f"Latency of {times.count:,} answers in seconds, logarithmic")


def pace_chart(name: str, over_time: OverTime, pace: Pace, shares: Sequence[str]) -> str:
    """Draw rows that ended each second, in the colours of how, and how many requests were under way."""
    width_s, rates = over_time.per_second(_BARS)
    colours = (COLOURS["main"], COLOURS["warn"], COLOURS["bad"])

    def paint(figure: Any) -> None:
        axes = _axes(figure, 220, _Margins(left=48, right=44, top=12, bottom=30))
        starts = np.arange(rates.shape[1]) * width_s
        below = np.zeros(rates.shape[1])
        for share, colour in zip(rates, colours[: len(shares)], strict=True):
            axes.bar(starts, share, width=width_s * 0.92, bottom=below, align="edge", color=colour, linewidth=0)
            below += share
        axes.set_xlim(0, max(rates.shape[1] * width_s, 1))
        axes.set_ylim(0, max(float(below.max(initial=0)) * 1.08, 1e-9))
        axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)
        _plain_clock(axes)
        if pace.stretches:
            _in_flight(axes, pace)

    return draw(name, (_WIDTH, 220), paint, "Rows that ended each second, and requests in flight, over the run")


def _in_flight(axes: Any, pace: Pace) -> None:
    beside = axes.twinx()
    ends = np.cumsum([one.length_s for one in pace.stretches])
    beside.step(ends, [one.in_flight for one in pace.stretches], where="pre", color=COLOURS["ink"], linewidth=1.2)
    beside.set_ylim(0, max(one.in_flight for one in pace.stretches) * 1.15 + 1)
    _quiet(beside)


def _axes(figure: Any, height: float, margins: _Margins) -> Any:
    """Return axes with margins in pixels, and without any line but the grid."""
    width = _WIDTH - margins.left - margins.right
    sizes = (margins.left / _WIDTH, margins.bottom / height, width / _WIDTH)
    axes = figure.add_axes((*sizes, 1 - (margins.top + margins.bottom) / height))
    axes.set_axisbelow(True)
    _quiet(axes)
    return axes


def _quiet(axes: Any) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(which="both", length=0, labelsize=8.5, labelcolor=COLOURS["ink"], pad=6)
    axes.patch.set_visible(False)


def _plain_seconds(axes: Any) -> None:
    low, high = axes.get_xlim()
    ticks = [base * 10.0**power for power in range(-6, 7) for base in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= tick <= high]
    chosen = inside if len(inside) <= 9 else [tick for tick in inside if f"{tick:e}".startswith("1")]  # noqa: PLR2004 - labels that fit
    axes.set_xticks(chosen, [_seconds(tick) for tick in chosen])
    axes.minorticks_off()


def _plain_clock(axes: Any) -> None:
    ticks = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [_clock(tick) for tick in ticks])


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def _clock(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004 - up to two minutes people count seconds
        return f"{seconds:g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"  # noqa: PLR2004 - and to two hours minutes


def _height(groups: int) -> float:
    return 44 + 26 * max(groups, 1)


def _short(name: str) -> str:
    return name if len(name) <= _MOST_LABEL else name[: _MOST_LABEL - 1] + "…"
