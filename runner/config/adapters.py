"""Owns reading adapters: a file, or one that is shipped. Every problem comes at once, with its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.config.adapter_models import AdapterFile
from runner.config.adapter_names import is_adapter_path, shipped_folder
from runner.config.adapter_rules import adapter_findings
from runner.config.credentials import inert, shown
from runner.config.explain import validated_or_findings
from runner.config.files import read_file
from runner.config.places import Document, Finding, Source, problems
from runner.config.python_values import read_values
from runner.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = "expected an adapter with the keys endpoints, path, body and response"


def load_adapter(name: str) -> dict[str, Any]:
    """Read an adapter, a path or the name of a shipped one, as plain values with every key written out.

    Raises ConfigError with everything that is wrong in it, in the order of the file.
    """
    path = Path(name) if is_adapter_path(name) else Path(str(shipped_folder() / f"{name}.yaml"))
    document = read_file(path, Source(inert(str(path)), path.parent))
    if not document.findings and not isinstance(document.values, dict):
        found = "it is empty" if document.values is None else f"found {shown(document.values)}"
        document = Document({}, document.places, (Finding((), f"{_KEYS}; {found}"),))
    if any(finding.path == () for finding in document.findings):
        raise ConfigError(problems(document.findings, document.places))
    return _validated(document, path.stem)


def adapter_from_dict(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an adapter that a manifest holds, checked as a file is. Raises ConfigError; its places are keys."""
    document = read_values(values, Path())
    if not isinstance(document.values, dict):
        raise ConfigError([Problem("adapter", _KEYS)])
    return _validated(document, name)


def _validated(document: Document, name: str) -> dict[str, Any]:
    values: dict[str, Any] = document.values
    made = validated_or_findings(AdapterFile, values)
    unread = [finding.path for finding in document.findings]
    findings = adapter_findings(values) + (made if isinstance(made, list) else [])
    findings = [found for found in findings if not any(found.path[: len(path)] == path for path in unread)]
    if findings or unread or isinstance(made, list):
        raise ConfigError(problems([*document.findings, *findings], document.places))
    plain = made.model_dump(mode="json")
    return {**plain, "name": made.name or name}
