from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.simulate import Simulator


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what `check` leaves for later runs out of other tests: they use the same addresses again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache" / os.urandom(4).hex()))


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with serving() as served:
        yield served
