"""Owns making other people's words harmless in a chat or a mail: they stay readable, and nothing in them acts.

Model output, ids out of a dataset and messages of servers end up in channels that turn text into mentions, links with
a preview, formatting and commands. Signs that start any of these are replaced by look-alikes, line ends by blanks, so
that no line can be forged; invisible and reordering signs go. Sources: Slack's "Formatting text for app surfaces"
(`<!channel>`, `<@U…>`), Discord's "Message formatting" (`@everyone`, `<@…>`, ``` and `||`), Mattermost (`@all`).
"""

from __future__ import annotations

import re
import unicodedata

_LOOK_ALIKES = str.maketrans(
    {
        "@": "\N{FULLWIDTH COMMERCIAL AT}",
        "#": "\N{FULLWIDTH NUMBER SIGN}",
        "<": "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
        ">": "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
        "[": "\N{LEFT SQUARE BRACKET WITH QUILL}",
        "]": "\N{RIGHT SQUARE BRACKET WITH QUILL}",
        "`": "\N{MODIFIER LETTER GRAVE ACCENT}",
        "|": "\N{BROKEN BAR}",
        "*": "\N{ASTERISK OPERATOR}",
        "~": "\N{TILDE OPERATOR}",
    }
)
# A scheme makes a link, also an application's own (`tg:`, `mailto:`); a dot between letters makes one of a bare host.
_SCHEME = re.compile(r":(?=//)|(?<=mailto):|(?<=tel):", re.IGNORECASE)
_HOST_DOT = re.compile(r"(?<=[^\W_])\.(?=[^\W\d_]{2})")
_BLANKS = re.compile(r"\s+")
# Other controls, format signs (zero width, bidirectional), surrogates, private use and unassigned.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn"}


def harmless(text: str, most: int) -> str:
    """Return other people's text on one line, `most` characters at most, with nothing in it that a channel acts on."""
    return _HOST_DOT.sub("\N{ONE DOT LEADER}", named(text, most))


def named(text: str, most: int) -> str:
    """Return what `harmless` does with dots as they are: for names and paths, which are the config's and get copied."""
    return _SCHEME.sub("\N{RATIO}", one_line(text, most).translate(_LOOK_ALIKES))


def one_line(text: str, most: int) -> str:
    """Return the text on one line, cut at `most` characters, without unseen signs; for data that nobody renders."""
    # What is far behind the cut need not be looked at: a model's answer may be of any length.
    blank = _BLANKS.sub(" ", text[: 4 * most])
    seen = "".join(c for c in blank if unicodedata.category(c) not in _UNSEEN).strip()
    return seen if len(seen) <= most and len(text) <= 4 * most else seen[: most - 1].rstrip() + "…"
