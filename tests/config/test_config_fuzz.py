"""Whatever stands in a config file, the answer is a config or a ConfigError whose problems have a place."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.config import config_from_dict, load_config, to_dict, unavailable, warnings
from runner.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.config import RunConfig

TEXT = """\
name: demo
dataset: {path: [a.jsonl, "b*.csv"], keep: [x], types: {a: int64}, limit: 10}
model:
  base_url: [{url: "http://127.0.0.1:8000/v1", weight: 2}]
  name: &n gpt
  api_key_env: KEY
  headers: {X-Team: *n}
  price: {input_per_million: 0.15}
request:
  messages:
  - {role: user, content: "{{ question }}"}
  params: {temperature: 0.5, stop: ["a"], n: 2, logit_bias: {50256: -100}}
  extra_body: {a: [1, 2.5, true, null, {b: |-
    text
    }]}
  timeout_s: {total: 60}
limits: {max_in_flight: 8, tokens_per_minute: 1e6}
retry: {max_wait_s: 6}
scorers: [{name: exact_match, as: em}]
gates: {scores: {em: {min: 0.4}}}
output: {dir: out, keep_raw: no}
""".replace("keep_raw: no", "keep_raw: false").replace("{b: |-\n    text\n    }", "{b: 'text'}")

PIECES = [
    "{", "}", "[", "]", ":", ": ", " ", "\n", "\n  ", "\t", "&a ", "*n", "!x ", "!!str ", "|", "'", '"', "#", "%", "@",
    "---\n", "...\n", "? ", "- ", "<<: ", "~", "\u2028", "\x85", "\\ud83d", "\\0", "0x1", "1e999", "9" * 40, "é",
    "\ufeff", "{{ x }}", "null", "true", ", ", "%YAML 1.3\n---\n", "\\UFFFFFFFF", "%TAG ! x\n", "\0", "..", "/", "$",
]  # fmt: skip

FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(PIECES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def problems_of(make: Callable[[], RunConfig]) -> list[Problem]:
    """Make a config and check it; anything but a ConfigError with problems comes through."""
    try:
        check(make())
    except ConfigError as error:
        return error.problems or [Problem("", "a ConfigError without problems")]
    return []


def assert_plain(problems: list[Problem]) -> None:
    for problem in problems:
        assert problem.where
        assert problem.message
        assert "Input should" not in problem.message


def check(config: RunConfig) -> None:
    stored = orjson.loads(orjson.dumps(to_dict(config)))
    assert config_from_dict(stored, "/elsewhere") == config
    warnings(config)
    unavailable(config)


def test_the_text_that_is_mutated_is_a_config(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(TEXT)
    assert problems_of(lambda: load_config(tmp_path / "run.yaml").config) == []


@FAST
@given(content=st.binary(max_size=200))
def test_random_bytes(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    problems = problems_of(lambda: load_config(path).config)
    assert problems
    assert_plain(problems)


@FAST
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(TEXT)), st.integers(0, 12), st.sampled_from(PIECES) | st.text(max_size=4)),
        min_size=1,
        max_size=5,
    )
)
def test_mutations_of_a_valid_text(edits: list[tuple[int, int, str]], tmp_path: Path) -> None:
    text = TEXT
    for start, removed, piece in edits:
        text = text[:start] + piece + text[start + removed :]
    path = tmp_path / "run.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert_plain(problems_of(lambda: load_config(path).config))


@FAST
@given(overrides=st.lists(st.text(max_size=20) | st.sampled_from(["model=x", "a.b=1", "request={}"]), max_size=3))
def test_any_overrides(overrides: list[str], tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(TEXT)
    assert_plain(problems_of(lambda: load_config(path, overrides=overrides).config))


def keys(values: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    below = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [path, *(found for key, item in below for found in keys(item, (*path, key)))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("whole") / "run.yaml"
    path.write_text(TEXT)
    return to_dict(load_config(path).config)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_value_under_any_key(data: st.DataObject, whole: dict[str, Any]) -> None:
    values = copy.deepcopy(whole)
    *above, last = data.draw(st.sampled_from(keys(values)[1:]))
    section: Any = values
    for part in above:
        section = section[part]
    section[last] = data.draw(json_values)
    assert_plain(problems_of(lambda: config_from_dict(values, Path("/elsewhere"))))
