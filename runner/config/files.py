"""Owns the files a config is made of: itself, and the file its model may live in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runner.config.credentials import inert, shown
from runner.config.places import Document, Finding, Source, graft, nearest, part_at
from runner.config.yaml_text import read_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config.places import KeyPath

MAX_FILE_BYTES = 4 * 1024 * 1024

_MODEL: KeyPath = ("model",)
_LIMITS: KeyPath = ("limits",)
_MODEL_HINT = "model is a section with base_url and name, or the path of a file that holds one"


def read_file(path: Path, source: Source) -> Document:
    """Read a YAML file in UTF-8. Raises nothing: what keeps it from being read is a finding at the empty path."""
    whole = replace(source, numbered=False).place(0, 0)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        return Document(None, {(): whole}, (Finding((), f"{inert(str(path))} cannot be read: {reason}"),))
    if len(raw) > MAX_FILE_BYTES:
        message = f"larger than {MAX_FILE_BYTES // 1024**2} MiB, which is no config"
        return Document(None, {(): whole}, (Finding((), message, place=whole),))
    try:
        return read_yaml(raw.decode("utf-8-sig"), source)
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8-sig", "replace"))
        place = source.place(before.count(b"\n"), column)
        return Document(None, {(): place}, (Finding((), "not UTF-8", "save the file as UTF-8", place),))


def with_model_file(document: Document) -> Document:
    """Return the document with the model's own file in place of its path, and the limits from there.

    Limits that the config sets itself win, key by key. The document's values must be a mapping.
    """
    name = document.values.get("model")
    if not isinstance(name, str):
        return document
    named_at = nearest(document.places, _MODEL)
    path = named_at.folder / name
    read = read_file(path, Source(inert(str(path)), path.parent, number=1))
    if not isinstance(read.values, dict):
        found = Finding((), f"{inert(str(path))} holds no model, found {shown(read.values)}", _MODEL_HINT)
        findings = tuple(replace(finding, hint=finding.hint or _MODEL_HINT) for finding in read.findings) or (found,)
        return graft(document, _MODEL, Document({}, {(): named_at}, findings))
    model = {key: value for key, value in read.values.items() if key != "limits"}
    about_model = tuple(finding for finding in read.findings if finding.path[:1] != _LIMITS)
    document = graft(document, _MODEL, Document(model, read.places, about_model))
    return _with_limits(document, part_at(read, _LIMITS)) if "limits" in read.values else document


def _with_limits(document: Document, limits: Document) -> Document:
    own = document.values.get("limits", {})
    if not isinstance(own, dict):
        return document
    if not isinstance(limits.values, dict) or not own:
        return graft(document, _LIMITS, limits)
    for key in limits.values.keys() - own.keys():
        document = graft(document, (*_LIMITS, key), part_at(limits, (key,)))
    return document
