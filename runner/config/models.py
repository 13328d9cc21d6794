"""Owns the shape of a config: every key, its type, its default and what it means.

These models know types and ranges. What goes beyond them stands in `rules`; both are applied by `load_config` and
`config_from_dict`, which are the ways to make a `RunConfig`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runner.limiter.policy import Limits
from runner.retry.policy import RetryPolicy

NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

# What stands in place of a run folder in `gates.baseline`.
LAST_GOOD = "last_good"

Event = Literal["regression", "failure", "recovery", "success"]

_INT32 = 2**31 - 1
_INT64 = 2**63 - 1


class Section(BaseModel):
    """A section of a config: strict types, no unknown keys."""

    # `Limits` and `RetryPolicy` are plain dataclasses; pydantic validates them under the config of their parent.
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Dataset(Section):
    """Which rows are evaluated, and what their columns mean."""

    path: str | list[str] = Field(
        description=".jsonl, .csv, .tsv, .parquet or .arrow, each also .gz or .zst; a glob; `-` is standard input. "
        "Relative paths are relative to this file. An OpenAI Batch input file is recognised and sent as it is."
    )
    id: str | None = Field(
        default=None,
        description="Column with a unique id; null: the id is a hash of the columns that the templates use.",
    )
    target: str | None = Field(default=None, description="Column with the reference answer.")
    keep: list[str] | None = Field(
        default=None, description="Columns copied to the output as in_<column>; null keeps all."
    )
    types: dict[str, Literal["int64", "double", "bool", "string"]] = Field(
        default={}, description="Type by column; a column not named here gets its type from a first pass."
    )
    on_bad_row: Literal["stop", "skip"] = Field(
        default="stop", description="What a row that cannot be used does: stop before any request, or skip it."
    )
    limit: int | None = Field(default=None, ge=1, le=_INT64, description="Evaluate this many rows only.")
    shuffle_seed: int | None = Field(
        default=None, ge=0, le=_INT64, description="Shuffle the rows by this seed; null keeps their order."
    )


class Server(Section):
    """One server of a pool."""

    url: str = Field(description="Base URL of the server.")
    weight: float = Field(default=1.0, gt=0, description="Its share of the requests, relative to the other servers.")


class Price(Section):
    """What the model costs, in USD per million tokens; a null price makes the cost null, never 0."""

    input_per_million: float | None = Field(default=None, ge=0, description="Prompt tokens.")
    cached_input_per_million: float | None = Field(default=None, ge=0, description="Prompt tokens read from a cache.")
    output_per_million: float | None = Field(default=None, ge=0, description="Answer tokens.")


class Model(Section):
    """Which model is asked, and where."""

    base_url: str | list[Server] | None = Field(
        default=None,
        description="Where the API begins, e.g. http://127.0.0.1:8000/v1; or a list of {url, weight}: a pool.",
    )
    name: str | None = Field(
        default=None,
        min_length=1,
        description="The model's name as the server knows it. Null only for an embedded model or an OpenAI Batch file.",
    )
    api_key_env: str | None = Field(
        default=None, description="The NAME of the environment variable that holds the key; never the key itself."
    )
    adapter: str = Field(
        default="openai",
        description="Wire format: openai, the name of a shipped adapter, or the path of an adapter file (.yaml).",
    )
    headers: dict[str, str] = Field(default={}, description="HTTP headers sent along; none that carries a credential.")
    price: Price | None = Field(
        default=None,
        description="Prices; null: those of the extra `prices`, if it knows them; unknown, the cost is null.",
    )
    path: str | None = Field(
        default=None, description="Path used in place of the endpoint's own, e.g. /logits for log probabilities."
    )
    embedded: str | None = Field(
        default=None,
        min_length=1,
        description="In place of base_url: a small real model served for the length of the run, e.g. smollm2-135m.",
    )

    @model_validator(mode="before")
    @classmethod
    def _name_of_embedded(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("name") is None and values.get("embedded") is not None:
            return {**values, "name": values["embedded"]}
        return values


class Timeouts(Section):
    """How long one attempt may take, in seconds."""

    connect: float = Field(default=10.0, gt=0, description="To make a connection.")
    first_byte: float = Field(default=120.0, gt=0, description="When streaming: from sending to the first byte.")
    idle: float = Field(default=120.0, gt=0, description="When streaming: between two pieces of the answer.")
    total: float = Field(default=600.0, gt=0, description="From sending to the last byte.")


class Retrieval(Section):
    """What a RAG system may look into for each sample."""

    knowledge_base: Any = Field(
        default=None,
        description="Knowledge base to search: its id, or a template that gives each sample's. Chat sends it as "
        "`knowledge_base`, responses as the vector store of a file search, an adapter where it reads "
        "`retrieval.knowledge_base`.",
    )
    documents: Any = Field(
        default=None,
        description="Which of its documents to search, by name or id: one, a list, or a template; null: all of them.",
    )


class Request(Section):
    """What is asked of the model for each sample. Strings anywhere in here are Jinja2 templates over its columns."""

    endpoint: Literal["chat", "completions", "logprobs", "loglikelihood", "embeddings", "responses"] = Field(
        default="chat",
        description="API shape; logprobs is chat with log probabilities forced on, at model.path if that is given.",
    )
    messages: str | list[dict[str, Any]] | None = Field(
        default=None,
        description="For chat, logprobs and responses: a list of messages, or one template that is exactly "
        "{{ column }} for a whole list.",
    )
    prompt: str | list[Any] | None = Field(
        default=None,
        description="For completions: a text, a list of texts, a list of token ids, or a list of such lists.",
    )
    input: Any = Field(
        default=None, description="For embeddings: a text, or a list of token ids; a list of either is several inputs."
    )
    context: Any = Field(default=None, description="For loglikelihood: the text that is given; a template.")
    continuations: Any = Field(
        default=None,
        description="For loglikelihood: the texts whose likelihood is measured, each with its own leading space: a "
        "list, or one template that is exactly {{ column }} for a column of lists.",
    )
    params: dict[str, Any] = Field(
        default={}, description="Passed through to the server: temperature, max_completion_tokens, n, seed, …"
    )
    extra_body: dict[str, Any] = Field(default={}, description="More fields of the request's body, sent unchecked.")
    stream: bool = Field(default=False, description="Receive the answer in pieces, and measure the first token.")
    repeats: int = Field(
        default=1, ge=1, le=_INT32, description="Ask each sample this often; a params.seed is sent as seed + repeat."
    )
    batch_size: int | Literal["auto"] = Field(
        default="auto",
        description="Inputs of embeddings (or prompts of completions) in one HTTP request, 1 or more. `auto`: 2,048 "
        "for embeddings, with 300,000 tokens and a megabyte at most; 1 for completions.",
    )
    timeout_s: Timeouts = Field(default=Timeouts(), description="Time limits of one attempt, in seconds.")
    on_unsupported: Literal["adapt", "fail"] = Field(
        default="adapt", description="What to do about a parameter that the server turns out not to support."
    )
    on_truncated: Literal["keep", "retry"] = Field(
        default="keep",
        description="Keep an answer that was cut off at the most tokens, or ask again with twice as many, up to "
        "max_tokens_cap; the last answer is the row's.",
    )
    max_tokens_cap: int | None = Field(
        default=None, ge=1, le=_INT64, description="The most tokens asked for with on_truncated: retry."
    )
    retrieval: Retrieval = Field(default=Retrieval(), description="What a RAG system may look into.")


class Budget(Section):
    """Where the run stops by itself, resumable; null is no budget."""

    max_cost_usd: float | None = Field(
        default=None, gt=0, description="Cost of all attempts of all sessions, in USD; needs a price."
    )
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        le=_INT64,
        description="Tokens of all attempts of all sessions, of prompt and answer together.",
    )
    max_wall_s: float | None = Field(default=None, gt=0, description="Wall-clock time of a session, in seconds.")


class Scorer(Section):
    """One score computed for each answer. The scorer's own options stand beside `name`: see `scorers`."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1, description="Which scorer, e.g. exact_match.")
    as_: str | None = Field(
        default=None, alias="as", min_length=1, description="Name of the score; null: its scorer's."
    )


