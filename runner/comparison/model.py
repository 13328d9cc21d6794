"""Owns what a comparison of two runs consists of. Differences are run minus base."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.statistics import Verdict


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Which run is compared; `rows` are those of `responses`."""

    run_id: str
    run_dir: str
    name: str
    model: str | None
    status: str
    rows: int


@dataclass(frozen=True, slots=True)
class ScoreComparison:
    """One score in both runs, over the `pairs` in which both runs answered; a null score counts as the worst there.

    `base_mean_all`, `run_mean_all` and `difference_all` are over the `all` pairs, failed rows as the worst; null where
    there is no worst score. `interval` is the 95 % interval of the difference, `minimum_detectable_effect` what so
    many samples show in 80 % of all cases. `gained` and `lost` count pairs that became better or worse. `unpaired`
    counts pairs left out, by what ended without an answer: base, run or both.
    """

    scorer: str
    base_mean: float | None
    run_mean: float | None
    difference: float | None
    interval: tuple[float, float] | None
    interval_method: str | None
    p_value: float | None
    minimum_detectable_effect: float | None
    verdict: Verdict
    tolerance: float
    lower_is_better: bool
    pairs: int
    samples: int
    gained: int
    lost: int
    all: int
    base_mean_all: float | None
    run_mean_all: float | None
    difference_all: float | None
    unpaired: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both runs; null where a run has none. `interval` is the 95 % interval of the paired difference."""

    unit: str
    base: float | None
    run: float | None
    difference: float | None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """A pair whose score differs. Texts are cut; they are model output. `repeat` is null where means were compared."""

    score: str
    sample_id: str | None
    repeat: int | None
    choice: int | None
    base_value: float
    run_value: float
    base_text: str | None
    run_text: str | None
    base_status: str
    run_status: str
    target: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, paired by sample, repeat and choice.

    `changed` counts rows with the same place and another content, which are in no pair; `only_base` and `only_run` rows
    without a counterpart. `by_sample_means`: the runs have another number of repeats or choices, and a pair is a
    sample's mean in each. `not_compared` says by score why it is not. `notes` are doubts, for people.
    """

    base: RunFacts
    run: RunFacts
    pairs: int
    only_base: int
    only_run: int
    changed: int
    by_sample_means: bool
    verdict: Verdict
    scores: dict[str, ScoreComparison]
    differences: dict[str, Difference]
    flips: list[Flip]
    not_compared: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a plain JSON object."""
        return asdict(self)
