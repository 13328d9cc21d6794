"""Owns `documents`: what a RAG system may look into, listed, added to and deleted from."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import anyio.to_thread
import typer

from runner.cli.output import print_error, print_json, print_result, say, table
from runner.cli.uploads import showing
from runner.config import load_config
from runner.content import (
    Caller,
    ContentApi,
    Document,
    KnowledgeBase,
    Outcome,
    Tally,
    VectorStores,
    add_documents,
    choose_documents,
    choose_knowledge_base,
    find_files,
    plan_adding,
    remove_documents,
)
from runner.content.choosing import unknown_knowledge_base
from runner.content.removing import removal_of
from runner.errors import Action, NotAvailableError, RequestError, UsageError
from runner.pipeline.connect import connect
from runner.pipeline.prepare import read_api_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from runner.config import RunConfig
    from runner.content.adding import Step

_FAILED, _REFUSED, _INCOMPLETE, _INTERRUPTED = 3, 5, 6, 130
_MIB = 1 << 20

documents = typer.Typer(
    name="documents",
    help=(
        "List, add and delete the documents that a RAG system may look into.\n\n"
        "A knowledge base is one collection of documents; a server may have many. It is named by its id or its name: "
        "with --knowledge-base, else by request.retrieval.knowledge_base in the config. The server "
        "speaks OpenAI's API: a knowledge base is a vector store, a document a file in it, both at model.base_url.\n\n"
        "A run searches the same knowledge base: request.retrieval says which one, and which documents of it, for the "
        "whole run or by a template for each sample; what was found is in the column `retrieved`. The Responses API "
        "takes knowledge bases by id only."
    ),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Config = Annotated[Path, typer.Argument(help="The config file (YAML): its model says where and with which key.")]
_Base = Annotated[
    str | None,
    typer.Option(
        "--knowledge-base",
        "-k",
        metavar="KB",
        help="Id or name of the knowledge base; default: request.retrieval.knowledge_base of the config.",
        show_default=False,
    ),
]
_Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a config key.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, errors too.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Ask the server what it has, and change nothing.")]


@documents.command("list")
def list_documents(
    config: _Config, *, knowledge_base: _Base = None, overrides: _Set = None, as_json: _Json = False
) -> None:
    """List the documents of a knowledge base: id, name, status, size, when it was added.

    Where neither the option nor the config names one, the knowledge bases of the server are listed.

    The status is completed (searches find it), in_progress (it is being indexed), failed or cancelled. Names are those
    that `documents add` gave; for files that came another way they are looked up in the server's list of files.

    **Examples**

    evalrunner documents list my.yaml

    evalrunner documents list my.yaml --knowledge-base handbook --json
    """

    async def job(api: ContentApi, wanted: str | None) -> None:
        if wanted is None:
            _show_bases(await api.knowledge_bases(), as_json=as_json)
            return
        base = await _existing(api, wanted)
        _show_documents(base, await api.documents(base.id), as_json=as_json)

    with _told(as_json=as_json):
        _carry_out(config, overrides, knowledge_base, job)


@documents.command("add")
def add(  # noqa: PLR0913 - a command has one parameter for each option
    config: _Config,
    files: Annotated[list[Path], typer.Argument(help="Files, and folders whose files are meant.", show_default=False)],
    *,
    knowledge_base: _Base = None,
    create: Annotated[bool, typer.Option("--create", help="Make the knowledge base if there is none.")] = False,
    wait_s: Annotated[float, typer.Option(min=0, help="Seconds to wait until all is indexed; 0: do not.")] = 600.0,
    max_mib: Annotated[float, typer.Option(min=0, help="Refuse larger files; OpenAI takes 512 MiB.")] = 512.0,
    dry_run: _DryRun = False,
    overrides: _Set = None,
    as_json: _Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Add files to a knowledge base and wait until searches find them.

    Content decides, not names: a file whose content is in the knowledge base already is not sent again, whatever it is
    called. So an add that was interrupted is repeated as it was, and sends only the rest. What tells is the SHA-256
    that lies beside each document on the server; nothing is remembered here. Another version of a document is added
    beside the older one: delete that by its id.

    Files are read and checked before anything is sent. They are streamed from the disk, with the retries of the
    config's `retry` section. A file that the server refuses or cannot index has failed; the others go on.

    Exits with 0 when all are there and indexed, 3 when some failed, 6 when some were not indexed in time or the server
    could not be reached (run it again), 5 when the server refuses the key or the whole request, 2 before anything was
    sent.

    **Examples**

    evalrunner documents add my.yaml docs/ --knowledge-base handbook --create

    evalrunner documents add my.yaml report.pdf notes.md --dry-run
    """

    async def job(api: ContentApi, wanted: str | None) -> None:
        found = await anyio.to_thread.run_sync(lambda: find_files(files, largest_bytes=int(max_mib * _MIB)))
        wanted = _named(wanted)
        base = await choose_knowledge_base(api, wanted)
        if base is None and not create:
            raise await unknown_knowledge_base(api, wanted)
        steps = plan_adding(found, await api.documents(base.id) if base else [])
        if dry_run:
            _show_plan(base, wanted, steps, as_json=as_json)
            return
        base = base or await api.create(wanted)
        tally = Tally()
        with showing(tally, quiet=quiet or as_json):
            outcomes = await add_documents(api, base.id, steps, tally, wait_s=wait_s)
        _finish(base, outcomes, as_json=as_json)

    with _told(as_json=as_json):
        _carry_out(config, overrides, knowledge_base, job)


