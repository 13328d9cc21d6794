"""Owns JUnit XML, as GitHub, GitLab and Jenkins read it: suites of cases that passed, failed, erred or were skipped.

The shape is that of the JUnit XML reporting file format (github.com/testmoapp/junitxml), which names what they share.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What XML 1.0 cannot hold, even escaped; what a terminal would obey; what reorders text on screen.
_UNFIT: Final = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]"
)
# Pages that show results read files of some megabytes, and attributes of a line.
_MOST_TEXT: Final = 20_000
_MOST_LINE: Final = 500


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was tested; it passed where failure, error and skipped are all null, and at most one is not.

    `failure`: it was judged and missed; `error`: it could not be judged; `skipped`: nobody tried. `classname` and
    `name` together tell it from other cases, today and tomorrow. `system_out` is what else there is to read.
    """

    name: str
    classname: str
    time_s: float = 0.0
    failure: str | None = None
    error: str | None = None
    skipped: str | None = None
    system_out: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a case that ended in two ways."""
        if sum(one is not None for one in (self.failure, self.error, self.skipped)) > 1:
            raise ValueError("failure, error and skipped exclude each other")


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases under one name. `timestamp` is ISO 8601; `properties` are facts about all of them."""

    name: str
    cases: Sequence[Case] = ()
    timestamp: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


def junit_xml(suites: Sequence[Suite]) -> bytes:
    """Return suites as JUnit XML in UTF-8.

    Characters that XML cannot hold, or that would steer who looks at them, become U+FFFD. Texts are cut at 20,000
    characters; names, and the messages that lists show, are one line of 500 at most.
    """
    root = ET.Element("testsuites", _counts([case for suite in suites for case in suite.cases]))
    for suite in suites:
        own = ET.SubElement(root, "testsuite", {"name": _line(suite.name), **_counts(suite.cases)})
        if suite.timestamp is not None:
            own.set("timestamp", _line(suite.timestamp))
        if suite.properties:
            properties = ET.SubElement(own, "properties")
            for name, value in suite.properties.items():
                ET.SubElement(properties, "property", {"name": _line(name), "value": _line(value)})
        for case in suite.cases:
            _add(own, case)
    ET.indent(root)
    body: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.failure is not None for case in cases)),
        "errors": str(sum(case.error is not None for case in cases)),
        "skipped": str(sum(case.skipped is not None for case in cases)),
        "time": f"{sum(case.time_s for case in cases):.3f}",
    }


def _add(suite: ET.Element, case: Case) -> None:
    facts = {"name": _line(case.name), "classname": _line(case.classname), "time": f"{case.time_s:.3f}"}
    own = ET.SubElement(suite, "testcase", facts)
    for tag, text in (("failure", case.failure), ("error", case.error), ("skipped", case.skipped)):
        if text is not None:
            ending = ET.SubElement(own, tag, {"message": _line(text.partition("\n")[0])})
            ending.text = _fit(text, _MOST_TEXT)
    if case.system_out is not None:
        ET.SubElement(own, "system-out").text = _fit(case.system_out, _MOST_TEXT)


def _line(text: str) -> str:
    return _fit(" ".join(text[: 4 * _MOST_LINE].split()), _MOST_LINE)


def _fit(text: str, most: int) -> str:
    """Return the text without what would break the document or steer its reader, cut."""
    clean = _UNFIT.sub("\ufffd", text[: most + 1])
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"
