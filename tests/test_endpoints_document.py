"""The tables of docs/endpoints.md: every line names a test, and every test that the document names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.documented import PARAMS

TESTS = Path(__file__).parent
DOCUMENT = (TESTS.parent / "docs" / "endpoints.md").read_text(encoding="utf-8")
_TEST = re.compile(r"`([\w/]+\.py|…)::(\w+)`")
_NAME = re.compile(r"`(?:request\.params\.)?(\w+)")


def proofs() -> list[list[str]]:
    """Return the lines of all tables whose last column says what proves them, as columns."""
    lines: list[list[str]] = []
    inside = False
    for line in DOCUMENT.splitlines():
        columns = [column.strip() for column in line.strip("|").split(" | ")] if line.startswith("| ") else []
        if columns and columns[-1] == "proved by":
            inside = True
        elif inside and columns:
            lines.append(columns)
        elif not line.startswith("|"):
            inside = False
    return lines


def named_tests() -> set[tuple[str, str]]:
    """Return file and name of each test in the document; an ellipsis stands for the file before it."""
    found, file = set(), ""
    for path, name in _TEST.findall(DOCUMENT):
        file = file if path == "…" else path
        found.add((file, name))
    return found


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("file", "name"), sorted(named_tests()))
def test_each_test_that_the_document_names_exists(file: str, name: str) -> None:
    assert name.startswith("test_")
    assert name in functions_of(file)


@pytest.mark.parametrize("line", proofs(), ids=lambda line: line[0])
def test_each_line_has_its_proof(line: list[str]) -> None:
    assert len(line) == 3
    assert _TEST.search(line[-1]) or line[-1].endswith("arrives")


def test_a_parameter_is_said_to_arrive_where_it_is_looked_for() -> None:
    said = [line for line in proofs() if line[-1].endswith("arrives")]
    known = {*PARAMS["chat"], *PARAMS["completions"]}
    names = [known.intersection(_NAME.findall(" ".join(line[:2]))) for line in said]
    assert [line for line, found in zip(said, names, strict=True) if not found] == []
    assert set().union(*names) == known


def test_the_document_has_all_four_tables_and_no_gaps() -> None:
    assert DOCUMENT.count("| proved by |") == 4
    assert len(proofs()) > 90
    assert "no test" not in DOCUMENT.lower()
