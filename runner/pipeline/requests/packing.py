"""Owns packing: inputs of several samples in one request, within limits, and taking such a request apart again. Pure.

A sample's key, digest and everything else that identifies it are those of a request of its own: packing is how samples
travel. A pack of one sample is that sample's own request, but for the encoding that is asked for by default, and for
the array in which an adapter may put one input, too.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from itertools import accumulate, compress
from typing import TYPE_CHECKING, Any

from runner.digest import digest128
from runner.pipeline.requests.cases import CaseColumns, PackedCases
from runner.records import Request, Wrapping, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence, Sized

    from runner.config import RunConfig
    from runner.endpoints import Endpoint, Template

# OpenAI API reference, "Create embeddings": at most 2,048 inputs in an array, and 300,000 tokens summed over them.
MOST_INPUTS = 2_048
MOST_TOKENS = 300_000
# A body stays below nginx's default for what it lets through, 1 MiB, with all that stands around the inputs.
MOST_BYTES = 1_000_000
# An answer's vectors take far more than the inputs, and lie in memory more than once on their way. How much more, the
# first answer shows.
MOST_ANSWER_BYTES = 6 << 20
# Packs that are being filled at the same time, where bodies differ by more than their inputs.
_MOST_OPEN = 32
# Bytes of a token, so that the estimate is rather too high: of plain English, and of everything else.
_ASCII_BYTES, _OTHER_BYTES = 3, 2
_NOTHING = Wrapping(b"", b"")


@dataclass(frozen=True, slots=True)
class PackLimits:
    """The most of a pack; a single input beyond them is a pack of its own. Tokens are estimates.

    `answer_bytes` is how large an answer may get before the packs get smaller, null where the config says how many
    inputs there are in a pack.
    """

    inputs: int = MOST_INPUTS
    tokens: int = MOST_TOKENS
    size_bytes: int = MOST_BYTES
    answer_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Packing:
    """How a run packs: within which limits, the template of one input, and those of a body's other fields.

    Where an adapter makes the body, `around` gives what stands before and after the array of inputs in it, of the other
    fields' values.
    """

    limits: PackLimits
    content: Template
    others: Mapping[str, Template]
    around: Callable[[Mapping[str, Any]], tuple[bytes, bytes]] | None = None


@value
class Loose:
    """Cases that can share requests: their inputs as JSON, and what stands around each of them, the same for all."""

    cases: CaseColumns
    contents: list[bytes]
    path: str
    choices: int
    wrapping: Wrapping

    def only(self, chosen: Sequence[bool]) -> Loose:
        """Return some of the cases."""
        return replace(self, cases=self.cases.only(chosen), contents=list(compress(self.contents, chosen)))


def limits_of(config: RunConfig, endpoint: Endpoint) -> PackLimits | None:
    """Return how a run packs; null where every sample is a request of its own."""
    size, packable = config.request.batch_size, endpoint.packable
    # One stream holds one answer.
    if packable is None or config.request.stream:
        return None
    most_answer = MOST_ANSWER_BYTES if size == "auto" else None
    if size == "auto":
        size = (packable.most or MOST_INPUTS) if packable.by_default else 1
    if size == 1 and packable.encoding is None:
        return None
    # A pack beyond what the server permits in a minute would never be let through.
    per_minute = config.limits.tokens_per_minute
    tokens = MOST_TOKENS if per_minute is None else max(1, min(MOST_TOKENS, int(per_minute)))
    return PackLimits(size, tokens, answer_bytes=most_answer)


@dataclass(slots=True)
class _Open:
    """A pack that is being filled."""

    first: Loose
    cases: CaseColumns = field(default_factory=CaseColumns.empty)
    contents: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    tokens: int = 0


class Packer:
    """Fills packs in the order of what comes; one that is full, or would be too full with the next, goes out."""

    __slots__ = ("_limits", "_open")

    def __init__(self, limits: PackLimits) -> None:
        self._limits = limits
        self._open: dict[tuple[Wrapping, bytes], _Open] = {}

    def add(self, loose: Loose) -> list[Request]:
        """Take in some cases and return the packs that are ready to go."""
        kinds = {content[:1] for content in loose.contents}
        if len(kinds) == 1:
            return self._add_alike(loose, kinds.pop())
        ready = []
        for kind in sorted(kinds):  # texts and token ids never share an array
            chosen = [content[:1] == kind for content in loose.contents]
            ready += self._add_alike(loose.only(chosen), kind)
        return ready

    def _add_alike(self, loose: Loose, kind: bytes) -> list[Request]:
        ready: list[Request] = []
        limits, count = self._limits, len(loose.contents)
        if limits.inputs == 1:
            return _close_each(loose)
        # Sums of all that comes before an input (each takes a comma), so that what fits is looked up, not counted out.
        sizes = list(accumulate([len(content) + 1 for content in loose.contents], initial=0))
        tokens = list(accumulate(_count_all(loose.contents, kind), initial=0))
        start = 0
        while start < count:
            pack = self._pack_of(loose, kind, ready)
            by_size = bisect_right(sizes, limits.size_bytes - pack.size_bytes + sizes[start], lo=start) - 1
            by_tokens = bisect_right(tokens, limits.tokens - pack.tokens + tokens[start], lo=start) - 1
            end = min(by_size, by_tokens, start + limits.inputs - len(pack.contents))
            end = max(end, start if pack.contents else start + 1)  # whatever its size, an empty pack takes one
            pack.cases.add(loose.cases[start:end])
            pack.contents += loose.contents[start:end]
            pack.size_bytes += sizes[end] - sizes[start]
            pack.tokens += tokens[end] - tokens[start]
            if end < count or len(pack.contents) == limits.inputs:
                ready.append(_close(self._open.pop((loose.wrapping, kind))))
            start = end
        return ready

    def _pack_of(self, loose: Loose, kind: bytes, ready: list[Request]) -> _Open:
        pack = self._open.get((loose.wrapping, kind))
        if pack is None:
            if len(self._open) >= _MOST_OPEN:
                ready.append(_close(self._open.pop(next(iter(self._open)))))
            pack = self._open[loose.wrapping, kind] = _Open(loose)
        return pack

    def flush(self) -> list[Request]:
        """Return what is left."""
        packs = [_close(pack) for pack in self._open.values()]
        self._open.clear()
        return packs


def count_tokens(content: bytes) -> int:
    """Estimate the tokens of one input as JSON: a text, or a list of token ids."""
    if content[:1] == b"[":
        return content.count(b",") + 1
    return len(content) // (_ASCII_BYTES if content.isascii() else _OTHER_BYTES) + 1


def _count_all(contents: Sequence[bytes], kind: bytes) -> Iterable[int]:
    """Return `count_tokens` of inputs that are all of one kind."""
    if kind == b"[" or not all(map(bytes.isascii, contents)):
        return map(count_tokens, contents)
    return [len(content) // _ASCII_BYTES + 1 for content in contents]


def take_apart(request: Request, sizes: Sequence[int]) -> list[Request]:
    """Return the requests that hold the first `sizes[0]` cases of a pack, the next `sizes[1]`, and so on."""
    wrapping, cases = _pack(request)
    if sum(sizes) != len(cases):
        raise ValueError("not all of the pack")
    contents, place = [], len(wrapping.before) + _in_array(wrapping, cases)
    for size in cases.sizes:
        contents.append(request.body[place : place + size])
        place += size + 1
    parts, start = [], 0
    for size in sizes:
        chosen = slice(start, start + size)
        parts.append(_request(request, wrapping, cases[chosen], contents[chosen]))
        start += size
    return parts


def single_out(request: Request, position: int) -> tuple[Request, Request]:
    """Return the request of one case of a pack, and that of the others."""
    sizes = [size for size in (position, 1, len(request.cases) - position - 1) if size]
    parts = take_apart(request, sizes)
    single = parts.pop(1 if position else 0)
    if len(parts) == 1:
        return single, parts[0]
    (wrapping, cases), (_, behind) = map(_pack, parts)
    cases.add(behind)
    return single, _request(request, wrapping, cases, list(map(_inputs, parts)))


def without_encoding(request: Request) -> Request:
    """Return the request without the encoding that is asked for by default; it keeps its key."""
    wrapping = request.wrapping
    if wrapping is None or wrapping.plain is None:
        return request
    body = wrapping.plain + request.body[len(wrapping.before) :]
    return replace(request, body=body, wrapping=replace(wrapping, before=wrapping.plain, plain=None))


def _pack(request: Request) -> tuple[Wrapping, CaseColumns]:
    if request.wrapping is None or not isinstance(request.cases, PackedCases):
        raise ValueError("the request cannot be taken apart")
    return request.wrapping, request.cases.columns()


def _inputs(request: Request) -> bytes:
    around = request.wrapping or _NOTHING
    content = request.body[len(around.before) : len(request.body) - len(around.after)]
    return content[1:-1] if _in_array(around, request.cases) else content


def _in_array(wrapping: Wrapping, cases: Sized) -> bool:
    return len(cases) > 1 or wrapping.always_array


def _close(pack: _Open) -> Request:
    first = pack.first
    model = Request(b"", first.path, b"", (), first.choices, 0)
    return _request(model, first.wrapping, pack.cases, pack.contents)


def _close_each(loose: Loose) -> list[Request]:
    """Return a request for each input."""
    around, path, choices = loose.wrapping, loose.path, loose.choices
    packed = zip(loose.cases.keys, PackedCases.each(loose.cases), loose.contents, strict=True)
    return [
        Request(
            key,
            path,
            b"".join((around.before, b"[%b]" % content if around.always_array else content, around.after)),
            cases,
            choices,
            len(content) // 4 + around.answer_tokens,
            wrapping=around,
            answer_tokens=around.answer_tokens,
            unbounded=around.unbounded,
        )
        for key, cases, content in packed
    ]


def _request(model: Request, wrapping: Wrapping, cases: CaseColumns, contents: Sequence[bytes]) -> Request:
    inputs = b",".join(contents)
    key = digest128(b"pack" + b"".join(cases.keys).hex().encode()) if len(cases) > 1 else cases.keys[0]
    content = b"".join((b"[", inputs, b"]")) if _in_array(wrapping, cases) else inputs
    body = b"".join((wrapping.before, content, wrapping.after))
    answer_tokens = len(cases) * wrapping.answer_tokens
    return Request(
        key,
        model.path,
        body,
        PackedCases.of(cases),
        model.choices,
        len(inputs) // 4 + answer_tokens,
        wrapping=wrapping,
        answer_tokens=answer_tokens,
        unbounded=wrapping.unbounded,
    )
