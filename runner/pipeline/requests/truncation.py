"""Owns what is asked after an answer that was cut off: the same with twice the tokens, up to a cap. Pure.

The key stays that of the sample's own request: the longer answer replaces the cut one. Where several choices were asked
for and one of them was cut, all are asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from runner.config import LONGEST_ANSWER

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from runner.endpoints import Endpoint
    from runner.pipeline.requests.prepare import Prepared
    from runner.records import Request, Response

# One of these stands in every answer of the built-in formats that was cut off; parsing spares all others.
_CUT = (b"length", b"max_tokens", b"max_output_tokens", b"incomplete")


@dataclass(frozen=True, slots=True)
class Enlarging:
    """How a run asks for more: up to `cap` tokens, in the parameters `names`.

    `mapped` says that bodies and answers have the form of an adapter: there a parameter may lie deeper in the body, and
    any word may say that an answer was cut off.
    """

    endpoint: Endpoint
    cap: int
    names: AbstractSet[str]
    mapped: bool = False

    def larger(self, request: Request, response: Response | None) -> Request | None:
        """Return what is asked after an answer; null where it is whole, or no more may be asked for."""
        if response is None or not self._was_cut(request, response):
            return None
        body = orjson.loads(request.body)
        grown, more = self._grown(body)
        if not more:
            return None
        more *= request.choices
        return replace(
            request,
            body=orjson.dumps(grown, option=orjson.OPT_SORT_KEYS),
            reserve_tokens=request.reserve_tokens + more,
            answer_tokens=request.answer_tokens + more,
        )

    def _was_cut(self, request: Request, response: Response) -> bool:
        if not self.mapped and not any(word in response.body for word in _CUT):
            return False
        try:
            outputs = self.endpoint.parse(response.body, len(request.cases), request.choices).outputs
        except Exception:  # noqa: BLE001 - the answer is not in the journal yet: nothing here may keep it from there
            return False
        return any(output.status == "truncated" for case in outputs for output in case)

    def _grown(self, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Return a body that asks for longer answers, and how much longer they may be: 0 where they may not."""
        grown, most = dict(body), 0
        for name, value in body.items():
            if name in self.names and type(value) is int and 0 < value < self.cap:
                grown[name] = min(2 * value, self.cap)
                most = max(most, grown[name] - value)
            elif self.mapped and isinstance(value, dict):
                grown[name], more = self._grown(value)
                most = max(most, more)
        return grown, most


def enlarging_for(prepared: Prepared) -> Enlarging | None:
    """Return how a run asks again after answers that were cut off; null where such answers are kept."""
    request, adapter = prepared.config.request, prepared.adapter
    if request.on_truncated != "retry" or request.max_tokens_cap is None:
        return None
    names = {*LONGEST_ANSWER[request.endpoint]}
    if adapter is not None:
        renamed = adapter.spec["params"]["rename"]
        names |= {renamed[name] for name in names if name in renamed}
    return Enlarging(prepared.plan.endpoint, request.max_tokens_cap, frozenset(names), mapped=adapter is not None)