@documents.command("delete")
def delete(  # noqa: PLR0913 - a command has one parameter for each option
    config: _Config,
    names: Annotated[
        list[str], typer.Argument(metavar="DOCUMENT…", help="Ids or names of documents.", show_default=False)
    ],
    *,
    knowledge_base: _Base = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: _DryRun = False,
    overrides: _Set = None,
    as_json: _Json = False,
) -> None:
    """Delete documents, named by id or name, from a knowledge base.

    Documents that `documents add` put there are deleted for good, file and all. Any other is only taken out of this
    knowledge base, since its file may be used elsewhere. A name that several documents have is refused; an id never is.

    Asks before it deletes; --yes is needed where nobody can be asked. What is gone already counts as done.

    **Examples**

    evalrunner documents delete my.yaml report.pdf

    evalrunner documents delete my.yaml file-abc123 file-def456 --knowledge-base handbook --yes
    """

    async def job(api: ContentApi, wanted: str | None) -> None:
        base = await _existing(api, _named(wanted))
        chosen = choose_documents(await api.documents(base.id), names)
        rows = [(removal_of(one), one.id, one.name or "–") for one in chosen]
        if dry_run:
            plan = [{"id": one.id, "name": one.name, "would_be": removal_of(one)} for one in chosen]
            result = {"knowledge_base": asdict(base), "documents": plan, "dry_run": True}
            print_json(result) if as_json else print_result(f"{table(rows)}\n\nNothing was deleted.")
            return
        if not yes:
            _ask(table(rows), base)
        done = [removal async for removal in remove_documents(api, base.id, chosen)]
        if as_json:
            print_json({"knowledge_base": asdict(base), "documents": [asdict(one) for one in done]})
        else:
            print_result(table([(one.result, one.id, one.name or "–") for one in done]))

    with _told(as_json=as_json):
        _carry_out(config, overrides, knowledge_base, job)


def _carry_out(
    path: Path,
    overrides: Sequence[str] | None,
    knowledge_base: str | None,
    job: Callable[[ContentApi, str | None], Awaitable[None]],
) -> None:
    loaded = load_config(path, overrides=overrides or ())
    wanted = knowledge_base or _configured(loaded.config)

    async def main() -> None:
        async with _open_api(loaded.config) as api:
            await job(api, wanted)

    with loaded.naming_places():
        anyio.run(main, backend="asyncio")


@contextlib.asynccontextmanager
async def _open_api(config: RunConfig) -> AsyncIterator[ContentApi]:
    if config.model.embedded is not None:
        raise UsageError("model.embedded: an embedded model has no knowledge bases", hint="name a server: base_url")
    if isinstance(config.model.base_url, list) and len(config.model.base_url) > 1:
        raise UsageError(
            "model.base_url: each server of a pool has knowledge bases of its own",
            hint="name one of them: --set model.base_url=URL",
        )
    if config.model.adapter != "openai":
        raise NotAvailableError(
            "documents through an adapter file: not available yet",
            hint="--set model.adapter=openai, if the server has OpenAI's vector stores",
        )
    async with connect(config, read_api_key(config), log_path=None) as transport:
        yield VectorStores(Caller(transport, config.retry))


