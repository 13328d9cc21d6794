"""Owns the questions of a probe about all that is not chat: the model list, completions, embeddings, responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.errors import ConnectError, NoChoicesError
from runner.pipeline.probe.asking import ANSWER_TOKENS, PROMPT, Said
from runner.pipeline.probe.chat import note_missing
from runner.pipeline.probe.finding import FAILED, LIMITED, PASSED, SKIPPED, UNCLEAR, is_passing, is_refusal
from runner.pipeline.probe.reading import model_names, read_answer, read_vectors, text_of

if TYPE_CHECKING:
    from runner.pipeline.probe.asking import Asker
    from runner.pipeline.probe.finding import Probe

_COMPLETION_TOKENS = 4


async def ask_models(asker: Asker, found: Probe) -> bool:
    """Ask for the model list; say whether anybody is there. A server without one may be as good as any."""
    said, model = await asker.get("/models"), asker.target.model
    if said.response is None:
        error = said.error
        if isinstance(error, ConnectError):
            found.note("reach", FAILED, error.message, error.hint)
            found.exit_code = 6
            return False
        found.note("reach", UNCLEAR, error.message if error else "no answer", "the next request decides")
        return True
    response = said.response
    found.note("reach", PASSED, f"HTTP {response.http_status} in {response.latency_s:.3f} s")
    names = model_names(response) if said.error is None else []
    found.facts["models"] = len(names) or None
    if not names:
        found.note("model", SKIPPED, f"the server shows no model list (HTTP {response.http_status})")
    elif model in names:
        found.note("model", PASSED, f"{model} is one of {len(names)}")
    else:
        found.note("model", LIMITED, f"{model} is not in the list: {', '.join(names[:10])}", "the answer decides")
    return True


async def ask_completions(asker: Asker, found: Probe) -> Said:
    """Ask for a completion of a prompt that comes back with its log probabilities, or else for a plain one."""
    path = asker.path("completions")
    body = {"prompt": PROMPT, "max_tokens": _COMPLETION_TOKENS}
    said = await asker.ask_without_refused(path, body, {"echo": True, "logprobs": 1}, anyway=True)
    if is_refusal(said.error) and not said.refused:
        plain = await asker.ask(path, body)
        if plain.answer is not None and said.error is not None:
            said = Said(plain.response, None, {"echo": said.error.message})
    found.facts["completions"] = None if is_passing(said.error) else said.answer is not None
    if said.answer is None:
        note_missing(found, "completions", said)
        found.note("echo", SKIPPED, "there are no completions")
        return said
    parsed = read_answer(said.answer, "completions")
    text, logprobs = text_of(parsed), parsed.outputs[0][0].logprobs if parsed else None
    found.note("completions", PASSED, f"{text[-40:]!r} in {said.answer.latency_s:.3f} s")
    scored = len(logprobs.tokens) if logprobs else 0
    echoed = text.startswith(PROMPT) and "echo" not in said.refused
    found.facts["echo"] = echoed and scored > _COMPLETION_TOKENS
    if found.facts["echo"]:
        found.note("echo", PASSED, f"the prompt comes back, {scored} log probabilities in all")
    elif echoed:
        found.note("echo", LIMITED, "the prompt comes back without log probabilities")
    else:
        found.note("echo", LIMITED, said.refused.get("echo", "asked for, and ignored"))
    return said


async def ask_embeddings(asker: Asker, found: Probe) -> Said:
    """Ask for the vectors of two texts in Base64, or else for one vector."""
    path, array = asker.path("embeddings"), True
    said = await asker.ask_without_refused(path, {"input": ["one", "two"]}, {"encoding_format": "base64"}, anyway=True)
    if is_refusal(said.error):
        alone = await asker.ask(path, {"input": "one"})
        if alone.answer is not None:
            said, array = Said(alone.response, None, said.refused), False
    vectors = read_vectors(said.answer) if said.answer is not None else None
    if vectors is None:
        found.facts["embeddings"] = None if is_passing(said.error) else False
        if said.error is None:
            said = Said(said.response, NoChoicesError("the answer holds no vectors"), said.refused)
        note_missing(found, "embeddings", said)
        return said
    array = array and vectors.count == 2  # noqa: PLR2004 - as asked
    found.facts["embeddings"] = {"dimension": vectors.dimension, "base64": vectors.base64, "array": array}
    encoding = "base64" if vectors.base64 else "no base64"
    inputs = "several inputs in one request" if array else "one input in a request"
    found.note("embeddings", PASSED, f"{vectors.dimension} numbers, {encoding}, {inputs}")
    return said


async def ask_responses(asker: Asker, found: Probe) -> Said:
    """Ask the Responses API."""
    said = await asker.ask(asker.path("responses"), {"input": PROMPT, "max_output_tokens": ANSWER_TOKENS})
    parsed = read_answer(said.answer, "responses") if said.answer is not None else None
    found.facts["responses"] = None if is_passing(said.error) else parsed is not None
    if said.answer is not None and parsed is not None:
        found.note("responses", PASSED, f"{text_of(parsed)!r:.40} in {said.answer.latency_s:.3f} s")
        return said
    said = Said(said.response, said.error or NoChoicesError("the answer has no output"), said.refused)
    note_missing(found, "responses", said)
    return said
