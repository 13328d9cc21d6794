"""Owns finding the run to compare with: the newest earlier run of a name that was good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.folder.manifest import COMPLETE
from runner.folder.runs import runs_below

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runner.folder.manifest import Manifest


def last_good(runs: Path, manifest: Manifest) -> Path | None:
    """Return the newest run below `runs`, one name's folder, that began before this one and was good; null: none.

    Good: complete, with exit code 0, so all of its gates passed. It asked the same (dataset path, id, limit and seed,
    and the request); of which model is not looked at, since what a name's model becomes is what nights compare. Where
    this run has scores, one without any is passed over: it could only hide what came before it.
    """
    wanted = _asked(manifest.identity)
    for folder, earlier in runs_below(runs):
        if earlier.run_id == manifest.run_id or earlier.created_at >= manifest.created_at:
            continue
        same = earlier.name == manifest.name and _asked(earlier.identity) == wanted
        if same and _is_good(earlier) and (earlier.scoring or not manifest.scoring):
            return folder.root
    return None


def _is_good(manifest: Manifest) -> bool:
    return manifest.status == COMPLETE and manifest.summary.get("exit_code") == 0


def _asked(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in identity.items() if not key.startswith("model.")}
