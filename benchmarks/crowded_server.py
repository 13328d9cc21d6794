"""Measures whether `max_in_flight: auto` finds the right number of requests for a server that has no limits.

The server is the simulator as a vLLM that serves 160 well: beyond that all slow down and less is served, and nobody is
told. The peer is the best fixed number of a sweep.
"""

from __future__ import annotations

from pathlib import Path

from support.heat import OURS, Track, command_of
from support.options import Size, read_options
from support.results import Result, report, say

_CROWD = 160
_SERVER = ("--like", "vllm", "--slow-above", str(_CROWD), "--completion-tokens", "32")
_SWEEP = (32, 64, 128, 160, 256, 512)
_WARM_UP_S, _SETTLED_S = 5, 30
_SECONDS = {Size.SMALL: 15, Size.DEFAULT: 30, Size.FULL: 120}
# More than is served in a second: an answer takes 0.05 s and 32 times 0.02 s.
_ROWS_PER_S = 300


def main() -> None:
    """Sweep, then let it choose by itself."""
    options = read_options(__doc__ or "")
    seconds = _SECONDS[options.size]
    with options.scratch() as scratch:
        track = Track(Path(scratch))
        track.write_rows(_ROWS_PER_S, _SETTLED_S + seconds)
        fixed = {number: _answered(track, number, _WARM_UP_S, seconds) for number in _SWEEP}
        ours = _answered(track, "auto", _SETTLED_S, seconds)
    best = max(fixed, key=lambda number: fixed[number])
    sweep = ", ".join(f"{number}: {rate:.0f}" for number, rate in fixed.items())
    result = Result(
        f"answers a second of a server that serves {_CROWD} well, {_SETTLED_S} s after the start",
        f"{ours:.0f}",
        f"{fixed[best]:.0f} with {best} in flight (of {sweep})",
        f"{ours / fixed[best]:.1%} of the best",
        "≥ 95 %",
    )
    report([result], as_json=options.as_json)


def _answered(track: Track, in_flight: int | str, from_s: int, seconds: int) -> float:
    say(f"crowded_server: {in_flight} in flight")
    command = command_of(OURS, track, {"max_in_flight": in_flight})
    (found,) = track.run(_SERVER, command, ((from_s, from_s + seconds),))
    return float(found["answered"] / seconds)


if __name__ == "__main__":
    main()
