"""Owns a matrix: every model with every dataset, as configs that each stand for one run."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.config.credentials import inert, shown, shown_text
from runner.config.explain import validated_or_findings
from runner.config.files import read_file, with_model_file
from runner.config.models import Matrix
from runner.config.places import Document, Finding, Source, graft, nearest, part_at, problems, value_at, with_value
from runner.errors import ConfigError

if TYPE_CHECKING:
    from runner.config.places import KeyPath

MOST_CONFIGS = 1_000

_MATRIX: KeyPath = ("matrix",)
_MODEL: KeyPath = ("model",)
_DATASET: KeyPath = ("dataset",)
_LONGEST_NAME = 100
_SECTION_FILES = (".yaml", ".yml")
# What a file's name is followed by; a folder is named by what is left.
_SUFFIXES = frozenset({".gz", ".zst", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".feather"})
_UNSAFE = re.compile(r"[^A-Za-z0-9._]+|\.{2,}", re.ASCII)
_CLASH_HINT = "put one of them into a file of its own: the file's name tells them apart"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of an axis: where it stands, and what the file it names is called (empty where it names none)."""

    path: KeyPath
    file: str


def is_matrix(document: Document) -> bool:
    """Say whether a config's values ask for a matrix."""
    return value_at(document.values, _MATRIX) is not None


def expanded(document: Document) -> list[Document]:
    """Return one document for each model × dataset, in the order written; sections of the config fill in what is left.

    The document's values must be a mapping with a matrix. Raises ConfigError where the matrix itself is wrong; what is
    wrong with its models and datasets stays in the documents, to be found with everything else.
    """
    findings = _wrong_with(document)
    if findings:
        raise ConfigError(problems([*document.findings, *findings], document.places))
    cells = [
        _named(_with_dataset(_with_model(document, model), dataset), model, dataset)
        for model in _entries(document, "models")
        for dataset in _entries(document, "datasets")
    ]
    findings = _clashes(cells)
    if findings:
        raise ConfigError(problems(findings, document.places))
    return [cell for cell, _ in cells]


def _wrong_with(document: Document) -> list[Finding]:
    values = value_at(document.values, _MATRIX)
    if not isinstance(values, dict):
        return [Finding(_MATRIX, f"expected a section with keys, found {shown(values)}", "models: […], datasets: […]")]
    made = validated_or_findings(Matrix, values)
    if isinstance(made, list):
        return [replace(finding, path=_MATRIX + finding.path) for finding in made]
    if not made.models and not made.datasets:
        return [Finding(_MATRIX, "names neither models nor datasets", "models: […], datasets: […]")]
    if max(len(made.models), 1) * max(len(made.datasets), 1) > MOST_CONFIGS:
        return [Finding(_MATRIX, f"stands for more than {MOST_CONFIGS:,} configs")]
    if made.models and isinstance(value_at(document.values, _MODEL), str):
        hint = "the models of the matrix stand in its place; a section `model` may hold what they have in common"
        return [Finding(_MODEL, "a model file beside matrix.models", hint)]
    return []


def _entries(document: Document, axis: str) -> list[_Entry | None]:
    """Return an axis's entries; one that is null where the axis is empty and the config's own section counts."""
    values = value_at(document.values, (*_MATRIX, axis)) or []
    return [
        _Entry((*_MATRIX, axis, number), value if isinstance(value, str) else "") for number, value in enumerate(values)
    ] or [None]


def _with_model(document: Document, entry: _Entry | None) -> Document:
    if entry is None:
        return document
    return _filled_up(with_model_file(graft(document, _MODEL, part_at(document, entry.path))), document, _MODEL)


def _with_dataset(document: Document, entry: _Entry | None) -> Document:
    if entry is None:
        return document
    part = part_at(document, entry.path)
    if entry.file.endswith(_SECTION_FILES):
        part = _section_file(part, entry.file)
    elif entry.file:
        place = part.places[()]
        part = Document({"path": entry.file}, {(): place, ("path",): place}, part.findings)
    return _filled_up(graft(document, _DATASET, part), document, _DATASET)


def _section_file(part: Document, name: str) -> Document:
    """Return the dataset section that a YAML file holds, in place of the file's name."""
    place = part.places[()]
    path = place.folder / name
    read = read_file(path, Source(inert(str(path)), path.parent, number=1))
    if isinstance(read.values, dict):
        return read
    found = Finding((), f"{inert(str(path))} holds no dataset, found {shown(read.values)}", "it holds `path: …`")
    return Document({}, {(): place}, read.findings or (found,))


def _filled_up(cell: Document, document: Document, section: KeyPath) -> Document:
    """Put keys of the config's own section where the entry has none."""
    own, entry = value_at(document.values, section), value_at(cell.values, section)
    if isinstance(own, dict) and isinstance(entry, dict):
        for key in own.keys() - entry.keys():
            cell = graft(cell, (*section, key), part_at(document, (*section, key)))
    return cell


def _named(cell: Document, model: _Entry | None, dataset: _Entry | None) -> tuple[Document, KeyPath]:
    """Return a cell under its own name, without the matrix, and where the entry stands that a clash is told of."""
    labels = [
        *([_model_label(cell, model)] if model else ()),
        *([_dataset_label(cell, dataset)] if dataset else ()),
    ]
    values = with_value(cell.values, _MATRIX, None)
    name = values.get("name")
    if isinstance(name, str):
        values = with_value(values, ("name",), "-".join([name, *labels]))
    last = dataset or model
    return replace(cell, values=values), last.path if last else _MATRIX


def _model_label(cell: Document, entry: _Entry) -> str:
    named = (value_at(cell.values, (*_MODEL, key)) for key in ("name", "embedded"))
    text = Path(entry.file).stem if entry.file else next((name for name in named if isinstance(name, str)), "")
    return _label(text, entry)


def _dataset_label(cell: Document, entry: _Entry) -> str:
    path: Any = entry.file or value_at(cell.values, (*_DATASET, "path"))
    path = path[0] if isinstance(path, list) and path else path
    file = Path(path if isinstance(path, str) else "")
    while file.suffix in {*_SUFFIXES, *_SECTION_FILES}:
        file = file.with_suffix("")
    return _label(file.name, entry)


def _label(text: str, entry: _Entry) -> str:
    """Return a text as a part of a folder's name; the entry's number where nothing of it can stand there."""
    return _UNSAFE.sub("-", text).strip("-._") or f"{int(entry.path[-1]) + 1}"


def _clashes(cells: list[tuple[Document, KeyPath]]) -> list[Finding]:
    findings = []
    taken: dict[str, str] = {}
    for cell, path in cells:
        name = cell.values.get("name")
        if not isinstance(name, str):
            continue
        where = nearest(cell.places, path).text
        if len(name) > _LONGEST_NAME:
            hint = "shorten the config's name, or put the entry into a file with a shorter one"
            findings.append(Finding(path, f"the name {shown_text(name)} is longer than {_LONGEST_NAME}", hint))
        elif name.casefold() in taken:
            message = f"the name {shown_text(name)} stands for the one at {taken[name.casefold()]} already"
            findings.append(Finding(path, message, _CLASH_HINT))
        taken.setdefault(name.casefold(), where)
    return findings
