"""Owns the entries of `scorers`: which scorers there are, and the options of each, as keys that are checked."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields, replace
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pydantic import Field, create_model

from runner.config.credentials import shown_text
from runner.config.explain import validated_or_findings
from runner.config.models import Scorer, Section
from runner.config.places import Finding, value_at
from runner.scorers import SCORERS, score_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

_OWN = frozenset(Scorer.model_json_schema(by_alias=True)["properties"])
# A score is a column of Parquet, beside columns that are there already.
_NAME = re.compile(r"(?!(?:in|score)_)(?!parse\Z)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NAME_HINT = "letters, digits, `_`, `.` and `-`; 64 characters at most; not parse, and not beginning with in_ or score_"


def scorer_findings(values: Any) -> Iterator[Finding]:
    """Yield what is wrong with the scorers of a config, beyond the types of `name` and `as`."""
    specs = value_at(values, ("scorers",))
    seen: set[str] = set()
    for number, spec in enumerate(specs) if isinstance(specs, list) else ():
        name = spec.get("name") if isinstance(spec, dict) else None
        if not isinstance(name, str) or not name:
            continue
        if name not in SCORERS:
            yield Finding(("scorers", number, "name"), f"there is no scorer {shown_text(name)}", _meant(name))
            continue
        yield from _options(name, spec, number)
        score = score_name(spec)
        if not _NAME.fullmatch(score):
            yield Finding(("scorers", number, "as"), f"{shown_text(score)} cannot name a score", _NAME_HINT)
        elif score in seen:
            hint = "give one of them a name of its own: as: …"
            yield Finding(("scorers", number), f"an earlier score is called {shown_text(score)}, too", hint)
        seen.add(score)


@cache
def scorer_model(name: str) -> type[BaseModel]:
    """Return the shape of an entry of `scorers` that names this scorer."""
    options = SCORERS[name].options
    kinds = get_type_hints(options)
    keys: dict[str, Any] = {}
    for one in fields(options):
        default = ... if one.default is MISSING else one.default
        if one.default_factory is not MISSING:
            default = one.default_factory()
        # A name of its own: pydantic has methods whose names are good names of options.
        keys[f"{one.name}_"] = (kinds[one.name], Field(default, alias=one.name, **one.metadata))
    own = Scorer.model_fields
    keys["as_"] = (own["as_"].annotation, own["as_"])
    model: type[BaseModel] = create_model(
        f"{name}_scorer",
        __base__=Section,
        __doc__=f"The scorer {name}, with its options.",
        name=(_literal(name), Field(description=own["name"].description)),
        **keys,
    )
    return model


def _literal(name: str) -> Any:
    return Literal[name]


def _options(name: str, spec: dict[str, Any], number: int) -> Iterator[Finding]:
    found = validated_or_findings(scorer_model(name), spec)
    for one in found if isinstance(found, list) else ():
        # What is wrong with those that every scorer has is said of all scorers.
        if not one.path or one.path[0] not in _OWN:
            yield replace(one, path=("scorers", number, *one.path))


def _meant(name: str) -> str:
    close = get_close_matches(name.lower().replace("-", "_"), SCORERS, n=1)
    return f'did you mean "{close[0]}"?' if close else f"there are {', '.join(SCORERS)}"
