"""Owns the page about a suite's nights: one file, nothing fetched, nothing run; every text in it is inert."""

from __future__ import annotations

import base64
import hashlib
import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.nightly.record import ConfigRecord, NightRecord

_MOST_NIGHTS = 60
_LONGEST_TEXT = 500
_CSS = """
:root{color-scheme:light dark;--bad:light-dark(#b3261e,#ff8a80);--ok:light-dark(#1b6e3c,#7bd88f);
--line:light-dark(#ddd,#444)}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;display:block;overflow-x:auto}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
.good{color:var(--ok)}.failure,.regression{color:var(--bad)}p.verdict{font-size:1.1rem;font-weight:600}
"""
_HASH = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
_HEAD = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{_HASH}'">
<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">
"""


def night_page(record: NightRecord, earlier: Sequence[NightRecord], folder: Path) -> str:
    """Return the page of a night, with the earlier ones below, newest first; links count from `folder`."""
    rows = [_config_row(one, folder) for one in record.configs]
    notes = [f"No run on: {', '.join(record.missed[:31])}"] if record.missed else []
    notes += [f"Cut off and left as it is: {one}" for one in record.cut_off]
    notes += [*record.troubles, *(_delivery(one) for one in record.deliveries)]
    nights = [_night_row(one) for one in (record, *earlier[: _MOST_NIGHTS - 1])]
    state = "good" if record.exit_code == 0 else "failure"
    return "\n".join(
        [
            f"{_HEAD}<title>{_text(record.suite)}: {_text(record.date)}</title><style>{_CSS}</style></head><body>",
            f"<h1>{_text(record.suite)}, night of {_text(record.date)} ({_text(record.time_zone)})</h1>",
            f'<p class="verdict {state}">{_text(record.verdict)} (exit {record.exit_code})</p>',
            *(f"<p>{_text(note)}</p>" for note in notes),
            _table(("config", "verdict", "exit", "rows", "scores", "gates", "time", "look"), rows),
            "<h2>Nights</h2>",
            _table(("night", "exit", "verdict"), nights),
            "</body></html>\n",
        ]
    )


def _config_row(one: ConfigRecord, folder: Path) -> tuple[str, ...]:
    said = _text(one.verdict) + (f"<br>{_text(one.message)}" if one.message else "")
    rows = "–" if one.samples is None else f"{one.samples:,} ({one.failed or 0:,} failed)"
    links = [_link("report", one.report, folder), _link("run", one.run_dir, folder), _link("log", one.log, folder)]
    return (
        _text(one.name),
        f'<span class="{_text(one.state)}">{said}</span>',
        str(one.exit_code),
        rows,
        "<br>".join(_text(f"{name} {score_text(score)}") for name, score in one.scores.items()) or "–",
        "<br>".join(_text(gate_text(gate)) for gate in one.gates) or "–",
        f"{one.duration_s:,.0f} s",
        " · ".join(link for link in links if link),
    )


def _night_row(record: NightRecord) -> tuple[str, ...]:
    exit_code = "–" if record.exit_code is None else str(record.exit_code)
    return _text(record.date), exit_code, _text(record.verdict or "cut off")


def score_text(score: dict[str, Any]) -> str:
    """Return a score's mean with its interval."""
    mean, interval = score.get("mean"), score.get("interval")
    between = f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
    return f"{mean:.4f}{between}" if isinstance(mean, int | float) else "–"


def gate_text(gate: dict[str, Any]) -> str:
    """Return a gate as one line: its name, what was asked and found, and whether it passed."""
    outcome = {True: "passed", False: "missed"}.get(gate.get("passed"), "not decided")  # type: ignore[arg-type]
    note = f", {gate['note']}" if gate.get("note") else ""
    return f"{gate.get('name')}: {_figure(gate.get('value'))} against {_figure(gate.get('limit'))}, {outcome}{note}"


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "–"


def _delivery(one: dict[str, Any]) -> str:
    return f"{one.get('label')}: {'told' if one.get('ok') else 'not told: ' + str(one.get('error'))}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    titles = "".join(f"<th>{title}</th>" for title in head)
    return f"<table><tr>{titles}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _link(what: str, path: str | None, folder: Path) -> str:
    if path is None or not Path(path).exists():
        return ""
    return f'<a href="{quote(os.path.relpath(path, folder))}">{what}</a>'


def _text(text: str) -> str:
    """Return a text as HTML shows it, cut where it is endless."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return escape(shown if len(shown) <= _LONGEST_TEXT else f"{shown[:_LONGEST_TEXT]}…")
