# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The language of postgresql.conf, read and written as the server does (source: guc-file.l). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

INCLUDES = ("include", "include_if_exists", "include_dir")

_LETTER = r"[A-Za-z_\u0080-\U0010ffff]"
_MORE = r"[A-Za-z_0-9\u0080-\U0010ffff]"
_NAME = rf"{_LETTER}{_MORE}*"
_NUMBER = r"[-+]?(?:0[xX][0-9A-Fa-f]+|\d*\.\d*(?:[Ee][-+]?\d+)?|\d+(?:[Ee][-+]?\d+)?)[A-Za-z]*"
_BARE = rf"{_LETTER}(?:{_MORE}|[-._:/])*"
_LINE = re.compile(
    rf"[ \t\r\f\v]*(?P<name>{_NAME}(?:\.{_NAME})?)(?!{_MORE}|[-.:/])[ \t\r\f\v]*=?[ \t\r\f\v]*"
    rf"(?P<value>'(?:[^'\\\n]|\\.|'')*'|{_NUMBER}|{_BARE})[ \t\r\f\v]*(?:#.*)?"
)
_NOTHING = re.compile(r"[ \t\r\f\v]*(?:#.*)?")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(r"''|\\([0-7]{1,3}|.)", re.S)


@dataclass(frozen=True)
class Line:
    """One line that means something. ``name`` is in lower case, ``value`` without quotes."""

    number: int
    name: str
    value: str

    @property
    def includes(self) -> bool:
        """Whether it names another file instead of a setting."""
        return self.name in INCLUDES


@dataclass(frozen=True)
class Setting:
    """A setting with the place where it was found."""

    name: str
    value: str
    path: str
    number: int


def parse(text: str) -> tuple[list[Line], list[int]]:
    """The meaningful lines of a file, and the numbers of those that the server would not understand."""
    found: list[Line] = []
    malformed: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if _NOTHING.fullmatch(line):
            continue
        match = _LINE.fullmatch(line)
        if match:
            found.append(Line(number, match["name"].lower(), unquote(match["value"])))
        else:
            malformed.append(number)
    return found, malformed


def unquote(token: str) -> str:
    """A value as the server takes it."""
    if not token.startswith("'"):
        return token
    return _ESCAPE.sub(_unescape, token[1:-1])


def _unescape(match: re.Match[str]) -> str:
    what = match[1]
    if what is None:
        return "'"
    if what[0] in "01234567":
        return chr(int(what, 8) & 0xFF)
    return _ESCAPES.get(what, what)


def quote(value: str) -> str:
    """A value as it is written: always in quotes, which the server takes for every type."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return "'" + escaped.replace("\n", "\\n").replace("\r", "\\r") + "'"
