"""Compares log-likelihoods with lm-evaluation-harness, both on the simulator's language model: equal to 1e-6.

`make compare-harness` sets up an environment with lm-eval and runs it. The harness counts tokens itself to find where a
continuation begins; where that is inside of a token the two differ by design, and such samples are counted apart.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson
from anyio.from_thread import start_blocking_portal
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI

import runner
from runner.simulate import LanguageModel, SimulatorOptions, open_simulator
from runner.simulate.ngram import TOKENS, tokenize

SAMPLES = 200
TOLERANCE = 1e-6
_CONTEXTS = ("question: is water wet? answer:", "the answer is", "the capital of spain is", "one and one", "Q\n\nA:")
_CHOICES = ((" yes", " no"), (" A", " B", " C", " D"), (" paris", " rome. the end"), (" two", "is two", " caf\u00e9"))


class Harness(LocalCompletionsAPI):
    """The harness' own client for completions, with the simulator's tokenizer."""

    def tok_encode(self, string: str, **_: Any) -> list[int]:
        """Return token ids."""
        return tokenize(string)

    def decode_batch(self, tokens: list[list[int]]) -> list[str]:
        """Return texts."""
        return [b"".join(TOKENS[token] for token in ids).decode() for ids in tokens]


def main() -> int:
    """Run both and say how far apart they are; 1 where that is too far."""
    samples = [
        {"id": str(number), "context": f"{number} {_CONTEXTS[number % 5]}", "choices": list(_CHOICES[number % 4])}
        for number in range(SAMPLES)
    ]
    options = SimulatorOptions(language_model=LanguageModel(zero_tokens=False))
    with (
        tempfile.TemporaryDirectory() as folder,
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(open_simulator(options)) as simulator,
    ):
        ours = _run(simulator.base_url, samples, Path(folder))
        theirs = _harness(simulator.base_url, samples)
    exact = [key for key, (_, _, inexact) in ours.items() if not inexact]
    furthest = max(abs(ours[key][0] - theirs[key][0]) for key in exact)
    greedy = sum(ours[key][1] != theirs[key][1] for key in exact)
    print(
        f"{len(exact)} continuations at a token's boundary: at most {furthest:.2e} apart, {greedy} differ in is_greedy"
    )
    print(f"{len(ours) - len(exact)} continuations that begin inside of a token are not compared")
    return int(furthest > TOLERANCE or greedy > 0 or not exact)


def _run(base_url: str, samples: list[dict[str, Any]], folder: Path) -> dict[tuple[str, int], tuple[float, bool, bool]]:
    dataset = folder / "samples.jsonl"
    dataset.write_bytes(b"".join(orjson.dumps(sample) + b"\n" for sample in samples))
    config = {
        "name": "compare",
        "dataset": {"path": str(dataset), "id": "id"},
        "model": {"base_url": base_url, "name": "simulated"},
        "request": {"endpoint": "loglikelihood", "context": "{{ context }}", "continuations": "{{ choices }}"},
    }
    summary = runner.run(config, run_dir=folder / "run")
    names = ["sample_id", "choice", "loglikelihood", "is_greedy", "boundary_inexact"]
    rows = runner.load(summary.run_dir, columns=names)
    return {(row.sample_id, row.choice): (row[2], bool(row[3]), bool(row[4])) for row in rows.itertuples(index=False)}


def _harness(base_url: str, samples: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[float, bool]]:
    model = Harness(
        base_url=f"{base_url}/completions", model="simulated", tokenizer_backend="None", tokenized_requests=False
    )
    model.tokenizer = model  # only asked whether there is one
    asked = [
        (sample["id"], number, sample["context"], text)
        for sample in samples
        for number, text in enumerate(sample["choices"])
    ]
    requests = [
        Instance("loglikelihood", doc={}, arguments=(context, text), idx=number) for _, number, context, text in asked
    ]
    found = model.loglikelihood(requests)
    return {(sample, number): one for (sample, number, _, _), one in zip(asked, found, strict=True)}


if __name__ == "__main__":
    sys.exit(main())
