"""Owns making a `RunConfig`: from a file, its model file and `--set`, or from a dict. Every problem comes at once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.config.credentials import inert, shown
from runner.config.explain import config_or_findings
from runner.config.files import read_file, with_model_file
from runner.config.matrix import expanded, is_matrix
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
    from runner.config.overrides import Override
    from runner.config.places import KeyPath, Place

_MODEL = ("model",)
_MATRIX = ("matrix",)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid config, the file it came from, what is allowed but doubtful in it, and where each of its keys stands.

    `of_matrix` says that the file holds a matrix, of which this is one config.
    """

    config: RunConfig
    path: Path
    warnings: tuple[str, ...]
    places: Mapping[KeyPath, Place]
    of_matrix: bool = False

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
    folder. Environment variables are not looked at. Raises ConfigError with every problem, in the order of the file;
    also for a matrix, which is several configs.
    """
    path = Path(path)
    document, given = _opened(path, overrides)
    _refuse_matrix(document)
    return _loaded(path, _with_overrides(document, given))


def load_configs(path: str | Path, *, overrides: Sequence[str] = ()) -> tuple[LoadedConfig, ...]:
    """Load a YAML config as `load_config` does; a matrix as all of its configs, in the order of models × datasets.

    Overrides of `matrix` come before the expansion, all others are put into each config. Raises ConfigError with the
    problems of all of them, each once.
    """
    path = Path(path)
    document, given = _opened(path, overrides)
    if not is_matrix(document):
        return (_loaded(path, _with_overrides(document, given)),)
    loaded: list[LoadedConfig] = []
    wrong: dict[Problem, None] = {}
    for cell in expanded(document):
        try:
            loaded.append(replace(_loaded(path, _with_overrides(cell, given)), of_matrix=True))
        except ConfigError as error:
            wrong |= dict.fromkeys(error.problems)
    if wrong:
        raise ConfigError(list(wrong))
    return tuple(loaded)


def config_from_dict(values: Mapping[str, Any], base_dir: str | Path, *, overrides: Sequence[str] = ()) -> RunConfig:
    """Make a config from plain values, such as `to_dict` gives and a manifest holds, with the checks of a file.

    Relative paths count from `base_dir`. Raises ConfigError; the places in it are keys.
    """
    document, given = _begun(read_values(values, Path(base_dir)), overrides)
    _refuse_matrix(document)
    return _validated(_with_overrides(document, given))


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Return the config as plain JSON values, every key written out; `config_from_dict` makes an equal config of it."""
    return config.model_dump(mode="json", by_alias=True)


def _opened(path: Path, texts: Sequence[str]) -> tuple[Document, list[Override]]:
    return _begun(read_file(path, Source(inert(str(path)), path.parent)), texts)


def _begun(document: Document, texts: Sequence[str]) -> tuple[Document, list[Override]]:
    """Return the document, whose values are a mapping, with the overrides that decide what else is read; the others."""
    document = _as_mapping(document)
    overrides = [read_override(text, number) for number, text in enumerate(texts)]
    first = [override for override in overrides if override.keys == _MODEL or override.keys[:1] == _MATRIX]
    for override in first:
        document = with_override(document, override)
    return document, [override for override in overrides if override not in first]


def _with_overrides(document: Document, overrides: Sequence[Override]) -> Document:
    """Return the document with its model file in it, and the overrides that may change something in that."""
    document = with_model_file(document)
    for override in overrides:
        document = with_override(document, override)
    return document


def _refuse_matrix(document: Document) -> None:
    """Raise ConfigError for a matrix where one config is meant."""
    if is_matrix(document):
        hint = "`evalrunner run`, `check` and `nightly` take it; --set matrix=null leaves it out"
        finding = Finding(_MATRIX, "a matrix stands for several runs, and here is room for one", hint)
        raise ConfigError(problems([*document.findings, finding], document.places))


def _as_mapping(document: Document) -> Document:
    if isinstance(document.values, dict):
        return document
    findings = document.findings
    if not any(finding.path == () for finding in findings):
        found = "it is empty" if document.values is None else f"found {shown(document.values)}"
        findings = (*findings, Finding((), f"expected a config with the keys name, dataset and model; {found}"))
    return Document({}, document.places, findings)


def _loaded(path: Path, document: Document) -> LoadedConfig:
    config = _validated(document)
    return LoadedConfig(config, path, tuple(warnings(config)), document.places)


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
