"""Owns how a notification reads as plain text: the verdict first, then numbers, what changed most, where to look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.notify.plain import harmless, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.notify.message import ConfigResult, Flip, Gate, Message, Score

LONGEST_TITLE = 150
LONGEST_BODY = 3500  # Telegram takes 4,096 characters, the least of the usual services
MOST_FLIPS = 5
_MOST_CONFIGS = 20
_MOST_EACH = 12
_LONGEST_NAME = 100
_LONGEST_LINE = 300
_LONGEST_FLIP = 120
_MARKS = {True: "passed", False: "FAILED", None: "not decided"}


def render(message: Message) -> tuple[str, str]:
    """Return title and body. Whatever names, ids and model output hold, no channel acts on it."""
    subject = f"{named(message.suite, _LONGEST_NAME)} {named(message.night, 10)}"
    title = named(f"{message.event}: {subject}", LONGEST_TITLE)
    lines = [named(message.verdict, _LONGEST_LINE)]
    for config in message.configs[:_MOST_CONFIGS]:
        lines += ["", *_config_lines(config)]
    if len(message.configs) > _MOST_CONFIGS:
        lines += ["", f"and {len(message.configs) - _MOST_CONFIGS} more configs"]
    if message.paths:
        lines += ["", *_path_lines(message.paths)]
    return title, _cut_at_line("\n".join(lines))


def _config_lines(config: ConfigResult) -> Iterator[str]:
    name, verdict = named(config.name, _LONGEST_NAME), named(config.verdict, _LONGEST_LINE)
    yield f"{name}: {verdict} ({named(config.status, 20)}, exit {config.exit_code})"
    if config.message:
        yield f"  {harmless(config.message, _LONGEST_LINE)}"
    # A gate that failed is never among those that are left out.
    for gate in sorted(config.gates, key=lambda one: one.passed is not False)[:_MOST_EACH]:
        yield f"  gate {_gate(gate)}"
    for score in config.scores[:_MOST_EACH]:
        yield f"  {_score(score)}"
    for flip in config.flips[:MOST_FLIPS]:
        yield f"  changed: {_flip(flip)}"
    left_out = config.flip_count - min(len(config.flips), MOST_FLIPS)
    if left_out:
        yield f"  and {left_out:,} more that changed"
    yield from (f"  {line}" for line in _path_lines(config.paths))


def _gate(gate: Gate) -> str:
    detail = f": {named(gate.detail, _LONGEST_LINE)}" if gate.detail else ""
    return f"{named(gate.name, _LONGEST_NAME)} {_MARKS[gate.passed]}{detail}"


def _score(score: Score) -> str:
    text = f"{named(score.name, _LONGEST_NAME)} {_number(score.mean)}{_interval(score.interval)}"
    if score.difference is not None:
        text += f", {_signed(score.difference)}{_interval(score.difference_interval)}"
    if score.baseline is not None:
        text += f", before {_number(score.baseline)}"
    return text


def _flip(flip: Flip) -> str:
    said = f" “{harmless(flip.text, _LONGEST_FLIP)}”" if flip.text else ""
    change = f"{_number(flip.before)} → {_number(flip.after)}"
    return f"{harmless(flip.sample_id, _LONGEST_NAME)} {named(flip.score, _LONGEST_NAME)} {change}{said}"


def _path_lines(paths: Sequence[tuple[str, str]]) -> Iterator[str]:
    for what, path in paths[:_MOST_EACH]:
        yield f"{named(what, 20)}: {named(path, _LONGEST_LINE)}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _signed(value: float) -> str:
    return f"{value:+.4g}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{interval[0]:.4g}, {interval[1]:.4g}]"


def _cut_at_line(body: str) -> str:
    if len(body) <= LONGEST_BODY:
        return body
    kept = body[:LONGEST_BODY].rpartition("\n")[0]
    return f"{kept}\n… (cut; the rest is on the suite's page)"
