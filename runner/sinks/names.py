"""Owns what is said of a column of responses that is not there."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from runner.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Sequence


def no_such_column(unknown: Sequence[str], known: Sequence[str]) -> RunFolderError:
    """Return the error for columns that are not there, with the names that come close."""
    close = [match for name in unknown for match in get_close_matches(name, known, n=1)]
    hint = f"did you mean {', '.join(dict.fromkeys(close))}? " if close else ""
    hint += (
        "`evalrunner schema responses` lists the columns; those of the dataset are in_<column>, of scores score_<name>"
    )
    return RunFolderError(f"responses has no column {', '.join(unknown)}", hint=hint)
