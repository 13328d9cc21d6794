"""Owns parameters that a server does not take: refused in the words of a real one, or ignored without a word."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from runner.errors import UsageError
from runner.simulate.replies import json_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.simulate.replies import Reply


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Which parameters are refused, in which server's dialect, and which are ignored. Null counts as not sent."""

    refuse: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    dialect: str = "openai"


def refuse_parameter(body: Mapping[str, Any], unsupported: Unsupported) -> Reply | None:
    """Return the refusal of the first parameter that is not taken; null where there is none."""
    name = next((name for name in unsupported.refuse if body.get(name) is not None), None)
    return None if name is None else DIALECTS[unsupported.dialect](name, body[name])


def without_ignored(body: dict[str, Any], unsupported: Unsupported) -> dict[str, Any]:
    """Return a body without what is ignored."""
    if not unsupported.ignore:
        return body
    ignored = {*unsupported.ignore, *(("top_logprobs",) if "logprobs" in unsupported.ignore else ())}
    return {name: value for name, value in body.items() if name not in ignored}


def check_dialect(unsupported: Unsupported) -> None:
    """Raise UsageError for a dialect that does not exist."""
    if unsupported.dialect not in DIALECTS:
        known = ", ".join(sorted(DIALECTS))
        raise UsageError(f"There is no dialect {unsupported.dialect!r}.", hint=f"one of {known}")


def _error(status: int, message: str, **more: Any) -> Reply:
    return json_reply(status, {"error": {"message": message, "type": "invalid_request_error", **more}})


def _openai(name: str, _value: Any) -> Reply:
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    return _error(400, message, param=name, code="unsupported_parameter")


def _azure(name: str, _value: Any) -> Reply:
    return _error(400, f"Unrecognized request argument supplied: {name}", param=None, code=None)


def _extra(name: str, value: Any) -> dict[str, Any]:
    return {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": value}


def _fastapi(name: str, value: Any) -> Reply:
    return json_reply(422, {"detail": [_extra(name, value)]})


def _mistral(name: str, value: Any) -> Reply:
    detail = {"detail": [_extra(name, value)]}
    error = {"object": "error", "message": detail, "type": "invalid_request_error", "param": None, "code": None}
    return json_reply(422, error)


def _vllm(name: str, value: Any) -> Reply:
    printed = str([{**_extra(name, value), "loc": ("body", name)}])
    error = {"object": "error", "message": printed, "type": "BadRequestError", "param": None, "code": 400}
    return json_reply(400, error)


def _litellm(name: str, value: Any) -> Reply:
    message = (
        f"litellm.UnsupportedParamsError: somewhere does not support parameters: { {name: value} }, for model=m. "
        "To drop these, set `litellm.drop_params=True` or for proxy: `litellm_settings:\n drop_params: true`\n"
        ". Received Model Group=m\nAvailable Model Group Fallbacks=None"
    )
    return json_reply(400, {"error": {"message": message, "type": "None", "param": None, "code": "400"}})


def _llamacpp(name: str, value: Any) -> Reply:
    said = f"Field 'n': Value must be between 1 <= value <= 1, but got {value}" if name == "n" else None
    return json_reply(
        400,
        {"error": {"code": 400, "message": said or f"Unsupported param: {name}", "type": "invalid_request_error"}},
    )


def _groq(name: str, _value: Any) -> Reply:
    return _error(400, f"property '{name}' is unsupported")


def _gemini(name: str, _value: Any) -> Reply:
    said = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
    return json_reply(400, [{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}])


def _anthropic(name: str, _value: Any) -> Reply:
    error = {"type": "invalid_request_error", "message": f"{name}: Extra inputs are not permitted"}
    return json_reply(400, {"type": "error", "error": error, "request_id": "req_0"})


DIALECTS: Mapping[str, Callable[[str, Any], Reply]] = MappingProxyType(
    {
        "anthropic": _anthropic,
        "azure": _azure,
        "fastapi": _fastapi,
        "gemini": _gemini,
        "groq": _groq,
        "litellm": _litellm,
        "llamacpp": _llamacpp,
        "mistral": _mistral,
        "openai": _openai,
        "vllm": _vllm,
    }
)
