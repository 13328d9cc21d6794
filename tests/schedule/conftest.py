from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner.config import load_config
from runner.schedule import entry_of, read_expression

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.schedule import ScheduleEntry


@pytest.fixture
def make_entry(tmp_path: Path) -> Callable[..., ScheduleEntry]:
    """Write a config below a folder of any name, and return its entry."""

    def make(at: str = "30 2 * * *", *, folder: str = "project", zone: str = "UTC", more: str = "") -> ScheduleEntry:
        place = tmp_path / folder / "configs"
        place.mkdir(parents=True, exist_ok=True)
        path = place / "night one.yaml"
        path.write_text(
            f"name: a\ndataset: {{path: a.jsonl}}\nmodel: {{base_url: 'http://h', name: m, api_key_env: MY_KEY}}\n"
            f"notify: [{{webhook_env: HOOK}}]\nnightly: {{time_zone: {zone}, deadline: '06:00'}}\n{more}"
        )
        return entry_of([load_config(path)], read_expression(at))

    return make
