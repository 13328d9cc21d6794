"""Owns what the entries of `notify` have to obey: one kind of place each, named by a variable and never written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.config.credentials import names_variable
from runner.config.places import Finding, value_at

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = ("webhook_env", "apprise_env")
_KEYS = {*_KINDS, "on"}


def notification_findings(values: Any) -> Iterator[Finding]:
    """Yield what is wrong with the entries of `notify`. No finding holds a value: it may be an address."""
    entries = value_at(values, ("notify",))
    for number, entry in enumerate(entries) if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        given = [kind for kind in _KINDS if entry.get(kind) is not None]
        if not given and set(entry) <= _KEYS:  # what else stands there is told as an unknown key
            yield Finding(("notify", number), "says of no place where to send", "e.g. webhook_env: EVAL_WEBHOOK_URL")
        if len(given) > 1:
            yield Finding(("notify", number, given[1]), "stands beside webhook_env", "make it an entry of its own")
        for kind in given:
            if isinstance(entry[kind], str) and not names_variable(entry[kind]):
                message = "expected the NAME of an environment variable (letters, digits, _), not an address"
                yield Finding(("notify", number, kind), message, f"e.g. {kind}: EVAL_WEBHOOK_URL")
        if entry.get("on") == []:
            yield Finding(("notify", number, "on"), "the list is empty", "name an event, or write on: always")
