"""Owns the order of a comparison: what can be compared, reading, pairing, figures, flips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.comparison.differences import find_differences
from runner.comparison.flips import find_flips
from runner.comparison.model import Comparison, RunFacts
from runner.comparison.pairing import pair
from runner.comparison.reading import open_source, read_rows
from runner.comparison.scores import compare_score
from runner.folder.manifest import COMPLETE
from runner.scorers import SCORERS, score_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runner.comparison.model import ScoreComparison
    from runner.comparison.reading import Source
    from runner.comparison.scores import ScorePairs
    from runner.folder.manifest import Manifest
    from runner.statistics import Verdict

_NUMBERS = frozenset({"int64", "double"})


def compare(base: Path, run: Path, *, most_flips: int = 200) -> Comparison:
    """Compare a run with a base, paired by sample, repeat and choice; differences are run minus base.

    Memory: about 60 bytes a row of each run, 8 more for each score. Raises RunFolderError for a folder that is no run,
    DamagedError.
    """
    first, second = open_source(base), open_source(run)
    kinds, not_compared = _comparable(first.manifest, second.manifest)
    content, notes = _content(first.manifest, second.manifest)
    notes = [*_unfinished(first), *_unfinished(second), *notes]
    names = list(kinds)
    pairs = pair(
        read_rows(first, content, names),
        read_rows(second, content, names),
        {name: SCORERS[kind].worst for name, kind in kinds.items()},
    )
    by_key = second.manifest.config["request"]["endpoint"] == "loglikelihood"
    scores: dict[str, ScoreComparison] = {}
    values: dict[str, tuple[ScorePairs, bool]] = {}
    for name, kind in kinds.items():
        first_choices = by_key and kind == "multiple_choice"
        scores[name], own = compare_score(name, kind, SCORERS[kind], pairs, first_choices=first_choices)
        values[name] = own, SCORERS[kind].lower_is_better
    if not len(pairs.base_rows):
        notes.append("no row of one run has a counterpart in the other: are they of the same dataset?")
    return Comparison(
        base=_facts(first),
        run=_facts(second),
        pairs=len(pairs.base_rows),
        only_base=pairs.only_base,
        only_run=pairs.only_run,
        changed=pairs.changed,
        by_sample_means=pairs.by_means,
        verdict=overall({name: one.verdict for name, one in scores.items()}),
        scores=scores,
        differences=find_differences(pairs, first, second),
        flips=find_flips(values, pairs, first, second, most_flips) if most_flips else [],
        not_compared=not_compared,
        notes=notes,
    )


def overall(verdicts: Mapping[str, Verdict]) -> Verdict:
    """Return one verdict over all scores: worse where one is, then better where one is; no difference only if all."""
    found = set(verdicts.values())
    for one in ("worse", "better"):
        if one in found:
            return one
    return "no difference" if found == {"no difference"} else "inconclusive"


def _comparable(base: Manifest, run: Manifest) -> tuple[dict[str, str], dict[str, str]]:
    """Return the scorer of each score that both runs have alike, and why others are not compared."""
    ours, theirs = ({score_name(spec): spec for spec in _specs(one)} for one in (run, base))
    kinds: dict[str, str] = {}
    refused: dict[str, str] = {}
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if name not in ours or name not in theirs:
            refused[name] = f"only {'the base' if name in theirs else 'the run'} has this score"
        elif _options(ours[name]) != _options(theirs[name]):
            refused[name] = (
                "the runs have other scorers, or other options, under this name; `evalrunner score` mends it"
            )
        else:
            kinds[name] = ours[name]["name"]
    return kinds, refused


def _specs(manifest: Manifest) -> list[dict[str, Any]]:
    return manifest.config["scorers"] if manifest.scoring else []


def _options(spec: Mapping[str, Any]) -> tuple[str, Any]:
    """Return a scorer with its options, defaults filled in."""
    given = {name: value for name, value in spec.items() if name not in {"name", "as"}}
    return spec["name"], SCORERS[spec["name"]].options(**given)


def _content(base: Manifest, run: Manifest) -> tuple[list[str], list[str]]:
    """Return the columns that say what a sample is, and doubts about others: kept by both runs, of the same type."""
    columns, notes = [], []
    if base.config["dataset"]["target"] is not None and run.config["dataset"]["target"] is not None:
        columns.append("target")
    for name in base.columns.keys() & run.columns.keys():
        if base.columns[name] == run.columns[name] or {base.columns[name], run.columns[name]} <= _NUMBERS:
            columns.append(f"in_{name}")
        else:
            notes.append(f"in_{name} has another type in the base and says nothing of whether a sample changed")
    return sorted(columns), sorted(notes)


def _unfinished(source: Source) -> list[str]:
    if source.manifest.status == COMPLETE:
        return []
    return [f"{source.folder.root} is not complete ({source.manifest.status}): what it has so far is compared"]


def _facts(source: Source) -> RunFacts:
    manifest = source.manifest
    rows = sum(part.rows for part in source.log.parts("responses"))
    model = manifest.config["model"]["name"]
    return RunFacts(manifest.run_id, str(source.folder.root), manifest.name, model, manifest.status, rows)
