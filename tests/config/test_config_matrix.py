from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict, load_config, load_configs
from runner.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

BOTH = """\
name: nightly
dataset: {id: id, target: answer}
model: {api_key_env: MY_KEY}
request: {messages: [{role: user, content: "{{ question }}"}]}
matrix:
  models:
    - models/local.yaml
    - {base_url: "http://b/v1", name: "org/big model", api_key_env: OTHER}
  datasets:
    - data/gsm8k.v2.jsonl.gz
    - data/mmlu.yaml
    - {path: ["x/part-*.parquet", y.parquet], target: label}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "models/local.yaml").write_text(
        "base_url: http://a/v1\nname: small\nlimits: {requests_per_minute: 100}\n", encoding="utf-8"
    )
    (tmp_path / "data/mmlu.yaml").write_text("path: mmlu/all.csv\nid: number\n", encoding="utf-8")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_configs(write(folder, text), overrides=overrides)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_every_model_meets_every_dataset_in_the_order_written(folder: Path) -> None:
    loaded = load_configs(write(folder, BOTH))
    assert [one.config.name for one in loaded] == [
        "nightly-local-gsm8k.v2",
        "nightly-local-mmlu",
        "nightly-local-part",
        "nightly-org-big-model-gsm8k.v2",
        "nightly-org-big-model-mmlu",
        "nightly-org-big-model-part",
    ]
    assert all(one.of_matrix and one.config.matrix is None for one in loaded)
    assert [one.config.model.base_url for one in loaded] == ["http://a/v1"] * 3 + ["http://b/v1"] * 3
    assert [one.config.dataset.path for one in loaded[:3]] == [
        str(folder / "data/gsm8k.v2.jsonl.gz"),
        str(folder / "data/mmlu/all.csv"),
        [str(folder / "x/part-*.parquet"), str(folder / "y.parquet")],
    ]


def test_sections_of_the_config_fill_in_what_entries_leave_out(folder: Path) -> None:
    loaded = load_configs(write(folder, BOTH))
    assert [one.config.model.api_key_env for one in loaded] == ["MY_KEY"] * 3 + ["OTHER"] * 3
    assert [(one.config.dataset.id, one.config.dataset.target) for one in loaded[:3]] == [
        ("id", "answer"),
        ("number", "answer"),
        ("id", "label"),
    ]
    assert [one.config.limits.requests_per_minute for one in loaded] == [100.0] * 3 + [None] * 3


def test_a_cell_is_what_the_same_plain_config_is(folder: Path) -> None:
    (cell, *_) = load_configs(write(folder, BOTH))
    plain = {
        "name": "nightly-local-gsm8k.v2",
        "dataset": {"path": "data/gsm8k.v2.jsonl.gz", "id": "id", "target": "answer"},
        "model": {"base_url": "http://a/v1", "name": "small", "api_key_env": "MY_KEY"},
        "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
        "limits": {"requests_per_minute": 100},
        "output": {"dir": "../outputs"},
    }
    assert cell.config == config_from_dict(plain, folder)


@pytest.mark.parametrize(
    ("matrix", "rest", "names"),
    [
        ("{models: [models/local.yaml]}", "dataset: {path: a.jsonl}", ["n-local"]),
        ("{datasets: [a.jsonl, b.csv]}", "model: {base_url: 'http://a', name: m}", ["n-a", "n-b"]),
        ("{datasets: ['./*.jsonl']}", "model: {base_url: 'http://a', name: m}", ["n-1"]),
        ("{models: [{embedded: smollm2-135m}]}", "dataset: {path: a.jsonl}", ["n-smollm2-135m"]),
        ("null", "model: {base_url: 'http://a', name: m}\ndataset: {path: a.jsonl}", ["n"]),
    ],
)
def test_an_axis_that_is_left_out_is_not_in_the_name(matrix: str, rest: str, names: list[str], folder: Path) -> None:
    loaded = load_configs(write(folder, f"name: n\nmatrix: {matrix}\n{rest}\n"))
    assert [one.config.name for one in loaded] == names


def test_overrides_change_each_config_and_the_matrix_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    path = write(folder, BOTH)
    loaded = load_configs(path, overrides=["dataset.limit=3", "matrix.models=[models/local.yaml]", "model.name=other"])
    assert [one.config.name for one in loaded] == [
        "nightly-local-gsm8k.v2",
        "nightly-local-mmlu",
        "nightly-local-part",
    ]
    assert {(one.config.dataset.limit, one.config.model.name) for one in loaded} == {(3, "other")}


def test_everything_wrong_in_all_configs_comes_at_once_and_each_thing_once(folder: Path) -> None:
    (folder / "models/local.yaml").write_text("base_url: ftp://a\nname: m\n", encoding="utf-8")
    text = BOTH.replace("target: label", "tarjet: label").replace("name: nightly", "name: nightly\nlimit: 3")
    found = problems(folder, text)
    assert [problem.partition(" ")[0] for problem in found] == [
        "run.yaml:2:1:",
        "models/local.yaml:1:1:",
        "run.yaml:13:47:",
    ]
    assert 'did you mean "target"?' in found[2]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("{}", "matrix: names neither models nor datasets"),
        ("[a]", "matrix: expected a section with keys, found a list"),
        ("{modles: [a.yaml]}", 'matrix.modles: unknown key (did you mean "models"?)'),
        ("{models: [3]}", "matrix.models.0: expected a text or a mapping, found 3"),
        ("{models: [none.yaml]}", "model: none.yaml cannot be read: No such file or directory"),
        ("{datasets: [none.yaml]}", "dataset: none.yaml cannot be read: No such file or directory"),
        (
            "{models: [{base_url: 'http://a', name: m}, {base_url: 'http://b', name: M}]}",
            'matrix.models.1: the name "n-M" stands for the one at run.yaml:2:19 already',
        ),
        ("{datasets: [a/x.csv, b/x.csv]}", "matrix.datasets.1: the name"),
        ("{datasets: [" + "x" * 99 + ".csv]}", "is longer than 100"),
        ("{datasets: [" + ", ".join(f"{number}.csv" for number in range(1001)) + "]}", "more than 1,000 configs"),
    ],
)
def test_what_is_wrong_with_a_matrix_is_said_with_its_place(matrix: str, message: str, folder: Path) -> None:
    rest = "dataset: {path: a.jsonl}\nmodel: {base_url: 'http://m', name: m}\n"
    found = problems(folder, f"name: n\nmatrix: {matrix}\n{rest}")
    assert any(message in problem for problem in found), found
    assert all(problem.startswith("run.yaml:2:") for problem in found), found


def test_a_model_file_beside_models_is_refused(folder: Path) -> None:
    (found,) = problems(folder, BOTH.replace("model: {api_key_env: MY_KEY}", "model: models/local.yaml"))
    assert found.startswith("run.yaml:3:1: model: a model file beside matrix.models")


def test_a_matrix_is_no_single_config(folder: Path) -> None:
    path = write(folder, BOTH)
    with pytest.raises(ConfigError, match="a matrix stands for several runs") as caught:
        load_config(path)
    assert caught.value.problems[0].where == f"{path}:5:1"
    plain: dict[str, Any] = {"name": "n", "matrix": {"datasets": ["a"]}}
    with pytest.raises(ConfigError, match="a matrix stands for several runs"):
        config_from_dict(plain, folder)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich", "America/Argentina/Buenos_Aires"])
def test_time_zones_and_times_of_day_are_known(zone: str, folder: Path) -> None:
    nightly = f"{{time_zone: {zone}, deadline: 06:00}}"
    text = f"name: n\ndataset: {{path: a.csv}}\nmodel: {{base_url: 'http://a', name: m}}\nnightly: {nightly}\n"
    assert load_config(write(folder, text)).config.nightly.time_zone == zone


@pytest.mark.parametrize(
    ("nightly", "message"),
    [
        ("{time_zone: Europe/Zürich}", 'does not exist (did you mean "Europe/Zurich"?)'),
        ("{time_zone: ../../etc/passwd}", "does not exist"),
        ("{time_zone: Europe}", "does not exist"),
        ("{deadline: 6:00}", 'expected a time of day, found "6:00" (e.g. "06:00")'),
        ("{deadline: '24:00'}", "expected a time of day"),
    ],
)
def test_what_is_wrong_with_nightly_is_said_with_its_place(nightly: str, message: str, folder: Path) -> None:
    (found,) = problems(
        folder, f"name: n\nnightly: {nightly}\ndataset: {{path: a.csv}}\nmodel: {{base_url: 'http://a', name: m}}\n"
    )
    assert found.startswith("run.yaml:2:")
    assert message in found
