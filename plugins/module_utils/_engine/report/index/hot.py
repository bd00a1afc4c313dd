# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which index keeps updates from being HOT (IX11): one that holds a column which UPDATE statements set.

Counters say that updates are not HOT, and not why. The statements do: what they set is held against what each index
holds, in keys, INCLUDE, expressions and predicates. A statement may set a column to the value that it has; so the index
is named with the statements that may, and no more is claimed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..finding import Says
from ..query import text
from ..session import Look
from .draft import Draft, lack
from .facts import Database, Index, dotted

INSTALLED = """
SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
"""
_UPDATES = """
SELECT query, sum(calls)::bigint FROM {place}.pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query ILIKE '%%update%%set%%'
GROUP BY query
"""
_COLUMN = re.compile(r":varattno (\d+)")
_ENDS = ("WHERE", "FROM", "RETURNING", ";")
#: From 16 on a BRIN index keeps no update from being HOT.
_SUMMARIES = 16


class Assigned(NamedTuple):
    """What a statement sets: the table as it was written, and columns."""

    schema: str | None
    table: str
    columns: frozenset[str]


def named(look: Look, database: Database, major: int, drafts: Iterable[Draft]) -> list[Draft]:
    """The drafts, each IX11 about updates with the indexes that hold what is updated."""
    drafts = list(drafts)
    if not any(one.finding.says.key == "IX11_hot" for one in drafts):
        return drafts
    place = look.ask(INSTALLED, what="extension pg_stat_statements")
    rows = look.ask(_UPDATES.format(place=place[0][0]), what="statements") if place else None
    seen = [(assigned, int(calls)) for query, calls in rows or [] for assigned in sets(str(query or ""))]
    return [
        _told(database, major, one, seen) if one.finding.says.key == "IX11_hot" else one for one in drafts
    ]


def _told(database: Database, major: int, one: Draft, seen: Sequence[tuple[Assigned, int]]) -> Draft:
    thing = one.finding.thing
    table = next(
        oid
        for oid, each in database.tables.items()
        if (each.schema, each.name) == (thing["schema"], thing["name"])
    )
    calls: dict[str, int] = {}
    for assigned, count in seen:
        if assigned.table == thing["name"] and assigned.schema in (None, thing["schema"]):
            for column in assigned.columns:
                calls[column] = calls.get(column, 0) + count
    found = []
    for index in database.of_table.get(table, ()):
        held = {database.column_name(table, number) for number in holds(index)} & set(calls)
        if held and index.ready and not (index.method == "brin" and major >= _SUMMARIES):
            found.append((sum(calls[column] for column in held), index, sorted(held)))
    if not found:
        about = dotted(str(thing["schema"]), str(thing["name"]))
        missing = (*one.finding.missing, lack("no-statement-sets", what=about))
        return replace(one, finding=replace(one.finding, missing=missing))
    found.sort(key=lambda each: (-each[0], each[1].name))
    blockers = [
        {"index": dotted(index.schema, index.name), "columns": held, "calls": count}
        for count, index, held in found
    ]
    said = {
        **one.finding.says.values,
        "blockers": [each["index"] for each in blockers],
        "columns": sorted({column for _count, _index, held in found for column in held}),
        "calls": max(count for count, _index, _held in found),
    }
    finding = replace(
        one.finding,
        says=Says("IX11_hot_named", said),
        value={**one.finding.value, "blockers": blockers},
    )
    return replace(one, finding=finding)


def holds(index: Index) -> set[int]:
    """The columns that an index was made of, wherever it has them."""
    trees = [key.expression for key in index.keys if key.expression] + [index.predicate or ""]
    return (
        {key.column for key in index.keys if key.column}
        | set(index.include)
        | {int(number) for tree in trees for number in _COLUMN.findall(tree)}
    )


def sets(statement: str) -> list[Assigned]:
    """What a statement updates, in each of its parts: UPDATE, and INSERT with ON CONFLICT DO UPDATE."""
    parts = text.tokens(statement)
    words = [part.text.upper() for part in parts]
    found = []
    for place, word in enumerate(words):
        if word != "UPDATE" or "SET" not in words[place:]:
            continue
        if words[place + 1] == "SET":
            into = max((at for at in range(place) if words[at] == "INTO"), default=None)
            start = None if into is None else into + 1
        elif place and words[place - 1] in ("FOR", "KEY"):
            start = None
        else:
            start = place + 1 + (words[place + 1] == "ONLY")
        if start is not None:
            schema, table = _name(parts, start)
            columns = _columns(parts, words, words.index("SET", place) + 1)
            found.append(Assigned(schema, table, frozenset(columns)))
    return found


def _name(parts: Sequence[text.Token], place: int) -> tuple[str | None, str]:
    first = plain(parts[place].text)
    if place + 2 < len(parts) and parts[place + 1].text == ".":
        return first, plain(parts[place + 2].text)
    return None, first


def _columns(parts: Sequence[text.Token], words: Sequence[str], place: int) -> list[str]:
    """Left of each equals sign that is in no parentheses, or all names of a list that is."""
    found, depth, begins = [], 0, True
    while place < len(parts) and not (depth == 0 and words[place] in _ENDS):
        word = words[place]
        if depth == 0 and word == ")":
            break
        if begins and word == "(":
            while place < len(parts) and words[place] != ")":
                found += [plain(parts[place].text)] if words[place] not in ("(", ",", "ROW") else []
                place += 1
            begins = False
        elif begins:
            found.append(plain(parts[place].text))
            begins = False
        elif word in ("(", "["):
            depth += 1
        elif word in (")", "]"):
            depth -= 1
        elif word == "," and depth == 0:
            begins = True
        place += 1
    return found


def plain(name: str) -> str:
    """A name of a statement as the catalogs have it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
