# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Rows for each table, counted and digested at one snapshot: the proof that a load brought back what was dumped.

One sequential scan for each table: counting takes a tenth of the processor time of its COPY, digesting about as much
as its COPY, so that both are levels that are asked for. The digest is the sum, modulo 2^64, of a hash of every row, so
that it does not depend on the order in which rows lie. It has to be the same on every version from 14 on, in every
database encoding, under every setting:

- types whose hash the server keeps stable (hash partitions and hash indexes depend on it) are hashed as they are, texts
  by their bytes in UTF-8 whatever their collation, numbers of type numeric with their scale; all other columns of a row
  by their text form together, written under fixed settings;
- columns are taken in the order of their names: a dump may bring them back in another one;
- generated columns are left out: they are computed anew, and by a newer version perhaps otherwise;
- of partitioned tables the leaves are counted, of inheritance each table by itself; foreign tables and materialised
  views have no rows of their own in a dump; a table of an extension counts where the extension says that it is dumped,
  and with the condition that it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..cluster.config import ClusterConfig
from .session import Session

#: Stands before every digest: digests that were made otherwise are not compared.
ALGORITHM = "h2"
#: What is known of rows, from nothing to their content.
NONE, COUNT, DIGEST = "none", "count", "digest"
LARGE_OBJECTS = "pg_catalog.pg_largeobject"
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")

