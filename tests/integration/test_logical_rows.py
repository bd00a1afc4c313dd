# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Counting and digesting rows: the same on every version and under every setting, and different when a value is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.rows import (
    LARGE_OBJECTS,
    TableRows,
    compare,
    count_rows,
    table_key,
)

from .harness.cluster import Cluster
from .harness.installation import installations
from .harness.sandbox import Sandbox

ODD = 'sch"e.ma\n日本'

EVERY_TYPE = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE floats AS RANGE (subtype = float8);
CREATE TABLE everything (
  z int2, y int4, x int8, w oid, v bool, u uuid, t date, s time, r timetz, q timestamp, p timestamptz, o interval,
  n bytea, m inet, l macaddr, k text, j varchar(20), i char(5), h name, g "char", f numeric, e float4, d float8,
  c json, b jsonb, a xml, mo mood, pa pair, po positive, ra floats, mu int4multirange, arr text[], poi point, box box,
  mon money, bits bit varying, ts tsvector, reg regclass, lsn pg_lsn, nc text COLLATE "POSIX",
  gen int GENERATED ALWAYS AS (y + 1) STORED
);
INSERT INTO everything VALUES (
  1, 2, 3, 4, true, '6b1d5a2e-7d1f-4d0e-9f0b-000000000001', '2026-11-21', '03:04:05.678901', '03:04:05+09',
  'infinity', '2026-11-21 03:04:05.123456+09', '1 year 2 mons 3 days 04:05:06.789', '\\xdeadbeef00', '10.0.0.1/8',
  '08:00:2b:01:02:03', E'日本語 \\n "x" \\\\', 'ü', 'ab', 'na"me', '\\xe9'::bytea::text::"char", 'NaN', 0.1, 1e-300,
  '{"a":  1}', '{"b": 1.50}', '<a>ü</a>', 'ok', ROW(1, 'x,"y'), 5, '[1,2.5)', '{[1,3),[7,9)}', '{a,NULL,"b c"}',
  '(1,2)', '(1,2),(3,4)', 12.34, B'1011', to_tsvector('simple', 'a fat cat'), 'pg_class', '0/16B3748', 'AbC');
INSERT INTO everything (y) VALUES (NULL), (7), (7);
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE empty_one (a int);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    sandbox = Sandbox()
    yield Cluster(sandbox, "main", archiving=False).start()
    sandbox.close()


def config_of(cluster: Cluster) -> ClusterConfig:
    return ClusterConfig.load(str(cluster.config_path))


def counted(cluster: Cluster, database: str, snapshot: str | None = None) -> dict[str, TableRows]:
    return count_rows(config_of(cluster), database, snapshot=snapshot)


