# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A finding about an index before its SQL is known: what is to be done with which indexes.

The rules are pure and see facts only. Definitions are read afterwards, for those few that are shown, and make exact
SQL of it (``definitions.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..finding import Finding, Says
from .facts import Database, Index, Table, dotted, thing

DROP, REBUILD, CREATE, COMPLETE, PARTIAL, NONE = "drop", "rebuild", "create", "complete", "partial", "none"


@dataclass(frozen=True)
class Draft:
    """A finding, what is to be done, with which indexes (oids), and the relations that its SQL is read from."""

    finding: Finding
    deed: str = NONE
    index: int = 0
    by: int = 0
    create: Create | None = None


@dataclass(frozen=True)
class Create:
    """An index that is to be made: plain columns of a table, in order, perhaps for some rows only."""

    table: int
    columns: tuple[int, ...]
    where_not_null: int | None = None


def draft(
    database: Database,
    name: str,
    about: Index | Table,
    *,
    severity: str,
    grade: str,
    key: str | None = None,
    values: dict[str, Any] | None = None,
    deed: str = NONE,
    by: int = 0,
    create: Create | None = None,
    more: dict[str, Any] | None = None,
    **rest: Any,
) -> Draft:
    """A draft about an index or a table of this database. ``more`` are further names of its identity."""
    if isinstance(about, Index):
        table = database.tables.get(about.table)
        what = thing("index", about.schema, about.name, table=table.name if table else "")
        said = {
            "index": dotted(about.schema, about.name),
            "table": dotted(table.schema, table.name) if table else "",
        }
    else:
        what = thing("table", about.schema, about.name)
        said = {"table": dotted(about.schema, about.name)}
    finding = Finding(
        name=name,
        system_id=database.system_id,
        severity=severity,
        grade=grade,
        database=database.name,
        thing={**what, **(more or {})},
        says=Says(key or name, {**said, **(values or {})}),
        nodes=(database.node,),
        **rest,
    )
    return Draft(finding, deed, about.oid if isinstance(about, Index) else 0, by, create)


def lack(key: str, **values: Any) -> Says:
    """Evidence that is missing."""
    return Says(key, values)


def write_rate(database: Database, table: Table | None) -> float | None:
    """Rows written a second since the statistics were reset, where the server knows when that was."""
    if table is None or database.stats_reset is None or database.taken_at <= database.stats_reset:
        return None
    return table.writes / (database.taken_at - database.stats_reset)
