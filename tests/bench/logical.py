# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Dumping and loading beside pg_dump and pg_restore called by hand with the same options.

Ours counts every row on both sides, keeps the dump durably with digests of its files, and swaps names; by hand there is
none of that (but that pg_dump, too, makes durable what it writes). The budget is 0.95 of the speed all the same: 1/0.95
of the time. Two jobs keep both processors of the machine busy, where rows are counted by default; what digests
cost there is said beside it.
"""

from __future__ import annotations

import shutil
import statistics

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

    def dump_ours(*more: str) -> None:
        argv = ["--database", "app", "--format", "directory", "--jobs", "2", "--compression", "gzip:1"]
        cluster.keeper("dump", *argv, *more, timeout=7200).expect()

    dumps = alternately(
        repeat,
        [
            Turn("ours", lambda: dump_ours("--rows", "count")),
            Turn("pg_dump", dump_by_hand, before=lambda: shutil.rmtree(by_hand, ignore_errors=True)),
            Turn("ours, digests", lambda: dump_ours("--rows", "digest")),
        ],
    )
    for level in ("count", "digest"):
        dump_ours("--rows", level, "--label", level)

    def fresh() -> None:
        cluster.sql("DROP DATABASE IF EXISTS back WITH (FORCE)")

    def load_by_hand() -> None:
        cluster.sql("CREATE DATABASE back TEMPLATE template0")
        cluster.program("pg_restore", "-j", "2", "-d", "back", *where, str(by_hand), timeout=7200)

    def load_ours(level: str) -> None:
        argv = [level, "--database", "app", "--into", "back", "--jobs", "2", "--no-analyze"]
        assert cluster.keeper("load", *argv, timeout=7200).expect()["load"]["proof"] == level

    loads = alternately(
        repeat,
        [
            Turn("ours", lambda: load_ours("count"), before=fresh),
            Turn("pg_restore", load_by_hand, before=fresh),
            Turn("ours, digests", lambda: load_ours("digest"), before=fresh),
        ],
    )
    notes = {"megabytes": megabytes, "rows": 2 * rows, "budget": "0.95 of the speed, numbers of rows proven"}
    return [
        compared("logical dump", "pg_dump", dumps, _MOST, **notes, digests=_digests(dumps, "pg_dump")),
        compared("logical load", "pg_restore", loads, _MOST, **notes, digests=_digests(loads, "pg_restore")),
    ]


def _digests(runs: dict[str, list[float]], other: str) -> float:
    """What it takes with digests of all rows, as a multiple of the other's time."""
    ratio = round(statistics.median(runs["ours, digests"]) / statistics.median(runs[other]), 3)
    say(f"with digests: {ratio} x {other}")
    return ratio
