"""Owns the Python interface to a run: `run` for scripts, `arun` inside a running event loop."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.config import config_from_dict, load_config, warnings
from runner.pipeline import execute
from runner.pipeline.locate import Where
from runner.pipeline.opening import RunOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from runner.config import RunConfig
    from runner.pipeline.summary import RunSummary


def run(
    config: str | Path | Mapping[str, Any], *, overrides: Sequence[str] = (), run_dir: str | Path | None = None
) -> RunSummary:
    """Carry out a run and return its summary; `summary.exit_code` says how it ended, 0 for complete.

    `config` is the path of a YAML file, or its content as a mapping (paths in it are relative to the current folder).
    `overrides` are `KEY=VALUE` texts as after `--set`. `run_dir` names the run folder; an existing one is continued.
    Raises RunnerError for whatever prevents the run from beginning. Not for use inside a running event loop: `arun`.
    """
    loaded, options, naming_places = _load(config, overrides, run_dir)
    with naming_places:
        return execute.run(loaded, options)


async def arun(
    config: str | Path | Mapping[str, Any], *, overrides: Sequence[str] = (), run_dir: str | Path | None = None
) -> RunSummary:
    """Do what `run` does, inside an event loop of asyncio. Cancelling it drains nothing, and loses nothing durable."""
    loaded, options, naming_places = _load(config, overrides, run_dir)
    with naming_places:
        return await execute.arun(loaded, options)


def _load(
    config: str | Path | Mapping[str, Any], overrides: Sequence[str], run_dir: str | Path | None
) -> tuple[RunConfig, RunOptions, AbstractContextManager[None]]:
    where = Where(run_dir=Path(run_dir) if run_dir is not None else None)
    if isinstance(config, str | Path):
        loaded = load_config(Path(config), overrides=overrides)
        return loaded.config, RunOptions(where=where, warnings=tuple(loaded.warnings)), loaded.naming_places()
    plain = config_from_dict(dict(config), Path.cwd(), overrides=overrides)
    return plain, RunOptions(where=where, warnings=tuple(warnings(plain))), nullcontext()
