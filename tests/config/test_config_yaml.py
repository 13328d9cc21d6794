from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.config.places import Source, problems
from runner.config.yaml_text import MAX_DEPTH, read_yaml


def read(text: str) -> Any:
    document = read_yaml(text, Source("f", Path()))
    assert document.findings == ()
    return document.values


def complaints(text: str) -> list[str]:
    document = read_yaml(text, Source("f", Path()))
    return [str(problem) for problem in problems(document.findings, document.places)]


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("", None),
        ("~", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("1.10", 1.1),
        ("0123", 123),
        ("-0x1F", "-0x1F"),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e3", 1000.0),
        ("+.5", 0.5),
        ("1.", 1.0),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-11-22", "2026-11-22"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1", "1"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ("\u0661", "\u0661"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(scalar: str, value: Any) -> None:
    found = read(f"a: {scalar}\n")["a"]
    assert (found, type(found)) == (value, type(value))


def test_an_older_yaml_directive_changes_nothing() -> None:
    assert read("%YAML 1.1\n---\na: no\nb: 0123\n") == {"a": "no", "b": 123}


def test_collections_and_text_blocks() -> None:
    text = "a:\n- 1\n- {b: [x, {}]}\nc: |\n  one\n  two\nd: >-\n  one\n  two\n"
    assert read(text) == {"a": [1, {"b": ["x", {}]}], "c": "one\ntwo\n", "d": "one two"}


def test_keys_are_texts_as_written() -> None:
    assert read("{50256: -100, true: 1, null: 2, 1.0: 3}") == {"50256": -100, "true": 1, "null": 2, "1.0": 3}


def test_an_alias_is_a_copy() -> None:
    values = read("a: &x {k: [1]}\nb: *x\nc: &y text\nd: [*y, *y]\n")
    assert values == {"a": {"k": [1]}, "b": {"k": [1]}, "c": "text", "d": ["text", "text"]}
    values["a"]["k"].append(2)
    assert values["b"] == {"k": [1]}


def test_an_empty_text_is_null() -> None:
    assert read("") is None
    assert read("# only a comment\n") is None


def test_every_key_and_item_has_its_place() -> None:
    document = read_yaml("a: 1\nb:\n  - c: 2\n  - [x,\n     y]\n", Source("f", Path()))
    texts = {path: place.text for path, place in document.places.items()}
    assert texts == {
        (): "f:1:1",
        ("a",): "f:1:1",
        ("b",): "f:2:1",
        ("b", 0): "f:3:5",
        ("b", 0, "c"): "f:3:5",
        ("b", 1): "f:4:5",
        ("b", 1, 0): "f:4:6",
        ("b", 1, 1): "f:5:6",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3:1: a: the key stands here a second time; the first is at f:1:1 (keep one of them)"),
        ("a: {<<: {b: 1}}\n", "f:1:5: a.<<: merge keys are not part of YAML 1.2 (write the keys out)"),
        ("a: !include x\n", "f:1:4: a: YAML tags (!name) are not supported (quote a text with !)"),
        ("a: !!binary eA==\n", "f:1:4: a: YAML tags (!name) are not supported (quote a text with !)"),
        ("a: !x [1]\n", "f:1:4: a: YAML tags (!name) are not supported (quote a text with !)"),
        (
            "a: 18446744073709551616\n",
            "f:1:4: a: the number is too large or not finite; JSON and 64 bits have to hold it",
        ),
        (
            "a: 0x10000000000000000\n",
            "f:1:4: a: the number is too large or not finite; JSON and 64 bits have to hold it",
        ),
        ("a: 1e999\n", "f:1:4: a: the number is too large or not finite; JSON and 64 bits have to hold it"),
        ('a: "\\ud83d"\n', "f:1:4: a: the text holds a broken code point (half of a surrogate pair)"),
        ("a:\n\tb: 1\n", "f:2:1: not valid YAML: a tab where none can stand (indent with spaces)"),
        (
            "a: b: c\n",
            "f:1:5: not valid YAML: a second `: ` in one line (quote a text that holds `: `; check the indent)",
        ),
        ("a: [1\n", "f:2:1: not valid YAML: the text ends too early (a quote or bracket is not closed)"),
        ("a: 'x\n", "f:2:1: not valid YAML: the text ends too early (a quote or bracket is not closed)"),
        (
            "a:\n  b: 1\n c: 2\n",
            (
                "f:3:2: not valid YAML: the indent does not fit the lines above"
                " (a section's keys begin in the same column)"
            ),
        ),
        (
            "a: 1\nplain\n",
            ("f:3:1: not valid YAML: a line without `key: value` (quote a text of several lines, or write it after |)"),
        ),
        ("a: @b\n", "f:1:4: not valid YAML: a character that cannot begin a text (put the text in quotes)"),
        (
            "{a: 1}\n{b: 1}\n",
            "f:2:1: not valid YAML: more text after the end of the config (check the indent of this line)",
        ),
        ('a: "\\q"\n', "f:1:6: not valid YAML: found unknown escape character 'q'"),
        ('a: "\\UFFFFFFFF"\n', "f:1:1: not valid YAML: an escape or directive that does not exist"),
        ("%YAML 1.9\n---\na: 1\n", "f:1:1: not valid YAML: an escape or directive that does not exist"),
        ("a: 1\nb: \x01\n", "f:2:4: a control character, which YAML does not allow"),
        ("a: 1\n---\nb: 2\n", "f:2:1: a second YAML document begins here (a config is one document; remove the `---`)"),
        ("a: *x\n", "f:1:4: an alias (*name) whose anchor (&name) does not stand before it (quote a text with *)"),
        ("a: &x [*x]\n", "f:1:8: an alias (*name) whose anchor (&name) does not stand before it (quote a text with *)"),
        ("a: {{ question }}\n", 'f:1:5: a key has to be a text (put a template in quotes: "{{ column }}")'),
        ("? [a]\n: 1\n", 'f:1:3: a key has to be a text (put a template in quotes: "{{ column }}")'),
        (
            '"\\ud83d": 1\n',
            "f:1:1: a key cannot be used: the text holds a broken code point (half of a surrogate pair)",
        ),
    ],
)
def test_what_cannot_be_used_is_named_with_line_and_column(text: str, problem: str) -> None:
    assert complaints(text) == [problem]


def test_sound_parts_of_a_repeated_section_are_no_repetition() -> None:
    assert len(complaints("a: {b: 1}\na: {b: 2}\n")) == 1


def test_depth_is_bounded_also_through_aliases() -> None:
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    too_deep = [f"f:1:{MAX_DEPTH + 1}: nested more than {MAX_DEPTH} levels deep"]
    assert complaints("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == too_deep
    half = MAX_DEPTH // 2
    assert read("a: &x " + "[" * half + "]" * half + "\nb: " + "[" * (half - 1) + "*x" + "]" * (half - 1))
    text = "a: &x " + "[" * half + "]" * half + "\nb: " + "[" * half + "*x" + "]" * half
    assert complaints(text) == [f"f:2:{half + 4}: nested more than {MAX_DEPTH} levels deep"]


def test_an_alias_bomb_is_counted_as_what_it_would_become() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert complaints("\n".join(lines)) == ["f:5:45: more than 100,000 values, aliases written out"]


def test_a_million_values_are_refused_before_they_are_read() -> None:
    found = complaints("- a\n" * 200_000)
    assert found == ["f:100000:3: more than 100,000 values, aliases written out"]
