"""Owns which keys exist where in a config, and the advice for a key that does not."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from pydantic import BaseModel

from runner.config.credentials import is_credential_field
from runner.config.models import RunConfig
from runner.config.params import PARAMS
from runner.config.places import dotted

if TYPE_CHECKING:
    from runner.config.places import KeyPath

_FEW = 6
# What other tools call it.
_SYNONYMS = {
    "concurrency": "limits.max_in_flight",
    "max_concurrency": "limits.max_in_flight",
    "num_workers": "limits.max_in_flight",
    "workers": "limits.max_in_flight",
    "rpm": "limits.requests_per_minute",
    "tpm": "limits.tokens_per_minute",
    "retries": "retry.max_attempts",
    "max_retries": "retry.max_attempts",
    "epochs": "request.repeats",
    "timeout": "request.timeout_s",
    "url": "model.base_url",
    "endpoint_url": "model.base_url",
    "system_prompt": "request.messages, as a message with role system",
    "metrics": "scorers",
    "seed": "request.params.seed, or dataset.shuffle_seed",
}

# What the address of a webhook may be called; it lets everybody write there, and a config is copied into each run.
_ADDRESSES = ("webhook", "webhook_url", "url", "slack", "discord", "teams", "apprise", "apprise_url")


def keys_at(path: KeyPath, root: type[BaseModel] = RunConfig) -> dict[str, Any]:
    """Return the keys of the section at `path`, with their types; empty where any key may stand."""
    section: Any = root
    for part in path:
        keys = _keys(section)
        # Anything else is a list index or a free name (a score): the section stands below it.
        if part in keys:
            section = _section(keys[str(part)])
    return _keys(section)


def advice(path: KeyPath, root: type[BaseModel] = RunConfig) -> str:
    """Return what to do about the unknown key at `path` of a file whose shape is `root`."""
    name = str(path[-1])
    siblings = list(keys_at(path[:-1], root))
    if path[0] == "notify" and root is RunConfig and name in _ADDRESSES:
        return "an address is a secret: put it into an environment variable, and the variable's name into webhook_env"
    if is_credential_field(name):
        return "a key never stands in a config: name its environment variable in model.api_key_env"
    if name in _SYNONYMS and root is RunConfig:
        return f"write {_SYNONYMS[name]}"
    here = f"the keys here are {', '.join(siblings)}"
    homes = _homes(root)
    if name in homes:
        return (
            f"it belongs {_home(homes[name])}; {here}" if len(siblings) <= _FEW else f"it belongs {_home(homes[name])}"
        )
    return _spelling(name, siblings, homes) or here


def _spelling(name: str, siblings: list[str], homes: dict[str, list[str]]) -> str:
    close = get_close_matches(name, {*siblings, *homes}, n=1, cutoff=0.75) or get_close_matches(name, siblings, n=1)
    if not close:
        return ""
    return f'did you mean "{close[0]}"?' + ("" if close[0] in siblings else f" It belongs {_home(homes[close[0]])}")


def _home(sections: list[str]) -> str:
    return " or ".join(f"under {section}" if section else "at the top level" for section in sections)


@cache
def _homes(root: type[BaseModel]) -> dict[str, list[str]]:
    """Return the sections that a key may stand in, by key; in a config the parameters of a request too."""
    params = [name for known in PARAMS.values() for name in known] if root is RunConfig else []
    homes: dict[str, list[str]] = {name: ["request.params"] for name in params}

    def visit(section: Any, path: KeyPath) -> None:
        for key, annotation in _keys(section).items():
            homes.setdefault(key, []).append(dotted(path))
            inner = _section(annotation)
            if inner is not None:
                visit(inner, (*path, key))

    visit(root, ())
    return homes


def _section(annotation: Any) -> Any:
    """Return the model or dataclass that a type is or contains (optional, in a list, in a dict), else null."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _section(inner)) is not None), None)


@cache
def _keys(section: Any) -> dict[str, Any]:
    if section is None:
        return {}
    if issubclass(section, BaseModel):
        return {field.alias or name: field.annotation for name, field in section.model_fields.items()}
    hints = get_type_hints(section)
    return {field.name: hints[field.name] for field in fields(section)}
