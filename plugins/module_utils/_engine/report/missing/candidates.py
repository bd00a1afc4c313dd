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
COLUMN = rf"(?:(?P<alias>{_NAME})\.)?(?P<column>{_NAME})"
_OPERATOR = r" (?P<operator>=|<=|>=|<|>) "
_PLAIN = re.compile(rf'(?<![\w."]){COLUMN}{_OPERATOR}')
_CAST = re.compile(rf'(?<![\w"])\({COLUMN}\)::[a-z ]+(?:\(\d+\))?{_OPERATOR}')
_CONDITIONS = ("Filter", "Index Cond", "Recheck Cond", "Join Filter", "Hash Cond", "Merge Cond")
_MOST_COLUMNS = 3
_MOST_WAL = 2


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
    found: dict[int, Use] = {}
    aliases = aliases_of(plan, database)
    nodes = list(nodes_of(plan, ()))
    for node, _above in nodes:
        table = aliases.get(str(node.get("Alias")))
        if table and node.get("Relation Name") == table.name:
            use = found.setdefault(table.oid, Use())
            use.whole = use.whole or node.get("Node Type") == "Seq Scan"
    for node, above in nodes:
        own = aliases.get(str(node.get("Alias")))
        for name in _CONDITIONS:
            for alias, column, operator in _compared(str(node.get(name) or "")):
                table = aliases.get(alias) if alias else own
                number = number_of(database, table, column)
                if table and number:
                    use = found[table.oid]
                    (use.equal if operator == "=" else use.ranges).add(number)
        if own and above and above[-1].get("Node Type") == "Sort":
            keys = [
                number_of(database, own, str(key).rpartition(".")[2]) for key in above[-1].get("Sort Key", ())
            ]
            found[own.oid].sorts = tuple(key for key in keys if key) if all(keys) else ()
    return found


def aliases_of(plan: Mapping[str, Any], database: Database) -> dict[str, Table]:
    """What a plan calls the tables that it reads."""
    by_name = {(table.schema, table.name): table for table in database.tables.values()}
    found = {}
    for node, _above in nodes_of(plan, ()):
        table = by_name.get((str(node.get("Schema")), str(node.get("Relation Name"))))
        if table:
            found[str(node.get("Alias"))] = table
    return found


def nodes_of(
    plan: Mapping[str, Any], above: tuple[Mapping[str, Any], ...]
) -> Iterator[tuple[Mapping[str, Any], tuple[Mapping[str, Any], ...]]]:
    """Each node of a plan with those above it."""
    yield plan, above
    for child in plan.get("Plans", ()):
        yield from nodes_of(child, (*above, plan))


def _compared(condition: str) -> Iterator[tuple[str, str, str]]:
    bare = _TEXTS.sub("''", condition)
    if " OR " in bare:
        return
    for pattern in (_PLAIN, _CAST):
        for match in pattern.finditer(bare):
            yield unquoted(match["alias"] or ""), unquoted(match["column"]), match["operator"]


def unquoted(name: str) -> str:
    """A name without its quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def number_of(database: Database, table: Table | None, name: str) -> int:
    """A column's number, or 0."""
    columns = database.columns.get(table.oid, {}) if table else {}
    wanted = unquoted(name)
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
class Run:
    """One execution: blocks touched, milliseconds; of one that writes also bytes of WAL and rows."""

    blocks: int
    ms: float
    wal_bytes: int | None = None
    rows: int | None = None

    @property
    def writes(self) -> bool:
        """Whether rows were changed."""
        return bool(self.rows and self.wal_bytes)

    def is_worse_than(self, before: Run) -> bool:
        """Whether it reads clearly more. Every index costs a write something: that is told as a cost, and only WAL that
        is more than twice as much as worse (updates that cannot be HOT any more, an index as large as its table)."""
        if self.writes and before.writes:
            return int(self.wal_bytes or 0) > _MOST_WAL * int(before.wal_bytes or 0)
        return self.blocks > 1.25 * before.blocks + 8


@dataclass(frozen=True)
class Trial:
    """What an index did to the statements of its table: statement -> cost before, cost after."""

    create: Create
    size_bytes: int
    costs: Mapping[str, tuple[float, float]]
    #: Statement -> sample -> what it read before and after, where it could be run on a copy.
    runs: Mapping[str, Mapping[str, tuple[Run, Run]]] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        """Whether a statement was run, and read less: more than the planner's word."""
        return any(self._gain(key) for key in self.runs)

    def _gain(self, key: str) -> bool:
        pairs = self.runs[key].values()
        return sum(after.blocks for _before, after in pairs) < sum(before.blocks for before, _after in pairs)

    def saved(self, shares: Mapping[str, float]) -> float:
        """The share of all time that it saves, by the planner's costs."""
        return sum(
            shares[key] * (1 - after / before) for key, (before, after) in self.costs.items() if before > 0
        )

    def better(self, factor: float) -> list[str]:
        """Statements whose cost sinks by at least this share, and that, where they were run, read less."""
        return [
            key
            for key, (before, after) in self.costs.items()
            if before and 1 - after / before >= factor and (key not in self.runs or self._gain(key))
        ]

    def worse(self) -> list[str]:
        """Statements that cost more with it, or that read or write clearly more with values of one kind."""
        return [
            key
            for key, (before, after) in self.costs.items()
            if after > 1.05 * before
            or any(last.is_worse_than(first) for first, last in self.runs.get(key, {}).values())
        ]

    def writing(self) -> list[str]:
        """Statements that were seen to write."""
        return [
            key for key, pairs in self.runs.items() if any(last.writes for _first, last in pairs.values())
        ]

    def written(self) -> tuple[float, float] | None:
        """WAL of a row that is written, before and after, in bytes: over all writing statements that were run."""
        pairs = [
            pair
            for samples in self.runs.values()
            for pair in samples.values()
            if pair[0].writes and pair[1].writes
        ]
        if not pairs:
            return None
        before, after = (
            sum(int(pair[side].wal_bytes or 0) for pair in pairs)
            / sum(int(pair[side].rows or 0) for pair in pairs)
            for side in (0, 1)
        )
        return before, after
