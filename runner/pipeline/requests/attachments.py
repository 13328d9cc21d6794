"""Owns the filters that put files into requests (`{{ image | data_url }}`), and which files a row's request is made of.

There are two sets of them. The reading ones give what is sent. The noting ones make sure that a file can be sent and
note the digest of its content, so that a request's files can be part of a row's identity, and found wanting, before
anything is read as a whole or sent. In place of base64 they give the digest: a template that looks into base64 to
decide which file comes next is not followed there.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from mimetypes import MimeTypes
from typing import TYPE_CHECKING, Any

from runner.errors import TemplateError
from runner.pipeline.requests.localfiles import LocalFileError, content_digest, open_local

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from runner.endpoints import Filters

MOST_ROW_BYTES = 64 << 20
# Digests of files that many rows name: 4,096 of them take about 1 MB.
_REMEMBERED = 4096
_SHOWN = 120
_URL = re.compile(r"(?:https?|data):", re.IGNORECASE)
_TOKEN = r"[A-Za-z0-9!#$&^_.+-]{1,100}"  # noqa: S105 - what RFC 6838 calls the parts of a media type
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:;{_TOKEN}={_TOKEN}){{0,4}}")
# The table of the standard library alone: that of the system would make the same run differ between machines.
_TYPES = MimeTypes()


@dataclass(slots=True)
class Attachments:
    """The files that rows of one dataset may name. `folder` null: none, for the reason `lacking`.

    One row at a time is worked on, in whatever thread.
    """

    folder: Path | None
    lacking: str = ""
    _digests: dict[tuple[int, ...], bytes] = field(default_factory=dict)
    _noted: list[bytes] = field(default_factory=list)
    _row_bytes: int = 0

    @property
    def reading(self) -> Filters:
        """The filters that give what is sent."""
        return _filters(self._read_base64, self._read_text)

    @property
    def noting(self) -> Filters:
        """The filters that note which files are used."""
        return _filters(self._note, self._note_text)

    def digests_by(self, render: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], bytes]:
        """Return a function that gives the digests of all files of a row's request, in the order of their use.

        `render` renders the request with the noting filters. Raises TemplateError where a file cannot be sent.
        """

        def digests(values: Mapping[str, Any]) -> bytes:
            self._noted.clear()
            self._row_bytes = 0
            render(values)
            return b"".join(self._noted)

        return digests

    def _read_base64(self, name: str) -> str:
        try:
            with open_local(self._known_folder(), name) as file:
                return b64encode(file.read()).decode("ascii")
        except LocalFileError as error:
            raise _unusable(name, error) from error

    def _read_text(self, name: str) -> str:
        try:
            with open_local(self._known_folder(), name) as file:
                return _text(file.read())
        except LocalFileError as error:
            raise _unusable(name, error) from error

    def _note(self, name: str) -> str:
        try:
            with open_local(self._known_folder(), name) as file:
                self._count(file.size_bytes)
                digest = self._digests.get(file.version)
                if digest is None:
                    digest = file.digest()
                    self._remember(file.version, digest)
        except LocalFileError as error:
            raise _unusable(name, error) from error
        self._noted.append(digest)
        return digest.hex() if file.size_bytes else ""

    def _note_text(self, name: str) -> str:
        try:
            with open_local(self._known_folder(), name) as file:
                self._count(file.size_bytes)
                content = file.read()
                text = _text(content)
        except LocalFileError as error:
            raise _unusable(name, error) from error
        self._noted.append(content_digest(content))
        return text

    def _known_folder(self) -> Path:
        if self.folder is None:
            raise LocalFileError(f"cannot be found: {self.lacking}")
        return self.folder

    def _count(self, size_bytes: int) -> None:
        self._row_bytes += size_bytes
        if self._row_bytes > MOST_ROW_BYTES:
            raise LocalFileError(f"is one too many: {MOST_ROW_BYTES >> 20} MiB are the most for all files of a request")

    def _remember(self, version: tuple[int, ...], digest: bytes) -> None:
        if len(self._digests) >= _REMEMBERED:
            del self._digests[next(iter(self._digests))]
        self._digests[version] = digest


def untouched() -> Filters:
    """Return the filters as functions that look at nothing, to find out what else may be wrong with a template."""
    return _filters(str, str)


def _filters(base64: Callable[[str], str], text: Callable[[str], str]) -> Filters:
    def data_url(value: Any, media_type: Any = None) -> str:
        name = _name(value)
        if _URL.match(name):
            return name
        content = base64(name)
        return f"data:{_guessed(name) if media_type is None else _checked(media_type)};base64,{content}"

    def base64_of(value: Any) -> str:
        name = _name(value)
        return name if _URL.match(name) else base64(name)

    def file_text(value: Any) -> str:
        name = _name(value)
        if _URL.match(name):
            raise TemplateError(f"{_shown(name)} is a URL; file_text reads files only")
        return text(name)

    return {"data_url": data_url, "base64": base64_of, "file_text": file_text}


def _name(value: Any) -> str:
    if not isinstance(value, str):
        found = "null" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
        raise TemplateError(f"expected the name of a file or a URL, found {found}")
    return value


def _checked(media_type: Any) -> str:
    if isinstance(media_type, str) and _MEDIA_TYPE.fullmatch(media_type):
        return media_type
    raise TemplateError(f"{_shown(str(media_type))} is no media type", hint="as in data_url('image/webp')")


def _guessed(name: str) -> str:
    # Without the folders: what looks like a URL to the standard library has types of its own there.
    media_type, packed = _TYPES.guess_type(name.rpartition("/")[2], strict=False)
    if media_type is None or packed is not None:
        raise TemplateError(
            f"{_shown(name)}: its suffix does not say which media type it is", hint="as in data_url('image/webp')"
        )
    return media_type


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LocalFileError(f"is no UTF-8 text (byte {error.start})") from error


def _unusable(name: str, error: LocalFileError) -> TemplateError:
    return TemplateError(f"{_shown(name)} {error}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