class ScoreGate(Section):
    """What a score has to reach."""

    min: float | None = Field(
        default=None,
        description="The mean over all rows is at least this; over those with a score, where it has no worst value.",
    )
    max_drop: float | None = Field(
        default=None,
        ge=0,
        description="The score gets worse than the baseline's by no more than this, or by no more than noise.",
    )


class Gates(Section):
    """What decides between exit 0 and exits 3 and 4."""

    max_failed_fraction: float = Field(
        default=0.0, ge=0, le=1, description="Failed rows, as a fraction of all, above which a run exits with 3."
    )
    baseline: str | None = Field(default=None, description="What max_drop compares with: last_good, or a run folder.")
    scores: dict[str, ScoreGate] = Field(default={}, description="Gate by name of the score; a miss exits with 4.")

    @property
    def named_baseline(self) -> str | None:
        """The run folder that `baseline` names; null for none, and for the last good run, which is looked for."""
        return None if self.baseline == LAST_GOOD else self.baseline


class Notification(Section):
    """One place that is told about a night. The address is a secret: only the name of a variable stands here."""

    webhook_env: str | None = Field(
        default=None, description="The NAME of the environment variable that holds the address of a JSON webhook."
    )
    apprise_env: str | None = Field(
        default=None,
        description="In its place: the NAME of a variable that holds addresses of apprise (extra `notify`).",
    )
    on: Event | Literal["always"] | list[Event] = Field(
        default=["regression", "failure", "recovery"],
        description="Which nights are told: a list of regression, failure, recovery, success; or always.",
    )


