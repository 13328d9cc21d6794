"""Owns adding files to a knowledge base: what is there already is not sent again, and what fails is told by file."""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from runner.content.api import FAILED, PENDING, READY, Label, Source
from runner.content.local import FileChangedError, FileError, read_blocks
from runner.errors import Action, ConnectError, OverloadError, RateLimitError, RequestError, TemplateError
from runner.jsontext import scrub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from runner.content.api import ContentApi, Document
    from runner.content.local import LocalFile

_PARALLEL = 4
_MOST_TROUBLES = 3
_UNREACHABLE = (ConnectError, RateLimitError, OverloadError)
_FIRST_POLL_S, _LONGEST_POLL_S = 0.1, 5.0
_BY_STATUS = {READY: 0, PENDING: 1}

UPLOAD, PRESENT, INDEX_AGAIN, SAME = "upload", "present", "index again", "same content"


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done for a file; `document` is the one that has its content already.

    `upload` it; it is `present`; `index again`, since the server failed to; or it has the `same content` as a file that
    comes before it.
    """

    file: LocalFile
    action: str
    document: Document | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file: added, present, same content, failed, or pending: not indexed yet when time was up."""

    name: str
    result: str
    id: str | None = None
    message: str | None = None


@dataclass(slots=True)
class Tally:
    """Counters of a job that is running; whoever shows progress reads them. `done` are the outcomes so far."""

    files: int = 0
    bytes_to_send: int = 0
    bytes_sent: int = 0
    indexing: int = 0
    done: list[Outcome] = field(default_factory=list)


def plan_adding(files: Sequence[LocalFile], documents: Sequence[Document]) -> list[Step]:
    """Say for each file what is to be done, given what the knowledge base holds. Content decides, names do not."""
    by_content: dict[str, Document] = {}
    for document in sorted(documents, key=lambda one: _BY_STATUS.get(one.status, 2)):
        if document.sha256 is not None:
            by_content.setdefault(document.sha256, document)
    by_name = {document.name: document for document in documents if document.name is not None}
    steps: list[Step] = []
    first: dict[str, LocalFile] = {}
    for file in files:
        known, twin = by_content.get(file.sha256), first.setdefault(file.sha256, file)
        if twin is not file:
            steps.append(Step(file, SAME, known, f"the content of {twin.name}"))
        elif known is not None:
            usable = known.status in _BY_STATUS
            note = None if known.name == file.name else f"as {known.name}"
            steps.append(Step(file, PRESENT if usable else INDEX_AGAIN, known, note))
        else:
            older = by_name.get(file.name)
            note = f"{older.id} has this name and other content, and stays" if older else None
            steps.append(Step(file, UPLOAD, note=note))
    return steps


async def add_documents(
    api: ContentApi, knowledge_base: str, steps: Sequence[Step], tally: Tally, *, wait_s: float
) -> list[Outcome]:
    """Carry out a plan and wait, `wait_s` at most, until all is indexed; return the outcomes in the order of the plan.

    A file that the server refuses has failed, and the others go on; raises RequestError for what dooms them all.
    """
    job = _Job(api, knowledge_base, tally)
    tally.files = len(steps)
    tally.bytes_to_send = sum(step.file.size_bytes for step in steps if step.action == UPLOAD)
    await job.start(steps)
    await api.settle(knowledge_base)
    await job.wait(wait_s)
    tally.done += [job.outcome(step) for step in steps if step.action == SAME]
    return [job.outcome(step) for step in steps]


