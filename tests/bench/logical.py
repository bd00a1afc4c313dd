# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Dumping and loading beside pg_dump and pg_restore called by hand with the same options.

Ours counts every row on both sides, keeps the dump durably with digests of its files, and swaps names; by hand there is
none of that (but that pg_dump, too, makes durable what it writes). Every dump is kept until the end, on both sides: who
writes into blocks that were just given back is quicker than who gets new ones. The budget is 0.95 of the speed all the
same: 1/0.95 of the time. Two jobs keep both processors of the machine busy, where rows are counted by default; what
digests cost there, and what it takes with nothing counted, is said beside it. A second pair of rows has the options
that nobody gave: format custom, one process. The command is built as it is on hosts, with its byte code.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli.install import build, engine_sources
from tests.integration.harness.cluster import Cluster
from tests.integration.harness.sandbox import Sandbox

from .record import Row, Turn, alternately, compared, say

_MOST = 1 / 0.95
_BYTES_A_ROW = 170
#: What can be measured by itself: in format directory by two jobs, and with the options that nobody gave.
ROWS = ("dump", "dump-default", "load", "load-default")


def measure(
    sandbox: Sandbox, *, megabytes: int, repeat: int, brief: bool = False, rows: Collection[str] = ROWS
) -> list[Row]:
    """A table of texts and numbers with two indexes, and a second one without. ``rows``: which of :data:`ROWS`.

    ``brief``: only what has a budget, for sizes at which the rest would take long.
    """
    cluster = Cluster(
        sandbox, "logical", archiving=False, settings={"shared_buffers": "256MB", "max_wal_size": "4GB"}
    ).start()
    cluster.sql("CREATE DATABASE app")
    lines = megabytes * 1_000_000 // _BYTES_A_ROW // 2
    for name in ("first", "second"):
        cluster.sql(
            f"CREATE TABLE {name} AS SELECT n, n %% 97 AS k, md5(n::text) AS t, repeat('x', n %% 60) AS r,"
            " n / 7.0 AS f, now() + n * interval '1 s' AS at FROM generate_series(1, %s::int) AS n",
            lines,
            database="app",
        )
    cluster.sql("ALTER TABLE first ADD PRIMARY KEY (n)", database="app")
    cluster.sql("CREATE INDEX ON first (t)", database="app")
    cluster.sql("VACUUM ANALYZE", database="app")
    say(f"logical: {cluster.value('SELECT pg_database_size(%s)', 'app') / 1e6:.0f} MB")
    made: list[Path] = []
    keeper = _command(cluster)
    where = ["-h", str(cluster.socket_directory), "-p", str(cluster.port), "-U", "postgres"]

    def dump_by_hand(*how: str) -> Path:
        made.append(sandbox.root / f"by-hand-{len(made)}")
        cluster.program("pg_dump", *how, "-Z", "1", "-f", str(made[-1]), *where, "app", timeout=7200)
        return made[-1]

    def dump_ours(*more: str) -> None:
        argv = ["--database", "app", "--format", "directory", "--jobs", "2", "--compression", "gzip:1"]
        keeper("dump", *argv, *more)

    def settled() -> None:
        """What the turn before left to the disk is not paid for by the next one."""
        cluster.sql("CHECKPOINT")
        os.sync()

    found: list[Row] = []
    notes = {"megabytes": megabytes, "rows": 2 * lines, "budget": "0.95 of the speed, numbers of rows proven"}

    def measured(row: str, title: str, other: str, turns: list[Turn]) -> None:
        if row not in rows:
            return
        runs = alternately(repeat, turns[:2] if brief else turns)
        beside = {"beside": _beside(runs, other)} if len(turns) > 2 else {}
        found.append(compared(title, other, runs, _MOST, **notes, **beside))

    turns = [
        Turn("ours", lambda: dump_ours("--rows", "count"), before=settled),
        Turn("pg_dump", lambda: dump_by_hand("-Fd", "-j", "2"), before=settled),
        Turn("ours, nothing counted", lambda: dump_ours("--rows", "none"), before=settled),
        Turn("ours, digests", lambda: dump_ours("--rows", "digest"), before=settled),
    ]
    measured("dump", "logical dump", "pg_dump", turns)
    usual = [
        Turn("ours", lambda: keeper("dump", "--database", "app"), before=settled),
        Turn("pg_dump", lambda: dump_by_hand("-Fc"), before=settled),
    ]
    measured("dump-default", "logical dump, no options", "pg_dump", usual)
    if not {"load", "load-default"} & set(rows):
        return found
    for level in ("count",) if brief else ("count", "digest"):
        dump_ours("--rows", level, "--label", level)
    keeper("dump", "--database", "app", "--label", "custom")
    by_hand, custom = dump_by_hand("-Fd", "-j", "2"), dump_by_hand("-Fc")

    def fresh() -> None:
        cluster.sql("DROP DATABASE IF EXISTS back WITH (FORCE)")
        settled()

    def load_by_hand(path: Path, *jobs: str) -> None:
        cluster.sql("CREATE DATABASE back TEMPLATE template0")
        cluster.program("pg_restore", *jobs, "-d", "back", *where, str(path), timeout=7200)

    def load_ours(label: str, proof: str, *jobs: str) -> None:
        argv = [label, "--database", "app", "--into", "back", "--no-analyze", "--proof", proof]
        assert keeper("load", *argv, *jobs)["load"]["proof"] == proof

    two = ("--jobs", "2")
    # A disk that grows as it is written to is slow the first time.
    for _dummy in range(2):
        fresh()
        load_by_hand(by_hand, *two)
    turns = [
        Turn("ours", lambda: load_ours("count", "count", *two), before=fresh),
        Turn("pg_restore", lambda: load_by_hand(by_hand, *two), before=fresh),
        Turn("ours, nothing counted", lambda: load_ours("count", "none", *two), before=fresh),
        Turn("ours, digests", lambda: load_ours("digest", "digest", *two), before=fresh),
    ]
    measured("load", "logical load", "pg_restore", turns)
    usual = [
        Turn("ours", lambda: load_ours("custom", "count"), before=fresh),
        Turn("pg_restore", lambda: load_by_hand(custom), before=fresh),
    ]
    measured("load-default", "logical load, no options", "pg_restore", usual)
    return found


def _command(cluster: Cluster) -> Any:
    """The host command as hosts have it: one file with its byte code."""
    path = cluster.root / "dbkeeper.pyz"
    path.write_bytes(build(engine_sources(), sys.executable)[0])
    path.chmod(0o755)

    def keeper(command: str, *argv: str) -> Any:
        done = subprocess.run(
            [str(path), command, "--config", str(cluster.config_path), "--json", *argv],
            env={**os.environ, **cluster.installation.environment},
            stdout=subprocess.PIPE,
            timeout=7200,
            check=True,
        )
        return json.loads(done.stdout)

    return keeper


def _beside(runs: dict[str, list[float]], other: str) -> dict[str, float]:
    """What it takes otherwise, as a multiple of the other's time."""
    theirs = statistics.median(runs[other])
    ratios = {
        name: round(statistics.median(times) / theirs, 3)
        for name, times in runs.items()
        if name not in ("ours", other)
    }
    say(f"beside, x {other}: {ratios}")
    return ratios
