# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The text of a statement as far as it may be shown, and a fingerprint that is the same on every host. Pure.

pg_stat_statements keeps comments, many literals of utility statements (passwords of roles among them), and of others
what was there when an entry was evicted too early. So every text is made anew here, from its tokens.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

NONE, NORMALISED, SAMPLE = "none", "normalised", "sample"
LEVELS = (NONE, NORMALISED, SAMPLE)
#: A text that is longer was cut off when it was read.
LONGEST = 6000
#: What may begin a statement whose structure may be shown; the rest are utility statements.
_QUERIES = {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE"}
#: Words that say what a utility statement is; everything else in it stays hidden.
_KEYWORDS = """
ABORT ALTER ANALYZE ANALYSE BEGIN CALL CHECKPOINT CLOSE CLUSTER COMMENT COMMIT COPY CREATE DEALLOCATE DECLARE
DISCARD DO DROP END EXECUTE EXPLAIN FETCH GRANT IMPORT INDEX LISTEN LOAD LOCK MOVE NOTIFY PREPARE REASSIGN
REFRESH REINDEX RELEASE RESET REVOKE ROLLBACK SAVEPOINT SECURITY SET SHOW START TRUNCATE UNLISTEN VACUUM TABLE
ROLE USER GROUP DATABASE SCHEMA EXTENSION FUNCTION PROCEDURE TRIGGER VIEW MATERIALIZED SEQUENCE TYPE DOMAIN
POLICY RULE PUBLICATION SUBSCRIPTION SERVER MAPPING FOREIGN DATA WRAPPER TABLESPACE TEMP TEMPORARY UNLOGGED
UNIQUE CONCURRENTLY TRANSACTION PREPARED SESSION LOCAL STATISTICS SYSTEM OWNED DEFAULT PRIVILEGES EVENT
AGGREGATE CAST COLLATION CONVERSION OPERATOR LANGUAGE OR REPLACE IF NOT EXISTS
"""
_UTILITY = frozenset(_KEYWORDS.split())
_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<line>--[^\n]*)
    | (?P<block>/\*)
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<escaped>[eE]')
    | (?P<quoted>(?:[bBxXnN]|[uU]&)?')
    | (?P<name>(?:[uU]&)?")
    | (?P<parameter>\$\d+)
    | (?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?(?:[xXoObB][0-9a-fA-F_]+)?)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<operator>(?:(?!--|/\*)[-+*/<>=~!@\#%^&|`?])+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ENDS = {
    "escaped": re.compile(r"(?:[^'\\]|\\.|'')*(?:'|\Z)", re.DOTALL),
    "quoted": re.compile(r"(?:[^']|'')*(?:'|\Z)", re.DOTALL),
    "name": re.compile(r'(?:[^"]|"")*(?:"|\Z)', re.DOTALL),
}
_KINDS = dict.fromkeys(("dollar", "escaped", "quoted", "parameter", "number"), "literal")
_LIST = re.compile(r"(\(|\[)\s*\?(?:\s*,\s*\?)*\s*(\)|\])")
_ROWS = re.compile(r"\(\s*\?\s*\)(?:\s*,\s*\(\s*\?\s*\))+")


class Token(NamedTuple):
    """A piece of a statement; ``kind`` is ``word``, ``name``, ``literal``, ``operator`` or ``other``; ``apart``: white
    space or a comment was before it."""

    kind: str
    text: str
    apart: bool


# A text is shown and named one after the other, and reading it is what costs.
@lru_cache(maxsize=1)
def tokens(text: str) -> tuple[Token, ...]:
    """Without white space and comments; a literal that has no end goes to the end of the text."""
    found: list[Token] = []
    position, apart = 0, False
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            break
        kind, start, position = str(match.lastgroup), position, match.end()
        if kind in ("space", "line", "block"):
            position = _comment_end(text, position) if kind == "block" else position
            apart = True
            continue
        if kind == "dollar":
            end = text.find(match[0], position)
            position = len(text) if end < 0 else end + len(match[0])
        elif kind in _ENDS:
            closing = _ENDS[kind].match(text, position)
            position = closing.end() if closing else len(text)
        found.append(Token(_KINDS.get(kind, kind), text[start:position], apart))
        apart = False
    return tuple(found)


def is_utility(parts: Sequence[Token]) -> bool:
    """Whether it is anything but a query or a change of rows."""
    first = [part.text for part in parts if part.text != "("][:1]
    return not first or first[0].upper() not in _QUERIES


def is_single(text: str) -> bool:
    """Whether it is one statement: nothing follows a semicolon."""
    return all(part.text != ";" for part in tokens(text)[:-1])


def normalised(text: str) -> str:
    """Comments gone, literals and parameters as ``?``, lists of them as one; of a utility statement its keywords."""
    parts = tokens(text)
    if is_utility(parts):
        words = []
        for part in parts:
            if part.kind != "word" or part.text.upper() not in _UTILITY:
                break
            words.append(part.text.upper())
        return " ".join([*(words or ["utility statement"]), "…"])
    said = (f"{' ' if part.apart else ''}{'?' if part.kind == 'literal' else part.text}" for part in parts)
    return _collapsed("".join(said)).strip()


def fingerprint(text: str, *, more: str = "") -> str:
    """Names a statement on every host and version: of its tokens, without case, literals and lengths of lists.

    ``more``: what tells apart texts that were cut off.
    """
    parts = list(tokens(text))
    while parts and parts[-1].text == ";":
        parts.pop()
    words = {"literal": lambda _text: "?", "word": str.lower}
    said = " ".join(words.get(part.kind, str)(part.text) for part in parts)
    return hashlib.sha256(f"{_collapsed(said)}\0{more}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def shown(text: str, level: str, length: int) -> str | None:
    """What the report may show of a text. Of a utility statement never more than its keywords."""
    if level == NONE:
        return None
    whole = text.strip() if level == SAMPLE and not is_utility(tokens(text)) else normalised(text)
    return whole if len(whole) <= length else whole[: max(0, length - 1)] + "…"


def _collapsed(text: str) -> str:
    return _ROWS.sub("(?)", _LIST.sub(r"\1?\2", text))


def _comment_end(text: str, position: int) -> int:
    depth = 1
    while depth and position < len(text):
        if text.startswith("/*", position):
            depth, position = depth + 1, position + 2
        elif text.startswith("*/", position):
            depth, position = depth - 1, position + 2
        else:
            position += 1
    return position
