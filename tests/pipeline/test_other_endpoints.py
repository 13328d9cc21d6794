"""Whole runs of the endpoints besides chat: rows, attempts and raw bodies; nothing sent twice; omissions noticed."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

import runner
from runner.errors import ConfigError, UsageError
from runner.pipeline.requests.omissions import OMITTED
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import (
    by_sample,
    check_books,
    config_for,
    questions,
    run_again,
    sent_by,
    table,
    write_config,
    write_rows,
)
from tests.support.serving import QUICK, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.odd_server import Call

SAMPLES = 12
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{ question }}"}]
INCLUDE = ["message.output_text.logprobs"]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with serving() as simulator:
        yield simulator


@dataclass(frozen=True, slots=True)
class Kind:
    """An endpoint: what is asked, and where an answer of it has its text and the log probability of its first token."""

    request: dict[str, Any]
    text: Callable[[Any], str]
    first: Callable[[Any], float]
    path: str | None = None


KINDS = {
    "completions": Kind(
        {"prompt": "Q: {{ question }}\nA:", "params": {"temperature": 0, "max_tokens": 6, "logprobs": 3}},
        lambda body: str(body["choices"][0]["text"]),
        lambda body: float(body["choices"][0]["logprobs"]["token_logprobs"][0]),
    ),
    "logprobs": Kind(
        {"messages": MESSAGES, "params": {"temperature": 0}},
        lambda body: str(body["choices"][0]["message"]["content"]),
        lambda body: float(body["choices"][0]["logprobs"]["content"][0]["logprob"]),
        "/logits",
    ),
    "responses": Kind(
        {"messages": MESSAGES, "params": {"max_output_tokens": 6, "include": INCLUDE, "top_logprobs": 3}},
        lambda body: str(body["output"][0]["content"][0]["text"]),
        lambda body: float(body["output"][0]["content"][0]["logprobs"][0]["logprob"]),
    ),
}


def config_of(name: str, simulator: Simulator, dataset: Path, /, **model: Any) -> dict[str, Any]:
    kind = KINDS[name]
    config = config_for(simulator, dataset)
    timeout = config["request"]["timeout_s"]
    return {
        **config,
        "model": {**config["model"], "path": kind.path, **model},
        "request": {"endpoint": name, "timeout_s": timeout, **copy.deepcopy(kind.request)},
    }


def odd_config(base_url: str, dataset: Path, request: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {
        "name": "test",
        "dataset": {"path": str(dataset), "id": "id"},
        "model": {"base_url": base_url, "name": "m", **sections.pop("model", {})},
        "request": request,
        "limits": {"max_in_flight": 2},
        "retry": {"max_attempts": 2, "first_wait_s": 0.001, "max_wait_s": 0.01, "deadline_s": 20},
        "output": {"dir": str(dataset.parent / "outputs")},
        **sections,
    }


# ---------------------------------------------------------------- rows, and nothing twice


@pytest.mark.parametrize("name", KINDS)
def test_a_run_writes_what_the_server_said_and_sends_nothing_twice(
    name: str, simulator: Simulator, tmp_path: Path
) -> None:
    kind, rows = KINDS[name], questions(SAMPLES)
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    config = config_of(name, simulator, dataset)
    run_dir = tmp_path / "run"
    with serving() as own:
        config["model"]["base_url"] = own.base_url
        summary, sent = run_again(config, run_dir, own)
        assert (summary.status, summary.exit_code, summary.warnings, sent) == ("complete", 0, [], SAMPLES)
        raw = {row["request_key"]: orjson.loads(row["response"]) for row in table(run_dir, "raw")}
        assert len(table(run_dir, "attempts")) == SAMPLES
        for row in by_sample(run_dir).values():
            said = raw[row["request_key"]]
            assert row["text"] == kind.text(said) == "".join(row["tokens"])
            assert row["token_logprobs"][0] == float(np.float32(kind.first(said)))
            assert b"".join(row["token_bytes"]).decode() == row["text"]
            assert [len(tops) for tops in row["top_tokens"]] == [len(tops) for tops in row["top_logprobs"]]
            assert (row["endpoint"], row["model"], row["served_model"]) == (name, "m", "m")
            assert row["prompt_tokens"] + row["completion_tokens"] == row["total_tokens"] > 0
            assert row["response_id"] == said["id"]
            assert row["created"] is not None
            assert row["usage_exact"] is True
        assert run_again(config, run_dir, own)[1] == 0
        rows[3]["question"] = "What is the answer to everything?"
        write_rows(dataset, rows)
        summary, sent = run_again(config, run_dir, own)
        assert (sent, summary.superseded) == (1, 1)
        requests = [orjson.loads(row["request"]) for row in table(run_dir, "raw")]
        assert sum("everything" in orjson.dumps(body).decode() for body in requests) == 1


@pytest.mark.parametrize("name", KINDS)
def test_faults_on_the_way_cost_no_row(name: str, tmp_path: Path) -> None:
    rows = questions(SAMPLES)
    for number, fault in enumerate(("503*1", "cut*1", "500*1", "garbage_json*1", "missing_usage", "bom", "nan")):
        rows[number]["question"] += f" [[fault:{fault}]]"
    with serving() as own:
        config = config_of(name, own, write_rows(tmp_path / "data.jsonl", rows))
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert (summary.status, summary.by_status.get("failed", 0), len(table(tmp_path / "run"))) == (
            "complete",
            0,
            SAMPLES,
        )
        assert sent_by(own) >= SAMPLES + 4


def test_the_request_has_the_forms_of_the_api(simulator: Simulator, tmp_path: Path) -> None:
    rows = [{"id": 1, "question": "What is the capital of France?"}]
    expected = {
        "completions": {
            "prompt": "Q: What is the capital of France?\nA:",
            "temperature": 0,
            "max_tokens": 6,
            "logprobs": 3,
        },
        "logprobs": {
            "messages": [MESSAGES[0], {"role": "user", "content": rows[0]["question"]}],
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 5,
        },
        "responses": {
            "input": [MESSAGES[0], {"role": "user", "content": rows[0]["question"]}],
            "max_output_tokens": 6,
            "include": INCLUDE,
            "top_logprobs": 3,
        },
    }
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    for name, body in expected.items():
        config = config_of(name, simulator, dataset)
        config["dataset"].pop("target")
        runner.run(config, run_dir=tmp_path / name)
        (raw,) = table(tmp_path / name, "raw")
        assert orjson.loads(raw["request"]) == {"model": "m", **body}


def test_n_choices_are_n_rows_and_the_first_carries_the_usage(tmp_path: Path) -> None:
    with serving() as own:
        config = config_of("completions", own, write_rows(tmp_path / "data.jsonl", questions(3)))
        config["request"]["params"] |= {"n": 3, "best_of": 4}
        summary = runner.run(config, run_dir=tmp_path / "run")
        check_books(summary, own)
        rows = table(tmp_path / "run")
    assert [row["choice"] for row in sorted(rows, key=lambda row: (row["sample_id"], row["choice"]))] == [0, 1, 2] * 3
    assert {row["choice"] for row in rows if row["usage_json"]} == {0}
    assert len({row["text"] for row in rows}) == 9


def test_prompts_of_every_form_come_from_columns(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "text", "p": "Hello"},
        {"id": "texts", "p": ["Hello", "Bye"]},
        {"id": "ids", "p": [5, 6, 7]},
        {"id": "lists", "p": [[5, 6], [7]]},
    ]
    with serving() as own:
        config = config_of("completions", own, write_rows(tmp_path / "data.jsonl", rows))
        config["dataset"].pop("target")
        config["request"] |= {"prompt": "{{ p }}", "params": {"n": 2, "echo": True, "logprobs": 1, "max_tokens": 3}}
        summary = runner.run(config, run_dir=tmp_path / "run")
        check_books(summary, own)
    found: dict[str, list[Any]] = {}
    for row in sorted(table(tmp_path / "run"), key=lambda row: int(row["choice"])):
        found.setdefault(row["sample_id"], []).append(row)
        assert (row["token_logprobs"][0], row["top_tokens"][0]) == (None, [])
        assert "".join(row["tokens"]) == row["text"]
    prompts = {"text": ["Hello"], "texts": ["Hello", "Bye"], "ids": ["<5><6><7>"], "lists": ["<5><6>", "<7>"]}
    for name, said in prompts.items():
        twice = [prompt for prompt in said for _ in range(2)]
        for row, prompt in zip(found[name], twice, strict=True):
            assert row["text"].startswith(prompt)
    assert [row["text"] for row in found["texts"]][:2] == [row["text"] for row in found["text"]]


def test_a_prompt_of_constants_and_templates_is_sent_as_written(simulator: Simulator, tmp_path: Path) -> None:
    config = config_of("completions", simulator, write_rows(tmp_path / "data.jsonl", questions(1)))
    for prompt, sent in (
        (["A {{ level }}", "B"], ["A 0", "B"]),
        ([1, 2, 3], [1, 2, 3]),
        ([[1, 2], [3]], [[1, 2], [3]]),
    ):
        config["request"]["prompt"] = prompt
        run_dir = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        runner.run(config, run_dir=run_dir)
        assert orjson.loads(table(run_dir, "raw")[0]["request"])["prompt"] == sent


def test_repeats_shift_the_seed_of_any_endpoint(simulator: Simulator, tmp_path: Path) -> None:
    config = config_of("completions", simulator, write_rows(tmp_path / "data.jsonl", questions(1)))
    config["request"] |= {"repeats": 3}
    config["request"]["params"] |= {"seed": 7}
    runner.run(config, run_dir=tmp_path / "run")
    seeds = sorted(orjson.loads(row["request"])["seed"] for row in table(tmp_path / "run", "raw"))
    assert seeds == [7, 8, 9]
    assert len({row["text"] for row in table(tmp_path / "run")}) == 3


# ---------------------------------------------------------------- names, headers, paths


def _answer_any(call: Call) -> Reply:
    if call.path.endswith("/responses"):
        content = [{"type": "output_text", "text": "ok"}]
        return Reply(body=orjson.dumps({"status": "completed", "output": [{"type": "message", "content": content}]}))
    if call.path.endswith("/completions") and "prompt" in call.body:
        return Reply(body=orjson.dumps({"choices": [{"index": 0, "text": None, "finish_reason": "sto"}]}))
    return completion("ok")


@pytest.mark.parametrize(
    ("request_section", "path"),
    [
        ({"endpoint": "completions", "prompt": "p"}, "/v1/completions"),
        ({"endpoint": "responses", "messages": MESSAGES}, "/v1/responses"),
        ({"endpoint": "logprobs", "messages": MESSAGES}, "/v1/chat/completions"),
        ({"endpoint": "chat", "messages": MESSAGES}, "/v1/chat/completions"),
    ],
)
@pytest.mark.parametrize("model", ["openai/gpt-3.5-turbo/eu-west 1", "my-org/llama-3-lora_v2"])
def test_names_headers_and_more_fields_go_through_unchanged(
    request_section: dict[str, Any], path: str, model: str, tmp_path: Path
) -> None:
    calls: list[Call] = []

    def answer(call: Call) -> Reply:
        calls.append(call)
        return _answer_any(call)

    dataset = write_rows(tmp_path / "data.jsonl", questions(1))
    extra = {"timeout": 5, "nested": {"a": ["{{ level }}", None]}}
    with answering(answer) as base_url:
        section = {**request_section, "extra_body": extra, "params": {"n": 1}}
        own = {"name": model, "headers": {"X-Team": "evals", "X-Path": "a/b"}}
        summary = runner.run(odd_config(base_url, dataset, section, model=own), run_dir=tmp_path / "run")
    assert (summary.status, summary.ok) == ("complete", 1)
    (call,) = calls
    assert (call.path, call.body["model"]) == (path, model)
    assert (call.headers["X-Team"], call.headers["X-Path"]) == ("evals", "a/b")
    assert (call.body["timeout"], call.body["nested"]) == (5, {"a": [0, None]})
    (row,) = table(tmp_path / "run")
    assert (row["model"], row["status"]) == (model, "ok")


def test_an_answer_that_never_comes_ends_by_the_timeout(tmp_path: Path) -> None:
    with serving() as own:
        for name in KINDS:
            rows = [{"id": "q", "question": "[[fault:hang]]", "answer": "a"}]
            config = config_of(name, own, write_rows(tmp_path / f"{name}.jsonl", rows))
            config["request"]["timeout_s"] = {"connect": 5, "total": 0.3}
            summary = runner.run(config, run_dir=tmp_path / name)
            (row,) = table(tmp_path / name)
            assert (summary.exit_code, row["status"], row["error_kind"]) == (3, "failed", "request_timeout")


@pytest.mark.parametrize("name", KINDS)
def test_a_server_without_the_endpoint_stops_the_run(name: str, tmp_path: Path) -> None:
    error = {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}
    with answering(lambda _: Reply(404, orjson.dumps(error))) as base_url:
        section = {"endpoint": name, **KINDS[name].request}
        dataset = write_rows(tmp_path / "data.jsonl", questions(5))
        summary = runner.run(odd_config(base_url, dataset, section), run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.status, table(tmp_path / "run")) == (5, "stopped", [])


@pytest.mark.parametrize("name", KINDS)
def test_an_unknown_model_stops_the_run(name: str, tmp_path: Path) -> None:
    with serving(QUICK) as own:
        config = config_of(name, own, write_rows(tmp_path / "data.jsonl", questions(5)), name="missing")
        own.change(type(QUICK)(models=("known",)))
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.status) == (5, "stopped")
    assert "missing" in summary.warnings[-1]


# ---------------------------------------------------------------- what the server left out


def _silent(call: Call) -> Reply:
    """Answer without the log probabilities, whatever is asked."""
    reply = _answer_any(call)
    return Reply(body=reply.body.replace(b'"text":null', b'"text":"ok"'))


ASKING = [
    {"endpoint": "chat", "messages": MESSAGES, "params": {"logprobs": True}},
    {"endpoint": "chat", "messages": MESSAGES, "extra_body": {"logprobs": True, "top_logprobs": 2}},
    {"endpoint": "chat", "messages": MESSAGES, "params": {"logprobs": "{{ wants }}"}},
    {"endpoint": "logprobs", "messages": MESSAGES},
    {"endpoint": "completions", "prompt": "{{ question }}", "params": {"logprobs": 0}},
    {"endpoint": "responses", "messages": MESSAGES, "params": {"include": INCLUDE}},
]


@pytest.mark.parametrize("section", ASKING)
def test_by_default_a_run_goes_on_without_them_and_says_so_once(section: dict[str, Any], tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", [{**row, "wants": True} for row in questions(SAMPLES)])
    with answering(_silent) as base_url:
        config = odd_config(base_url, dataset, section)
        summary = runner.run(config, run_dir=tmp_path / "run")
        again = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.status, summary.exit_code, summary.ok) == ("complete", 0, SAMPLES)
    assert summary.warnings == [OMITTED]
    assert again.warnings == [OMITTED], "a session that sends nothing forgot the warning"
    assert {(row["status"], row["text"], row["tokens"]) for row in table(tmp_path / "run")} == {("ok", "ok", None)}


@pytest.mark.parametrize("section", ASKING)
def test_where_that_is_a_failure_the_first_answer_stops_the_run_and_is_kept(
    section: dict[str, Any], tmp_path: Path
) -> None:
    calls = 0

    def answer(call: Call) -> Reply:
        nonlocal calls
        calls += 1
        return _silent(call)

    dataset = write_rows(tmp_path / "data.jsonl", [{**row, "wants": True} for row in questions(200)])
    with answering(answer) as base_url:
        config = odd_config(base_url, dataset, {**section, "on_unsupported": "fail"}, limits={"max_in_flight": 1})
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert (summary.status, summary.exit_code) == ("stopped", 5)
        assert calls == 1
        (row,) = table(tmp_path / "run")
        assert (row["status"], row["text"], row["tokens"], row["error_kind"]) == ("ok", "ok", None, None)
        (warning,) = summary.warnings
        assert "the server left out the log probabilities" in warning
        runner.run(config, run_dir=tmp_path / "run")
        assert (calls, len(table(tmp_path / "run"))) == (2, 2), "the row that was kept was paid for twice"


def test_answers_under_way_are_kept_too_when_the_run_stops(tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(200))
    with serving() as own, answering(_silent) as base_url:
        section = {"endpoint": "logprobs", "messages": MESSAGES, "on_unsupported": "fail"}
        config = odd_config(base_url, dataset, section, limits={"max_in_flight": 8})
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert summary.exit_code == 5
        assert 1 <= len(table(tmp_path / "run")) == summary.http_requests <= 8
        assert sent_by(own) == 0


@pytest.mark.parametrize("policy", ["adapt", "fail"])
def test_a_server_that_delivers_is_never_suspected(policy: str, simulator: Simulator, tmp_path: Path) -> None:
    rows = questions(SAMPLES)
    # Answers without a text have no tokens either.
    for number, fault in enumerate(("refusal", "tool_calls", "content_filter", "null_content")):
        rows[number]["question"] += f" [[fault:{fault}]]"
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    for name in KINDS:
        config = config_of(name, simulator, dataset)
        config["request"]["on_unsupported"] = policy
        summary = runner.run(config, run_dir=tmp_path / name)
        assert (summary.status, summary.exit_code, summary.warnings) == ("complete", 0, [])


def test_a_row_that_does_not_ask_is_no_omission(tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", [{**row, "wants": False} for row in questions(3)])
    section = {"messages": MESSAGES, "params": {"logprobs": "{{ wants }}"}, "on_unsupported": "fail"}
    with answering(_silent) as base_url:
        summary = runner.run(odd_config(base_url, dataset, section), run_dir=tmp_path / "run")
    assert (summary.status, summary.warnings) == ("complete", [])


# ---------------------------------------------------------------- OpenAI Batch lines


def batch_lines(url: str, count: int, **body: Any) -> list[dict[str, Any]]:
    return [
        {
            "custom_id": f"r{number}",
            "method": "POST",
            "url": url,
            "body": {"model": "m", **orjson.loads(orjson.dumps(body).replace(b"NUMBER", str(number).encode()))},
        }
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("endpoint", "url", "body"),
    [
        ("completions", "/v1/completions", {"prompt": "Say NUMBER", "n": 2, "logprobs": 1}),
        ("completions", "/v1/completions", {"prompt": ["Say NUMBER", "Sing NUMBER"]}),
        ("responses", "/v1/responses", {"input": "Say NUMBER", "max_output_tokens": 4}),
    ],
)
def test_batch_lines_of_other_urls_are_sent_as_they_are(
    endpoint: str, url: str, body: dict[str, Any], tmp_path: Path
) -> None:
    lines = batch_lines(url, 5, **body)
    with serving() as own:
        config = config_for(own, write_rows(tmp_path / "batch.jsonl", lines))
        config |= {"dataset": {"path": config["dataset"]["path"]}, "request": {"endpoint": endpoint}}
        summary, sent = run_again(config, tmp_path / "run", own)
        assert (summary.status, sent) == ("complete", 5)
        assert run_again(config, tmp_path / "run", own)[1] == 0
    sent_bodies = [orjson.loads(row["request"]) for row in table(tmp_path / "run", "raw")]
    assert sorted(sent_bodies, key=str) == sorted((dict(sorted(line["body"].items())) for line in lines), key=str)
    rows = table(tmp_path / "run")
    assert {row["sample_id"] for row in rows} == {f"r{number}" for number in range(5)}
    assert len(rows) == 5 * (1 if endpoint == "responses" else 2)


@pytest.mark.parametrize(
    ("endpoint", "url", "hint"),
    [
        ("chat", "/v1/completions", "endpoint: completions"),
        ("completions", "/v1/chat/completions", "endpoint: chat"),
        ("logprobs", "/v1/chat/completions", "endpoint: chat"),
        ("responses", "/v1/completions", "endpoint: completions"),
    ],
)
def test_batch_lines_of_another_endpoint_name_the_key_to_write(
    endpoint: str, url: str, hint: str, simulator: Simulator, tmp_path: Path
) -> None:
    lines = batch_lines(url, 2, prompt="p", messages=MESSAGES)
    config = config_for(simulator, write_rows(tmp_path / "batch.jsonl", lines))
    config |= {"dataset": {"path": config["dataset"]["path"]}, "request": {"endpoint": endpoint}}
    with pytest.raises(UsageError) as caught:
        runner.run(config, run_dir=tmp_path / "run")
    assert hint in caught.value.hint
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- what is missing


@pytest.mark.parametrize(
    ("endpoint", "key"),
    [("chat", "messages"), ("logprobs", "messages"), ("responses", "messages"), ("completions", "prompt")],
)
def test_what_an_endpoint_lacks_is_named_with_its_line(
    endpoint: str, key: str, simulator: Simulator, tmp_path: Path
) -> None:
    config = config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(1)))
    config["request"] = {"endpoint": endpoint}
    path = write_config(tmp_path / "my.yaml", config)
    with pytest.raises(ConfigError) as caught:
        runner.run(path)
    (problem,) = caught.value.problems
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if '"request"' in text)
    assert problem.where == f"{path}:{line}:2"
    assert problem.message.startswith(f"request.{key}: missing; {endpoint} needs ")
    assert f"{key}: " in problem.hint
