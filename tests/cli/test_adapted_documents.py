"""`documents` through an adapter, against servers of shapes of their own, judged by the servers' own books."""

from __future__ import annotations

import copy
import json
import os
import signal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.support.commands import evalrunner, finish, one_message, started
from tests.support.leaks import find_leaks
from tests.support.library import ADAPTER, library
from tests.support.odd_server import Reply
from tests.support.runs import by_sample, write_config, write_rows
from tests.support.vendors import says, vendor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.commands import Finished
    from tests.support.library import Library
    from tests.support.vendors import Seen

Command = "Callable[..., Finished]"
KEY = "card-planted-Ab3/x+Yz09q=="


@pytest.fixture
def shelves() -> Iterator[Library]:
    with library() as running:
        yield running


def config_at(root: str, folder: Path, documents: dict[str, Any] | None = None, **model: Any) -> Path:
    """Write an adapter, its `documents` replaced if a test has its own, and a config that uses it."""
    adapter = copy.deepcopy(ADAPTER)
    if documents is not None:
        adapter["documents"] = documents
    (folder / "library.yaml").write_text(json.dumps(adapter), encoding="utf-8")
    config = {
        "name": "rag",
        "dataset": {"path": "rows.jsonl", "id": "id"},
        "model": {"base_url": root, "name": "m", "adapter": "library.yaml", **model},
        "request": {
            "messages": [{"role": "user", "content": "{{ question }}"}],
            "timeout_s": {"connect": 5, "total": 20},
        },
        "retry": {"max_attempts": 3, "first_wait_s": 0.001, "max_wait_s": 0.01, "deadline_s": 20},
        "output": {"dir": "outputs"},
    }
    return write_config(folder / "config.yaml", config)


def write_docs(folder: Path, count: int) -> Path:
    docs = folder / "docs"
    (docs / "deep").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (docs / "deep" / f"{number}.txt").write_text(f"document {number}", encoding="utf-8")
    return docs


def hashes(docs: Path) -> list[str]:
    return sorted(sha256(path.read_bytes()).hexdigest() for path in docs.rglob("*") if path.is_file())


# ---------------------------------------------------------------- a server with metadata


def test_from_nothing_to_nothing(shelves: Library, here: Callable[..., Finished], tmp_path: Path) -> None:
    config, docs = config_at(shelves.root, tmp_path), write_docs(tmp_path, 5)
    assert "no knowledge bases" in here("documents", "list", config).out
    added = here("documents", "add", config, docs, "-k", "handbook", "--create")
    assert (added.code, shelves.titles) == (0, {"shelf 1/a": "handbook"})
    assert "5 added" in added.out
    assert shelves.contents("shelf 1/a") == hashes(docs)
    assert here("documents", "list", config, "--json").json["knowledge_bases"][0]["documents"] == 5
    listed = here("documents", "list", config, "-k", "handbook", "--json").json["documents"]
    assert sorted(one["sha256"] for one in listed) == hashes(docs)
    assert {(one["status"], one["size_bytes"], one["created_at"]) for one in listed} == {("completed", 10, 1795334400)}
    identity = next(one["id"] for one in listed if one["name"] == "deep/0.txt")
    gone = here("documents", "delete", config, identity, "deep/1.txt", "-k", "shelf 1/a", "--yes", "--json").json
    assert [one["result"] for one in gone["documents"]] == ["deleted", "deleted"]
    assert len(shelves.contents("shelf 1/a")) == 3
    rest = [f"deep/{number}.txt" for number in (2, 3, 4)]
    assert here("documents", "delete", config, *rest, "-k", "handbook", "-y").code == 0
    assert "no documents in handbook" in here("documents", "list", config, "-k", "handbook").out


