"""Owns the simulator's settings, put together from those of its parts, and their checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from runner.errors import UsageError
from runner.simulate.answers import AnswerStyle
from runner.simulate.contentstore import ContentRules
from runner.simulate.details import FaultDetails
from runner.simulate.dialects import Unsupported, check_dialect
from runner.simulate.faults import FaultRules, check_rules
from runner.simulate.latency import Latency, check_distribution
from runner.simulate.limits import LIMITS, Limits
from runner.simulate.notices import check_notice
from runner.simulate.vectors import VectorStyle

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate.scoring import LanguageModel

KeyEcho: TypeAlias = Literal["none", "masked", "full"]
QuotaError: TypeAlias = Literal["quota", "credit"]
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """All settings; the defaults are a healthy, unlimited, instant server on a free port.

    `prefix` is a path before `/v1`. Empty `models` and `api_keys` accept any. `echo_key` is how a 401 shows the wrong
    key again. With `quota_after` N the request after the Nth answer, and all later ones, get insufficient_quota.
    `language_model` serves completions, whose log probabilities are then those of a real, tiny model.
    `keepalive_s` is how long an idle connection stays open. Raises UsageError for values that make no sense.
    """

    host: str = "127.0.0.1"
    port: int = 0
    prefix: str = ""
    models: tuple[str, ...] = ()
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    echo_key: KeyEcho = "none"
    context_tokens: int | None = None
    max_body_bytes: int = 64 << 20
    keepalive_s: float = 75.0
    quota_after: int | None = None
    quota_error: QuotaError = "quota"
    quota_back_s: float | None = None
    seed: int = 0
    answers: AnswerStyle = field(default_factory=AnswerStyle)
    vectors: VectorStyle = field(default_factory=VectorStyle)
    latency: Latency = field(default_factory=Latency)
    limits: Limits = field(default_factory=Limits)
    faults: FaultRules = field(default_factory=FaultRules)
    fault_details: FaultDetails = field(default_factory=FaultDetails)
    language_model: LanguageModel | None = None
    content: ContentRules = field(default_factory=ContentRules)
    unsupported: Unsupported = field(default_factory=Unsupported)
    ledger_path: Path | None = None

    def __post_init__(self) -> None:
        """Check every setting."""
        _check_server(self)
        check_rules(self.faults)
        check_dialect(self.unsupported)
        check_notice(self.limits.notice)
        check_distribution(self.latency.first_token)
        check_distribution(self.latency.per_token)
        for name, value in _positive(self):
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be above 0, not {value}.")


def _check_server(options: SimulatorOptions) -> None:
    if not 0 <= options.port <= _MAX_PORT:
        raise UsageError(f"Port {options.port} does not exist.", hint="0 to 65535; 0 takes a free one")
    if options.prefix and (not options.prefix.startswith("/") or options.prefix.endswith("/")):
        raise UsageError(f"The prefix {options.prefix!r} must begin with a slash and not end with one.")
    if options.quota_after is not None and options.quota_after < 0:
        raise UsageError(f"quota_after counts answers, it cannot be {options.quota_after}.")
    if options.quota_error not in {"quota", "credit"}:
        raise UsageError(f"quota_error is quota or credit, not {options.quota_error!r}.")
    if options.echo_key not in {"none", "masked", "full"}:
        raise UsageError(f"echo_key is none, masked or full, not {options.echo_key!r}.")
    if options.answers.sigma < 0:
        raise UsageError(f"answers.sigma cannot be {options.answers.sigma}.")


def _positive(options: SimulatorOptions) -> tuple[tuple[str, float | None], ...]:
    return (
        ("context_tokens", options.context_tokens),
        ("max_body_bytes", options.max_body_bytes),
        ("keepalive_s", options.keepalive_s),
        ("answers.completion_tokens", options.answers.completion_tokens),
        ("answers.median_tokens", options.answers.median_tokens),
        ("quota_back_s", options.quota_back_s),
        ("latency.slow_above", options.latency.slow_above),
        ("latency.refuse_above", options.latency.refuse_above),
        *((f"limits.{key}", getattr(options.limits, key)) for key in LIMITS.values()),
        *((f"limits.changes.{change.name}", change.per_minute) for change in options.limits.changes),
        ("limits.burst_s", options.limits.burst_s),
        ("limits.request_window_s", options.limits.request_window_s),
        ("limits.token_window_s", options.limits.token_window_s),
        ("fault_details.drip_bytes", options.fault_details.drip_bytes),
        ("vectors.dimensions", options.vectors.dimensions),
        ("vectors.most_inputs", options.vectors.most_inputs),
        ("vectors.most_bytes", options.vectors.most_bytes),
    )
