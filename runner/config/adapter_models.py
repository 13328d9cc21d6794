"""Owns the shape of an adapter file: every key, its type, its default and what it means."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runner.config.adapter_content_models import AdapterDocuments  # noqa: TC001 - pydantic reads it when the class is made

Word = Literal["ok", "truncated", "refused", "content_filter"]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class AdapterAuth(_Section):
    """Where the key stands that model.api_key_env names."""

    type: Literal["bearer", "header", "query", "basic", "none"] = Field(
        default="bearer",
        description="bearer: Authorization: Bearer KEY; header: the header `name`; query: the query parameter `name`; "
        "basic: user and password; none: no key is sent.",
    )
    name: str | None = Field(default=None, description="With header and query: the name it is sent under.")
    prefix: str = Field(default="", description="With header: what stands before the key, e.g. `Token `.")
    user: str | None = Field(
        default=None, description="With basic: the user, the key is the password; null: the key is `user:password`."
    )


class AdapterCapabilities(_Section):
    """What the server can do. What it cannot is refused, or dropped with a warning (request.on_unsupported)."""

    logprobs: bool | None = Field(default=None, description="Log probabilities; null: if response.logprobs is there.")
    n: bool | None = Field(default=None, description="Several choices; null: if response.choices is there.")
    tools: bool = Field(default=True, description="Tools and tool_choice.")
    response_format: bool = Field(default=True, description="The param response_format.")
    seed: bool = Field(default=True, description="The param seed.")
    stream: Literal[False, "openai"] = Field(
        default=False,
        description="Streaming. openai: the body asks for it by `stream` and `stream_options`, and the answer comes in "
        "the chunks of OpenAI's API; `response` reads what they make up. false: none.",
    )
    array_input: bool = Field(
        default=False,
        description="Embeddings of several inputs in one request: `input` is a list then, and stands in the body as "
        '"{{ input }}", in one place; false: `input` is the one input.',
    )
    most_inputs: int | None = Field(
        default=None, ge=1, description="With array_input: the most inputs that the server takes; null: not known."
    )


class AdapterParams(_Section):
    """What becomes of request.params before the body sees them as `params`."""

    rename: dict[str, str] = Field(default={}, description="The server's name by our name, e.g. {stop: stop_words}.")
    omit: list[str] = Field(default=[], description="Params that are never sent.")
    unsupported: list[str] = Field(default=[], description="Params that the server does not have.")
    only: list[str] | None = Field(default=None, description="The params that the server has; null: any.")
    defaults: dict[str, Any] = Field(default={}, description="Sent where the config sets nothing; the server's names.")


class AdapterLogprobs(_Section):
    """Log probabilities of a choice: a list of entries, or lists side by side."""

    entries: str | None = Field(default=None, description="List with an entry for each token.")
    token: str | None = Field(default=None, description="In an entry: its text.")
    logprob: str | None = Field(default=None, description="In an entry: its log probability.")
    bytes: str | None = Field(default=None, description="In an entry: its bytes, as a list of numbers.")
    top: str | None = Field(default=None, description="In an entry: the alternatives.")
    tokens: str | None = Field(default=None, description="List of token texts.")
    token_logprobs: str | None = Field(default=None, description="List of log probabilities, beside `tokens`.")
    top_lists: str | None = Field(
        default=None, description="List of alternatives, beside the tokens: lists, or mappings of token to number."
    )
    top_token: str | None = Field(default=None, description="In an alternative: its text; null: as `token`.")
    top_logprob: str | None = Field(default=None, description="In an alternative: its number; null: as `logprob`.")


class AdapterUsage(_Section):
    """Token counts, looked up in the body."""

    prompt_tokens: str | None = Field(default=None, description="Tokens of the prompt, those from a cache included.")
    completion_tokens: str | None = Field(default=None, description="Tokens of the answer, with its reasoning.")
    total_tokens: str | None = Field(default=None, description="Both; null: their sum.")
    cached_tokens: str | None = Field(default=None, description="Prompt tokens read from a cache.")
    reasoning_tokens: str | None = Field(default=None, description="Answer tokens that are reasoning.")
    raw: str | None = Field(default=None, description="The server's own object, kept as usage_json.")


class AdapterRetrieved(_Section):
    """Documents that a RAG system looked up."""

    list: str = Field(description="The list of documents, in the body.")
    rank: str | None = Field(default=None, description="In a document: its rank; null: its position, from 1.")
    id: str | None = Field(default=None, description="In a document: its id.")
    score: str | None = Field(default=None, description="In a document: its score.")
    text: str | None = Field(default=None, description="In a document: its text.")


class AdapterEmbeddings(_Section):
    """Vectors of an embeddings answer."""

    list: str = Field(description="The list of entries or vectors, in the body.")
    vector: str | None = Field(
        default=None, description="In an entry: the vector, a list of numbers or base64 of float32; null: the entry."
    )
    index: str | None = Field(
        default=None,
        description="In an entry: which input it is of, from 0; null: their order says it, where there are as many as "
        "inputs.",
    )


class AdapterResponse(_Section):
    """What an answer holds, as JMESPath. With `choices`, what belongs to a choice is looked up in each of these."""

    choices: str | None = Field(default=None, description="List of choices, in the body; null: the body is the choice.")
    index: str | None = Field(default=None, description="In a choice: its number; null: its position.")
    text: str | None = Field(default=None, description="In a choice: its text; a list of texts is joined.")
    reasoning: str | None = Field(default=None, description="In a choice: its reasoning.")
    refusal: str | None = Field(default=None, description="In a choice: the text of a refusal.")
    tool_calls: str | None = Field(default=None, description="In a choice: tool calls, kept as JSON.")
    audio_transcript: str | None = Field(default=None, description="In a choice: the transcript of its audio.")
    finish_reason: str | None = Field(default=None, description="In a choice: the server's word for why it ended.")
    error: str | None = Field(default=None, description="In a choice: what went wrong with it; the row fails.")
    logprobs: AdapterLogprobs | None = Field(default=None, description="Log probabilities of a choice.")
    status: dict[str, Word] = Field(
        default={}, description="Status by finish reason; length, max_tokens and content_filter are known."
    )
    id: str | None = Field(default=None, description="The answer's id.")
    model: str | None = Field(default=None, description="The model that answered.")
    created: str | None = Field(default=None, description="When, in seconds since 1970.")
    system_fingerprint: str | None = Field(default=None, description="The server's configuration.")
    service_tier: str | None = Field(default=None, description="The service tier.")
    usage: AdapterUsage = Field(default=AdapterUsage(), description="Token counts.")
    retrieved: AdapterRetrieved | None = Field(default=None, description="Documents that were looked up.")
    embeddings: AdapterEmbeddings | None = Field(default=None, description="Vectors.")


class AdapterErrors(_Section):
    """What an error is. Without any of this, status and body are judged as those of the known servers are."""

    by_status: dict[str, str] = Field(default={}, description="Error kind by HTTP status, e.g. {418: rate_limit}.")
    by_code: dict[str, str] = Field(default={}, description="Error kind by the code that `code` finds; it goes first.")
    code: str | None = Field(default=None, description="The error's code or type, in an error's body.")
    message: str | None = Field(default=None, description="The error's text, in an error's body.")
    in_body: str | None = Field(
        default=None, description="True for a 2xx body that is an error; null: a body with `error` in it is one."
    )


class AdapterFile(_Section):
    """A wire format: how a request is written for a server, and how its answer is read. Expressions are JMESPath."""

    name: str = Field(default="", description="What messages call it; empty: the file's name.")
    description: str = Field(default="", description="What it is for, and its source.")
    endpoints: list[Literal["chat", "completions", "embeddings"]] = Field(
        min_length=1, description="The values of request.endpoint that it serves."
    )
    method: Literal["POST", "PUT", "PATCH", "GET"] = Field(
        default="POST", description="HTTP method; with GET the body is sent as query parameters."
    )
    path: str = Field(
        description="Added to model.base_url; may read {{ model }}, the model's name, and retrieval. model.path wins."
    )
    query: dict[str, str] = Field(default={}, description="Query parameters; they may read what the path may. No key.")
    headers: dict[str, str] = Field(default={}, description="HTTP headers; model.headers wins. No key.")
    auth: AdapterAuth = Field(default=AdapterAuth(), description="How the key is sent.")
    capabilities: AdapterCapabilities = Field(default=AdapterCapabilities(), description="What the server can do.")
    params: AdapterParams = Field(default=AdapterParams(), description="What becomes of request.params.")
    body: dict[str, Any] = Field(
        description='The body. "{{ EXPRESSION }}" keeps its type and leaves its key out where it finds nothing; it '
        "reads model, messages, prompt, input, params, row.COLUMN and retrieval (knowledge_base, documents). $merge, "
        "$omit and $if are instructions."
    )
    response: AdapterResponse = Field(description="What an answer holds.")
    errors: AdapterErrors = Field(default=AdapterErrors(), description="What an error is.")
    documents: AdapterDocuments | None = Field(default=None, description="What it may look into: its content API.")
