"""Owns the estimate before the first request: rows, tokens, cost, and time under the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from runner.endpoints import shortened
from runner.pipeline.passes.produce import rows_as_requests
from runner.pipeline.passes.tokenguess import guess_body, guess_content

if TYPE_CHECKING:
    from runner.endpoints import Endpoint
    from runner.limiter import Limits
    from runner.pipeline.passes.produce import Production
    from runner.pipeline.requests.learnt import Learnt
    from runner.prices import Price
    from runner.records import Request

_SAMPLED_ROWS = 2_000
# Where each of them may read files of many megabytes.
_SAMPLED_ROWS_WITH_FILES = 50


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would send; null where nothing is known.

    `completion_tokens` is the most that the requests allow, so `cost_usd` is an upper bound of the answers' share.
    `expected_completion_tokens` and `expected_cost_usd` go by what answers of an earlier run took; its id is
    `learnt_from`, and prompts go by its usage as well. Where it is null they are guessed from their texts.
    """

    requests: int
    prompt_tokens: int
    completion_tokens: int | None
    cost_usd: float | None
    expected_completion_tokens: int | None
    expected_cost_usd: float | None
    learnt_from: str | None
    seconds_under_limits: float | None
    first_request: dict[str, Any] | None
    first_path: str | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def estimate(
    production: Production,
    price: Price | None,
    limits: Limits,
    earlier: tuple[Learnt, str] | None = None,
    *,
    servers: int = 1,
) -> Estimate:
    """Render up to 2,000 rows (50 with files), spread over what is left, and scale up; `earlier` is what a run learnt.

    `limits` are those of each of the `servers`. Raises TemplateError, DatasetError.
    """
    most = _SAMPLED_ROWS if production.plan.file_digests is None else _SAMPLED_ROWS_WITH_FILES
    left = np.flatnonzero(production.todo.wanted)
    cases = production.todo.cases
    chosen = left[np.linspace(0, len(left) - 1, min(len(left), most)).astype(int)] if len(left) else left
    wanted = np.zeros_like(production.todo.wanted)
    wanted[chosen] = True
    sample = _Sample(production.plan.endpoint, earlier[0] if earlier else None)
    for request in rows_as_requests(production, wanted) if len(chosen) else ():
        sample.add(request)
    scale = cases / sample.count if sample.count else 0.0
    prompt = round(sample.prompt * scale)
    completion = None if sample.longest is None else round(sample.longest * scale)
    expected = round(cases * earlier[0].completion_tokens / earlier[0].cases) if earlier else None
    return Estimate(
        requests=cases,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cost_usd=_cost(price, prompt, completion),
        expected_completion_tokens=expected,
        expected_cost_usd=_cost(price, prompt, expected),
        learnt_from=earlier[1] if earlier else None,
        seconds_under_limits=_seconds(limits, cases / servers, (prompt + (completion or 0)) / servers),
        first_request=sample.first,
        first_path=sample.first_path,
    )


@dataclass(slots=True)
class _Sample:
    """Sums over rendered rows; `longest` is null once a request sets no bound to its answer."""

    endpoint: Endpoint
    learnt: Learnt | None
    count: int = 0
    prompt: float = 0.0
    longest: int | None = 0
    first: dict[str, Any] | None = None
    first_path: str | None = None

    def add(self, request: Request) -> None:
        body = orjson.loads(request.body)
        if self.first is None:
            self.first, self.first_path = shortened(body), request.path
        self.count += 1
        self.prompt += self._prompt_of(request, body)
        one = self.endpoint.longest_answer(body)
        self.longest = self.longest + one * request.choices if self.longest is not None and one is not None else None

    def _prompt_of(self, request: Request, body: dict[str, Any]) -> float:
        if self.learnt is not None:
            estimated = request.reserve_tokens - request.answer_tokens
            return estimated * self.learnt.prompt_tokens / self.learnt.estimated
        if self.endpoint.contents:  # the context goes out with each continuation
            context = guess_content(body["context"])
            return sum(context + guess_content(one) for one in body["continuations"])
        if self.endpoint.field not in body:  # an adapter's own form
            return guess_content(body)
        return guess_body(body, self.endpoint.field)


def _cost(price: Price | None, prompt: int, completion: int | None) -> float | None:
    if price is None or completion is None:
        return None
    return (prompt * price.input + completion * price.output) / 1e6


def _seconds(limits: Limits, requests: float, tokens: float) -> float | None:
    minutes = [
        amount / per_minute
        for amount, per_minute in ((requests, limits.requests_per_minute), (tokens, limits.tokens_per_minute))
        if per_minute
    ]
    return round(60.0 * max(minutes), 1) if minutes else None
