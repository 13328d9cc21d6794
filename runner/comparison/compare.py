"""Owns the order of a comparison: what can be compared, reading, pairing, figures, flips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.comparison.differences import find_differences
from runner.comparison.flips import read_flips, shared_evenly, worst_first
from runner.comparison.model import Comparison, RunFacts
from runner.comparison.pairing import pair
from runner.comparison.reading import open_source, read_rows
from runner.comparison.scores import Scored, compare_score
from runner.folder.manifest import COMPLETE
from runner.scorers import SCORERS, score_name, stands_on_first_choices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from runner.comparison.flips import Changed
    from runner.comparison.model import ScoreComparison
    from runner.comparison.pairing import Pairs
    from runner.comparison.reading import Rows, Source
    from runner.folder.manifest import Manifest
    from runner.statistics import Verdict

_NUMBERS = frozenset({"int64", "double"})


def compare(base: Path, run: Path, *, most_flips: int = 200) -> Comparison:
    """Compare a run with a base, paired by sample, repeat and choice; differences are run minus base.

    Either may go on meanwhile: each is read as one commit has left it. Memory: 25 bytes a row of each run, 24 a pair,
    and one column of both at a time. Raises RunFolderError for a folder that is no run, DamagedError, and BusyError
    where a run of very many parts is rewritten meanwhile.
    """
    with open_source(base) as first, open_source(run) as second:
        kinds, not_compared = _comparable(first.manifest, second.manifest)
        content, doubts = _content(first.manifest, second.manifest)
        base_rows, run_rows = read_rows(first, content), read_rows(second, content)
        pairs = pair(base_rows.usable(), run_rows.usable())
        scores: dict[str, ScoreComparison] = {}
        changed: dict[str, list[Changed]] = {}
        for score in _scored(kinds, second.manifest):
            scores[score.name], values = compare_score(score, pairs, base_rows, run_rows)
            changed[score.name] = worst_first(score, values, most_flips)
        return Comparison(
            base=_facts(base_rows),
            run=_facts(run_rows),
            pairs=pairs.count,
            only_base=pairs.only_base,
            only_run=pairs.only_run,
            changed=pairs.changed,
            by_sample_means=pairs.by_means,
            verdict=overall({name: one.verdict for name, one in scores.items()}),
            scores=scores,
            differences=find_differences(pairs, base_rows, run_rows),
            flips=read_flips(shared_evenly(changed, most_flips), pairs, first, second),
            not_compared=not_compared,
            notes=[*_notes(first, second, pairs), *doubts],
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
        elif not {ours[name]["name"], theirs[name]["name"]} <= SCORERS.keys():
            refused[name] = "its scorer is none of this version's"
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
    if not columns:
        notes.append("neither target nor a kept column is in both runs: pairs have the same id, whatever they are")
    return sorted(columns), sorted(notes)


def _scored(kinds: Mapping[str, str], run: Manifest) -> Iterator[Scored]:
    endpoint = run.config["request"]["endpoint"]
    for name, kind in kinds.items():
        yield Scored(name, kind, SCORERS[kind], first_choices=stands_on_first_choices(kind, endpoint))


def _notes(base: Source, run: Source, pairs: Pairs) -> Iterator[str]:
    for source in (base, run):
        if source.manifest.status != COMPLETE:
            yield f"{source.folder.root} is not complete ({source.manifest.status}): what it has so far is compared"
    before, after = base.manifest.identity, run.manifest.identity
    other = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if datasets := [key for key in other if key.startswith("dataset.")]:
        yield f"the runs are of other datasets ({', '.join(datasets)}): what has the same id and content is compared"
    if not pairs.count:
        yield "no row of one run has a counterpart in the other: are they of the same dataset?"


def _facts(rows: Rows) -> RunFacts:
    manifest, folder = rows.source.manifest, rows.source.folder
    model = manifest.config["model"]["name"]
    return RunFacts(manifest.run_id, str(folder.root), manifest.name, model, manifest.status, len(rows.statuses))
