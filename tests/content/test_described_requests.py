"""Requests of a content API as an adapter describes them: what each becomes for a document."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runner.content.described import compile_request, compile_texts
from runner.errors import TemplateError

CONTEXT = {"model": "m", "knowledge_base": "a b", "id": "d/1", "name": 'odd "name"', "sha256": "f" * 64, "cursor": None}


def fill(**request: Any) -> tuple[str, str, bytes | None]:
    values = {"method": "GET", "path": "/all", "query": {}, "body": None, **request}
    return compile_request(values, ("documents", "list")).fill(CONTEXT)


def test_a_request_is_filled_in() -> None:
    path, query = "/{{ knowledge_base }}/{{ id }}", {"after": "{{ cursor }}", "n": "2"}
    assert fill(path=path, query=query) == ("GET", "/a%20b/d%2F1?n=2", None)
    method, _, body = fill(method="POST", body={"ids": ["{{ id }}"], "after": "{{ cursor }}"})
    assert (method, orjson.loads(body or b"")) == ("POST", {"ids": ["d/1"]})
    assert fill(body="{{ cursor }}")[2] is None
    assert fill(body="{{ id }}")[2] == b'"d/1"'


def test_what_is_missing_is_said_with_its_place() -> None:
    with pytest.raises(TemplateError, match=r"model\.adapter: documents\.list\.path: `cursor` finds nothing"):
        fill(path="/{{ cursor }}")
    with pytest.raises(TemplateError, match=r"model\.adapter: documents\.list\.body\.a: `cursor` finds nothing"):
        fill(body={"a": "from {{ cursor }}"})


def test_what_is_read_is_known() -> None:
    values = {"method": "GET", "path": "/{{ id }}", "query": {"a": "{{ page }}"}, "body": {"b": ["{{ name }}"]}}
    assert compile_request(values, ("documents", "get")).reads == {"id", "page", "name"}


def test_a_form_field_is_a_text_and_may_be_json_of_its_own() -> None:
    texts = compile_texts(
        {
            "title": "{{ name }}",
            "after": "{{ cursor }}",
            "metadata": "{{ to_string({checksum: sha256, title: name}) }}",
            "list": "{{ [id, model] }}",
        },
        ("documents", "add", "fields"),
    )
    made = texts.fill(CONTEXT)
    assert made.keys() == {"title", "metadata", "list"}
    assert orjson.loads(made["metadata"]) == {"checksum": "f" * 64, "title": 'odd "name"'}
    assert (made["title"], made["list"]) == ('odd "name"', '["d/1","m"]')
    assert texts.reads == {"name", "cursor", "sha256", "id", "model"}
