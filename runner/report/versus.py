"""Owns which run a report compares with, and what it says where that one is gone or damaged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runner.comparison import compare
from runner.errors import RunnerError

if TYPE_CHECKING:
    from runner.comparison import Comparison
    from runner.folder.layout import RunFolder
    from runner.folder.manifest import Manifest

MOST_FLIPS: Final = 100


@dataclass(frozen=True, slots=True)
class Versus:
    """A run compared with its base; null without a base, and where it cannot be read, which `note` says."""

    comparison: Comparison | None = None
    note: str = ""


def versus_of(folder: RunFolder, manifest: Manifest, named: Path | None) -> Versus:
    """Compare a run with the base that somebody named; else with that of its gates, the first that has one.

    Raises what `compare` does, for a base that was named. One of the gates may be long gone: that is no error.
    """
    if named is not None:
        return Versus(compare(named, folder.root, most_flips=MOST_FLIPS))
    gate = _gate_with_base(manifest)
    if gate is None:
        return Versus()
    base = Path(str(gate["baseline_dir"]))
    try:
        found = compare(base, folder.root, most_flips=MOST_FLIPS)
    except RunnerError as error:
        return Versus(note=f"Its gates compared it with a run that cannot be read any more. {error.message}")
    if gate.get("baseline") not in {None, found.base.run_id}:
        return Versus(note=f"Its gates compared it with run {gate['baseline']}. In {base} there is another run now.")
    return Versus(found)


def _gate_with_base(manifest: Manifest) -> dict[str, Any] | None:
    gates = manifest.summary.get("gates", [])
    return next((gate for gate in gates if gate.get("baseline_dir")), None)
