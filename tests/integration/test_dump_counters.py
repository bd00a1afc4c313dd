# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Numbers of rows in a dump that the server itself knows: nothing is read twice, unless somebody else was there.

Who else was there is tried between the snapshot and the end of the dump, by everything that returns rows.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.dump_rows import Snapshot

from .harness.cluster import Cluster
from .harness.installation import Installation, each_major, installations
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for

ROWS = {"public.large": 30_000, "public.small": 10, "public.nothing": 0, 'public."Odd\nname"': 3}
EVERY_TABLE = {"public.large", "public.nothing", "public.small", 'public."Odd\n\tname"'}
SETTINGS = {"log_statement": "all", "autovacuum": "off", "min_parallel_table_scan_size": "0"}


def filled(sandbox: Sandbox, installation: Installation | None = None) -> Cluster:
    cluster = Cluster(sandbox, "main", archiving=False, settings=SETTINGS, installation=installation).start()
    cluster.sql("CREATE DATABASE app")
    with cluster.connect("app") as connection:
        connection.execute(
            "CREATE TABLE large AS SELECT n, repeat(md5(n::text), n % 9) AS t FROM generate_series(1, 35000) AS n"
        )
        connection.execute("CREATE INDEX ON large (n)")
        # Not every row that lies in a page is one.
        connection.execute("DELETE FROM large WHERE n % 7 = 0")
        connection.execute("CREATE TABLE small AS SELECT generate_series(1, 10) AS n")
        connection.execute("CREATE TABLE nothing (n int)")
        connection.execute('CREATE TABLE "Odd\nname" AS SELECT generate_series(1, 3) AS n')
    return cluster


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    sandbox = Sandbox()
    yield filled(sandbox)
    sandbox.close()


def reads(cluster: Cluster, since: int) -> list[str]:
    """Tables whose rows were counted by reading them since the log had a length."""
    text = Path(cluster.server_log).read_bytes()[since:].decode()
    found = [part.partition(" AS r")[0] for part in text.split("count(*), NULL) FROM ONLY ")[1:]]
    return [name for name in found if "%" not in name]


def log_length(cluster: Cluster) -> int:
    return Path(cluster.server_log).stat().st_size


def recorded(cluster: Cluster, *options: str) -> dict[str, int]:
    label = cluster.keeper("dump", "--database", "app", *options).expect(0)["dumps"][0]["dump"]["label"]
    shelf = cluster.repository / cluster.name / "dump" / "app"
    known = json.loads((shelf / label / "dump.json").read_text())["rows"]
    return {name: item["rows"] for name, item in known.items()}


@pytest.mark.parametrize("options", [(), ("--format", "directory", "--jobs", "2"), ("--format", "plain")])
def test_a_quiet_database_is_read_once(server: Cluster, options: tuple[str, ...]) -> None:
    begun = log_length(server)
    assert recorded(server, *options) == ROWS
    assert reads(server, begun) == []


@pytest.mark.parametrize("major", each_major())
def test_on_every_major(sandbox: Sandbox, major: int) -> None:
    """Up to 14 counters are not to be relied on, and everything is read."""
    cluster = filled(sandbox, installations()[major])
    begun = log_length(cluster)
    assert recorded(cluster, "--format", "directory", "--jobs", "2") == ROWS
    assert set(reads(cluster, begun)) == (EVERY_TABLE if major < 15 else set())


OTHERS: dict[str, Callable[[Any], Any]] = {
    "a scan": lambda session: session.execute("SELECT count(*) FROM large"),
    "a part of one": lambda session: session.execute("SELECT n FROM large LIMIT 1"),
    "a sample, which is no scan": lambda session: session.execute(
        "SELECT count(*) FROM large TABLESAMPLE SYSTEM (30)"
    ),
    "a range of ctid, which is none either": lambda session: session.execute(
        "SELECT count(*) FROM large WHERE ctid < '(5,1)'"
    ),
    "an index": lambda session: session.execute(
        "SET enable_seqscan = off; SELECT t FROM large WHERE n IN (5, 6)"
    ),
    "rows that came later": lambda session: session.execute("INSERT INTO large SELECT 7 * n FROM large"),
    "rows that went": lambda session: session.execute("DELETE FROM large WHERE n < 1000"),
    "a vacuum": lambda session: session.execute("VACUUM large"),
    "statistics": lambda session: session.execute("ANALYZE large"),
    "an index that is built": lambda session: session.execute("CREATE INDEX ON large (t)"),
    "counters that begin anew": lambda session: session.execute("SELECT pg_stat_reset()"),
    "one table's counters that do": lambda session: session.execute(
        "SELECT count(*) FROM large; SELECT pg_stat_reset_single_table_counters('large'::regclass);"
        " SELECT count(*) FROM large TABLESAMPLE SYSTEM (30)"
    ),
    "several processes": lambda session: session.execute(
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SELECT sum(n) FROM large"
    ),
}


