# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One cheap pull of a database's catalogs and counters: no relation is opened, nothing waits for a lock.

Every statement reads one catalog (and its statistics by oid) and joins nothing that Python can join. What is large
comes by COPY: thirty columns of 100,000 rows take a driver without its C part twelve seconds otherwise. Sizes are
``relpages``: asking the file system for 100,000 indexes takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from ..session import Look, Node
from .facts import Collation, Column, Constraint, Database, Index, Key, Table, plain_tree, split_trees

Row = Sequence[Optional[str]]

#: Schemas of the server and of sessions. TOAST's is looked at for indexes that were left over only.
_OURS = """
SELECT oid::bigint, nspname FROM pg_namespace
WHERE nspname <> 'pg_catalog' AND nspname <> 'information_schema' AND nspname !~ '^pg_(temp|toast_temp)_'
"""
_TABLES = """
SELECT c.oid::bigint, c.relname, c.relnamespace::bigint, c.relkind, c.relpages, c.reltuples,
    c.relreplident, pg_stat_get_tuples_inserted(c.oid), pg_stat_get_tuples_updated(c.oid),
    pg_stat_get_tuples_deleted(c.oid), pg_stat_get_tuples_hot_updated(c.oid), pg_stat_get_numscans(c.oid),
    pg_stat_get_tuples_returned(c.oid)
FROM pg_class c WHERE c.relkind IN ('r', 'p', 'm') AND c.relnamespace IN ({schemas})
"""
_INDEXES = """
SELECT i.indexrelid::bigint, i.indrelid::bigint, c.relname, c.relnamespace::bigint, c.relam::bigint,
    i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text, i.indnkeyatts, i.indexprs::text,
    i.indpred::text, i.indisunique, {nulls}, i.indisprimary, i.indisexclusion, i.indimmediate, i.indisvalid,
    i.indisready, i.indisclustered, i.indisreplident, c.relkind = 'I', c.relpages, c.reltuples,
    c.reltablespace::bigint, c.reloptions, pg_stat_get_numscans(c.oid), pg_stat_get_tuples_returned(c.oid),
    {last}
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace IN ({schemas}) AND (c.relnamespace <> 'pg_toast'::regnamespace OR NOT i.indisvalid)
"""
_COLUMNS = """
SELECT a.attrelid::bigint, a.attnum, a.attname, a.atttypid::bigint, a.attnotnull,
    a.attcollation::bigint
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'm')
  AND c.relnamespace IN ({schemas})
"""
_OPTIONS = """
SELECT a.attrelid::bigint, a.attnum, a.attoptions::text, a.attstattarget
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE (a.attoptions IS NOT NULL OR a.attstattarget >= 0) AND a.attnum > 0 AND c.relkind IN ('i', 'I')
"""
_CONSTRAINTS = """
SELECT oid::bigint, conname, contype, conrelid::bigint, conindid::bigint, confrelid::bigint, conkey, confkey,
    conpfeqop::bigint[], conparentid::bigint
FROM pg_constraint WHERE contype IN ('p', 'u', 'x', 'f') AND conrelid <> 0
"""
_TREES = "SELECT inhrelid::bigint, inhparent::bigint FROM pg_inherits"
_CLASSES = "SELECT oid::bigint, opcfamily::bigint, opcintype::bigint FROM pg_opclass"
#: B-tree's equality is strategy 3, hash's 1; of the others only those that btree_gist and btree_gin bring (3).
_EQUALITY = """
SELECT o.amopopr::bigint, o.amopfamily::bigint FROM pg_amop o JOIN pg_am a ON a.oid = o.amopmethod
WHERE o.amoppurpose = 's'
  AND (a.amname = 'btree' AND o.amopstrategy = 3 OR a.amname = 'hash' AND o.amopstrategy = 1
       OR a.amname IN ('gist', 'gin') AND o.amopstrategy = 3)
"""
_METHODS = "SELECT oid::bigint, amname FROM pg_am WHERE amtype = 'i'"
_OWNED = "SELECT objid::bigint FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype = 'e'"
_BUILDING = """
SELECT index_relid::bigint, relid::bigint FROM pg_stat_progress_create_index WHERE datname = current_database()
"""
_LOCKED = """
SELECT DISTINCT relation::bigint FROM pg_locks
WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_RESET = (
    "SELECT extract(epoch FROM stats_reset)::float8 FROM pg_stat_database WHERE datname = current_database()"
)
_COLLATIONS = """
SELECT c.oid::bigint, n.nspname, c.collname, c.collversion, pg_collation_actual_version(c.oid)
FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE c.oid = ANY(%s::oid[]) AND c.collversion IS NOT NULL
"""
_DATABASE_COLLATION = """
SELECT datcollversion, pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = current_database()
"""
_STATISTICS = """
SELECT schemaname, tablename, attname, avg_width, null_frac, most_common_freqs[1], correlation
FROM pg_stats WHERE NOT inherited AND tablename = ANY(%s)
"""
#: Below this many pages neither bloat nor a partial index nor the order of rows is worth a word, and statistics are
#: not read.
_PAGES_WORTH_STATISTICS = 100


def pull(look: Look, node: Node, database: str) -> Database | None:
    """All facts of the database that ``look`` is connected to; None when its catalogs could not be read."""
    schemas = {int(row[0]): str(row[1]) for row in look.ask(_OURS, what="schemas") or []}
    locked = {int(row[0]) for row in look.ask(_LOCKED, what="locks") or []}
    if not schemas:
        return None
    places = ", ".join(map(str, schemas))
    raw_indexes = look.copy(_index_statement(node, places), what="indexes")
    raw_tables = look.copy(_TABLES.format(schemas=places), what="tables")
    raw_constraints = look.copy(_CONSTRAINTS, what="constraints")
    trees = look.ask(_TREES, what="partitions")
    if raw_indexes is None or raw_tables is None or raw_constraints is None or trees is None:
        return None
    parents = {int(child): int(parent) for child, parent in trees}
    owned = {int(row[0]) for row in look.ask(_OWNED, what="objects of extensions") or []}
    tables = _tables(raw_tables, schemas, parents, owned)
    left_out = _leave_out_locked(look, tables, locked)
    maker = _IndexMaker(look, schemas, parents, owned)
    indexes = [maker.make(row) for row in raw_indexes]
    toast = {oid for oid, name in schemas.items() if name == "pg_toast"}
    kept = tuple(
        index for index in indexes if index.table in tables or (toast and index.schema == "pg_toast")
    )
    reset = look.ask(_RESET, what="the time of the statistics' reset") or []
    building = look.ask(_BUILDING, what="running builds of indexes") or []
    columns = _columns(look, places)
    columns, widths, seen = _with_statistics(look, tables, kept, columns)
    return Database(
        name=database,
        system_id=node.system_id,
        node=node.name,
        in_recovery=node.in_recovery,
        taken_at=node.taken_at,
        stats_reset=float(reset[0][0]) if reset and reset[0][0] is not None else None,
        block_bytes=node.block_bytes,
        tables=tables,
        columns=columns,
        indexes=kept,
        constraints=tuple(_constraint(row) for row in raw_constraints),
        equality=_equality(look),
        collations=_collations(look, node, kept),
        building=frozenset(int(oid) for row in building for oid in row if oid),
        widths=widths,
        statistics_seen=seen,
        left_out=left_out,
    )


def _index_statement(node: Node, places: str) -> str:
    return _INDEXES.format(
        schemas=places,
        nulls="i.indnullsnotdistinct" if node.major >= 15 else "false",
        last="extract(epoch FROM pg_stat_get_lastscan(c.oid))::float8" if node.major >= 16 else "NULL",
    )


def _tables(
    rows: Sequence[Row], schemas: dict[int, str], parents: dict[int, int], owned: set[int]
) -> dict[int, Table]:
    tables = {}
    for number, name, schema, kind, pages, count, identity, *counters in rows:
        oid = _int(number)
        tables[oid] = Table(
            oid,
            schemas[_int(schema)],
            str(name),
            str(kind),
            _int(pages),
            float(count or 0),
            str(identity),
            parents.get(oid, 0),
            *_six(counters),
            oid in owned,
        )
    return tables


def _leave_out_locked(look: Look, tables: dict[int, Table], locked: set[int]) -> frozenset[tuple[str, str]]:
    """What is locked exclusively, or will be next, is named and not touched: we would wait, and others behind us."""
    named = set()
    for oid in sorted(locked & set(tables)):
        table = tables.pop(oid)
        look.miss(f"{table.schema}.{table.name} in database {look.database_name}", "locked")
        named.add((table.schema, table.name))
    return frozenset(named)


class _IndexMaker:
    """Rows become indexes; what most of them share is made once."""

    def __init__(self, look: Look, schemas: dict[int, str], parents: dict[int, int], owned: set[int]) -> None:
        self._schemas, self._parents, self._owned = schemas, parents, owned
        self._methods = {int(oid): str(name) for oid, name in look.ask(_METHODS, what="access methods") or []}
        classes = look.ask(_CLASSES, what="operator classes") or []
        self._classes = {str(oid): (int(family), int(kind)) for oid, family, kind in classes}
        self._options: dict[int, list[tuple[int, str]]] = {}
        self._targets: dict[int, list[tuple[int, int]]] = {}
        for oid, number, options, target in look.ask(_OPTIONS, what="options of operator classes") or []:
            if options is not None:
                self._options.setdefault(int(oid), []).append((int(number), str(options)))
            if target is not None and int(target) >= 0:
                self._targets.setdefault(int(oid), []).append((int(number), int(target)))
        self._keys: dict[tuple[Any, ...], tuple[Key, ...]] = {}

    def make(self, row: Row) -> Index:
        """One index from its row."""
        number, table, name, schema, method, *rest = row
        columns, classes, collations, options, count, trees, predicate, *rest = rest
        *flags, pages, rows, tablespace, settings, scans, reads, last = rest
        oid, numbers = _int(number), str(columns).split()
        keys = _int(count)
        return Index(
            oid,
            _int(table),
            self._schemas[_int(schema)],
            str(name),
            self._methods.get(_int(method), str(method)),
            self._key(numbers[:keys], str(classes), str(collations), trees),
            tuple(map(int, str(options).split())),
            tuple(map(int, numbers[keys:])),
            plain_tree(predicate),
            *_ten(flags),
            self._parents.get(oid, 0),
            _int(pages),
            float(rows or 0),
            _int(tablespace),
            (settings,) if settings else (),
            _int(scans),
            _int(reads),
            float(last) if last else None,
            tuple(sorted(self._options.get(oid, ()))),
            oid in self._owned,
            tuple(sorted(self._targets.get(oid, ()))),
        )

    def _key(self, numbers: list[str], classes: str, collations: str, trees: str | None) -> tuple[Key, ...]:
        place = (tuple(numbers), classes, collations, trees)
        kept = self._keys.get(place)
        if kept is None:
            expressions = iter(split_trees(plain_tree(trees) or "()"))
            kept = tuple(
                Key(
                    int(number),
                    next(expressions, "") if number == "0" else None,
                    *self._classes.get(operator_class, (int(operator_class), 0)),
                    int(collation),
                )
                for number, operator_class, collation in zip(numbers, classes.split(), collations.split())
            )
            self._keys[place] = kept
        return kept


def _six(texts: Row) -> tuple[int, int, int, int, int, int]:
    one, two, three, four, five, six = map(_int, texts)
    return one, two, three, four, five, six


def _ten(texts: Row) -> tuple[bool, bool, bool, bool, bool, bool, bool, bool, bool, bool]:
    one, two, three, four, five, six, seven, eight, nine, ten = (text == "t" for text in texts)
    return one, two, three, four, five, six, seven, eight, nine, ten


def _int(text: str | None) -> int:
    return int(text or 0)


def _numbers(array: str | None) -> tuple[int, ...]:
    """The members of an array of numbers, as the server writes one."""
    return tuple(map(int, array[1:-1].split(","))) if array and array != "{}" else ()


def _constraint(row: Row) -> Constraint:
    oid, name, kind, table, index, target, columns, targets, operators, parent = row
    return Constraint(
        _int(oid),
        str(name),
        str(kind),
        _int(table),
        _int(index),
        _int(target),
        _numbers(columns),
        _numbers(targets),
        _numbers(operators),
        _int(parent),
    )


def _equality(look: Look) -> dict[int, frozenset[int]]:
    found: dict[int, set[int]] = {}
    for operator, family in look.ask(_EQUALITY, what="operators") or []:
        found.setdefault(int(operator), set()).add(int(family))
    return {operator: frozenset(families) for operator, families in found.items()}


def _columns(look: Look, places: str) -> dict[int, dict[int, Column]]:
    columns: dict[int, dict[int, Column]] = {}
    for table, number, name, kind, not_null, collation in (
        look.copy(_COLUMNS.format(schemas=places), what="columns") or []
    ):
        column = Column(str(name), _int(kind), not_null == "t", _int(collation))
        columns.setdefault(_int(table), {})[_int(number)] = column
    return columns


def _collations(look: Look, node: Node, indexes: tuple[Index, ...]) -> tuple[Collation, ...]:
    used = sorted({key.collation for index in indexes for key in index.keys if key.collation})
    found = [
        Collation(int(oid), str(schema), str(name), str(recorded), str(actual))
        for oid, schema, name, recorded, actual in look.ask(_COLLATIONS, [used], what="collations") or []
        if actual is not None and recorded != actual
    ]
    if node.major >= 15:
        for recorded, actual in look.ask(_DATABASE_COLLATION, what="the database's collation") or []:
            if recorded and actual and recorded != actual:
                found.append(Collation(0, "", "", str(recorded), str(actual)))
    return tuple(found)


def _with_statistics(
    look: Look,
    tables: dict[int, Table],
    indexes: tuple[Index, ...],
    columns: dict[int, dict[int, Column]],
) -> tuple[dict[int, dict[int, Column]], dict[tuple[str, str], tuple[int, ...]], bool]:
    """Columns of large tables with their statistics; widths of the expressions of large indexes."""
    large = {table.name for table in tables.values() if table.pages >= _PAGES_WORTH_STATISTICS}
    large |= {
        index.name for index in indexes if index.pages >= _PAGES_WORTH_STATISTICS and index.has_expressions
    }
    if not large:
        return columns, {}, True
    rows = look.ask(_STATISTICS, [sorted(large)], what="column statistics")
    found: dict[tuple[str, str], dict[str, list[Any]]] = {}
    for schema, name, column, *figures in rows or []:
        found.setdefault((schema, name), {})[column] = figures
    for oid, table in tables.items():
        known = found.get((table.schema, table.name))
        if known:
            columns[oid] = {
                number: _informed(column, known[column.name]) if column.name in known else column
                for number, column in columns.get(oid, {}).items()
            }
    widths = {
        (index.schema, index.name): tuple(int(one[0]) for one in found[index.schema, index.name].values())
        for index in indexes
        if (index.schema, index.name) in found
    }
    return columns, widths, bool(found)


def _informed(column: Column, figures: Row) -> Column:
    width, nulls, common, correlation = figures
    return column._replace(
        width=_int(width),
        null_share=float(nulls) if nulls else None,
        common_share=float(common) if common else None,
        correlation=float(correlation) if correlation else None,
    )
