# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a load does while pg_restore works, and what it believes when that is done.

Large tables are read, files are held against their digests; numbers are taken from the server's own counters.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.load_count import taken_in

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox

ROWS = 120_000
# Autovacuum gives way to ALTER TABLE by rolling back, which is one more reason to read.
SETTINGS = {"log_statement": "all", "autovacuum": "off"}
#: Whoever fills the view takes rows away, but not where it was made: after the rows are in.
SHRINK = """
CREATE FUNCTION shrink() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  IF current_database() <> 'app' THEN {}; END IF;
  RETURN 1;
END $$
"""
AWAY = ("DELETE FROM public.large WHERE n = 1", "TRUNCATE public.large")


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    sandbox = Sandbox()
    cluster = Cluster(sandbox, "main", archiving=False, settings=SETTINGS).start()
    cluster.sql("CREATE DATABASE app")
    cluster.sql(
        "CREATE TABLE large AS SELECT n, md5(n::text) AS t FROM generate_series(1, %s::int) AS n",
        ROWS,
        database="app",
    )
    cluster.sql("ALTER TABLE large ADD PRIMARY KEY (n)", database="app")
    cluster.sql("CREATE TABLE small AS SELECT generate_series(1, 10) AS n", database="app")
    yield cluster
    sandbox.close()


def reads_of(cluster: Cluster, since: int) -> int:
    """How often the rows of the large table were read since the log had a length."""
    text = Path(cluster.server_log).read_bytes()[since:].decode()
    return text.count(" FROM ONLY public.large AS r")


@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.matrix), 2])
@pytest.mark.parametrize(
    ("proof", "reads"),
    [
        # By the server's counters.
        ("count", 0),
        # Meanwhile.
        ("digest", 1),
    ],
)
def test_a_large_table_is_read_no_more_than_it_takes(
    server: Cluster, jobs: int, proof: str, reads: int
) -> None:
    label = f"{proof}-{jobs}"
    how = ["--format", "directory", "--jobs", str(jobs), "--rows", proof, "--no-globals"]
    server.keeper("dump", "--database", "app", "--label", label, *how).expect()
    since = Path(server.server_log).stat().st_size
    found = server.keeper("load", label, "--database", "app", "--into", label, "--jobs", str(jobs)).expect()
    assert (found["load"]["proof"], found["load"]["rows"]) == (proof, ROWS + 10)
    # Before 15 counters could get lost, and it is read at the end in any case.
    assert reads_of(server, since) == reads + (server.installation.major < 15)


@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.matrix), 2])
@pytest.mark.parametrize("proof", ["count", "digest"])
@pytest.mark.parametrize("away", AWAY)
def test_rows_that_go_when_they_were_in_are_missed(server: Cluster, jobs: int, proof: str, away: str) -> None:
    server.sql(SHRINK.format(away), database="app")
    server.sql("CREATE MATERIALIZED VIEW filled AS SELECT shrink() AS n", database="app")
    try:
        label = f"shrinks-{jobs}-{proof}-{away[:1].lower()}"
        how = ["--format", "directory", "--rows", proof]
        server.keeper("dump", "--database", "app", "--label", label, *how).expect()
        answer = server.keeper("load", label, "--database", "app", "--into", "less", "--jobs", str(jobs))
        answer.failed("load-rows-differ", "public.large")
        assert (
            server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'dbkeeper%%' OR datname = 'less'")
            == []
        )
    finally:
        server.sql("DROP MATERIALIZED VIEW filled; DROP FUNCTION shrink()", database="app")


#: Two indexes that are built at the same time wait for each other, in whatever database they are built for the first
#: time; the second time the server has a deadlock in its log.
LOCK_OUT = """
CREATE FUNCTION lock_out(mine int, other int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF pg_catalog.current_database() <> 'app'
     AND pg_catalog.strpos(pg_catalog.pg_read_file('{}'), 'ERROR:  deadlock det' || 'ected') = 0 THEN
    PERFORM pg_catalog.pg_advisory_xact_lock(mine);
    PERFORM pg_catalog.pg_sleep(2);
    PERFORM pg_catalog.pg_advisory_xact_lock(other);
  END IF;
  RETURN mine;
END $$;
CREATE TABLE one AS SELECT 1 AS n;
CREATE TABLE two AS SELECT 2 AS n;
CREATE INDEX ON one (lock_out(n, 2));
CREATE INDEX ON two (lock_out(n, 1))
"""


