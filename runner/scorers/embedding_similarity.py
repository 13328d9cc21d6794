"""Owns the scorer embedding_similarity: the cosine of the angle between a sample's vectors in two runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.errors import ConfigError, Problem
from runner.records import Score
from runner.scorers.scorer import Scorer

if TYPE_CHECKING:
    from runner.scorers.scorer import Setting


@dataclass(frozen=True, slots=True)
class Options:
    """What is compared with."""

    against: str = field(
        metadata={"min_length": 1, "description": "Run folder of the other embeddings run, joined by sample id."}
    )


def make(options: Options, setting: Setting) -> Scorer:
    """Return the scorer; `other_embedding` is the vector that the other run has for the same sample and choice."""
    if setting.endpoint != "embeddings":
        raise ConfigError([Problem("name", f"wants the endpoint embeddings, and this run's is {setting.endpoint}")])
    return Scorer(("embedding", "other_embedding"), cosine, worst=None, against=options.against)


def cosine(one: Any, other: Any) -> Score:
    """Return the cosine, in float64. Vectors that are missing, of two lengths, or of no direction have none."""
    if one is None or other is None:
        return Score(None, "no vector" if one is None else "the other run has no vector")
    if len(one) != len(other):
        return Score(None, f"{len(one)} numbers against {len(other)}")
    left, right = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    size = float(np.linalg.norm(left) * np.linalg.norm(right))
    return Score(float(left @ right) / size) if size else Score(None, "a vector is zero")
