"""Owns what a running run may be asked: one line of JSON as a command, and the config that comes of a change. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import orjson

from runner.config import config_from_dict, to_dict
from runner.errors import UsageError
from runner.limiter import Limits, shared_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runner.config import RunConfig
    from runner.limiter import LimiterStatistics, PoolStatistics

# A line is read up to here; no command is longer.
MOST_LINE_BYTES = 16 * 1024
LIMITS = tuple(field.name for field in fields(Limits))
_RATES = LIMITS[1:]


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing more until told to go on."""


@dataclass(frozen=True, slots=True)
class Unpause:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Change:
    """Let other limits hold; each text is KEY=VALUE, as after `--set`."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Say how things stand."""


Command = Pause | Unpause | Change | Look
_PLAIN: dict[str, Command] = {"pause": Pause(), "unpause": Unpause(), "status": Look()}


def read_command(line: bytes) -> Command:
    """Read a command, whoever sent it. Raises UsageError."""
    try:
        value = orjson.loads(line)
    except ValueError as error:
        raise UsageError(f"not a line of JSON ({error})") from error
    name = value.get("command") if isinstance(value, dict) else None
    if isinstance(name, str) and name in _PLAIN:
        return _PLAIN[name]
    texts = value.get("set") if name == "set" else None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise UsageError('expected {"command": "pause"}, "unpause", "status", or "set" with a list of KEY=VALUE')
    return Change(tuple(texts))


def line_of(command: Command) -> bytes:
    """Return a command as the line that `read_command` reads."""
    if isinstance(command, Change):
        return orjson.dumps({"command": "set", "set": command.texts})
    return orjson.dumps({"command": next(name for name, plain in _PLAIN.items() if plain == command)})


def changed(config: RunConfig, texts: Sequence[str], base_dir: Path) -> RunConfig:
    """Return the config with other limits, checked as a config is. Raises UsageError for what cannot be changed."""
    for text in texts:
        key, equals, _ = text.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if equals and (parts[0] != "limits" or len(parts) == 1):
            raise UsageError(
                f"{key.strip()[:100]}: cannot be changed while a run goes on; its limits can",
                hint=f"{', '.join(f'limits.{name}' for name in LIMITS)}; all else takes another `evalrunner run`",
            )
    return config_from_dict(to_dict(config), base_dir, overrides=texts)


def difference(before: Limits, after: Limits) -> dict[str, Any]:
    """Return the limits that are others now, by dotted key."""
    return {f"limits.{name}": getattr(after, name) for name in LIMITS if getattr(after, name) != getattr(before, name)}


def servers_in_force(begun: Limits, now: Limits, seen: PoolStatistics) -> list[dict[str, Any]]:
    """Return of each server whether it is out, what is under way there, and its limits in force."""
    weights = [one.weight for one in seen.servers]
    shares = zip(shared_limits(begun, weights), shared_limits(now, weights), seen.servers, strict=True)
    return [
        {
            "name": one.name,
            "out": one.name in seen.out,
            "in_flight": one.limiter.in_flight,
            "limits": limits_in_force(of_begun, of_now, one.limiter),
        }
        for of_begun, of_now, one in shares
    ]


def limits_in_force(begun: Limits, now: Limits, seen: LimiterStatistics) -> dict[str, dict[str, Any]]:
    """Return each limit that is kept at one server, and where it comes from, null where there is none.

    `begun` are those that the session began with, `now` those typed in by now. A source is `config`, `set`, `headers`
    (the server's, where they are lower) or `measured`.
    """

    def typed(name: str) -> str:
        return "config" if getattr(now, name) == getattr(begun, name) else "set"

    measuring = now.max_in_flight == "auto"
    found: dict[str, dict[str, Any]] = {
        "max_in_flight": {"value": seen.max_in_flight, "source": "measured" if measuring else typed("max_in_flight")}
    }
    for name in _RATES:
        value = getattr(seen, name)
        source = typed(name) if value == getattr(now, name) else "headers"
        found[name] = {"value": value, "source": source if value is not None else None}
    requests = found["requests_per_minute"]
    if seen.measured_per_minute is not None and seen.measured_per_minute < (requests["value"] or float("inf")):
        requests |= {"value": round(seen.measured_per_minute, 1), "source": "measured"}
    return found


def reminders(steered: Sequence[Mapping[str, Any]], limits: Limits) -> list[str]:
    """Return what the person who goes on with a run should know of how its last session was steered."""
    last: dict[str, Any] = {}
    paused = False
    for entry in steered:
        last |= entry.get("limits") or {}
        paused = entry.get("paused", paused)
    other = {key: value for key, value in last.items() if value != getattr(limits, key.rpartition(".")[2], value)}
    told = ["the last session was paused when it ended; this one begins unpaused"] if paused else []
    if other:
        texts = " ".join(f"{key}={'null' if value is None else value}" for key, value in other.items())
        told.append(f"the last session's limits were changed while it ran; this one begins with the config's ({texts})")
    return told
