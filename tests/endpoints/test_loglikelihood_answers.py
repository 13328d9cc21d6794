"""Likelihoods out of answers as servers write them: the shapes of OpenAI, vLLM and SGLang, and whatever else comes."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.endpoints import ENDPOINTS, FORMS, Form, join_answers, judge_probe, next_forms, probe_body, wire_bodies
from runner.endpoints.likelihood_wire import Finding
from runner.errors import TemplateError
from tests.endpoints.test_chat_fuzz import JSON, as_bytes

if TYPE_CHECKING:
    from runner.records import Output, Parsed

ENDPOINT = ENDPOINTS["loglikelihood"]
ECHO = Form("echo", 0, together=True)
CONTEXT, CONTINUATION = "Q: 1 + 1\nA:", " 2"
TOKENS = ["Q", ":", " 1", " +", " 1", "\n", "A", ":", " 2"]
VALUES = [None, -1.0, -2.0, -0.5, -0.25, -3.0, -1.5, -0.125, -0.0625]


def request(context: str = CONTEXT, *continuations: str) -> bytes:
    return orjson.dumps(
        {"context": context, "continuations": continuations or [CONTINUATION], "logprobs": 1, "model": "m", "seed": 3}
    )


def echoed(tokens: list[str], values: list[Any], **more: Any) -> dict[str, Any]:
    tops = [None if value is None else {token: value} for token, value in zip(tokens, values, strict=True)]
    logprobs = {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, **more}
    return {"index": 0, "text": "".join(tokens), "logprobs": logprobs, "finish_reason": "length"}


def prompted(tokens: list[str], values: list[Any], **more: Any) -> dict[str, Any]:
    entries: list[Any] = [None]
    for number, (token, value) in enumerate(zip(tokens[1:], values[1:], strict=True)):
        own = {"logprob": value, "rank": 2, "decoded_token": token}
        entries.append({f"{number + 40}": own, "7": {"logprob": -0.01, "rank": 1, "decoded_token": "x"}})
    return {"index": 0, "text": "3", "logprobs": None, "prompt_logprobs": entries, **more}


def read(choices: list[Any], asked: bytes | None = None, count: int = 1) -> Parsed:
    body = as_bytes({"choices": choices, "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}})
    return ENDPOINT.read(asked or request(), body, 1, count)


def only(parsed: Parsed) -> Output:
    ((output,),) = parsed.outputs
    return output


@pytest.mark.parametrize(
    ("choice", "greedy"),
    [
        (echoed(TOKENS, VALUES), True),
        (echoed(TOKENS, VALUES, text_offset=[-1] * 9), True),
        (echoed([*TOKENS, " more"], [*VALUES, -7.0]), True),
        (echoed([*TOKENS, ""], [*VALUES, -7.0]), True),
        (echoed(["<|begin_of_text|>", *TOKENS], [None, -4.0, *VALUES[1:]]), True),
        (echoed(["<s>", "<s>", *TOKENS], [None, -4.0, -5.0, *VALUES[1:]]), True),
        (echoed(["", *TOKENS], [None, -4.0, *VALUES[1:]]), True),
        (echoed(TOKENS, VALUES, top_logprobs=[None, *[{" x": -0.01}] * 8]), False),
        (echoed(TOKENS, VALUES, top_logprobs=[None, *[{" 2": -0.01, "x": -0.5}] * 8]), False),
        (echoed(TOKENS, VALUES, top_logprobs=None), None),
        (echoed(TOKENS, VALUES, top_logprobs=[{}] * 9), None),
        (prompted(TOKENS, VALUES), False),
        (prompted(["<s>", *TOKENS], [None, -4.0, *VALUES[1:]]), False),
    ],
)
def test_the_continuation_alone_is_measured(choice: dict[str, Any], *, greedy: bool | None) -> None:
    output = only(read([choice]))
    assert (output.status, output.continuation, output.loglikelihood) == ("ok", " 2", -0.0625)
    assert (output.is_greedy, output.boundary_inexact) == (greedy, False)
    assert output.logprobs is not None
    assert (output.logprobs.tokens, output.logprobs.token_logprobs) == ([" 2"], [-0.0625])


def test_a_token_that_straddles_the_boundary_counts_wholly() -> None:
    output = only(read([echoed([*TOKENS[:7], ": 2"], [*VALUES[:7], -6.0])]))
    assert (output.loglikelihood, output.boundary_inexact) == (-6.0, True)
    assert output.logprobs is not None
    assert output.logprobs.tokens == [": 2"]


def test_prompt_token_ids_say_which_entry_is_the_prompts_own() -> None:
    choice = prompted(TOKENS, VALUES)
    choice["prompt_logprobs"] = [entry and dict(reversed(entry.items())) for entry in choice["prompt_logprobs"]]
    assert only(read([choice])).error_kind == "parse"
    choice["prompt_token_ids"] = [39, *range(40, 48)]
    assert only(read([choice])).loglikelihood == -0.0625


def test_sums_are_of_doubles() -> None:
    values = [None, *(-0.1 / 3**number for number in range(1, 40))]
    output = only(read([echoed(list("a" * 40), values)], request("a", "a" * 39)))
    assert output.loglikelihood == math.fsum(values[1:])  # type: ignore[arg-type] # the first alone is null


@pytest.mark.parametrize(
    ("choice", "kind", "message"),
    [
        (echoed(["Q", ":", " 2"], [None, -1.0, -2.0]), "parse", "do not join"),
        (echoed(["."], [-1.0]), "parse", "do not join"),
        (echoed(TOKENS, [*VALUES[:8], None]), "parse", "no log probability that is a number"),
        (echoed(TOKENS, [*VALUES[:8], "-1"]), "parse", "no log probability that is a number"),
        ({"index": 0, "text": "x", "logprobs": None}, "unsupported", "no log probabilities of the prompt"),
        ({"index": 0, "text": "x", "prompt_logprobs": []}, "unsupported", "no log probabilities of the prompt"),
        (echoed([], []), "unsupported", "no log probabilities of the prompt"),
        (prompted(["Q", ":", " 3"], [None, -1.0, -2.0]), "parse", "do not join"),
    ],
)
def test_no_number_without_its_tokens(choice: dict[str, Any], kind: str, message: str) -> None:
    output = only(read([choice]))
    assert (output.status, output.error_kind, output.loglikelihood) == ("failed", kind, None)
    assert message in (output.error_message or "")
    assert output.continuation == " 2"


def test_choices_belong_to_continuations_by_their_index() -> None:
    one, other = (
        {**echoed(["a", text], [None, value]), "index": index}
        for index, text, value in ((1, " c", -2.0), (0, " b", -1.0))
    )
    parsed = read([one, other], request("a", " b", " c", " d"), 3)
    ((first, second, third),) = parsed.outputs
    assert (first.loglikelihood, second.loglikelihood) == (-1.0, -2.0)
    assert (third.status, third.error_kind) == ("failed", "missing_choice")


def test_answers_side_by_side_are_read_one_by_one() -> None:
    def body(text: str, value: float) -> bytes:
        usage = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3, "details": {}}
        return orjson.dumps({"id": f"id{text}", "choices": [echoed(["a", text], [None, value])], "usage": usage})

    strange = b"\xef\xbb\xbf" + body(" d", -3.0).replace(b"-3.0", b"-Infinity") + b" trailing"
    joined = join_answers([body(" b", -1.0), None, strange], [None, ("context_length", "HTTP 400: too long"), None])
    parsed = ENDPOINT.read(request("a", " b", " c", " d"), joined, 1, 3)
    ((first, second, third),) = parsed.outputs
    assert first.loglikelihood == -1.0
    assert (second.error_kind, second.error_message) == ("context_length", "HTTP 400: too long")
    assert third.loglikelihood == -math.inf
    assert (parsed.usage.prompt_tokens, parsed.usage.total_tokens, parsed.response_id) == (4, 6, "id b")


@given(choices=st.lists(JSON | st.dictionaries(st.sampled_from(["index", "logprobs", "prompt_logprobs"]), JSON)))
def test_any_answer_gives_exactly_its_outputs_or_a_value_error(choices: list[Any]) -> None:
    for body in ({"choices": choices}, {"answers": choices, "failures": choices}):
        with contextlib.suppress(ValueError):
            parsed = ENDPOINT.read(request("a", " b", " c"), as_bytes(body), 1, 2)
            assert [output.choice for output in parsed.outputs[0]] == [0, 1]
            assert all(output.loglikelihood is None for output in parsed.outputs[0])


@given(
    lists=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(["tokens", "token_logprobs", "top_logprobs", "text_offset"], st.lists(JSON) | JSON)
    )
)
def test_any_lists_give_an_output(lists: dict[str, Any]) -> None:
    output = only(read([{"index": 0, "logprobs": lists}]))
    assert output.status == "failed"


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_what_goes_over_the_wire(form: Form) -> None:
    bodies = [orjson.loads(body) for body in wire_bodies(request("a", " b", " c"), form)]
    prompts = ["a b", "a c"]
    assert [body["prompt"] for body in bodies] == ([prompts] if form.together else prompts)
    for body in bodies:
        assert (body["max_tokens"], body["model"], body["seed"]) == (form.max_tokens, "m", 3)
        assert ("echo" in body, "prompt_logprobs" in body) == (form.way == "echo", form.way != "echo")
        assert body.get("logprobs", body.get("prompt_logprobs")) == 1
        assert not {"context", "continuations"} & body.keys()
    (single,) = wire_bodies(request("a", " b"), form)
    assert orjson.loads(single)["prompt"] == "a b"


@pytest.mark.parametrize(("given_number", "sent"), [(5, 5), (0, 1), (True, 1), (None, 1), ("4", 1)])
def test_alternatives_are_always_asked_for(given_number: Any, sent: int) -> None:
    asked = {**orjson.loads(request()), "logprobs": given_number}
    (body,) = wire_bodies(orjson.dumps(asked), ECHO)
    assert orjson.loads(body)["logprobs"] == sent


def test_the_forms_that_are_still_worth_trying() -> None:
    assert next_forms(FORMS, Finding.REFUSED) == FORMS[1:]
    assert [str(form) for form in next_forms(FORMS, Finding.IGNORED)] == [
        "prompt_logprobs with max_tokens 1, several prompts in a request",
        "prompt_logprobs with max_tokens 1, one prompt in a request",
    ]
    assert all(not form.together for form in next_forms(FORMS, Finding.ONE_PROMPT))
    assert next_forms(FORMS[4:], Finding.IGNORED) == ()


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        (b"no json", Finding.IGNORED),
        (b"[1]", Finding.IGNORED),
        (b'{"choices":[]}', Finding.IGNORED),
        (b'{"choices":[{"index":0,"text":"."}]}', Finding.ONE_PROMPT),
        (b'{"choices":[{"index":0,"text":"."},{"index":1,"text":"."}]}', Finding.IGNORED),
        (b'{"choices":[5,5]}', Finding.IGNORED),
    ],
)
def test_answers_that_show_that_a_form_is_not_known(answer: bytes, finding: Finding) -> None:
    found, why = judge_probe(answer, ECHO)
    assert found is finding
    assert why


def test_the_probe_keeps_a_samples_parameters_and_not_its_text() -> None:
    body = orjson.loads(probe_body(request("secret", " b"), ECHO))
    assert body["seed"] == 3
    assert len(body["prompt"]) == 2
    assert "secret" not in str(body)


@pytest.mark.parametrize("continuations", ["a", None, [], [""], [1], ["a", None], {"a": 1}, 5, True])
def test_continuations_that_are_none(continuations: Any) -> None:
    assert ENDPOINT.finish is not None
    with pytest.raises(TemplateError, match=r"request\.continuations"):
        ENDPOINT.finish({"context": "c", "continuations": continuations})


@pytest.mark.parametrize("context", [None, 5, ["a"], {}])
def test_contexts_that_are_none(context: Any) -> None:
    assert ENDPOINT.finish is not None
    with pytest.raises(TemplateError, match=r"request\.context"):
        ENDPOINT.finish({"context": context, "continuations": ["a"]})
