"""Owns small runs made for killing: their config, dataset and folder, and the count of what the server saw of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from runner.simulate import request_digest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.kill_programs import Server

MAX_IN_FLIGHT = 8


@dataclass(slots=True)
class Case:
    """A run that will be killed. `prompts` are all that were ever in the dataset: no other case has the same."""

    folder: Path
    prompts: set[str] = field(default_factory=set)

    @property
    def config(self) -> Path:
        """The config file."""
        return self.folder / "run.yaml"

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    @property
    def output(self) -> Path:
        """What the commands printed."""
        return self.folder / "output.txt"

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of the command that begins and continues the run."""
        return ("run", str(self.config), "--run-dir", str(self.run_dir), "--quiet")

    @property
    def ids(self) -> list[str]:
        """The ids of the dataset as it is now."""
        return [orjson.loads(line)["id"] for line in self._dataset.read_bytes().splitlines()]

    @property
    def digests(self) -> set[str]:
        """What the server's ledger calls this run's requests."""
        return {request_digest({"messages": [{"role": "user", "content": prompt}]}) for prompt in self.prompts}

    def write_config(self, server: Server, **changes: Any) -> None:
        """Write the config file; `changes` are added to it."""
        config = {
            "name": "kill",
            "dataset": {"path": "rows.jsonl", "id": "id"},
            "model": {"base_url": server.base_url, "name": "simulated"},
            "request": {"endpoint": "chat", "messages": [{"role": "user", "content": "{{ prompt }}"}]},
            "limits": {"max_in_flight": MAX_IN_FLIGHT},
            "retry": {"max_attempts": 1},
            **changes,
        }
        self.config.write_bytes(orjson.dumps(config))  # JSON is YAML

    def write_rows(self, rows: list[dict[str, str]]) -> None:
        """Write the dataset: rows of `id`, `prompt` and what else a case wants."""
        self.prompts |= {row["prompt"] for row in rows}
        self._dataset.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    @property
    def _dataset(self) -> Path:
        return self.folder / "rows.jsonl"

    def resent(self, server: Server) -> int:
        """Count the requests that went out more than once."""
        digests = self.digests
        return server.arrivals_of(digests) - len(digests)


def make_rows(name: str, count: int) -> list[dict[str, str]]:
    """Return rows whose prompts hold `name`."""
    return [
        {"id": f"s{number:05d}", "prompt": f"{name}: what is {number} plus {number}?", "note": f"note {number}"}
        for number in range(count)
    ]
