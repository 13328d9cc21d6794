"""Owns rows as lines of an OpenAI Batch output file, for whoever reads those already.

The shape is "The request output object" of OpenAI's API reference (Batch); `vllm run-batch` writes the same. A request
that was answered has `response` with `status_code`, `request_id` and `body`, whatever the status; one without an answer
has `response` null and `error` with `code` and `message`. Answers and failures come in one file.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from runner.endpoints import ENDPOINTS
from runner.errors import RunFolderError, UsageError
from runner.export.batchbody import own_body
from runner.export.jsonl import as_line
from runner.folder.manifest import read_manifest
from runner.sinks import RAW_ROW, exchanges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.sinks import Bodies, Snapshot

_COLUMNS: Final = (
    "key",
    "sample_id",
    "repeat",
    "choice",
    "request_key",
    "request_row",
    "status",
    "error_kind",
    "error_message",
    "http_status",
    "request_id",
    "endpoint",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
)
_REQUEST = itemgetter("key", "request_key")
_NO_ANSWER = frozenset({"failed", "skipped"})
_ERROR_STATUS = 400


def batch_lines(snapshot: Snapshot, _columns: Sequence[str]) -> Iterator[bytes]:
    """Yield a line for each request of a run.

    Raises UsageError for an endpoint that the Batch API does not have, RunFolderError where bodies were not kept.
    """
    config = read_manifest(snapshot.folder).config
    endpoint = config["request"]["endpoint"]
    if ENDPOINTS[endpoint].batch_url is None and endpoint != "logprobs":
        raise UsageError(
            f"--format openai-batch: the endpoint {endpoint} has no lines of a Batch", hint="--format jsonl has it all"
        )
    if not config["output"]["keep_raw"]:
        raise _not_kept(snapshot)
    floats = config["request"]["params"].get("encoding_format") != "base64"
    repeats = config["request"]["repeats"] > 1
    for rows, bodies in exchanges(snapshot, _COLUMNS):
        for _, own in groupby(rows, _REQUEST):
            yield as_line(_line(snapshot, list(own), bodies, repeats=repeats, floats=floats))


def custom_id(row: dict[str, Any], *, repeats: bool) -> str:
    """Return what a line is called: the sample's id, and which repeat and choice where these are lines of their own.

    `ID#1` is the second time that a sample was asked, in a run with repeats; `ID#0.2` the third choice, where choices
    were asked for one by one.
    """
    apart = f".{row['choice']}" if row["choice"] and row["request_key"] != row["key"] else ""
    return f"{row['sample_id']}#{row['repeat']}{apart}" if repeats or apart else row["sample_id"]


def _line(
    snapshot: Snapshot, rows: list[dict[str, Any]], bodies: Bodies, *, repeats: bool, floats: bool
) -> dict[str, Any]:
    first = rows[0]
    named = custom_id(first, repeats=repeats)
    line: dict[str, Any] = {"id": f"batch_req_{first['key']}{named[len(first['sample_id']) :]}", "custom_id": named}
    answered = any(row["status"] not in _NO_ANSWER for row in rows)
    if answered and first[RAW_ROW] is None:
        raise _not_kept(snapshot)
    line["response"] = None
    if first["http_status"] is not None:
        line["response"] = {
            "status_code": first["http_status"],
            "request_id": first["request_id"] or first["request_key"],
            "body": own_body(rows, bodies, floats=floats) if answered else _error_body(first, bodies),
        }
    told = answered or (line["response"] is not None and first["http_status"] >= _ERROR_STATUS)
    line["error"] = None if told else _error(first)
    return line


def _error(row: dict[str, Any]) -> dict[str, Any]:
    return {"code": row["error_kind"] or row["status"], "message": row["error_message"]}


def _error_body(row: dict[str, Any], bodies: Bodies) -> dict[str, Any]:
    """Return the body of a failed answer where it is a JSON object, else the error in the words of the API."""
    kept = own_body([row], bodies, floats=False) if row[RAW_ROW] is not None else None
    return kept or {"error": {"message": row["error_message"], "type": row["error_kind"], "param": None, "code": None}}


def _not_kept(snapshot: Snapshot) -> RunFolderError:
    return RunFolderError(
        f"{snapshot.folder.root}: bodies of answers were not kept, and a Batch file is made of them",
        hint="--format jsonl has all columns; later runs keep them with output.keep_raw: true",
    )
