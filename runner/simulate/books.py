"""Owns the ledger over HTTP, beside the API that is simulated.

`/_ledger` has the totals, `/_ledger/rates?from_s=5&until_s=65` what was permitted, charged and refused in a span of
seconds, `/_ledger/seconds` the same second by second.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING

from runner.simulate.replies import ErrorBody, error_reply, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.simulate.ledger import Ledger
    from runner.simulate.replies import Reply

_WHOLE = re.compile(r"[0-9]{1,9}\Z")


def _totals(ledger: Ledger, _query: Mapping[str, str]) -> Reply:
    statistics = ledger.statistics()
    by_status = {str(status): count for status, count in statistics.by_status.items()}
    return json_reply(200, {**asdict(statistics), "by_status": by_status})


def _rates(ledger: Ledger, query: Mapping[str, str]) -> Reply:
    from_s, until_s = query.get("from_s", "0"), query.get("until_s")
    if not all(text is None or _WHOLE.match(text) for text in (from_s, until_s)):
        return error_reply(400, ErrorBody("from_s and until_s are whole seconds, counted from the first request."))
    return json_reply(200, ledger.rates.span(int(from_s), None if until_s is None else int(until_s)))


def _seconds(ledger: Ledger, _query: Mapping[str, str]) -> Reply:
    return json_reply(200, {"seconds": list(ledger.rates.seconds())})


BOOKS: Mapping[str, Callable[[Ledger, Mapping[str, str]], Reply]] = MappingProxyType(
    {"/_ledger": _totals, "/_ledger/rates": _rates, "/_ledger/seconds": _seconds}
)
