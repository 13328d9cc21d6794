"""Owns how a job on documents is carried out: from a config to its content API, from errors to exit codes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio
import typer

from runner.cli.output import print_error, say
from runner.config import load_config
from runner.content import AdaptedContent, Caller, VectorStores, choose_knowledge_base
from runner.content.choosing import unknown_knowledge_base
from runner.errors import Action, RequestError, UsageError
from runner.pipeline.requests.adapters import open_adapter
from runner.pipeline.requests.prepare import read_api_key
from runner.pipeline.sending.connect import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from runner.config import RunConfig
    from runner.content import ContentApi, KnowledgeBase

FAILED, REFUSED, INCOMPLETE, INTERRUPTED = 3, 5, 6, 130


def carry_out(
    path: Path,
    overrides: Sequence[str] | None,
    knowledge_base: str | None,
    job: Callable[[ContentApi, str | None], Awaitable[None]],
) -> None:
    """Call `job` with the content API of a config's server and the knowledge base that is meant, if one is named."""
    loaded = load_config(path, overrides=overrides or ())

    async def main() -> None:
        async with _open_api(loaded.config) as api:
            await job(api, knowledge_base or (None if api.sole else _configured(loaded.config)))

    with loaded.naming_places():
        anyio.run(main, backend="asyncio")


@contextlib.contextmanager
def told(*, as_json: bool) -> Iterator[None]:
    """Turn what ends a command into its message and exit code."""
    try:
        yield
    except RequestError as error:
        print_error(error, as_json=as_json)
        final = error.action is Action.STOP_RUN or not error.resend
        raise typer.Exit(REFUSED if final else INCOMPLETE) from error
    except (KeyboardInterrupt, typer.Abort) as error:
        say("interrupted; what was done stays done, and the same command does the rest")
        raise typer.Exit(INTERRUPTED) from error


def named(wanted: str | None) -> str:
    """Return the name of the knowledge base. Raises UsageError where none is named."""
    if wanted is None:
        hint = "`evalrunner documents list CONFIG` shows what the server has"
        raise UsageError("which knowledge base? --knowledge-base KB says it", hint=hint)
    return wanted


async def known(api: ContentApi, wanted: str | None) -> KnowledgeBase | None:
    """Return the knowledge base of this id or name, or the only one; null where there is none. Raises UsageError."""
    return api.sole if wanted is None and api.sole else await choose_knowledge_base(api, named(wanted))


async def existing(api: ContentApi, wanted: str | None) -> KnowledgeBase:
    """Return the knowledge base of this id or name, or the only one. Raises UsageError where there is none."""
    base = await known(api, wanted)
    if base is None:
        raise await unknown_knowledge_base(api, named(wanted))
    return base


@contextlib.asynccontextmanager
async def _open_api(config: RunConfig) -> AsyncIterator[ContentApi]:
    if config.model.embedded is not None:
        raise UsageError("model.embedded: an embedded model has no knowledge bases", hint="name a server: base_url")
    if isinstance(config.model.base_url, list) and len(config.model.base_url) > 1:
        raise UsageError(
            "model.base_url: each server of a pool has knowledge bases of its own",
            hint="name one of them: --set model.base_url=URL",
        )
    adapter = open_adapter(config)
    if adapter is not None and adapter.spec["documents"] is None:
        message = f"model.adapter: the adapter {adapter.name} does not say how documents are listed, added and deleted"
        hint = "give it a section `documents`; or --set model.adapter=openai, if the server has OpenAI's vector stores"
        raise UsageError(message, hint=hint)
    async with connect(config, read_api_key(config), log_path=None, adapter=adapter) as transport:
        if adapter is None:
            yield VectorStores(Caller(transport, config.retry))
        else:
            caller = Caller(transport, config.retry, adapter.refine, adapter.error_in_body)
            yield AdaptedContent(caller, adapter, config.model.name or "")


def _configured(config: RunConfig) -> str | None:
    """Return the knowledge base that a config names for the whole run; a template names one for each sample."""
    name = config.request.retrieval.knowledge_base
    if isinstance(name, list) and len(name) == 1:
        name = name[0]
    return name if isinstance(name, str) and "{" not in name else None
