from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.notify import ConfigResult, Flip, Gate, Score, render
from runner.notify.plain import harmless, one_line
from runner.notify.text import LONGEST_BODY, LONGEST_TITLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.notify import Message

AT, HASH = "\N{FULLWIDTH COMMERCIAL AT}", "\N{FULLWIDTH NUMBER SIGN}"
LESS, MORE = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}", "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
TICK, COLON, DOT = "\N{MODIFIER LETTER GRAVE ACCENT}", "\N{RATIO}", "\N{ONE DOT LEADER}"


def test_the_verdict_comes_first_then_numbers_then_flips_then_paths(night: Callable[..., Message]) -> None:
    title, body = render(night(paths=(("page", "/srv/evals/outputs/_nightly/main/index.html"),)))
    assert title == "regression: main 2026-11-22"
    assert body.splitlines() == [
        "1 of 1 configs is worse than its last good run",
        "",
        "gsm8k-chat: exact_match fell by 0.05, more than 0.02 (complete, exit 4)",
        "  gate exact_match.max_drop FAILED: -0.05 against 0.02",
        "  gate exact_match.min passed",
        "  exact_match 0.71 [0.69, 0.73], -0.05 [-0.07, -0.03], before 0.76",
        "  changed: q-17 exact_match 1 → 0 “The answer is 42.”",
        "  run: /srv/evals/outputs/gsm8k-chat/20261122",
        "  report: /srv/evals/report.html",
        "",
        "page: /srv/evals/outputs/_nightly/main/index.html",
    ]


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("@everyone look", f"{AT}everyone look"),
        ("<!channel> <@U123|bob>", f"{LESS}!channel{MORE} {LESS}{AT}U123¦bob{MORE}"),
        ("```\nrm -rf /\n```", f"{TICK}{TICK}{TICK} rm -rf / {TICK}{TICK}{TICK}"),
        ("[win](https://evil.example/x)", f"⁅win⁆(https{COLON}//evil{DOT}example/x)"),
        ("see evil.com", f"see evil{DOT}com"),
        ("mailto:a@b.example", f"mailto{COLON}a{AT}b{DOT}example"),
        ("3.14 and v2.5", "3.14 and v2.5"),
        ("a\u202eb\u200bc\x1b[31md\x00", "abc⁅31md"),
        ("ok\r\nVerdict: all good", "ok Verdict: all good"),
        ("# heading", f"{HASH} heading"),
        ("||spoiler||", "¦¦spoiler¦¦"),
        ("\ud800x", "x"),
    ],
)
def test_other_peoples_words_are_harmless(hostile: str, shown: str) -> None:
    assert harmless(hostile, 100) == shown


@given(st.text(max_size=400), st.integers(2, 80))
def test_nothing_acts_and_nothing_is_longer_than_asked(text: str, most: int) -> None:
    shown = harmless(text, most)
    assert len(shown) <= most
    assert not set("@<>`|[]#*~\n\r\x1b") & set(shown)
    assert "://" not in shown
    assert all(character.isprintable() for character in shown)


def test_a_long_text_is_cut_without_reading_all_of_it() -> None:
    assert one_line("x" * 10_000_000, 5) == "xxxx…"
    assert one_line(" " * 1000 + "x", 5) == "…"


def test_model_output_cannot_forge_a_line(night: Callable[..., Message]) -> None:
    forged = Flip("id\nnight: fine", "em", 1.0, 0.0, "no\n\nVerdict: recovered @here https://evil.example")
    config = ConfigResult("a", "complete", 4, "worse", flips=(forged,))
    _, body = render(night(configs=(config,)))
    (line,) = [line for line in body.splitlines() if "Verdict" in line]
    assert line == f"  changed: id night: fine em 1 → 0 “no Verdict: recovered {AT}here https{COLON}//evil{DOT}example”"


def test_many_configs_stay_within_a_message(night: Callable[..., Message]) -> None:
    flips = tuple(Flip(f"s{number}", "em", 1.0, 0.0, "y" * 5000) for number in range(50))
    scores = tuple(Score(f"score-{number}", 0.5, (0.4, 0.6)) for number in range(40))
    gates = (*(Gate(f"g{number}", passed=True) for number in range(40)), Gate("last", passed=False))
    config = ConfigResult("c", "complete", 4, "worse", scores=scores, gates=gates, flips=flips)
    title, body = render(night(configs=(config,) * 100, suite="s" * 1000))
    assert len(title) <= LONGEST_TITLE
    assert len(body) <= LONGEST_BODY + 60
    assert "gate last FAILED" in body
    assert "and 45 more that changed" in body
    assert body.endswith("page)")


def test_what_is_not_known_is_a_dash(night: Callable[..., Message]) -> None:
    config = ConfigResult("a", "stopped", 5, "no key", "HTTP 401", (Score("em", None),), (Gate("em.min", None),))
    _, body = render(night(event="failure", configs=(config,)))
    assert "  HTTP 401\n  gate em.min not decided\n  em –" in body


def test_a_path_can_be_copied_and_a_link_in_its_place_cannot_be_followed(night: Callable[..., Message]) -> None:
    config = ConfigResult("a", "complete", 0, "good", paths=(("run", "/a b/c.d.json"), ("x", "http://evil.example")))
    _, body = render(night(configs=(config,)))
    assert f"  run: /a b/c.d.json\n  x: http{COLON}//evil.example" in body
