"""Owns which of several choices a text or a target means: by letter, by number, by its words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

TargetForm: TypeAlias = 'Literal["auto", "letter", "index", "text"]'
_LONGEST = 100_000
_END = 2_000


class Letters:
    """Finds the letter of a choice in texts; `letters` are those that there are, in order."""

    def __init__(self, letters: str) -> None:
        self.count = len(letters)
        self._known = {letter.upper(): number for number, letter in enumerate(letters)}
        one = f"[{re.escape(letters.upper())}{re.escape(letters.lower())}]"
        sure = f"[{re.escape(letters.upper())}]"
        wrapped = rf"[*_`\"'(\[]{{0,4}}(?P<letter>{one})(?![\w'])"
        # From what says most to what says least. Each place of a text is looked at once or a few times.
        self._whole = re.compile(rf"\W{{0,20}}(?P<letter>{one})\W{{0,20}}")
        self._said = (
            re.compile(rf"\\boxed\{{(?:\\text\{{)?[ (]{{0,3}}(?P<letter>{one})[ ).}}]"),
            re.compile(rf"(?i:\b(?:answer|choice|option)\b[*_`]{{0,3}}(?: is| would be)?[ ]?[:=]?\s{{0,3}}){wrapped}"),
        )
        self._begun = re.compile(rf"\s{{0,20}}[*_`(\[]{{0,4}}(?P<letter>{one})[)\].:,*]")
        self._marked = re.compile(rf"\((?P<letter>{sure})\)|(?<!\w)(?P<other>{sure})(?=[).:]|\s*\Z)")

    def place(self, letter: str) -> int | None:
        """Return the place of one letter, null if there is no such choice."""
        return self._known.get(letter.upper())

    def of_token(self, token: str) -> int | None:
        """Return the place of the letter that a token is, with what stands around letters; null if it is none."""
        return self.place(token.strip(" \t\n()[].:\"'\u2581\u0120"))

    def find(self, text: str) -> int | None:
        """Return the place of the choice that an answer names; null if it names none.

        A text that is a letter and nothing else; the last that is boxed or said to be the answer; one that the text
        begins with, as `B)`; the last in capitals with a bracket, point or colon, or at the end.
        """
        text = text[-_LONGEST:]
        found = self._whole.fullmatch(text.strip()) if len(text) < _END else None
        if found is None:
            for pattern in self._said:
                for found in pattern.finditer(text):  # noqa: B007 - the last one is wanted
                    pass
                if found is not None:
                    break
        found = found or self._begun.match(text)
        if found is not None:
            return self.place(found["letter"])
        for found in self._marked.finditer(text):  # noqa: B007 - the last one is wanted
            pass
        return None if found is None else self.place(found["letter"] or found["other"])


def target_place(target: str, form: TargetForm, letters: Letters, texts: Sequence[str] | None) -> int | None:
    """Return the place of the right choice; null where the target names none of them.

    `auto` takes the text of a choice first, then its index from 0, then its letter.
    """
    target = target.strip()
    if form in {"auto", "text"} and texts is not None:
        stripped = [text.strip() for text in texts]
        if target in stripped:
            return stripped.index(target)
    if form in {"auto", "index"} and target.isdecimal() and len(target) < 4:  # noqa: PLR2004 - digits of a place
        place = int(target)
        return place if place < (letters.count if texts is None else len(texts)) else None
    if form in {"auto", "letter"}:
        return letters.of_token(target)
    return None
