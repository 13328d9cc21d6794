from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.config import Limits, RetryPolicy, config_from_dict, load_config, to_dict
from runner.config.files import MAX_FILE_BYTES
from runner.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

SMALLEST = """\
name: demo
dataset: {path: data.jsonl}
model: {base_url: "http://127.0.0.1:8000/v1", name: m}
"""

EVERY_KEY = """\
name: gsm8k-chat
dataset:
  path: [a.jsonl, "b-*.jsonl"]
  id: id
  target: answer
  keep: [category]
  types: {level: int64, ratio: double, easy: bool, group: string}
  on_bad_row: skip
  limit: 10
  shuffle_seed: 7
model:
  base_url: [{url: "http://127.0.0.1:8000/v1", weight: 2}, {url: "https://[::1]:8001/v1"}]
  name: gpt-4o-mini
  api_key_env: OPENAI_API_KEY
  adapter: adapters/mine.yaml
  headers: {X-Team: evals}
  price: {input_per_million: 0.15, cached_input_per_million: null, output_per_million: 0.60}
  path: /logits
  embedded: null
request:
  endpoint: logprobs
  messages: [{role: user, content: "{{ question }}"}]
  params: {temperature: 0, max_completion_tokens: 256, stop: ["\\n", "\\ud83d\\ude00"]}
  extra_body: {foo: [1, 2.5, true, null, {a: b}]}
  stream: true
  repeats: 3
  batch_size: 16
  timeout_s: {connect: 1, first_byte: 2, idle: 3, total: 4.5}
  on_unsupported: fail
  on_truncated: retry
  max_tokens_cap: 4096
  retrieval: {knowledge_base: kb, documents: ["{{ doc }}"]}
limits:
  max_in_flight: 8
  requests_per_minute: 500
  tokens_per_minute: 1e6
  input_tokens_per_minute: 5
  output_tokens_per_minute: 6
retry: {max_attempts: 2, max_timeouts: 0, first_wait_s: 0.1, max_wait_s: 6, deadline_s: 36}
budget: {max_cost_usd: 2.5, max_tokens: 1000, max_wall_s: 60}
scorers: [{name: exact_match, as: em}, {name: includes}]
gates: {max_failed_fraction: 0.1, baseline: ../last/run, scores: {em: {min: 0.4, max_drop: 0.02}}}
notify: [{webhook_env: HOOK}, {apprise_env: CHAT, on: always}]
nightly: {time_zone: Europe/Zurich, deadline: 06:00, keep: 3}
matrix: null
output: {dir: out, keep_raw: false}
"""


def test_the_smallest_config_has_the_documented_defaults(load_text: Callable[..., Any], tmp_path: Path) -> None:
    config = load_text(SMALLEST).config
    assert to_dict(config) == {
        "name": "demo",
        "dataset": {
            "path": str(tmp_path / "data.jsonl"),
            "id": None,
            "target": None,
            "keep": None,
            "types": {},
            "on_bad_row": "stop",
            "limit": None,
            "shuffle_seed": None,
        },
        "model": {
            "base_url": "http://127.0.0.1:8000/v1",
            "name": "m",
            "api_key_env": None,
            "adapter": "openai",
            "headers": {},
            "price": None,
            "path": None,
            "embedded": None,
        },
        "request": {
            "endpoint": "chat",
            "messages": None,
            "prompt": None,
            "input": None,
            "context": None,
            "continuations": None,
            "params": {},
            "extra_body": {},
            "stream": False,
            "repeats": 1,
            "batch_size": "auto",
            "timeout_s": {"connect": 10, "first_byte": 120, "idle": 120, "total": 600},
            "on_unsupported": "adapt",
            "on_truncated": "keep",
            "max_tokens_cap": None,
            "retrieval": {"knowledge_base": None, "documents": None},
        },
        "limits": {
            "max_in_flight": "auto",
            "requests_per_minute": None,
            "tokens_per_minute": None,
            "input_tokens_per_minute": None,
            "output_tokens_per_minute": None,
        },
        "retry": {"max_attempts": 8, "max_timeouts": 1, "first_wait_s": 0.5, "max_wait_s": 60, "deadline_s": 3600},
        "budget": {"max_cost_usd": None, "max_tokens": None, "max_wall_s": None},
        "scorers": [],
        "gates": {"max_failed_fraction": 0.0, "baseline": None, "scores": {}},
        "notify": [],
        "nightly": {"time_zone": "UTC", "deadline": None, "keep": 30},
        "matrix": None,
        "output": {"dir": str(tmp_path.parent / "outputs"), "keep_raw": True},
    }