def _configured(config: RunConfig) -> str | None:
    """Return the knowledge base that a config names for the whole run; a template names one for each sample."""
    name = config.request.retrieval.knowledge_base
    if isinstance(name, list) and len(name) == 1:
        name = name[0]
    return name if isinstance(name, str) and "{" not in name else None


def _named(wanted: str | None) -> str:
    if wanted is None:
        hint = "`evalrunner documents list CONFIG` shows what the server has"
        raise UsageError("which knowledge base? --knowledge-base KB says it", hint=hint)
    return wanted


async def _existing(api: ContentApi, wanted: str) -> KnowledgeBase:
    base = await choose_knowledge_base(api, wanted)
    if base is None:
        raise await unknown_knowledge_base(api, wanted)
    return base


@contextlib.contextmanager
def _told(*, as_json: bool) -> Iterator[None]:
    """Turn what ends a command into its message and exit code."""
    try:
        yield
    except RequestError as error:
        print_error(error, as_json=as_json)
        final = error.action is Action.STOP_RUN or not error.resend
        raise typer.Exit(_REFUSED if final else _INCOMPLETE) from error
    except (KeyboardInterrupt, typer.Abort) as error:
        say("interrupted; what was done stays done, and the same command does the rest")
        raise typer.Exit(_INTERRUPTED) from error


def _ask(rows: str, base: KnowledgeBase) -> None:
    if not sys.stdin.isatty():
        raise UsageError("--yes is needed to delete where nobody can be asked", hint="--dry-run shows what would go")
    say(rows)
    if not typer.confirm(f"Delete these from {base.name or base.id}?", err=True):
        raise UsageError("not confirmed; nothing was deleted")


def _finish(base: KnowledgeBase, outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    counts = Counter(one.result for one in outcomes)
    code = _FAILED if counts["failed"] else _INCOMPLETE if counts["pending"] else 0
    if as_json:
        rows = [asdict(one) for one in outcomes]
        print_json({"knowledge_base": asdict(base), "documents": rows, "counts": dict(counts), "exit_code": code})
    else:
        lines = [(one.result, one.id or "–", one.name, one.message or "") for one in outcomes]
        total = ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
        print_result(f"{table(lines)}\n\n{base.name or base.id} ({base.id}): {total}")
    raise typer.Exit(code)


def _show_bases(bases: Sequence[KnowledgeBase], *, as_json: bool) -> None:
    if as_json:
        print_json({"knowledge_bases": [asdict(one) for one in bases]})
        return
    rows = [("id", "name", "documents", "bytes")]
    rows += [(one.id, one.name or "–", _number(one.documents), _number(one.size_bytes)) for one in bases]
    print_result(table(rows) if bases else "no knowledge bases; `documents add --create` makes one")


def _show_documents(base: KnowledgeBase, found: Sequence[Document], *, as_json: bool) -> None:
    if as_json:
        print_json({"knowledge_base": asdict(base), "documents": [asdict(one) for one in found]})
        return
    rows = [("id", "name", "status", "bytes", "added", "")]
    for one in found:
        added = "–" if one.created_at is None else _date(one.created_at)
        rows.append((one.id, one.name or "–", one.status, _number(one.size_bytes), added, one.error or ""))
    print_result(table(rows) if found else f"no documents in {base.name or base.id}")


def _show_plan(base: KnowledgeBase | None, wanted: str, steps: Sequence[Step], *, as_json: bool) -> None:
    size = sum(step.file.size_bytes for step in steps if step.action == "upload")
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "name": step.file.name,
                "would": step.action,
                "id": step.document.id if step.document else None,
                "size_bytes": step.file.size_bytes,
                "message": step.note,
            }
            for step in steps
        ]
        shown = asdict(base) if base else {"id": None, "name": wanted}
        print_json({"knowledge_base": shown, "documents": rows, "bytes_to_send": size, "dry_run": True})
        return
    lines = [(step.action, f"{step.file.size_bytes:,}", step.file.name, step.note or "") for step in steps]
    new = "" if base else f" The knowledge base '{wanted}' would be made."
    print_result(f"{table(lines)}\n\n{size:,} bytes to send.{new} Nothing was changed.")


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _date(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, OSError, ValueError):
        return "–"
