# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Loads that must not begin, each provoked for real: a code, what to do about it, and nothing changed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from .harness.cluster import Cluster
from .harness.disk import SmallDisk
from .harness.installation import installations
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for

OLDEST, NEWEST = min(installations()), max(installations())
DATABASES = "SELECT datname, datallowconn, datconnlimit FROM pg_database ORDER BY 1"
#: No host has it: Klingon of a country that there is not.
LOCALE = "tlh_KX.UTF-8"


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """Database app, dumped as ``c``."""
    sandbox = Sandbox()
    cluster = Cluster(sandbox, "main", archiving=False).start()
    cluster.sql("CREATE DATABASE app")
    fill(cluster, "app")
    yield cluster
    sandbox.close()


def fill(cluster: Cluster, database: str) -> Cluster:
    """A table, and a dump ``c``."""
    cluster.sql("CREATE TABLE items AS SELECT n FROM generate_series(1, 500) AS n", database=database)
    cluster.keeper("dump", "--database", database, "--label", "c").expect()
    return cluster


def test_prepared_transactions_keep_a_database_from_being_renamed(server: Cluster) -> None:
    server.sql("CREATE DATABASE held")
    with psycopg.connect(server.dsn("held"), autocommit=True) as connection:
        connection.execute("CREATE TABLE t (a int)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("PREPARE TRANSACTION 'it''s one'")
    options = ["c", "--database", "app", "--into", "held", "--replace", "--confirm", "held"]
    with server.unchanged():
        server.keeper("load", *options).refused("prepared-transactions", "1 prepared", "ROLLBACK PREPARED")
    server.sql("ROLLBACK PREPARED 'it''s one'", database="held")
    done = server.keeper("load", *options).expect()
    with psycopg.connect(server.dsn("held"), autocommit=True) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE later (a int)")
        connection.execute("PREPARE TRANSACTION 'two'")
    undo = ["--undo", "--into", "held", "--confirm", "held"]
    with server.unchanged():
        server.keeper("load", *undo).refused("prepared-transactions", "1 prepared", "COMMIT PREPARED")
    server.sql("COMMIT PREPARED 'two'", database="held")
    assert server.keeper("load", *undo).expect()["plan"]["kept"] == done["load"]["kept"]
    assert server.sql("SELECT count(*) FROM t", database="held") == [(0,)]


def test_tablespaces_that_are_not_there(server: Cluster) -> None:
    """Of the database itself, and of a table in it."""
    for name in ("of_database", "of_table"):
        server.add_tablespace(name)
    server.sql("CREATE DATABASE spaced TABLESPACE of_database")
    server.sql("CREATE TABLE t TABLESPACE of_table AS SELECT 1 AS a", database="spaced")
    server.keeper("dump", "--database", "spaced", "--label", "spaced").expect()
    options = ["spaced", "--database", "spaced"]
    server.sql("DROP DATABASE spaced")
    server.sql("DROP TABLESPACE of_table")
    with server.unchanged():
        server.keeper("load", *options).refused("tablespaces-missing", "of_table", "--no-tablespaces")
    server.sql("DROP TABLESPACE of_database")
    with server.unchanged():
        server.keeper("load", *options).refused("tablespaces-missing", "of_database, of_table")
    assert server.keeper("load", *options, "--no-tablespaces").expect()["load"]["proven"]
    where = "SELECT spcname FROM pg_database AS d JOIN pg_tablespace AS s ON s.oid = dattablespace WHERE datname = %s"
    assert server.sql(where, "spaced") == [("pg_default",)]
    assert server.sql("SELECT a FROM t", database="spaced") == [(1,)]


def test_a_locale_that_the_host_does_not_have(sandbox: Sandbox) -> None:
    """The server was started where there was one more."""
    compiled = next(
        path for path in (Path("/usr/lib/locale/C.utf8"), Path("/usr/lib/locale/C.UTF-8")) if path.is_dir()
    )
    places = sandbox.root / "locales"
    for name in ("C.utf8", "tlh_KX.utf8"):
        shutil.copytree(compiled, places / name)
    cluster = Cluster(sandbox, "main", archiving=False)
    cluster.enter = ("env", f"LOCPATH={places}")
    cluster.start()
    cluster.enter = ()
    cluster.sql(f"CREATE DATABASE odd TEMPLATE template0 LOCALE '{LOCALE}'")
    fill(cluster, "odd")
    options = ["c", "--database", "odd", "--into", "back"]
    with cluster.unchanged():
        cluster.keeper("load", *options).refused("locale-missing", LOCALE, "locale-gen")
    # As its remedy says: where the database is there already, its locale is nobody's question.
    cluster.sql("CREATE DATABASE back")
    assert cluster.keeper("load", *options).expect()["load"]["proven"]


def test_extensions_that_the_server_does_not_have(
    make_cluster: Callable[..., Cluster], sandbox: Sandbox
) -> None:
    place = sandbox.root / "share" / "extension"
    place.mkdir(parents=True)
    (place / "counts.control").write_text("default_version = '1'\nrelocatable = true\n")
    (place / "counts--1.sql").write_text("CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';\n")
    cluster = make_cluster("main", installation=installations()[NEWEST], archiving=False)
    cluster.sql(f"ALTER SYSTEM SET extension_control_path = '{place.parent}:$system'")
    cluster.reload()
    here = "SELECT count(*) FROM pg_available_extensions WHERE name = 'counts'"
    wait_for(lambda: cluster.value(here) == 1, "the extension")
    cluster.sql("CREATE DATABASE app")
    cluster.sql("CREATE EXTENSION counts", database="app")
    fill(cluster, "app")
    cluster.sql("ALTER SYSTEM RESET extension_control_path")
    cluster.reload()
    wait_for(lambda: cluster.value(here) == 0, "the server without the extension")
    options = ["c", "--database", "app", "--into", "back"]
    with cluster.unchanged():
        error = cluster.keeper("load", *options).refused("extensions-missing", "counts", "--exclude")
    assert error["details"] == {"extensions": ["counts"]}
    exclude = ["--exclude", "EXTENSION * counts", "--exclude", "COMMENT * EXTENSION counts"]
    assert cluster.keeper("load", *options, *exclude).expect()["load"]["proven"]


def test_a_dump_of_a_newer_version(make_cluster: Callable[..., Cluster]) -> None:
    newer = make_cluster("main", installation=installations()[NEWEST], archiving=False)
    newer.sql("CREATE DATABASE app")
    fill(newer, "app")
    older = make_cluster(
        "older", installation=installations()[OLDEST], archiving=False, repository=newer.repository
    )
    older.write_config(cluster="main")
    with older.unchanged():
        older.keeper("load", "c", "--database", "app").refused(
            "dump-from-newer-version", str(NEWEST), str(OLDEST)
        )


def test_a_standby_and_a_full_disk(server: Cluster, sandbox: Sandbox) -> None:
    disk = SmallDisk(sandbox.root / "disk", 160)
    other = Cluster(sandbox, "other", archiving=False, repository=server.repository, disk=disk)
    other.write_config(cluster="main")
    signal_file = other.seen(other.data_directory) / "standby.signal"
    other.start()
    other.stop()
    signal_file.touch()
    other.start()
    options = ["c", "--database", "app"]
    # It follows nobody, and answers as a standby: its world is not looked at with a CHECKPOINT.
    before = other.sql(DATABASES)
    other.keeper("load", *options).refused("server-is-standby", "primary")
    assert other.sql(DATABASES) == before
    other.stop()
    signal_file.unlink()
    other.start()
    ballast = disk.fill(5 << 20)
    with other.unchanged():
        other.keeper("load", *options).refused("load-no-space", "are free", "Make room")
    ballast.unlink()
    assert other.keeper("load", *options).expect()["load"]["proven"]
    other.stop()
    disk.close()


@pytest.mark.matrix
def test_a_database_that_somebody_does_not_leave(server: Cluster, cell: Callable[..., None]) -> None:
    """A server process that answers no signal (here: stopped) would keep its database from being renamed."""
    server.sql("CREATE DATABASE stuck")
    server.sql("CREATE TABLE mine AS SELECT 7 AS a", database="stuck")
    holder = psycopg.connect(server.dsn("stuck"), autocommit=True)
    before = server.sql(DATABASES)
    pid = holder.info.backend_pid
    os.kill(pid, signal.SIGSTOP)
    options = ["c", "--database", "app", "--into", "stuck", "--replace", "--confirm", "stuck"]
    made = "SELECT datname FROM pg_database WHERE datname LIKE 'dbkeeper_load_%'"
    try:
        server.keeper("load", *options, "--drain-seconds", "0").failed(
            "database-in-use", "1 connections", "30 s"
        )
        assert [one for one in server.sql(DATABASES) if not one[0].startswith("dbkeeper_")] == before
        assert len(server.sql(made)) == 1
    finally:
        os.kill(pid, signal.SIGCONT)
        holder.close()
    assert server.sql("SELECT a FROM mine", database="stuck") == [(7,)]
    passed = len(server.steps())
    done = server.keeper("load", *options).expect()
    # What was loaded and proven is not loaded again.
    assert (done["load"]["proven"], server.steps()[passed]) == (True, "close:begun")
    assert server.sql(made) == []
    cell(refusal="database-in-use")
