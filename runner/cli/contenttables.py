"""Owns what the commands on documents print: knowledge bases, documents, plans and outcomes, as tables or JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runner.cli.output import print_json, print_result, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.content import Document, KnowledgeBase, Outcome, Removal
    from runner.content.adding import Step


def show_bases(bases: Sequence[KnowledgeBase], *, as_json: bool) -> None:
    """Print the knowledge bases of a server."""
    if as_json:
        print_json({"knowledge_bases": [asdict(one) for one in bases]})
        return
    rows = [("id", "name", "documents", "bytes")]
    rows += [(one.id, one.name or "–", _number(one.documents), _number(one.size_bytes)) for one in bases]
    print_result(table(rows) if bases else "no knowledge bases; `documents add --create` makes one")


def show_documents(base: KnowledgeBase, found: Sequence[Document], *, as_json: bool) -> None:
    """Print the documents of a knowledge base."""
    if as_json:
        print_json({"knowledge_base": asdict(base), "documents": [asdict(one) for one in found]})
        return
    rows = [("id", "name", "status", "bytes", "added", "")]
    for one in found:
        added = "–" if one.created_at is None else _date(one.created_at)
        rows.append((one.id, one.name or "–", one.status, _number(one.size_bytes), added, one.error or ""))
    print_result(table(rows) if found else f"no documents in {base.name or base.id}")


def show_plan(base: KnowledgeBase | None, wanted: str, steps: Sequence[Step], *, as_json: bool) -> None:
    """Print what adding files would do."""
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


def show_outcomes(base: KnowledgeBase, outcomes: Sequence[Outcome], code: int, *, as_json: bool) -> None:
    """Print what became of files that were to be added, and the exit code that this means."""
    counts = Counter(one.result for one in outcomes)
    if as_json:
        rows = [asdict(one) for one in outcomes]
        print_json({"knowledge_base": asdict(base), "documents": rows, "counts": dict(counts), "exit_code": code})
        return
    lines = [(one.result, one.id or "–", one.name, one.message or "") for one in outcomes]
    total = ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
    print_result(f"{table(lines)}\n\n{base.name or base.id} ({base.id}): {total}")


def removal_table(removals: Mapping[Document, str]) -> str:
    """Return documents that are to be deleted, each with what that would do."""
    return table([(what, one.id, one.name or "–") for one, what in removals.items()])


def show_removal_plan(base: KnowledgeBase, removals: Mapping[Document, str], *, as_json: bool) -> None:
    """Print what deleting documents would do."""
    if as_json:
        plan = [{"id": one.id, "name": one.name, "would_be": what} for one, what in removals.items()]
        print_json({"knowledge_base": asdict(base), "documents": plan, "dry_run": True})
        return
    print_result(f"{removal_table(removals)}\n\nNothing was deleted.")


def show_removals(base: KnowledgeBase, done: Sequence[Removal], *, as_json: bool) -> None:
    """Print what became of documents that were to be deleted."""
    if as_json:
        print_json({"knowledge_base": asdict(base), "documents": [asdict(one) for one in done]})
        return
    print_result(table([(one.result, one.id, one.name or "–") for one in done]))


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _date(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, OSError, ValueError):
        return "–"
