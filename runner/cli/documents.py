"""Owns `documents`: what a RAG system may look into, listed, added to and deleted from."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio.to_thread
import typer

from runner.cli.contentjob import FAILED, INCOMPLETE, carry_out, existing, known, named, told
from runner.cli.contenttables import (
    removal_table,
    show_bases,
    show_documents,
    show_outcomes,
    show_plan,
    show_removal_plan,
    show_removals,
)
from runner.cli.output import say
from runner.cli.uploads import showing
from runner.content import (
    ContentApi,
    KnowledgeBase,
    Outcome,
    Tally,
    add_documents,
    choose_documents,
    find_files,
    plan_adding,
    remove_documents,
)
from runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MIB = 1 << 20

documents = typer.Typer(
    name="documents",
    help=(
        "List, add and delete the documents that a RAG system may look into.\n\n"
        "A knowledge base is one collection of documents; a server may have many. It is named by its id or its name: "
        "with --knowledge-base, else by request.retrieval.knowledge_base in the config. With the "
        "adapter openai, a knowledge base is a vector store, a document a file in it, both at model.base_url; for any "
        "other server, the section `documents` of its adapter file says how they are listed, added and deleted.\n\n"
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
    that `documents add` gave; for files that came another way they are those that the server knows.

    **Examples**

    evalrunner documents list my.yaml

    evalrunner documents list my.yaml --knowledge-base handbook --json
    """

    async def job(api: ContentApi, wanted: str | None) -> None:
        if wanted is None and api.sole is None:
            show_bases(await api.knowledge_bases(), as_json=as_json)
            return
        base = await existing(api, wanted)
        show_documents(base, await api.documents(base.id), as_json=as_json)

    with told(as_json=as_json):
        carry_out(config, overrides, knowledge_base, job)


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
    that each document has with it on the server; nothing is remembered here. Another version of a document is added
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
        api.check_adding()
        base = await known(api, wanted) if create else await existing(api, wanted)
        steps = plan_adding(found, await api.documents(base.id) if base else [])
        if dry_run:
            show_plan(base, base.id if base else named(wanted), steps, as_json=as_json)
            return
        base = base or await api.create(named(wanted))
        tally = Tally()
        with showing(tally, quiet=quiet or as_json):
            outcomes = await add_documents(api, base.id, steps, tally, wait_s=wait_s)
        code = _code_of(outcomes)
        show_outcomes(base, outcomes, code, as_json=as_json)
        raise typer.Exit(code)

    with told(as_json=as_json):
        carry_out(config, overrides, knowledge_base, job)


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

    Documents that `documents add` put there are deleted for good, file and all. Any other is only taken out of its
    vector store, since its file may be used elsewhere; through an adapter file it is deleted, too. A name that several
    documents have is refused; an id never is.

    Asks before it deletes; --yes is needed where nobody can be asked. What is gone already counts as done.

    **Examples**

    evalrunner documents delete my.yaml report.pdf

    evalrunner documents delete my.yaml file-abc123 file-def456 --knowledge-base handbook --yes
    """

    async def job(api: ContentApi, wanted: str | None) -> None:
        base = await existing(api, wanted)
        chosen = choose_documents(await api.documents(base.id), names)
        removals = {one: api.removal_of(one) for one in chosen}
        if dry_run:
            show_removal_plan(base, removals, as_json=as_json)
            return
        if not yes:
            _ask(removal_table(removals), base)
        done = [removal async for removal in remove_documents(api, base.id, chosen)]
        show_removals(base, done, as_json=as_json)

    with told(as_json=as_json):
        carry_out(config, overrides, knowledge_base, job)


def _ask(rows: str, base: KnowledgeBase) -> None:
    if not sys.stdin.isatty():
        raise UsageError("--yes is needed to delete where nobody can be asked", hint="--dry-run shows what would go")
    say(rows)
    if not typer.confirm(f"Delete these from {base.name or base.id}?", err=True):
        raise UsageError("not confirmed; nothing was deleted")


def _code_of(outcomes: Sequence[Outcome]) -> int:
    counts = Counter(one.result for one in outcomes)
    return FAILED if counts["failed"] else INCOMPLETE if counts["pending"] else 0
