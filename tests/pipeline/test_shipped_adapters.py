"""Runs through every shipped adapter against a server that speaks the vendor's documented format."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.config import shipped_adapters
from tests.support.runs import by_sample, table, write_rows
from tests.support.vendors import says, vendor

if TYPE_CHECKING:
    from tests.support.odd_server import Reply
    from tests.support.vendors import Seen

BODIES = Path(__file__).parents[1] / "bodies"
KEY = "k3y-Abc0123456789xyz"
ROWS = [{"id": f"q{number}", "question": f"What is {number}?"} for number in range(5)]
SYSTEM = {"role": "system", "content": "Be brief."}


@dataclass(frozen=True)
class Case:
    """One adapter: what the config asks, what the server must see, and what its answer must become."""

    adapter: str
    request: dict[str, Any]
    path: str
    header: tuple[str, str]
    body: dict[str, Any]
    row: dict[str, Any]
    query: list[tuple[str, str]] = field(default_factory=list)
    logprobs: dict[str, Any] | None = None
    warned: tuple[str, ...] = ()

    @property
    def answer(self) -> dict[str, Any]:
        """The body that the server answers with."""
        answer: dict[str, Any] = orjson.loads((BODIES / f"adapter_{self.adapter}.json").read_bytes())
        return answer


CHAT = {"messages": [SYSTEM, {"role": "user", "content": "{{ question }}"}]}
TEXT = {"endpoint": "completions", "prompt": "{{ question }}"}
CASES = [
    Case(
        adapter="anthropic-messages",
        request={**CHAT, "params": {"max_completion_tokens": 64, "stop": "END", "temperature": 0, "n": 1, "seed": 3}},
        path="/v1/messages",
        header=("x-api-key", KEY),
        body={
            "model": "m",
            "max_tokens": 64,
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "What is 0?"}],
            "stop_sequences": ["END"],
            "temperature": 0,
        },
        row={
            "status": "truncated",
            "text": "It is zero.",
            "reasoning": "Hm.",
            "tool_calls": '[{"type":"tool_use","id":"toolu_1","name":"look","input":{"a":1}}]',
            "finish_reason": "max_tokens",
            "prompt_tokens": 115,
            "completion_tokens": 7,
            "total_tokens": 122,
            "cached_tokens": 100,
            "served_model": "claude-x-20261001",
            "response_id": "msg_1",
            "service_tier": "standard",
        },
        warned=("request.params.seed: the adapter anthropic-messages does not have it; it is not sent",),
    ),
    Case(
        adapter="azure-openai",
        request={**CHAT, "params": {"n": 2, "logprobs": True, "top_logprobs": 1}},
        path="/openai/deployments/m/chat/completions",
        query=[("api-version", "2024-10-21")],
        header=("api-key", KEY),
        body={
            "messages": [SYSTEM, {"role": "user", "content": "What is 0?"}],
            "n": 2,
            "logprobs": True,
            "top_logprobs": 1,
        },
        row={
            "status": "ok",
            "text": "2",
            "finish_reason": "stop",
            "prompt_tokens": 9,
            "total_tokens": 21,
            "cached_tokens": 3,
            "reasoning_tokens": 4,
            "served_model": "gpt-x",
            "system_fingerprint": "fp",
        },
        logprobs={
            "tokens": ["2"],
            "token_bytes": [b"2"],
            "token_logprobs": [-0.25],
            "top_tokens": [["2"]],
            "top_logprobs": [[-0.25]],
        },
    ),
    Case(
        adapter="openai-completions",
        request={**TEXT, "params": {"max_tokens": 4, "logprobs": 2, "seed": 1}, "extra_body": {"ignore_eos": True}},
        path="/completions",
        header=("authorization", f"Bearer {KEY}"),
        body={"model": "m", "prompt": "What is 0?", "max_tokens": 4, "logprobs": 2, "seed": 1, "ignore_eos": True},
        row={
            "status": "truncated",
            "text": "forty",
            "finish_reason": "length",
            "endpoint": "completions",
            "total_tokens": 6,
            "served_model": "served",
            "response_id": "cmpl-1",
        },
        logprobs={
            "tokens": ["for", "ty"],
            "token_bytes": [b"for", b"ty"],
            "token_logprobs": [None, -0.5],
            "top_tokens": [[], ["ty", "two"]],
            "top_logprobs": [[], [-0.5, -1.5]],
        },
    ),
    Case(
        adapter="completions-002",
        request={
            **TEXT,
            "params": {
                "max_completion_tokens": 4,
                "temperature": 1.5,
                "top_p": 0.9,
                "frequency_penalty": -1.5,
                "presence_penalty": 2,
                "ignore_eos": True,
                "logit_bias": {"1": 2},
                "function_call": {"name": "look"},
            },
        },
        path="/completions",
        header=("authorization", f"Bearer {KEY}"),
        body={
            "model": "m",
            "prompt": "What is 0?",
            "max_tokens": 4,
            "temperature": 1.5,
            "top_p": 0.9,
            "frequency_penalty": -1.5,
            "presence_penalty": 2,
            "ignore_eos": True,
        },
        row={"status": "ok", "text": "zero", "served_model": "lora", "response_id": "a", "total_tokens": 4},
        warned=(
            "request.params.logit_bias: the adapter completions-002 does not have it; it is not sent",
            "request.params.function_call: the adapter completions-002 does not have it; it is not sent",
        ),
    ),
    Case(
        adapter="completions-003",
        request={**TEXT, "params": {"n": 2, "logprobs": True, "top_logprobs": 1, "best_of": 3}},
        path="/completions",
        header=("authorization", f"Bearer {KEY}"),
        body={"model": "m", "prompt": "What is 0?", "n": 2, "logprobs": True, "top_logprobs": 1, "best_of": 3},
        row={"status": "ok", "text": "0", "served_model": "openai/m", "system_fingerprint": "fp_1", "total_tokens": 5},
        logprobs={
            "tokens": ["0"],
            "token_bytes": [b"0"],
            "token_logprobs": [-0.5],
            "top_tokens": [[]],
            "top_logprobs": [[]],
        },
    ),
    Case(
        adapter="tgi-generate",
        request={**TEXT, "params": {"max_tokens": 4, "logprobs": True, "top_logprobs": 2, "stop": "\n", "seed": 1}},
        path="/generate",
        header=("authorization", f"Bearer {KEY}"),
        body={
            "inputs": "What is 0?",
            "parameters": {"max_new_tokens": 4, "top_n_tokens": 2, "stop": ["\n"], "seed": 1, "details": True},
        },
        row={
            "status": "truncated",
            "text": " nil",
            "finish_reason": "length",
            "prompt_tokens": 2,
            "completion_tokens": 1,
            "total_tokens": 3,
        },
        logprobs={
            "tokens": [" nil"],
            "token_bytes": [b" nil"],
            "token_logprobs": [-0.125],
            "top_tokens": [[" nil", " 0"]],
            "top_logprobs": [[-0.125, -2.5]],
        },
    ),
    Case(
        adapter="ollama-chat",
        request={
            **CHAT,
            "params": {"max_tokens": 4, "temperature": 0, "logprobs": True, "top_logprobs": 1, "think": True},
        },
        path="/api/chat",
        header=("authorization", f"Bearer {KEY}"),
        body={
            "model": "m",
            "messages": [SYSTEM, {"role": "user", "content": "What is 0?"}],
            "stream": False,
            "think": True,
            "logprobs": True,
            "top_logprobs": 1,
            "options": {"num_predict": 4, "temperature": 0},
        },
        row={
            "status": "truncated",
            "text": "zero",
            "reasoning": "hm",
            "finish_reason": "length",
            "served_model": "gemma3",
            "prompt_tokens": 26,
            "completion_tokens": 4,
            "total_tokens": 30,
        },
        logprobs={
            "tokens": ["zero"],
            "token_bytes": [b"zero"],
            "token_logprobs": [-1.0],
            "top_tokens": [["nil"]],
            "top_logprobs": [[-2.0]],
        },
    ),
]


def config_of(case: Case, root: str, tmp_path: Path, **request: Any) -> dict[str, Any]:
    return {
        "name": "adapters",
        "dataset": {"path": str(write_rows(tmp_path / "rows.jsonl", ROWS)), "id": "id"},
        "model": {"base_url": root, "name": "m", "adapter": case.adapter, "api_key_env": "VENDOR_KEY"},
        "request": {"timeout_s": {"connect": 5, "total": 20}, **case.request, **request},
        "limits": {"max_in_flight": 2},
        "retry": {"max_attempts": 3, "first_wait_s": 0.001, "max_wait_s": 0.01, "deadline_s": 20},
        "output": {"dir": str(tmp_path / "outputs")},
    }


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", KEY)


def test_every_adapter_has_a_case() -> None:
    # That of embeddings has a file of its own: test_adapter_embeddings.py.
    assert {case.adapter for case in CASES} == {*shipped_adapters()} - {"cohere-embed"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.adapter)
def test_a_run_speaks_the_vendors_format(case: Case, tmp_path: Path) -> None:
    def answer(seen: Seen) -> Reply:
        if (seen.method, seen.path, seen.query) != ("POST", case.path, case.query):
            return says({"error": f"{seen.method} {seen.path} {seen.query}"}, 400)
        if seen.headers.get(case.header[0]) != case.header[1]:
            return says({"error": "no key"}, 401)
        return says(case.answer, request_id="req-1")

    with vendor(answer) as server:
        summary = runner.run(config_of(case, server.root, tmp_path), run_dir=tmp_path / "run")
    assert summary.exit_code == 0, table(tmp_path / "run")
    assert case.body in server.bodies
    assert len(server.bodies) == len(ROWS)
    assert tuple(summary.warnings) == case.warned
    first = [row for row in table(tmp_path / "run") if row["choice"] == 0]
    assert {row["sample_id"] for row in first} == {row["id"] for row in ROWS}
    for row in first:
        assert {name: row[name] for name in case.row} == case.row
        assert row["request_id"] == "req-1"
        assert row["parse_note"] is None
        assert row["usage_exact"] is True
        for name in ("tokens", "token_bytes", "token_logprobs", "top_tokens", "top_logprobs"):
            assert row[name] == (None if case.logprobs is None else case.logprobs[name]), name
    assert summary.completion_tokens == len(ROWS) * (first[0]["completion_tokens"] or 0)


def test_the_anthropic_version_goes_along_and_the_bearer_header_does_not(tmp_path: Path) -> None:
    with vendor(lambda _: says(CASES[0].answer)) as server:
        runner.run(config_of(CASES[0], server.root, tmp_path), run_dir=tmp_path / "run")
    assert {one.headers["anthropic-version"] for one in server.seen} == {"2023-06-01"}
    assert not any("authorization" in one.headers for one in server.seen)


def test_a_choice_beside_the_first_has_its_own_status(tmp_path: Path) -> None:
    with vendor(lambda _: says(CASES[1].answer)) as server:
        runner.run(config_of(CASES[1], server.root, tmp_path), run_dir=tmp_path / "run")
    second = [row for row in table(tmp_path / "run") if row["choice"] == 1]
    assert {(row["status"], row["text"], row["total_tokens"]) for row in second} == {("content_filter", None, None)}


@pytest.mark.parametrize(
    ("stop_reason", "content", "expected"),
    [
        ("end_turn", [{"type": "text", "text": "a"}], ("ok", "a", None)),
        ("end_turn", [], ("ok", None, None)),
        ("tool_use", [{"type": "tool_use", "id": "t", "name": "n", "input": {}}], ("ok", None, None)),
        ("refusal", [], ("refused", None, None)),
        ("refusal", None, ("refused", None, None)),
        ("model_context_window_exceeded", [{"type": "text", "text": "a"}], ("truncated", "a", None)),
        ("pause_turn", [{"type": "text", "text": "a"}], ("ok", "a", None)),
        ("end_turn", None, ("failed", None, "no_choices")),
        ("end_turn", "a", ("failed", None, "no_choices")),
        (None, [{"type": "text", "text": "a"}], ("ok", "a", None)),
    ],
)
def test_anthropic_words_become_statuses(
    stop_reason: str | None, content: Any, expected: tuple[str, str | None, str | None], tmp_path: Path
) -> None:
    body = {**CASES[0].answer, "stop_reason": stop_reason, "content": content}
    with vendor(lambda _: says(body)) as server:
        runner.run(config_of(CASES[0], server.root, tmp_path), run_dir=tmp_path / "run")
    rows = table(tmp_path / "run")
    assert {(row["status"], row["text"], row["error_kind"]) for row in rows} == {expected}
    assert {row["finish_reason"] for row in rows} == ({None} if expected[0] == "failed" else {stop_reason})


def vendor_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_0"}


BY_NAME = {case.adapter: case for case in CASES}


@pytest.mark.parametrize(
    ("adapter", "reply", "kind", "message"),
    [
        (
            "anthropic-messages",
            says(vendor_error("rate_limit_error", "Slow down, please."), 429, retry_after="0"),
            "rate_limit",
            "Slow down, please.",
        ),
        ("anthropic-messages", says(vendor_error("overloaded_error", "Overloaded"), 529), "overload", "Overloaded"),
        ("anthropic-messages", says(vendor_error("overloaded_error", "Overloaded"), 500), "overload", "Overloaded"),
        ("anthropic-messages", says(vendor_error("api_error", "Internal"), 500), "server", "Internal"),
        ("azure-openai", says({"error": {"code": "429", "message": "Too fast"}}, 429), "rate_limit", "Too fast"),
        (
            "tgi-generate",
            says({"error": "Model is overloaded", "error_type": "overloaded"}, 429),
            "overload",
            "Model is",
        ),
        ("tgi-generate", says({"error": "CUDA", "error_type": "generation"}, 424), "server", "CUDA"),
        ("ollama-chat", says({"error": "server busy, please try again"}, 503), "overload", "server busy"),
        ("openai-completions", says({"error": {"message": "wait", "type": "x"}}, 429), "rate_limit", "wait"),
    ],
)
def test_a_passing_error_is_sent_again(adapter: str, reply: Reply, kind: str, message: str, tmp_path: Path) -> None:
    case = BY_NAME[adapter]
    with vendor(lambda seen: reply if seen.number <= 2 else says(case.answer)) as server:
        summary = runner.run(config_of(case, server.root, tmp_path), run_dir=tmp_path / "run")
    assert summary.exit_code == 0
    failed = [row for row in table(tmp_path / "run", "attempts") if row["error_kind"] is not None]
    assert {row["error_kind"] for row in failed} == {kind}
    assert len(failed) == 2
    assert message in (tmp_path / "run" / "run.log.jsonl").read_text()


@pytest.mark.parametrize(
    ("adapter", "reply", "exit_code", "message"),
    [
        (
            "anthropic-messages",
            says(vendor_error("authentication_error", "invalid x-api-key"), 401),
            5,
            "invalid x-api",
        ),
        ("anthropic-messages", says(vendor_error("not_found_error", "model: m"), 404), 5, "model: m"),
        ("anthropic-messages", says(vendor_error("billing_error", "Pay."), 402), 5, "Pay."),
        ("azure-openai", says({"error": {"code": "401", "message": "Access denied"}}, 401), 5, "Access denied"),
        ("azure-openai", says({"error": {"code": "DeploymentNotFound", "message": "No."}}, 404), 5, "No."),
        ("ollama-chat", says({"error": "model 'm' not found"}, 404), 5, "model 'm' not found"),
        ("completions-003", says({"error": {"message": "Bad key"}}, 401), 5, "Bad key"),
    ],
)
def test_what_dooms_all_rows_stops_the_run(
    adapter: str, reply: Reply, exit_code: int, message: str, tmp_path: Path
) -> None:
    case = BY_NAME[adapter]
    with vendor(lambda _: reply) as server:
        summary = runner.run(config_of(case, server.root, tmp_path), run_dir=tmp_path / "run")
    assert summary.exit_code == exit_code
    assert any(message in warning for warning in summary.warnings)
    assert len(server.seen) <= 2
    assert table(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("adapter", "reply", "kind"),
    [
        (
            "anthropic-messages",
            says(vendor_error("invalid_request_error", "prompt is too long"), 400),
            "context_length",
        ),
        ("anthropic-messages", says(vendor_error("request_too_large", "Too large"), 413), "request_too_large"),
        ("tgi-generate", says({"error": "bad temperature", "error_type": "validation"}, 422), "bad_request"),
        ("azure-openai", says({"error": {"code": "content_filter", "message": "filtered"}}, 400), "bad_request"),
    ],
)
def test_an_error_of_the_row_ends_the_row(adapter: str, reply: Reply, kind: str, tmp_path: Path) -> None:
    case = BY_NAME[adapter]

    def answer(seen: Seen) -> Reply:
        return reply if "What is 3?" in str(seen.body) else says(case.answer)

    with vendor(answer) as server:
        runner.run(config_of(case, server.root, tmp_path), run_dir=tmp_path / "run")
    rows = {row["sample_id"]: row for row in table(tmp_path / "run") if row["choice"] == 0}
    assert rows["q3"]["status"] == "failed"
    assert rows["q3"]["error_kind"] == kind
    assert {rows[f"q{number}"]["error_kind"] for number in (0, 1, 2, 4)} == {None}
    assert len(server.seen) == len(ROWS)


def test_a_row_without_a_usable_message_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    config = config_of(CASES[0], "", tmp_path, messages="{{ chat }}")
    write_rows(tmp_path / "rows.jsonl", [{"id": "a", "chat": [{"role": "system", "content": [1]}]}])
    with vendor(lambda _: says(CASES[0].answer)) as server:
        config["model"]["base_url"] = server.root
        with pytest.raises(runner.RunnerError, match="1 row of the dataset cannot be used"):
            runner.run(config)
        config["dataset"]["on_bad_row"] = "skip"
        runner.run(config, run_dir=tmp_path / "run")
    assert server.seen == []
    (row,) = by_sample(tmp_path / "run").values()
    assert row["status"] == "skipped"
    assert "JMESPathTypeError" in row["error_message"]
