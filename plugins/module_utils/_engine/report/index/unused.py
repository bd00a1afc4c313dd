# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What one node knows of indexes that are not scanned on it. Whether one is unused, only all nodes can tell. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .cover import backs, needed
from .definitions import Definition, drop_sql, tree, undo_sql
from .draft import DROP, Draft, write_rate
from .facts import DESCENDING, NULLS_FIRST, Database, Index
from .history import Idle, Past
from .limits import Limits

#: Above this many indexes their definitions are not told: they would be most of the report.
_MOST_DIGESTS = 5000


@dataclass(frozen=True)
class Unused:
    """Candidates of one database on one node, largest first."""

    database: Database
    candidates: tuple[tuple[Index, Idle, str | None], ...]
    complete: bool

    @property
    def oids(self) -> list[int]:
        """The indexes whose definitions are needed."""
        return [
            part.oid
            for index, _idle, guard in self.candidates
            if guard is None or guard == "expression"
            for part in tree(self.database, index)
        ]

    def rows(self, definitions: Mapping[int, Definition]) -> list[dict[str, Any]]:
        """As the result has them."""
        return [self._row(index, idle, guard, definitions) for index, idle, guard in self.candidates]

    def _row(
        self, index: Index, idle: Idle, guard: str | None, definitions: Mapping[int, Definition]
    ) -> dict[str, Any]:
        table = self.database.tables.get(index.table)
        undo = undo_sql(self.database, index, definitions) if guard in (None, "expression") else None
        return {
            "schema": index.schema,
            "index": index.name,
            "table": table.name if table else "",
            "size_bytes": self.database.bytes_of(index),
            "since": idle.since,
            "until": self.database.taken_at,
            "why": idle.why,
            "scans": sum(leaf.scans for leaf in self.database.leaves(index)),
            "probes": idle.probes,
            "guard": guard,
            "partitioned": index.partitioned,
            "writes_per_second": write_rate(self.database, table),
            "action": drop_sql(index) if undo is not None else [],
            "undo": undo or [],
        }


def unused_here(database: Database, past: Past, limits: Limits, drafts: Iterable[Draft]) -> Unused:
    """The indexes that this node has not scanned since some time, with what keeps them all the same."""
    guards = _guards(database, drafts)
    found = []
    for index in database.indexes:
        if index.parent or not index.usable or database.bytes_of(index) < limits.drop_bytes:
            continue
        if guards.get(index.oid) == "redundant":
            continue
        idle = _idle(database, past, index)
        if idle is not None:
            guard = guards.get(index.oid) or ("expression" if index.has_expressions else None)
            found.append((index, idle, guard))
    found.sort(key=lambda one: (-database.bytes_of(one[0]), one[0].schema, one[0].name))
    # A name that is not in a list that was cut is not called unused.
    most = limits.kept_per_class
    return Unused(database, tuple(found[:most]), len(found) <= most)


def _idle(database: Database, past: Past, index: Index) -> Idle | None:
    """Of a partitioned index, by its busiest part; one whose time is not known at all is not idle."""
    parts = [past.idle[leaf.oid] for leaf in database.leaves(index) if leaf.oid in past.idle]
    if not parts or len(parts) != len(database.leaves(index)):
        return None
    latest = max(parts, key=lambda one: one.since)
    return Idle(latest.since, latest.why, any(one.probes for one in parts))


def _guards(database: Database, drafts: Iterable[Draft]) -> dict[int, str]:
    """Index -> why it stays, or that it goes anyway: constraints, foreign keys, and what takes over others' work."""
    guards: dict[int, str] = {}
    for one in drafts:
        if one.deed == DROP and one.finding.name in ("IX02", "IX03"):
            guards[one.index] = "redundant"
            guards[one.by] = "cover"
    for constraint in database.constraints:
        if constraint.kind == "f":
            for index in database.of_table.get(constraint.table, ()):
                if backs(database, index, constraint):
                    guards[index.oid] = "foreign-key"
    for index in database.indexes:
        if index.unique:
            guards[index.oid] = "unique"
    return {**guards, **{oid: why for oid, why in needed(database).items() if guards.get(oid) != "redundant"}}


def digest_of(database: Database) -> dict[str, Any]:
    """The definitions of all indexes, comparable between clusters: names instead of oids."""
    indexes = [index for index in database.indexes if not index.parent and index.schema != "pg_toast"]
    each = [(f"{index.schema}.{index.name}", index.table, _digest(database, index)) for index in indexes]
    few = len(each) <= _MOST_DIGESTS
    return {
        "count": len(each),
        "each": {name: digest for name, _table, digest in each} if few else None,
        # A twin may have a few more or less: both forms around the limit.
        "tables": _by_table(database, each) if 2 * len(each) > _MOST_DIGESTS else None,
    }


def _by_table(database: Database, each: list[tuple[str, int, str]]) -> dict[str, str]:
    """Table -> all its indexes in one digest: less to send, and enough to say where to look."""
    lists: dict[str, list[str]] = {}
    for name, oid, digest in each:
        table = database.tables.get(oid)
        if table:
            lists.setdefault(f"{table.schema}.{table.name}", []).append(f"{name} {digest}")
    return {
        table: hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]
        for table, names in lists.items()
    }


def _digest(database: Database, index: Index) -> str:
    table = database.tables.get(index.table)
    columns = database.columns.get(index.table, {})

    def named(number: int) -> str:
        return columns[number].name if number in columns else "?"

    shape = [
        table.schema if table else "",
        table.name if table else "",
        index.method,
        [
            (
                named(key.column) if key.column else "expression",
                bool(option & DESCENDING),
                bool(option & NULLS_FIRST),
            )
            for key, option in zip(index.keys, index.options)
        ],
        [named(number) for number in index.include],
        index.unique,
        index.predicate is not None,
    ]
    return hashlib.sha256(repr(shape).encode()).hexdigest()[:12]