def made(cluster: Cluster, name: str, ddl: str, options: str = "") -> Cluster:
    cluster.sql(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
    with cluster.connect(name) as connection:
        connection.execute(b"SET client_encoding = 'UTF8'")
        connection.execute(ddl.encode())
    return cluster


def test_the_same_on_another_version_in_another_encoding_under_other_settings(
    server: Cluster, make_cluster: Callable[..., Cluster]
) -> None:
    made(server, "types", EVERY_TYPE)
    here = counted(server, "types")
    assert here["public.everything"].rows == 4
    assert here["public.nothing"].rows == 1
    assert here["public.empty_one"] == TableRows(0, "h2:" + "0" * 16)
    newest = make_cluster("newest", installation=installations()[max(installations())], archiving=False)
    made(newest, "types", EVERY_TYPE)
    newest.sql("ALTER DATABASE types SET DateStyle = 'SQL, DMY'")
    newest.sql("ALTER DATABASE types SET extra_float_digits = 0")
    newest.sql("ALTER DATABASE types SET bytea_output = 'escape'")
    newest.sql("ALTER DATABASE types SET IntervalStyle = 'iso_8601'")
    newest.sql("ALTER DATABASE types SET TimeZone = 'Asia/Tokyo'")
    assert counted(newest, "types") == here


@pytest.mark.parametrize("encoding", ["EUC_JP", "LATIN1", "SQL_ASCII"])
def test_the_same_in_another_encoding(server: Cluster, encoding: str) -> None:
    text = "ü" if encoding == "LATIN1" else "日本語 のテスト"
    ddl = (
        "CREATE TABLE t (a text, b varchar, c jsonb, d text[]);"
        f"INSERT INTO t VALUES ('{text}', '{text}', '\"{text}\"', '{{{text}}}')"
    )
    name = f"enc_{encoding.lower()}"
    made(server, f"{name}_u", ddl, "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    made(server, name, ddl, f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    found = counted(server, name)
    assert found["public.t"].rows == 1
    assert found == counted(server, f"{name}_u")


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        ("text", "'a'", "'b'"),
        ("text", "''", "NULL"),
        ("numeric", "1.0", "1.00"),
        ("numeric", "'NaN'", "'Infinity'"),
        ("numeric", "'Infinity'", "'-Infinity'"),
        ("numeric", "'-Infinity'", "NULL"),
        ("numeric", "0.00", "NULL"),
        ("float8", "0.1", "0.10000000000000002"),
        ("float8", "0.0", "'-0.0'"),
        ("timestamptz", "'2026-11-21 03:04:05.123456Z'", "'2026-11-21 03:04:05.123457Z'"),
        ("bytea", "'\\x00'", "'\\x0000'"),
        ("jsonb", "'1.5'", "'1.50'"),
        ("text[]", "'{NULL}'", "'{\"NULL\"}'"),
        ("interval", "'1 mon'", "'30 days'"),
    ],
)
def test_one_value_makes_a_difference(server: Cluster, column: str, before: str, after: str) -> None:
    with server.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS public.one")
        connection.execute(f"CREATE TABLE public.one (a {column}, b int)".encode())
        connection.execute(f"INSERT INTO public.one VALUES ({before}, 1), ({before}, 2)".encode())
        first = counted(server, "postgres")
        connection.execute(f"UPDATE public.one SET a = {after} WHERE b = 1".encode())
        second = counted(server, "postgres")
        (difference,) = compare(first, second)
        assert difference.table == "public.one"
        assert difference.expected and difference.found
        assert (difference.expected.rows, difference.found.rows) == (2, 2)
        # Back, and the rows in another order: the same again.
        connection.execute(f"UPDATE public.one SET a = {before} WHERE b = 1".encode())
        assert compare(first, counted(server, "postgres")) == []
        connection.execute("DROP TABLE public.one")


def test_odd_names_partitions_and_what_has_no_rows_of_its_own(server: Cluster) -> None:
    odd = ODD.replace('"', '""')
    made(
        server,
        "odd",
        f"""
        CREATE SCHEMA "{odd}";
        CREATE TABLE "{odd}"."r" (r int, "SELECT" int, "a""b" int);
        INSERT INTO "{odd}"."r" VALUES (1, 2, 3);
        CREATE TABLE part (a int) PARTITION BY RANGE (a);
        CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
        CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (20);
        INSERT INTO part SELECT generate_series(0, 14);
        CREATE TABLE parent (a int);
        CREATE TABLE child (b int) INHERITS (parent);
        INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 2), (3, 4);
        CREATE UNLOGGED TABLE unlogged (a int); INSERT INTO unlogged VALUES (1);
        CREATE MATERIALIZED VIEW mat AS SELECT 1 AS a;
        CREATE VIEW v AS SELECT 1 AS a;
        CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER s FOREIGN DATA WRAPPER nothing;
        CREATE FOREIGN TABLE far (a int) SERVER s;
        CREATE TABLE dropped (a int, b int, c text); INSERT INTO dropped VALUES (1, 2, 'c');
        ALTER TABLE dropped DROP COLUMN b;
        """,
    )
    found = counted(server, "odd")
    assert {name: item.rows for name, item in found.items()} == {
        table_key(ODD, "r"): 1,
        "public.part_1": 10,
        "public.part_2": 5,
        "public.parent": 1,
        "public.child": 2,
        "public.unlogged": 1,
        "public.dropped": 1,
    }
    chosen = count_rows(config_of(server), "odd", wanted=lambda schema, table: table.startswith("part_"))
    assert sorted(chosen) == ["public.part_1", "public.part_2"]


