# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whether anybody asks for what most entries of an index are (IX09): which statements compare its first column.

``column IS NULL`` stands in a text as it was written, so of nulls the texts tell. Of a value they do not: constants are
not kept. A statement that sorts by the column may read the index from end to end, nulls and all, and counts as one that
asks. Statements that were thrown out of pg_stat_statements are not known, so nothing here is more than heuristic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..finding import Says
from ..query import text
from ..session import Look
from .draft import PARTIAL, Draft
from .facts import Database
from .hot import INSTALLED, plain

_TEXTS = """
SELECT query, sum(calls)::bigint FROM {place}.pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND lower(query) LIKE ANY(%s) GROUP BY query
"""
_NAMED = 5


class Asked(NamedTuple):
    """A statement that speaks of a column of a table; ``whole``: it asks for nulls, or for all in order."""

    name: str
    calls: int
    whole: bool


def asked(look: Look, database: Database, drafts: Iterable[Draft]) -> list[Draft]:
    """The drafts, each IX09 with what the statements say of its column."""
    drafts = list(drafts)
    columns = {str(one.finding.says.values["column"]) for one in drafts if one.finding.name == "IX09"}
    place = look.ask(INSTALLED, what="extension pg_stat_statements") if columns else None
    if not place:
        return drafts
    patterns = [f"%{_escaped(column.lower())}%" for column in sorted(columns)]
    rows = look.ask(_TEXTS.format(place=place[0][0]), [patterns], what="statements")
    if rows is None:
        return drafts
    return [_told(database, one, rows) if one.finding.name == "IX09" else one for one in drafts]


def _escaped(name: str) -> str:
    """A name as LIKE takes it; in a text its quotes are doubled."""
    doubled = name.replace('"', '""')
    return "".join("\\" + letter if letter in "\\%_" else letter for letter in doubled)


def _told(database: Database, one: Draft, rows: Sequence[tuple[object, ...]]) -> Draft:
    index = database.by_oid[one.index]
    column = str(one.finding.says.values["column"])
    table = database.tables[index.table]
    found = [
        said
        for query, calls in rows
        for said in (judged(str(query or ""), int(str(calls)), table.name, column),)
        if said is not None
    ]
    found.sort(key=lambda each: (-each.calls, each.name))
    blockers = [each for each in found if each.whole]
    nulls = one.finding.says.key == "IX09_nulls"
    if not found:
        return one
    shown = blockers if nulls and blockers else found
    values = {
        **one.finding.says.values,
        "statements": len(shown),
        "calls": sum(each.calls for each in shown),
        "ids": [each.name for each in shown[:_NAMED]],
    }
    told = [each._asdict() for each in found]
    key = "IX09_common_asked" if not nulls else "IX09_nulls_asked" if blockers else "IX09_nulls_free"
    free = key == "IX09_nulls_free"
    finding = replace(
        one.finding,
        says=Says(key, values),
        value={**one.finding.value, "statements": told[:50]},
        missing=() if free else one.finding.missing,
    )
    return replace(one, finding=finding, deed=PARTIAL if free and not index.partitioned else one.deed)


def judged(query: str, calls: int, table: str, column: str) -> Asked | None:
    """What a statement asks of a column; None where it does not speak of it. Pure."""
    parts = text.tokens(query)
    names = [plain(part.text) if part.kind in ("word", "name") else part.text for part in parts]
    if text.is_utility(parts) or table not in names or column not in names:
        return None
    words = [part.text.upper() for part in parts]
    whole = False
    for place, name in enumerate(names):
        if name != column:
            continue
        whole = whole or words[place + 1 : place + 3] == ["IS", "NULL"] or _sorts(words, place)
    return Asked(text.fingerprint(query), calls, whole)


def _sorts(words: Sequence[str], place: int) -> bool:
    """Whether a word stands in ORDER BY."""
    for at in range(place, 0, -1):
        if words[at] in ("SELECT", "WHERE", "FROM", "SET", ";"):
            return False
        if words[at] == "BY":
            return words[at - 1] == "ORDER"
    return False
