"""Runs through adapter files as users write them: bodies, auth, keys of rows, errors, resealing, the check."""

from __future__ import annotations

import base64
import copy
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
import pytest

import runner
from runner.errors import ConfigError
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest
from tests.support.commands import evalrunner, one_message
from tests.support.odd_server import Reply
from tests.support.runs import by_sample, table, write_rows
from tests.support.vendors import says, vendor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.vendors import Seen

KEY = "k3y/Abc+0123456789=xyz"
ROWS = [{"id": f"q{number}", "question": f"What is {number}?", "kb": {"ids": [number]}} for number in range(4)]
ROWS[3]["note"] = "only here"
RAG: dict[str, Any] = {
    "endpoints": ["chat"],
    "path": "/ask/{{ model }}",
    "query": {"version": "2", "for": "{{ model }}"},
    "params": {"rename": {"max_tokens": "limit"}, "defaults": {"style": "short"}},
    "body": {
        "question": "{{ messages[-1].content }}",
        "history": "{{ messages[:-1] }}",
        "knowledge_base": "{{ row.kb }}",
        "settings": {"$merge": "{{ params }}", "stream": False},
        "note": "{{ row.note }}",
    },
    "response": {
        "text": "result.answer",
        "finish_reason": "result.why",
        "status": {"budget": "truncated", "policy": "refused"},
        "id": "trace",
        "usage": {"prompt_tokens": "cost.in", "completion_tokens": "cost.out"},
        "retrieved": {"list": "sources", "id": "doc", "score": "relevance", "text": "passage"},
    },
    "errors": {"by_status": {"418": "rate_limit"}, "code": "problem.code", "message": "problem.text"},
}
ANSWER = {
    "result": {"answer": "Nil.", "why": "done"},
    "trace": "t1",
    "cost": {"in": 5, "out": 2},
    "sources": [
        {"doc": "d1", "relevance": 0.75, "passage": "Zero."},
        {"doc": 7, "relevance": "high"},
        "no object",
    ],
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", KEY)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Write an adapter file with some of its keys changed, and return a config that uses it."""

    def make(root: str, changes: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
        adapter = copy.deepcopy(RAG)
        for key, value in (changes or {}).items():
            *above, last = key.split("/")
            section: Any = adapter
            for part in above:
                section = section.setdefault(part, {})
            section[last] = value
        (tmp_path / "rag.yaml").write_text(json.dumps(adapter), encoding="utf-8")
        rows = tmp_path / "rows.jsonl"
        if not rows.exists():
            write_rows(rows, ROWS)
        return {
            "name": "adapters",
            "dataset": {"path": str(rows), "id": "id"},
            "model": {
                "base_url": root,
                "name": "a b/c",
                "adapter": str(tmp_path / "rag.yaml"),
                "api_key_env": "VENDOR_KEY",
            },
            "request": {
                "messages": [{"role": "user", "content": "{{ question }}"}],
                "timeout_s": {"connect": 5, "total": 20},
                **request,
            },
            "limits": {"max_in_flight": 1},
            "retry": {"max_attempts": 2, "first_wait_s": 0.001, "max_wait_s": 0.01, "deadline_s": 20},
            "output": {"dir": str(tmp_path / "outputs")},
        }

    return make


Config = "Callable[..., dict[str, Any]]"


def test_columns_params_and_types_reach_the_body(config: Any, tmp_path: Path) -> None:
    with vendor(lambda _: says(ANSWER)) as server:
        made = config(server.root, params={"max_tokens": 3, "temperature": 0.0, "flag": True, "none": None})
        made["request"]["extra_body"] = {"trace": [1]}
        summary = runner.run(made, run_dir=tmp_path / "run")
    assert summary.exit_code == 0
    first = server.seen[0]
    assert (first.method, first.path) == ("POST", "/ask/a%20b%2Fc")
    assert first.query == [("version", "2"), ("for", "a b/c")]
    assert first.body == {
        "question": "What is 0?",
        "history": [],
        "knowledge_base": {"ids": [0]},
        "settings": {"limit": 3, "temperature": 0.0, "flag": True, "style": "short", "stream": False},
        "trace": [1],
    }
    assert [body.get("note") for body in server.bodies] == [None, None, None, "only here"]
    assert b'"temperature":0.0' in table(tmp_path / "run", "raw")[0]["request"]


def test_retrieved_documents_usage_and_words_become_columns(config: Any, tmp_path: Path) -> None:
    words = {"What is 0?": "done", "What is 1?": "budget", "What is 2?": "policy", "What is 3?": None}

    def answer(seen: Seen) -> Reply:
        return says({**ANSWER, "result": {"answer": "Nil.", "why": words[seen.body["question"]]}})

    with vendor(answer) as server:
        runner.run(config(server.root), run_dir=tmp_path / "run")
    rows = by_sample(tmp_path / "run")
    assert [rows[f"q{n}"]["status"] for n in range(4)] == ["ok", "truncated", "refused", "ok"]
    row = rows["q0"]
    assert row["retrieved"] == [
        {"rank": 1, "id": "d1", "score": 0.75, "text": "Zero."},
        {"rank": 2, "id": "7", "score": None, "text": None},
        {"rank": 3, "id": None, "score": None, "text": None},
    ]
    assert (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == (5, 2, 7)
    assert orjson.loads(row["usage_json"])["total_tokens"] == 7
    assert row["response_id"] == "t1"


@pytest.mark.parametrize(
    ("auth", "header", "query"),
    [
        ({"type": "bearer"}, ("authorization", f"Bearer {KEY}"), None),
        ({"type": "header", "name": "x-api-key"}, ("x-api-key", KEY), None),
        ({"type": "header", "name": "Authorization", "prefix": "Token "}, ("authorization", f"Token {KEY}"), None),
        ({"type": "query", "name": "key"}, None, ("key", KEY)),
        (
            {"type": "basic", "user": "me"},
            ("authorization", "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()),
            None,
        ),
        ({"type": "basic"}, ("authorization", "Basic " + base64.b64encode(KEY.encode()).decode()), None),
        ({"type": "none"}, None, None),
    ],
)
def test_the_key_goes_where_auth_says_and_into_no_artefact(
    auth: dict[str, Any],
    header: tuple[str, str] | None,
    query: tuple[str, str] | None,
    config: Any,
    tmp_path: Path,
) -> None:
    def answer(seen: Seen) -> Reply:
        echo = f"{seen.headers} {seen.query} {quote(KEY, safe='')}"
        if seen.body["question"] == "What is 1?":
            return says({"problem": {"code": "x", "text": f"bad key: {echo}"}}, 400, x_request_id=KEY)
        return says({**ANSWER, "result": {"answer": echo, "why": "done"}})

    with vendor(answer) as server:
        made = config(server.root, {"auth": auth})
        path = tmp_path / "run.yaml"
        path.write_text(json.dumps(made), encoding="utf-8")
        finished = evalrunner("run", path, "--run-dir", tmp_path / "run", "--debug", cwd=tmp_path)
        checked = evalrunner("check", path, cwd=tmp_path)
    assert finished.code == 3, finished
    for seen in server.seen:
        sent = {name: value for name, value in seen.headers.items() if KEY in value or "authorization" in name}
        assert sent == ({} if header is None else dict([header]))
        assert (query in seen.query) == (query is not None)
    basic = base64.b64encode(f"me:{KEY}".encode()).decode()
    forms = [form.encode() for form in (KEY, quote(KEY, safe=""), basic, base64.b64encode(KEY.encode()).decode())]
    written = {str(file): file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    written |= {"run": f"{finished.out}{finished.err}".encode(), "check": f"{checked.out}{checked.err}".encode()}
    written["rows"] = repr([table(tmp_path / "run", name) for name in ("responses", "attempts", "raw")]).encode()
    assert not [name for name, content in written.items() for form in forms if form in content]
    assert len(by_sample(tmp_path / "run")) == len(ROWS)


def test_a_get_sends_its_body_as_query(config: Any, tmp_path: Path) -> None:
    body = {"q": "{{ messages[-1].content }}", "tag": ["a", None, 2], "deep": {"x": True}, "on": False, "no": None}
    with vendor(lambda _: says(ANSWER)) as server:
        runner.run(config(server.root, {"method": "GET", "body": body}), run_dir=tmp_path / "run")
    first = server.seen[0]
    assert (first.method, first.body) == ("GET", None)
    assert sorted(first.query) == sorted(
        [
            ("version", "2"),
            ("for", "a b/c"),
            ("q", "What is 0?"),
            ("tag", "a"),
            ("tag", "2"),
            ("deep", '{"x":true}'),
            ("on", "false"),
        ]
    )
    assert len(by_sample(tmp_path / "run")) == 4


def test_the_config_overrides_path_and_headers(config: Any, tmp_path: Path) -> None:
    with vendor(lambda _: says(ANSWER)) as server:
        made = config(server.root, {"headers": {"x-a": "adapter", "x-b": "adapter"}})
        made["model"] |= {"path": "/other", "headers": {"x-b": "config"}}
        runner.run(made, run_dir=tmp_path / "run")
    assert server.seen[0].path == "/other"
    assert (server.seen[0].headers["x-a"], server.seen[0].headers["x-b"]) == ("adapter", "config")


def test_an_overridden_status_is_what_the_adapter_says(config: Any, tmp_path: Path) -> None:
    problem = {"problem": {"code": 7, "text": "I am\u202e a\nteapot"}}
    with vendor(lambda seen: says(problem, 418) if seen.number == 1 else says(ANSWER)) as server:
        summary = runner.run(config(server.root), run_dir=tmp_path / "run")
    assert summary.exit_code == 0
    (failed,) = [row for row in table(tmp_path / "run", "attempts") if row["error_kind"]]
    assert (failed["http_status"], failed["error_kind"]) == (418, "rate_limit")
    assert "HTTP 418: I am a teapot" in (tmp_path / "run" / "run.log.jsonl").read_text()


@pytest.mark.parametrize(
    ("code", "kind"), [("out_of_money", "quota"), ("OUT_OF_MONEY", "quota"), (17, "context_length"), (["x"], None)]
)
def test_a_code_goes_before_the_status(code: Any, kind: str | None, config: Any, tmp_path: Path) -> None:
    changes = {"errors/by_code": {"out_of_money": "quota", "17": "context_length"}}
    with vendor(lambda _: says({"problem": {"code": code, "text": "no"}}, 400)) as server:
        runner.run(config(server.root, changes), run_dir=tmp_path / "run")
    kinds = {row["error_kind"] for row in table(tmp_path / "run", "attempts")}
    assert kinds == {kind or "bad_request"}


def test_an_error_inside_a_200_is_found_where_the_adapter_says(config: Any, tmp_path: Path) -> None:
    changes = {"errors/in_body": "problem", "errors/by_code": {"full": "overload"}}

    def answer(seen: Seen) -> Reply:
        body = {"problem": {"code": "full", "text": "come again"}} if seen.number == 1 else {**ANSWER, "error": "none"}
        return says(body)

    with vendor(answer) as server:
        summary = runner.run(config(server.root, changes), run_dir=tmp_path / "run")
    assert summary.exit_code == 0
    (failed,) = [row for row in table(tmp_path / "run", "attempts") if row["error_kind"]]
    assert failed["error_kind"] == "overload"


HOSTILE = [
    b"{}",
    b"[]",
    b"null",
    b'"text"',
    b"5",
    b'{"result": null}',
    b'{"result": {"answer": null}}',
    b'{"result": [{"answer": "x"}]}',
    b'{"result": {"why": "done"}}',
]


@pytest.mark.parametrize("body", HOSTILE)
def test_an_answer_without_text_is_kept_and_fails(body: bytes, config: Any, tmp_path: Path) -> None:
    with vendor(lambda _: Reply(body=body)) as server:
        summary = runner.run(config(server.root), run_dir=tmp_path / "run")
    assert summary.exit_code == 3
    rows = by_sample(tmp_path / "run").values()
    assert {(row["status"], row["error_kind"]) for row in rows} == {("failed", "no_choices")}
    assert all("`result.answer`" in row["error_message"] for row in rows)
    assert [row["response"] for row in table(tmp_path / "run", "raw")] == [body] * 4
    assert len(server.seen) == 4


@pytest.mark.parametrize(
    ("answer", "text", "note"),
    [
        (5, "5", "text is no text but JSON"),
        (True, "true", "text is no text but JSON"),
        ({"a": [1]}, '{"a":[1]}', "text is no text but JSON"),
        (["a", "b"], "ab", None),
        (["a", 1], '["a",1]', "text is no text but JSON"),
        ("", "", None),
        ([], None, None),
    ],
)
def test_an_answer_of_another_type_is_kept(
    answer: Any, text: str | None, note: str | None, config: Any, tmp_path: Path
) -> None:
    with vendor(lambda _: says({"result": {"answer": answer}})) as server:
        runner.run(config(server.root), run_dir=tmp_path / "run")
    rows = by_sample(tmp_path / "run").values()
    assert {(row["status"], row["text"], row["parse_note"]) for row in rows} == {("ok", text, note)}


# ---------------------------------------------------------------- identity


def keys_of(run_dir: Path) -> dict[str, str]:
    return {name: row["key"] for name, row in by_sample(run_dir).items()}


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"response/reasoning": "result.thoughts"}, True),
        ({"response/status": {}}, True),
        ({"errors/by_status": {}}, True),
        ({"name": "another", "description": "text"}, True),
        ({"headers": {"x-team": "a"}}, True),
        ({"auth": {"type": "query", "name": "k"}}, True),
        ({"capabilities": {"seed": True}}, True),
        ({"body/settings": {"$merge": "{{ params }}", "stream": None}}, False),
        ({"body/question": "{{ messages[0].content }}"}, False),
        ({"params/defaults": {"style": "long"}}, False),
        ({"params/rename": {}}, False),
        ({"path": "/v2/ask"}, False),
        ({"query": {"version": "3"}}, False),
        ({"method": "PUT"}, False),
    ],
)
def test_keys_change_with_the_request_half_only(
    changes: dict[str, Any],
    same: bool,  # noqa: FBT001 - a column of the table
    config: Any,
    tmp_path: Path,
) -> None:
    with vendor(lambda _: says(ANSWER)) as server:
        runner.run(config(server.root), run_dir=tmp_path / "one")
        runner.run(config(server.root, changes), run_dir=tmp_path / "two")
        before = len(server.seen)
        runner.run(config(server.root, changes), run_dir=tmp_path / "one")
        sent = len(server.seen) - before
    assert (keys_of(tmp_path / "one") == keys_of(tmp_path / "two")) is True
    with vendor(lambda _: says(ANSWER)) as server:
        runner.run(config(server.root), run_dir=tmp_path / "three")
    original = keys_of(tmp_path / "three")
    assert (original == keys_of(tmp_path / "two")) is same
    assert sent == (0 if same else 4)


def test_a_column_that_only_the_adapter_reads_is_part_of_the_row(config: Any, tmp_path: Path) -> None:
    with vendor(lambda _: says(ANSWER)) as server:
        runner.run(config(server.root), run_dir=tmp_path / "run")
        first = keys_of(tmp_path / "run")
        changed = [{**row, "kb": {"ids": [99]}} if row["id"] == "q2" else row for row in ROWS]
        write_rows(tmp_path / "rows.jsonl", changed)
        runner.run(config(server.root), run_dir=tmp_path / "run")
        again = keys_of(tmp_path / "run")
    assert [name for name in first if first[name] != again[name]] == ["q2"]
    assert [body["knowledge_base"] for body in server.bodies[4:]] == [{"ids": [99]}]


def test_repeats_send_the_seed_that_the_logical_request_has(config: Any, tmp_path: Path) -> None:
    with vendor(lambda _: says(ANSWER)) as server:
        made = config(server.root, {"params/rename": {"seed": "random"}}, params={"seed": 10}, repeats=3)
        made["dataset"]["limit"] = 1
        runner.run(made, run_dir=tmp_path / "run")
    assert [body["settings"]["random"] for body in server.bodies] == [10, 11, 12]
    assert len({row["key"] for row in table(tmp_path / "run")}) == 3


# ---------------------------------------------------------------- resealing


def test_resealing_with_a_mended_mapping_sends_nothing_and_gives_the_rows(config: Any, tmp_path: Path) -> None:
    with vendor(lambda _: says(ANSWER)) as server:
        wrong = {"response/text": "result.anwser", "response/usage": {"prompt_tokens": "cost.input"}}
        summary = runner.run(config(server.root, wrong), run_dir=tmp_path / "run")
        assert summary.by_status == {"failed": 4}
        keys = keys_of(tmp_path / "run")
        config(server.root)  # the file, mended
        finished = evalrunner("reseal", tmp_path / "run", "--json", cwd=tmp_path)
        assert finished.code == 0, finished
        assert finished.json["after"] == {"ok": 4}
        assert finished.err == ""
        again = evalrunner("resume", tmp_path / "run", "--json", cwd=tmp_path)
        assert len(server.seen) == 4
    assert again.json["exit_code"] == 0
    rows = by_sample(tmp_path / "run")
    assert keys_of(tmp_path / "run") == keys
    assert {(row["status"], row["text"], row["error_kind"], row["total_tokens"]) for row in rows.values()} == {
        ("ok", "Nil.", None, 7)
    }
    assert rows["q0"]["retrieved"][0]["id"] == "d1"
    manifest = read_manifest(RunFolder(tmp_path / "run"))
    assert manifest.adapter["response"]["text"] == "result.answer"
    assert evalrunner("verify", tmp_path / "run", cwd=tmp_path).code == 0


def test_resealing_keeps_the_request_half_of_the_run(config: Any, tmp_path: Path) -> None:
    with vendor(lambda _: says(ANSWER)) as server:
        runner.run(config(server.root), run_dir=tmp_path / "run")
        config(server.root, {"response/text": "trace", "body/question": "other", "method": "PUT"})
        finished = evalrunner("reseal", tmp_path / "run", cwd=tmp_path)
    assert "the request half differs" in finished.err
    manifest = read_manifest(RunFolder(tmp_path / "run"))
    assert manifest.adapter["method"] == "POST"
    assert manifest.adapter["body"] == RAG["body"]
    assert {row["text"] for row in table(tmp_path / "run")} == {"t1"}


def test_resealing_with_a_wrong_file_changes_nothing(config: Any, tmp_path: Path) -> None:
    with vendor(lambda _: says(ANSWER)) as server:
        runner.run(config(server.root), run_dir=tmp_path / "run")
        before = table(tmp_path / "run")
        config(server.root, {"response/text": "a["})
        finished = evalrunner("reseal", tmp_path / "run", cwd=tmp_path)
    assert finished.code == 2
    assert "rag.yaml:1:" in one_message(finished)
    assert "response.text: not a JMESPath expression" in finished.err
    assert table(tmp_path / "run") == before


def test_a_run_folder_explains_itself_without_the_file(config: Any, tmp_path: Path) -> None:
    def answer(seen: Seen) -> Reply:
        return says({"problem": {}}, 503) if seen.number == 2 else says(ANSWER)

    with vendor(answer) as server:
        made = config(server.root)
        made["retry"] = {"max_attempts": 1, "first_wait_s": 0.001, "max_wait_s": 0.001, "deadline_s": 0.05}
        made["dataset"]["limit"] = 2
        runner.run(made, run_dir=tmp_path / "run")
        (tmp_path / "rag.yaml").unlink()
        assert evalrunner("resume", tmp_path / "run", cwd=tmp_path).code == 0
        resealed = evalrunner("reseal", tmp_path / "run", "--json", cwd=tmp_path)
        assert evalrunner("verify", tmp_path / "run", "--salvage", tmp_path / "saved", cwd=tmp_path).code == 0
    assert resealed.json["after"] == {"ok": 2}
    assert "is not there any more" in resealed.err
    assert {row["text"] for row in table(tmp_path / "saved")} == {"Nil."}


# ---------------------------------------------------------------- what the adapter cannot do


def test_what_the_adapter_cannot_do_is_refused_when_asked_to(config: Any) -> None:
    with vendor(lambda _: says(ANSWER)) as server:
        made = config(
            server.root,
            {"params/unsupported": ["top_k"], "capabilities": {"seed": False, "tools": False}},
            params={
                "n": 2,
                "logprobs": True,
                "top_k": 3,
                "seed": 1,
                "tools": [],
                "temperature": 0,
                "tool_choice": None,
            },
            on_unsupported="fail",
        )
        with pytest.raises(ConfigError) as caught:
            runner.run(made)
    found = [problem.where for problem in caught.value.problems]
    assert found == [f"request.params.{name}" for name in ("n", "logprobs", "top_k", "seed", "tools")]
    assert "the adapter rag does not have it" in str(caught.value)
    assert server.seen == []


def test_what_the_adapter_cannot_do_is_dropped_with_a_warning(config: Any, tmp_path: Path) -> None:
    with vendor(lambda _: says(ANSWER)) as server:
        made = config(
            server.root, {"params/only": ["temperature"]}, params={"n": 3, "logprobs": False, "temperature": 1}
        )
        path = tmp_path / "run.yaml"
        path.write_text(json.dumps(made), encoding="utf-8")
        rehearsed = evalrunner("run", path, "--dry-run", cwd=tmp_path)
        finished = evalrunner("run", path, "--run-dir", tmp_path / "run", "--json", cwd=tmp_path)
    warning = "request.params.n: the adapter rag does not have it; it is not sent"
    assert finished.json["warnings"] == [warning]
    assert warning in rehearsed.err
    assert "first request, POST /ask/a%20b%2Fc?version=2&for=a%20b%2Fc:" in rehearsed.out
    assert server.bodies[0]["settings"] == {"temperature": 1, "style": "short", "stream": False}
    assert len(table(tmp_path / "run")) == 4


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"endpoint": "completions", "messages": None, "prompt": "a"}, "the adapter rag has no completions"),
        ({"messages": None}, "request.messages: missing"),
    ],
)
def test_what_cannot_be_left_out_is_refused(request_: dict[str, Any], message: str, config: Any) -> None:
    with pytest.raises(runner.RunnerError, match=message):
        runner.run(config("http://127.0.0.1:9", **request_))


