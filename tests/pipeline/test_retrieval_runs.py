"""Whole runs that say where to look: rows, `retrieved`, keys, resume; for a run and for each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.errors import ConfigError, DatasetError, RunFolderError, TemplateError, UsageError
from runner.simulate import ContentRules, SimulatorOptions
from tests.support.leaks import find_leaks
from tests.support.odd_server import Reply, answering
from tests.support.runs import by_sample, check_books, config_for, run_again, sent_by, table, write_rows
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.odd_server import Call

ROWS = [
    {"id": "paris", "question": "capital of France", "answer": "Paris", "kb": "vs-000001", "docs": None},
    {"id": "rome", "question": "capital of Italy", "answer": "Rome", "kb": "vs-000001", "docs": ["italy.txt"]},
    {"id": "steam", "question": "when does water boil", "answer": "100", "kb": "vs-000002", "docs": None},
]
FRANCE = (1, "file-000003", 1.0, "The capital of France is Paris.")
ITALY = (1, "file-000004", 1.0, "The capital of Italy is Rome.")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    rules = ContentRules(index_after=0, stores=("geography", "physics"))
    with serving(SimulatorOptions(content=rules)) as simulator:
        content = simulator.content
        geography, physics = content.stores.values()
        for store, name, text in (
            (geography, "france.txt", "The capital of France is Paris."),
            (geography, "italy.txt", "The capital of Italy is Rome."),
            (physics, "water.txt", "When heated, water does boil."),
        ):
            file = content.add_file(name, "assistants", text.encode())
            content.attach(store, file, {"name": name, "file_id": file.id})
        yield simulator


def config_of(
    simulator: Simulator, folder: Path, endpoint: str, retrieval: dict[str, Any], **request: Any
) -> dict[str, Any]:
    dataset = write_rows(folder / "data.jsonl", ROWS)
    params = {"temperature": 0}
    own = {"endpoint": endpoint, "params": params, "retrieval": retrieval, **request}
    return config_for(simulator, dataset, request=own)


def retrieved(run_dir: Path) -> dict[str, Any]:
    rows = by_sample(run_dir)
    return {
        name: None if row["retrieved"] is None else [tuple(one.values()) for one in row["retrieved"]]
        for name, row in rows.items()
    }


def bodies(run_dir: Path) -> dict[str, dict[str, Any]]:
    ids = {row["request_key"]: row["sample_id"] for row in table(run_dir)}
    return {ids[row["request_key"]]: orjson.loads(row["request"]) for row in table(run_dir, "raw")}


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_a_knowledge_base_for_the_run(endpoint: str, simulator: Simulator, tmp_path: Path) -> None:
    config = config_of(simulator, tmp_path, endpoint, {"knowledge_base": "vs-000001"})
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, sent) == (0, 3)
    found = retrieved(tmp_path / "run")
    assert found["paris"][0] == FRANCE
    assert found["rome"][0] == ITALY
    assert [one[0] for one in found["paris"]] == [1, 2]
    assert found["steam"] == []
    again, sent = run_again(config, tmp_path / "run", simulator)
    assert (again.ok, sent) == (3, 0)


@pytest.mark.parametrize("endpoint", ["chat", "responses", "logprobs"])
def test_a_knowledge_base_and_documents_for_each_sample(endpoint: str, simulator: Simulator, tmp_path: Path) -> None:
    retrieval = {"knowledge_base": "{{ kb }}", "documents": "{{ docs }}"}
    config = config_of(simulator, tmp_path, endpoint, retrieval)
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, sent) == (0, 3)
    found = retrieved(tmp_path / "run")
    assert found["paris"][0] == FRANCE
    assert found["rome"] == [ITALY]
    assert [one[1] for one in found["steam"]] == ["file-000005"]
    assert run_again(config, tmp_path / "run", simulator)[1] == 0


def test_what_chat_and_responses_are_sent(simulator: Simulator, tmp_path: Path) -> None:
    retrieval = {"knowledge_base": "{{ kb }}", "documents": "{{ docs }}"}
    runner.run(config_of(simulator, tmp_path, "chat", retrieval), run_dir=tmp_path / "chat")
    chat = bodies(tmp_path / "chat")
    assert (chat["rome"]["knowledge_base"], chat["rome"]["documents"]) == ("vs-000001", ["italy.txt"])
    assert "documents" not in chat["paris"]
    tools = [{"type": "file_search", "max_num_results": 2}]
    config = config_of(simulator, tmp_path, "responses", retrieval, params={"tools": tools})
    runner.run(config, run_dir=tmp_path / "responses")
    responses = bodies(tmp_path / "responses")
    assert responses["paris"]["tools"] == [{**tools[0], "vector_store_ids": ["vs-000001"]}]
    assert responses["rome"]["tools"][0]["filters"]["type"] == "or"
    assert responses["paris"]["include"] == ["file_search_call.results"]


def test_a_name_with_text_around_it_is_a_template_like_any_other(simulator: Simulator, tmp_path: Path) -> None:
    rows = [{**row, "number": number} for row, number in zip(ROWS, (1, 1, 2), strict=True)]
    config = config_of(simulator, tmp_path, "responses", {"knowledge_base": ["vs-00000{{ number }}"]})
    write_rows(tmp_path / "data.jsonl", rows)
    assert run_again(config, tmp_path / "run", simulator)[0].ok == 3
    assert retrieved(tmp_path / "run")["steam"][0][1] == "file-000005"


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_another_knowledge_base_is_another_question(endpoint: str, simulator: Simulator, tmp_path: Path) -> None:
    keys = []
    for number, retrieval in enumerate(
        ({}, {"knowledge_base": "vs-000001"}, {"knowledge_base": "vs-000002"}, {"knowledge_base": "{{ kb }}"})
    ):
        config = config_of(simulator, tmp_path, endpoint, retrieval)
        runner.run(config, run_dir=tmp_path / f"run{number}")
        rows = by_sample(tmp_path / f"run{number}")
        keys.append([rows[name]["key"] for name in ("paris", "steam")])
    (_, one, two, each) = keys
    assert len({key for pair in keys[:3] for key in pair}) == 6
    # The same body, however it came about, is the same question.
    assert each == [one[0], two[1]]


def test_a_run_folder_is_of_one_choice_and_a_changed_row_is_sent_again(simulator: Simulator, tmp_path: Path) -> None:
    config = config_of(simulator, tmp_path, "chat", {"knowledge_base": "{{ kb }}"})
    run_again(config, tmp_path / "run", simulator)
    other = config_of(simulator, tmp_path, "chat", {"knowledge_base": "vs-000001"})
    with pytest.raises(RunFolderError, match=r"request\.retrieval"):
        runner.run(other, run_dir=tmp_path / "run")
    write_rows(tmp_path / "data.jsonl", [{**ROWS[0], "kb": "vs-000002"}, *ROWS[1:]])
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.ok, summary.superseded, sent) == (3, 1, 1)
    assert retrieved(tmp_path / "run")["paris"] == []


def test_an_unknown_knowledge_base_fails_its_row_alone(simulator: Simulator, tmp_path: Path) -> None:
    config = config_of(simulator, tmp_path, "responses", {"knowledge_base": "{{ kb }}"})
    write_rows(tmp_path / "data.jsonl", [{**ROWS[0], "kb": "vs-999999"}, *ROWS[1:]])
    summary = runner.run(config, run_dir=tmp_path / "run")
    rows = by_sample(tmp_path / "run")
    assert (summary.exit_code, summary.failed) == (3, 1)
    assert "vs-999999" in rows["paris"]["error_message"]
    assert rows["paris"]["retrieved"] is None
    check_books(summary, simulator)


@pytest.mark.parametrize("value", [3, [], "", ["a", None], {"id": "a"}])
def test_a_row_whose_knowledge_base_is_none_stops_before_anything_is_sent(
    value: Any, simulator: Simulator, tmp_path: Path
) -> None:
    config = config_of(simulator, tmp_path, "responses", {"knowledge_base": "{{ kb }}"})
    write_rows(tmp_path / "data.jsonl", [ROWS[0], {**ROWS[1], "kb": value}])
    with pytest.raises(DatasetError, match=r"request\.retrieval\.knowledge_base: expected a text"):
        runner.run(config, run_dir=tmp_path / "run")
    assert sent_by(simulator) == 0
    config["dataset"]["on_bad_row"] = "skip"
    summary = runner.run(config, run_dir=tmp_path / "other")
    assert (summary.ok, summary.by_status["skipped"], sent_by(simulator)) == (1, 1, 1)


def test_a_row_without_one_is_asked_without_a_search(simulator: Simulator, tmp_path: Path) -> None:
    config = config_of(simulator, tmp_path, "responses", {"knowledge_base": "{{ kb }}"})
    write_rows(tmp_path / "data.jsonl", [ROWS[0], {**ROWS[1], "kb": None}])
    assert run_again(config, tmp_path / "run", simulator)[0].ok == 2
    assert "tools" not in bodies(tmp_path / "run")["rome"]
    assert retrieved(tmp_path / "run")["rome"] is None


@pytest.mark.parametrize(
    ("retrieval", "error", "message"),
    [
        ({"documents": "a"}, TemplateError, "request.retrieval.knowledge_base"),
        ({"knowledge_base": 7}, TemplateError, "request.retrieval.knowledge_base"),
        ({"knowledge_base": "{{ kb"}, TemplateError, "request.retrieval.knowledge_base"),
        ({"knowledge_base": "{{ kbb }}"}, TemplateError, "request.retrieval.knowledge_base: .*no column 'kbb'"),
    ],
)
def test_a_choice_that_cannot_be_meant_is_refused_at_once(
    retrieval: dict[str, Any], error: type[Exception], message: str, simulator: Simulator, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        runner.run(config_of(simulator, tmp_path, "responses", retrieval), run_dir=tmp_path / "run")
    assert sent_by(simulator) == 0


@pytest.mark.parametrize(
    ("request_section", "message"),
    [
        ({"endpoint": "completions", "prompt": "x"}, "request.retrieval.knowledge_base: is not used by"),
        ({"params": {"knowledge_base": "x"}}, "request.retrieval.knowledge_base: stands in request.params too"),
        ({"extra_body": {"knowledge_base": "x"}}, "stands in request.extra_body too"),
    ],
)
def test_a_choice_that_goes_nowhere_or_is_made_twice_is_refused(
    request_section: dict[str, Any], message: str, simulator: Simulator, tmp_path: Path
) -> None:
    config = config_of(simulator, tmp_path, "chat", {"knowledge_base": "vs-000001"})
    config["request"] |= request_section
    if "prompt" in request_section:
        del config["request"]["messages"]
    with pytest.raises(ConfigError, match=message):
        runner.run(config, run_dir=tmp_path / "run")


def test_lines_of_a_batch_file_say_themselves_where_to_look(simulator: Simulator, tmp_path: Path) -> None:
    config = config_of(simulator, tmp_path, "chat", {"knowledge_base": "vs-000001"})
    del config["request"]["messages"], config["dataset"]["id"], config["dataset"]["target"]
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": []}}
    write_rows(tmp_path / "data.jsonl", [line])
    with pytest.raises(UsageError, match=r"request\.retrieval"):
        runner.run(config, run_dir=tmp_path / "run")


def test_hostile_documents_cost_no_answer_and_show_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-planted-Ab3/x+Yz09q/Vv8=="
    monkeypatch.setenv("EVALRUNNER_TEST_KEY", key)
    strange: list[Any] = [
        [{"id": f"the key is {key}", "text": key, "score": 0.5}],
        [{"id": {"a": []}, "score": [[]]}, 5, None, [[[]]]],
        {"a": {"b": "c"}},
        [{"metadata": {"metadata": {"metadata": {"source": {"source": key}}}}}],
        [{"score": 10**30, "rank": 2**40, "text": "\ufeff\x00"}],
        [],
    ]
    rows = [{"id": f"{number}", "question": f"{number}"} for number in range(len(strange))]
    dataset = write_rows(tmp_path / "data.jsonl", rows)

    def answer(call: Call) -> Reply:
        message = {"content": "fine", "citations": strange[int(call.question)]}
        body = {"choices": [{"message": message}], "documents": strange[int(call.question)]}
        return Reply(body=orjson.dumps(body) if call.question != "4" else _with_big_numbers(message))

    with answering(answer) as base_url:
        config = {
            "name": "test",
            "dataset": {"path": str(dataset), "id": "id"},
            "model": {"base_url": base_url, "name": "m", "api_key_env": "EVALRUNNER_TEST_KEY"},
            "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
            "output": {"dir": str(tmp_path / "outputs")},
        }
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.ok) == (0, len(rows))
    found = retrieved(tmp_path / "run")
    assert found["0"] == [(1, "the key is [redacted]", 0.5, "[redacted]")]
    assert (found["1"], found["2"], found["5"]) == ([], None, [])
    assert found["4"] == [(1, None, 1e30, "\ufeff\x00")]
    assert find_leaks(key, tmp_path / "run") == []


def _with_big_numbers(message: dict[str, Any]) -> bytes:
    import json  # noqa: PLC0415 - it writes integers of any size

    return json.dumps({"choices": [{"message": message}]}).encode()
