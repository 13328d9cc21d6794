"""Owns what unit tests of the pipeline share: a plan of how rows become requests, and rows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints import ENDPOINTS, compile_template
from runner.pipeline.passes.scan import ScanPlan
from runner.pipeline.requests.fingerprint import RequestPlan, RowReader, row_digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def plan_of(content: str = "{{ question }}", **changes: Any) -> RequestPlan:
    """Return a chat plan that reads `id`, the columns of `content`, and `answer` as the target."""
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    fields: dict[str, Any] = {
        "endpoint": ENDPOINTS["chat"],
        "path": "/chat/completions",
        "model": "m",
        "template": compile_template(body, "request"),
        "fixed": {"model": "m"},
        "id_column": "id",
        "target_column": "answer",
        "kept": None,
        "repeats": 1,
    }
    return RequestPlan(**(fields | changes)).identified(body)


def scan_plan_of(path: Path, plan: RequestPlan | None = None, **changes: Any) -> ScanPlan:
    """Return how to scan one file."""
    fields: dict[str, Any] = {"paths": (path,), "plan": plan or plan_of(), "limit": None, "kinds": {}, "source": None}
    return ScanPlan(**(fields | changes))


def digests_of(plan: RequestPlan, row: Mapping[str, Any]) -> tuple[bytes, int]:
    """Return the row digest, and the checksum of what rides along."""
    content, carry = RowReader(plan).read(row)
    return row_digest(plan, content), carry
