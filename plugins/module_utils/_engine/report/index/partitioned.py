# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""SQL about partitioned indexes, which cannot be built or dropped concurrently as a whole. Pure.

``DROP INDEX`` of one locks its table and every partition at once, exclusively; whoever waits for that lets all others
wait behind itself. So what locks for a moment gives up after a short time; only what is built concurrently, on one
partition, may wait for as long as it takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .creating import briefly, index_name
from .facts import Database, Index, Key, Table, quoted

_NAME = r'(?:"(?:[^"]|"")+"|[^" .]+)'
#: A partitioned index as pg_get_indexdef writes it: whether it is unique, and what follows the table's name.
_DEFINITION = re.compile(
    rf"CREATE (?P<unique>UNIQUE )?INDEX {_NAME} ON ONLY {_NAME}\.{_NAME} (?P<rest>USING .*)", re.DOTALL
)


def completed(database: Database, index: Index, definition: str) -> list[str] | None:
    """How an invalid partitioned index becomes whole: what its partitions lack is built, one by one, and attached.

    The server looks whether it is whole whenever a part is attached, one that is attached already, too. None where
    ``definition`` is not understood.
    """
    said = _DEFINITION.fullmatch(definition)
    if said is None or database.tables.get(index.table) is None:
        return None
    head, rest = f"CREATE {said['unique'] or ''}INDEX", said["rest"]
    return briefly(_parts(database, index, head, rest))


def taken(database: Database, index: Index) -> list[Index]:
    """The indexes of partitions that stand by themselves and become parts: with the whole they would go."""
    attached = {child.table: child for child in database.children.get(index.oid, ())}
    found: list[Index] = []
    for part in _partitions(database, index.table):
        child = attached.get(part.oid)
        if child is None:
            found += _there(database, index, part)
        elif child.partitioned:
            found += taken(database, child)
    return found


def _there(database: Database, index: Index, part: Table) -> list[Index]:
    """What a partition has already that is alike; else what its own partitions have."""
    alike = [
        one for one in database.of_table.get(part.oid, ()) if one.usable and _alike(database, index, one)
    ]
    if alike:
        return alike[:1]
    return [one for below in _partitions(database, part.oid) for one in _there(database, index, below)]


def _parts(database: Database, index: Index, head: str, rest: str) -> Iterator[str]:
    attach = f"ALTER INDEX {quoted(index.schema, index.name)} ATTACH PARTITION "
    attached = {child.table: child for child in database.children.get(index.oid, ())}
    parts = _partitions(database, index.table)
    lacking = [part for part in parts if part.oid not in attached or not attached[part.oid].usable]
    for part in lacking:
        child = attached.get(part.oid)
        if child is None:
            name, made = _made(database, index, part, head, rest)
            yield from made
        else:
            name = quoted(child.schema, child.name)
            yield from (
                _parts(database, child, head, rest)
                if child.partitioned
                else (f"REINDEX INDEX CONCURRENTLY {name};",)
            )
        yield f"{attach}{name};"
    if parts and not lacking:
        # Whole already, and nobody has looked since.
        child = attached[parts[0].oid]
        yield f"{attach}{quoted(child.schema, child.name)};"


def _made(database: Database, index: Index, part: Table, head: str, rest: str) -> tuple[str, list[str]]:
    """The index that a partition lacks, and how it is made: one that is there and is alike is taken."""
    there = _there(database, index, part)
    if there and there[0].table == part.oid:
        return quoted(there[0].schema, there[0].name), []
    columns = [database.column_name(index.table, key.column) if key.column else "expr" for key in index.keys]
    own = index_name(part.name, columns, database.names_in(part.schema))
    target, name = quoted(part.schema, part.name), quoted(part.schema, own)
    if part.kind != "p":
        return name, [f"{head} CONCURRENTLY {quoted(own)} ON {target} {rest};"]
    made = [f"{head} {quoted(own)} ON ONLY {target} {rest};"]
    for below in _partitions(database, part.oid):
        lower, statements = _made(database, index, below, head, rest)
        made += [*statements, f"ALTER INDEX {name} ATTACH PARTITION {lower};"]
    return name, made


def _partitions(database: Database, table: int) -> Sequence[Table]:
    return sorted(
        (one for one in database.tables.values() if one.parent == table),
        key=lambda one: (one.schema, one.name),
    )


def _alike(database: Database, index: Index, other: Index) -> bool:
    """Whether an index of a partition is what the partitioned one would have there; columns count by their names."""

    def named(one: Index) -> tuple[object, ...]:
        def key(each: Key) -> tuple[object, ...]:
            name = database.column_name(one.table, each.column) if each.column else ""
            return (name, each.expression, each.family, each.type, each.collation)

        return (
            tuple(key(each) for each in one.keys),
            one.options,
            [database.column_name(one.table, number) for number in one.include],
            one.predicate,
            one.method,
            one.unique,
            one.nulls_not_distinct,
            one.operator_options,
        )

    # Trees of expressions know columns by their numbers, which may be others on a partition.
    placed = not (index.has_expressions or index.predicate) or _numbers(database, index) == _numbers(
        database, other
    )
    return other.parent == 0 and not other.exclusion and placed and named(index) == named(other)


def _numbers(database: Database, index: Index) -> dict[int, str]:
    return {number: column.name for number, column in database.columns.get(index.table, {}).items()}
