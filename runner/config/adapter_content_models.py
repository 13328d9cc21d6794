"""Owns the shape of an adapter's `documents`: how a RAG system lists, adds and deletes what it may look into."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_PATH = "Added to model.base_url; expressions in it are quoted, and stay one segment."
_QUERY = "Query parameters; one whose expression finds nothing is left out. No key."
_BODY = "The JSON body, a tree as `body` of the adapter is one; null: none. With GET, more query parameters."

State = Literal["completed", "in_progress", "failed", "cancelled"]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class ContentList(_Section):
    """A list, page by page. Expressions read knowledge_base, and one of cursor, page and offset where there are pages.

    Null ends pages by cursor. Pages by number or offset end with an empty page, or where `next` finds nothing.
    """

    method: Literal["GET", "POST"] = Field(default="GET", description="HTTP method.")
    path: str = Field(description=_PATH)
    query: dict[str, str] = Field(default={}, description=_QUERY)
    body: Any = Field(default=None, description=_BODY)
    items: str | None = Field(default=None, description="The list, in the answer; null: the answer is the list.")
    next: str | None = Field(
        default=None, description="In the answer: the next page's {{ cursor }}; with pages by number: true for more."
    )
    first_page: int = Field(default=1, ge=0, description="What {{ page }} counts from.")


class ContentGet(_Section):
    """One document as it is now. Expressions read knowledge_base and id."""

    method: Literal["GET", "POST"] = Field(default="GET", description="HTTP method.")
    path: str = Field(description=_PATH)
    query: dict[str, str] = Field(default={}, description=_QUERY)
    body: Any = Field(default=None, description=_BODY)
    item: str | None = Field(default=None, description="The document, in the answer; null: the answer is it.")


class ContentAdd(_Section):
    """One file added: as a form with the file in it, or as JSON.

    Expressions read knowledge_base, name, sha256, size_bytes; those of `body` also text and base64, the file's content.
    """

    method: Literal["POST", "PUT", "PATCH"] = Field(default="POST", description="HTTP method.")
    path: str = Field(description=_PATH)
    query: dict[str, str] = Field(default={}, description=_QUERY)
    file: str | None = Field(default=None, description="The form's field that carries the file; null: `body` does.")
    file_name: str | None = Field(default=None, description="With file: the name it is sent under; null: its own.")
    fields: dict[str, str] = Field(default={}, description="With file: the form's other fields.")
    body: Any = Field(default=None, description=_BODY)
    item: str | None = Field(default=None, description="The new document, in the answer; null: the answer is it.")
    id: str | None = Field(
        default=None, description="The id that this request gives the document, e.g. {{ sha256 }}; null: the answer's."
    )


class ContentDelete(_Section):
    """One document deleted. Expressions read knowledge_base, id and name."""

    method: Literal["DELETE", "POST", "PUT", "PATCH", "GET"] = Field(default="DELETE", description="HTTP method.")
    path: str = Field(description=_PATH)
    query: dict[str, str] = Field(default={}, description=_QUERY)
    body: Any = Field(default=None, description=_BODY)


class ContentIndex(_Section):
    """What a server is told once all files are there, where it waits for that. Expressions read knowledge_base."""

    method: Literal["POST", "PUT", "PATCH", "GET"] = Field(default="POST", description="HTTP method.")
    path: str = Field(description=_PATH)
    query: dict[str, str] = Field(default={}, description=_QUERY)
    body: Any = Field(default=None, description=_BODY)


class ContentCreate(_Section):
    """A new knowledge base. Expressions read name."""

    method: Literal["POST", "PUT", "PATCH"] = Field(default="POST", description="HTTP method.")
    path: str = Field(description=_PATH)
    query: dict[str, str] = Field(default={}, description=_QUERY)
    body: Any = Field(default=None, description=_BODY)
    item: str | None = Field(default=None, description="The new one, in the answer; null: the answer is it.")


class ContentBases(_Section):
    """Knowledge bases that can be listed and made; without this, --knowledge-base is taken as it is."""

    list: ContentList | None = Field(default=None, description="All of them.")
    create: ContentCreate | None = Field(default=None, description="A new one; null: the server has no way to.")
    id: str = Field(default="id", description="In a knowledge base: its id.")
    name: str | None = Field(default=None, description="In a knowledge base: its name.")
    documents: str | None = Field(default=None, description="In a knowledge base: how many documents it has.")
    size_bytes: str | None = Field(default=None, description="In a knowledge base: its size.")


class ContentDocument(_Section):
    """What a document is, as JMESPath looked up in an item of the list."""

    id: str = Field(description="Its id.")
    name: str | None = Field(default=None, description="Its name.")
    sha256: str | None = Field(
        default=None,
        description="A text that holds its content's SHA-256, as `add` sent it: by this it is known again.",
    )
    size_bytes: str | None = Field(default=None, description="Its size.")
    created_at: str | None = Field(default=None, description="When it was added: seconds since 1970, or ISO 8601.")
    status: str | None = Field(default=None, description="The server's word for how far it is; null: it is ready.")
    states: dict[str, State] = Field(default={}, description="What the server's words mean; others: in_progress.")
    error: str | None = Field(default=None, description="Why it failed.")


class AdapterDocuments(_Section):
    """The content of a RAG system, for `evalrunner documents`. No key of a row depends on it."""

    list: ContentList = Field(description="The documents of a knowledge base.")
    get: ContentGet | None = Field(default=None, description="One of them; null: the list is read again.")
    add: ContentAdd | None = Field(default=None, description="A file added; null: the server has no way to.")
    delete: ContentDelete | None = Field(default=None, description="One deleted; null: the server has no way to.")
    index: ContentIndex | None = Field(default=None, description="Sent once after files were added.")
    document: ContentDocument = Field(description="What an item of the list is.")
    knowledge_bases: ContentBases | None = Field(default=None, description="How these are listed and made.")