def test_every_key_of_the_contract_is_read(load_text: Callable[..., Any], tmp_path: Path) -> None:
    config = load_text(EVERY_KEY).config
    assert config.dataset.path == [str(tmp_path / "a.jsonl"), str(tmp_path / "b-*.jsonl")]
    assert config.dataset.types == {"level": "int64", "ratio": "double", "easy": "bool", "group": "string"}
    assert [(server.url, server.weight) for server in config.model.base_url] == [
        ("http://127.0.0.1:8000/v1", 2.0),
        ("https://[::1]:8001/v1", 1.0),
    ]
    assert config.model.adapter == str(tmp_path / "adapters" / "mine.yaml")
    assert config.request.messages == [{"role": "user", "content": "{{ question }}"}]
    assert config.request.params["stop"] == ["\n", "\U0001f600"]
    assert config.request.extra_body == {"foo": [1, 2.5, True, None, {"a": "b"}]}
    assert config.request.timeout_s.total == 4.5
    assert config.limits == Limits(8, 500.0, 1e6, 5.0, 6.0)
    assert config.retry == RetryPolicy(2, 0, 0.1, 6.0, 36.0)
    assert [(scorer.name, scorer.as_) for scorer in config.scorers] == [("exact_match", "em"), ("includes", None)]
    assert config.gates.baseline == str(tmp_path.parent / "last" / "run")
    assert config.gates.scores["em"].max_drop == 0.02
    assert config.nightly.deadline == "06:00"
    assert config.output.dir == str(tmp_path / "out")


@pytest.mark.parametrize("text", [SMALLEST, EVERY_KEY])
def test_a_config_survives_the_manifest(text: str, load_text: Callable[..., Any], tmp_path: Path) -> None:
    config = load_text(text).config
    stored = orjson.dumps(to_dict(config))
    assert json.loads(stored) == to_dict(config)
    assert config_from_dict(orjson.loads(stored), tmp_path / "elsewhere") == config


