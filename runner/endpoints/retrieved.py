"""Owns which documents an answer says it was made from: the lists that RAG systems put beside or into their answers.

No two systems agree. Read here, of whatever an answer has, the first of:

- Azure OpenAI "on your data": `message.context`, with `all_retrieved_documents` or `citations`;
- lists of documents, in the message, in the choice or at the top: `retrieved_documents`, `search_results` (Perplexity,
  vector store searches), `source_documents` and `context` (LangChain), `source_nodes` (LlamaIndex), `documents`
  (Cohere), `sources`, `references`, `retriever_resources` (Dify, in `metadata`), `citations`;
- `annotations` of a message: `file_citation` and `url_citation` (OpenAI, OpenRouter);
- OpenAI Responses: the results of `file_search_call` items, else the annotations of its texts.

A list that is there and empty says that nothing was found; null says that the server told nothing. Empty annotations
are null: OpenAI's servers always send them. Any other place is named by an adapter, which reads its list with
`read_documents`. Nothing here raises, whatever stands in those places.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

from runner.jsontext import scrub
from runner.records import Retrieved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_T = TypeVar("_T")

# The fullest first: of a server that sends both, `citations` are the smaller list.
_LISTS = (
    "retrieved_documents",
    "search_results",
    "source_documents",
    "source_nodes",
    "documents",
    "retriever_resources",
    "sources",
    "references",
    "context",
    "citations",
)
PLACES = frozenset({*_LISTS, "metadata"})
"""The keys that `read_beside` looks at: whoever reads many answers looks for them first."""

# An entry's own fields come before those of what it wraps: LlamaIndex' node, Cohere's document, Vertex' context, ….
_WRAPPED = ("node", "document", "source", "retrievedContext", "retrieved_context", "web", "metadata", "attributes")
_IDS = ("id", "id_", "document_id", "doc_id", "node_id", "file_id", "url", "uri", "filepath", "file_path")
_NAMES = ("filename", "file_name", "document_name", "name", "title", "chunk_id", "segment_id")
_SCORES = ("score", "relevance_score", "rerank_score", "similarity", "relevance", "original_search_score", "_score")
_TEXTS = ("text", "content", "page_content", "snippet", "quote", "passage", "chunk", "chunk_text")
_MOST = 10_000
_MOST_NESTED = 8
_INT32 = 2**31 - 1


def read_beside(holder: Mapping[str, Any], notes: list[str]) -> list[Retrieved] | None:
    """Return the documents that stand at the top of an answer or in a choice; null where it names none."""
    return None if PLACES.isdisjoint(holder) else _from_holder(holder, notes)


def read_in_message(message: Mapping[str, Any], notes: list[str]) -> list[Retrieved] | None:
    """Return the documents that a message names, in the server's order; null where it names none."""
    found = read_beside(message, notes)
    return read_annotations(message.get("annotations"), notes) if found is None else found


def read_file_search(items: Iterable[Mapping[str, Any]], notes: list[str]) -> list[Retrieved] | None:
    """Return the results of all file searches among the output items of a response, ranked as they stand there."""
    lists = [item["results"] for item in items if item.get("type") == "file_search_call" and _is_list(item, "results")]
    if not lists:
        return None
    return read_documents([entry for entries in lists for entry in entries], notes)


def read_annotations(annotations: Any, notes: list[str]) -> list[Retrieved] | None:
    """Return the documents that citations in a text point to, each once; null where none does."""
    if not isinstance(annotations, list) or not annotations:
        return None
    by_id: dict[str, Any] = {}
    for annotation in annotations:
        kind = annotation.get("type") if isinstance(annotation, dict) else None
        if kind not in ("file_citation", "url_citation", "container_file_citation"):
            continue
        inner = annotation.get(kind)
        # An annotation's own text is the mark in the answer, not what the document says.
        cited = {name: value for name, value in annotation.items() if name != "text"}
        cited = {**cited, **inner} if isinstance(inner, dict) else cited
        name = _first_text(cited, (*_IDS, *_NAMES))
        if name is not None:
            by_id.setdefault(name, cited)
    return read_documents(list(by_id.values()), notes) if by_id else None


