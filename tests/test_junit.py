"""JUnit XML: what readers look for, and texts that would break it or those who look at it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.junit import Case, Suite, junit_xml


def parsed(*suites: Suite) -> ET.Element:
    return ET.fromstring(junit_xml(suites))  # noqa: S314 - our own


def test_counts_and_endings_are_where_readers_look() -> None:
    root = parsed(
        Suite(
            "gsm8k",
            (
                Case("a", "c", time_s=1.25),
                Case("b", "c", failure="0.3 is less than 0.4\nmore of it"),
                Case("d", "c", error="no answer"),
                Case("e", "c", skipped="not judged", system_out="out"),
            ),
            timestamp="2026-11-28T00:00:00+00:00",
            properties={"run_id": "r1"},
        ),
        Suite("other", (Case("a", "o", time_s=12345678.5),)),
    )
    assert root.tag == "testsuites"
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "5", "failures": "1", "errors": "1", "skipped": "1", "time": "12345679.750",
    }  # fmt: skip
    first, second = root
    assert dict(first.attrib) == {
        "name": "gsm8k", "tests": "4", "failures": "1", "errors": "1", "skipped": "1", "time": "1.250",
        "timestamp": "2026-11-28T00:00:00+00:00",
    }  # fmt: skip
    assert second.get("time") == "12345678.500"
    assert first.find("properties/property[@name='run_id']").attrib["value"] == "r1"  # type: ignore[union-attr]
    passed, failed, broken, skipped = first.findall("testcase")
    assert (passed.attrib, len(passed)) == ({"classname": "c", "name": "a", "time": "1.250"}, 0)
    assert (failed[0].tag, failed[0].attrib["message"]) == ("failure", "0.3 is less than 0.4")
    assert failed[0].text == "0.3 is less than 0.4\nmore of it"
    assert (broken[0].tag, broken[0].text) == ("error", "no answer")
    assert (skipped[0].tag, skipped[0].attrib, skipped[1].text) == ("skipped", {"message": "not judged"}, "out")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("</failure><script>alert(1)</script>", "</failure><script>alert(1)</script>"),
        ("a]]>b & <!-- c --> &lt;", "a]]>b & <!-- c --> &lt;"),
        ("\x1b[31mred\x00\x08\x0b\x9b1m", "�[31mred����1m"),
        ("lone \ud83d surrogate \ufffe\uffff", "lone � surrogate ��"),
        ("evil\u202etxt\u2066x", "evil�txt�x"),
        ("tab\tand\nline, ü 漢 😀", "tab\tand\nline, ü 漢 😀"),
        ("x" * 30_000, "x" * 19_999 + "…"),
    ],
)
def test_texts_stay_texts(text: str, shown: str) -> None:
    root = parsed(Suite("s", (Case("n", "c", failure=text, system_out=text),)))
    assert root.find("testsuite/testcase/failure").text == shown  # type: ignore[union-attr]
    assert root.find("testsuite/testcase/system-out").text == shown  # type: ignore[union-attr]


def test_names_are_one_short_line() -> None:
    hostile = 'a"\n<b>\t\x00' + "c" * 1000
    root = parsed(Suite(hostile, (Case(hostile, hostile, skipped=hostile),), properties={hostile: hostile}))
    for element in root.iter():
        for key in {"name", "classname", "message", "value"} & element.attrib.keys() - {"evalrunner"}:
            assert len(element.attrib[key]) <= 500
            assert not set(element.attrib[key]) & set("\n\t\0")
    assert root[0].attrib["name"].startswith('a" <b> �ccc')


def test_nothing_is_a_document_too() -> None:
    document = junit_xml([])
    assert document.startswith(b"<?xml version='1.0' encoding='utf-8'?>\n<testsuites ")
    assert parsed().attrib["tests"] == "0"


def test_a_case_ends_in_one_way() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        Case("n", "c", failure="f", error="e")


@settings(deadline=None)
@given(st.text(st.characters(), max_size=50))
def test_any_text_makes_a_document_that_reads(text: str) -> None:
    root = parsed(
        Suite(text, (Case(text, text, error=text, system_out=text),), timestamp=text, properties={text: text})
    )
    assert len(root.findall("testsuite/testcase/error")) == 1
