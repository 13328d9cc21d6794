"""Owns who is told: a place for each entry of `notify`, named by its variable, and whether it can be used at all."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol

from yarl import URL

from runner.notify.message import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runner.notify.message import Event

_MISSING_EXTRA = "the extra `notify` is not installed: pip install 'evalrunner[notify]'"


class Entry(Protocol):
    """An entry of a config's `notify`."""

    @property
    def webhook_env(self) -> str | None:
        """Name of the variable that holds a webhook's address."""

    @property
    def apprise_env(self) -> str | None:
        """Name of the variable that holds addresses of apprise."""

    @property
    def on(self) -> str | Sequence[str]:
        """One event, a list of them, or `always`."""


@dataclass(frozen=True, slots=True)
class Target:
    """One place: the variable that holds its address, and the events that it is told of."""

    kind: Literal["webhook", "apprise"]
    variable: str
    events: frozenset[str]

    @property
    def label(self) -> str:
        """What a message calls the place; the address is a secret."""
        return f"{self.kind} {self.variable}"

    def wants(self, event: Event) -> bool:
        """Say whether the place is told of an event."""
        return event in self.events

    def address(self, environ: Mapping[str, str]) -> str:
        """Return the address, empty where the variable is not set."""
        return environ.get(self.variable, "").strip()


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a place could be told now, found out without sending anything: `problem` is empty if so."""

    label: str
    problem: str


def targets_of(entries: Iterable[Entry]) -> tuple[Target, ...]:
    """Return the places of the `notify` sections of one config, or of several one after another, each once."""
    events: dict[tuple[Literal["webhook", "apprise"], str], frozenset[str]] = {}
    for entry in entries:
        wanted = [entry.on] if isinstance(entry.on, str) else entry.on
        own = frozenset(EVENTS if "always" in wanted else wanted)
        if entry.webhook_env is not None:
            key: tuple[Literal["webhook", "apprise"], str] = ("webhook", entry.webhook_env)
        elif entry.apprise_env is not None:
            key = ("apprise", entry.apprise_env)
        else:
            continue
        events[key] = events.get(key, frozenset()) | own
    return tuple(Target(kind, variable, own) for (kind, variable), own in events.items())


def readiness(targets: Iterable[Target], environ: Mapping[str, str]) -> list[Readiness]:
    """Return of each place whether it could be told now: variable set, address well formed, library there."""
    return [Readiness(target.label, problem_of(target, environ)) for target in targets]


def problem_of(target: Target, environ: Mapping[str, str]) -> str:
    """Return why a place cannot be told, empty if it can. No text holds anything of the address."""
    address = target.address(environ)
    if not address:
        return f"the environment variable {target.variable} is not set"
    if target.kind == "apprise":
        return "" if find_spec("apprise") else _MISSING_EXTRA
    return _wrong_with_url(target.variable, address)


def _wrong_with_url(variable: str, address: str) -> str:
    wrong = f"the value of {variable} is no URL that begins with https:// or http://"
    try:
        url = URL(address)
    except ValueError:  # a port that is no number, a bracket that is not closed
        return wrong
    usable = url.scheme in {"http", "https"} and url.host and url.port
    return "" if usable and address.isprintable() and " " not in address else wrong
