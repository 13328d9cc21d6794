"""Owns the dimension of a run's vectors: that of its first one, which all others have to have."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runner.errors import DamagedError, ParseError, kind_of
from runner.sinks import read_row_groups

if TYPE_CHECKING:
    from runner.folder.layout import RunFolder
    from runner.records import Output, Parsed


@dataclass(slots=True)
class Dimension:
    """How long the vectors of a run are: what its parts show, else the first that comes."""

    folder: RunFolder
    length: int | None = None
    _looked: bool = False

    def check(self, parsed: Parsed) -> tuple[Parsed, bool]:
        """Return an answer with a failure for each vector of another length, and whether all of it was in order."""
        if parsed.vectors is not None:
            if self._fits(parsed.vectors.shape[1]):
                return parsed, True
            flat = iter(parsed.vectors)
            outputs = tuple(tuple(replace(one, embedding=next(flat)) for one in case) for case in parsed.outputs)
            parsed = replace(parsed, outputs=outputs, vectors=None)
        found = [output for case in parsed.outputs for output in case]
        lengths = [len(output.embedding) for output in found if output.embedding is not None]
        if all(map(self._fits, lengths)):
            return parsed, all(output.error_kind is None for output in found)
        cases = tuple(tuple(self._checked(output) for output in case) for case in parsed.outputs)
        return replace(parsed, outputs=cases), False

    def _fits(self, length: int) -> bool:
        if self.length is None:
            self.length = self._look() or length
        return length == self.length

    def _checked(self, output: Output) -> Output:
        found = output.embedding
        if found is None or len(found) == self.length:
            return output
        message = (
            f"the embedding has {len(found)} dimensions, and this run's first one {self.length}; its bytes are in raw/"
        )
        return replace(
            output, status="failed", error_kind=kind_of(ParseError), error_message=message, embedding=None, note=None
        )

    def _look(self) -> int | None:
        """Return the length of the first vector in the run's parts."""
        if self._looked:
            return None
        self._looked = True
        for path in sorted(self.folder.table("responses").glob("part-*.parquet")):
            with contextlib.suppress(DamagedError):  # which is found, and said, by whoever needs that part
                for batch in read_row_groups(path, ["embedding"]):
                    lengths = (len(vector) for vector in batch.column(0) if vector.is_valid)
                    if (length := next(lengths, None)) is not None:
                        return length
        return None
