"""Measures how much of what a strict server permits is used, and how many 429s it costs, beside two peers.

The server is the simulator in a process of its own, its limits held over one second (GCRA), tokens charged at admission
without a refund; what is permitted is counted in what it charges. The first 5 s count for 429s only. The peers are the
pattern of the OpenAI cookbook's parallel processor, where limits are typed in, and the openai SDK with its own retries,
where it is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.heat import OURS, Track, command_of, peers
from support.options import Size, read_options
from support.results import Result, report, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.options import Options

_WARM_UP_S = 5
_SECONDS = {Size.SMALL: 20, Size.DEFAULT: 120, Size.FULL: 120}
# Quick enough that 64 in flight are no limit of their own at 30,000 requests a minute.
_STRICT = ("--burst", "1", "--first-token", "0.05..0.1")
_SILENT = ("--headers", "none")
_REQUEST_RATES, _USUAL_RATE, _TOKEN_RATE = (1_500, 6_000, 30_000), 6_000, 3_000_000
_PHASE_S = {Size.SMALL: 30, Size.DEFAULT: 60, Size.FULL: 60}
_BACK_S = 20
_TYPED, _HEADERS, _BLIND = "typed in", "by headers", "blind"


@dataclass(frozen=True, slots=True)
class Case:
    """One limit, and how a client knows of it."""

    limit: str
    per_minute: int
    how: str
    target: str

    @property
    def name(self) -> str:
        """What is measured."""
        return f"{self.per_minute:,} {self.limit} a minute, {self.how}"

    @property
    def usual(self) -> bool:
        """It is measured without `--full`, too."""
        return self.limit == "tokens" or self.per_minute == _USUAL_RATE

    @property
    def server(self) -> tuple[str, ...]:
        """The simulator's options."""
        silent = _SILENT if self.how == _BLIND else ()
        return (f"--{self.limit}-per-minute", str(self.per_minute), *_STRICT, *silent)

    @property
    def typed(self) -> dict[str, Any]:
        """The limits a client is told."""
        return {f"{self.limit}_per_minute": self.per_minute} if self.how == _TYPED else {}


_TARGETS = {_TYPED: "≥ 99 %, ≤ 0.1 % 429s", _HEADERS: "≥ 97 %, ≤ 0.5 % 429s", _BLIND: "≥ 95 %, ≤ 2 % 429s"}
_CASES = (
    *(Case("requests", rate, how, target) for rate in _REQUEST_RATES for how, target in _TARGETS.items()),
    *(Case("tokens", _TOKEN_RATE, how, _TARGETS[_HEADERS]) for how in (_TYPED, _HEADERS)),
)


def main() -> None:
    """Measure the cases of the size, or those asked for."""
    options = read_options(__doc__ or "", cases=True)
    with options.scratch() as scratch:
        track = Track(Path(scratch))
        results = list(chain(_measure_limits(track, options), _measure_changes(track, options)))
    report(results, as_json=options.as_json)


def _measure_limits(track: Track, options: Options) -> Iterator[Result]:
    seconds = _SECONDS[options.size]
    for case in _CASES:
        if options.wants(case.name, usual=case.usual):
            write = track.write_rows if case.limit == "requests" else track.write_prompts
            write(case.per_minute / 60, seconds)
            shown = {}
            for name in (OURS, *peers(typed=bool(case.typed))):
                say(f"request_rate: {case.name}, {name}")
                command = command_of(name, track, case.typed)
                later, whole = track.run(case.server, command, ((_WARM_UP_S, seconds), (0, seconds)))
                used = later["limits"][case.limit]["used_fraction"]
                shown[name] = f"{used:.1%}, {whole['refused_fraction']:.2%} 429s"
            yield _result(case.name, shown, case.target)


def _measure_changes(track: Track, options: Options) -> Iterator[Result]:
    """Halve the limit after a phase and double it after another; look at each phase from 20 s after the change."""
    phase_s, whole, half = _PHASE_S[options.size], _USUAL_RATE, _USUAL_RATE // 2
    changes = (f"{phase_s}:requests_per_minute={half}", f"{2 * phase_s}:requests_per_minute={whole}")
    flags = tuple(chain.from_iterable(("--change-limit", change) for change in changes))
    spans = tuple((phase * phase_s + _BACK_S, (phase + 1) * phase_s) for phase in (1, 2))
    for how, silent, usual in ((_HEADERS, (), True), (_BLIND, _SILENT, False)):
        name = f"{whole:,} requests a minute halved and doubled, {how}"
        if options.wants(name, usual=usual):
            track.write_rows(whole / 60, 3 * phase_s)
            shown = {}
            for client in (OURS, *peers(typed=False)):
                say(f"request_rate: {name}, {client}")
                server = ("--requests-per-minute", str(whole), *_STRICT, *silent, *flags)
                found = track.run(server, command_of(client, track, {}), spans)
                shares = (f"{one['limits']['requests']['used_fraction']:.1%}" for one in found)
                shown[client] = " and ".join(shares)
            yield _result(name, shown, f"≥ 90 % from {_BACK_S} s after each change")


def _result(name: str, shown: dict[str, str], target: str) -> Result:
    others = "; ".join(f"{peer} {figures}" for peer, figures in shown.items() if peer != OURS)
    return Result(name, shown[OURS], others or "none installed", shown[OURS], target)


if __name__ == "__main__":
    main()
