"""Owns the golden corpus of error answers: what a server sent, which error that is, and how long it asks to wait.

The bodies are written after what servers document and what was recorded of them; the server's name and the status begin
a file's name. Each goes the way that an answer of a run goes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner import errors
from runner.endpoints import ENDPOINTS
from runner.pipeline.sending.attempt import judge
from runner.records import Response
from runner.retry.classify import MAX_MESSAGE

# The check has one of its own, which reaches no row.
KINDS = {kind: error for kind, error in errors.request_errors().items() if error.__module__ == errors.__name__}
BODIES = Path(__file__).parent.parent / "bodies"
DOCUMENT = Path(__file__).parents[2] / "docs" / "failures.md"


@dataclass(frozen=True)
class Said:
    """An answer but for its body, and what it means."""

    status: int
    kind: type[errors.RequestError]
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float | None = None


GOLDEN = {
    "openai_400_audio.json": Said(400, errors.BadRequestError),
    "openai_400_context.json": Said(400, errors.ContextLengthError),
    "openai_400_embeddings_context.json": Said(400, errors.ContextLengthError),
    "openai_400_hard_limit.json": Said(400, errors.QuotaError),
    "openai_400_json.json": Said(400, errors.BadRequestError),
    "openai_400_pack_tokens.json": Said(400, errors.RequestTooLargeError),
    "openai_400_param.json": Said(400, errors.BadRequestError),
    "openai_400_policy.json": Said(400, errors.BadRequestError),
    "openai_401_key.json": Said(401, errors.AuthError),
    "openai_401_missing.json": Said(401, errors.AuthError),
    "openai_403_country.json": Said(403, errors.AuthError),
    "openai_403_model.json": Said(403, errors.ModelNotFoundError),
    "openai_404_model.json": Said(404, errors.ModelNotFoundError),
    "openai_404_url.json": Said(404, errors.NotFoundError),
    "openai_404_wrong_endpoint.json": Said(404, errors.ModelNotFoundError),
    "openai_429_credit.json": Said(429, errors.QuotaError),
    "openai_429_inactive.json": Said(429, errors.QuotaError),
    "openai_429_project_spend.json": Said(429, errors.QuotaError),
    "openai_429_quota.json": Said(429, errors.QuotaError, {"x-should-retry": "false"}),
    "openai_429_rate.json": Said(
        429, errors.RateLimitError, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "120ms"}, 0.12
    ),
    "openai_429_slow_down.json": Said(429, errors.RateLimitError, {"retry-after": "5"}, 5.0),
    "openai_429_tokens.json": Said(429, errors.RateLimitError, {"retry-after-ms": "1402", "retry-after": "2"}, 1.402),
    "openai_429_too_large.json": Said(429, errors.RequestTooLargeError),
    "openai_500.json": Said(500, errors.ServerError),
    "openai_502.html": Said(502, errors.ServerError),
    "openai_503.json": Said(503, errors.OverloadError, {"retry-after": "1"}, 1.0),
    "azure_400_filter.json": Said(400, errors.BadRequestError),
    "azure_400_wrong_operation.json": Said(400, errors.ModelNotFoundError),
    "azure_401.json": Said(401, errors.AuthError),
    "azure_401_flat.json": Said(401, errors.AuthError),
    "azure_403_network.json": Said(403, errors.AuthError),
    "azure_403_quota.json": Said(403, errors.QuotaError, {"retry-after": "444191"}, 86400.0),
    "azure_404_deployment.json": Said(404, errors.ModelNotFoundError),
    "azure_404_resource.json": Said(404, errors.NotFoundError),
    "azure_408.json": Said(408, errors.RequestTimeoutError),
    "azure_429.json": Said(429, errors.RateLimitError, {"retry-after": "7", "retry-after-ms": "7000"}, 7.0),
    "azure_429_gateway.json": Said(429, errors.RateLimitError, {"retry-after": "12"}, 12.0),
    "azure_500.json": Said(500, errors.ServerError),
    "azure_503.json": Said(503, errors.OverloadError, {"retry-after-ms": "-1", "retry-after": "-1"}),
    "anthropic_400.json": Said(400, errors.BadRequestError),
    "anthropic_400_context.json": Said(400, errors.ContextLengthError),
    "anthropic_400_credit.json": Said(400, errors.QuotaError),
    "anthropic_400_limit.json": Said(400, errors.ContextLengthError),
    "anthropic_400_spend.json": Said(400, errors.QuotaError),
    "anthropic_401.json": Said(401, errors.AuthError),
    "anthropic_402.json": Said(402, errors.QuotaError),
    "anthropic_403.json": Said(403, errors.AuthError),
    "anthropic_404_model.json": Said(404, errors.ModelNotFoundError),
    "anthropic_413.json": Said(413, errors.RequestTooLargeError),
    "anthropic_429.json": Said(
        429,
        errors.RateLimitError,
        {"retry-after": "38", "anthropic-ratelimit-input-tokens-reset": "2026-11-22T01:45:38Z"},
        38.0,
    ),
    "anthropic_429_spend.json": Said(429, errors.QuotaError, {"retry-after": "86000"}, 86000.0),
    "anthropic_500.json": Said(500, errors.ServerError),
    "anthropic_504.json": Said(504, errors.ServerError),
    "anthropic_529.json": Said(529, errors.OverloadError, {"x-should-retry": "true"}),
    "vllm_400.json": Said(400, errors.BadRequestError),
    "vllm_400_answer_too_long.json": Said(400, errors.ContextLengthError),
    "vllm_400_context.json": Said(400, errors.ContextLengthError),
    "vllm_400_fields.json": Said(400, errors.BadRequestError),
    "vllm_400_flat_context.json": Said(400, errors.ContextLengthError),
    "vllm_400_wrong_endpoint.json": Said(400, errors.ModelNotFoundError),
    "vllm_401.json": Said(401, errors.AuthError),
    "vllm_404_flat_model.json": Said(404, errors.ModelNotFoundError),
    "vllm_404_model.json": Said(404, errors.ModelNotFoundError),
    "vllm_500.json": Said(500, errors.ServerError),
    "vllm_500.txt": Said(500, errors.ServerError),
    "vllm_503_engine.json": Said(503, errors.OverloadError),
    "sglang_400_context.json": Said(400, errors.ContextLengthError),
    "tgi_422.json": Said(422, errors.BadRequestError),
    "tgi_422_context.json": Said(422, errors.ContextLengthError),
    "tgi_422_fields.txt": Said(422, errors.BadRequestError),
    "tgi_424.json": Said(424, errors.ServerError),
    "tgi_429.json": Said(429, errors.RateLimitError),
    "tgi_500.json": Said(500, errors.ServerError),
    "tgi_503.json": Said(503, errors.OverloadError),
    "tei_413_batch.json": Said(413, errors.RequestTooLargeError),
    "tei_413_context.json": Said(413, errors.ContextLengthError),
    "tei_429.json": Said(429, errors.RateLimitError),
    "huggingface_401.json": Said(401, errors.AuthError),
    "huggingface_402.json": Said(402, errors.QuotaError),
    "huggingface_503_loading.json": Said(503, errors.OverloadError),
    "llamacpp_400.json": Said(400, errors.BadRequestError),
    "llamacpp_400_context.json": Said(400, errors.ContextLengthError),
    "llamacpp_400_json.json": Said(400, errors.BadRequestError),
    "llamacpp_400_old_context.json": Said(400, errors.ContextLengthError),
    "llamacpp_400_pooling.json": Said(400, errors.BadRequestError),
    "llamacpp_401.json": Said(401, errors.AuthError),
    "llamacpp_404.json": Said(404, errors.NotFoundError),
    "llamacpp_500.json": Said(500, errors.ServerError),
    "llamacpp_500_batch.json": Said(500, errors.ContextLengthError),
    "llamacpp_501.json": Said(501, errors.NotFoundError),
    "llamacpp_503_loading.json": Said(503, errors.OverloadError),
    "ollama_400_content.json": Said(400, errors.BadRequestError),
    "ollama_400_context.json": Said(400, errors.ContextLengthError),
    "ollama_400_v1_context.json": Said(400, errors.ContextLengthError),
    "ollama_400_wrong_endpoint.json": Said(400, errors.ModelNotFoundError),
    "ollama_401.json": Said(401, errors.AuthError),
    "ollama_404_model.json": Said(404, errors.ModelNotFoundError),
    "ollama_404_path.txt": Said(404, errors.NotFoundError),
    "ollama_404_v1_model.json": Said(404, errors.ModelNotFoundError),
    "ollama_500_runner.json": Said(500, errors.ServerError),
    "ollama_503.json": Said(503, errors.OverloadError),
    "lmstudio_400_context.json": Said(400, errors.ContextLengthError),
    "lmstudio_400_old_context.json": Said(400, errors.ContextLengthError),
    "litellm_400_budget.json": Said(400, errors.QuotaError),
    "litellm_400_context.json": Said(400, errors.ContextLengthError),
    "litellm_400_model.json": Said(400, errors.ModelNotFoundError),
    "litellm_400_null_code.json": Said(400, errors.BadRequestError),
    "litellm_400_policy.json": Said(400, errors.BadRequestError),
    "litellm_400_wrapped_spend.json": Said(400, errors.QuotaError),
    "litellm_401.json": Said(401, errors.AuthError),
    "litellm_401_missing.json": Said(401, errors.AuthError),
    "litellm_404.json": Said(404, errors.ModelNotFoundError),
    "litellm_408.json": Said(408, errors.RequestTimeoutError),
    "litellm_429.json": Said(429, errors.RateLimitError),
    "litellm_429_int_code.json": Said(429, errors.RateLimitError),
    "litellm_429_quota.json": Said(429, errors.QuotaError),
    "litellm_500_connection.json": Said(500, errors.ServerError),
    "litellm_503.json": Said(503, errors.OverloadError),
    "openrouter_402.json": Said(402, errors.QuotaError),
    "openrouter_403_key_limit.json": Said(403, errors.QuotaError),
    "openrouter_403_moderation.json": Said(403, errors.PermissionDeniedError),
    "openrouter_404_model.json": Said(404, errors.ModelNotFoundError),
    "openrouter_408.json": Said(408, errors.RequestTimeoutError),
    "openrouter_429_upstream.json": Said(429, errors.RateLimitError),
    "openrouter_502.json": Said(502, errors.ServerError),
    "openrouter_503.json": Said(503, errors.OverloadError),
    "gemini_400_argument.json": Said(400, errors.BadRequestError),
    "gemini_400_context.json": Said(400, errors.ContextLengthError),
    "gemini_400_key.json": Said(400, errors.AuthError),
    "gemini_400_region.json": Said(400, errors.AuthError),
    "gemini_404_model.json": Said(404, errors.ModelNotFoundError),
    "gemini_429_list.json": Said(429, errors.RateLimitError),
    "gemini_503.json": Said(503, errors.OverloadError),
    "groq_400_context.json": Said(400, errors.ContextLengthError),
    "groq_413_tokens.json": Said(413, errors.RequestTooLargeError),
    "groq_498_capacity.json": Said(498, errors.OverloadError, {"retry-after": "1.5"}, 1.5),
    "groq_503.json": Said(503, errors.OverloadError),
    "mistral_400_model.json": Said(400, errors.ModelNotFoundError),
    "mistral_401.json": Said(401, errors.AuthError),
    "mistral_429.json": Said(
        429, errors.RateLimitError, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360.0
    ),
    "xai_400_context.json": Said(400, errors.ContextLengthError),
    "xai_400_key.json": Said(400, errors.AuthError),
    "xai_403_credits.json": Said(403, errors.QuotaError),
    "xai_403_spent.json": Said(403, errors.QuotaError),
    "xai_429_spent.json": Said(429, errors.QuotaError),
    "deepseek_402.json": Said(402, errors.QuotaError),
    "bedrock_400_context.json": Said(400, errors.ContextLengthError),
    "aws_403_token.json": Said(403, errors.AuthError),
    "aws_429.json": Said(429, errors.RateLimitError),
    "aws_504.json": Said(504, errors.ServerError),
    "databricks_429.json": Said(429, errors.RateLimitError, {"retry-after": "0"}, 0.0),
    "fastapi_detail_object.json": Said(400, errors.BadRequestError),
    "fastapi_401.json": Said(401, errors.AuthError, {"www-authenticate": "Bearer"}),
    "fastapi_401_key.json": Said(401, errors.AuthError),
    "fastapi_403.json": Said(403, errors.AuthError),
    "fastapi_404.json": Said(404, errors.NotFoundError),
    "fastapi_405.json": Said(405, errors.NotFoundError),
    "fastapi_422.json": Said(422, errors.BadRequestError),
    "fastapi_422_v1.json": Said(422, errors.BadRequestError),
    "fastapi_500_null.json": Said(500, errors.ServerError),
    "fastapi_503.json": Said(503, errors.OverloadError, {"retry-after": "soon"}),
    "uvicorn_500.txt": Said(500, errors.ServerError),
    "uvicorn_500_missing_key.txt": Said(500, errors.ServerError),
    "flask_500_missing_key.txt": Said(500, errors.ServerError),
    "werkzeug_500.html": Said(500, errors.ServerError),
    "slowapi_429.json": Said(429, errors.RateLimitError),
    "gateway_403.json": Said(403, errors.AuthError),
    "problem_409.json": Said(409, errors.ServerError),
    "nginx_400.html": Said(400, errors.BadRequestError),
    "nginx_401.html": Said(401, errors.AuthError),
    "nginx_403.html": Said(403, errors.AuthError),
    "nginx_404.html": Said(404, errors.NotFoundError),
    "nginx_405.html": Said(405, errors.NotFoundError),
    "nginx_413.html": Said(413, errors.RequestTooLargeError),
    "nginx_429.html": Said(429, errors.RateLimitError),
    "nginx_500.html": Said(500, errors.ServerError),
    "nginx_502.html": Said(502, errors.ServerError),
    "nginx_503.html": Said(503, errors.OverloadError, {"retry-after": "120"}, 120.0),
    "nginx_504.html": Said(504, errors.ServerError),
    "cloudflare_403.html": Said(403, errors.AuthError),
    "cloudflare_429.html": Said(
        429, errors.RateLimitError, {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT", "server": "cloudflare"}, 86400.0
    ),
    "cloudflare_429_1015.txt": Said(429, errors.RateLimitError, {"retry-after": "30", "server": "cloudflare"}, 30.0),
    "cloudflare_502.html": Said(502, errors.ServerError),
    "cloudflare_520.html": Said(520, errors.ServerError),
    "cloudflare_521.html": Said(521, errors.ServerError),
    "cloudflare_522.html": Said(522, errors.ServerError),
    "cloudflare_524.html": Said(524, errors.ServerError),
    "envoy_503.txt": Said(503, errors.OverloadError),
    "envoy_504.txt": Said(504, errors.ServerError),
    "haproxy_503.html": Said(503, errors.OverloadError),
    "varnish_503.html": Said(503, errors.OverloadError),
    "proxy_407.txt": Said(407, errors.AuthError),
    "proxy_408.txt": Said(408, errors.RequestTimeoutError),
    "too_early_425.txt": Said(425, errors.ServerError),
    "untitled_500.html": Said(500, errors.ServerError),
    "empty_500.txt": Said(500, errors.ServerError),
    "truncated_400.json": Said(400, errors.ContextLengthError),
    "truncated_429.json": Said(429, errors.RateLimitError, {"retry-after": "3"}, 3.0),
    "truncated_500.json": Said(500, errors.ServerError),
    "200_anthropic_overloaded.json": Said(200, errors.OverloadError),
    "200_anthropic_rate.json": Said(200, errors.RateLimitError),
    "200_blank.txt": Said(200, errors.InvalidResponseError),
    "200_detail.json": Said(200, errors.NoChoicesError),
    "200_empty.txt": Said(200, errors.InvalidResponseError),
    "200_list.json": Said(200, errors.NoChoicesError),
    "200_litellm_quota.json": Said(200, errors.QuotaError),
    "200_litellm_string_status.json": Said(200, errors.RequestTimeoutError),
    "200_lmstudio_context.json": Said(200, errors.ContextLengthError),
    "200_no_choices.json": Said(200, errors.NoChoicesError),
    "200_null.json": Said(200, errors.NoChoicesError),
    "200_null_code.json": Said(200, errors.ServerError),
    "200_openai_string_code.json": Said(200, errors.RateLimitError),
    "200_openrouter_429.json": Said(200, errors.RateLimitError),
    "200_openrouter_502.json": Said(200, errors.ServerError),
    "200_page.html": Said(200, errors.InvalidResponseError),
    "200_plain.json": Said(200, errors.ServerError),
    "200_responses_failed.json": Said(200, errors.ServerError),
    "200_tgi.json": Said(200, errors.BadRequestError),
    "200_truncated.json": Said(200, errors.InvalidResponseError),
    "200_vllm_flat.json": Said(200, errors.BadRequestError),
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
    "fastapi_detail_object.json": "HTTP 400: knowledge base kb-7 is not there",
    "fastapi_422_v1.json": "HTTP 422: body.messages: field required",
    "fastapi_500_null.json": "HTTP 500: Internal Server Error",
    "flask_500_missing_key.txt": "HTTP 500: KeyError: 'messages'",
    "groq_498_capacity.json": "HTTP 498: Flex tier capacity exceeded, please try again later.",
    "varnish_503.html": "HTTP 503: 503 Backend fetch failed",
    "truncated_500.json": 'HTTP 500: {"error":{"message":"The server had an err',
    "200_litellm_string_status.json": "HTTP 200 with an error: litellm.Timeout: the upstream took too long",
    "200_tgi.json": "HTTP 200 with an error: Input validation error: `stop` supports up to 4 sequences",
}


def body_of(name: str) -> bytes:
    return (BODIES / f"error_{name}").read_bytes()


def judged(name: str, *, answered_before: bool = False) -> errors.RequestError:
    said = GOLDEN[name]
    response = Response(said.status, said.headers, body_of(name), 0.0, 0.0)
    outcome = judge(ENDPOINTS["chat"], response, answered_before=answered_before)
    assert outcome.response is response  # kept as it came
    assert outcome.error is not None
    return outcome.error


@pytest.mark.parametrize("name", GOLDEN)
def test_each_error_answer_is_the_error_it_means(name: str) -> None:
    error = judged(name)
    said = GOLDEN[name]
    assert type(error) is said.kind
    assert error.retry_after_s == said.wait_s
    assert error.http_status in ({said.status} if said.kind is not errors.NoChoicesError else {None, said.status})
    assert len(error.message) <= MAX_MESSAGE
    assert error.message.isprintable()
    assert error.hint


# About the key until there was an answer, and about the row from then on.
TURNS = {"gateway_403.json", "anthropic_403.json", "openai_403_country.json", "azure_403_network.json"}
TURNS |= {"aws_403_token.json", "fastapi_403.json", "nginx_403.html", "cloudflare_403.html"}


@pytest.mark.parametrize("name", GOLDEN)
def test_after_an_answer_only_a_bare_403_means_something_else(name: str) -> None:
    expected = errors.PermissionDeniedError if name in TURNS else GOLDEN[name].kind
    assert type(judged(name, answered_before=True)) is expected


@pytest.mark.parametrize(("name", "message"), TEXTS.items())
def test_the_message_is_the_servers_own_text(name: str, message: str) -> None:
    assert judged(name).message == message


def test_every_error_body_is_in_the_table_under_its_status() -> None:
    assert {path.name.removeprefix("error_") for path in BODIES.glob("error_*")} == set(GOLDEN)
    for name, said in GOLDEN.items():
        found = re.search(r"(?:^|_)(\d{3})", name)
        assert found is None or int(found.group(1)) == said.status


def test_every_kind_that_an_answer_can_mean_is_in_the_table() -> None:
    by_the_wire = {"connect", "stale_connection", "disconnect", "body_too_large"}
    by_the_run = {"cancelled", "parse", "missing_choice", "unsupported", "permission_denied", "redirect"}
    shown = {errors.kind_of(said.kind) for said in GOLDEN.values()}
    assert shown | by_the_wire | by_the_run == set(KINDS)


ACTIONS = {
    errors.Action.RETRY_FREE: "retries, free",
    errors.Action.RETRY: "retries",
    errors.Action.END_ROW: "ends the row",
    errors.Action.STOP_RUN: "stops",
}
# Of these there is more to say than what the run does.
ALONE = {"cancelled", "missing_choice", "parse"}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_documented_with_what_the_run_does(kind: str) -> None:
    (row,) = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{kind}` |")]
    error, columns = KINDS[kind], row.split(" | ")
    if kind in ALONE:
        return
    assert columns[2].startswith(ACTIONS[error.action])
    if error.action is not errors.Action.STOP_RUN:
        assert columns[3] == ("yes" if error.resend else "no")
