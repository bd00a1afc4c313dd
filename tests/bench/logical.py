# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Dumping and loading beside pg_dump and pg_restore called by hand with the same options.

Ours counts and digests every row on both sides, keeps the dump with digests of its files, and swaps names; by hand
there is none of that. The budget is 0.95 of the speed all the same: 1/0.95 of the time.
"""

from __future__ import annotations

import shutil

from tests.integration.harness.cluster import Cluster
from tests.integration.harness.sandbox import Sandbox

from .record import Row, Turn, alternately, compared, say

_MOST = 1 / 0.95
_BYTES_A_ROW = 170


def measure(sandbox: Sandbox, *, megabytes: int, repeat: int) -> list[Row]:
    """A table of texts and numbers with two indexes, and a second one without, in format directory by two jobs."""
    cluster = Cluster(
        sandbox, "logical", archiving=False, settings={"shared_buffers": "256MB", "max_wal_size": "4GB"}
    ).start()
    cluster.sql("CREATE DATABASE app")
    rows = megabytes * 1_000_000 // _BYTES_A_ROW // 2
    for name in ("first", "second"):
        cluster.sql(
            f"CREATE TABLE {name} AS SELECT n, n %% 97 AS k, md5(n::text) AS t, repeat('x', n %% 60) AS r,"
            " n / 7.0 AS f, now() + n * interval '1 s' AS at FROM generate_series(1, %s::int) AS n",
            rows,
            database="app",
        )
    cluster.sql("ALTER TABLE first ADD PRIMARY KEY (n)", database="app")
    cluster.sql("CREATE INDEX ON first (t)", database="app")
    cluster.sql("VACUUM ANALYZE", database="app")
    say(f"logical: {cluster.value('SELECT pg_database_size(%s)', 'app') / 1e6:.0f} MB")
    by_hand = sandbox.root / "by-hand"
    where = ["-h", str(cluster.socket_directory), "-p", str(cluster.port), "-U", "postgres"]

    def dump_by_hand() -> None:
        argv = ["-Fd", "-j", "2", "-Z", "1", "-f", str(by_hand), *where, "app"]
        cluster.program("pg_dump", *argv, timeout=7200)

    def dump_ours() -> None:
        argv = ["--database", "app", "--format", "directory", "--jobs", "2", "--compression", "gzip:1"]
        cluster.keeper("dump", *argv, timeout=7200).expect()

    dumps = alternately(
        repeat,
        [
            Turn("ours", dump_ours),
            Turn("pg_dump", dump_by_hand, before=lambda: shutil.rmtree(by_hand, ignore_errors=True)),
        ],
    )

    def fresh() -> None:
        cluster.sql("DROP DATABASE IF EXISTS back WITH (FORCE)")

    def load_by_hand() -> None:
        cluster.sql("CREATE DATABASE back TEMPLATE template0")
        cluster.program("pg_restore", "-j", "2", "-d", "back", *where, str(by_hand), timeout=7200)

    def load_ours() -> None:
        argv = ["--database", "app", "--into", "back", "--jobs", "2", "--no-analyze"]
        assert cluster.keeper("load", *argv, timeout=7200).expect()["load"]["proven"]

    loads = alternately(
        repeat, [Turn("ours", load_ours, before=fresh), Turn("pg_restore", load_by_hand, before=fresh)]
    )
    notes = {"megabytes": megabytes, "rows": 2 * rows, "budget": "0.95 of the speed, rows proven"}
    return [
        compared("logical dump", "pg_dump", dumps, _MOST, **notes),
        compared("logical load", "pg_restore", loads, _MOST, **notes),
    ]