Wanted = Callable[[str, str], bool]
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class TableRows:
    """What a table held: how many rows, and where it was made their digest (hex, the algorithm's name before it)."""

    rows: int
    digest: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON, as it stands in ``dump.json``."""
        return {"rows": self.rows, "digest": self.digest}

    @property
    def comparable(self) -> bool:
        """Whether its digest can be held against one that is made today."""
        return self.digest is not None and self.digest.startswith(f"{ALGORITHM}:")

    def agrees(self, other: TableRows | None) -> bool:
        """Whether the other holds the same, as far as both are known."""
        if other is None or self.rows != other.rows:
            return False
        return not (self.comparable and other.comparable) or self.digest == other.digest


@dataclass(frozen=True)
class Difference:
    """A table that is not as it should be; a side is None where the table is not there."""

    table: str
    expected: TableRows | None
    found: TableRows | None

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "table": self.table,
            "expected": self.expected.to_dict() if self.expected else None,
            "found": self.found.to_dict() if self.found else None,
        }


def table_key(schema: str, table: str) -> str:
    """``schema.table``; parts that are no plain names stand in double quotes, so that a key means one table only."""
    return ".".join(
        part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in (schema, table)
    )


def split_key(key: str) -> tuple[str, str]:
    """Back from :func:`table_key`. Raises ValueError for what it never makes."""
    part = r'([a-z_][a-z0-9_]*|"(?:[^"]|"")+")'
    match = re.fullmatch(f"{part}\\.{part}", key)
    if not match:
        raise ValueError(f"{key!r} is no table's key")
    schema, table = (
        text[1:-1].replace('""', '"') if text.startswith('"') else text for text in match.groups()
    )
    return schema, table


def count_rows(
    config: ClusterConfig,
    database: str,
    *,
    snapshot: str | None = None,
    wanted: Wanted | None = None,
    large_objects: bool = True,
    level: str = DIGEST,
    jobs: int = 1,
    lock_timeout_seconds: float = 0,
    report: Report | None = None,
    opened: Callable[[Session], None] | None = None,
    into: dict[str, TableRows] | None = None,
) -> dict[str, TableRows]:
    """Every table of a database by its :func:`table_key`, at ``snapshot`` (what ``pg_export_snapshot()`` said) or now.

    ``wanted(schema, table)`` chooses tables; ``level`` says whether their rows are digested, too; ``jobs`` processes of
    the server read a large one; ``report(done, total)`` is told bytes, ``opened`` the session, which may be cancelled.
    Large objects come as the table ``pg_catalog.pg_largeobject``, a row each, where there are any. ``into`` is filled
    table by table, and has what was counted when something ends it early.
    Raises :class:`Failed`: ``server-unreachable``, ``sql-failed`` (a table that went away, a lock that was not had).
    """
    attempted = f"count the rows of database {database}"
    with Session(config, database, attempted=attempted) as session:
        if opened:
            opened(session)
        session.do("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot is not None:
            session.do("SET TRANSACTION SNAPSHOT " + _literal(snapshot))
        session.do(f"SET LOCAL max_parallel_workers_per_gather = {max(0, jobs - 1)}")
        session.do(f"SET LOCAL lock_timeout = {int(lock_timeout_seconds * 1000)}")
        counted = count_in(
            session, wanted=wanted, large_objects=large_objects, level=level, report=report, into=into
        )
        session.do("COMMIT")
    return counted


def count_in(
    session: Session,
    *,
    wanted: Wanted | None = None,
    large_objects: bool = True,
    level: str = DIGEST,
    report: Report | None = None,
    into: dict[str, TableRows] | None = None,
) -> dict[str, TableRows]:
    """The same in the transaction of an open session, with what it has done itself; leaves its settings behind."""
    counted: dict[str, TableRows] = {} if into is None else into
    for name, value in _SETTINGS.items():
        session.do(f"SET LOCAL {name} = {_literal(value)}")
    tables = [item for item in session.ask(_TABLES) if wanted is None or wanted(item[0], item[1])]
    total, done = sum(item[4] for item in tables), 0
    for schema, table, counting, digesting, size in tables:
        statement = digesting if level == DIGEST else counting
        counted[table_key(schema, table)] = _rows(session.ask(statement)[0])
        done += size
        if report:
            report(done, total)
    if large_objects:
        counted |= count_large_objects(session, level)
    return counted


def count_large_objects(session: Session, level: str) -> dict[str, TableRows]:
    """They alone, by their key, in the transaction of an open session; nothing where there are none."""
    found = _rows(session.ask(_LARGE_OBJECTS if level == DIGEST else _LARGE_OBJECTS_COUNTED)[0])
    return {LARGE_OBJECTS: found} if found.rows else {}


def from_record(recorded: Mapping[str, Mapping[str, Any]]) -> dict[str, TableRows]:
    """Back from what :meth:`TableRows.to_dict` made of each table."""
    return {
        name: TableRows(int(item["rows"]), str(item["digest"]) if item.get("digest") else None)
        for name, item in recorded.items()
    }


def to_record(counted: Mapping[str, TableRows]) -> dict[str, dict[str, Any]]:
    """As ``dump.json`` keeps it."""
    return {name: item.to_dict() for name, item in sorted(counted.items())}


def compare(
    expected: Mapping[str, TableRows],
    found: Mapping[str, TableRows],
    *,
    only: Iterable[str] | None = None,
) -> list[Difference]:
    """Tables that are not as they were, or are missing; ``only`` names some. What is there besides is no difference."""
    names = sorted(expected if only is None else set(only) & set(expected))
    return [
        Difference(name, expected[name], found.get(name))
        for name in names
        if not expected[name].agrees(found.get(name))
    ]


def known_level(counted: Iterable[TableRows]) -> str:
    """What can be proven by these: the least that is known of any of them."""
    items = list(counted)
    if not items:
        return NONE
    return DIGEST if all(item.comparable for item in items) else COUNT


def _rows(answer: Any) -> TableRows:
    rows, total = answer
    if total is None:
        return TableRows(int(rows))
    return TableRows(int(rows), f"{ALGORITHM}:{int(total) % (1 << 64):016x}")


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# What the text form of a value depends on (manual, "Client Connection Defaults"; pg_dump sets the same and more).
_SETTINGS = {
    "search_path": "pg_catalog",
    "extra_float_digits": "3",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "row_security": "off",
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "synchronize_seqscans": "off",
}

# Hashed as they are: their hash functions do not change between versions, and equal means the same.
_AS_THEY_ARE = """'int2','int4','int8','oid','bool','uuid','date','time','timestamp','timestamptz','bytea',
  'inet','macaddr'"""
_UTF8 = "pg_encoding_to_char(d.encoding) IN ('UTF8','SQL_ASCII')"

# Equal numbers of type numeric have equal hashes whatever their scale, all that are no finite ones have the same.
_SCALE = (
    "coalesce(scale(r.%1$I), CASE WHEN r.%1$I IS NULL THEN -4 WHEN r.%1$I = ''NaN'' THEN -1"
    " WHEN r.%1$I > 0 THEN -2 ELSE -3 END)"
)

# One line for each table: schema, table, the statements that count and digest it, its size. The server writes them, so
# that it quotes the names. In another encoding texts are hashed as the bytes that they would be in UTF-8; a row of one
# bytea hashes as a text of the same bytes does. A ROW has room for 1664 values: of many columns, numbers go
# by their text.
_TABLES = f"""
WITH d AS (SELECT encoding FROM pg_database WHERE datname = current_database()),
columns AS (
  SELECT a.attrelid, a.attname,
         t.typnamespace = 'pg_catalog'::regnamespace AND t.typname IN ({_AS_THEY_ARE}) AS as_it_is,
         t.typnamespace = 'pg_catalog'::regnamespace AND t.typname IN ('text','varchar','name') AS is_text,
         t.oid = '"char"'::regtype AS is_char,
         t.oid = 'numeric'::regtype AND count(*) OVER (PARTITION BY a.attrelid) <= 500 AS is_numeric
  FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
  WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
),
lists AS (
  SELECT c.attrelid,
         string_agg(CASE WHEN c.as_it_is THEN format('r.%I', c.attname)
                         WHEN c.is_char THEN format('r.%I::int4', c.attname)
                         WHEN c.is_numeric THEN format('r.%1$I, {_SCALE}', c.attname)
                         WHEN {_UTF8} THEN format('r.%I::text COLLATE "C"', c.attname)
                         ELSE format('convert_to(r.%I::text, ''UTF8'')', c.attname) END, ', '
                    ORDER BY c.attname COLLATE "C")
           FILTER (WHERE c.as_it_is OR c.is_text OR c.is_char OR c.is_numeric) AS fast,
         string_agg(format('r.%I', c.attname), ', ' ORDER BY c.attname COLLATE "C")
           FILTER (WHERE NOT (c.as_it_is OR c.is_text OR c.is_char OR c.is_numeric)) AS slow
  FROM columns AS c CROSS JOIN d GROUP BY c.attrelid
),
dumped AS (
  SELECT c.oid, n.nspname, c.relname, c.relpages, e.condition
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_depend AS member ON member.classid = 'pg_class'::regclass AND member.objid = c.oid
    AND member.objsubid = 0 AND member.deptype = 'e' AND member.refclassid = 'pg_extension'::regclass
  LEFT JOIN LATERAL (
    SELECT x.extcondition[array_position(x.extconfig, c.oid)] AS condition
    FROM pg_extension AS x WHERE c.oid = ANY (x.extconfig)
  ) AS e ON true
  WHERE c.relkind = 'r' AND c.relpersistence <> 't'
    AND (c.relpersistence <> 'u' OR NOT pg_is_in_recovery())
    AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    AND (member.objid IS NULL OR e.condition IS NOT NULL)
)
SELECT json_build_array(
  t.nspname, t.relname,
  format('SELECT json_build_array(count(*), NULL) FROM ONLY %I.%I AS r %s', t.nspname, t.relname, t.condition),
  format('SELECT json_build_array(count(*), coalesce(sum(hash_record_extended(ROW(%s), 0)), 0)::text)'
         ' FROM ONLY %I.%I AS r %s',
         concat_ws(', ', l.fast,
                   CASE WHEN l.slow IS NULL THEN NULL
                        WHEN {_UTF8} THEN format('ROW(%s)::text COLLATE "C"', l.slow)
                        ELSE format('convert_to(ROW(%s)::text, ''UTF8'')', l.slow) END),
         t.nspname, t.relname, t.condition),
  t.relpages::bigint * current_setting('block_size')::bigint)