def read_documents(entries: Any, notes: list[str]) -> list[Retrieved] | None:
    """Return a list of documents of nearly any shape; null for what is no list.

    An entry is an object, or a text: one without white space is an id, any other is the document's text. Ranks are the
    server's own where all entries have one, else they count from 1. Odd entries are left out, with a note.
    """
    if not isinstance(entries, list):
        return None
    entries = [one for entry in entries[: _MOST + 1] for one in _unfolded(entry)]
    documents, strange = [], 0
    for entry in entries[:_MOST]:
        document = _document(entry)
        if document is None:
            strange += 1
        else:
            documents.append((document, _rank(entry)))
    if strange:
        notes.append(f"{strange} retrieved documents cannot be read")
    if len(entries) > _MOST:
        notes.append(f"more than {_MOST} retrieved documents; the others are left out")
    ranks = [rank for _, rank in documents if rank is not None]
    stated = len(ranks) == len(documents)
    return [
        Retrieved(ranks[position] if stated else position + 1, *fields)
        for position, (fields, _) in enumerate(documents)
    ]


def _from_holder(holder: Mapping[str, Any], notes: list[str]) -> list[Retrieved] | None:
    context = holder.get("context")
    if isinstance(context, dict):
        kept = context.get("all_retrieved_documents")
        if isinstance(kept, list):
            return read_documents([entry for entry in kept if not _was_filtered(entry)], notes)
        return read_documents(context.get("citations"), notes)
    for name in _LISTS:
        if _is_list(holder, name):
            return read_documents(holder[name], notes)
    metadata = holder.get("metadata")
    if isinstance(metadata, dict) and _is_list(metadata, "retriever_resources"):
        return read_documents(metadata["retriever_resources"], notes)
    return None


def _was_filtered(entry: Any) -> bool:
    """Say whether Azure found a document and then kept it away from the model."""
    return isinstance(entry, dict) and entry.get("filter_reason") is not None


def _is_list(holder: Mapping[str, Any], name: str) -> bool:
    return isinstance(holder.get(name), list)


def _unfolded(entry: Any) -> list[Any]:
    """Return what an entry stands for: a page of results holds a list, a citation of Cohere's its sources or ids."""
    if isinstance(entry, dict):
        for name in ("data", "sources", "results", "document_ids"):
            if _is_list(entry, name):
                inner: list[Any] = entry[name][: _MOST + 1]
                return inner
    return [entry]


def _document(entry: Any) -> tuple[str | None, float | None, str | None] | None:
    if isinstance(entry, str):
        said = scrub(entry)
        if not said:
            return None
        return (None, None, said) if any(map(str.isspace, said)) else (said, None, None)
    if not isinstance(entry, dict):
        return None
    layers = _layers(entry)
    identity = _first(_id, layers) or _first(_source, layers) or _first(_name, layers)
    score, text = _first(_score, layers), _first(_text, layers)
    return None if identity is None and score is None and text is None else (identity, score, text)


def _first(read: Callable[[dict[str, Any]], _T | None], layers: list[dict[str, Any]]) -> _T | None:
    return next((found for layer in layers if (found := read(layer)) is not None), None)


def _layers(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an entry and the objects that it wraps, outermost first."""
    layers = [entry]
    for layer in layers:
        layers += [layer[name] for name in _WRAPPED if isinstance(layer.get(name), dict)]
        if len(layers) >= _MOST_NESTED:
            break
    return layers[:_MOST_NESTED]


def _id(layer: dict[str, Any]) -> str | None:
    return _first_text(layer, _IDS)


def _source(layer: dict[str, Any]) -> str | None:
    return _first_text(layer, ("source",))


def _name(layer: dict[str, Any]) -> str | None:
    return _first_text(layer, _NAMES)


def _first_text(layer: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = layer.get(name)
        if isinstance(value, str) and value:
            return scrub(value)
        if type(value) is int and abs(value) <= 2**63:
            return str(value)
    return None


def _score(layer: Mapping[str, Any]) -> float | None:
    for name in _SCORES:
        value = layer.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                continue
            if math.isfinite(number):
                return number
    return None


def _text(layer: Mapping[str, Any]) -> str | None:
    for name in _TEXTS:
        value = layer.get(name)
        if isinstance(value, dict):
            value = value.get("text")
        if isinstance(value, list):
            parts = [part.get("text") if isinstance(part, dict) else part for part in value]
            texts = [part for part in parts if isinstance(part, str)]
            value = "\n".join(texts) if texts else None
        if isinstance(value, str):
            return scrub(value)
    return None


def _rank(entry: Any) -> int | None:
    for name in ("rank", "position"):
        rank = entry.get(name) if isinstance(entry, dict) else None
        if type(rank) is int and 0 <= rank <= _INT32:
            return rank
    return None
