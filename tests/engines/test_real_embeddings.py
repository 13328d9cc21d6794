"""Embeddings of llama.cpp's own server: the same vectors alone and packed, as base64 and as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import runner
from tests.support.runs import questions, table, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.real

SAMPLES = 12


def embed(model: Path, folder: Path, **request: Any) -> tuple[dict[str, NDArray[np.float32]], list[dict[str, Any]]]:
    """Run on the tiny random model; return the vectors by sample and the attempts."""
    config = {
        "name": "real",
        "dataset": {"path": str(write_rows(folder / "data.jsonl", questions(SAMPLES))), "id": "id"},
        "model": {"embedded": str(model)},
        "request": {"endpoint": "embeddings", "input": "{{ question }}", **request},
        "output": {"dir": str(folder / "outputs")},
    }
    summary = runner.run(config)
    assert (summary.status, summary.ok, summary.failed, summary.warnings) == ("complete", SAMPLES, 0, [])
    ids, matrix = runner.load_embeddings(summary.run_dir)
    assert summary.prompt_tokens == sum(row["prompt_tokens"] for row in table(summary.run_dir)) > 0
    return dict(zip(ids, matrix, strict=True)), table(summary.run_dir, "attempts")


def test_vectors_are_the_same_alone_and_packed(tiny_gguf: Path, tmp_path: Path) -> None:
    for name in ("alone", "packed", "numbers"):
        (tmp_path / name).mkdir()
    alone, many = embed(tiny_gguf, tmp_path / "alone", batch_size=1)
    packed, one = embed(tiny_gguf, tmp_path / "packed")
    numbers, _ = embed(tiny_gguf, tmp_path / "numbers", params={"encoding_format": "float"})
    assert ([row["n_samples"] for row in many], [row["n_samples"] for row in one]) == ([1] * SAMPLES, [SAMPLES])
    assert alone.keys() == packed.keys() == numbers.keys()
    for sample, vector in alone.items():
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        for other in (packed[sample], numbers[sample]):
            np.testing.assert_allclose(other, vector, atol=2e-6)
            assert float(vector @ other) == pytest.approx(1, abs=1e-5)
    # Different texts have different vectors: it was not one vector all along.
    assert len({vector.tobytes() for vector in alone.values()}) == SAMPLES


def test_an_input_that_it_answers_with_a_500_fails_alone(tiny_gguf: Path, tmp_path: Path) -> None:
    rows = questions(SAMPLES)
    rows[7]["question"] = "word " * 3000
    config = {
        "name": "real",
        "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", rows)), "id": "id"},
        "model": {"embedded": str(tiny_gguf)},
        "request": {"endpoint": "embeddings", "input": "{{ question }}"},
        "retry": {"max_attempts": 2, "first_wait_s": 0.001, "max_wait_s": 0.01},
        "output": {"dir": str(tmp_path / "outputs")},
    }
    summary = runner.run(config)
    failed = [row for row in table(summary.run_dir) if row["status"] != "ok"]
    assert [(row["sample_id"], row["error_kind"]) for row in failed] == [("q7", "context_length")]
    assert summary.ok == SAMPLES - 1
