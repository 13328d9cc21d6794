"""JUnit XML: what readers of it count, and texts that XML cannot hold."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from runner.junit import Case, Suite, junit_xml


def test_counts_and_texts_come_back() -> None:
    cases = [
        Case("min", "gates.a", 1.5),
        Case("max_drop", "gates.a", failure="fell by <0.1>\nand more", system_out="]]> & \"'"),
        Case("later", "gates", skipped="no baseline"),
        Case("broken", "gates", error="raised"),
    ]
    root = ET.fromstring(junit_xml([Suite("nightly", cases, "2026-11-27T02:00:00")]))  # noqa: S314 - our own
    (suite,) = root
    counts = {"tests": "4", "failures": "1", "errors": "1", "skipped": "1", "time": "1.500"}
    assert {name: root.attrib[name] for name in counts} == counts
    assert {name: suite.attrib[name] for name in counts} == counts
    assert suite.attrib["timestamp"] == "2026-11-27T02:00:00"
    failure = suite[1].find("failure")
    assert failure is not None
    assert (failure.attrib["message"], failure.text) == ("fell by <0.1>", "fell by <0.1>\nand more")
    assert suite[1].findtext("system-out") == "]]> & \"'"


def test_what_xml_cannot_hold_is_replaced() -> None:
    hostile = "a\x00b\x1bc\ud800d\uffffe\tf\U0001f600"
    root = ET.fromstring(junit_xml([Suite(hostile, [Case(hostile, hostile, failure=hostile)])]))  # noqa: S314 - our own
    assert root[0].attrib["name"] == "a\ufffdb\ufffdc\ufffdd\ufffde\tf\U0001f600"
    assert root[0][0].findtext("failure") == "a\ufffdb\ufffdc\ufffdd\ufffde\tf\U0001f600"