def test_content_decides_and_names_do_not(shelves: Library, here: Callable[..., Finished], tmp_path: Path) -> None:
    config, docs = config_at(shelves.root, tmp_path), write_docs(tmp_path, 5)
    here("documents", "add", config, docs, "-k", "handbook", "--create")
    (docs / "deep/3.txt").rename(docs / "renamed.txt")
    (docs / "new.txt").write_text("something new", encoding="utf-8")
    (docs / "deep/0.txt").write_text("document X", encoding="utf-8")  # the same name and size
    plan = here("documents", "add", config, docs, "-k", "handbook", "--dry-run", "--json").json
    assert sorted(one["would"] for one in plan["documents"]) == ["present"] * 4 + ["upload"] * 2
    assert shelves.uploads == 5
    again = here("documents", "add", config, docs, "-k", "handbook", "--create", "--json").json
    assert again["counts"] == {"present": 4, "added": 2}
    assert {one["name"]: one["message"] for one in again["documents"]}["renamed.txt"] == "as deep/3.txt"
    assert (shelves.uploads, len(shelves.shelves)) == (7, 1)


def test_documents_of_others_are_listed_and_deleted_like_any(
    shelves: Library, here: Callable[..., Finished], tmp_path: Path
) -> None:
    config = config_at(shelves.root, tmp_path)
    shelves.put(shelves.new_shelf("handbook"), "theirs.pdf", b"text")
    assert "theirs.pdf" in here("documents", "list", config, "-k", "handbook").out
    gone = here("documents", "delete", config, "theirs.pdf", "-k", "handbook", "--yes")
    assert gone.out.startswith("deleted")
    assert shelves.log[-1] == "drop theirs.pdf"


@pytest.mark.parametrize(
    ("faults", "uploads"), [({1: "500"}, 4), ({2: "500_after"}, 3), ({1: "cut_after", 2: "500"}, 4)]
)
def test_what_arrived_without_an_answer_is_not_sent_again(
    faults: dict[int, str], uploads: int, shelves: Library, here: Callable[..., Finished], tmp_path: Path
) -> None:
    shelves.faults = faults
    config, docs = config_at(shelves.root, tmp_path), write_docs(tmp_path, 3)
    told = here("documents", "add", config, docs, "-k", "handbook", "--create", "--json")
    assert (told.code, told.json["counts"]) == (0, {"added": 3})
    assert shelves.contents("shelf 1/a") == hashes(docs)
    assert shelves.uploads == uploads


def test_a_killed_add_sends_only_the_rest_when_it_is_repeated(shelves: Library, tmp_path: Path) -> None:
    shelves.polls = 0
    config, docs = config_at(shelves.root, tmp_path), write_docs(tmp_path, 8)
    command = ("documents", "add", config, docs, "-k", "handbook", "--create")
    with started(*command, cwd=tmp_path) as process:
        assert process.stderr is not None
        process.stderr.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    evalrunner(*command, cwd=tmp_path)
    again = evalrunner(*command, "--json", cwd=tmp_path)
    assert again.json["counts"] == {"present": 8}
    assert shelves.contents("shelf 1/a") == hashes(docs)


def test_ctrl_c_says_how_to_go_on(shelves: Library, tmp_path: Path) -> None:
    shelves.polls = 1_000_000
    config, docs = config_at(shelves.root, tmp_path), write_docs(tmp_path, 1)
    with started("documents", "add", config, docs, "-k", "x", "--create", cwd=tmp_path) as process:
        assert shelves.kept.wait(30)
        os.kill(process.pid, signal.SIGINT)
        ended = finish(process)
    assert ended.code == 130
    assert "the same command does the rest" in ended.err


def test_a_file_that_is_refused_or_cannot_be_indexed_has_failed(
    shelves: Library, here: Callable[..., Finished], tmp_path: Path
) -> None:
    config, docs = config_at(shelves.root, tmp_path), write_docs(tmp_path, 1)
    (docs / "torn.bin").write_bytes(b"\x00")
    told = here("documents", "add", config, docs, "-k", "handbook", "--create", "--json")
    assert told.code == told.json["exit_code"] == 3
    results = {one["name"]: (one["result"], one["message"]) for one in told.json["documents"]}
    assert results == {"deep/0.txt": ("added", None), "torn.bin": ("failed", "the pages are torn")}
    again = here("documents", "add", config, docs, "-k", "handbook", "--json")
    assert again.json["counts"] == {"present": 1, "failed": 1}
    assert shelves.log[-2:] == ["drop torn.bin", "put torn.bin"]
    shelves.faults = {shelves.uploads + 1: "413"}
    (docs / "large.txt").write_text("large", encoding="utf-8")
    told = here("documents", "add", config, docs / "large.txt", "-k", "handbook", "--json")
    assert (told.code, told.json["documents"][0]["message"]) == (3, "HTTP 413: as the test says")


