"""Owns the summary of a run: what its commits add up to, over all attempts of all sessions."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.folder.totals import Totals


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run came to.

    `samples` counts usable dataset rows, `requests` samples × repeats. `ok`, `failed` and `by_status` count rows of
    `responses` as they stand; `superseded` rows that were replaced. `http_requests`, `retries`, `rate_limited`, tokens
    and cost are sums over all attempts of all sessions. `cost_usd` is null unless every answer's cost is known.
    `scores` says by name what each score comes to, over the answered rows and over all; `gates` what the run had to
    reach, and whether it passed (null: not judged).
    `latency_s` holds percentiles of answered requests, exact to 2.5 %. `wall_s` sums all sessions.
    """

    run_id: str
    run_dir: str
    status: str
    samples: int
    requests: int
    ok: int
    failed: int
    superseded: int
    by_status: dict[str, int]
    http_requests: int
    retries: int
    rate_limited: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost_usd: float | None
    wall_s: float
    requests_per_s: float | None
    latency_s: dict[str, float | None]
    exit_code: int
    warnings: list[str] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)
    gates: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Ending:
    """How the last session ended and what it took."""

    status: str
    exit_code: int
    wall_s: float
    warnings: list[str]
    gates: list[dict[str, Any]]
    scores: dict[str, Any] = field(default_factory=dict)


def summarize(run_id: str, run_dir: str, totals: Totals, expected: tuple[int, int], ending: Ending) -> RunSummary:
    """Build the summary; `expected` is the number of samples and of requests in dataset × config."""
    by_status = {status: count for status, count in sorted(totals.by_status.items()) if count}
    answered = sum(totals.latencies.values())
    return RunSummary(
        run_id=run_id,
        run_dir=run_dir,
        status=ending.status,
        samples=expected[0],
        requests=expected[1],
        ok=by_status.get("ok", 0),
        failed=by_status.get("failed", 0),
        superseded=totals.superseded,
        by_status=by_status,
        http_requests=totals.http_requests,
        retries=totals.retries,
        rate_limited=totals.rate_limited,
        prompt_tokens=totals.prompt_tokens,
        completion_tokens=totals.completion_tokens,
        total_tokens=totals.total_tokens,
        cost_usd=totals.cost,
        wall_s=round(ending.wall_s, 3),
        requests_per_s=round(answered / ending.wall_s, 3) if ending.wall_s > 0 else None,
        latency_s={"p50": totals.percentile(0.50), "p95": totals.percentile(0.95), "p99": totals.percentile(0.99)},
        exit_code=ending.exit_code,
        warnings=ending.warnings,
        gates=ending.gates,
        scores=ending.scores,
    )
