from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.endpoints.expressions import ExpressionError, compile_expression

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("a", {"a": 1}, 1),
        ("a.b.c", {"a": {"b": {"c": [1.5]}}}, [1.5]),
        ("a.b.c", {"a": {"b": "text"}}, None),
        ("a.b", [1], None),
        ('"x y"', {"x y": True}, True),
        ("a[-1].b", {"a": [{"b": 1}, {"b": 2}]}, 2),
        ("a[?t=='x'].b", {"a": [{"t": "x", "b": 1}, {"t": "y", "b": 2}, 5, None]}, [1]),
        ("join(', ', a[].b)", {"a": [{"b": "1"}, {"b": "2"}]}, "1, 2"),
        ("join(', ', a)", {"a": ["1", 2]}, None),
        ("sum([a, b || `0`])", {"a": 1}, 1),
        ("sum([a, b || `0`])", {"b": 1}, None),
        ("a[::0]", {"a": [1, 2]}, None),
        ("length(@)", 5, None),
        ("to_string(@)", {"a": float("nan")}, '{"a":NaN}'),
    ],
)
def test_what_does_not_fit_is_not_found(text: str, value: Any, found: Any) -> None:
    assert compile_expression(text).find(value) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a JMESPath expression"),
        ("a..b", "not a JMESPath expression"),
        ("a[", "not a JMESPath expression"),
        ("a b", "not a JMESPath expression"),
        ("`[1`", "not a JMESPath expression"),
        ("[?type=`text`]", "not a JMESPath expression"),
        ("(" * 2000, "not a JMESPath expression"),
        ("a" * 5000, "an expression of more than 4,096 characters"),
        ("lenght(a)", "there is no function lenght()"),
        ("a[?eval(b)]", "there is no function eval()"),
        ("length(a, b)", "length() takes 1 arguments, not 2"),
        ("not_null()", "not_null() takes 1 arguments or more, not 0"),
        ("`foo`", "not a JMESPath expression"),
    ],
)
def test_what_is_no_expression_is_refused_with_a_hint(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert caught.value.message.startswith(message)


def test_a_misspelt_function_is_guessed() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression("lenght(a)")
    assert caught.value.hint == 'did you mean "length"?'


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("row.question", {("row", "question")}),
        ('row."a b".c', {("row", "a b")}),
        ("row", {("row", None)}),
        ("row[0]", {("row", None)}),
        ("row.*", {("row", None)}),
        ("@", {("@", None)}),
        ("keys(@)", {("@", None)}),
        ("[0]", {("@", None)}),
        ("messages[?role=='user'].content | [0]", {("messages", None)}),
        ("messages[?role==row.role]", {("messages", None)}),
        ("join(row.glue, messages[].content)", {("row", "glue"), ("messages", None)}),
        ("{a: row.x, b: params.y}", {("row", "x"), ("params", "y")}),
        ("row.x || row.y && !model", {("row", "x"), ("row", "y"), ("model", None)}),
        ("map(&row.x, messages)", {("messages", None)}),
        ("row.x == `1`", {("row", "x")}),
        ("row.x[1:2]", {("row", "x")}),
        ("row.x[0].y", {("row", "x")}),
        ("row.x[].y[]", {("row", "x")}),
        ("row.{a: x}", {("row", None)}),
    ],
)
def test_what_an_expression_reads_is_known_beforehand(text: str, reads: set[tuple[str, str | None]]) -> None:
    assert set(compile_expression(text).reads) == reads


def test_a_join_of_hostile_length_is_refused() -> None:
    value = {"glue": "x" * 1_000_000, "items": [""] * 100_000}
    assert compile_expression("join(glue, items)").find(value) is None


SAMPLES = [
    "a",
    "a.b",
    "a[0].b",
    "a[?b=='x'].c",
    "a[*].b[]",
    "a.*",
    "{x: a, y: b.c}",
    "[a, b]",
    "a || b && !c",
    "a == b",
    "a[?b != c]",
    "a | [0]",
]


@pytest.mark.parametrize("text", SAMPLES)
def test_what_is_called_certain_never_fails(text: str) -> None:
    expression = compile_expression(text)
    assert expression.certain

    @settings(deadline=None)
    @given(JSON)
    def check(value: Any) -> None:
        expression.search(value)

    check()


@given(
    JSON,
    st.sampled_from([*SAMPLES, "a > b", "sum(a)", "join('', a)", "sort_by(a, &b)", "max(a)", "a[::0]", "map(&b, a)"]),
)
def test_nothing_escapes_whatever_the_value_is(value: Any, text: str) -> None:
    compile_expression(text).find(value)


def test_values_nested_without_end_escape_no_more() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    assert compile_expression("to_string(a)").find({"a": value}) is None
