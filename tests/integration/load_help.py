# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the tests of loading look at: a database with a bit of everything, its dumps, the databases of a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox

APP = (
    "CREATE ROLE app_owner",
    "CREATE ROLE reader",
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TABLE items (id serial PRIMARY KEY, name text NOT NULL, m mood DEFAULT 'ok')",
    "INSERT INTO items (name) SELECT 'item ' || n FROM generate_series(1, 500) AS n",
    "CREATE INDEX items_name ON items (name)",
    "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item int REFERENCES items, n int)",
    "INSERT INTO orders (item, n) SELECT n, n FROM generate_series(1, 300) AS n",
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER touched BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()",
    'CREATE SCHEMA "od.d"',
    'CREATE TABLE "od.d"."表 と\nline" (id int, "va""lue" text)',
    'INSERT INTO "od.d"."表 と\nline" SELECT n, \'値\' || n FROM generate_series(1, 30) AS n',
    "ALTER TABLE items OWNER TO app_owner",
    "GRANT SELECT ON items TO reader",
    "COMMENT ON TABLE items IS 'what is sold'",
    "SELECT lo_from_bytea(4711, 'large'::bytea)",
)


def name_of(database: str) -> psycopg.sql.Composable:
    return psycopg.sql.Identifier(database)


def dsn(cluster: Cluster, database: str) -> str:
    return psycopg.conninfo.make_conninfo(cluster.dsn(), dbname=database)


def within(cluster: Cluster, database: str, *statements: str) -> list[tuple[Any, ...]]:
    """Statements in a database of any name; the rows of the last one."""
    with psycopg.connect(dsn(cluster, database), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def make_app(cluster: Cluster, database: str = "app") -> Cluster:
    with cluster.connect() as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(name_of(database)))
    within(cluster, database, *APP)
    return cluster


def databases(cluster: Cluster) -> list[str]:
    rows = cluster.sql(
        "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1"
    )
    return [row[0] for row in rows]


def open_databases(cluster: Cluster) -> list[tuple[str, bool, int]]:
    return cluster.sql(
        "SELECT datname, datallowconn, datconnlimit FROM pg_database"
        " WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1"
    )


def dumped() -> Iterator[Cluster]:
    """A server with database app and three dumps of it, called c, d and p by their formats."""
    sandbox = Sandbox()
    cluster = make_app(Cluster(sandbox, "main", archiving=False).start())
    for label, options in (
        ("c", ["--format", "custom"]),
        ("d", ["--format", "directory", "--jobs", "2"]),
        ("p", ["--format", "plain"]),
    ):
        cluster.keeper("dump", "--database", "app", "--label", label, "--rows", "digest", *options).expect()
    yield cluster
    sandbox.close()