def test_a_misspelt_column_is_named(config: Any) -> None:
    made = config("http://127.0.0.1:9", {"body/knowledge_base": "{{ row.kbs }}", "body/note": 1})
    with pytest.raises(runner.RunnerError, match=r"model\.adapter: body: the dataset has no column 'kbs'") as caught:
        runner.run(made)
    assert "did you mean 'kb'?" in caught.value.hint


def test_an_adapter_file_with_errors_is_told_whole(config: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(config("http://127.0.0.1:9", {"respnse": {}, "path": "x"})), encoding="utf-8")
    for command in (("run", path), ("run", path, "--dry-run"), ("check", path)):
        finished = evalrunner(*command, cwd=tmp_path)
        assert finished.code == 2
        assert 'respnse: unknown key (did you mean "response"?)' in one_message(finished)
        assert "path: expected a path such as /v1/answers" in finished.err


# ---------------------------------------------------------------- the check


def test_the_check_says_what_each_expression_finds(config: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    with vendor(lambda _: says(ANSWER)) as server:
        path.write_text(json.dumps(config(server.root)), encoding="utf-8")
        finished = evalrunner("check", path, "--json", cwd=tmp_path)
    checks = {one["name"]: one for one in finished.json["checks"]}
    assert (finished.code, len(server.seen)) == (0, 1)
    assert server.bodies[0]["question"] == "What is 0?"
    assert (checks["text"]["outcome"], checks["text"]["detail"]) == ("ok", "`result.answer` finds 'Nil.'")
    assert checks["retrieved.list"]["detail"] == "`sources` finds a list of 3"
    assert "body" not in checks


def test_the_check_explains_a_mapping_that_finds_nothing(config: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    body = {"reply": f"\x1b[31m{KEY}", "padding": "x" * 5000}
    with vendor(lambda _: says(body)) as server:
        path.write_text(json.dumps(config(server.root)), encoding="utf-8")
        finished = evalrunner("check", path, cwd=tmp_path)
    assert finished.code == 5
    assert "`result.answer` finds nothing" in finished.out
    assert '{"reply":"' in finished.out
    assert "bytes)" in finished.out
    assert len(finished.out) < 5000
    assert KEY not in finished.out
    assert len(server.seen) == 1


def test_the_check_takes_the_first_row_that_can_be_sent(config: Any, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"question": "no id", "kb": 1, "note": "a"}, *ROWS])
    path = tmp_path / "run.yaml"
    with vendor(lambda _: says(ANSWER)) as server:
        path.write_text(json.dumps(config(server.root)), encoding="utf-8")
        assert evalrunner("check", path, cwd=tmp_path).code == 0
    assert [body["question"] for body in server.bodies] == ["What is 0?"]


@pytest.mark.parametrize(
    ("reply", "code", "text"),
    [
        (says({"problem": {"text": "who are you?"}}, 401), 5, "who are you?"),
        (Reply(body=b"<html>hello</html>"), 5, "no JSON"),
        (Reply(body=b""), 5, "empty"),
    ],
)
def test_the_check_tells_a_refusal(reply: Reply, code: int, text: str, config: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    with vendor(lambda _: reply) as server:
        path.write_text(json.dumps(config(server.root)), encoding="utf-8")
        finished = evalrunner("check", path, cwd=tmp_path)
    assert finished.code == code
    assert text in finished.out
