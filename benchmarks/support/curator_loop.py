"""Owns a peer: Bespoke Curator with its own limits and retries, as its pages show it for a server like OpenAI.

Run as `curator_loop.py DATASET BASE_URL REQUESTS_PER_MINUTE TOKENS_PER_MINUTE`, by an interpreter that has
bespokelabs-curator; `inf` leaves a limit to what Curator takes without one.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_LITELLM = find_spec("litellm")
_HERE = _LITELLM.submodule_search_locations[0] if _LITELLM and _LITELLM.submodule_search_locations else ""
# Nothing is told to its makers, and nothing is answered out of what an earlier run has left.
os.environ |= {
    "TELEMETRY_ENABLED": "0",
    "CURATOR_DISABLE_CACHE": "1",
    "CURATOR_CACHE_DIR": tempfile.mkdtemp(),
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "OPENAI_API_KEY": "none",
    # The vocabulary that it counts tokens by is fetched, unless it is here; litellm, which comes with it, has it.
    "TIKTOKEN_CACHE_DIR": f"{_HERE}/litellm_core_utils/tokenizers",
}

from bespokelabs import curator  # noqa: E402 - it reads the environment as it is imported

sys.path.insert(0, str(Path(__file__).parent))
from workload import IN_FLIGHT, MODEL, RATE_PARAMS  # noqa: E402


def send_all(dataset: Path, base_url: str, limits: dict[str, float]) -> None:
    """Send every row."""
    with dataset.open("rb") as file:
        questions = [json.loads(line)["question"] for line in file]
    backend: dict[str, Any] = {
        "base_url": base_url,
        "max_concurrent_requests": IN_FLIGHT,
        "require_all_responses": False,
    }
    backend |= {name: round(limit) for name, limit in limits.items() if limit != float("inf")}
    model = curator.LLM(model_name=MODEL, backend="openai", backend_params=backend, generation_params=RATE_PARAMS)
    model(questions)


if __name__ == "__main__":
    _, rows, url, requests, tokens = sys.argv
    asked = {"max_requests_per_minute": float(requests), "max_tokens_per_minute": float(tokens)}
    send_all(Path(rows), url, asked)
