"""What is asked: which key an endpoint reads, and what may stand there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = """\
name: demo
dataset: {path: data.jsonl}
model: {base_url: "http://127.0.0.1:8000/v1", name: m}
request:
"""
CONTENTS: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}],
    "prompt": "p",
    "input": "i",
    "context": "c",
    "continuations": ["a"],
}
OWN = {
    "chat": {"messages"},
    "logprobs": {"messages"},
    "responses": {"messages"},
    "completions": {"prompt"},
    "embeddings": {"input"},
    "loglikelihood": {"context", "continuations"},
}


@pytest.mark.parametrize("endpoint", OWN)
@pytest.mark.parametrize("key", CONTENTS)
def test_a_key_that_the_endpoint_does_not_read_is_refused(
    endpoint: str, key: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    found = complaints({"request.endpoint": endpoint, f"request.{key}": CONTENTS[key]})
    if key in OWN[endpoint]:
        assert found == []
    else:
        (only,) = found
        assert only.startswith(f"request.{key}: is not used by the endpoint {endpoint} ({endpoint} reads request.")
    assert complaints({"request.endpoint": endpoint, f"request.{key}": None}) == []


def test_a_superfluous_key_is_named_with_its_line(load_problems: Callable[..., list[str]]) -> None:
    text = HEAD + "  endpoint: completions\n  prompt: p\n  messages: [{role: user, content: hi}]\n"
    assert load_problems(text) == [
        (
            "run.yaml:7:3: request.messages: is not used by the endpoint completions "
            "(completions reads request.prompt; keep that and remove this)"
        )
    ]


@pytest.mark.parametrize(
    "prompt", ["text", "{{ column }}", "a {{ b }}", ["a", "b {{ c }}"], [1, 2, 3], [[1, 2], [3]], ["{{ a }}"], ""]
)
def test_prompts_take_every_form_of_the_api(prompt: Any, complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    assert complaints({"request.endpoint": "completions", "request.prompt": prompt}) == []


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (5, "expected a text or a list, found 5"),
        (True, "expected a text or a list, found true"),
        ({"text": "a"}, "expected a text or a list, found"),
        ([], "the list is empty"),
        (["a", 1], "expected a text, a list of texts, a list of token ids, or a list of lists of token ids"),
        ([1, [2]], "expected a text, a list of texts, a list of token ids, or a list of lists of token ids"),
        ([[1], []], "expected a text, a list of texts, a list of token ids, or a list of lists of token ids"),
        ([[1.5]], "expected a text, a list of texts, a list of token ids, or a list of lists of token ids"),
        ([True], "expected a text, a list of texts, a list of token ids, or a list of lists of token ids"),
        ([None], "expected a text, a list of texts, a list of token ids, or a list of lists of token ids"),
    ],
)
def test_other_prompts_are_refused(
    prompt: Any, message: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    (found,) = complaints({"request.endpoint": "completions", "request.prompt": prompt})
    assert found.startswith(f"request.prompt: {message}")


@pytest.mark.parametrize("continuations", ["{{ choices }}", " {{choices}} ", [" a", " {{ b }}"], ["{{ a }}"]])
@pytest.mark.parametrize("context", ["", "text", "{{ context }}", "Q: {{ q }}\nA:"])
def test_likelihoods_take_a_text_and_a_list(
    context: str, continuations: Any, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    request = {"endpoint": "loglikelihood", "context": context, "continuations": continuations}
    assert complaints({f"request.{key}": value for key, value in request.items()}) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("context", ["a"], "expected a text, found"),
        ("context", 5, "expected a text, found 5"),
        ("continuations", "text", "expected a list of texts, or one template that is exactly {{ column }}"),
        ("continuations", "a {{ b }}", "expected a list of texts, or one template that is exactly {{ column }}"),
        ("continuations", [1], "expected a list of texts, or one template that is exactly {{ column }}"),
        ("continuations", [], "a list without any text"),
        ("continuations", ["a", ""], "a continuation is an empty text"),
    ],
)
def test_other_contexts_and_continuations_are_refused(
    key: str, value: Any, message: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    content = {"request.context": "c", "request.continuations": ["a"], f"request.{key}": value}
    (found,) = complaints({"request.endpoint": "loglikelihood", **content})
    assert found.startswith(f"request.{key}: {message}")


@pytest.mark.parametrize("name", ["n", "echo", "max_tokens", "max_completion_tokens", "stop", "prompt", "context"])
@pytest.mark.parametrize("section", ["params", "extra_body"])
def test_what_a_likelihood_sets_itself_is_refused(
    section: str, name: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    content = {"request.context": "c", "request.continuations": ["a"]}
    (found,) = complaints({"request.endpoint": "loglikelihood", **content, f"request.{section}": {name: 1}})
    assert found.startswith(f"request.{section}.{name}: the run sets this itself")