def test_an_error_that_the_adapter_calls_a_quota_ends_the_command(
    shelves: Library, here: Callable[..., Finished], tmp_path: Path
) -> None:
    shelves.faults = dict.fromkeys(range(1, 100), "full")
    config, docs = config_at(shelves.root, tmp_path), write_docs(tmp_path, 20)
    told = here("documents", "add", config, docs, "-k", "handbook", "--create", "--json")
    assert (told.code, told.json["error"]["code"]) == (5, "quota")
    assert told.json["error"]["message"] == "HTTP 400: no room is left"
    assert shelves.uploads <= 4


def test_what_was_not_indexed_and_cannot_be_deleted_has_failed(
    shelves: Library, here: Callable[..., Finished], tmp_path: Path
) -> None:
    documents = {name: value for name, value in ADAPTER["documents"].items() if name != "delete"}
    config, docs = config_at(shelves.root, tmp_path, documents), write_docs(tmp_path, 0)
    (docs / "torn.bin").write_bytes(b"\x00")
    for message in ("the pages are torn", "was not indexed, and the adapter has no documents.delete"):
        told = here("documents", "add", config, docs, "-k", "handbook", "--create", "--json")
        assert (told.code, shelves.uploads) == (3, 1)
        assert message in told.json["documents"][0]["message"]


def test_indexing_that_takes_too_long_is_incomplete(
    shelves: Library, here: Callable[..., Finished], tmp_path: Path
) -> None:
    shelves.polls = 1_000_000
    documents = copy.deepcopy(ADAPTER["documents"])
    documents["document"]["states"] = {"shelved": "completed"}
    config, docs = config_at(shelves.root, tmp_path, documents), write_docs(tmp_path, 1)
    told = here("documents", "add", config, docs, "-k", "x", "--create", "--wait-s", "0.05", "--json")
    assert (told.code, told.json["counts"]) == (6, {"pending": 1})
    assert "(the server says: binding)" in told.json["documents"][0]["message"]


def test_without_get_the_list_tells_how_far_a_document_is(
    shelves: Library, here: Callable[..., Finished], tmp_path: Path
) -> None:
    shelves.polls = 3
    documents = {name: value for name, value in ADAPTER["documents"].items() if name != "get"}
    config, docs = config_at(shelves.root, tmp_path, documents), write_docs(tmp_path, 1)
    assert "1 added" in here("documents", "add", config, docs, "-k", "x", "--create").out
    assert shelves.pages == 3  # and the answer to the add had shown it, too


