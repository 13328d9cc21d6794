"""Owns what usage taught of the tokens of prompts and answers: counted in a run, kept in its manifest, found again.

The estimate before a later run of the same model and request goes by it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.pipeline.locate import identity_of, list_runs

if TYPE_CHECKING:
    from runner.config import RunConfig
    from runner.folder.manifest import Manifest
    from runner.pipeline.locate import Located
    from runner.records import Request, Usage

_NAME = "tokens"


@dataclass(slots=True)
class Learnt:
    """Sums over answers with usage: cases, the plain estimate of their prompts, and what the server counted."""

    cases: int = 0
    estimated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def note(self, request: Request, usage: Usage) -> None:
        """Count an answer, where its usage is whole."""
        if usage.prompt_tokens is None or (usage.completion_tokens is None and request.answer_tokens):
            return
        self.cases += len(request.cases)
        self.estimated += request.reserve_tokens - request.answer_tokens
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens or 0

    @property
    def known(self) -> bool:
        """Whether anything can be told from it."""
        return self.cases > 0 and self.estimated > 0


def note_learnt(manifest: Manifest, learnt: Learnt) -> None:
    """Add what a session learnt to what the run's earlier ones did."""
    if learnt.known:
        before = manifest.capabilities.get(_NAME, {})
        manifest.capabilities[_NAME] = {name: value + before.get(name, 0) for name, value in asdict(learnt).items()}


def find_learnt(config: RunConfig, located: Located) -> tuple[Learnt, str] | None:
    """Return what the run that goes on learnt, or the newest one of this name, model and request; and its id."""
    if located.manifest is not None and (learnt := _of(located.manifest)):
        return learnt, located.manifest.run_id
    wanted = _asked(identity_of(config))
    for run in list_runs(Path(config.output.dir) / config.name):
        if run.manifest is not None and _asked(run.manifest.identity) == wanted and (learnt := _of(run.manifest)):
            return learnt, run.manifest.run_id
    return None


def _of(manifest: Manifest) -> Learnt | None:
    noted = manifest.capabilities.get(_NAME)
    if not isinstance(noted, dict):
        return None
    learnt = Learnt(**{name: noted.get(name, 0) for name in Learnt.__dataclass_fields__})
    return learnt if learnt.known else None


def _asked(identity: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a run's identity that says who is asked what; which rows does not matter."""
    return {key: value for key, value in identity.items() if not key.startswith("dataset.")}
