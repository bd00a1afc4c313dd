# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""SQL for an index that is missing: built without blocking writes, on a partitioned table part by part. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable

from .draft import Create
from .facts import Database, Table, quoted

#: NAMEDATALEN is 64, with the byte that ends it.
_NAME_BYTES = 63
#: As pg_index_apply's option lock_timeout; whoever runs it from the page has the same by these.
LIMITED, UNLIMITED = "SET lock_timeout = '2s';", "RESET lock_timeout;"
_CONCURRENT = re.compile(r"(?:CREATE (?:UNIQUE )?INDEX|REINDEX INDEX|DROP INDEX) CONCURRENTLY ")


def create_sql(database: Database, wish: Create) -> tuple[list[str], list[str]]:
    """How the index is made, and how it goes again."""
    table = database.tables[wish.table]
    columns = [database.column_name(wish.table, number) for number in wish.columns]
    clause = f"({', '.join(quoted(column) for column in columns)})"
    if wish.where_not_null is not None:
        clause += f" WHERE {quoted(database.column_name(wish.table, wish.where_not_null))} IS NOT NULL"
    name = index_name(table.name, columns, database.names_in(table.schema))
    if table.kind != "p":
        made = f"CREATE INDEX CONCURRENTLY {quoted(name)} ON {quoted(table.schema, table.name)} {clause};"
        return [made], [f"DROP INDEX CONCURRENTLY {quoted(table.schema, name)};"]
    statements: list[str] = []
    attach: list[str] = []
    _of_partitions(database, table, name, columns, clause, statements, attach)
    return briefly([*statements, *attach]), briefly([f"DROP INDEX {quoted(table.schema, name)};"])


def _of_partitions(
    database: Database,
    table: Table,
    name: str,
    columns: list[str],
    clause: str,
    statements: list[str],
    attach: list[str],
) -> None:
    statements.append(f"CREATE INDEX {quoted(name)} ON ONLY {quoted(table.schema, table.name)} {clause};")
    for part in sorted(
        (one for one in database.tables.values() if one.parent == table.oid),
        key=lambda one: (one.schema, one.name),
    ):
        own = index_name(part.name, columns, database.names_in(part.schema))
        if part.kind == "p":
            _of_partitions(database, part, own, columns, clause, statements, attach)
        else:
            target = quoted(part.schema, part.name)
            statements.append(f"CREATE INDEX CONCURRENTLY {quoted(own)} ON {target} {clause};")
        attach.append(
            f"ALTER INDEX {quoted(table.schema, name)} ATTACH PARTITION {quoted(part.schema, own)};"
        )


def index_name(table: str, columns: list[str], taken: Collection[str]) -> str:
    """``table_column_idx`` as the server would call it, cut at a whole character; another one where it is taken."""
    wish = "_".join([table, *columns, "idx"])
    if len(wish.encode()) <= _NAME_BYTES and wish not in taken:
        return wish
    digest = hashlib.sha256(wish.encode()).hexdigest()
    for length in range(8, len(digest)):
        end = f"_{digest[:length]}_idx"
        head = wish.encode()[: _NAME_BYTES - len(end)].decode("utf-8", "ignore")
        if head + end not in taken:
            return head + end
    return wish


def briefly(statements: Iterable[str]) -> list[str]:
    """The statements, those that lock a table in everybody's way with a short time-out around them."""
    told: list[str] = []
    limited = False
    for statement in statements:
        brief = _CONCURRENT.match(statement) is None
        if brief != limited:
            told.append(LIMITED if brief else UNLIMITED)
            limited = brief
        told.append(statement)
    return [*told, UNLIMITED] if limited else told