FROM dumped AS t LEFT JOIN lists AS l ON l.attrelid = t.oid CROSS JOIN d
ORDER BY t.nspname COLLATE "C", t.relname COLLATE "C"
"""

# A hole in a large object comes back as zeros from a dump: zeros at the end of a page count as nothing, the size of the
# whole counts by itself.
_LARGE_OBJECTS = """
WITH pages AS (
  SELECT loid, pageno, rtrim(data, '\\x00'::bytea) AS bytes,
         pageno::bigint * (current_setting('block_size')::bigint / 4) + length(data) AS until
  FROM pg_largeobject
)
SELECT json_build_array(
  (SELECT count(*) FROM pg_largeobject_metadata),
  (coalesce((SELECT sum(hash_record_extended(ROW(loid, pageno, bytes), 0)) FROM pages WHERE bytes <> ''), 0)
   + coalesce((SELECT sum(hash_record_extended(ROW(o.oid, s.size), 0))
               FROM pg_largeobject_metadata AS o
               LEFT JOIN (SELECT loid, max(until) AS size FROM pages GROUP BY loid) AS s ON s.loid = o.oid), 0))::text)
"""
_LARGE_OBJECTS_COUNTED = "SELECT json_build_array(count(*), NULL) FROM pg_largeobject_metadata"
