"""`documents` against a real server, judged by the server's own books."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.simulate import ContentRules, SimulatorOptions
from tests.support.commands import evalrunner, finish, one_message, started
from tests.support.leaks import find_leaks
from tests.support.odd_server import Reply, answering
from tests.support.runs import write_config
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.commands import Finished
    from tests.support.odd_server import Call

Command = "Callable[..., Finished]"
KEY = "sk-planted-Ab3/x+Yz09q/Vv8=="


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with serving(SimulatorOptions(content=ContentRules(page=2, index_after=1))) as simulator:
        yield simulator


def change(simulator: Simulator, **rules: Any) -> None:
    simulator.change(SimulatorOptions(content=replace(simulator.content.rules, **rules)))


def config_at(base_url: str, folder: Path, **model: Any) -> Path:
    config = {
        "name": "rag",
        "dataset": {"path": "none.jsonl"},
        "model": {"base_url": base_url, "name": "m", **model},
        "request": {"timeout_s": {"connect": 5, "total": 20}},
        "retry": {"max_attempts": 3, "first_wait_s": 0.001, "max_wait_s": 0.01, "deadline_s": 20},
    }
    return write_config(folder / "config.yaml", config)


def write_docs(folder: Path, count: int) -> Path:
    docs = folder / "docs"
    docs.mkdir(exist_ok=True)
    for number in range(count):
        (docs / f"{number}.txt").write_text(f"document {number}", encoding="utf-8")
    return docs


def hashes(docs: Path) -> list[str]:
    return sorted(sha256(path.read_bytes()).hexdigest() for path in docs.iterdir())


def held(simulator: Simulator) -> list[str]:
    """The content of the first knowledge base, duplicates included."""
    return sorted(simulator.content.contents(next(iter(simulator.content.stores))).values())


# ---------------------------------------------------------------- add, list, delete


def test_from_nothing_to_nothing(simulator: Simulator, here: Callable[..., Finished], tmp_path: Path) -> None:
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 5)
    assert "no knowledge bases" in here("documents", "list", config).out
    added = here("documents", "add", config, docs, "-k", "handbook", "--create")
    assert added.code == 0
    assert "5 added" in added.out
    assert held(simulator) == hashes(docs)
    listed = here("documents", "list", config, "-k", "handbook", "--json").json
    assert sorted(one["name"] for one in listed["documents"]) == [f"{number}.txt" for number in range(5)]
    assert {one["status"] for one in listed["documents"]} == {"completed"}
    assert sorted(one["sha256"] for one in listed["documents"]) == hashes(docs)
    assert listed["knowledge_base"]["name"] == "handbook"
    identity = next(one["id"] for one in listed["documents"] if one["name"] == "0.txt")
    gone = here("documents", "delete", config, identity, "1.txt", "-k", "vs-000001", "--yes", "--json").json
    assert [one["result"] for one in gone["documents"]] == ["deleted", "deleted"]
    assert len(simulator.content.files) == len(held(simulator)) == 3
    rest = [f"{number}.txt" for number in (2, 3, 4)]
    assert here("documents", "delete", config, *rest, "-k", "handbook", "-y").code == 0
    assert simulator.content.files == {}
    assert "no documents in handbook" in here("documents", "list", config, "-k", "handbook").out


def test_what_is_there_is_not_sent_again_whatever_it_is_called(
    simulator: Simulator, here: Callable[..., Finished], tmp_path: Path
) -> None:
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 5)
    here("documents", "add", config, docs, "-k", "handbook", "--create")
    (docs / "3.txt").rename(docs / "renamed.txt")
    (docs / "new.txt").write_text("something new", encoding="utf-8")
    again = here("documents", "add", config, docs, "-k", "handbook", "--create", "--json").json
    assert again["counts"] == {"present": 5, "added": 1}
    assert {one["name"]: one["message"] for one in again["documents"]}["renamed.txt"] == "as 3.txt"
    assert simulator.content.done("upload") == 6
    assert simulator.content.done("create") == 1
    assert held(simulator) == hashes(docs)


def test_the_knowledge_base_of_the_config_is_the_default(
    simulator: Simulator, here: Callable[..., Finished], tmp_path: Path
) -> None:
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 1)
    base = "--set=request.retrieval.knowledge_base=handbook"
    assert here("documents", "add", config, docs, base, "--create").code == 0
    assert "0.txt" in here("documents", "list", config, base).out
    template = "--set=request.retrieval.knowledge_base='{{ kb }}'"
    assert "handbook" in here("documents", "list", config, template).out
    assert "which knowledge base?" in one_message(here("documents", "add", config, docs, template))


def test_a_dry_run_changes_nothing(simulator: Simulator, here: Callable[..., Finished], tmp_path: Path) -> None:
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 2)
    plan = here("documents", "add", config, docs, "-k", "handbook", "--create", "--dry-run")
    assert plan.code == 0
    assert "Nothing was changed." in plan.out
    assert simulator.content.log == []
    here("documents", "add", config, docs, "-k", "handbook", "--create")
    done = list(simulator.content.log)
    (docs / "2.txt").write_text("more", encoding="utf-8")
    told = here("documents", "add", config, docs, "-k", "handbook", "--dry-run", "--json").json
    assert [one["would"] for one in told["documents"]] == ["present", "present", "upload"]
    assert told["bytes_to_send"] == 4
    gone = here("documents", "delete", config, "0.txt", "-k", "handbook", "--dry-run", "--json").json
    assert gone["documents"][0]["would_be"] == "deleted"
    assert simulator.content.log == done


def test_files_of_others_are_taken_out_and_not_deleted(
    simulator: Simulator, here: Callable[..., Finished], tmp_path: Path
) -> None:
    config = config_at(simulator.base_url, tmp_path)
    store = simulator.content.add_store("handbook")
    file = simulator.content.add_file("theirs.pdf", "assistants", b"text")
    simulator.content.attach(store, file, {})
    assert "theirs.pdf" in here("documents", "list", config, "-k", "handbook").out
    gone = here("documents", "delete", config, "theirs.pdf", "-k", "handbook", "--yes")
    assert gone.out.startswith("detached")
    assert (list(simulator.content.files), store.entries) == ([file.id], {})


def test_deleting_wants_to_be_confirmed(simulator: Simulator, here: Callable[..., Finished], tmp_path: Path) -> None:
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 1)
    here("documents", "add", config, docs, "-k", "handbook", "--create")
    refused = here("documents", "delete", config, "0.txt", "-k", "handbook")
    assert refused.code == 2
    assert "--yes is needed" in one_message(refused)
    assert len(held(simulator)) == 1


# ---------------------------------------------------------------- interruption


@pytest.mark.parametrize("fault", ["hang", "hang_after"])
def test_an_add_that_is_killed_sends_only_the_rest_when_it_is_repeated(
    fault: str, simulator: Simulator, tmp_path: Path
) -> None:
    change(simulator, upload_faults={6: fault}, index_after=0)
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 10)
    command = ("documents", "add", config, docs, "-k", "handbook", "--create")
    with started(*command, cwd=tmp_path) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(9)]
        assert all(line.startswith("added") for line in lines), lines
        process.kill()
    done = simulator.content.done("attach")
    assert done == 9
    again = evalrunner(*command, "--json", cwd=tmp_path).json
    assert again["counts"] == {"present": 9, "added": 1}
    assert held(simulator) == hashes(docs)
    assert simulator.content.done("upload") == (10 if fault == "hang" else 11)


def test_ctrl_c_says_how_to_go_on(simulator: Simulator, tmp_path: Path) -> None:
    change(simulator, upload_faults={2: "hang"}, index_after=0)
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 3)
    command = ("documents", "add", config, docs, "-k", "handbook", "--create")
    with started(*command, cwd=tmp_path) as process:
        assert process.stderr is not None
        assert [process.stderr.readline()[:5] for _ in range(2)] == ["added"] * 2
        os.kill(process.pid, signal.SIGINT)
        ended = finish(process)
    assert ended.code == 130
    assert "the same command does the rest" in ended.err
    assert evalrunner(*command, cwd=tmp_path).code == 0
    assert held(simulator) == hashes(docs)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("faults", "uploads"),
    [({1: "500"}, 3), ({1: "cut"}, 3), ({2: "cut", 4: "500"}, 3), ({3: "500_after"}, 4)],
)
def test_a_broken_upload_is_repeated_and_nothing_is_there_twice(
    faults: dict[int, str], uploads: int, simulator: Simulator, here: Callable[..., Finished], tmp_path: Path
) -> None:
    change(simulator, upload_faults=faults)
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 3)
    assert here("documents", "add", config, docs, "-k", "handbook", "--create").code == 0
    assert held(simulator) == hashes(docs)
    assert simulator.content.done("upload") == uploads


def test_a_file_that_is_refused_or_cannot_be_indexed_has_failed(
    simulator: Simulator, here: Callable[..., Finished], tmp_path: Path
) -> None:
    change(simulator, largest_file_bytes=100)
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 2)
    (docs / "large.txt").write_bytes(b"x" * 101)
    (docs / "unreadable.bin").write_bytes(b"\x00")
    told = here("documents", "add", config, docs, "-k", "handbook", "--create", "--json")
    assert told.code == told.json["exit_code"] == 3
    results = {one["name"]: (one["result"], one["message"]) for one in told.json["documents"]}
    assert results["0.txt"] == results["1.txt"] == ("added", None)
    assert results["large.txt"][0] == "failed"
    assert "413" in results["large.txt"][1]
    assert results["unreadable.bin"] == ("failed", "The file cannot be read.")


def test_indexing_that_takes_too_long_is_incomplete(
    simulator: Simulator, here: Callable[..., Finished], tmp_path: Path
) -> None:
    change(simulator, index_after=1_000_000)
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 2)
    add = ("documents", "add", config, docs, "-k", "handbook", "--create", "--wait-s", "0.2", "--json")
    told = here(*add)
    assert (told.code, told.json["counts"]) == (6, {"pending": 2})
    for entry in next(iter(simulator.content.stores.values())).entries.values():
        entry.polls_left = 1
    again = here(*add[:-3], "--json")
    assert (again.code, again.json["counts"]) == (0, {"present": 2})
    assert simulator.content.done("upload") == 2


def test_a_large_file_is_streamed_and_arrives_as_it_is(
    simulator: Simulator, here: Callable[..., Finished], tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / 'odd "name"\n ünï.bin').write_bytes(os.urandom(5_000_001))
    config = config_at(simulator.base_url, tmp_path)
    assert here("documents", "add", config, docs, "-k", "handbook", "--create").code == 0
    assert held(simulator) == hashes(docs)
    too_large = here("documents", "add", config, docs, "-k", "handbook", "--max-mib", "4")
    assert too_large.code == 2
    assert "larger than 4 MiB" in one_message(too_large)


@pytest.mark.parametrize("fault", ["duplicates", "endless"])
def test_lists_that_repeat_themselves(
    fault: str, simulator: Simulator, here: Callable[..., Finished], tmp_path: Path
) -> None:
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 5)
    here("documents", "add", config, docs, "-k", "handbook", "--create")
    change(simulator, list_fault=fault)
    told = here("documents", "list", config, "-k", "vs-000001", "--json")
    if fault == "endless":
        assert (told.code, told.json["error"]["code"]) == (6, "invalid_response")
        assert "repeat themselves" in told.json["error"]["message"]
    else:
        assert sorted(one["name"] for one in told.json["documents"]) == [f"{number}.txt" for number in range(5)]


# ---------------------------------------------------------------- clear errors


def test_an_unknown_knowledge_base_names_those_that_are_there(
    simulator: Simulator, here: Callable[..., Finished], tmp_path: Path
) -> None:
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 1)
    for name in ("one", "two", "two"):
        simulator.content.add_store(name)
    for command in (("list", config), ("add", config, docs), ("delete", config, "x", "--yes")):
        told = here("documents", *command, "-k", "three")
        assert told.code == 2
        assert "no knowledge base has the id or name 'three'" in one_message(told)
        assert "one (vs-000001), two (vs-000002)" in told.err
    assert "2 knowledge bases are called 'two'" in one_message(here("documents", "list", config, "-k", "two"))
    assert here("documents", "list", config, "-k", "vs-000002").code == 0


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../files", "x?y=1", "%2e%2e", "ü b", "\u202ex", "#"])
def test_a_strange_name_is_only_a_name(
    name: str, simulator: Simulator, here: Callable[..., Finished], tmp_path: Path
) -> None:
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 1)
    assert here("documents", "list", config, "-k", name).code == 2
    assert here("documents", "add", config, docs, "-k", name, "--create").code == 0
    assert here("documents", "delete", config, "0.txt", "-k", name, "--yes").code == 0
    assert [entry[0] for entry in simulator.content.log] == ["create", "upload", "attach", "detach", "delete"]


def test_documents_that_several_or_none_are_called(
    simulator: Simulator, here: Callable[..., Finished], tmp_path: Path
) -> None:
    config, docs = config_at(simulator.base_url, tmp_path), write_docs(tmp_path, 1)
    here("documents", "add", config, docs, "-k", "handbook", "--create")
    (docs / "0.txt").write_text("another version", encoding="utf-8")
    second = here("documents", "add", config, docs, "-k", "handbook")
    assert "has this name and other content, and stays" in second.out
    told = here("documents", "delete", config, "0.txt", "nothing", "-k", "handbook", "--yes")
    assert told.code == 2
    assert "2 documents are called '0.txt'" in told.err
    assert "no document has the id or name 'nothing'" in told.err
    assert len(held(simulator)) == 2


def test_a_server_that_is_not_there_or_has_no_content_or_another_key(
    simulator: Simulator, here: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = write_docs(tmp_path, 1)
    nobody = config_at("http://127.0.0.1:9/v1", tmp_path)
    assert here("documents", "list", nobody).code == 6
    monkeypatch.setenv("EVALRUNNER_TEST_KEY", KEY)
    simulator.change(SimulatorOptions(api_keys=("sk-other",), echo_key="full"))
    config = config_at(simulator.base_url, tmp_path, api_key_env="EVALRUNNER_TEST_KEY")
    for command in (("list", config), ("add", config, docs, "-k", "x"), ("delete", config, "x", "-k", "x", "--yes")):
        told = here("documents", *command)
        assert told.code == 5
        assert "[redacted]" in told.err
        assert find_leaks(KEY, tmp_path, told.out, told.err) == []
    with answering(lambda _: Reply(404, b'{"detail":"Not Found"}')) as base_url:
        told = here("documents", "list", config_at(base_url, tmp_path), "-k", "x", "--json")
    assert (told.code, told.json["error"]["code"]) == (5, "not_found")


def test_what_has_no_knowledge_bases_says_so(here: Callable[..., Finished], tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "config.yaml",
        {"name": "x", "dataset": {"path": "x.jsonl"}, "model": {"embedded": "smollm2-135m"}},
    )
    told = here("documents", "list", config)
    assert told.code == 2
    assert "an embedded model has no knowledge bases" in one_message(told)


def test_a_pool_has_no_knowledge_bases_in_common(here: Callable[..., Finished], tmp_path: Path) -> None:
    pool = [{"url": "http://127.0.0.1:1/v1"}, {"url": "http://127.0.0.1:2/v1"}]
    config = {"name": "x", "dataset": {"path": "x.jsonl"}, "model": {"base_url": pool, "name": "m"}}
    told = here("documents", "list", write_config(tmp_path / "config.yaml", config))
    assert told.code == 2
    assert "each server of a pool has knowledge bases of its own" in one_message(told)


ODD: list[Any] = [
    [],
    {},
    {"data": None},
    {"data": {"id": "x"}},
    {"data": [1, None, [], {"id": None}, {"id": "."}, {"id": "x" * 1000}, {"id": "a\nb"}]},
    {"data": [{"id": "f1", "status": [], "attributes": [], "last_error": 3, "created_at": 1e300, "usage_bytes": -1}]},
    {"data": [{"id": "f1", "status": "failed", "last_error": {"message": KEY}, "attributes": {"name": KEY}}]},
    {"data": [{"id": "f1", "created_at": 2**62, "attributes": {"name": "\x1b[2J\u202ex", "size_bytes": 2.0}}]},
    {"data": [{"id": "f1"}], "has_more": True, "last_id": None},
    {"error": {"message": f"wrong: {KEY}", "code": 400}},
]


@pytest.mark.parametrize("body", ODD)
def test_odd_answers_are_listed_or_refused_and_show_no_key(
    body: Any, here: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALRUNNER_TEST_KEY", KEY)

    def answer(call: Call) -> Reply:
        found = {"id": "kb"} if call.path.endswith("/kb") else body
        return Reply(body=orjson.dumps(found), headers={"Content-Type": "application/json"})

    with answering(answer) as base_url:
        config = config_at(base_url, tmp_path, api_key_env="EVALRUNNER_TEST_KEY")
        for options in ((), ("--json",)):
            told = here("documents", "list", config, "-k", "kb", *options)
            assert told.code in {0, 5, 6}, told
            assert find_leaks(KEY, tmp_path, told.out, told.err) == []


def test_the_help_says_what_there_is(here: Callable[..., Finished]) -> None:
    whole = here("documents", "--help").out
    assert all(name in whole for name in ("list", "add", "delete", "request.retrieval"))
    for name in ("list", "add", "delete"):
        shown = here("documents", name, "--help")
        assert shown.code == 0
        assert "--knowledge-base" in shown.out
