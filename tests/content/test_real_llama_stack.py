"""A real RAG server: Llama Stack, with its own vector store, files and Responses API.

It lives in an environment of its own, whose Python the variable EVALRUNNER_LLAMA_STACK names:

    python3 -m venv /somewhere
    /somewhere/bin/pip install llama-stack==0.2.12 faiss-cpu aiosqlite sqlalchemy uvicorn greenlet chardet pypdf mcp \
        opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
    EVALRUNNER_LLAMA_STACK=/somewhere/bin/python pytest tests/content/test_real_llama_stack.py

The model behind it is made up here (it searches once and answers; its embeddings count words), so that nothing is
downloaded and the same passages are found every time.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.support.commands import evalrunner
from tests.support.odd_server import Reply, answering
from tests.support.runs import by_sample, write_config, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.odd_server import Call

PYTHON = os.environ.get("EVALRUNNER_LLAMA_STACK", "")
DIMENSIONS = 32
JSON = {"Content-Type": "application/json"}

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not PYTHON, reason="EVALRUNNER_LLAMA_STACK names no Python with llama-stack"),
]


def model(call: Call) -> Reply:
    """Answer as an OpenAI-compatible server with a model that searches once and then answers."""
    if call.path.endswith("/models"):
        entry = {"id": "m", "object": "model", "created": 1, "owned_by": "x"}
        return Reply(body=orjson.dumps({"object": "list", "data": [entry]}), headers=JSON)
    if call.path.endswith("/embeddings"):
        given = call.body["input"]
        texts = [given] if isinstance(given, str) else given
        entries = [
            {"object": "embedding", "index": number, "embedding": embedding(text)} for number, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        body = {"object": "list", "model": "m", "data": entries, "usage": usage}
        return Reply(body=orjson.dumps(body), headers=JSON)
    messages, tools = call.body["messages"], call.body.get("tools")
    if not tools or any(message["role"] == "tool" for message in messages):
        return stream({"role": "assistant", "content": "From the documents."}, "stop")
    asked = next(message["content"] for message in reversed(messages) if message["role"] == "user")
    question = asked if isinstance(asked, str) else asked[0]["text"]
    function = {"name": tools[0]["function"]["name"], "arguments": orjson.dumps({"query": question}).decode()}
    tool_call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    return stream({"role": "assistant", "content": "", "tool_calls": [tool_call]}, "tool_calls")


def stream(delta: dict[str, Any], finish: str) -> Reply:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
    ]
    body = b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in chunks) + b"data: [DONE]\n\n"
    return Reply(body=body, headers={"Content-Type": "text/event-stream"})


def embedding(text: str) -> list[float]:
    vector = [0.01] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        vector[sha256(word.encode()).digest()[0] % DIMENSIONS] += 1
    return vector


@contextmanager
def llama_stack(model_url: str, folder: Path) -> Iterator[str]:
    """Start the server and yield its base URL; whoever asks first waits until it is up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = folder / "llama-stack.yaml"
    run.write_bytes(orjson.dumps(stack_config(model_url, folder)))
    command = [PYTHON, "-m", "llama_stack.distribution.server.server", "--yaml-config", str(run), "--port", str(port)]
    with (
        (folder / "llama-stack.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}/v1/openai/v1"
        finally:
            process.kill()


def stack_config(model_url: str, folder: Path) -> dict[str, Any]:
    def store(name: str) -> dict[str, Any]:
        return {"type": "sqlite", "db_path": str(folder / f"{name}.db")}

    def provider(kind: str, config: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"provider_id": kind.rpartition(":")[2], "provider_type": kind, "config": config}]

    return {
        "version": "2",
        "image_name": "rag",
        "apis": ["agents", "files", "inference", "vector_io", "tool_runtime", "safety", "telemetry"],
        "providers": {
            "inference": provider("remote::vllm", {"url": model_url, "max_tokens": 64, "api_token": "none"}),
            "vector_io": provider("inline::faiss", {"kvstore": store("faiss")}),
            "files": provider("inline::localfs", {"storage_dir": str(folder / "f"), "metadata_store": store("files")}),
            "agents": provider(
                "inline::meta-reference", {"persistence_store": store("agents"), "responses_store": store("responses")}
            ),
            "telemetry": provider("inline::meta-reference", {"service_name": "rag", "sinks": "console"}),
            "tool_runtime": provider("inline::rag-runtime", {}),
            "safety": [],
        },
        "metadata_store": store("registry"),
        "models": [
            {"model_id": "chat", "provider_id": "vllm", "provider_model_id": "m", "model_type": "llm"},
            {
                "model_id": "embedding",
                "provider_id": "vllm",
                "provider_model_id": "m",
                "model_type": "embedding",
                "metadata": {"embedding_dimension": DIMENSIONS},
            },
        ],
        "tool_groups": [{"toolgroup_id": "builtin::rag", "provider_id": "rag-runtime"}],
    }


def told(row: dict[str, Any]) -> dict[str, Any]:
    """Return what an answer has the same with and without streaming."""
    return {name: row[name] for name in ("status", "text", "finish_reason", "tool_calls", "retrieved", "key")}


def test_documents_are_added_found_and_deleted(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "france.txt").write_text("The capital of France is Paris.", encoding="utf-8")
    (docs / "water.txt").write_text("When heated enough, water does boil.", encoding="utf-8")
    rows = [{"id": "france", "question": "capital of France"}, {"id": "water", "question": "does water boil"}]
    write_rows(tmp_path / "data.jsonl", rows)
    config: dict[str, Any] = {
        "name": "rag",
        "dataset": {"path": "data.jsonl", "id": "id"},
        "request": {"endpoint": "responses", "messages": [{"role": "user", "content": "{{ question }}"}]},
        "retry": {"max_attempts": 500, "first_wait_s": 0.1, "max_wait_s": 0.2, "deadline_s": 60},
        "output": {"dir": "outputs"},
    }
    with answering(model) as model_url, llama_stack(model_url, tmp_path) as base_url:
        config["model"] = {"base_url": base_url, "name": "chat"}
        path = write_config(tmp_path / "config.yaml", config)
        add = ("documents", "add", path, docs, "-k", "handbook", "--create", "--json")
        assert evalrunner(*add, cwd=tmp_path).json["counts"] == {"added": 2}
        assert evalrunner(*add, cwd=tmp_path).json["counts"] == {"present": 2}
        listed = evalrunner("documents", "list", path, "-k", "handbook", "--json", cwd=tmp_path).json
        ids = {one["name"]: one["id"] for one in listed["documents"]}
        assert ids.keys() == {"france.txt", "water.txt"}
        base = f"--set=request.retrieval.knowledge_base={listed['knowledge_base']['id']}"
        assert evalrunner("run", path, base, "--run-dir", tmp_path / "run", "-q", cwd=tmp_path).code == 0
        found = {name: row["retrieved"] for name, row in by_sample(tmp_path / "run").items()}
        passages = {one["id"]: one["text"] for one in found["france"]}
        assert passages[ids["france.txt"]] == "The capital of France is Paris."
        assert all(isinstance(one["score"], float) for several in found.values() for one in several)
        stream = ("--set=request.stream=true", "--run-dir", tmp_path / "streamed", "-q")
        assert evalrunner("run", path, base, *stream, cwd=tmp_path).code == 0
        streamed = by_sample(tmp_path / "streamed")
        assert {name: told(row) for name, row in streamed.items()} == {
            name: told(row) for name, row in by_sample(tmp_path / "run").items()
        }
        assert all(0 < row["first_token_s"] <= row["latency_s"] for row in streamed.values())
        gone = evalrunner("documents", "delete", path, "water.txt", "-k", "handbook", "--yes", cwd=tmp_path)
        assert gone.out.startswith("deleted")
        left = evalrunner("documents", "list", path, "-k", "handbook", "--json", cwd=tmp_path).json
        assert [one["name"] for one in left["documents"]] == ["france.txt"]