def test_a_dict_takes_paths_and_tuples(values: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    config = config_from_dict(values({"dataset.path": Path("a.jsonl"), "dataset.keep": ("x", "y")}), tmp_path)
    assert config.dataset.path == str(tmp_path / "a.jsonl")
    assert config.dataset.keep == ["x", "y"]


def test_a_config_shares_nothing_with_the_dict_it_was_made_of(
    values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    given = values({"request.params": {"stop": ["a"]}})
    config = config_from_dict(given, tmp_path)
    given["request"]["params"]["stop"].append("b")
    assert config.request.params == {"stop": ["a"]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: "a"}, "request.extra_body: a key has to be a text, found 1"),
        ({"a": {1, 2}}, "request.extra_body.a: expected a value that JSON has, found a Python set"),
        ({"a": float("nan")}, "request.extra_body.a: the number is too large or not finite"),
        ({"a": 2**64}, "request.extra_body.a: the number is too large or not finite"),
        ({"a": "\ud83d"}, "request.extra_body.a: the text holds a broken code point"),
        ({"a": b"x"}, "request.extra_body.a: expected a value that JSON has, found a Python bytes"),
    ],
)
def test_a_dict_holds_what_json_holds(
    value: Any, message: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    found = complaints({"request.extra_body": value})
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_dict_without_end_is_refused(complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    assert complaints({"request.extra_body": endless}) == ["config: nested more than 64 levels deep"]
    assert complaints({"request.extra_body": {"a": [0] * 100_001}}) == ["config: more than 100,000 values"]


@pytest.mark.parametrize("given", [None, [], "text", 3])
def test_a_dict_has_to_be_one(given: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a config with the keys name, dataset and model"):
        config_from_dict(given, tmp_path)


def test_relative_paths_count_from_the_file_and_from_here_in_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "run.yaml").write_text(SMALLEST + "gates: {baseline: base}\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    config = load_config("../configs/run.yaml", overrides=["output.dir=out", "dataset.limit=3"]).config
    assert config.dataset.path == str(tmp_path / "configs" / "data.jsonl")
    assert config.gates.baseline == str(tmp_path / "configs" / "base")
    assert config.output.dir == str(tmp_path / "here" / "out")


def test_an_override_of_another_output_key_leaves_the_default_folder(tmp_path: Path, load_text: Any) -> None:
    config = load_text(SMALLEST, "output.keep_raw=false").config
    assert config.output.dir == str(tmp_path.parent / "outputs")


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("dataset.path", "-", "-"),
        ("dataset.path", "/data/../a.jsonl", "/a.jsonl"),
        ("model.adapter", "openai", "openai"),
        ("gates.baseline", "last_good", "last_good"),
    ],
)
def test_words_and_absolute_paths_stay(
    key: str, value: str, kept: str, values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    section, name = key.split(".")
    assert to_dict(config_from_dict(values({key: value}), tmp_path))[section][name] == kept


def test_the_home_folder_is_known(
    values: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = config_from_dict(values({"dataset.path": "~/a.jsonl", "output.dir": "~no-such-user/out"}), tmp_path)
    assert config.dataset.path == str(tmp_path / "home" / "a.jsonl")
    assert config.output.dir == str(tmp_path / "~no-such-user" / "out")


def test_a_bracket_in_the_folder_is_no_glob(values: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "run[1]"
    assert config_from_dict(values(), folder).dataset.path == str(folder / "data.jsonl")
    globbed = config_from_dict(values({"dataset.path": "*.jsonl"}), folder)
    assert globbed.dataset.path == f"{tmp_path}/run[[]1]/*.jsonl"


def test_a_model_may_live_in_its_own_file(tmp_path: Path, load_text: Callable[..., Any]) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "local.yaml").write_text(
        "base_url: http://127.0.0.1:1/v1\nname: local\nadapter: mine.yaml\nprice: {input_per_million: 1}\n"
        "limits: {max_in_flight: 4, requests_per_minute: 60}\n"
    )
    text = "name: demo\ndataset: {path: d.jsonl}\nmodel: models/local.yaml\nlimits: {requests_per_minute: 30}\n"
    loaded = load_text(text, "model.name=other", "limits.tokens_per_minute=9")
    assert loaded.config.model.name == "other"
    assert loaded.config.model.price.input_per_million == 1
    assert loaded.config.model.adapter == str(tmp_path / "models" / "mine.yaml")
    assert loaded.config.limits == Limits(4, 30.0, 9.0)
    assert loaded.where("model.base_url") == f"{tmp_path}/models/local.yaml:1:1"
    assert loaded.where("limits.max_in_flight") == f"{tmp_path}/models/local.yaml:5:10"
    assert loaded.where("limits.requests_per_minute") == f"{tmp_path}/run.yaml:4:10"


def test_the_limits_of_a_model_file_stand_alone_too(tmp_path: Path, load_text: Callable[..., Any]) -> None:
    (tmp_path / "m.yaml").write_text("base_url: http://127.0.0.1:1/v1\nlimits: {max_in_flight: 4}\n")
    assert load_text("name: demo\ndataset: {path: d}\nmodel: m.yaml\n").config.limits == Limits(4)


def test_another_model_file_by_override_comes_before_its_changes(
    tmp_path: Path, load_text: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b.yaml").write_text("base_url: http://b/v1\nname: b\n")
    loaded = load_text(SMALLEST, "model.name=changed", "model=b.yaml")
    assert (loaded.config.model.base_url, loaded.config.model.name) == ("http://b/v1", "changed")
    assert loaded.where("model.base_url") == "b.yaml:1:1"
    assert loaded.where("model.name") == "--set model.name"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "run.yaml:3:1: model: m.yaml cannot be read: No such file or directory"),
        ("- a\n", "run.yaml:3:1: model: m.yaml holds no model, found a list"),
        ("", "run.yaml:3:1: model: m.yaml holds no model, found null"),
        ("a: [\n", "m.yaml:2:1: model: not valid YAML: the text ends too early"),
        ("base_url: http://x/v1\nnam: x\n", "m.yaml:2:1: model.nam: unknown key"),
        ("base_url: http://x/v1\nlimits: 3\n", "m.yaml:2:1: limits: expected a section with keys, found 3"),
        ("base_url: http://x/v1\nlimits: {max_in_flight: 0}\n", "m.yaml:2:10: limits.max_in_flight: expected 1 to"),
        ("base_url: http://x/v1\nmodel: other.yaml\n", "m.yaml:2:1: model.model: unknown key"),
    ],
)
def test_what_is_wrong_in_a_model_file_names_that_file(
    content: str | None, problem: str, tmp_path: Path, load_problems: Callable[..., list[str]]
) -> None:
    if content is not None:
        (tmp_path / "m.yaml").write_text(content)
    found = load_problems("name: demo\ndataset: {path: d}\nmodel: m.yaml\n")
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_an_unreadable_model_file_does_not_hide_the_other_problems(load_problems: Callable[..., list[str]]) -> None:
    found = load_problems("name: demo\ndataset: {path: d, limit: 0}\nmodel: gone.yaml\n", "model.name=x", "retry.a=1")
    assert [problem.partition(" ")[0] for problem in found] == ["run.yaml:2:20:", "run.yaml:3:1:", "--set"]


def test_all_problems_come_at_once_in_the_order_of_the_file(load_problems: Callable[..., list[str]]) -> None:
    text = """\
nmae: demo
dataset:
  path: 5
  on_bad_row: stopp
request:
  temperature: 0
  params: {temperature: hot}
  repeats: "3"
limits: {max_in_flight: many}
model: {base_url: ftp://x, weight: 1}
"""
    assert load_problems(text, "retry.max_attempts=0", "output=x") == [
        'run.yaml:1:1: missing key "name" (it names the folder under outputs, e.g. name: my-run)',
        'run.yaml:1:1: nmae: unknown key (did you mean "name"?)',
        "run.yaml:3:3: dataset.path: expected a text or a list, found 5",
        'run.yaml:4:3: dataset.on_bad_row: expected stop or skip, found "stopp"',
        "run.yaml:6:3: request.temperature: unknown key (it belongs under request.params)",
        'run.yaml:7:12: request.params.temperature: expected a number, found "hot"',
        'run.yaml:8:3: request.repeats: expected a whole number, found "3"',
        'run.yaml:9:10: limits.max_in_flight: expected a whole number or auto, found "many"',
        (
            "run.yaml:10:9: model.base_url: expected a URL that begins with http:// or https:// and names a host "
            "(e.g. http://127.0.0.1:8000/v1)"
        ),
        "run.yaml:10:28: model.weight: unknown key (it belongs under model.base_url)",
        "--set retry.max_attempts: expected 1 or more, found 0",
        '--set output: expected a section with keys, found "x"',
    ]


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path, load_problems: Callable[..., list[str]]) -> None:
    for path, reason in (("none.yaml", "No such file"), (".", "Is a directory"), ("a\0b", "not a path")):
        with pytest.raises(ConfigError, match=reason):
            load_config(tmp_path / path)
    assert load_problems(b"#" * (MAX_FILE_BYTES + 1)) == ["run.yaml: larger than 4 MiB, which is no config"]
    assert load_problems("name: a\ndataset: ü".encode("latin-1")) == [
        "run.yaml:2:10: not UTF-8 (save the file as UTF-8)"
    ]


