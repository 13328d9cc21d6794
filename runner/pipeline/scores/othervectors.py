"""Owns the vectors of another embeddings run, found by sample: on disk, with 16 bytes a row in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.durable import storage_error
from runner.errors import RunFolderError
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest
from runner.sinks import column_values, read_columns

if TYPE_CHECKING:
    from typing import BinaryIO

    from numpy.typing import NDArray

_PLACE = ("sample_id", "repeat", "choice")


class OtherVectors:
    """The vectors of a run, read when they are first asked for. `scratch` is the run whose `_tmp` holds a copy."""

    def __init__(self, run_dir: str, scratch: RunFolder) -> None:
        self._folder = RunFolder(Path(run_dir))
        self._scratch = scratch
        self._places: NDArray[np.int64] | None = None
        self._rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._vectors: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)

    def beside(self, batch: Any) -> list[Any]:
        """Return the vector of the same sample, repeat and choice for each row; null where the run has none.

        Raises RunFolderError where there is no such run, DamagedError, StorageError.
        """
        if self._places is None:
            self._read()
        places = self._places
        if places is None or not len(places):
            return [None] * batch.num_rows
        wanted = _places(batch)
        at = np.minimum(np.searchsorted(places, wanted), len(places) - 1)
        found = (places[at] == wanted).tolist()
        rows = self._rows[at].tolist()
        return [self._vectors[row] if one else None for one, row in zip(found, rows, strict=True)]

    def _read(self) -> None:
        read_manifest(self._folder)
        places: list[NDArray[np.int64]] = []
        try:
            # Without a name, the copy is gone with this process.
            with tempfile.TemporaryFile(dir=self._scratch.staging) as file:
                count, size = self._copy(file, places)
                file.flush()
                if not count:
                    raise RunFolderError(f"{self._folder.root}: the run has no vectors to compare with")
                self._vectors = np.memmap(file, dtype=np.float32, mode="r", shape=(count, size))
        except OSError as error:
            raise storage_error(error, "write to", self._scratch.staging) from error
        together = np.concatenate(places)
        self._rows = np.argsort(together, kind="stable")
        self._places = together[self._rows]

    def _copy(self, file: BinaryIO, places: list[NDArray[np.int64]]) -> tuple[int, int]:
        """Write all vectors of the first one's length one after the other; return how many, and their length."""
        count = size = 0
        for part in read_commits(self._folder).parts("responses"):
            path = self._folder.table("responses") / part.name
            for batch in read_columns(path, [*_PLACE, "embedding"]):
                vectors = column_values(batch, "embedding")
                size = size or next((len(one) for one in vectors if one is not None), 0)
                fits = np.array([one is not None and len(one) == size for one in vectors])
                places.append(_places(batch)[fits])
                chosen = [one for one, fit in zip(vectors, fits, strict=True) if fit]
                if chosen:
                    file.write(np.stack(chosen).astype(np.float32, copy=False).tobytes())
                count += len(chosen)
        return count, size


def _places(batch: Any) -> NDArray[np.int64]:
    columns = [column_values(batch, name) for name in _PLACE]
    return np.fromiter(map(hash, zip(*columns, strict=True)), dtype=np.int64, count=batch.num_rows)
