"""Owns answers that are reasoning and nothing else: the text is empty, and the tokens went into thinking.

Servers show the reasoning beside an empty or null content (`reasoning_content` of DeepSeek, `reasoning` of vLLM and
routers), or hide it and count it in `reasoning_tokens` (OpenAI; at others a few less than `completion_tokens`). Where
the tokens ran out the status is truncated, as of any answer cut off; where the server says that it was done, it is ok.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.records import Output, Parsed

NO_TEXT = "the answer is reasoning alone, without a text"
CUT = "the tokens ran out while reasoning: there is no text"


def note_reasoning(parsed: Parsed) -> Parsed:
    """Return an answer with a note on each output that holds nothing but reasoning."""
    if not any(map(_is_wordless, chain.from_iterable(parsed.outputs))):  # nearly every answer
        return parsed
    single = len(parsed.outputs) == 1 and len(parsed.outputs[0]) == 1  # else nobody knows whose tokens they were
    hidden = single and bool(parsed.usage.reasoning_tokens)
    outputs = tuple(tuple(_noted(output, hidden=hidden) for output in outputs) for outputs in parsed.outputs)
    return replace(parsed, outputs=outputs)


def _is_wordless(output: Output) -> bool:
    empty = not output.text or output.text.isspace()
    return empty and output.status in ("ok", "truncated") and not (output.tool_calls or output.refusal)


def _noted(output: Output, *, hidden: bool) -> Output:
    if not _is_wordless(output) or output.audio_transcript or not (output.reasoning or hidden):
        return output
    own = CUT if output.status == "truncated" else NO_TEXT
    return replace(output, note=f"{output.note}; {own}" if output.note else own)