def test_what_an_add_put_there_is_what_a_run_finds(
    shelves: Library, here: Callable[..., Finished], tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "france.txt").write_text("The capital of France is Paris.", encoding="utf-8")
    (docs / "italy.txt").write_text("The capital of Italy is Rome.", encoding="utf-8")
    rows = [
        {"id": "a", "question": "capital of France", "docs": None},
        {"id": "b", "question": "capital of France", "docs": ["italy.txt"]},
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    config = config_at(shelves.root, tmp_path)
    base = "--set=request.retrieval.knowledge_base='shelf 1/a'"
    here("documents", "add", config, docs, "-k", "handbook", "--create")
    assert here("documents", "list", config, base).out.count("completed") == 2
    only = "--set=request.retrieval.documents='{{ docs }}'"
    in_order = "--set=limits.max_in_flight=1"
    assert here("run", config, base, only, in_order, "--run-dir", tmp_path / "run", "-q").code == 0
    found = {name: row["retrieved"] for name, row in by_sample(tmp_path / "run").items()}
    assert [one["text"] for one in found["a"]] == [
        "The capital of France is Paris.",
        "The capital of Italy is Rome.",
    ]
    assert [(one["rank"], one["text"]) for one in found["b"]] == [(1, "The capital of Italy is Rome.")]
    refs = {paper.title: paper.ref for paper in shelves.shelves["shelf 1/a"].values()}
    assert found["a"][0]["id"] == refs["france.txt"]
    assert [one.get("only") for one in shelves.asked] == [None, ["italy.txt"]]


# ---------------------------------------------------------------- a server with JSON bodies and ids of the client's

PLAIN: dict[str, Any] = {
    "list": {"path": "/all", "query": {"limit": "2", "skip": "{{ offset }}"}},
    "add": {
        "path": "/put",
        "method": "PUT",
        "id": "{{ sha256 }}",
        "body": [{"id": "{{ sha256 }}", "text": "{{ text }}", "raw": "{{ base64 }}", "title": "{{ name }}"}],
    },
    "delete": {"method": "POST", "path": "/drop", "body": ["{{ id }}"]},
    "index": {"method": "GET", "path": "/index"},
    "document": {"id": "id", "name": "title", "sha256": "id"},
}


class Plain:
    """A server with one collection, whose list is found only once it is told to index."""

    def __init__(self) -> None:
        self.added: list[dict[str, Any]] = []
        self.held: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []

    def __call__(self, seen: Seen) -> Reply:
        self.calls.append(f"{seen.method} {seen.path}")
        if seen.path == "/all":
            skip = int(dict(seen.query)["skip"])
            return says(list(self.held.values())[skip : skip + 2])
        if seen.path == "/put":
            self.added += seen.body
            return Reply(body=b"kept")
        if seen.path == "/index":
            self.held |= {one["id"]: one for one in self.added}
            return says(None)
        found = self.held.pop(seen.body[0], None)
        return Reply(204 if found else 404)


def test_a_server_of_one_collection_without_a_name(here: Callable[..., Finished], tmp_path: Path) -> None:
    plain, docs = Plain(), write_docs(tmp_path, 5)
    with vendor(plain) as server:
        config = config_at(server.root, tmp_path, PLAIN)
        assert "no documents in library" in here("documents", "list", config).out
        assert "5 added" in here("documents", "add", config, docs).out
        assert plain.calls[1:] == ["GET /all", *["PUT /put"] * 5, "GET /index"]
        assert sorted(plain.held) == hashes(docs)
        assert {one["text"] for one in plain.held.values()} == {f"document {number}" for number in range(5)}
        assert {one["raw"] for one in plain.held.values()} >= {"ZG9jdW1lbnQgMA=="}
        assert "5 present" in here("documents", "add", config, docs).out
        assert plain.calls.count("PUT /put") == 5
        assert here("documents", "list", config).out.count("deep/") == 5
        gone = here("documents", "delete", config, "deep/0.txt", "--yes")
        assert gone.out.startswith("deleted")
        assert len(plain.held) == 4
        refused = here("documents", "list", config, "-k", "handbook")
        assert refused.code == 2
        assert "one collection of documents, which has no name" in one_message(refused)


def test_what_is_no_text_or_too_large_for_a_body_has_failed(here: Callable[..., Finished], tmp_path: Path) -> None:
    docs = write_docs(tmp_path, 1)
    (docs / "binary.bin").write_bytes(b"\xff\xfe\x00")
    (docs / "large.txt").write_bytes(b"x" * ((16 << 20) + 1))
    with vendor(Plain()) as server:
        told = here("documents", "add", config_at(server.root, tmp_path, PLAIN), docs, "--json")
    assert told.code == 3
    assert {one["name"]: one["message"] for one in told.json["documents"]} == {
        "deep/0.txt": None,
        "binary.bin": "binary.bin: is no text in UTF-8",
        "large.txt": "large.txt: larger than 16 MiB, the most that goes into a JSON body",
    }


def test_a_hash_in_the_name_is_read_out_of_it(here: Callable[..., Finished], tmp_path: Path) -> None:
    held: list[str] = []

    def answer(seen: Seen) -> Reply:
        if seen.method == "POST":
            held.append(seen.body["file"])
            return says({"number": len(held)})
        page = int(dict(seen.query)["p"])
        return says({"files": [{"number": 1, "file": held[0]}] if held and page == 0 else [], "more": False})

    documents = {
        "list": {
            "path": "/{{ knowledge_base }}",
            "query": {"p": "{{ page }}"},
            "first_page": 0,
            "items": "files",
            "next": "more",
        },
        "add": {"path": "/{{ knowledge_base }}", "body": {"file": "{{ sha256 }}-{{ name }}", "of": "{{ text }}"}},
        "document": {"id": "number", "name": "file", "sha256": "file"},
    }
    docs = write_docs(tmp_path, 1)
    with vendor(answer) as server:
        config = config_at(server.root, tmp_path, documents)
        assert "1 added" in here("documents", "add", config, docs, "-k", "a b").out
        listed = here("documents", "list", config, "-k", "a b", "--json").json["documents"]
        assert "1 present" in here("documents", "add", config, docs, "-k", "a b").out
        assert {one.path for one in server.seen} == {"/a%20b"}
        no_way = here("documents", "delete", config, "deep/0.txt", "-k", "a b", "--yes")
        unnamed = here("documents", "list", config)
    assert held == [f"{hashes(docs)[0]}-deep/0.txt"]
    assert [(one["id"], one["name"], one["sha256"]) for one in listed] == [("1", "deep/0.txt", hashes(docs)[0])]
    assert "the adapter library has no documents.delete" in one_message(no_way)
    assert "the adapter library has no documents.knowledge_bases.list" in one_message(unnamed)


def test_an_answer_without_an_id_is_looked_up_in_the_list(here: Callable[..., Finished], tmp_path: Path) -> None:
    held: list[dict[str, Any]] = []

    def answer(seen: Seen) -> Reply:
        if seen.method == "POST":
            held.append({**seen.body, "n": len(held)})
            return says({"ok": True})
        return says([] if seen.path == "/blind" else held)

    def documents(path: str) -> dict[str, Any]:
        add = {"path": path, "body": {"h": "{{ sha256 }}", "t": "{{ text }}"}}
        return {"list": {"path": path}, "add": add, "document": {"id": "n", "sha256": "h"}}

    docs = write_docs(tmp_path, 1)
    with vendor(answer) as server:
        told = here("documents", "add", config_at(server.root, tmp_path, documents("/seeing")), docs, "--json")
        assert [(one["id"], one["result"]) for one in told.json["documents"]] == [("0", "added")]
        blind = here("documents", "add", config_at(server.root, tmp_path, documents("/blind")), docs, "--json")
    assert (blind.code, len(held)) == (3, 2)
    assert "neither the answer nor the list names the new document" in blind.json["documents"][0]["message"]


# ---------------------------------------------------------------- clear errors, hostile answers


def test_an_adapter_without_documents_and_a_key_that_is_refused(
    shelves: Library, here: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_at(shelves.root, tmp_path, api_key_env="LIBRARY_CARD")
    monkeypatch.setenv("LIBRARY_CARD", KEY)
    here("documents", "list", config)
    assert shelves.cards == {KEY}
    shelves.card = "another"
    docs = write_docs(tmp_path, 1)
    for command in (("list", config), ("add", config, docs, "-k", "x"), ("delete", config, "x", "-k", "x", "--yes")):
        told = here("documents", *command)
        assert told.code == 5
        assert "no such card: [redacted]" in told.err
        assert find_leaks(KEY, tmp_path, told.out, told.err) == []
    adapter = {name: value for name, value in ADAPTER.items() if name != "documents"}
    (tmp_path / "library.yaml").write_text(json.dumps(adapter), encoding="utf-8")
    told = here("documents", "list", config)
    assert told.code == 2
    assert "the adapter library does not say how documents are listed" in one_message(told)


def test_an_unknown_knowledge_base_names_those_that_are_there(
    shelves: Library, here: Callable[..., Finished], tmp_path: Path
) -> None:
    config = config_at(shelves.root, tmp_path)
    for name in ("one", "two", "two"):
        shelves.new_shelf(name)
    told = here("documents", "list", config, "-k", "three")
    assert told.code == 2
    assert "one (shelf 1/a), two (shelf 2/a)" in told.err
    assert "2 knowledge bases are called 'two'" in one_message(here("documents", "list", config, "-k", "two"))
    assert here("documents", "list", config, "-k", "shelf 2/a").code == 0


def test_pages_that_never_end_are_refused(shelves: Library, here: Callable[..., Finished], tmp_path: Path) -> None:
    key = shelves.new_shelf("handbook")
    for number in range(5):
        shelves.put(key, f"{number}", b"x")
    config = config_at(shelves.root, tmp_path)
    assert len(here("documents", "list", config, "-k", "handbook", "--json").json["documents"]) == 5
    assert shelves.pages == 3
    shelves.endless = True
    told = here("documents", "list", config, "-k", "handbook", "--json")
    assert (told.code, told.json["error"]["code"]) == (6, "invalid_response")
    assert "documents.list: the pages of the list repeat themselves" in told.json["error"]["message"]


@pytest.mark.parametrize("by", ["cursor", "page", "offset"])
def test_pages_that_are_always_the_same_end_the_command(by: str, here: Callable[..., Finished], tmp_path: Path) -> None:
    def answer(seen: Seen) -> Reply:
        return says({"all": [{"id": "a"}], "next": f"c{seen.number}"})

    listing = {"path": "/all", "query": {"at": f"{{{{ {by} }}}}"}, "items": "all", "next": "next"}
    documents = {"list": listing, "document": {"id": "id"}}
    with vendor(answer) as server:
        told = here("documents", "list", config_at(server.root, tmp_path, documents))
        assert len(server.seen) == 2
    assert told.code == 6
    assert "repeat themselves" in one_message(told)


ODD: list[Any] = [
    None,
    [],
    {},
    {"papers": None},
    {"papers": {"ref": "x"}},
    {"papers": [1, None, [], {"ref": None}, {"ref": "."}, {"ref": "x" * 1000}, {"ref": "a\nb"}, {"ref": {"a": 1}}]},
    {"papers": [{"ref": "p1", "state": [], "labels": [], "why": 3, "since": 1e300, "bytes": -1}]},
    {"papers": [{"ref": "p1", "state": KEY, "why": KEY, "title": KEY, "labels": {"checksum": KEY}}]},
    {"papers": [{"ref": 2**70, "since": "\x1b[2J\u202ex", "title": "\x1b[2J\u202ex", "bytes": 2.0}]},
    {"papers": [{"ref": True, "state": True, "since": "9999-99-99", "labels": {"checksum": "0" * 65}}]},
    {"papers": [{"ref": "p1"}], "more_from": {"a": KEY}},
    {"papers": [{"ref": KEY}], "more_from": KEY},
    {"error": {"message": f"wrong: {KEY}", "code": 400}},
]


@pytest.mark.parametrize("body", ODD)
def test_odd_answers_are_listed_or_refused_and_show_no_key(
    body: Any, here: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBRARY_CARD", KEY)
    raw = json.dumps(body).encode()
    documents = {name: value for name, value in ADAPTER["documents"].items() if name != "knowledge_bases"}
    with vendor(lambda _: Reply(body=raw)) as server:
        config = config_at(server.root, tmp_path, documents, api_key_env="LIBRARY_CARD")
        for options in ((), ("--json",)):
            told = here("documents", "list", config, "-k", "kb", *options)
            assert told.code in {0, 5, 6}, told
            assert find_leaks(KEY, tmp_path, told.out, told.err) == []


@pytest.mark.parametrize("answer", [b"", b"null", b"<html>", b'{"paper": []}', orjson.dumps({"paper": {"ref": KEY}})])
def test_odd_answers_to_an_add_fail_the_file_or_are_looked_up(
    answer: bytes, here: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBRARY_CARD", KEY)
    documents = {
        "list": {"path": "/all", "items": "papers"},
        "add": {"path": "/all", "body": {"text": "{{ text }}"}, "item": "paper"},
        "document": {"id": "ref", "sha256": "none"},
    }

    def respond(seen: Seen) -> Reply:
        return says({"papers": []}) if seen.method == "GET" else Reply(body=answer)

    docs = write_docs(tmp_path, 1)
    with vendor(respond) as server:
        config = config_at(server.root, tmp_path, documents, api_key_env="LIBRARY_CARD")
        told = here("documents", "add", config, docs, "--json")
        posts = [one for one in server.seen if one.method == "POST"]
    assert (told.code, len(posts)) == ((0 if b"ref" in answer else 3), 1)
    assert find_leaks(KEY, tmp_path, told.out, told.err) == []


def test_a_name_that_is_no_segment_of_a_path_sends_nothing(
    shelves: Library, here: Callable[..., Finished], tmp_path: Path
) -> None:
    documents = {name: value for name, value in ADAPTER["documents"].items() if name != "knowledge_bases"}
    config = config_at(shelves.root, tmp_path, documents)
    for name in ("..", "."):
        assert here("documents", "list", config, "-k", name).code == 2
    assert shelves.cards == set()
