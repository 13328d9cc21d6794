"""Owns the tiny model of the tests: a llama architecture with random weights, half a megabyte, always the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import gguf
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARCHITECTURE: Final = "llama"
WIDTH: Final = 64
HIDDEN: Final = 128
LAYERS: Final = 2
HEADS: Final = 4
CONTEXT: Final = 2048
SEED: Final = 0
SPREAD: Final = 0.08

CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:"
)


@dataclass(frozen=True, slots=True)
class Token:
    text: bytes
    score: float
    kind: gguf.TokenType


def write_tiny_gguf(path: Path) -> Path:
    """Write the model to `path` and return it. It answers any request at once, and never sensibly."""
    tokens = list(_tokens())
    writer = gguf.GGUFWriter(str(path), ARCHITECTURE)
    _add_shape(writer, len(tokens))
    _add_tokenizer(writer, tokens)
    for name, weights in _tensors(len(tokens)):
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tokens() -> Iterator[Token]:
    """Yield the vocabulary in the order of a SentencePiece model: special tokens, bytes, pieces."""
    yield Token(b"<unk>", 0.0, gguf.TokenType.UNKNOWN)
    yield Token(b"<s>", 0.0, gguf.TokenType.CONTROL)
    yield Token(b"</s>", 0.0, gguf.TokenType.CONTROL)
    for value in range(256):
        # A byte is only taken where no piece fits.
        yield Token(f"<0x{value:02X}>".encode(), -10_000.0, gguf.TokenType.BYTE)
    words = ["the", "answer", "is", "yes", "no", "A", "B", "C", "D", "Paris", ""]
    pieces = [f"\N{LOWER ONE EIGHTH BLOCK}{word}" for word in words] + [chr(code) for code in range(33, 127)]
    for rank, piece in enumerate(pieces):
        yield Token(piece.encode(), -float(rank), gguf.TokenType.NORMAL)


def _add_shape(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    writer.add_name("tiny-random")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(vocabulary)
    writer.add_context_length(CONTEXT)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)


def _add_tokenizer(writer: gguf.GGUFWriter, tokens: list[Token]) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.text for token in tokens])
    writer.add_token_scores([token.score for token in tokens])
    writer.add_token_types([token.kind for token in tokens])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)


def _tensors(vocabulary: int) -> Iterator[tuple[str, np.ndarray]]:
    generator = np.random.default_rng(SEED)
    for name, shape in _shapes(vocabulary):
        if name.endswith("norm.weight"):
            yield name, np.ones(shape, np.float32)
        else:
            yield name, (generator.standard_normal(shape) * SPREAD).astype(np.float32)


def _shapes(vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (vocabulary, WIDTH)
    for layer in range(LAYERS):
        yield f"blk.{layer}.attn_norm.weight", (WIDTH,)
        for part in ("q", "k", "v", "output"):
            yield f"blk.{layer}.attn_{part}.weight", (WIDTH, WIDTH)
        yield f"blk.{layer}.ffn_norm.weight", (WIDTH,)
        for part in ("gate", "up"):
            yield f"blk.{layer}.ffn_{part}.weight", (HIDDEN, WIDTH)
        yield f"blk.{layer}.ffn_down.weight", (WIDTH, HIDDEN)
    yield "output_norm.weight", (WIDTH,)
    yield "output.weight", (vocabulary, WIDTH)