class _Job:
    """The state of one add: documents by content, those that are being indexed, and failures by content."""

    def __init__(self, api: ContentApi, knowledge_base: str, tally: Tally) -> None:
        self._api = api
        self._knowledge_base = knowledge_base
        self._tally = tally
        self._documents: dict[str, Document] = {}
        self._pending: dict[str, Step] = {}
        self._failed: dict[str, str] = {}
        self._fatal: RequestError | None = None
        self._troubles = 0

    async def start(self, steps: Sequence[Step]) -> None:
        """Send what is missing, a few files at a time."""
        todo = iter(steps)
        async with anyio.create_task_group() as group:
            for _ in range(_PARALLEL):
                group.start_soon(self._work, todo, group.cancel_scope)
        if self._fatal is not None:
            raise self._fatal

    async def wait(self, wait_s: float) -> None:
        """Ask for the state of what is being indexed until nothing is, or time is up."""
        until, pause_s = time.monotonic() + wait_s, _FIRST_POLL_S
        while self._pending and (left_s := until - time.monotonic()) > 0:
            await anyio.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _LONGEST_POLL_S)
            waiting = {self._documents[content].id: step for content, step in self._pending.items()}
            for document in await self._api.states(self._knowledge_base, list(waiting)):
                if document.id in waiting:
                    self._note(waiting[document.id], document)
        for step in self._pending.values():
            self._tally.done.append(self.outcome(step))

    def outcome(self, step: Step) -> Outcome:
        """Return what became of a step."""
        file = step.file
        document, problem = self._documents.get(file.sha256), self._failed.get(file.sha256)
        identity = document.id if document else None
        if problem is not None:
            return Outcome(file.name, FAILED, identity, problem)
        if file.sha256 in self._pending:
            note = f" ({document.error})" if document and document.error else ""
            return Outcome(file.name, "pending", identity, f"not indexed yet; it will be found once it is{note}")
        return Outcome(file.name, "added" if step.action in (UPLOAD, INDEX_AGAIN) else step.action, identity, step.note)

    async def _work(self, todo: Iterator[Step], scope: anyio.CancelScope) -> None:
        for step in todo:
            if step.action == SAME:
                continue
            try:
                document = await self._carry_out(step)
                self._troubles = 0
                self._note(step, document)
            except (RequestError, FileError, TemplateError) as error:
                if isinstance(error, RequestError) and self._dooms(error):
                    self._fatal = self._fatal or error
                    scope.cancel()
                    return
                self._failed[step.file.sha256] = error.message
                self._tally.done.append(self.outcome(step))

    def _dooms(self, error: RequestError) -> bool:
        """Say whether an error is about more than its file; a server that fails over and over is down."""
        if error.action is Action.STOP_RUN or isinstance(error, _UNREACHABLE):
            return True
        self._troubles += error.action is not Action.END_ROW
        return self._troubles >= _MOST_TROUBLES

    async def _carry_out(self, step: Step) -> Document:
        known, source = step.document, _source(step.file, self._tally)
        if known is None:
            return await self._api.add(self._knowledge_base, source)
        if step.action == INDEX_AGAIN:
            return await self._api.index_again(self._knowledge_base, known.id, source)
        return known

    def _note(self, step: Step, document: Document) -> None:
        """Note how far a document is."""
        content = step.file.sha256
        self._documents[content] = document
        if document.status == PENDING:
            self._pending[content] = step
        else:
            self._pending.pop(content, None)
            if document.status != READY:
                self._failed[content] = document.error or f"the server says: {document.status}"
            self._tally.done.append(self.outcome(step))
        self._tally.indexing = len(self._pending)


class _Reading:
    """The blocks of a file as they go out, counted."""

    def __init__(self, file: LocalFile, tally: Tally) -> None:
        self._file = file
        self._tally = tally
        self._counted = 0

    async def blocks(self) -> AsyncGenerator[bytes]:
        """Yield the file from its beginning; what an earlier attempt had sent does not count any more."""
        self._tally.bytes_sent -= self._counted
        self._counted = 0
        try:
            async with aclosing(read_blocks(self._file)) as blocks:
                async for block in blocks:
                    self._counted += len(block)
                    self._tally.bytes_sent += len(block)
                    yield block
        except OSError as error:
            raise FileChangedError(f"{self._file.path}: {error.strerror or 'cannot be read any more'}") from error


def _source(file: LocalFile, tally: Tally) -> Source:
    return Source(Label(scrub(file.name), file.sha256, file.size_bytes), _Reading(file, tally).blocks)
