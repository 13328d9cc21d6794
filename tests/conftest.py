from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.simulate import Simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with serving() as served:
        yield served
