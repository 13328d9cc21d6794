from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.endpoints import compile_template
from runner.errors import TemplateError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


def render(value: Any, **values: Any) -> Any:
    return compile_template(value, "request.messages").render(values)


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("plain", {}, "plain"),
        ("{{ a }} and {{ b }}", {"a": "x", "b": "y"}, "x and y"),
        ("{{ a }}{{ a }}", {"a": 3}, "33"),
        ("{{ a | upper }}", {"a": "x"}, "X"),
        ("{% if a > 1 %}many{% else %}one{% endif %}", {"a": 2}, "many"),
        ("{{ a }}!\n", {"a": "x"}, "x!\n"),
        ("{# note #}{{ a }}", {"a": "x"}, "x"),
        ("<b>{{ a }}</b>", {"a": "<i> & \"'"}, "<b><i> & \"'</b>"),
        ("{{ a or '' }}.", {"a": None}, "."),
        ("{{ b | default('none') }}", {}, "none"),
        ("single { brace }", {}, "single { brace }"),
    ],
)
def test_text_is_rendered(template: str, values: dict[str, Any], text: str) -> None:
    assert render(template, **values) == text


@given(JSON)
def test_an_exact_column_keeps_its_type(value: Any) -> None:
    for template in ("{{ a }}", "{{a}}", "  {{- a -}}\n"):
        assert render(template, a=value) is value


def test_nested_values_are_templates_too() -> None:
    template = compile_template({"messages": [{"role": "user", "content": "Q: {{ q }}"}], "n": 3}, "request")
    assert template.render({"q": "x"}) == {"messages": [{"role": "user", "content": "Q: x"}], "n": 3}
    assert template.columns == ("q",)
    assert template.certain


@pytest.mark.parametrize(
    ("template", "columns", "certain"),
    [
        ("plain", (), True),
        ("{{ a }}", ("a",), True),
        ("x {{ b }} {{ a }}", ("a", "b"), True),
        ("{{ a | upper }}", ("a",), False),
        ("{% for x in rows %}{{ x }}{% endfor %}", ("rows",), False),
        ("{% set y = a %}{{ y }}", ("a",), False),
    ],
)
def test_columns_and_certainty_are_known(template: str, columns: tuple[str, ...], certain: bool) -> None:  # noqa: FBT001 - a column of the table
    compiled = compile_template(template, "request")
    assert (compiled.columns, compiled.certain) == (columns, certain)


@pytest.mark.parametrize(
    ("template", "text"),
    [(" {{ a }}", " x"), ("{{ a }}\n", "x\n"), ("\t{{ a -}} ", "\tx"), (" {{- a }} ", "x "), (" {{ a }} ", " x ")],
)
def test_white_space_around_a_text_is_part_of_it(template: str, text: str) -> None:
    compiled = compile_template(template, "request.prompt")
    assert compiled.render({"a": "x"}) == text
    assert compiled.render({"a": ["x"]}) == ["x"]
    assert orjson.loads(compiled.encoder()({"a": "x"})) == text


@pytest.mark.parametrize("template", ["{{ missing }}", "x {{ missing }}", "{{ missing | upper }}", "{{ a.b.c }}"])
def test_a_missing_column_is_an_error_and_never_empty(template: str) -> None:
    with pytest.raises(TemplateError, match=r"request\.messages"):
        render(template, a={})


@pytest.mark.parametrize("template", ["x {{ a }}", "{{ a | trim }}x{{ a }}", "{% if true %}{{ a }}{% endif %}"])
def test_null_in_a_text_is_an_error(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template, a=None)


def test_the_error_says_how_to_allow_null() -> None:
    with pytest.raises(TemplateError, match="column 'a' is null") as caught:
        render("x {{ a }}", a=None)
    assert "{{ a or '' }}" in caught.value.hint


@pytest.mark.parametrize("template", ["{{ a", "{% if %}", "{{ a | no_such_filter }}", "{% endfor %}", "{{ 1 + }}"])
def test_a_template_that_cannot_be_read_names_its_place(template: str) -> None:
    with pytest.raises(TemplateError, match=r"request\.messages"):
        compile_template(template, "request.messages")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ a.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ a.append(1) }}",
        "{{ a.clear() }}x",
        "{% set _ = a.update({}) %}x",
        "{% include '/etc/passwd' %}",
        "{{ lipsum.__globals__ }}",
    ],
)
def test_the_sandbox_holds(template: str) -> None:
    row = {"a": [1]}
    with pytest.raises(TemplateError):
        render(template, **row)
    assert row == {"a": [1]}


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10**8 }}",
        "{{ 10**8 * 'a' }}",
        "{{ [0] * 10**8 }}",
        "{{ a * 10**7 }}",
        "{{ 2 ** 1000000 }}",
        "{{ range(10**9) | list }}",
        "{% for i in range(10**6) %}x{% endfor %}",
    ],
)
def test_a_template_cannot_fill_the_memory(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template, a="text")


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a'.ljust(10**8) }}",
        "{{ 'a'.zfill(10**8) }}",
        "{{ '%100000000d' % 1 }}",
        "{{ '{:100000000}'.format(1) }}",
        "{{ 'a' | center(10**8) }}",
        "{{ ('a' * 10**6) | replace('a', 'a' * 10**3) }}",
    ],
)
def test_a_long_text_by_other_means_is_refused_too(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template)


def test_small_repetitions_and_powers_are_fine() -> None:
    assert render("{{ '-' * 3 }}{{ 2 ** 10 }}{{ 6 * 7 }}") == "---102442"


@pytest.mark.parametrize("template", ["{{ a }}", "x {{ a }}", "{{ a | trim }}", "{% if a %}{{ a }}{% endif %}"])
@pytest.mark.parametrize("value", ["{{ 7 * 7 }}", "{% for x in y %}", "{{ a }}", "{# #}", "{{"])
def test_dataset_values_are_never_rendered(template: str, value: str) -> None:
    assert render(template, a=value, y=[]) == ("x " if template.startswith("x") else "") + value
