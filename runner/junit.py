"""Owns JUnit XML, as GitHub, GitLab and Jenkins read it: suites of cases that passed, failed, erred or were skipped.

The shape is that of the JUnit XML reporting file format (github.com/testmoapp/junitxml), which names what they share.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

# What XML 1.0 cannot hold, even escaped: controls, surrogates and the two non-characters.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was tested; it passed where failure, error and skipped are all null."""

    name: str
    classname: str
    time_s: float = 0.0
    failure: str | None = None
    error: str | None = None
    skipped: str | None = None
    system_out: str | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases under one name. `timestamp` is ISO 8601."""

    name: str
    cases: list[Case] = field(default_factory=list)
    timestamp: str | None = None


def junit_xml(suites: list[Suite]) -> bytes:
    """Return suites as JUnit XML in UTF-8. Characters that XML cannot hold become U+FFFD."""
    root = ET.Element("testsuites", _counts([case for suite in suites for case in suite.cases]))
    for suite in suites:
        own = ET.SubElement(root, "testsuite", {"name": _legal(suite.name), **_counts(suite.cases)})
        if suite.timestamp is not None:
            own.set("timestamp", _legal(suite.timestamp))
        for case in suite.cases:
            _add(own, case)
    ET.indent(root)
    body: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"


def _counts(cases: list[Case]) -> dict[str, str]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.failure is not None for case in cases)),
        "errors": str(sum(case.error is not None for case in cases)),
        "skipped": str(sum(case.skipped is not None for case in cases)),
        "time": f"{sum(case.time_s for case in cases):.3f}",
    }


def _add(suite: ET.Element, case: Case) -> None:
    facts = {"name": _legal(case.name), "classname": _legal(case.classname), "time": f"{case.time_s:.3f}"}
    own = ET.SubElement(suite, "testcase", facts)
    for tag, text in (("failure", case.failure), ("error", case.error), ("skipped", case.skipped)):
        if text is not None:
            legal = _legal(text)
            ET.SubElement(own, tag, {"message": legal.partition("\n")[0]}).text = legal
    if case.system_out is not None:
        ET.SubElement(own, "system-out").text = _legal(case.system_out)


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
