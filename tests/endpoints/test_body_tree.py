from __future__ import annotations

from typing import Any

import pytest

from runner.endpoints.tree import ABSENT, compile_tree
from runner.errors import TemplateError

CONTEXT = {
    "model": "m",
    "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi {{ model }}"}],
    "params": {"temperature": 0.0, "n": 2, "flag": False, "stop": ["a"], "nothing": None, "text": "1"},
    "row": {"kb": {"id": 7}, "zero": 0, "empty": ""},
}


@pytest.mark.parametrize(
    ("tree", "made"),
    [
        ({"a": "{{ params.temperature }}"}, {"a": 0.0}),
        ({"a": "{{ params.n }}", "b": "{{ params.flag }}"}, {"a": 2, "b": False}),
        ({"a": "{{ params.text }}"}, {"a": "1"}),
        ({"a": " {{ row.kb }} "}, {"a": {"id": 7}}),
        ({"a": "{{ row.zero }}", "b": "{{ row.empty }}"}, {"a": 0, "b": ""}),
        ({"a": "{{ params.nothing }}", "b": "{{ params.missing.far }}"}, {}),
        ({"a": None, "b": [1, "{{ row.no }}", None, "{{ row.zero }}"]}, {"a": None, "b": [1, None, 0]}),
        ({"a": {"b": {"c": "{{ row.no }}"}}}, {"a": {"b": {}}}),
        ({"a": "{{ messages[].{r: role, c: {t: content}} | [0] }}"}, {"a": {"r": "system", "c": {"t": "be brief"}}}),
        ({"a": "{{messages[-1].content}}"}, {"a": "hi {{ model }}"}),
        ({"a": "<{{ model }}> {{ params.n }} {{ params.flag }} {{ row.kb }}"}, {"a": '<m> 2 false {"id":7}'}),
        ({"a": "no } template {", "{{ key }}": 1}, {"a": "no } template {", "{{ key }}": 1}),
        ({"$merge": "{{ row.kb }}", "id": 8, "x": 1}, {"id": 8, "x": 1}),
        ({"$merge": "{{ row.kb }}", "id": "{{ row.no }}"}, {"id": 7}),
        ({"$merge": "{{ params }}", "$omit": ["stop", "text", "nothing"]}, {"temperature": 0.0, "n": 2, "flag": False}),
        ({"a": {"$merge": "{{ row.no }}"}}, {"a": {}}),
        ({"a": {"$if": "{{ row.empty }}", "x": 1}, "b": {"$if": "{{ row.zero }}", "x": 1}}, {"b": {"x": 1}}),
        ({"a": [{"$if": "{{ row.no }}"}, 1]}, {"a": [1]}),
        ({"$$merge": "{{ model }}"}, {"$merge": "m"}),
    ],
)
def test_values_keep_their_types_and_what_is_absent_is_left_out(tree: dict[str, Any], made: dict[str, Any]) -> None:
    compiled = compile_tree(tree)
    assert compiled.troubles == []
    rendered = compiled.render(CONTEXT)
    assert rendered == made
    assert repr(rendered) == repr(made)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": "x {{ row.no }}"}, "model.adapter: a: `row.no` finds nothing to put into the text"),
        ({"a": "{{ sum(row.kb) }}"}, "model.adapter: a: `sum(row.kb)` fails: JMESPathTypeError"),
        ({"a": [{"b": "{{ join('', messages) }}"}]}, "model.adapter: a.0.b: `join('', messages)` fails"),
        ({"$merge": "{{ messages }}"}, "model.adapter: .$merge: what it finds is no object"),
    ],
)
def test_a_row_that_does_not_fit_is_a_template_error(tree: dict[str, Any], message: str) -> None:
    compiled = compile_tree(tree)
    assert compiled.troubles == []
    assert not compiled.certain
    with pytest.raises(TemplateError) as caught:
        compiled.render(CONTEXT)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("tree", "path", "message", "hint"),
    [
        ({"$mrege": "{{ params }}"}, ("$mrege",), "unknown instruction", 'did you mean "$merge"?'),
        ({"a": {"$x": 1}}, ("a", "$x"), "unknown instruction", "$merge, $omit, $if; $$x is a key $x"),
        ({"$merge": {"a": 1}}, ("$merge",), "expected one expression", 'e.g. "{{ params }}"'),
        ({"a": ["{{ a..b }}"]}, ("a", 0), "not a JMESPath expression", "JMESPath"),
        ({"a": "{{ a }} {{ b"}, ("a",), "a {{ that no }} closes", ""),
        ({"$merge": "{{ params }}", "$omit": "a"}, ("$omit",), "expected a list of names", "e.g."),
        ({"$omit": ["a"]}, ("$omit",), "stands without $merge", ""),
    ],
)
def test_what_is_wrong_has_a_place(tree: dict[str, Any], path: tuple[str | int, ...], message: str, hint: str) -> None:
    (trouble,) = compile_tree(tree).troubles
    assert trouble.path == path
    assert trouble.message.startswith(message)
    assert trouble.hint.startswith(hint)


def test_the_whole_may_be_left_out() -> None:
    assert compile_tree({"$if": "{{ row.no }}", "a": 1}).render(CONTEXT) is ABSENT


def test_dataset_values_are_never_evaluated() -> None:
    context = {"row": {"a": "{{ params.secret }}", "b": "{{ 7*7 }}{% raw %}"}, "params": {"secret": "s"}}
    made = compile_tree({"x": "{{ row.a }}", "y": "<{{ row.b }}>", "$merge": "{{ row }}"}).render(context)
    assert made["x"] == "{{ params.secret }}"
    assert made["y"] == "<{{ 7*7 }}{% raw %}>"
