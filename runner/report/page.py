"""Owns the page: its template, and the policy that lets nothing run or load but what we wrote into it."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import jinja2

from runner.report import wording
from runner.report.embedded import embedded
from runner.report.shown import name_of, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEMPLATE: Final = "page.html.j2"
_FILTERS: Final = {
    "number": wording.number,
    "score": wording.score,
    "seconds": wording.seconds,
    "dollars": wording.dollars,
    "size": wording.size,
    "name": name_of,
    "visible": visible,
}


def render(facts: Mapping[str, Any], rows: Mapping[str, Any]) -> bytes:
    """Return the page as UTF-8. `rows` is embedded as JSON, which the page's own script reads."""
    here = files("runner.report")
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: (here / name).read_text(encoding="utf-8")),
    )
    environment.filters |= _FILTERS
    environment.globals["percent"] = wording.percent
    page = environment.get_template(_TEMPLATE).render(
        **facts,
        policy=policy(style, script),
        style=style,
        script=script,
        rows_json=embedded(rows).decode(),
    )
    return page.encode("utf-8", errors="replace")


def policy(style: str, script: str) -> str:
    """Return the content security policy: this style and this script by their hashes, and nothing else at all."""
    return (
        f"default-src 'none'; style-src '{source_hash(style)}'; script-src '{source_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def source_hash(text: str) -> str:
    """Return a style or script as a content security policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
