"""Owns the questions of a probe about chat: one small request each, where it can be several questions in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.pipeline.probe.asking import ANSWER_TOKENS, OTHER_TOKENS_NAME
from runner.pipeline.probe.finding import LIMITED, PASSED, SKIPPED, UNCLEAR, is_passing, is_refusal
from runner.pipeline.probe.reading import count_choices, read_answer, read_stream, stop_for, text_of, usage_of

if TYPE_CHECKING:
    from runner.pipeline.probe.asking import Asker, Said
    from runner.pipeline.probe.finding import Probe

_MOST_TOP_LOGPROBS = 20
_FEWER_TOP_LOGPROBS = 5
_SEED = 7
_TOOL = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Get the time.",
        "parameters": {"type": "object", "properties": {}},
    },
}


async def ask_chat(asker: Asker, found: Probe) -> Said:
    """Ask a chat under one name of the longest answer, or the other: chat, usage, and whether the bound is kept."""
    said = await asker.ask(asker.path("chat"), asker.bounded())
    if asker.tokens_name in said.refused:
        found.facts["max_tokens_names"] = {asker.tokens_name: "refused"}
        asker.tokens_name = OTHER_TOKENS_NAME[asker.tokens_name]
        said = await asker.ask(asker.path("chat"), asker.bounded())
    found.facts["chat"] = None if is_passing(said.error) else said.answer is not None
    if said.answer is None:
        note_missing(found, "chat", said)
        return said
    parsed = read_answer(said.answer, "chat")
    text, served = text_of(parsed), parsed.served_model if parsed else None
    asker.text = text
    named = f", calls itself {served}" if served and served != asker.target.model else ""
    found.note("chat", PASSED, f"{text!r:.40} in {said.answer.latency_s:.3f} s{named}")
    usage = usage_of(said.answer)
    found.facts["usage"] = usage.total_tokens is not None
    if usage.total_tokens is None:
        found.note("usage", LIMITED, "the server states no token counts; costs will be unknown")
    else:
        found.note("usage", PASSED, f"{usage.prompt_tokens} prompt + {usage.completion_tokens} completion tokens")
    _note_bound(found, asker.tokens_name, said)
    return said


async def ask_seed(asker: Asker, found: Probe) -> None:
    """Ask twice with one seed, the first time under the other name of the longest answer."""
    other = OTHER_TOKENS_NAME[asker.tokens_name]
    names = found.facts.setdefault("max_tokens_names", {})
    first = await asker.chat({"seed": _SEED}) if other in names else await _ask_seed_as(asker, found, other)
    taken = any(how == "ok" for how in names.values())
    details = ", ".join(f"{name} {'works' if how == 'ok' else f'is {how}'}" for name, how in sorted(names.items()))
    hint = "" if taken else "answers may be longer, and cost more, than asked for"
    found.note("max tokens", PASSED if taken else LIMITED, details, hint)
    if not _note_taken(found, "seed", first, alone=False):
        return
    again = await asker.chat({"seed": _SEED})
    if not _note_taken(found, "seed", again) or first.answer is None or again.answer is None:
        return
    shorter, longer = sorted((text_of(read_answer(said, "chat")) for said in (first.answer, again.answer)), key=len)
    same = bool(shorter) and longer.startswith(shorter)
    found.facts["seed"] = same or None
    detail = "gave the same text twice" if same else "gave another text the second time"
    found.note("seed", PASSED if same else UNCLEAR, f"seed: {_SEED} {detail}")


async def ask_logprobs(asker: Asker, found: Probe) -> None:
    """Ask for log probabilities with as many alternatives as anyone gives, then with fewer."""
    asked = {"logprobs": True, "top_logprobs": _MOST_TOP_LOGPROBS}
    said = await asker.chat(asked)
    if is_refusal(said.error) and not said.refused:
        said = await asker.chat({**asked, "top_logprobs": _FEWER_TOP_LOGPROBS})
    if not _note_taken(found, "logprobs", said) or said.answer is None:
        return
    parsed = read_answer(said.answer, "chat")
    logprobs = parsed.outputs[0][0].logprobs if parsed else None
    if logprobs is None or not logprobs.tokens:
        text = text_of(parsed)
        found.facts["logprobs"] = False if text else None
        detail = "asked for, and left out of the answer without a word" if text else "the answer had no text"
        found.note("logprobs", LIMITED if text else UNCLEAR, detail)
        return
    most = max((len(top) for top in logprobs.top_tokens), default=0)
    found.facts |= {"logprobs": True, "top_logprobs": most}
    more = " or more" if most >= _MOST_TOP_LOGPROBS else ""
    found.note("logprobs", PASSED, f"{len(logprobs.tokens)} tokens, top_logprobs: {most}{more}")


async def ask_choices(asker: Asker, found: Probe) -> None:
    """Ask for two choices."""
    said = await asker.chat({"n": 2})
    if not _note_taken(found, "n", said) or said.answer is None:
        return
    count = count_choices(said.answer)
    found.facts["n"] = count == 2  # noqa: PLR2004 - as asked
    found.note("n", PASSED if found.facts["n"] else LIMITED, f"{count} choice{'s' if count > 1 else ''} for n: 2")


async def ask_knobs(asker: Asker, found: Probe) -> None:
    """Ask with temperature, top_p and something to stop at, taken from the text that came before."""
    stop = stop_for(asker.text)
    said = await asker.chat({"temperature": 0, "top_p": 0.9, **({"stop": [stop]} if stop else {})})
    for name in ("temperature", "top_p"):
        if _note_taken(found, name, said, alone=False):
            found.facts[name] = True
            found.note(name, PASSED, "accepted")
    if stop is None:
        found.note("stop", SKIPPED, "the answer had too little text to stop at")
    elif _note_taken(found, "stop", said, alone=False) and said.answer is not None:
        heeded = stop not in text_of(read_answer(said.answer, "chat"))
        found.facts["stop"] = heeded
        how = "heeded" if heeded else "ignored"
        found.note("stop", PASSED if heeded else LIMITED, f"stop: [{stop!r}] was {how}")


async def ask_stream(asker: Asker, found: Probe) -> None:
    """Ask for a stream with usage in it; a plain POST shows both."""
    body = {**asker.bounded(), "stream": True}
    extras = {"stream_options": {"include_usage": True}}
    said = await asker.ask_without_refused(asker.path("chat"), body, extras, anyway=True)
    if said.answer is None:
        found.facts["stream"] = None if is_passing(said.error) else False
        note_missing(found, "streaming", said)
        return
    streamed = read_stream(said.answer)
    if streamed is None:
        found.facts["stream"] = False
        found.note("streaming", LIMITED, "asked for, and answered in one piece")
        return
    found.facts |= {"stream": True, "stream_usage": streamed.usage}
    without = "stream_options is refused, " if "stream_options" in said.refused else ""
    usage = "with usage" if streamed.usage else f"{without}no usage: token counts will be unknown"
    found.note("streaming", PASSED, f"{streamed.events} events, {usage}")


async def ask_response_format(asker: Asker, found: Probe) -> None:
    """Ask for a JSON object."""
    prompt = "Name one colour, as a JSON object with the key colour."
    said = await asker.chat({"response_format": {"type": "json_object"}}, prompt)
    if not _note_taken(found, "response_format", said) or said.answer is None:
        return
    begins = text_of(read_answer(said.answer, "chat")).lstrip().startswith("{")
    found.facts["response_format"] = begins or None
    detail = "json_object gave JSON" if begins else "json_object was accepted, and the text is no JSON object"
    found.note("response_format", PASSED if begins else UNCLEAR, detail)


async def ask_tools(asker: Asker, found: Probe) -> None:
    """Offer a tool."""
    said = await asker.chat({"tools": [_TOOL]}, "What time is it? Use the tool.")
    if not _note_taken(found, "tools", said) or said.answer is None:
        return
    parsed = read_answer(said.answer, "chat")
    called = bool(parsed and parsed.outputs[0][0].tool_calls)
    found.facts["tools"] = called or None
    found.note("tools", PASSED if called else UNCLEAR, "called" if called else "accepted, and not called")


async def _ask_seed_as(asker: Asker, found: Probe, other: str) -> Said:
    """Ask with a seed under a name of the longest answer that is on trial, too; a refusal of one leaves the other."""
    body = {"messages": asker.bounded()["messages"], other: ANSWER_TOKENS}
    said = known = await asker.ask(asker.path("chat"), {**body, "seed": _SEED})
    if "seed" in said.refused and other not in said.refused:
        known = await asker.ask(asker.path("chat"), body)
    _note_bound(found, other, known)
    return await asker.chat({"seed": _SEED}) if other in said.refused else said


def note_missing(found: Probe, name: str, said: Said) -> None:
    """Note why there is no answer: trouble that may pass, or our own bounds, shows nothing; all else is a no."""
    if said.error is None or is_passing(said.error):
        found.note(name, SKIPPED, said.error.message if said.error else "no answer")
    else:
        found.note(name, LIMITED, said.error.message)


def _note_taken(found: Probe, name: str, said: Said, *, alone: bool = True) -> bool:
    """Say whether a parameter was taken and an answer came; what else came is noted."""
    if name in said.refused:
        found.facts[name] = False
        found.note(name, LIMITED, said.refused[name])
        return False
    if said.answer is None:
        # A refusal that names nothing tells of a parameter only where nothing else is on trial.
        found.facts[name] = None if is_passing(said.error) or not alone else False
        if alone or is_passing(said.error):
            note_missing(found, name, said)
        else:
            found.note(name, UNCLEAR, said.error.message if said.error else "no answer")
        return False
    return True


def _note_bound(found: Probe, name: str, said: Said) -> None:
    """Note what became of one name of the longest answer."""
    names = found.facts.setdefault("max_tokens_names", {})
    if name in said.refused:
        names[name] = "refused"
    elif said.answer is not None:
        used = usage_of(said.answer).completion_tokens
        names[name] = "ignored" if used is not None and used > ANSWER_TOKENS else "ok"
