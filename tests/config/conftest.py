from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict, load_config
from runner.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALLEST = {
    "name": "demo",
    "dataset": {"path": "data.jsonl"},
    "model": {"base_url": "http://127.0.0.1:8000/v1", "name": "m"},
}


@pytest.fixture
def values() -> Callable[..., dict[str, Any]]:
    """Return a valid config as a dict, with the values at some dotted keys replaced."""

    def make(changes: dict[str, Any] | None = None) -> dict[str, Any]:
        made = copy.deepcopy(SMALLEST)
        for key, value in (changes or {}).items():
            *above, last = key.split(".")
            section: Any = made
            for part in above:
                section = section.setdefault(part, {})
            section[last] = value
        return made

    return make


@pytest.fixture
def complaints(values: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[[dict[str, Any]], list[str]]:
    """Return what is wrong with a valid config after some changes; nothing when it is still valid."""

    def collect(changes: dict[str, Any]) -> list[str]:
        try:
            config_from_dict(values(changes), tmp_path)
        except ConfigError as error:
            return [str(problem) for problem in error.problems]
        return []

    return collect


@pytest.fixture
def load_text(tmp_path: Path) -> Callable[..., Any]:
    """Write a config file, relative to the current folder, and load it."""

    def load(text: str | bytes, *overrides: str) -> Any:
        path = tmp_path / "run.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path, overrides=overrides)

    return load


@pytest.fixture
def load_problems(load_text: Callable[..., Any], tmp_path: Path) -> Callable[..., list[str]]:
    """Return the problems of a config file, the folder's name left out; it must have some."""

    def collect(text: str | bytes, *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, *overrides)
        return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return collect
