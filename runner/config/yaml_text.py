"""Owns reading YAML 1.2 text into a document: plain values, and the line and column of each.

ruamel.yaml parses; the values are made here from its events. That keeps the place of every key, needs no recursion,
stops at the first node too many, and leaves out what a config has no use for: dates, binaries, tags, merge keys.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from runner.config.credentials import inert
from runner.config.places import Document, Finding
from runner.config.scalars import BadValueError, checked_text, plain_scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.config.places import KeyPath, Place, Source

MAX_NODES = 100_000
MAX_DEPTH = 64

# What ruamel.yaml says, as a pattern; what it means; what to do.
_PLAIN_WORDS = (
    (r"\\t", "a tab where none can stand", "indent with spaces"),
    ("mapping values are not allowed", "a second `: ` in one line", "quote a text that holds `: `; check the indent"),
    (
        "could not find expected ':'",
        "a line without `key: value`",
        "quote a text of several lines, or write it after |",
    ),
    (r"\\x00|end of stream|stream end", "the text ends too early", "a quote or bracket is not closed"),
    ("<block end>", "the indent does not fit the lines above", "a section's keys begin in the same column"),
    ("document start", "more text after the end of the config", "check the indent of this line"),
    ("cannot start any token", "a character that cannot begin a text", "put the text in quotes"),
)
_TEXT_TAG = "tag:yaml.org,2002:str"


def read_yaml(text: str, source: Source) -> Document:
    """Read one YAML document; an empty text gives the value null. Raises nothing: what is wrong is in the findings.

    A finding at the empty path says that nothing could be read: no YAML, nested too deeply, too many nodes.
    """
    builder = _Builder(source)
    try:
        for event in _events(text, source):
            builder.take(event)
    except _UnreadableError as error:
        return Document(None, {(): source.place(0, 0)}, (error.finding,))
    return Document(builder.root, builder.places, tuple(builder.findings))


class _UnreadableError(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def _events(text: str, source: Source) -> Iterator[Any]:
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except ReaderError as error:
        before = text[: error.position]
        place = source.place(before.count("\n"), len(before) - before.rfind("\n") - 1)
        raise _UnreadableError(Finding((), "a control character, which YAML does not allow", "", place)) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = source.place(mark.line, mark.column) if mark else source.place(0, 0)
        message, hint = _plain_words(str(error.problem or error.context))
        raise _UnreadableError(Finding((), message, hint, place)) from error
    except Exception as error:
        finding = Finding((), "not valid YAML: an escape or directive that does not exist", "", source.place(0, 0))
        raise _UnreadableError(finding) from error


def _plain_words(problem: str) -> tuple[str, str]:
    """Return message and hint for ruamel.yaml's word for a problem."""
    for pattern, message, hint in _PLAIN_WORDS:
        if re.search(pattern, problem):
            return f"not valid YAML: {message}", hint
    return f"not valid YAML: {inert(problem)}", ""


@dataclass(slots=True)
class _Frame:
    """A mapping or list being read; `first` counts the nodes before it, `key` waits for its value."""

    container: Any
    path: KeyPath
    anchor: str | None
    first: int
    height: int = 1
    key: str | None = None


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: Any
    nodes: int
    height: int


