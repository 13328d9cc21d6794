"""What OpenAI's content API is asked when adding a file ends half way: nothing may be left that a later add misses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from runner.content import VectorStores
from runner.content.api import Label, Source
from runner.errors import BadRequestError, ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from runner.errors import RequestError
    from runner.transport import Upload

LABEL = Label("docs/a.txt", "0" * 64, 4)


class Calls:
    """What `VectorStores` calls, in memory: it notes what it is told to do, and fails as a test says."""

    def __init__(self, error: RequestError | None = None) -> None:
        self.error = error
        self.delete_error: RequestError | None = None
        self.attaching: anyio.Event | None = None
        self.log: list[str] = []

    async def upload(self, path: str, upload: Upload) -> dict[str, Any]:
        content = b"".join([block async for block in upload.blocks()])
        self.log.append(f"upload {path} {upload.file_name} {len(content)}")
        return {"id": "f1"}

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.log.append(f"post {path} {body['file_id']}")
        if self.attaching is not None:
            self.attaching.set()
            await anyio.sleep_forever()
        if self.error is not None:
            raise self.error
        return {"id": "f1", "status": "in_progress"}

    async def delete(self, path: str) -> bool:
        self.log.append(f"delete {path}")
        if self.delete_error is not None:
            raise self.delete_error
        return True


def stores(calls: Any) -> VectorStores:
    return VectorStores(calls)


async def blocks() -> AsyncGenerator[bytes]:
    yield b"te"
    yield b"xt"


SENT = ["upload /files a.txt 4", "post /vector_stores/kb/files f1"]


@pytest.mark.asyncio
async def test_a_file_is_uploaded_and_then_attached_under_its_whole_name() -> None:
    calls = Calls()
    document = await stores(calls).add("kb", Source(LABEL, blocks))
    assert (document.id, document.status, document.name, document.sha256) == (
        "f1",
        "in_progress",
        "docs/a.txt",
        LABEL.sha256,
    )
    assert calls.log == SENT


@pytest.mark.asyncio
@pytest.mark.parametrize("delete_error", [None, ServerError("HTTP 500")])
async def test_a_file_that_could_not_be_attached_is_taken_back(delete_error: RequestError | None) -> None:
    calls = Calls(BadRequestError("HTTP 400: too many files"))
    calls.delete_error = delete_error
    with pytest.raises(BadRequestError, match="too many files"):
        await stores(calls).add("kb", Source(LABEL, blocks))
    assert calls.log == [*SENT, "delete /files/f1"]


@pytest.mark.asyncio
async def test_a_file_that_is_interrupted_before_it_is_attached_is_taken_back() -> None:
    calls = Calls()
    calls.attaching = anyio.Event()
    api = stores(calls)
    async with anyio.create_task_group() as group:
        group.start_soon(api.add, "kb", Source(LABEL, blocks))
        await calls.attaching.wait()
        group.cancel_scope.cancel()
    assert calls.log == [*SENT, "delete /files/f1"]


@pytest.mark.asyncio
async def test_what_could_not_be_indexed_is_attached_anew_and_not_sent_again() -> None:
    calls = Calls()
    await stores(calls).index_again("kb", "f1", Source(LABEL, blocks))
    assert calls.log == ["delete /vector_stores/kb/files/f1", SENT[1]]
