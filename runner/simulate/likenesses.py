"""Owns the bundles of `simulate --like`: limits, ways to tell of them, latencies and faults of kinds of servers.

The figures are of the size that such accounts and machines have, no quotations: providers change theirs, and latencies
are chosen. What is true of the kind is how limits are counted and told, and what happens beyond them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from runner.errors import UsageError
from runner.simulate.dialects import Unsupported
from runner.simulate.faults import FaultRules
from runner.simulate.latency import Latency, Lognormal, Uniform
from runner.simulate.limits import Limits
from runner.simulate.options import SimulatorOptions

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Likeness:
    """One kind of server: what is peculiar to it in a line, and its settings."""

    what: str
    options: SimulatorOptions


def likeness(name: str) -> SimulatorOptions:
    """Return the settings of a kind of server. Raises UsageError for an unknown name."""
    if name not in LIKENESSES:
        raise UsageError(f"There is no server {name!r} to be like.", hint=f"one of {', '.join(LIKENESSES)}")
    return LIKENESSES[name].options


LIKENESSES: Mapping[str, Likeness] = MappingProxyType(
    {
        "openai-tier1": Likeness(
            "a small account: minutes' limits held over each second, refused requests count, few errors",
            SimulatorOptions(
                context_tokens=128_000,
                limits=Limits(500, 200_000, burst_s=1, charge_refused=True, notice="openai"),
                latency=Latency(Lognormal(0.5, 0.6), Lognormal(0.012, 0.4)),
                faults=FaultRules({"500": 0.0005, "503": 0.0005, "reset": 0.0002, "stall": 0.0002}),
            ),
        ),
        "azure": Likeness(
            "6 requests for 1,000 tokens a minute, counted in windows of 1 s and of 10 s; -1 in headers",
            SimulatorOptions(
                context_tokens=128_000,
                limits=Limits(1440, 240_000, request_window_s=1, token_window_s=10, notice="azure"),
                latency=Latency(Lognormal(0.8, 0.8), Lognormal(0.015, 0.4)),
                faults=FaultRules({"400_content_filter": 0.001, "408": 0.0005, "500": 0.0005}),
                unsupported=Unsupported(dialect="azure"),
            ),
        ),
        "anthropic": Likeness(
            "prompt and answer tokens counted apart, resets as times of day, 529 when it is overloaded",
            SimulatorOptions(
                context_tokens=200_000,
                limits=Limits(
                    1000, input_tokens_per_minute=450_000, output_tokens_per_minute=90_000, notice="anthropic"
                ),
                latency=Latency(Lognormal(0.9, 0.6), Lognormal(0.015, 0.4)),
                faults=FaultRules({"529": 0.005, "500": 0.0005}),
                unsupported=Unsupported(dialect="anthropic"),
            ),
        ),
        "vllm": Likeness(
            "no limits, no headers: beyond 64 in flight all slow down and less is served; idle connections close",
            SimulatorOptions(
                context_tokens=32_768,
                keepalive_s=5,
                limits=Limits(notice="none"),
                latency=Latency(Uniform(0.03, 0.08), Lognormal(0.02, 0.1), slow_above=64),
                unsupported=Unsupported(dialect="vllm"),
            ),
        ),
    }
)
