"""Owns what the answers of all API shapes share: the fields at their top, and a choice that the server left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints.usage import read_usage
from runner.errors import MissingChoiceError, kind_of
from runner.records import Output, Parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUS_BY_FINISH = {
    "length": "truncated",
    "max_tokens": "truncated",
    "max_output_tokens": "truncated",
    "content_filter": "content_filter",
}


def parsed_from(body: Mapping[str, Any], outputs: tuple[tuple[Output, ...], ...], notes: list[str]) -> Parsed:
    """Return the outputs with what stands beside them at the top of an answer; `notes` gets what is odd there."""
    return Parsed(
        outputs=outputs,
        usage=read_usage(body, notes),
        served_model=text_or_none(body.get("model")),
        response_id=text_or_none(body.get("id")),
        created=seconds_or_none(body.get("created", body.get("created_at"))),
        system_fingerprint=text_or_none(body.get("system_fingerprint")),
        service_tier=text_or_none(body.get("service_tier")),
        notes=tuple(notes),
    )


def status_of(finish: str | None) -> str:
    """Return the status of an output that ended for this reason; a reason that is not known is ok."""
    return _STATUS_BY_FINISH.get(finish or "", "ok")


def missing_choice(index: int) -> Output:
    """Return what stands for a choice that did not come."""
    return Output(
        choice=index,
        status="failed",
        error_kind=kind_of(MissingChoiceError),
        error_message="the server returned fewer choices than were asked for",
    )


def positive(value: Any) -> int | None:
    """Return a count that is one, and above zero; null for all else, -1 (no limit) too."""
    return value if type(value) is int and value > 0 else None


def text_or_none(value: Any) -> str | None:
    """Return a text; null for all else."""
    return value if isinstance(value, str) else None


def seconds_or_none(value: Any) -> int | None:
    """Return whole seconds since the epoch, null for what cannot be a time."""
    return int(value) if type(value) in {int, float} and 0 < value < 2**33 else None
