"""Owns what a suite is: the configs that one call runs, its name, its night, and the names in its folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from runner.config import load_configs
from runner.digest import digest_of
from runner.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runner.config import LoadedConfig, RunConfig


@dataclass(frozen=True, slots=True)
class SuiteFolder:
    """Paths of a suite's folder, `OUTPUT_DIR/_nightly/SUITE`: no run has a name that begins with `_`."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the process that carries out a night."""
        return self.root / "LOCK"

    @property
    def staging(self) -> Path:
        """Files being written."""
        return self.root / "_tmp"

    @property
    def nights(self) -> Path:
        """A folder for each night."""
        return self.root / "nights"

    @property
    def page(self) -> Path:
        """The page about the last nights."""
        return self.root / "index.html"

    @property
    def junit(self) -> Path:
        """The last night as JUnit XML."""
        return self.root / "junit.xml"

    def night(self, run_id: str) -> Path:
        """Return the folder of one night."""
        return self.nights / run_id

    def record(self, run_id: str) -> Path:
        """Return the record of one night."""
        return self.night(run_id) / "night.json"

    def config(self, run_id: str, name: str) -> Path:
        """Return the config that one run of a night is started with."""
        return self.night(run_id) / f"{name}.config.json"

    def log(self, run_id: str, name: str) -> Path:
        """Return what one run of a night said on stderr."""
        return self.night(run_id) / f"{name}.log"


@dataclass(frozen=True, slots=True)
class Member:
    """One config of a suite, and the file that it stands in."""

    config: RunConfig
    path: Path

    @property
    def runs(self) -> Path:
        """The folder of this config's runs."""
        return Path(self.config.output.dir) / self.config.name


@dataclass(frozen=True, slots=True)
class Suite:
    """The configs of a night, in the order in which they run."""

    name: str
    members: tuple[Member, ...]
    zone: ZoneInfo
    deadline: str | None
    folder: SuiteFolder

    @property
    def keep(self) -> int:
        """How many nights the suite remembers: as many as the config that keeps most."""
        return max(member.config.nightly.keep for member in self.members)


def load_suite(paths: Sequence[Path]) -> Suite:
    """Load the configs of a suite; a matrix brings all of its own. Raises ConfigError with all problems."""
    loaded: list[LoadedConfig] = []
    wrong: dict[Problem, None] = {}
    for path in dict.fromkeys(paths):
        try:
            loaded += load_configs(path)
        except ConfigError as error:
            wrong |= dict.fromkeys(error.problems)
    wrong |= dict.fromkeys(_disagreements(loaded))
    if wrong:
        raise ConfigError(list(wrong))
    members = tuple(Member(one.config, one.path.absolute()) for one in loaded)
    first = min(members, key=lambda member: member.config.name)
    name = suite_name([member.config.name for member in members])
    nightly = first.config.nightly
    folder = SuiteFolder(Path(first.config.output.dir) / "_nightly" / name)
    return Suite(name, members, ZoneInfo(nightly.time_zone), nightly.deadline, folder)


def suite_name(names: Sequence[str]) -> str:
    """Return the name of a suite, the same in whatever order its configs are given.

    That of its only config; of several `FIRST+3-1a2b3c4d`: first by name, how many more, and a hash of all names. No
    config's name has a `+`.
    """
    first, *others = sorted(names)
    return f"{first}+{len(others)}-{digest_of(sorted(names)).hex()[:8]}" if others else first


def _disagreements(loaded: Sequence[LoadedConfig]) -> Iterable[Problem]:
    counts = Counter(one.config.name.casefold() for one in loaded)
    first = loaded[0] if loaded else None
    for one in loaded:
        config = one.config
        if counts[config.name.casefold()] > 1:
            hint = "runs of one name lie in one folder; give each config of a suite a name of its own"
            yield Problem(one.where("name"), f'name: another config of the suite is called "{config.name}", too', hint)
        if config.dataset.path == "-":
            yield Problem(one.where("dataset.path"), "dataset.path: a night has no standard input", "name a file")
        if first is None:
            continue
        for key in ("time_zone", "deadline"):
            own, others = getattr(config.nightly, key), getattr(first.config.nightly, key)
            if own != others:
                message = f"nightly.{key}: {own or 'null'}, and {first.config.name} has {others or 'null'}"
                yield Problem(one.where(f"nightly.{key}"), message, "a suite has one night: write the same in each")
