"""A real RAG server with a format of its own, through `configs/adapters/txtai.yaml`: txtai's API, with a keyword index.

It lives in an environment of its own, whose Python the variable EVALRUNNER_TXTAI names; `make rag` sets that up. Its
index counts words (BM25), so that no model is downloaded.
"""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.config import load_adapter
from tests.support.commands import evalrunner
from tests.support.runs import by_sample, write_config, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = os.environ.get("EVALRUNNER_TXTAI", "")
ADAPTER = Path(__file__).parents[2] / "configs" / "adapters" / "txtai.yaml"
SERVER = "writable: true\nembeddings:\n  keyword: true\n  content: true\n"


def test_the_adapter_is_valid() -> None:
    assert load_adapter(str(ADAPTER))["name"] == "txtai"


@contextmanager
def txtai(folder: Path) -> Iterator[str]:
    """Start the server and yield its base URL; whoever asks first waits until it is up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "server.yml").write_text(SERVER, encoding="utf-8")
    command = [PYTHON, "-m", "uvicorn", "txtai.api:app", "--port", str(port)]
    environment = {**os.environ, "CONFIG": str(folder / "server.yml"), "HF_HUB_OFFLINE": "1"}
    with (
        (folder / "txtai.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.mark.real
@pytest.mark.skipif(not PYTHON, reason="EVALRUNNER_TXTAI names no Python with txtai")
def test_documents_are_added_found_and_deleted(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    texts = {"france.txt": "The capital of France is Paris.", "water.txt": "When heated enough, water does boil."}
    texts |= {f"{number}.txt": f"Nothing about it: {number}." for number in range(120)}
    for name, text in texts.items():
        (docs / name).write_text(text, encoding="utf-8")
    rows = [{"id": "france", "question": "capital of France"}, {"id": "water", "question": "does water boil"}]
    write_rows(tmp_path / "data.jsonl", rows)
    config = {
        "name": "rag",
        "dataset": {"path": "data.jsonl", "id": "id"},
        "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
        "retry": {"max_attempts": 500, "first_wait_s": 0.1, "max_wait_s": 0.2, "deadline_s": 60},
        "output": {"dir": "outputs"},
    }
    with txtai(tmp_path) as base_url:
        config["model"] = {"base_url": base_url, "name": "txtai", "adapter": str(ADAPTER)}
        path = write_config(tmp_path / "config.yaml", config)
        add = ("documents", "add", path, docs, "--json")
        assert evalrunner(*add, cwd=tmp_path).json["counts"] == {"added": 122}
        (docs / "france.txt").rename(docs / "renamed.txt")
        assert evalrunner(*add, cwd=tmp_path).json["counts"] == {"present": 122}
        listed = evalrunner("documents", "list", path, "--json", cwd=tmp_path).json["documents"]
        assert {one["name"]: (one["id"], one["size_bytes"]) for one in listed} == {
            name: (sha256(text.encode()).hexdigest(), len(text)) for name, text in texts.items()
        }
        assert evalrunner("run", path, "--run-dir", tmp_path / "run", "-q", cwd=tmp_path).code == 0
        found = by_sample(tmp_path / "run")
        for sample, name in (("france", "france.txt"), ("water", "water.txt")):
            first = found[sample]["retrieved"][0]
            assert (first["rank"], first["id"], first["text"]) == (
                1,
                sha256(texts[name].encode()).hexdigest(),
                texts[name],
            )
            assert first["score"] > 0
            assert found[sample]["text"] == texts[name]
        gone = evalrunner("documents", "delete", path, "water.txt", "--yes", cwd=tmp_path)
        assert gone.out.startswith("deleted")
        left = evalrunner("documents", "list", path, "--json", cwd=tmp_path).json["documents"]
        assert {one["name"] for one in left} == texts.keys() - {"water.txt"}
