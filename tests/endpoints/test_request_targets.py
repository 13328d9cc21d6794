from __future__ import annotations

from typing import Any

import pytest

from runner.endpoints.target import compile_target
from runner.errors import TemplateError


def render(path: str, query: dict[str, str] | None = None, **context: Any) -> str:
    return compile_target(path, query or {}).render(context)


@pytest.mark.parametrize(
    ("path", "context", "rendered"),
    [
        ("/ask", {}, "/ask"),
        ("/ask/{{ model }}", {"model": "a b/c"}, "/ask/a%20b%2Fc"),
        ("/{{ model }}:run", {"model": "ü?#%2e\udc80"}, "/%C3%BC%3F%23%252e%EF%BF%BD:run"),
        ("/kb/{{ kb }}/{{ join(',', docs) }}", {"kb": 7, "docs": ["a/b", "c"]}, "/kb/7/a%2Fb,c"),
        ("/kb/x{{ kb }}", {"kb": ".."}, "/kb/x.."),
        ("/kb/{{ kb }}", {"kb": "..."}, "/kb/..."),
    ],
)
def test_a_value_stays_in_its_segment(path: str, context: dict[str, Any], rendered: str) -> None:
    assert render(path, **context) == rendered


@pytest.mark.parametrize("value", ["..", ".", "", None])
def test_a_segment_that_would_be_another_place_is_refused(value: Any) -> None:
    with pytest.raises(TemplateError, match=r"model\.adapter: path"):
        render("/kb/{{ kb }}/ask", kb=value)


def test_an_expression_cannot_add_a_segment() -> None:
    with pytest.raises(TemplateError, match="puts a / into"):
        render("/kb/{{ join('/', docs) }}", docs=["a", "b"])


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        ("a&b=c", "/ask?v=a%26b%3Dc"),
        (None, "/ask"),
        ([], "/ask"),
        (["a", None, 2], "/ask?v=a&v=2"),
        (True, "/ask?v=true"),
        ({"a": 1}, "/ask?v=%7B%22a%22%3A1%7D"),
        ("\ud800", "/ask?v=%EF%BF%BD"),
    ],
)
def test_a_parameter_is_quoted_repeated_or_left_out(value: Any, rendered: str) -> None:
    assert render("/ask", {"v": "{{ x }}"}, x=value) == rendered


def test_what_is_read_is_known() -> None:
    made = compile_target("/{{ retrieval.knowledge_base }}", {"a": "{{ model }}", "b": "1"})
    assert made.reads == {("retrieval", "knowledge_base"), ("model", None)}
