# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which indexes might help: from plans of real statements, not from their texts. Pure.

A plan says which relation a condition is about, whatever the statement calls it, through views and functions as well.
Only what is compared as it stands counts: ``lower(name) = $1`` says nothing of an index on ``name``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from ..index.draft import Create
from ..index.facts import Database, Table

_TEXTS = re.compile(r"'(?:[^']|'')*'")
_NAME = r'(?:[^\W\d]\w*|"(?:[^"]|"")+")'
_COLUMN = rf"(?:(?P<alias>{_NAME})\.)?(?P<column>{_NAME})"
_OPERATOR = r" (?P<operator>=|<=|>=|<|>) "
_PLAIN = re.compile(rf'(?<![\w."]){_COLUMN}{_OPERATOR}')
_CAST = re.compile(rf'(?<![\w"])\({_COLUMN}\)::[a-z ]+(?:\(\d+\))?{_OPERATOR}')
_CONDITIONS = ("Filter", "Index Cond", "Recheck Cond", "Join Filter", "Hash Cond", "Merge Cond")
_MOST_COLUMNS = 3


@dataclass(frozen=True)
class Statement:
    """One statement that is worth a thought. ``load_share`` of all time of all statements."""

    queryid: str
    text: str
    calls: int
    ms: float
    load_share: float


@dataclass
class Use:
    """How statements look at one table: columns compared for equality and for a range, whether it was read whole."""

    equal: set[int] = field(default_factory=set)
    ranges: set[int] = field(default_factory=set)
    sorts: tuple[int, ...] = ()
    whole: bool = False


def uses(plan: Mapping[str, Any], database: Database) -> dict[int, Use]:
    """Table -> how a plan looks at it."""
    by_name = {(table.schema, table.name): table for table in database.tables.values()}
    found: dict[int, Use] = {}
    aliases: dict[str, Table] = {}
    nodes = list(_nodes(plan, ()))
    for node, _above in nodes:
        table = by_name.get((str(node.get("Schema")), str(node.get("Relation Name"))))
        if table:
            aliases[str(node.get("Alias"))] = table
            use = found.setdefault(table.oid, Use())
            use.whole = use.whole or node.get("Node Type") == "Seq Scan"
    for node, above in nodes:
        own = aliases.get(str(node.get("Alias")))
        for name in _CONDITIONS:
            for alias, column, operator in _compared(str(node.get(name) or "")):
                table = aliases.get(alias) if alias else own
                number = _number(database, table, column)
                if table and number:
                    use = found[table.oid]
                    (use.equal if operator == "=" else use.ranges).add(number)
        if own and above and above[-1].get("Node Type") == "Sort":
            keys = [
                _number(database, own, str(key).rpartition(".")[2]) for key in above[-1].get("Sort Key", ())
            ]
            found[own.oid].sorts = tuple(key for key in keys if key) if all(keys) else ()
    return found


def _nodes(
    plan: Mapping[str, Any], above: tuple[Mapping[str, Any], ...]
) -> Iterator[tuple[Mapping[str, Any], tuple[Mapping[str, Any], ...]]]:
    yield plan, above
    for child in plan.get("Plans", ()):
        yield from _nodes(child, (*above, plan))


def _compared(condition: str) -> Iterator[tuple[str, str, str]]:
    bare = _TEXTS.sub("''", condition)
    if " OR " in bare:
        return
    for pattern in (_PLAIN, _CAST):
        for match in pattern.finditer(bare):
            yield _unquoted(match["alias"] or ""), _unquoted(match["column"]), match["operator"]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _number(database: Database, table: Table | None, name: str) -> int:
    columns = database.columns.get(table.oid, {}) if table else {}
    wanted = _unquoted(name)
    return next((number for number, column in columns.items() if column.name == wanted), 0)


def candidates(database: Database, table: int, use: Use) -> list[Create]:
    """Indexes that a table read as a whole might be given for one statement; none that begins as one does already."""
    if not use.whole:
        return []
    equal = sorted(use.equal)[:_MOST_COLUMNS]
    found: list[tuple[int, ...]] = []
    heads = list(permutations(equal)) if len(equal) <= 2 else [tuple(equal)]
    for head in heads if equal else [()]:
        if head:
            found.append(head)
        found.extend((*head, number) for number in sorted(use.ranges - set(head)))
        tail = tuple(number for number in use.sorts if number not in head)
        if tail:
            found.append((*head, *tail))
    found.extend((number,) for number in equal)
    return [
        Create(table, columns)
        for columns in dict.fromkeys(columns[:_MOST_COLUMNS] for columns in found)
        if columns and not has_index(database, table, columns)
    ]


def has_index(database: Database, table: int, columns: Sequence[int]) -> bool:
    """Whether a usable B-tree for all rows begins with these columns, in any order."""
    return any(
        index.method == "btree"
        and index.usable
        and index.predicate is None
        and {key.column for key in index.keys[: len(columns)]} == set(columns)
        for index in database.of_table.get(table, ())
    )


@dataclass(frozen=True)
class Trial:
    """What an index did to the statements of its table: statement -> cost before, cost after."""

    create: Create
    size_bytes: int
    costs: Mapping[str, tuple[float, float]]
    measured: bool = False

    def saved(self, shares: Mapping[str, float]) -> float:
        """The share of all time that it saves, by the planner's costs."""
        return sum(
            shares[key] * (1 - after / before) for key, (before, after) in self.costs.items() if before > 0
        )

    def better(self, factor: float) -> list[str]:
        """Statements whose cost sinks by at least this share."""
        return [key for key, (before, after) in self.costs.items() if before and 1 - after / before >= factor]

    def worse(self) -> list[str]:
        """Statements that cost more with it."""
        return [key for key, (before, after) in self.costs.items() if after > 1.05 * before]
