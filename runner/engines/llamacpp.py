"""Owns the child process that holds llama.cpp's server. Run as a script, it imports nothing of this package.

stdin is a leash: nothing is read from it, and when its other end closes, by whatever end of the parent, this process
exits at once. stdout carries one line of JSON, {"url": …} once the server answers or {"error": …}. stderr is the log.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
from typing import Any

_PR_SET_PDEATHSIG = 1  # prctl(2)
_HTTP_THREADS = 64  # a kept-alive connection holds one: fewer than connections, and requests starve
_WARNINGS = 2  # of llama.cpp's verbosity; 3 is five lines per request
_START_FAILED = 3


def main() -> None:
    """Serve one model until the parent goes away."""
    # A Ctrl-C in the terminal or a service manager's SIGTERM reaches this process too, but the run drains first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with_parent()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    answer = _take_stdout()
    arguments = _parser().parse_args()
    try:
        server = _serve(arguments)
    except (ImportError, RuntimeError) as error:
        _say(answer, {"error": f"{type(error).__name__}: {error}"})
        sys.stderr.flush()
        # Without the interpreter's own exit, which would join threads of a half-made server.
        os._exit(_START_FAILED)
    _say(answer, {"url": server.listening_address})
    threading.Event().wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="llama.cpp's server, as a child of a run")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--context-tokens", type=int, required=True, help="of one slot")
    parser.add_argument(
        "--embeddings", action="store_true", help="give vectors, the mean over the tokens, and no texts"
    )
    return parser


def _serve(arguments: argparse.Namespace) -> Any:
    """Return the server, which listens and has loaded the model; it stops when it is no longer referred to."""
    import xllamacpp  # noqa: PLC0415 -- inside, so that a broken installation is told as an answer

    params = xllamacpp.CommonParams()
    params.model.path = arguments.weights
    params.model_alias = {arguments.name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # the system picks a free one
    params.n_parallel = arguments.slots
    params.n_ctx = arguments.slots * arguments.context_tokens  # llama.cpp divides it among the slots
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = arguments.threads
    params.n_threads_http = _HTTP_THREADS
    params.verbosity = _WARNINGS
    params.cache_ram_mib = 0  # 8 GiB by default, for prompts of idle slots
    params.cache_idle_slots = False
    params.fit_params = False  # else the context shrinks with the memory that happens to be free
    params.warmup = False
    params.offline = True
    params.ui = False
    params.endpoint_slots = False  # it shows prompts to whoever asks
    if arguments.embeddings:
        params.embedding = True
        # Computed together, inputs of different lengths are cut into pieces, and the mean is that of the last piece: in
        # several slots "What is 10 + 1?" had another vector beside "What is 9 + 1?" than alone.
        params.n_parallel, params.n_ctx = 1, arguments.context_tokens
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        # A vector is computed in one go, so that the batch decides how long an input may be.
        params.n_batch = params.n_ubatch = arguments.context_tokens
    params.cors_origins = ""  # no web page of the user's browser may ask
    return xllamacpp.Server(params)


def _exit_with_parent() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(0)


def _die_with_parent() -> None:
    """Ask Linux for a SIGKILL when the parent dies: while a model loads, the leash's thread may not get to run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _take_stdout() -> int:
    """Return a descriptor of the real stdout; whatever else is written to stdout goes to the log from now on."""
    answer = os.dup(1)
    os.dup2(2, 1)
    return answer


def _say(answer: int, message: dict[str, str]) -> None:
    os.write(answer, json.dumps(message).encode() + b"\n")
    os.close(answer)


if __name__ == "__main__":
    main()