def test_a_file_name_that_is_no_text_is_shown_as_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "\udcff\x1b[2J.yaml")
    (problem,) = caught.value.problems
    assert problem.where == f"{tmp_path}/\\udcff\\u001b[2J.yaml"
    assert problem.message.encode()


def test_a_byte_order_mark_is_no_part_of_the_first_key(load_text: Callable[..., Any]) -> None:
    assert load_text(b"\xef\xbb\xbf" + SMALLEST.encode()).config.name == "demo"


def test_where_names_the_closest_place(tmp_path: Path, load_text: Callable[..., Any]) -> None:
    loaded = load_text(SMALLEST + "request:\n  messages:\n  - role: user\n", "limits.tokens_per_minute=3")
    assert loaded.where("request.messages.0.role") == f"{tmp_path}/run.yaml:6:5"
    assert loaded.where("dataset.limit") == f"{tmp_path}/run.yaml:2:1"
    assert loaded.where("gates.scores") == f"{tmp_path}/run.yaml:1:1"
    assert loaded.where("limits.tokens_per_minute") == "--set limits.tokens_per_minute"
    assert loaded.path == tmp_path / "run.yaml"


def test_warnings_come_with_the_config(load_text: Callable[..., Any]) -> None:
    loaded = load_text(SMALLEST + "request: {params: {temperature: 3}}\n")
    assert loaded.warnings == (
        "request.params.temperature: 3 is outside 0 to 2 (OpenAI API reference); the server decides",
    )


def test_environment_variables_are_not_looked_at(load_text: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.setenv("SECRET", "value")
    config = load_text(SMALLEST + 'request: {extra_body: {a: "${SECRET} $SECRET"}}\n').config
    assert config.request.extra_body == {"a": "${SECRET} $SECRET"}


def test_an_embedded_model_gives_its_name(values: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    embedded = {"model": {"embedded": "smollm2-135m"}}
    named = {"model": {"embedded": "smollm2-135m", "name": "mine"}}
    assert config_from_dict(values(embedded), tmp_path).model.name == "smollm2-135m"
    assert config_from_dict(values(named), tmp_path).model.name == "mine"
    assert config_from_dict(values({"model": {"base_url": "http://x"}}), tmp_path).model.name is None


def test_importing_the_config_loads_nothing_heavy() -> None:
    code = "import sys, runner.config; print(*sorted({'pyarrow', 'pandas', 'aiohttp'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
