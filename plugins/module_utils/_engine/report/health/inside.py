# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What one database tells: tables and how they are vacuumed, sequences, what is not valid. Locked objects are left out.

Nothing here opens a table, but for ``pg_sequence_last_value`` and, when asked for, pgstattuple.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..session import Look
from .pull import Row, rows

#: Relations that somebody holds, or waits for, so that even looking would wait behind them. A sequence's last value is
#: read under the lock of those who write: ALTER SEQUENCE keeps that away with less than an exclusive lock.
_LOCKED = """
SELECT DISTINCT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (l.mode = 'AccessExclusiveLock'
       OR c.relkind = 'S' AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock'))
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND c.relkind IN ('r', 'm', 'p', 'S', 'i', 'I') AND l.pid <> pg_backend_pid()
"""
#: Functions by oid and no view, so that nothing is sorted or joined: 10,000 tables take a tenth of a second.
_TABLES = """
SELECT * FROM (
  SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relpages::bigint AS pages,
         c.reltuples::float8 AS tuples, CASE WHEN c.relkind = 't' THEN NULL ELSE array_to_string(c.reloptions, ',') END
           AS options, age(c.relfrozenxid) AS xid_age, mxid_age(c.relminmxid) AS mxid_age,
         pg_stat_get_live_tuples(c.oid) AS live, pg_stat_get_dead_tuples(c.oid) AS dead,
         extract(epoch FROM clock_timestamp() - greatest(pg_stat_get_last_vacuum_time(c.oid),
                 pg_stat_get_last_autovacuum_time(c.oid)))::float8 AS vacuumed_seconds
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND c.relfrozenxid <> '0'
) q
WHERE pages * {block} >= {least} OR dead * {width} >= {least} OR xid_age >= {age} OR mxid_age >= {age}
ORDER BY greatest(dead, pages) DESC LIMIT {most}
"""
_WIDTHS = """
SELECT schemaname AS schema, tablename AS name, sum((1 - null_frac) * avg_width)::float8 AS width, count(*) AS columns
FROM pg_stats WHERE (schemaname || '.' || tablename) = ANY(%s) AND NOT inherited GROUP BY 1, 2
"""
#: The smallest of what the sequence, the column and columns that refer to it can hold.
_SEQUENCES = """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, s.seqincrement AS step, s.seqcycle AS cycles,
       s.seqmax AS most, s.seqmin AS least,
       tn.nspname AS table_schema, t.relname AS table_name, a.attname AS column_name,
       least(CASE a.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 END, r.most)
         AS column_most
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
               AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
     LEFT JOIN pg_class t ON t.oid = d.refobjid LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
     LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
     LEFT JOIN (
       SELECT k.confrelid, k.referred,
              min(CASE f.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 END) AS most
       FROM (SELECT conrelid, confrelid, unnest(conkey) AS referring, unnest(confkey) AS referred
             FROM pg_constraint WHERE contype = 'f') k
            JOIN pg_attribute f ON f.attrelid = k.conrelid AND f.attnum = k.referring
       GROUP BY k.confrelid, k.referred
     ) r ON r.confrelid = d.refobjid AND r.referred = d.refobjsubid
WHERE c.relpersistence <> 't' AND NOT c.oid = ANY(%s)
  AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE,SELECT') END
"""
#: By the catalog, not by the list alone: one that was dropped meanwhile is not asked for.
_VALUES = """
SELECT seqrelid::bigint AS oid, pg_sequence_last_value(seqrelid) AS last FROM pg_sequence
WHERE seqrelid = ANY(%s::oid[])
"""
_HIDDEN = """
SELECT count(*) FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
WHERE c.relpersistence <> 't' AND CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(c.oid, 'USAGE,SELECT') END
"""
_INVALID = """
SELECT n.nspname AS schema, c.relname AS name, tn.nspname AS table_schema, t.relname AS table_name, 'index' AS kind
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i'
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.relid = i.indrelid)
UNION ALL
SELECT tn.nspname, k.conname, tn.nspname, t.relname, 'constraint'
FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE NOT k.convalidated AND k.contype IN ('f', 'c'){enforced}
UNION ALL
SELECT tn.nspname, g.tgname, tn.nspname, t.relname, 'trigger'
FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE g.tgenabled = 'D'
"""
_EXTENSIONS = """
SELECT e.extname AS name, e.extversion AS version, a.default_version AS available
FROM pg_extension e JOIN pg_available_extensions a ON a.name = e.extname WHERE a.default_version <> e.extversion
"""
_PGSTATTUPLE = """
SELECT quote_ident(n.nspname) AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pgstattuple'
"""
_EXACT = """
SELECT table_len AS bytes, approx_free_space AS free_bytes, dead_tuple_len AS dead_bytes, scanned_percent AS scanned
FROM {schema}.pgstattuple_approx({oid}::oid::regclass)
"""
#: Tables that are looked at: the largest, those with most dead rows and the oldest.
MOST = 500
#: Sequences whose values are read by one statement.
_AT_ONCE = 500


