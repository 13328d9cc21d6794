"""Which files are sent, and what is left behind when sending ends early: decided and tested without a server."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import anyio
import pytest

from runner.content import Document, Tally, add_documents, find_files, plan_adding
from runner.content.local import FileChangedError, read_blocks
from runner.errors import AuthError, BadRequestError, ConnectError, ServerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from runner.content import LocalFile
    from runner.content.api import Source
    from runner.errors import RequestError

MIB = 1 << 20


def write(path: Path, content: bytes = b"text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def local(path: Path, content: bytes = b"text") -> LocalFile:
    return find_files([write(path, content)], largest_bytes=MIB)[0]


class Server:
    """What adding needs of a content API, in memory. `errors` by name of file are raised where it is added."""

    def __init__(self, errors: Mapping[str, RequestError] | None = None) -> None:
        self.errors = dict(errors or {})
        self.files: dict[str, bytes] = {}
        self.attached: dict[str, Document] = {}
        self.states_of: dict[str, list[str]] = {}
        self.settled = 0

    async def documents(self, knowledge_base: str) -> list[Document]:  # noqa: ARG002 - there is one
        return list(self.attached.values())

    async def states(self, knowledge_base: str, documents: Sequence[str]) -> list[Document]:  # noqa: ARG002 - one base
        for one in documents:
            states = self.states_of.get(self.attached[one].name or "", [])
            if states:
                self.attached[one] = replace(self.attached[one], status=states.pop(0))
        return [self.attached[one] for one in documents]

    async def add(self, knowledge_base: str, source: Source) -> Document:
        label = source.label
        if label.name in self.errors:
            raise self.errors[label.name]
        content = b"".join([block async for block in source.blocks()])
        assert len(content) == label.size_bytes
        identity = f"f{len(self.files) + 1}"
        self.files[identity] = content
        return await self.index_again(knowledge_base, identity, source)

    async def index_again(self, knowledge_base: str, document: str, source: Source) -> Document:  # noqa: ARG002 - one base
        label = source.label
        status = self.states_of[label.name].pop(0) if self.states_of.get(label.name) else "completed"
        self.attached[document] = Document(document, status, label.name, label.size_bytes, label.sha256)
        return self.attached[document]

    async def settle(self, knowledge_base: str) -> None:  # noqa: ARG002 - one base
        self.settled += 1


def add(server: Server, files: list[LocalFile], wait_s: float = 30) -> list[tuple[str, str, str | None]]:
    async def main() -> list[tuple[str, str, str | None]]:
        steps = plan_adding(files, await server.documents("kb"))
        done = await add_documents(server, "kb", steps, Tally(), wait_s=wait_s)
        return [(one.name, one.result, one.message) for one in done]

    return anyio.run(main)


# ---------------------------------------------------------------- the plan


@pytest.mark.parametrize(
    ("status", "name", "action", "note"),
    [
        ("completed", "a.txt", "present", None),
        ("in_progress", "a.txt", "present", None),
        ("completed", "old.txt", "present", "as old.txt"),
        ("failed", "a.txt", "index again", None),
        ("cancelled", "a.txt", "index again", None),
    ],
)
def test_content_that_is_there_is_not_sent(
    status: str, name: str, action: str, note: str | None, tmp_path: Path
) -> None:
    file = local(tmp_path / "a.txt")
    (step,) = plan_adding([file], [Document("f1", status, name, 4, file.sha256)])
    assert (step.action, step.note) == (action, note)
    assert step.document is not None


def test_the_best_of_several_documents_with_the_same_content_counts(tmp_path: Path) -> None:
    file = local(tmp_path / "a.txt")
    states = ["failed", "in_progress", "completed", "in_progress"]
    documents = [Document(f"f{number}", status, "x", 4, file.sha256) for number, status in enumerate(states)]
    (step,) = plan_adding([file], documents)
    assert step.document == documents[2]


def test_a_name_alone_says_nothing(tmp_path: Path) -> None:
    file = local(tmp_path / "a.txt")
    others = [Document("f1", "completed", "a.txt", 4, "0" * 64), Document("f2", "completed", "a.txt", 4)]
    (step,) = plan_adding([file], others)
    assert (step.action, step.document) == ("upload", None)
    assert step.note == "f2 has this name and other content, and stays"


def test_files_with_the_same_content_are_sent_once(tmp_path: Path) -> None:
    server = Server()
    files = [local(tmp_path / name) for name in ("a.txt", "b.txt", "c.txt")]
    assert add(server, files) == [
        ("a.txt", "added", None),
        ("b.txt", "same content", "the content of a.txt"),
        ("c.txt", "same content", "the content of a.txt"),
    ]
    assert list(server.files.values()) == [b"text"]
    assert [result for _, result, _ in add(server, files)] == ["present", "same content", "same content"]
    assert len(server.files) == 1


# ---------------------------------------------------------------- what goes wrong


def test_a_file_that_is_refused_has_failed_and_the_others_go_on(tmp_path: Path) -> None:
    server = Server({"b.txt": BadRequestError("HTTP 400: no such format", http_status=400)})
    files = [local(tmp_path / f"{name}.txt", name.encode()) for name in "abc"]
    assert add(server, files) == [
        ("a.txt", "added", None),
        ("b.txt", "failed", "HTTP 400: no such format"),
        ("c.txt", "added", None),
    ]


@pytest.mark.parametrize("error", [AuthError("no key"), ConnectError("nobody there")])
def test_what_dooms_all_files_ends_it(error: RequestError, tmp_path: Path) -> None:
    server = Server({f"{number}.txt": error for number in range(20)})
    files = [local(tmp_path / f"{number}.txt", b"%d" % number) for number in range(20)]
    with pytest.raises(type(error)):
        add(server, files)


def test_one_server_error_is_about_its_file_and_three_in_a_row_are_about_the_server(tmp_path: Path) -> None:
    files = [local(tmp_path / f"{number}.txt", b"%d" % number) for number in range(20)]
    broken = ServerError("HTTP 500")
    results = [result for _, result, _ in add(Server({"7.txt": broken}), files)]
    assert (results.count("added"), results[7]) == (19, "failed")
    with pytest.raises(ServerError):
        add(Server({f"{number}.txt": broken for number in range(20)}), files)


@pytest.mark.parametrize(
    ("states", "wait_s", "result", "message"),
    [
        (["in_progress", "in_progress", "completed"], 30, "added", None),
        (["in_progress", "failed"], 30, "failed", "the server says: failed"),
        (["in_progress", "cancelled"], 30, "failed", "the server says: cancelled"),
        (["in_progress"], 0, "pending", "not indexed yet; it will be found once it is"),
        (["in_progress"], 0.2, "pending", "not indexed yet; it will be found once it is"),
    ],
)
def test_waiting_until_a_file_is_indexed(
    states: list[str], wait_s: float, result: str, message: str | None, tmp_path: Path
) -> None:
    server = Server()
    server.states_of["a.txt"] = states
    assert add(server, [local(tmp_path / "a.txt")], wait_s) == [("a.txt", result, message)]


def test_a_document_that_failed_is_indexed_again_and_not_sent_again(tmp_path: Path) -> None:
    server = Server()
    server.states_of["a.txt"] = ["failed"]
    file = local(tmp_path / "a.txt")
    assert add(server, [file])[0][1] == "failed"
    assert add(server, [file]) == [("a.txt", "added", None)]
    assert list(server.files) == ["f1"]
    assert server.settled == 2


# ---------------------------------------------------------------- files on disk


def test_files_and_folders_are_found_in_order_and_once(tmp_path: Path) -> None:
    write(tmp_path / "docs/b.txt", b"b")
    write(tmp_path / "docs/a/c.txt", b"c")
    write(tmp_path / "docs/.hidden/x.txt")
    write(tmp_path / "docs/.DS_Store")
    single = write(tmp_path / "z.txt", b"z")
    found = find_files([single, tmp_path / "docs", tmp_path / "docs/b.txt"], largest_bytes=MIB)
    assert [(one.name, one.sha256) for one in found] == [
        (name, sha256(content).hexdigest()) for name, content in (("z.txt", b"z"), ("a/c.txt", b"c"), ("b.txt", b"b"))
    ]


def test_everything_wrong_with_files_is_told_at_once(tmp_path: Path) -> None:
    import os  # noqa: PLC0415 - a pipe is made by this one test

    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    paths = [
        write(tmp_path / "good.txt"),
        write(tmp_path / "empty.txt", b""),
        write(tmp_path / "large.bin", b"x" * 1000),
        tmp_path / "missing",
        tmp_path / "folder",
        tmp_path / "pipe",
    ]
    with pytest.raises(UsageError) as told:
        find_files(paths, largest_bytes=999)
    assert [line.rpartition("/")[2].partition(":") for line in told.value.message.splitlines()] == [
        ("folder", ":", " no files in this folder"),
        ("empty.txt", ":", " is empty"),
        ("large.bin", ":", " is larger than 0.0009527 MiB, see --max-mib"),
        ("missing", ":", " No such file or directory"),
        ("pipe", ":", " is no file"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"y" * 600_000),
        lambda path: path.write_bytes(b"x" * 100),
        lambda path: path.write_bytes(b"x" * 700_000),
        lambda path: path.write_bytes(b""),
    ],
    ids=["other content", "shorter", "longer", "empty"],
)
def test_a_file_that_changes_never_goes_out_whole(change: Callable[[Path], object], tmp_path: Path) -> None:
    file = local(tmp_path / "a.bin", b"x" * 600_000)
    change(file.path)
    seen = bytearray()

    async def read() -> None:
        async for block in read_blocks(file):
            seen.extend(block)

    with pytest.raises(FileChangedError, match="changed while it was being sent"):
        anyio.run(read)
    assert len(seen) < file.size_bytes
    assert add(Server(), [file])[0][1] == "failed"
