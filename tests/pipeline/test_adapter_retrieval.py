"""Runs that say where to look through an adapter: body, path and query, keys, resume, and what is refused."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

import runner
from runner.errors import ConfigError, DatasetError, RunFolderError
from runner.simulate import ContentRules, SimulatorOptions
from tests.support.commands import evalrunner, one_message
from tests.support.runs import by_sample, config_for, run_again, table, write_config, write_rows
from tests.support.serving import serving
from tests.support.vendors import says, vendor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.odd_server import Reply
    from tests.support.vendors import Seen

ROWS: list[dict[str, Any]] = [
    {"id": "paris", "question": "capital of France", "kb": "geography", "docs": None},
    {"id": "rome", "question": "capital of Italy", "kb": "geography", "docs": ["italy.txt"]},
    {"id": "steam", "question": "when does water boil", "kb": "physics & more", "docs": ["a", "b"]},
]
ADAPTER: dict[str, Any] = {
    "endpoints": ["chat"],
    "path": "/ask",
    "body": {
        "question": "{{ messages[-1].content }}",
        "where": {"base": "{{ retrieval.knowledge_base }}", "papers": "{{ retrieval.documents }}"},
    },
    "response": {"text": "answer", "retrieved": {"list": "sources", "id": "doc", "score": "fit", "text": "passage"}},
}
BOTH = {"knowledge_base": "{{ kb }}", "documents": "{{ docs }}"}


def answer(seen: Seen) -> Reply:
    return says({"answer": "so", "sources": [{"doc": "d1", "fit": 0.5, "passage": seen.body["question"]}]})


def config_of(
    root: str, folder: Path, retrieval: dict[str, Any], changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    (folder / "rag.yaml").write_text(json.dumps(copy.deepcopy(ADAPTER) | (changes or {})), encoding="utf-8")
    return {
        "name": "rag",
        "dataset": {"path": str(write_rows(folder / "data.jsonl", ROWS)), "id": "id"},
        "model": {"base_url": root, "name": "m", "adapter": str(folder / "rag.yaml")},
        "request": {"messages": [{"role": "user", "content": "{{ question }}"}], "retrieval": retrieval},
        "limits": {"max_in_flight": 1},
        "retry": {"max_attempts": 2, "first_wait_s": 0.001, "max_wait_s": 0.01, "deadline_s": 20},
        "output": {"dir": str(folder / "outputs")},
    }


def test_the_choice_reaches_the_body_with_its_type_and_null_leaves_it_out(tmp_path: Path) -> None:
    with vendor(answer) as server:
        assert runner.run(config_of(server.root, tmp_path, BOTH), run_dir=tmp_path / "run").ok == 3
    assert [body["where"] for body in server.bodies] == [
        {"base": "geography"},
        {"base": "geography", "papers": ["italy.txt"]},
        {"base": "physics & more", "papers": ["a", "b"]},
    ]
    assert by_sample(tmp_path / "run")["rome"]["retrieved"] == [
        {"rank": 1, "id": "d1", "score": 0.5, "text": "capital of Italy"}
    ]


def test_a_choice_may_stand_in_path_and_query(tmp_path: Path) -> None:
    changes = {
        "path": "/bases/{{ retrieval.knowledge_base }}/ask",
        "query": {"only": "{{ retrieval.documents }}", "v": "2"},
        "body": {"question": "{{ messages[-1].content }}"},
    }
    with vendor(answer) as server:
        config = config_of(server.root, tmp_path, BOTH, changes)
        rehearsed = evalrunner("run", write_config(tmp_path / "c.yaml", config), "--dry-run", cwd=tmp_path)
        assert server.seen == []
        assert runner.run(config, run_dir=tmp_path / "run").ok == 3
        again = runner.run(config, run_dir=tmp_path / "run")
    assert "first request, POST /bases/geography/ask?v=2:" in rehearsed.out
    assert (again.ok, len(server.seen)) == (3, 3)
    assert [(one.path, one.query) for one in server.seen] == [
        ("/bases/geography/ask", [("v", "2")]),
        ("/bases/geography/ask", [("only", "italy.txt"), ("v", "2")]),
        ("/bases/physics%20&%20more/ask", [("only", "a"), ("only", "b"), ("v", "2")]),
    ]


@pytest.mark.parametrize("value", ["..", "", None])
def test_a_row_whose_path_would_be_another_is_a_bad_row(value: Any, tmp_path: Path) -> None:
    changes = {"path": "/bases/{{ retrieval.knowledge_base }}/ask"}
    with vendor(answer) as server:
        config = config_of(server.root, tmp_path, {"knowledge_base": "{{ kb }}"}, changes)
        write_rows(tmp_path / "data.jsonl", [ROWS[0], {**ROWS[1], "kb": value}])
        with pytest.raises(DatasetError, match=r"model\.adapter: path"):
            runner.run(config, run_dir=tmp_path / "run")
        assert server.seen == []
        config["dataset"]["on_bad_row"] = "skip"
        summary = runner.run(config, run_dir=tmp_path / "other")
    assert (summary.ok, summary.by_status["skipped"], len(server.seen)) == (1, 1, 1)


def test_another_choice_is_another_question_and_none_is_the_question_without(tmp_path: Path) -> None:
    keys = []
    choices: tuple[dict[str, Any], ...] = ({}, {"knowledge_base": "geography"}, {"knowledge_base": "other"}, BOTH)
    with vendor(answer) as server:
        for number, retrieval in enumerate(choices):
            runner.run(config_of(server.root, tmp_path, retrieval), run_dir=tmp_path / f"run{number}")
            rows = by_sample(tmp_path / f"run{number}")
            keys.append([rows[name]["key"] for name in ("paris", "rome")])
        config = config_of(server.root, tmp_path, {"knowledge_base": "{{ kb }}"})
        write_rows(tmp_path / "data.jsonl", [{**ROWS[0], "kb": None}, ROWS[1]])
        runner.run(config, run_dir=tmp_path / "null")
    none, one, two, each = keys
    assert len({*none, *one, *two}) == 6
    assert each[0] == one[0]  # the same choice, however it came about
    assert each[1] not in {none[1], one[1], two[1]}
    assert by_sample(tmp_path / "null")["paris"]["key"] == none[0]


def test_a_run_folder_is_of_one_choice_and_a_changed_row_is_sent_again(tmp_path: Path) -> None:
    with vendor(answer) as server:
        config = config_of(server.root, tmp_path, BOTH)
        runner.run(config, run_dir=tmp_path / "run")
        with pytest.raises(RunFolderError, match=r"request\.retrieval"):
            runner.run(config_of(server.root, tmp_path, {"knowledge_base": "geography"}), run_dir=tmp_path / "run")
        write_rows(tmp_path / "data.jsonl", [{**ROWS[0], "docs": ["france.txt"]}, *ROWS[1:]])
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.ok, summary.superseded, len(server.seen)) == (3, 1, 4)
    assert server.bodies[-1]["where"] == {"base": "geography", "papers": ["france.txt"]}


@pytest.mark.parametrize(
    ("changes", "retrieval", "problem"),
    [
        ({"body": {"q": 1}}, {"knowledge_base": "a"}, "request.retrieval.knowledge_base: the adapter rag never sends"),
        ({"body": {"q": "{{ retrieval.knowledge_base }}"}}, BOTH, "request.retrieval.documents: the adapter rag never"),
        (
            {"path": "/{{ retrieval.knowledge_base }}"},
            {},
            "request.retrieval: missing; the adapter rag needs it: model.adapter: path: `retrieval.knowledge_base`",
        ),
    ],
)
def test_a_choice_that_goes_nowhere_and_one_that_is_missing_are_config_errors(
    changes: dict[str, Any], retrieval: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    config = config_of("http://127.0.0.1:9", tmp_path, retrieval, changes)
    path = write_config(tmp_path / "c.yaml", config)
    told = evalrunner("run", path, "--dry-run", cwd=tmp_path)
    assert told.code == 2
    assert f": {problem}" in one_message(told)
    assert "c.yaml:" in told.err
    assert "retrieval." in told.err.partition("(")[2] or "retrieval: {" in told.err


def test_an_own_path_in_the_config_takes_the_choice_out_of_the_path(tmp_path: Path) -> None:
    changes = {"path": "/{{ retrieval.knowledge_base }}", "body": {"question": "{{ messages[-1].content }}"}}
    with vendor(answer) as server:
        config = config_of(server.root, tmp_path, {}, changes)
        config["model"]["path"] = "/fixed/{{model}}"
        assert runner.run(config, run_dir=tmp_path / "run").ok == 3
        assert {one.path for one in server.seen} == {"/fixed/%7B%7Bmodel%7D%7D"}
        config["request"]["retrieval"] = {"knowledge_base": "a"}
        with pytest.raises(ConfigError, match="never sends it"):
            runner.run(config, run_dir=tmp_path / "other")


def test_the_whole_choice_may_be_merged_into_a_body(tmp_path: Path) -> None:
    changes = {"body": {"question": "{{ messages[-1].content }}", "where": {"$merge": "{{ retrieval }}"}}}
    with vendor(answer) as server:
        runner.run(config_of(server.root, tmp_path, BOTH, changes), run_dir=tmp_path / "run")
    assert [body["where"] for body in server.bodies][:2] == [
        {"knowledge_base": "geography"},
        {"knowledge_base": "geography", "documents": ["italy.txt"]},
    ]


def test_the_check_sends_the_choice_of_the_first_row(tmp_path: Path) -> None:
    with vendor(answer) as server:
        config = config_of(server.root, tmp_path, BOTH)
        checked = evalrunner("check", write_config(tmp_path / "c.yaml", config), "--json", cwd=tmp_path)
    assert checked.code == 0
    assert server.bodies[0]["where"] == {"base": "geography"}
    assert {one["name"]: one["detail"] for one in checked.json["checks"]}["retrieved.list"].endswith("a list of 1")


def test_a_resumed_run_chooses_as_the_first_one_did_without_the_file(tmp_path: Path) -> None:
    def failing(seen: Seen) -> Reply:
        return says({}, 503) if seen.number == 2 else answer(seen)

    with vendor(failing) as server:
        config = config_of(server.root, tmp_path, BOTH, {"path": "/{{ retrieval.knowledge_base }}/ask"})
        config["retry"] = {"max_attempts": 1, "first_wait_s": 0.001, "max_wait_s": 0.001, "deadline_s": 0.05}
        config["dataset"]["limit"] = 2
        runner.run(config, run_dir=tmp_path / "run")
        (tmp_path / "rag.yaml").unlink()
        assert evalrunner("resume", tmp_path / "run", cwd=tmp_path).code == 0
    assert (server.seen[-1].path, server.bodies[-1]["where"]["papers"]) == ("/geography/ask", ["italy.txt"])
    assert {row["status"] for row in table(tmp_path / "run")} == {"ok"}


def test_the_simulator_behind_an_adapter_finds_what_was_chosen(tmp_path: Path) -> None:
    adapter = {
        "endpoints": ["chat"],
        "path": "/chat/completions",
        "body": {
            "model": "{{ model }}",
            "messages": "{{ messages }}",
            "knowledge_base": "{{ retrieval.knowledge_base }}",
            "documents": "{{ retrieval.documents }}",
        },
        "response": {
            "choices": "choices",
            "text": "message.content",
            "finish_reason": "finish_reason",
            "usage": {"prompt_tokens": "usage.prompt_tokens", "completion_tokens": "usage.completion_tokens"},
            "retrieved": {"list": "retrieved_documents", "id": "id", "score": "score", "text": "text"},
        },
    }
    (tmp_path / "rag.yaml").write_text(json.dumps(adapter), encoding="utf-8")
    rows = [
        {"id": "paris", "question": "capital of France", "answer": "Paris", "kb": "geography", "docs": None},
        {"id": "rome", "question": "capital of Italy", "answer": "Rome", "kb": "geography", "docs": ["italy.txt"]},
        {"id": "none", "question": "capital of Peru", "answer": "Lima", "kb": None, "docs": None},
    ]
    with serving(SimulatorOptions(content=ContentRules(index_after=0, stores=("geography",)))) as simulator:
        (store,) = simulator.content.stores.values()
        for name, text in (("france.txt", "The capital of France is Paris."), ("italy.txt", "Rome is in Italy.")):
            file = simulator.content.add_file(name, "assistants", text.encode())
            simulator.content.attach(store, file, {"name": name, "file_id": file.id})
        config = config_for(simulator, write_rows(tmp_path / "data.jsonl", rows))
        config["model"]["adapter"] = str(tmp_path / "rag.yaml")
        config["request"] |= {"retrieval": BOTH, "params": {}}
        summary, sent = run_again(config, tmp_path / "run", simulator)
        assert (summary.exit_code, sent) == (0, 3)
        assert run_again(config, tmp_path / "run", simulator)[1] == 0
    found = {name: row["retrieved"] for name, row in by_sample(tmp_path / "run").items()}
    assert found["paris"][0]["text"] == "The capital of France is Paris."
    assert [one["text"] for one in found["rome"]] == ["Rome is in Italy."]
    assert found["none"] is None
