"""Owns words as each format reads them: what stands in a path comes out again, whatever it is."""

from __future__ import annotations

import json
import re
import shlex

from runner.errors import UsageError

_SYSTEMD_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


def refuse_unusable(path: str) -> None:
    """Refuse a path that cannot stand in one line, or not be shown. Raises UsageError."""
    if not path.isprintable() and any(c in "\n\r\0" or not c.isprintable() for c in path):
        shown = path.encode("unicode_escape").decode()
        raise UsageError(
            f"{shown}: a line break or control character in a path cannot stand in an entry", hint="rename it"
        )


def systemd_word(text: str, *, first: bool = False) -> str:
    """Return one word of an `ExecStart=`; variables are not put into the first word, so `$` stays as it is there."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped if first else escaped.replace("$", "$$")}"'


def systemd_path(text: str) -> str:
    """Return one path of a setting that takes paths: specifiers are expanded there, variables are not."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def systemd_words(text: str) -> list[str]:
    """Return the words of an `ExecStart=` that `systemd_word` wrote."""
    found = _SYSTEMD_WORD.findall(text)
    return [_ESCAPED.sub(r"\1", word).replace("%%", "%").replace("$$", "$") for word in found]


def shell_word(text: str) -> str:
    """Return one word for a POSIX shell."""
    return shlex.quote(text)


def cron_words(line: str) -> list[str]:
    """Return the words of the command that a crontab line's shell ends in; none where it was changed into another."""
    try:
        *_, script = shlex.split(line.replace("\\%", "%"))
        return shlex.split(script.partition("; exec ")[2])
    except ValueError:  # no word at all, or a quote without its other half
        return []


def cron_command(command: str) -> str:
    """Return a shell command as a crontab line holds it: cron itself reads `%` as the end of the line."""
    return command.replace("%", "\\%")


def yaml_text(text: str) -> str:
    """Return a text as YAML: JSON's form is a double-quoted scalar."""
    return json.dumps(text, ensure_ascii=False)
