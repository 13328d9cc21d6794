"""Owns making a `RunConfig`: from a file, its model file and `--set`, or from a dict. Every problem comes at once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.config.credentials import inert, shown
from runner.config.explain import config_or_findings
from runner.config.files import read_file, with_model_file
from runner.config.overrides import read_override, with_override
from runner.config.params import warnings
from runner.config.paths import with_absolute_paths
from runner.config.places import Document, Finding, Source, dotted, problems
from runner.config.python_values import read_values
from runner.config.rules import rule_findings
from runner.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runner.config.models import RunConfig
    from runner.config.places import KeyPath, Place

_MODEL = ("model",)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid config, the file it came from, what is allowed but doubtful in it, and where each of its keys stands."""

    config: RunConfig
    path: Path
    warnings: tuple[str, ...]
    places: Mapping[KeyPath, Place]

    def where(self, key_path: str) -> str:
        """Return `file:line:column` or `--set KEY` of a dotted key, or of the closest section above it."""
        by_name = {dotted(path): place for path, place in self.places.items()}
        while key_path and key_path not in by_name:
            key_path = key_path.rpartition(".")[0]
        return by_name[key_path].text

    @contextlib.contextmanager
    def naming_places(self) -> Iterator[None]:
        """Let what is found wrong with single keys later (ConfigError) be told with file and line, too."""
        try:
            yield
        except ConfigError as error:
            placed = [Problem(self.where(one.where), f"{one.where}: {one.message}", one.hint) for one in error.problems]
            raise ConfigError(placed) from error


def load_config(path: str | Path, *, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Load a YAML config, with `overrides` (`KEY=VALUE`, values as YAML) put in last.

    Relative paths become absolute: those in a file count from that file, those in an override from the current
    folder. Environment variables are not looked at. Raises ConfigError with every problem, in the order of the file.
    """
    path = Path(path)
    document = _assembled(read_file(path, Source(inert(str(path)), path.parent)), overrides)
    config = _validated(document)
    return LoadedConfig(config, path, tuple(warnings(config)), document.places)


def config_from_dict(values: Mapping[str, Any], base_dir: str | Path, *, overrides: Sequence[str] = ()) -> RunConfig:
    """Make a config from plain values, such as `to_dict` gives and a manifest holds, with the checks of a file.

    Relative paths count from `base_dir`. Raises ConfigError; the places in it are keys.
    """
    return _validated(_assembled(read_values(values, Path(base_dir)), overrides))


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Return the config as plain JSON values, every key written out; `config_from_dict` makes an equal config of it."""
    return config.model_dump(mode="json", by_alias=True)


def _assembled(document: Document, texts: Sequence[str]) -> Document:
    """Return the document with its model file and the overrides in it; its values are a mapping."""
    document = _as_mapping(document)
    overrides = [read_override(text, number) for number, text in enumerate(texts)]
    for override in overrides:
        if override.keys == _MODEL:
            document = with_override(document, override)
    # Only now is it known which model file the other overrides change something in.
    document = with_model_file(document)
    for override in overrides:
        if override.keys != _MODEL:
            document = with_override(document, override)
    return document


def _as_mapping(document: Document) -> Document:
    if isinstance(document.values, dict):
        return document
    findings = document.findings
    if not any(finding.path == () for finding in findings):
        found = "it is empty" if document.values is None else f"found {shown(document.values)}"
        findings = (*findings, Finding((), f"expected a config with the keys name, dataset and model; {found}"))
    return Document({}, document.places, findings)


def _validated(document: Document) -> RunConfig:
    """Make the config. Raises ConfigError."""
    values: dict[str, Any] = document.values
    made = config_or_findings(with_absolute_paths(document))
    findings = rule_findings(values) + (made if isinstance(made, list) else [])
    unread = [finding.path for finding in document.findings]
    # What stands where a text could not be read is not the user's value; only the reason it was not read is told.
    findings = [found for found in findings if not any(found.path[: len(path)] == path for path in unread)]
    if findings or unread or isinstance(made, list):
        raise ConfigError(problems([*document.findings, *findings], document.places))
    return made
