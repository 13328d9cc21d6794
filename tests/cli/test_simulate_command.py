"""Owns `evalrunner simulate` as its users start it: what its options do, and that its help names what there is."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from runner.simulate import LIKENESSES, NOTICES
from tests.support.commands import evalrunner, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HELLO = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4})


class Client:
    """Asks one simulator over one connection."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def ask(self) -> tuple[int, dict[str, str]]:
        self._connection.request("POST", "/v1/chat/completions", HELLO)
        response = self._connection.getresponse()
        response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}

    def get(self, path: str) -> dict[str, Any]:
        self._connection.request("GET", path)
        found: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return found


@contextmanager
def simulating(folder: Path, *options: object) -> Iterator[Client]:
    with started("simulate", "--port", 0, *options, cwd=folder) as process:
        assert process.stdout is not None
        place = process.stdout.readline().removeprefix("serving http://").strip().removesuffix("/v1")
        with closing(HTTPConnection(place, timeout=30)) as connection:
            yield Client(connection)


def test_options_come_on_top_of_a_likeness(tmp_path: Path) -> None:
    limits = ("--rpm", 2, "--burst", 60)
    quick = ("--first-token", 0, "--per-token", 0, "--fault", "529=0", "--fault", "500=0")
    with simulating(tmp_path, "--like", "anthropic", *limits, *quick) as client:
        found = [client.ask() for _ in range(3)]
        assert [status for status, _ in found] == [200, 200, 429]
        assert found[0][1]["anthropic-ratelimit-requests-limit"] == "2"
        assert found[0][1]["anthropic-ratelimit-input-tokens-limit"] == "450000"
        assert 0 < int(found[2][1]["retry-after"]) <= 30
        counted = client.get("/_ledger/rates?until_s=600")["limits"]
        assert (counted["requests"]["permitted"], counted["requests"]["charged"]) == (20, 2)
        assert counted["output_tokens"]["charged"] == 8


def test_limits_faults_and_quotas_change_in_mid_run(tmp_path: Path) -> None:
    changes = ("--change-limit", "0:requests_per_minute=60", "--burst", 60, "--headers", "none")
    quota = ("--quota-after", 2, "--quota-error", "credit")
    with simulating(tmp_path, *changes, *quota, "--fault-at", "0-1h:bom=1", "--fault-at", "1h-2h:500=1") as client:
        found = [client.ask() for _ in range(3)]
        assert [status for status, _ in found] == [200, 200, 402]
        assert not any("ratelimit" in name for _, headers in found for name in headers)
        assert client.get("/_ledger/seconds")["seconds"][0]["permitted"] == {"requests": 1.0}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--like", "cray"), "cray"),
        (("--headers", "loud"), "loud"),
        (("--change-limit", "soon"), "30s:requests_per_minute=3000"),
        (("--fault-at", "503=1"), "60s-120s:503=0.5"),
        (("--fault", "503"), "503=0.01"),
        (("--quota-error", "money"), "money"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_served(
    options: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    finished = evalrunner("simulate", *options, cwd=tmp_path)
    assert (finished.code, finished.out) == (2, "")
    assert named in finished.err


def test_help_names_every_likeness_and_every_way_to_tell(tmp_path: Path) -> None:
    shown = evalrunner("simulate", "--help", cwd=tmp_path, env={"COLUMNS": "200"}).out
    assert [name for name in (*LIKENESSES, *NOTICES) if name not in shown] == []
