"""A template's pieces are the JSON of what it renders, byte for byte."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.endpoints import compile_template, join_fields
from runner.errors import TemplateError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
TEXTS = st.sampled_from(
    [
        "plain",
        "{{ a }}",
        " {{ b }} ",
        "x {{ a }}{{ b }}",
        "{% if a %}{{ a }}{% endif %}",
        "{{ 1 + 1 }}",
        'quote " \\',
        "",
    ]
)
TEMPLATES = st.recursive(
    TEXTS | VALUES.filter(lambda value: "{" not in str(value)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)


def canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@given(template=TEMPLATES, a=VALUES.filter(lambda value: value is not None), b=st.text(max_size=9))
def test_pieces_are_the_rendered_value_with_sorted_keys(template: Any, a: Any, b: str) -> None:
    compiled = compile_template(template, "t")
    row = {"a": a, "b": b}
    assert compiled.encoder()(row) == canonical(compiled.render(row))


@given(template=TEMPLATES)
def test_a_constant_template_renders_and_encodes_the_same_without_a_row(template: Any) -> None:
    compiled = compile_template(template, "t")
    if compiled.constant:
        assert compiled.encoder()({}) == canonical(compiled.render({}))
        assert len(compiled.pieces) == 1


def test_fields_compiled_one_by_one_join_into_the_whole() -> None:
    body = {"z": 1, "messages": [{"role": "user", "content": "{{ a }}"}], "a": {"y": "{{ b }}", "x": None}}
    joined = join_fields({key: compile_template(value, key) for key, value in body.items()})
    whole = compile_template(body, "request")
    row = {"a": "é\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "b": [1, {"d": 1, "c": 2}]}
    assert joined.encoder()(row) == whole.encoder()(row) == canonical(whole.render(row))
    assert (joined.columns, joined.certain) == (whole.columns, whole.certain) == (("a", "b"), True)


@pytest.mark.parametrize(
    "text", ["{{ missing }}", "x {{ missing }}", "{{ missing.deep }}", "{% if missing %}{% endif %}"]
)
def test_an_encoder_refuses_what_rendering_refuses(text: str) -> None:
    compiled = compile_template({"messages": [{"content": text}]}, "request")
    with pytest.raises(TemplateError):
        compiled.encoder()({"a": 1})
