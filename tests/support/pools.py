"""Owns pools of simulators that a test stops and starts again under a run, and runs with a breaker of their own."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio.from_thread import start_blocking_portal
from yarl import URL

from runner.config import config_from_dict
from runner.limiter import BreakerPolicy
from runner.pipeline import execute
from runner.pipeline.locate import Where
from runner.pipeline.opening import RunOptions
from runner.progress import Silent
from runner.simulate import open_simulator
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from anyio.from_thread import BlockingPortal

    from runner import RunSummary
    from runner.progress import Snapshot
    from runner.simulate import Simulator, SimulatorOptions

# Milliseconds in place of seconds: what the tests are about is the order of things.
BRISK = BreakerPolicy(failures=5, first_open_s=0.01, most_open_s=0.05, give_up_s=30.0)


@dataclass
class Fleet:
    """Servers by number. One that is stopped refuses connections; started again it has the same address."""

    portal: BlockingPortal
    options: Sequence[SimulatorOptions]
    urls: list[str] = field(default_factory=list)
    served: list[list[Simulator]] = field(default_factory=list)
    _running: dict[int, ExitStack] = field(default_factory=dict)

    def open(self) -> None:
        for number in range(len(self.options)):
            self.served.append([])
            self.urls.append("")
            self.start(number)

    def start(self, number: int) -> None:
        options = replace(self.options[number], port=URL(self.urls[number]).port or 0 if self.urls[number] else 0)
        stack = self._running[number] = ExitStack()
        simulator = stack.enter_context(self.portal.wrap_async_context_manager(open_simulator(options)))
        self.urls[number] = simulator.base_url
        self.served[number].append(simulator)

    def stop(self, number: int) -> None:
        self._running.pop(number).close()

    def stop_all(self) -> None:
        for number in list(self._running):
            self.stop(number)

    def requests(self, number: int) -> int:
        """Return how many requests have reached a server, however often it was started."""
        return sum(one.statistics().requests for one in self.served[number])

    @property
    def pool(self) -> list[dict[str, Any]]:
        """The servers as `model.base_url` lists them."""
        return [{"url": url} for url in self.urls]


@contextmanager
def fleet(*options: SimulatorOptions) -> Iterator[Fleet]:
    """Serve as many simulators as there are options, four without any."""
    with start_blocking_portal("asyncio") as portal:
        servers = Fleet(portal, options or (QUICK,) * 4)
        servers.open()
        try:
            yield servers
        finally:
            servers.stop_all()


class Watching(Silent):
    """Shows every few milliseconds how a run goes to `look`, which may stop and start servers."""

    every_s = 0.002

    def __init__(self, look: Callable[[Snapshot], None]) -> None:
        self.show = look  # type: ignore[method-assign]  # a function is all that a test needs


def run_pool(
    config: Mapping[str, Any],
    run_dir: Path,
    *,
    breaker: BreakerPolicy = BRISK,
    look: Callable[[Snapshot], None] = lambda _: None,
) -> RunSummary:
    """Run with a breaker's limits shortened, and look on."""
    options = RunOptions(where=Where(run_dir=run_dir), display=Watching(look), breaker=breaker)
    return execute.run(config_from_dict(dict(config), Path.cwd()), options)