def by_pg_dump(cluster: Cluster, snapshot: Snapshot) -> None:
    """The dump, as an engine of ours runs it."""
    argv = [
        cluster.installation.program("pg_dump"),
        "-Fc",
        "-f",
        str(cluster.root / "by-pg_dump"),
        f"--snapshot={snapshot.identity}",
    ]
    argv += ["-h", str(cluster.socket_directory), "-p", str(cluster.port), "-U", "postgres", "app"]
    subprocess.run(
        argv,
        check=True,
        env={**os.environ, **cluster.installation.environment, "PGAPPNAME": snapshot.name},
    )


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", OTHERS)
def test_what_somebody_else_has_touched_is_read(sandbox: Sandbox, what: str, when: str) -> None:
    """Before pg_dump comes to the table, and after it: the number is that of the snapshot, whatever was done."""
    cluster = filled(sandbox)
    config = ClusterConfig.load(str(cluster.config_path))
    begun = log_length(cluster)
    with Snapshot(config, "app", attempted="test", user=None, lock_wait_seconds=60) as snapshot:
        for turn in ("before", "after"):
            if turn == when:
                with cluster.connect("app") as other:
                    OTHERS[what](other)
            if turn == "before":
                by_pg_dump(cluster, snapshot)
        names = ["public.large", "public.small", "public.nothing", "public.Odd\nname"]
        snapshot.count(None, names, large_objects=False)
    assert {name: item["rows"] for name, item in snapshot.rows.items()} == ROWS
    assert snapshot.warnings == []
    read = set(reads(cluster, begun))
    # All counters began anew: of a table that ever had any, nothing is known.
    others = EVERY_TABLE if what == "counters that begin anew" else set()
    assert "public.large" in read and read - {"public.large"} <= others


def test_whoever_has_not_ended_has_not_said_it_yet(server: Cluster) -> None:
    """A session of the dump that is still there, and somebody's whole scan: that one's number is not the dump's."""
    config = ClusterConfig.load(str(server.config_path))
    with Snapshot(config, "app", attempted="test", user=None, lock_wait_seconds=60) as snapshot:
        with server.connect("app") as copying:
            copying.execute("SELECT set_config('application_name', %s, false)", (snapshot.name,))
            copying.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            copying.execute(f"SET TRANSACTION SNAPSHOT '{snapshot.identity}'")
            copying.execute("SELECT count(*) FROM large")
            with server.connect("app") as other:
                other.execute("INSERT INTO small VALUES (11)")
                other.execute("SELECT count(*) FROM small")
            begun = log_length(server)
            # It gives up waiting, and reads.
            snapshot.count(None, ["public.large", "public.small"], large_objects=False)
        assert sorted(reads(server, begun)) == ["public.large", "public.small"]
    assert {name: item["rows"] for name, item in snapshot.rows.items()} == {
        "public.large": 30_000,
        "public.small": 10,
    }
    server.sql("DELETE FROM small WHERE n = 11", database="app")


def test_a_table_that_others_use_is_read_while_pg_dump_works(server: Cluster) -> None:
    """And not when it is done: of a large one that would be waited for."""
    config = ClusterConfig.load(str(server.config_path))
    with Snapshot(config, "app", attempted="test", user=None, lock_wait_seconds=60) as snapshot:
        server.sql("SELECT count(*) FROM large", database="app")
        begun = log_length(server)
        snapshot.count_all()
        wait_for(lambda: reads(server, begun) == ["public.large"], "what is read meanwhile")
        by_pg_dump(server, snapshot)
        before = log_length(server)
        snapshot.count(None, ["public.large", "public.small"], large_objects=False)
        assert reads(server, before) == []
    assert {name: item["rows"] for name, item in snapshot.rows.items()} == {
        "public.large": 30_000,
        "public.small": 10,
    }