def test_the_order_of_columns_does_not_matter(server: Cluster) -> None:
    made(server, "order_1", "CREATE TABLE t (a int, b text, c jsonb); INSERT INTO t VALUES (1, 'x', '{}')")
    made(server, "order_2", "CREATE TABLE t (c jsonb, a int, b text); INSERT INTO t VALUES ('{}', 1, 'x')")
    assert counted(server, "order_1") == counted(server, "order_2")


def test_at_a_snapshot(server: Cluster) -> None:
    made(server, "moving", "CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    with psycopg.connect(server.dsn("moving")) as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        snapshot = holder.execute("SELECT pg_export_snapshot()").fetchall()[0][0]
        server.sql("INSERT INTO t VALUES (2), (3)", database="moving")
        assert counted(server, "moving", snapshot)["public.t"].rows == 1
    assert counted(server, "moving")["public.t"].rows == 3


def test_large_objects_by_content_not_by_pages(server: Cluster) -> None:
    """A hole comes back from a dump as zeros; a byte, a length or an object more is a difference."""
    write = "SELECT lo_create(4711); SELECT lo_put(4711, 0, 'head'); SELECT lo_put(4711, 100000, 'tail');"
    made(server, "lo_1", write)
    with_zeros = (
        "SELECT lo_from_bytea(4711, 'head'::bytea || decode(repeat('00', 99996), 'hex') || 'tail'::bytea);"
    )
    made(server, "lo_2", with_zeros)
    one = counted(server, "lo_1")
    assert one[LARGE_OBJECTS].rows == 1
    assert one == counted(server, "lo_2")
    for number, change in enumerate(
        ("SELECT lo_put(4711, 50000, 'x')", "SELECT lo_put(4711, 100004, '\\000')", "SELECT lo_create(4712)")
    ):
        made(server, f"lo_other_{number}", f"{write} {change}")
        assert compare(one, counted(server, f"lo_other_{number}")), change


def test_what_cannot_be_counted_is_an_error(server: Cluster) -> None:
    made(server, "locked", "CREATE TABLE t (a int)")
    with psycopg.connect(server.dsn("locked")) as holder:
        holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Failed) as caught:
            count_rows(config_of(server), "locked", lock_timeout_seconds=0.2)
    assert caught.value.details["sqlstate"] == "55P03"
    with pytest.raises(Failed) as caught:
        count_rows(config_of(server), "no such = 'database'")
    assert caught.value.code == "server-unreachable"
    assert "no such = 'database'" in caught.value.happened


def test_told_how_far_it_is_and_more_processes_count_the_same(server: Cluster) -> None:
    made(
        server,
        "wide",
        "CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 200000) AS g; ANALYZE t",
    )
    told: list[tuple[int, int]] = []
    one = count_rows(config_of(server), "wide", report=lambda done, total: told.append((done, total)))
    assert told and told[-1][0] == told[-1][1] > 1_000_000
    assert one == count_rows(config_of(server), "wide", jobs=3)
    assert one["public.t"].rows == 200000


def test_texts_that_a_collation_calls_equal_are_not_the_same(server: Cluster) -> None:
    """ICU is in the distribution's build of the default major only."""
    no_case = "CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
    for name, value in (("case_1", "abc"), ("case_2", "ABC")):
        made(
            server,
            name,
            f"{no_case} CREATE TABLE t (a text COLLATE no_case); INSERT INTO t VALUES ('{value}')",
        )
    assert compare(counted(server, "case_1"), counted(server, "case_2"))
