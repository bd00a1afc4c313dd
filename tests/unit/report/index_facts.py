# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Facts for the pure rules, made by hand: an index in one line."""

from __future__ import annotations

from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.facts import (
    Column,
    Constraint,
    Database,
    Index,
    Key,
    Table,
)

INT, INT_FAMILY, INT_EQUALITY = 23, 1976, 96
DAY = 86400.0
NOW = 1_800_000_000.0


def index(oid: int, *columns: int, **changes: Any) -> Index:
    """A valid B-tree of integers on table 1, ascending."""
    plain = Index(
        oid=oid,
        table=1,
        schema="public",
        name=f"i{oid}",
        method="btree",
        keys=tuple(Key(column, None, INT_FAMILY, INT, 0) for column in columns),
        options=tuple(0 for _column in columns),
        include=(),
        predicate=None,
        unique=False,
        nulls_not_distinct=False,
        primary=False,
        exclusion=False,
        immediate=True,
        valid=True,
        ready=True,
        clustered=False,
        identity=False,
        partitioned=False,
        parent=0,
        pages=100,
        rows=1000.0,
        tablespace=0,
        settings=(),
        scans=0,
        reads=0,
        last_scan=None,
        operator_options=(),
        owned=False,
    )
    return plain._replace(**changes)


def table(oid: int = 1, **changes: Any) -> Table:
    plain = Table(oid, "public", f"t{oid}", "r", 1000, 100_000.0, "d", 0, 0, 0, 0, 0, 0, 0, False)
    return plain._replace(**changes)


def database(*indexes: Index, **changes: Any) -> Database:
    """A database with these indexes on one table of ten columns."""
    given: dict[str, Any] = {
        "name": "shop",
        "system_id": "7",
        "node": "local:5432",
        "in_recovery": False,
        "taken_at": NOW,
        "stats_reset": NOW - 100 * DAY,
        "block_bytes": 8192,
        "tables": {1: table()},
        "columns": {1: {number: Column(f"c{number}", INT, False, 0) for number in range(1, 11)}},
        "indexes": indexes,
        "constraints": (),
        "equality": {INT_EQUALITY: frozenset({INT_FAMILY})},
        **changes,
    }
    return Database(**given)


def foreign_key(*columns: int, **changes: Any) -> Constraint:
    plain = Constraint(
        900, "fk", "f", 1, 0, 1, columns, columns, tuple(INT_EQUALITY for _column in columns), 0
    )
    return plain._replace(**changes)
