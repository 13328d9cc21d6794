"""Owns the estimate before the first request: rows, tokens, cost, and time under the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from runner.endpoints import prompt_bytes, shortened
from runner.pipeline.produce import rows_as_requests

if TYPE_CHECKING:
    from runner.endpoints import Endpoint
    from runner.limiter import Limits
    from runner.pipeline.produce import Production
    from runner.prices import Price

_SAMPLED_ROWS = 2_000
# Where each of them may read files of many megabytes.
_SAMPLED_ROWS_WITH_FILES = 50
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would send. Tokens are guesses of four bytes each; null where nothing is known.

    `completion_tokens` is the most the requests allow, so `cost_usd` is an upper bound of the answer's share.
    """

    requests: int
    prompt_tokens: int
    completion_tokens: int | None
    cost_usd: float | None
    seconds_under_limits: float | None
    first_request: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def estimate(production: Production, price: Price | None, limits: Limits) -> Estimate:
    """Render up to 2,000 rows (50 with files), spread over what is left, and scale up.

    Raises TemplateError, DatasetError.
    """
    most = _SAMPLED_ROWS if production.plan.file_digests is None else _SAMPLED_ROWS_WITH_FILES
    left = np.flatnonzero(production.todo.wanted)
    cases = production.todo.cases
    chosen = left[np.linspace(0, len(left) - 1, min(len(left), most)).astype(int)] if len(left) else left
    wanted = np.zeros_like(production.todo.wanted)
    wanted[chosen] = True
    count = sampled_bytes = 0
    longest: int | None = 0
    first: dict[str, Any] | None = None
    for request in rows_as_requests(production, wanted) if len(chosen) else ():
        body = orjson.loads(request.body)
        first = first or shortened(body)
        count += 1
        sampled_bytes += _prompt_bytes(production.plan.endpoint, body)
        one = production.plan.endpoint.longest_answer(body)
        longest = longest + one * request.choices if longest is not None and one is not None else None
    scale = cases / count if count else 0.0
    prompt = round(sampled_bytes * scale / _BYTES_PER_TOKEN)
    completion = None if longest is None else round(longest * scale)
    return Estimate(
        requests=cases,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cost_usd=_cost(price, prompt, completion),
        seconds_under_limits=_seconds(limits, cases, prompt + (completion or 0)),
        first_request=first,
    )


def _prompt_bytes(endpoint: Endpoint, body: dict[str, Any]) -> int:
    if endpoint.contents:  # what goes over the wire is not the body itself
        return endpoint.reserve_tokens(body, 0) * _BYTES_PER_TOKEN
    return prompt_bytes(orjson.dumps(body.get(endpoint.field) or body, option=orjson.OPT_SORT_KEYS))


def _cost(price: Price | None, prompt: int, completion: int | None) -> float | None:
    if price is None or completion is None:
        return None
    return (prompt * price.input + completion * price.output) / 1e6


def _seconds(limits: Limits, requests: int, tokens: int) -> float | None:
    minutes = [
        amount / per_minute
        for amount, per_minute in ((requests, limits.requests_per_minute), (tokens, limits.tokens_per_minute))
        if per_minute
    ]
    return round(60.0 * max(minutes), 1) if minutes else None