@dataclass(slots=True)
class _Builder:
    """The only mutable state: what is open, what was read so far, and how much of it."""

    source: Source
    root: Any = None
    places: dict[KeyPath, Place] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    open: list[_Frame] = field(default_factory=list)
    anchors: dict[str, _Anchored] = field(default_factory=dict)
    nodes: int = 0
    documents: int = 0

    def __post_init__(self) -> None:
        self.places[()] = self.source.place(0, 0)

    def take(self, event: Any) -> None:
        """Take the parser's next event. Raises _UnreadableError where reading cannot go on."""
        match event:
            case ScalarEvent() if self._wants_key():
                self._take_key(event)
            case ScalarEvent():
                path = self._next_path(event)
                self._attach(_Anchored(self._scalar(event, path), 1, 0), event.anchor)
            case MappingStartEvent():
                self._open_frame({}, event)
            case SequenceStartEvent():
                self._open_frame([], event)
            case MappingEndEvent() | SequenceEndEvent():
                frame = self.open.pop()
                self._attach(_Anchored(frame.container, self.nodes - frame.first, frame.height), frame.anchor)
            case AliasEvent():
                self._take_alias(event)
            case DocumentStartEvent():
                self._start_document(event)

    def _wants_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1].container, dict) and self.open[-1].key is None

    def _take_key(self, event: Any) -> None:
        frame = self.open[-1]
        self._count(1, event)
        place = self._place(event)
        frame.key = self._key_text(event)
        path = (*frame.path, frame.key)
        if frame.key in frame.container:
            message = f"the key stands here a second time; the first is at {self.places[path].text}"
            self.findings.append(Finding(path, message, "keep one of them", place))
        if frame.key == "<<":
            self.findings.append(Finding(path, "merge keys are not part of YAML 1.2", "write the keys out", place))
        self.places[path] = place

    def _key_text(self, event: Any) -> str:
        try:
            return checked_text(event.value)
        except BadValueError as error:
            self._stop(event, f"a key cannot be used: {error}")

    def _next_path(self, event: Any) -> KeyPath:
        """Count a value that starts here and return its path; the place of a list item is noted."""
        self._count(1, event)
        if not self.open:
            return ()
        frame = self.open[-1]
        if frame.key is not None:
            return (*frame.path, frame.key)
        if isinstance(frame.container, dict):
            self._stop(event, "a key has to be a text", 'put a template in quotes: "{{ column }}"')
        path = (*frame.path, len(frame.container))
        self.places[path] = self._place(event)
        return path

    def _scalar(self, event: Any, path: KeyPath) -> Any:
        self._refuse_tag(event, path)
        try:
            return plain_scalar(event.value) if event.implicit[0] else checked_text(event.value)
        except BadValueError as error:
            self.findings.append(Finding(path, str(error), "", self._place(event)))
            return None

    def _open_frame(self, container: Any, event: Any) -> None:
        path = self._next_path(event)
        self._refuse_tag(event, path)
        if len(self.open) >= MAX_DEPTH:
            self._stop(event, f"nested more than {MAX_DEPTH} levels deep")
        self.open.append(_Frame(container, path, event.anchor, self.nodes))

    def _take_alias(self, event: Any) -> None:
        self._next_path(event)
        anchored = self.anchors.get(event.anchor)
        if anchored is None:
            self._stop(event, "an alias (*name) whose anchor (&name) does not stand before it", "quote a text with *")
        if len(self.open) + anchored.height > MAX_DEPTH:
            self._stop(event, f"nested more than {MAX_DEPTH} levels deep")
        self._count(anchored.nodes, event)
        # A copy, so that a --set below one of the two places does not change the other.
        self._attach(_Anchored(deepcopy(anchored.value), anchored.nodes, anchored.height), None)

    def _attach(self, read: _Anchored, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = read
        if not self.open:
            self.root = read.value
            return
        frame = self.open[-1]
        frame.height = max(frame.height, read.height + 1)
        if frame.key is None:
            frame.container.append(read.value)
        else:
            frame.container[frame.key] = read.value
            frame.key = None

    def _start_document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self._stop(event, "a second YAML document begins here", "a config is one document; remove the `---`")

    def _refuse_tag(self, event: Any, path: KeyPath) -> None:
        if event.tag is not None and event.tag != _TEXT_TAG:
            finding = Finding(path, "YAML tags (!name) are not supported", "quote a text with !", self._place(event))
            self.findings.append(finding)

    def _count(self, nodes: int, event: Any) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self._stop(event, f"more than {MAX_NODES:,} values, aliases written out", "")

    def _place(self, event: Any) -> Place:
        return self.source.place(event.start_mark.line, event.start_mark.column)

    def _stop(self, event: Any, message: str, hint: str = "") -> NoReturn:
        raise _UnreadableError(Finding((), message, hint, self._place(event)))
