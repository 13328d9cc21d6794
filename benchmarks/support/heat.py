"""Owns one run of a client against a simulator of its own: started, let go on for a time, counted, killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from support.processes import evalrunner, script
from support.rehearsal import books, rehearsal, wait_for_first_request
from support.workload import write_prompts, write_rate_config, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# Of the server's tokens; log-uniform between them that is 751 on average, and 64 for the answer.
SHORTEST_PROMPT, LONGEST_PROMPT, MEAN_COST = 20, 4_000, 815
# A client never runs out of rows: what it leaves undone would count as not used.
_MORE_S = 10

OURS, COOKBOOK, SDK, CURATOR = "evalrunner", "cookbook", "openai SDK", "curator"
# Its packages do not go together with ours: this variable names an interpreter that has it.
_CURATOR_PYTHON = "EVALRUNNER_CURATOR"


@dataclass(frozen=True, slots=True)
class Track:
    """Where everything is."""

    folder: Path

    @property
    def dataset(self) -> Path:
        """The rows of the run at hand."""
        return self.folder / "rows.jsonl"

    def write_rows(self, per_second: float, seconds: float) -> None:
        """Write more rows than can be sent."""
        write_rows(self.dataset, round(per_second * (seconds + _MORE_S)))

    def write_prompts(self, tokens_per_second: float, seconds: float) -> None:
        """Write more rows, with prompts of 20 to 4,000 tokens, than can be sent."""
        rows = round(tokens_per_second * (seconds + _MORE_S) / MEAN_COST)
        write_prompts(self.dataset, rows, SHORTEST_PROMPT, LONGEST_PROMPT)

    def ours(self, url: str, limits: dict[str, Any]) -> list[str]:
        """Return the command of evalrunner with these limits typed in."""
        config = self.folder / "config.yaml"
        write_rate_config(config, self.dataset, url, limits)
        loop = "uvloop" if find_spec("uvloop") else "asyncio"
        return evalrunner(loop, "run", config, "--run-dir", self.folder / "run", "--quiet")

    def cookbook(self, url: str, limits: dict[str, Any]) -> list[str]:
        """Return the command of the cookbook's pattern with these limits typed in."""
        rates = [str(limits.get(name, "inf")) for name in ("requests_per_minute", "tokens_per_minute")]
        return script("cookbook_loop.py", self.dataset, f"{url}/chat/completions", *rates)

    def sdk(self, url: str, _limits: dict[str, Any]) -> list[str]:
        """Return the command of the openai SDK, which takes no limits."""
        return script("sdk_loop.py", self.dataset, url)

    def curator(self, url: str, limits: dict[str, Any]) -> list[str]:
        """Return the command of curator with these limits typed in; without, it goes by headers or its own defaults."""
        rates = [str(limits.get(name, "inf")) for name in ("requests_per_minute", "tokens_per_minute")]
        _, program, *arguments = script("curator_loop.py", self.dataset, url, *rates)
        return [os.environ[_CURATOR_PYTHON], program, *arguments]

    def run(
        self, server: Sequence[str], command: Callable[[str], list[str]], spans: Sequence[tuple[int, int]]
    ) -> list[dict[str, Any]]:
        """Run a client until the last span is over, and return what the simulator counted in each of them."""
        log = self.folder / "client.log"
        with rehearsal(server, self.folder / "server.log") as url, log.open("wb") as output:
            client = subprocess.Popen(command(url), stdout=output, stderr=output, start_new_session=True)
            try:
                begun = wait_for_first_request(url, client)
                time.sleep(max(0.0, begun + max(end for _, end in spans) - time.monotonic()))
                return [books(url, f"/rates?from_s={begin}&until_s={end}") for begin, end in spans]
            finally:
                kill(client)
                shutil.rmtree(self.folder / "run", ignore_errors=True)


def peers(*, typed: bool) -> list[str]:
    """Return the peers that can take part: the cookbook's pattern cannot do without limits typed in."""
    installed = [*([SDK] if find_spec("openai") else []), *([CURATOR] if _CURATOR_PYTHON in os.environ else [])]
    return [*([COOKBOOK] if typed else []), *installed]


def command_of(name: str, track: Track, limits: dict[str, Any]) -> Callable[[str], list[str]]:
    """Return what makes a client's command out of the server's address."""
    make = {OURS: track.ours, COOKBOOK: track.cookbook, SDK: track.sdk, CURATOR: track.curator}[name]
    return lambda url: make(url, limits)


def kill(client: subprocess.Popen[bytes]) -> None:
    """Kill a client that was started in a session of its own, with all that it started."""
    if client.poll() is None:
        os.killpg(client.pid, signal.SIGKILL)
    client.wait()
