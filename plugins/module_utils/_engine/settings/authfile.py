# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Lines, fields and tokens of pg_hba.conf and pg_ident.conf, split exactly as the server splits them.

Source: ``next_token``, ``next_field_expand`` and ``tokenize_auth_file`` of src/backend/libpq/hba.c, 14 to 18.
Included files are not followed here: whether one may be included at all is for the caller to decide.
"""

from __future__ import annotations

from dataclasses import dataclass

#: 14 and 15 read a token into a buffer of this many bytes, its end included; minor releases before 2023: 256.
_LONGEST_TOKEN_BYTES = 10240
_BLANK = " \t\r"


@dataclass(frozen=True)
class Token:
    """A word, and whether any part of it was quoted: a quoted keyword is a name like any other."""

    text: str
    quoted: bool = False
    #: The first character was a quote: ``"@file"`` is a name, not a file.
    starts_quoted: bool = False

    def is_keyword(self, word: str) -> bool:
        """Whether it is that keyword."""
        return not self.quoted and self.text == word

    @property
    def is_file(self) -> bool:
        """Whether the names are to be read from a file."""
        return not self.starts_quoted and self.text.startswith("@") and len(self.text) > 1


#: Alternatives, separated by commas in the file.
Field = tuple[Token, ...]


class Malformed(Exception):
    """A line that the server would not take. ``hint`` says what would be right."""

    def __init__(self, happened: str, hint: str = "") -> None:
        super().__init__(happened)
        self.happened = happened
        self.hint = hint


@dataclass(frozen=True)
class Line:
    """One line that holds something. ``number`` is that of its first line in the file, from 1."""

    number: int
    text: str

    def fields(self, major: int) -> list[Field]:
        """Its fields; none for a comment. Raises :class:`Malformed`."""
        found: list[Field] = []
        rest: str | None = self.text
        while rest:
            field, rest = _field(rest, major)
            if field:
                found.append(field)
        return found


def lines(text: str) -> list[Line]:
    """All lines, those that end with a backslash joined with the next (also in a comment)."""
    found: list[Line] = []
    start, parts = 1, ""
    for number, raw in enumerate(text.split("\n"), 1):
        part = raw.rstrip("\r")
        # A backslash that continues nothing new is part of the text: an empty line ends a continuation.
        if part.endswith("\\"):
            parts += part[:-1]
            continue
        parts += part
        if parts.strip(_BLANK):
            found.append(Line(start, parts))
        start, parts = number + 1, ""
    if parts.strip(_BLANK):
        found.append(Line(start, parts))
    return found


def _field(text: str, major: int) -> tuple[Field, str]:
    """The next field and what is left."""
    tokens: list[Token] = []
    while True:
        token, comma, text = _token(text, major)
        if token is not None:
            tokens.append(token)
        if token is None or not comma:
            return tuple(tokens), text


def _token(text: str, major: int) -> tuple[Token | None, bool, str]:
    """The next token, whether a comma ended it, and what is left."""
    position = 0
    while position < len(text) and text[position] in f"{_BLANK},":
        position += 1
    word: list[str] = []
    quoting = quoted = starts_quoted = after_quote = False
    while position < len(text):
        letter = text[position]
        position += 1
        if letter in _BLANK and not quoting:
            # The blank stays: the next call skips it.
            position -= 1
            break
        if letter == "#" and not quoting:
            position = len(text)
            break
        if letter == "," and not quoting:
            return _finished(word, quoted, starts_quoted, major), True, text[position:]
        if letter != '"' or after_quote:
            word.append(letter)
        after_quote = quoting and letter == '"' and not after_quote
        if letter == '"':
            quoting, quoted = not quoting, True
            starts_quoted = starts_quoted or not word
    return _finished(word, quoted, starts_quoted, major), False, text[position:]


def _finished(word: list[str], quoted: bool, starts_quoted: bool, major: int) -> Token | None:
    text = "".join(word)
    if major < 16 and len(text.encode()) >= _LONGEST_TOKEN_BYTES:
        raise Malformed(
            f"a word of {len(text.encode())} bytes is longer than PostgreSQL {major} reads",
            f"Keep words below {_LONGEST_TOKEN_BYTES} bytes.",
        )
    return Token(text, quoted, starts_quoted) if text or quoted else None
