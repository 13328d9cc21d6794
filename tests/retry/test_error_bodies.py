"""Owns the table of real error bodies: which server said what, and which error that is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner import errors, jsontext
from runner.retry.classify import MAX_MESSAGE, classify_status, error_in_body

BODIES = Path(__file__).parent.parent / "bodies"
NOW = datetime(2026, 11, 22, 1, 45, tzinfo=UTC)

# The status stands in the file's name.
BY_STATUS = {
    "openai_400_param.json": errors.BadRequestError,
    "openai_400_context.json": errors.ContextLengthError,
    "openai_400_embeddings_context.json": errors.ContextLengthError,
    "openai_400_audio.json": errors.BadRequestError,
    "openai_400_hard_limit.json": errors.QuotaError,
    "openai_401_key.json": errors.AuthError,
    "openai_403_country.json": errors.AuthError,
    "openai_403_model.json": errors.ModelNotFoundError,
    "openai_404_model.json": errors.ModelNotFoundError,
    "openai_404_wrong_endpoint.json": errors.ModelNotFoundError,
    "openai_404_url.json": errors.NotFoundError,
    "openai_429_rate.json": errors.RateLimitError,
    "openai_429_slow_down.json": errors.RateLimitError,
    "openai_429_too_large.json": errors.RequestTooLargeError,
    "openai_429_quota.json": errors.QuotaError,
    "openai_429_project_spend.json": errors.QuotaError,
    "openai_429_credit.json": errors.QuotaError,
    "openai_500.json": errors.ServerError,
    "openai_503.json": errors.OverloadError,
    "azure_400_filter.json": errors.BadRequestError,
    "azure_401.json": errors.AuthError,
    "azure_404_deployment.json": errors.ModelNotFoundError,
    "azure_404_resource.json": errors.NotFoundError,
    "azure_429.json": errors.RateLimitError,
    "anthropic_400.json": errors.BadRequestError,
    "anthropic_400_context.json": errors.ContextLengthError,
    "anthropic_400_credit.json": errors.QuotaError,
    "anthropic_400_spend.json": errors.QuotaError,
    "anthropic_401.json": errors.AuthError,
    "anthropic_402.json": errors.QuotaError,
    "anthropic_403.json": errors.AuthError,
    "anthropic_404_model.json": errors.ModelNotFoundError,
    "anthropic_413.json": errors.RequestTooLargeError,
    "anthropic_429.json": errors.RateLimitError,
    "anthropic_429_spend.json": errors.QuotaError,
    "anthropic_529.json": errors.OverloadError,
    "vllm_400.json": errors.BadRequestError,
    "vllm_400_context.json": errors.ContextLengthError,
    "vllm_400_flat_context.json": errors.ContextLengthError,
    "vllm_401.json": errors.AuthError,
    "vllm_404_model.json": errors.ModelNotFoundError,
    "vllm_404_flat_model.json": errors.ModelNotFoundError,
    "vllm_500.json": errors.ServerError,
    "tgi_422.json": errors.BadRequestError,
    "tgi_422_context.json": errors.ContextLengthError,
    "tgi_424.json": errors.ServerError,
    "tgi_429.json": errors.RateLimitError,
    "llamacpp_400.json": errors.BadRequestError,
    "llamacpp_400_context.json": errors.ContextLengthError,
    "llamacpp_404.json": errors.NotFoundError,
    "llamacpp_501.json": errors.NotFoundError,
    "llamacpp_503_loading.json": errors.OverloadError,
    "ollama_404_model.json": errors.ModelNotFoundError,
    "ollama_404_v1_model.json": errors.ModelNotFoundError,
    "ollama_404_path.txt": errors.NotFoundError,
    "ollama_503.json": errors.OverloadError,
    "litellm_400_budget.json": errors.QuotaError,
    "litellm_400_context.json": errors.ContextLengthError,
    "litellm_400_model.json": errors.ModelNotFoundError,
    "litellm_400_wrapped_spend.json": errors.QuotaError,
    "litellm_401.json": errors.AuthError,
    "litellm_429.json": errors.RateLimitError,
    "openrouter_402.json": errors.QuotaError,
    "openrouter_403_moderation.json": errors.PermissionDeniedError,
    "openrouter_404_model.json": errors.ModelNotFoundError,
    "gemini_400_key.json": errors.AuthError,
    "gemini_404_model.json": errors.ModelNotFoundError,
    "gemini_429_list.json": errors.RateLimitError,
    "mistral_400_model.json": errors.ModelNotFoundError,
    "groq_413_tokens.json": errors.RequestTooLargeError,
    "fastapi_401.json": errors.AuthError,
    "fastapi_404.json": errors.NotFoundError,
    "fastapi_405.json": errors.NotFoundError,
    "fastapi_422.json": errors.BadRequestError,
    "gateway_403.json": errors.AuthError,
    "problem_409.json": errors.ServerError,
    "nginx_413.html": errors.RequestTooLargeError,
    "nginx_502.html": errors.ServerError,
    "nginx_504.html": errors.ServerError,
    "cloudflare_524.html": errors.ServerError,
    "untitled_500.html": errors.ServerError,
    "proxy_407.txt": errors.AuthError,
    "proxy_408.txt": errors.RequestTimeoutError,
    "too_early_425.txt": errors.ServerError,
    "uvicorn_500.txt": errors.ServerError,
    "envoy_503.txt": errors.OverloadError,
    "empty_500.txt": errors.ServerError,
}

INSIDE_A_200 = {
    "200_openrouter_429.json": errors.RateLimitError,
    "200_openrouter_502.json": errors.ServerError,
    "200_litellm_quota.json": errors.QuotaError,
    "200_anthropic_overloaded.json": errors.OverloadError,
    "200_vllm_flat.json": errors.BadRequestError,
    "200_tgi.json": errors.BadRequestError,
    "200_responses_failed.json": errors.ServerError,
    "200_plain.json": errors.ServerError,
}

TEXTS = {
    "openai_500.json": "HTTP 500: The server had an error while processing your request.",
    "anthropic_529.json": "HTTP 529: Overloaded",
    "vllm_400.json": "HTTP 400: max_tokens must be at least 1, got -186.",
    "vllm_401.json": "HTTP 401: Unauthorized",
    "gemini_429_list.json": "HTTP 429: Resource has been exhausted (e.g. check quota).",
    "fastapi_404.json": "HTTP 404: Not Found",
    "fastapi_422.json": "HTTP 422: body.input: Field required; body.model: Input should be a valid string",
    "problem_409.json": "HTTP 409: another request holds the session",
    "gateway_403.json": "HTTP 403: Forbidden",
    "ollama_404_path.txt": "HTTP 404: 404 page not found",
    "nginx_502.html": "HTTP 502: 502 Bad Gateway",
    "cloudflare_524.html": "HTTP 524: api.example.org | 524: A timeout occurred",
    "untitled_500.html": "HTTP 500: Something & nothing went wrong",
    "empty_500.txt": "HTTP 500: Internal Server Error",
}


def body_of(name: str) -> bytes:
    return (BODIES / f"error_{name}").read_bytes()


def status_of(name: str) -> int:
    found = re.search(r"_(\d{3})", name)
    assert found
    return int(found.group(1))


def classify(name: str) -> errors.RequestError:
    error = classify_status(status_of(name), {}, body_of(name), answered_before=False, now=NOW)
    assert error is not None
    return error


@pytest.mark.parametrize(("name", "kind"), BY_STATUS.items())
def test_each_error_body_is_the_error_it_means(name: str, kind: type[errors.RequestError]) -> None:
    error = classify(name)
    assert type(error) is kind
    assert error.http_status == status_of(name)
    assert error.message.startswith(f"HTTP {status_of(name)}: ")
    assert len(error.message) <= MAX_MESSAGE
    assert error.message.isprintable()
    assert error.hint


@pytest.mark.parametrize(("name", "kind"), INSIDE_A_200.items())
def test_an_error_inside_a_200_is_found_and_classified(name: str, kind: type[errors.RequestError]) -> None:
    assert classify_status(200, {}, body_of(name), answered_before=False, now=NOW) is None
    error = error_in_body(jsontext.loads(body_of(name))[0])
    assert type(error) is kind
    assert error.http_status == 200
    assert error.message.startswith("HTTP 200 with an error: ")
    assert error.hint


@pytest.mark.parametrize(("name", "message"), TEXTS.items())
def test_the_message_is_the_servers_own_text(name: str, message: str) -> None:
    assert classify(name).message == message


def test_a_detail_object_is_read_like_an_error_object() -> None:
    error = classify_status(400, {}, body_of("fastapi_detail_object.json"), answered_before=True, now=NOW)
    assert error is not None
    assert error.message == "HTTP 400: knowledge base kb-7 is not there"


def test_every_error_body_is_in_a_table() -> None:
    stored = {path.name.removeprefix("error_") for path in BODIES.glob("error_*")}
    assert stored == {*BY_STATUS, *INSIDE_A_200, "fastapi_detail_object.json"}
