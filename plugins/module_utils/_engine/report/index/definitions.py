# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Exact SQL for the few indexes that are shown: how each goes, and how the same one comes back with all its properties.

Asking for a definition or a size opens the table, so this waits behind an exclusive lock: never in bulk over all
indexes, in small batches, one by one where a batch had to wait, and what is locked is left out and said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..finding import INSUFFICIENT, MEASURED, VALIDATED, Finding
from ..session import Look
from .creating import briefly, create_sql, index_name
from .draft import COMPLETE, CREATE, DROP, PARTIAL, REBUILD, Draft, lack
from .facts import Database, Index, quoted
from .partitioned import completed, taken

_BATCH = 200
_DEFINITIONS = """
SELECT i.indexrelid::bigint, pg_get_indexdef(i.indexrelid), pg_get_expr(i.indpred, i.indrelid),
    (SELECT quote_ident(spcname) FROM pg_tablespace WHERE oid = c.reltablespace),
    obj_description(i.indexrelid, 'pg_class'),
    (SELECT json_agg(json_build_array(a.attnum, a.attstattarget) ORDER BY a.attnum)::text FROM pg_attribute a
     WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0),
    (SELECT json_agg(quote_ident(e.extname) ORDER BY e.extname)::text FROM pg_depend d
     JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
     WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.deptype = 'x'),
    i.indisclustered, i.indisreplident, pg_relation_size(i.indexrelid)
FROM unnest(%s::bigint[]) AS asked (oid) JOIN pg_index i ON i.indexrelid = asked.oid::oid
JOIN pg_class c ON c.oid = i.indexrelid
"""


@dataclass(frozen=True)
class Definition:
    """One index as the server writes it, and what CREATE INDEX does not say."""

    create: str
    comment: str | None
    statistics: tuple[tuple[int, int], ...]
    extensions: tuple[str, ...]
    clustered: bool
    identity: bool
    size_bytes: int


def wanted(database: Database, drafts: Iterable[Draft]) -> list[int]:
    """The indexes whose definitions the drafts need; of a partitioned one all its parts'."""
    by_oid = database.by_oid
    needed: list[int] = []
    for one in drafts:
        if one.deed in (DROP, REBUILD, COMPLETE, PARTIAL) and one.index in by_oid:
            needed.extend(index.oid for index in tree(database, by_oid[one.index]))
        if one.deed == COMPLETE:
            needed.extend(
                part.oid for index in taken(database, by_oid[one.index]) for part in tree(database, index)
            )
    return list(dict.fromkeys(needed))


def tree(database: Database, index: Index) -> list[Index]:
    """A partitioned index and all below it, parents first; another one by itself."""
    found = [index]
    for child in database.children.get(index.oid, ()) if index.partitioned else ():
        found.extend(tree(database, child))
    return found


def read(look: Look, oids: list[int]) -> dict[int, Definition]:
    """Definitions by oid; what is locked or gone is not in it."""
    found: dict[int, Definition] = {}
    for place in range(0, len(oids), _BATCH):
        found.update(_read(look, oids[place : place + _BATCH]))
    return found


def _read(look: Look, oids: list[int]) -> dict[int, Definition]:
    unseen = list(look.not_seen)
    rows = look.ask(_DEFINITIONS, [oids], what="definitions of indexes")
    if rows is None and len(oids) > 1 and not look.spent:
        # One of them is locked: the others do not have to go without.
        look.not_seen[:] = unseen
        half = len(oids) // 2
        return {**_read(look, oids[:half]), **_read(look, oids[half:])}
    found = {}
    for oid, create, predicate, tablespace, comment, statistics, extensions, *rest in rows or []:
        if create is not None:
            found[int(oid)] = Definition(
                _with_tablespace(create, predicate, tablespace),
                comment,
                tuple((int(number), int(target)) for number, target in json.loads(statistics or "[]")),
                tuple(json.loads(extensions or "[]")),
                *rest,
            )
    return found


def _with_tablespace(create: str, predicate: str | None, tablespace: str | None) -> str:
    """``pg_get_indexdef`` leaves the tablespace out; it stands before WHERE, which comes last."""
    if tablespace is None:
        return create
    end = f" WHERE {predicate}" if predicate else ""
    head = create[: len(create) - len(end)] if end and create.endswith(end) else create
    return f"{head} TABLESPACE {tablespace}{end if head != create else ''}"


def concurrently(create: str) -> str:
    """The same definition, built without blocking writes."""
    for start in ("CREATE UNIQUE INDEX ", "CREATE INDEX "):
        if create.startswith(start):
            return f"{start}CONCURRENTLY {create[len(start) :]}"
    return create


def drop_sql(index: Index) -> list[str]:
    """How it goes. A partitioned index cannot go concurrently: its tables are locked for a moment, all at once."""
    name = quoted(index.schema, index.name)
    if index.partitioned:
        return briefly([f"DROP INDEX {name};"])
    return [f"DROP INDEX CONCURRENTLY {name};"]