class Nightly(Section):
    """What `evalrunner nightly` adds to a run."""

    time_zone: str = Field(
        default="UTC", min_length=1, description="Time zone of dates and deadline, e.g. Europe/Zurich."
    )
    deadline: str | None = Field(
        default=None,
        description='Time of day by which the night has to end, e.g. "06:00"; null: 22 hours after it began.',
    )
    keep: int = Field(default=30, ge=1, description="Nightly runs that are kept, of each name.")


class Matrix(Section):
    """Every model with every dataset, each a run of its own, called `name-model-dataset`."""

    models: list[str | dict[str, Any]] = Field(
        default=[],
        description="Sections as `model`, or paths of files that hold one; keys of `model` fill in what they leave "
        "out. Empty: the config's own model.",
    )
    datasets: list[str | dict[str, Any]] = Field(
        default=[],
        description="Sections as `dataset`, paths of datasets, or paths of YAML files that hold a section; keys of "
        "`dataset` fill in what they leave out. Empty: the config's own dataset.",
    )


class Output(Section):
    """Where the run folder lies, and what is kept in it."""

    dir: str = Field(default="../outputs", description="Folder of all runs, relative to this file.")
    keep_raw: bool = Field(
        default=True, description="Keep request and response bodies; bodies that did not parse are always kept."
    )


class RunConfig(Section):
    """A run of evalrunner: a dataset, a model, what is asked, and how carefully."""

    name: str = Field(
        description="Names the folder under the output folder: letters, digits, `.`, `_`, `-`; 100 at most.",
        json_schema_extra={"pattern": NAME_PATTERN},
    )
    dataset: Dataset = Field(description="Which rows are evaluated.")
    model: Model = Field(description="Which model is asked; or the path of a file that says so.")
    request: Request = Field(default=Request(), description="What is asked for each sample.")
    limits: Limits = Field(default=Limits(), description="What the server permits; of a pool, each by itself.")
    retry: RetryPolicy = Field(default=RetryPolicy(), description="How failures are sent again.")
    budget: Budget = Field(default=Budget(), description="Where the run stops by itself.")
    scorers: list[Scorer] = Field(default=[], description="Scores computed for each answer.")
    gates: Gates = Field(default=Gates(), description="What the run has to reach.")
    notify: list[Notification] = Field(default=[], description="Who is told about the verdict of a night.")
    nightly: Nightly = Field(default=Nightly(), description="What `evalrunner nightly` adds.")
    matrix: Matrix | None = Field(default=None, description="Every model with every dataset; null: just this run.")
    output: Output = Field(default=Output(), description="Where the results go.")