def test_processes_of_pg_restore_that_lock_each_other_out(sandbox: Sandbox) -> None:
    """It says nothing about the dump: the load begins anew with one of them, and says so."""
    cluster = Cluster(sandbox, "main", archiving=False, settings={"autovacuum": "off"}).start()
    cluster.sql("CREATE DATABASE app")
    cluster.sql(LOCK_OUT.format(cluster.server_log).replace("%", "%%"), database="app")
    cluster.keeper("dump", "--database", "app", "--label", "d", "--format", "directory").expect()
    done = cluster.keeper("load", "d", "--database", "app", "--into", "back", "--jobs", "2").expect()
    assert (done["load"]["deadlocks"], done["load"]["proof"], done["load"]["rows"]) == (1, "count", 2)
    assert Path(cluster.server_log).read_text().count("ERROR:  deadlock detected") == 1
    assert cluster.value("SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'", database="back") == 2
    assert cluster.sql("SELECT datname FROM pg_database WHERE datname LIKE 'dbkeeper%%'") == []


def test_counters_are_believed_of_what_was_filled_and_left_alone_only(server: Cluster) -> None:
    server.sql("CREATE DATABASE counters")
    for name in ("whole", "updated", "shorter", "emptied", "nothing"):
        server.sql(f"CREATE TABLE {name} (n int)", database="counters")
    for name in ("whole", "updated", "shorter", "emptied"):
        server.sql(f"INSERT INTO {name} SELECT generate_series(1, 7)", database="counters")
    server.sql("UPDATE updated SET n = 8 WHERE n = 1", database="counters")
    server.sql("DELETE FROM shorter WHERE n = 1", database="counters")
    server.sql("TRUNCATE emptied", database="counters")
    config = ClusterConfig.load(str(server.config_path))

    def believed() -> dict[str, int]:
        return {key: one.rows for key, one in taken_in(config, "counters").items()}

    # Before 15 counters could get lost.
    assert believed() == ({"public.whole": 7} if config.major > 14 else {})
    # What was rolled back is on the counter, too.
    server.sql("BEGIN; INSERT INTO nothing SELECT generate_series(1, 7); ROLLBACK", database="counters")
    assert believed() == {}


def test_counters_are_believed_when_nobody_else_is_in_the_database(server: Cluster) -> None:
    """What a session has done is on them when it has ended: before, they may show its rows, and not that it has deleted
    some since."""
    server.sql("CREATE DATABASE shared")
    server.sql("CREATE TABLE one AS SELECT generate_series(1, 7) AS n", database="shared")
    config = ClusterConfig.load(str(server.config_path))
    with server.connect("shared") as session:
        session.execute("DELETE FROM one WHERE n = 1")
        assert taken_in(config, "shared") == {}
    assert taken_in(config, "shared") == {}


@pytest.mark.parametrize("how", [pytest.param("custom", marks=pytest.mark.matrix), "directory"])
def test_a_large_file_that_is_not_what_was_written(server: Cluster, how: str) -> None:
    """It is found while pg_restore reads it; whatever that makes of it is gone again."""
    label = f"rotten-{how}"
    server.keeper(
        "dump", "--database", "app", "--label", label, "--format", how, "--compression", "none"
    ).expect()
    root = server.repository / "main" / "dump" / "app" / label
    path = max((one for one in root.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    data = bytearray(path.read_bytes())
    assert len(data) > 1 << 20
    # A letter of a text: pg_restore loads it without a word.
    data[len(data) // 2] ^= 1
    path.chmod(0o640)
    path.write_bytes(bytes(data))
    server.keeper("load", label, "--database", "app", "--into", "rot").failed("dump-file-damaged", "digest")
    assert (
        server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'dbkeeper%%' OR datname = 'rot'") == []
    )