def inside(
    look: Look, name: str, *, major: int, block_bytes: int, least_bytes: float, oldest: float, exact: bool
) -> dict[str, Any]:
    """All that is asked of the database that is connected."""
    locked = rows(look, _LOCKED, "locked tables") or []
    held = [int(row["oid"]) for row in locked]
    for row in locked:
        look.miss(f"{row['schema']}.{row['name']} in database {name}", "locked")
    tables = rows(
        look,
        _TABLES.format(block=block_bytes, width=100, least=int(least_bytes), age=int(oldest), most=MOST),
        "tables",
    )
    found: dict[str, Any] = {
        "name": name,
        "tables": tables,
        "widths": _widths(look, tables or [], held),
        "sequences": _sequences(look, held),
        "invalid": rows(
            look, _INVALID.format(enforced=" AND k.conenforced" if major >= 18 else ""), "invalid objects"
        ),
        "extensions": rows(look, _EXTENSIONS, "extensions"),
        "exact": {},
    }
    hidden = look.ask(_HIDDEN, what="sequences")
    if hidden and hidden[0][0]:
        look.miss(f"sequences ({hidden[0][0]}) in database {name}", "sequences")
    if exact:
        found["exact"] = _exact(
            look, name, [row for row in tables or [] if row["oid"] not in held], least_bytes, block_bytes
        )
    return found


def _sequences(look: Look, held: Collection[int]) -> list[Row] | None:
    """What they are at once, their values some hundred at a time: each is locked until its statement ends, and the lock
    table is everybody's."""
    found = _with_values(look, _SEQUENCES, (held,), "sequences")
    if found is None:
        return None
    values: dict[int, Any] = {}
    oids = [int(row["oid"]) for row in found]
    for begin in range(0, len(oids), _AT_ONCE):
        part = _with_values(look, _VALUES, (oids[begin : begin + _AT_ONCE],), "values of sequences")
        values.update((int(row["oid"]), row["last"]) for row in part or [])
    return [{**row, "last": values.get(int(row["oid"]))} for row in found]


def _widths(look: Look, tables: list[Row], held: Collection[int]) -> list[Row] | None:
    names = [f"{row['schema']}.{row['name']}" for row in tables if row["oid"] not in held]
    return _with_values(look, _WIDTHS, (names,), "statistics of columns") if names else []


def _with_values(look: Look, statement: str, values: tuple[Any, ...], what: str) -> list[Row] | None:
    found = look.ask(f"SELECT to_jsonb(q) FROM ({statement}) q", values, what=what)
    return None if found is None else [dict(row[0]) for row in found]


def _exact(look: Look, name: str, tables: list[Row], least: float, block_bytes: int) -> dict[str, Row]:
    """Exact figures of large tables by the visibility map (pgstattuple_approx); it reads what is not all visible."""
    there = rows(look, _PGSTATTUPLE, "pgstattuple")
    if not there:
        look.miss(f"exact bloat in database {name}", "absent", "CREATE EXTENSION pgstattuple")
        return {}
    found = {}
    for row in tables:
        if row["pages"] * block_bytes >= least:
            statement = _EXACT.format(schema=there[0]["schema"], oid=int(row["oid"]))
            measured = rows(look, statement, f"exact bloat of {row['schema']}.{row['name']}")
            if measured:
                found[str(row["oid"])] = measured[0]
    return found