def undo_sql(database: Database, index: Index, definitions: Mapping[int, Definition]) -> list[str] | None:
    """How the same index comes back; None where a definition could not be read."""
    parts = tree(database, index)
    if any(part.oid not in definitions for part in parts):
        return None
    statements: list[str] = []
    for part in parts:
        create = definitions[part.oid].create
        # A partitioned index is made empty (ON ONLY, as the server writes it) and valid by its parts.
        statements.append(f"{create if part.partitioned else concurrently(create)};")
    for part in reversed(parts[1:]):
        parent = next(one for one in parts if one.oid == part.parent)
        name = quoted(parent.schema, parent.name)
        statements.append(f"ALTER INDEX {name} ATTACH PARTITION {quoted(part.schema, part.name)};")
    for part in parts:
        statements.extend(_properties(database, part, definitions[part.oid]))
    return briefly(statements) if index.partitioned else statements


def _properties(database: Database, index: Index, definition: Definition) -> Iterable[str]:
    name = quoted(index.schema, index.name)
    for number, target in definition.statistics:
        yield f"ALTER INDEX {name} ALTER COLUMN {number} SET STATISTICS {target};"
    for extension in definition.extensions:
        yield f"ALTER INDEX {name} DEPENDS ON EXTENSION {extension};"
    if definition.comment is not None:
        yield f"COMMENT ON INDEX {name} IS {literal(definition.comment)};"
    table = database.tables.get(index.table)
    if table and definition.clustered:
        yield f"ALTER TABLE {quoted(table.schema, table.name)} CLUSTER ON {quoted(index.name)};"
    if table and definition.identity:
        yield f"ALTER TABLE {quoted(table.schema, table.name)} REPLICA IDENTITY USING INDEX {quoted(index.name)};"


def literal(text: str) -> str:
    """A text as SQL takes it, whatever standard_conforming_strings is."""
    plain = text.replace("'", "''")
    return f"E'{plain.replace(chr(92), chr(92) * 2)}'" if "\\" in plain else f"'{plain}'"


def complete(database: Database, one: Draft, definitions: Mapping[int, Definition]) -> Finding:
    """The finding of a draft, with its SQL; without it the evidence is not enough to act on, and the reverse."""
    finding = one.finding
    if finding.grade == INSUFFICIENT:
        return finding
    index = database.by_oid.get(one.index)
    if one.deed == CREATE and one.create:
        action, undo = create_sql(database, one.create)
        return replace(finding, action=tuple(action), undo=tuple(undo))
    if one.deed == REBUILD and index:
        # Of a bare index nothing is lost by it: the old one goes when the new one is whole.
        return replace(finding, action=(f"REINDEX INDEX CONCURRENTLY {quoted(index.schema, index.name)};",))
    if one.deed not in (DROP, COMPLETE, PARTIAL) or index is None:
        return finding
    undo_statements = undo_sql(database, index, definitions)
    if undo_statements is None:
        return _without_definition(finding, index)
    if one.deed == COMPLETE:
        built = completed(database, index, definitions[index.oid].create)
        # The way back is to what was there: the parts that there were, and those that stood by themselves.
        back = [undo_sql(database, one, definitions) for one in taken(database, index)]
        if not built or None in back:
            return _without_definition(finding, index)
        alone = [statement for one in back for statement in one or ()]
        return replace(finding, action=tuple(built), undo=(*drop_sql(index), *undo_statements, *alone))
    if one.deed == PARTIAL:
        smaller = _partial_sql(database, index, definitions)
        return replace(finding, action=tuple(smaller[0]), undo=tuple(smaller[1])) if smaller else finding
    size = sum(definitions[part.oid].size_bytes for part in tree(database, index))
    return replace(
        finding,
        action=tuple(drop_sql(index)),
        undo=tuple(undo_statements),
        impact={**finding.impact, "bytes": size or finding.impact.get("bytes")},
    )


def _without_definition(finding: Finding, index: Index) -> Finding:
    return replace(
        finding,
        grade=INSUFFICIENT if finding.grade in (MEASURED, VALIDATED) else finding.grade,
        missing=(*finding.missing, lack("definition", what=f"{index.schema}.{index.name}")),
    )


def _partial_sql(
    database: Database, index: Index, definitions: Mapping[int, Definition]
) -> tuple[list[str], list[str]] | None:
    """The same index without the nulls of its first column, built before the other goes; and back. None where the
    definition could not be read."""
    undo = undo_sql(database, index, definitions)
    table = database.tables.get(index.table)
    if undo is None or table is None:
        return None
    column = database.column_name(index.table, index.keys[0].column)
    name = index_name(table.name, [column, "not_null"], database.names_in(index.schema))
    create = concurrently(definitions[index.oid].create)
    head, found, rest = create.partition(f" {_quoted_as(index.name, create)} ON ")
    if not found:
        return None
    made = f"{head} {quoted(name)} ON {rest} WHERE ({quoted(column)} IS NOT NULL);"
    away = f"DROP INDEX CONCURRENTLY {quoted(index.schema, name)};"
    return [made, *drop_sql(index)], [*undo, away]


def _quoted_as(name: str, create: str) -> str:
    """How the server has written the name: in quotes only where it needs them."""
    return quoted(name) if f" {quoted(name)} ON " in create else name
