"""What a report decides: which rows it shows, how much of a text, what held a run back, how numbers read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from runner.comparison import ScoreComparison
from runner.errors import UsageError, request_errors
from runner.folder.manifest import Session
from runner.report import svg
from runner.report.bounding import bounded
from runner.report.charts import forest_chart
from runner.report.choosing import MOST_ROWS, Candidates
from runner.report.clock import clock_of
from runner.report.comparing import forests_of
from runner.report.embedded import embedded
from runner.report.failures import ADVICE
from runner.report.pace import REASONS, held_back, read_pace
from runner.report.prompts import messages_of
from runner.report.rows import ShownRow
from runner.report.shown import name_of, visible
from runner.report.tally import OverTime, Times
from runner.report.wording import chance, change, number, percent, points, score, seconds, share

if TYPE_CHECKING:
    from pathlib import Path

LINE = {
    "elapsed_s": 0.0, "cpu_s": 0.0, "in_flight": 3, "max_in_flight": 8, "held": 0, "waiting": 0, "frozen_for_s": 0.0,
    "out": 0, "paused": False,
}  # fmt: skip


def candidates(rows: int, batches: int, failed: int = 0) -> Candidates:
    """Return candidates among which the first `failed` rows failed, and scores rise with the row."""
    found = Candidates(("s",))
    chance = np.random.default_rng(5).integers(0, 2**59, rows)
    for part in np.array_split(np.arange(rows), batches):
        troubles = ["failed:server" if place < failed else None for place in part]
        found.add(chance[part], troubles, np.full(len(part), 0.1), [part.astype(np.float64)])
    return found


def test_all_rows_are_shown_as_long_as_they_are_few() -> None:
    assert sorted(candidates(MOST_ROWS, 3, failed=700).choose()) == list(range(MOST_ROWS))


def test_a_sample_has_trouble_and_extremes_in_it_and_does_not_depend_on_the_batches() -> None:
    chosen = candidates(50_000, 1, failed=30).choose()
    assert len(set(chosen)) == len(chosen) == MOST_ROWS
    assert set(range(30)) <= set(chosen)
    assert {49_999, 49_998, 49_900} <= set(chosen)
    assert chosen == candidates(50_000, 17, failed=30).choose()
    by_chance = [place for place in chosen if 1_000 <= place < 49_000]
    assert np.mean(by_chance) == pytest.approx(25_000, rel=0.05)


def test_percentiles_are_exact_to_half_a_percent() -> None:
    times, values = Times(), np.random.default_rng(1).lognormal(0.0, 1.0, 20_000)
    times.add(np.append(values, np.nan))
    for fraction in (0.5, 0.9, 0.99):
        expected = np.quantile(values, fraction, method="inverted_cdf")
        assert times.percentile(fraction) == pytest.approx(expected, rel=0.0051)
    assert times.count == 20_000
    assert times.histogram(60)[1].sum() == 20_000
    assert Times().percentile(0.5) is None


def test_time_is_counted_in_bins_that_widen() -> None:
    over = OverTime(2)
    over.add(np.array([0.5, 1.5, np.nan]), np.array([0, 1, 0]))
    over.add(np.array([5_000.0]), np.array([0]))
    assert over.width_s == 16.0
    assert over.counts.sum(axis=1).tolist() == [2, 1]
    width, rates = over.per_second(100)
    assert (rates.sum(axis=1) * width).tolist() == pytest.approx([2, 1])


def test_gaps_between_sessions_take_no_time() -> None:
    def session(number: int, start: str, end: str | None) -> Session:
        return Session(number, f"2026-01-0{number}T{start}+00:00", 1, "h", {}, end and f"2026-01-0{number}T{end}+00:00")

    clock = clock_of([session(1, "10:00:00", "10:01:00"), session(2, "10:00:00", None)])
    first, second = clock.starts
    assert clock.elapsed_s(np.array([first + 5, first + 3600, second + 5])).tolist() == [5, 60, 65]


@pytest.mark.parametrize(
    ("changes", "cpu_share", "frozen", "reason"),
    [
        ({"paused": True}, 1.0, True, "paused"),
        ({}, 0.95, False, "processor"),
        ({"held": 5}, 0.1, True, "asked"),
        ({"in_flight": 8}, 0.1, False, "in_flight"),
        ({"out": 1, "held": 5}, 0.1, False, "out"),
        ({"held": 5}, 0.1, False, "rate"),
        ({"waiting": 2}, 0.1, False, "retry"),
        ({}, 0.1, False, "rows"),
    ],
)
def test_what_holds_a_run_back(changes: dict[str, Any], cpu_share: float, frozen: bool, reason: str) -> None:  # noqa: FBT001 - a table's column
    assert held_back(LINE | changes, cpu_share=cpu_share, frozen=frozen) == reason
    assert reason in REASONS


def test_pace_lines_are_read_whatever_stands_beside_them(tmp_path: Path) -> None:
    lines = [
        {"event": "pace", **LINE},
        {"event": "pace", **LINE, "elapsed_s": 10.0, "cpu_s": 2.0, "held": 4},
        {"event": "retry", "message": '"event":"pace"'},
        {"event": "pace", **LINE, "elapsed_s": 1.0},
        {"event": "pace", **LINE, "elapsed_s": 3.0, "in_flight": 8},
        {"event": "pace", "elapsed_s": "never"},
    ]
    log = tmp_path / "run.log.jsonl"
    log.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines) + b'{"event":"pace","elap')
    pace = read_pace(log)
    assert pace.seconds == {"rate": 10.0, "in_flight": 2.0}
    assert [one.session for one in pace.stretches] == [0, 1]
    assert pace.cpu_s == 2.0
    assert read_pace(tmp_path / "none").total_s == 0


def test_rows_fit_into_the_page() -> None:
    rows = [ShownRow(place, {"id": "x"}, [("user", "<" * 4_000)], {"answer": "a" * 8_000}) for place in range(100)]
    shown, most = bounded(rows, 1_000_000)
    assert most == 1_000
    assert len(embedded(shown)) <= 1_000_000
    assert shown[0]["cut"] == {"answer": 7_000, "prompt": 3_000}
    whole, most = bounded(rows[:1])
    assert (most, whole[0]["cut"]) == (8_000, {})


@pytest.mark.parametrize(
    ("body", "row", "messages"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, 0, [("user", "hi")]),
        ({"prompt": ["a", "b"]}, 1, [("prompt", "b")]),
        ({"prompt": [1, 2]}, 0, [("prompt", "[1,2]")]),
        ({"input": ["a", "b"]}, 1, [("input", "b")]),
        ({"instructions": "be brief", "input": "hi"}, 0, [("instructions", "be brief"), ("input", "hi")]),
        ({"context": "2+2=", "continuations": ["4", "5"]}, 0,
         [("context", "2+2="), ("continuation", "4"), ("continuation", "5")]),
        ({"anything": 1}, 0, [("request", '{"anything":1}')]),
        ([1], 0, [("request", "[1]")]),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, 0,
         [("assistant", 'tool_calls: [{"id":"1"}]')]),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "A" * 99}}]}]}, 0,
         [("user", f"[input_audio: {'A' * 60}… 99 characters]")]),
    ],
)  # fmt: skip
def test_prompts_of_all_shapes(body: Any, row: int, messages: list[tuple[str, str]]) -> None:
    assert messages_of(orjson.dumps(body), row) == messages


def test_a_body_that_is_no_json_is_shown_as_it_is() -> None:
    assert messages_of(b"\xff plain", 0) == [("request", "\ufffd plain")]


def test_text_is_made_visible() -> None:
    assert visible("a\tb\r\nc\x1b\x00\x7f\u202e") == "a\tb\nc␛␀\u2421⟦U+202E⟧"
    assert name_of(" a\n b ") == "a b"
    assert name_of("") == "(empty)"
    assert len(name_of("x" * 500)) == 80


def test_numbers_read_well() -> None:
    assert [number(one) for one in (None, 3.0, 1234567, 0.123456, 1234.56)] == [
        "–",
        "3",
        "1,234,567",
        "0.1235",
        "1,235",
    ]
    assert [seconds(one) for one in (0.0, 0.0123, 0.9999, 75.0, 600.0, 9_000.0, 400_000.0)] == [
        "0 s", "12.3 ms", "1 s", "75 s", "10 min 00 s", "2 h 30 min", "4.6 days"
    ]  # fmt: skip
    assert [percent(1, 100_000), percent(99_999, 100_000), percent(1, 2), percent(0, 0)] == [
        "< 0.1 %",
        "> 99.9 %",
        "50 %",
        "–",
    ]
    assert [score(one) for one in (0.33333, 43.21, None)] == ["0.333", "43.2", "–"]


def test_differences_have_a_sign_and_chances_no_false_digits() -> None:
    minus = "\u2212"
    assert [change(one, score) for one in (0.25, -0.25, 0.0, None)] == ["+0.250", f"{minus}0.250", "0.000", "–"]
    assert [change(-0.0259, points), change(-0.68, seconds)] == [f"{minus}2.59 points", f"{minus}680 ms"]
    assert [share(0.5), share(None), chance(0.774), chance(1e-9), chance(None)] == [
        "50 %",
        "–",
        "0.77",
        "< 0.0001",
        "–",
    ]


def test_scores_of_one_scale_share_a_forest() -> None:
    def compared(tolerance: float, *, lower: bool = False, difference: float | None = 0.1) -> ScoreComparison:
        return ScoreComparison(
            "s", 0.1, 0.2, difference, (0.0, 0.2), "bootstrap", None, 0.1, "better", tolerance, lower, 9, 9, 1, 0, 9,
            None, None, None,
        )  # fmt: skip

    scores = {
        "a": compared(0.02), "b": compared(0.03, lower=True), "c": compared(0.02), "d": compared(0.02, difference=None)
    }  # fmt: skip
    forests = forests_of(scores)
    assert [[name for name, _ in one.scores] for one in forests] == [["a", "c"], ["b"]]
    drawn = forest_chart("f", forests[0])
    assert drawn.count("stroke-good") == 2
    assert "style" not in drawn


def test_every_kind_of_failure_comes_with_advice() -> None:
    # What `check` says of a question that it did not ask is never in a row.
    assert set(ADVICE) == set(request_errors()) - {"not_asked"}


def test_a_chart_has_no_style_and_takes_any_name_as_text() -> None:
    hostile = "$\\frac</svg><script>@0@"

    def paint(figure: Any) -> None:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.plot([0, 1], [0, 1], color=svg.COLOURS["main"])
        axes.set_yticks([0], [svg.mark(0)])

    drawn = svg.draw("one", (300, 200), paint, hostile, [hostile])
    assert "style" not in drawn
    assert "<script" not in drawn
    assert drawn.count("$\\frac&lt;/svg&gt;&lt;script&gt;@0@") == 2
    assert "stroke-main" in drawn
    assert all(one.startswith("one-") for one in re.findall(r' id="([^"]+)"', drawn))
    assert drawn == svg.draw("one", (300, 200), paint, hostile, [hostile])


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("runner.report.svg.importlib.import_module", missing)
    with pytest.raises(UsageError) as raised:
        svg.drawing()
    assert "evalrunner[report]" in raised.value.hint
