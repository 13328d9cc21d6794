"""Each scorer against a table of answers, targets and the score that they are worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runner.errors import ConfigError
from runner.scorers import Setting, compile_scorers, votes
from tests.support.scoring import scores_of

NAN = float("nan")
RIGHT, WRONG = 1.0, 0.0


def scorer(name: str, setting: Setting | None = None, **options: Any) -> Any:
    (made,) = compile_scorers([{"name": name, "as": None, **options}], setting or Setting())
    return made.scorer


def score(name: str, *values: Any, setting: Setting | None = None, **options: Any) -> Any:
    made = scorer(name, setting, **options)
    columns = {"status": ["ok"], **{column: [value] for column, value in zip(made.reads, values, strict=True)}}
    (one,) = scores_of(made, columns)
    return one


@pytest.mark.parametrize(
    ("text", "target", "options", "expected"),
    [
        ("Paris", "Paris", {}, RIGHT),
        (" Paris\n", "Paris", {}, RIGHT),
        (" Paris", "Paris", {"strip": False}, WRONG),
        ("paris", "Paris", {}, WRONG),
        ("STRASSE", "stra\u00dfe", {"ignore_case": True}, RIGHT),
        ("Paris.", "Paris", {"ignore_punctuation": True}, RIGHT),
        ("Room 101", "Room", {"ignore_numbers": True}, RIGHT),
        ("the answer is a cat", "answer is cat", {"ignore_articles": True, "collapse_spaces": True}, RIGHT),
        ("a  b\tc", "a b c", {"collapse_spaces": True}, RIGHT),
        ("\ufb01ne", "fine", {"unicode": "NFKC"}, RIGHT),
        ("e\u0301", "\u00e9", {"unicode": "NFC"}, RIGHT),
        ("e\u0301", "\u00e9", {}, WRONG),
        (None, "Paris", {}, WRONG),
        (None, "", {}, RIGHT),
        ("b", '["a", "b"]', {"any_of": True}, RIGHT),
        ("2", "[1, 2]", {"any_of": True}, RIGHT),
        ("c", '["a", "b"]', {"any_of": True}, WRONG),
        ("c", "a", {"any_of": True}, None),
        ("c", None, {}, None),
    ],
)
def test_exact_match(text: str | None, target: str | None, options: dict[str, Any], expected: float | None) -> None:
    assert score("exact_match", text, target, **options).value == expected


@pytest.mark.parametrize(
    ("text", "target", "options", "expected"),
    [
        ("It is Paris, I think", "Paris", {}, RIGHT),
        ("It is paris", "Paris", {}, WRONG),
        ("It is paris", "Paris", {"ignore_case": True}, RIGHT),
        ("It is Rome", '["Paris", "Rome"]', {"any_of": True}, RIGHT),
        ("anything", "", {}, None),
        ("anything", "   ", {}, None),
        (None, "a", {}, WRONG),
    ],
)
def test_includes(text: str | None, target: str, options: dict[str, Any], expected: float | None) -> None:
    assert score("includes", text, target, **options).value == expected


@pytest.mark.parametrize(
    ("text", "target", "options", "expected"),
    [
        ("Answer: 7 or Answer: 8", "7", {"pattern": r"Answer: (\d)"}, RIGHT),
        ("Answer: 7 or Answer: 8", "8", {"pattern": r"Answer: (\d)", "which": "last"}, RIGHT),
        ("answer: X", "x", {"pattern": r"Answer: (\w)", "ignore_case": True}, RIGHT),
        ("7", "7", {"pattern": r"\d"}, RIGHT),
        ("none", "7", {"pattern": r"\d"}, WRONG),
        ("b", "", {"pattern": r"(a)|b"}, RIGHT),
        ("Rome", '["Paris", "Rome"]', {"pattern": r"\w+", "any_of": True}, RIGHT),
    ],
)
def test_regex(text: str, target: str, options: dict[str, Any], expected: float | None) -> None:
    assert score("regex", text, target, **options).value == expected


def test_regex_that_only_has_to_be_found_wants_no_target() -> None:
    made = scorer("regex", pattern="^ok", compare="nothing")
    assert made.reads == ("text",)
    found = scores_of(made, {"status": ["ok", "ok"], "text": ["ok then", "no"]})
    assert [one.value for one in found] == [RIGHT, WRONG]


@pytest.mark.parametrize(
    ("text", "target", "options", "expected"),
    [
        ("So 3 + 4 is 7.", "7", {}, RIGHT),
        ("7 is 3 + 4", "7", {}, WRONG),
        ("7 is 3 + 4", "7", {"which": "first"}, RIGHT),
        ("It costs $1,234.50", "1234.5", {}, RIGHT),
        ("1'234'567", "1234567", {}, RIGHT),
        ("12\u202f345", "12,345", {}, RIGHT),
        ("1,2", "2", {}, RIGHT),
        ("1,2345", "2345", {}, RIGHT),
        ("1.234,5", "1234,5", {"decimal_comma": True}, RIGHT),
        ("the answer is -5", "-5", {}, RIGHT),
        ("the answer is \u22125", "-5", {}, RIGHT),
        ("10-5", "5", {}, RIGHT),
        ("it is 3/4", "0.75", {}, RIGHT),
        (r"it is \frac{3}{4}", "3/4", {}, RIGHT),
        (r"it is -\dfrac{1}{2}", "-0.5", {}, RIGHT),
        ("1/0", "1", {}, WRONG),
        ("0.333", "1/3", {}, WRONG),
        ("0.333", "1/3", {"tolerance": 0.001}, RIGHT),
        ("101", "100", {"relative_tolerance": 0.01}, RIGHT),
        ("102", "100", {"relative_tolerance": 0.01}, WRONG),
        ("6.02e23", "6.02E+23", {}, RIGHT),
        ("1e9999", "1", {}, WRONG),
        (".5", "0.5", {}, RIGHT),
        ("9" * 20_000, "1", {}, WRONG),
        ("no number", "1", {}, WRONG),
        (None, "1", {}, WRONG),
        ("1", "one", {}, None),
        ("1", None, {}, None),
    ],
)
def test_numeric(text: str | None, target: str | None, options: dict[str, Any], expected: float | None) -> None:
    assert score("numeric", text, target, **options).value == expected


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("B", "B", RIGHT),
        ("b", "B", RIGHT),
        ("(B)", "1", RIGHT),
        (" B. ", "B", RIGHT),
        ("B) because A is wrong", "B", RIGHT),
        ("The answer is C.", "C", RIGHT),
        ("The answer is (C), not A.", "C", RIGHT),
        ("Answer: **D**", "D", RIGHT),
        ("First I thought the answer is A. The answer is B", "B", RIGHT),
        (r"Hence \boxed{C}", "C", RIGHT),
        (r"Hence \boxed{\text{C}}", "C", RIGHT),
        ("It must be (D)", "D", RIGHT),
        ("A cat is an animal, so I choose nothing", "A", WRONG),
        ("I don't know", "A", WRONG),
        (None, "A", WRONG),
        ("A", None, None),
        ("A", "Paris", None),
        ("A", "77", None),
    ],
)
def test_multiple_choice_by_text(text: str | None, target: str | None, expected: float | None) -> None:
    assert score("multiple_choice", text, target).value == expected


def test_multiple_choice_by_logprobs_takes_the_likeliest_letter() -> None:
    tokens, tops, values = ["The", " B"], [["The", "A"], [" B", " A", "x"]], [[-0.1, -3.0], [-1.0, -0.5, -0.1]]
    assert score("multiple_choice", tokens, tops, values, "A", by="logprobs").value == RIGHT
    assert score("multiple_choice", tokens, tops, values, "B", by="logprobs").value == WRONG
    first = score("multiple_choice", ["The"], [["The", "B"]], [[-0.1, -3.0]], "B", by="logprobs")
    assert first.value == RIGHT, "where no token is a letter, the first position counts"
    assert score("multiple_choice", ["x"], [["x"]], [[-0.1]], "B", by="logprobs").value == WRONG
    assert score("multiple_choice", None, None, None, "B", by="logprobs").value is None


LIKELY = Setting("loglikelihood")


def of_keys(rows: list[tuple[str, int, str, str | None, float | None]], target: str, **options: Any) -> list[Any]:
    """Score rows of (key, choice, status, continuation, loglikelihood)."""
    names = ("key", "choice", "status", "continuation", "loglikelihood")
    columns: dict[str, list[Any]] = {
        name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    columns["target"] = [target] * len(rows)
    columns["tokens"] = [(row[3] or "").split() for row in rows]
    return [(one.value, one.note) for one in scores_of(scorer("multiple_choice", LIKELY, **options), columns)]


def test_multiple_choice_by_likelihood_stands_on_choice_0() -> None:
    rows = [
        ("k", 0, "ok", " yes", -3.0),
        ("k", 1, "ok", " no", -2.0),
        ("l", 0, "ok", " a", -1.0),
        ("l", 1, "ok", " b", -2.0),
    ]
    assert of_keys(rows, "1") == [(RIGHT, None), (None, None), (WRONG, None), (None, None)]
    assert of_keys(list(reversed(rows)), "1") == [(None, None), (WRONG, None), (None, None), (RIGHT, None)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, WRONG),
        ({"normalise": "characters"}, RIGHT),
        ({"normalise": "bytes"}, RIGHT),
        ({"normalise": "tokens"}, RIGHT),
    ],
)
def test_a_long_continuation_wins_by_its_length(options: dict[str, Any], expected: float) -> None:
    rows = [("k", 0, "ok", " a much longer one", -4.0), ("k", 1, "ok", " b", -2.0)]
    assert of_keys(rows, "a much longer one", **options)[0] == (expected, None)


def test_what_is_missing_of_a_key_leaves_it_without_a_score() -> None:
    failed = [("k", 0, "ok", " a", -1.0), ("k", 1, "failed", " b", None)]
    assert of_keys(failed, "0") == [(None, "no answer for choice 1"), (None, None)]
    whole = [("k", 0, "failed", None, None), ("k", 1, "failed", None, None)]
    assert of_keys(whole, "0") == [(None, "failed"), (None, None)]
    assert of_keys([("k", 1, "ok", " b", -1.0)], "0") == [(None, None)]
    assert of_keys([("k", 0, "ok", " a", -1.0), ("k", 1, "ok", " b", -2.0)], "7")[0] == (
        None,
        "the target is none of the choices",
    )


def test_the_way_to_choose_has_to_go_with_the_endpoint() -> None:
    for by, setting in (("loglikelihood", Setting("chat")), ("text", LIKELY), ("logprobs", LIKELY)):
        with pytest.raises(ConfigError, match=r"scorers\.0\.by: multiple_choice: "):
            scorer("multiple_choice", setting, by=by)


def test_perplexity_is_the_inverse_of_the_mean_probability() -> None:
    half = float(np.log(0.5))
    assert score("perplexity", [half, half], "a b").value == pytest.approx(2, abs=1e-12)
    assert score("perplexity", [half, half], "abcd", per="byte").value == pytest.approx(2**0.5, abs=1e-12)
    assert score("perplexity", [half, half], "one", per="word").value == pytest.approx(4, abs=1e-12)
    assert score("perplexity", 3 * half, " a", ["x", "y", "z"], setting=LIKELY).value == pytest.approx(2, abs=1e-12)
    assert score("perplexity", None, "a").value is None
    assert score("perplexity", [half, None], "a").value is None
    assert score("perplexity", [], "").value is None
    assert score("perplexity", [-1e6], "a").value is None, "what is no finite number is no score"


def test_embedding_similarity_is_the_cosine() -> None:
    one, other = np.array([1, 0], np.float32), np.array([1, 1], np.float32)
    here = Setting("embeddings")
    assert score("embedding_similarity", one, other, setting=here, against="x").value == pytest.approx(0.5**0.5)
    assert score("embedding_similarity", one, one, setting=here, against="x").value == 1
    for pair in ((None, one), (one, None), (one, other[:1]), (one, one * 0), (one, one * NAN)):
        assert score("embedding_similarity", *pair, setting=here, against="x").value is None
    with pytest.raises(ConfigError, match="wants the endpoint embeddings"):
        scorer("embedding_similarity", against="x")


def test_rows_without_an_answer_are_not_scored_and_say_why() -> None:
    statuses = ["ok", "truncated", "refused", "content_filter", "failed", "skipped"]
    columns = {"status": statuses, "text": ["a"] * 6, "target": ["a"] * 6}
    found = [(one.value, one.note) for one in scores_of(scorer("exact_match"), columns)]
    assert found == [
        (RIGHT, None),
        (RIGHT, None),
        (WRONG, "refused"),
        (WRONG, "content_filter"),
        (None, "failed"),
        (None, "skipped"),
    ]
    lowest = scores_of(scorer("perplexity"), {"status": ["refused"], "token_logprobs": [[-1.0]], "text": ["a"]})
    assert lowest[0].value is None, "there is no worst perplexity"


def test_repeats_vote_with_what_was_compared() -> None:
    columns = {"status": ["ok", "ok", "failed", "ok"], "text": ["so 7", "7.0", "7", "none"], "target": ["7"] * 4}
    assert votes(scorer("numeric"), columns) == ["7.0", "7.0", None, None]
    assert votes(scorer("exact_match", ignore_case=True), {**columns, "text": [" A", "a", "", None]}) == [
        "a",
        "a",
        None,
        "",
    ]
    assert votes(scorer("includes"), columns) == [None] * 4


def grade(row: dict[str, Any], *, bonus: float = 0) -> Any:
    if row["text"] == "raise":
        raise KeyError("no\ud800thing")
    return {"none": None, "true": True, "pair": (0.25, "a note"), "inf": float("inf"), "text": "high"}.get(
        row["text"], row["in_level"] + bonus
    )


def test_a_function_of_the_user_scores_and_cannot_lose_a_row() -> None:
    made = scorer("python", Setting("chat", ("in_level",)), function=f"{__name__}:grade", options={"bonus": 0.5})
    texts = ["x", "none", "true", "pair", "inf", "raise", "text"]
    columns = {name: [None] * len(texts) for name in made.reads} | {"status": ["ok"] * len(texts)}
    found = scores_of(made, columns | {"text": texts, "in_level": [2] * len(texts)})
    assert [one.value for one in found] == [2.5, None, 1.0, 0.25, None, None, None]
    assert found[3].note == "a note"
    assert found[4].note == "the score is inf"
    assert found[5].note == "KeyError: 'no\\ud800thing'"
    assert (found[6].note or "").startswith("ValueError")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("grade", "expected module:function"),
        ("no.such.module:grade", "cannot be loaded (ModuleNotFoundError"),
        ("json:no_such", "cannot be loaded (AttributeError"),
        ("json:decoder", "is no function"),
    ],
)
def test_a_function_that_is_not_there_is_an_error_of_the_config(function: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scorer("python", function=function)
    assert message in caught.value.message
    assert caught.value.problems[0].where == "scorers.0.function"


def test_what_cannot_be_made_is_named_at_once() -> None:
    specs = [{"name": "regex", "pattern": "("}, {"name": "exact_match"}, {"name": "python", "function": "x"}]
    with pytest.raises(ConfigError) as caught:
        compile_scorers(specs, Setting())
    assert [problem.where for problem in caught.value.problems] == ["scorers.0.pattern", "scorers.2.function"]


def test_json_schema() -> None:
    pytest.importorskip("jsonschema")
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    table = [
        ('{"a": 1}', RIGHT),
        ('```json\n{"a": 1}\n```', RIGHT),
        ('{"a": "1"}', WRONG),
        ("{}", WRONG),
        ("no", WRONG),
        ("[" * 100_000, WRONG),
        (None, WRONG),
    ]
    for text, expected in table:
        assert score("json_schema", text, schema=schema).value == expected, text
    assert score("json_schema", '```\n{"a": 1}\n```', schema=schema, fenced=False).value == WRONG
    assert score("json_schema", '{"a": "1"}', schema=schema).note == "$.a: '1' is not of type 'integer'"
    with pytest.raises(ConfigError, match="is no JSON Schema"):
        scorer("json_schema", schema={"type": "nothing"})


def test_a_schema_elsewhere_is_never_fetched() -> None:
    pytest.importorskip("jsonschema")
    found = score("json_schema", "1", schema={"$ref": "http://127.0.0.1:9/schema.json"})
    assert found.value is None
    assert "Unresolvable" in found.note
