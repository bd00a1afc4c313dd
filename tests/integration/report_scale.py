# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A server with as much in it as reports are made for: 10,000 tables with 100,000 indexes and 10,000 sequences, and
statistics of 5,000 statements; and what the reports cost it. For a test and for the benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .report_help import health, queries, reporter
from .test_index_scale import _TABLE, TABLES, server_seconds, sessions

STATEMENTS = 4500
REPORTS: dict[str, Callable[..., dict[str, Any]]] = {"health": health, "query": queries}
_SETTINGS = {
    "max_wal_size": "4GB",
    "shared_buffers": "256MB",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.max": "5000",
    "pg_stat_statements.track_utility": "off",
    "autovacuum": "off",
}


def large(sandbox: Sandbox) -> Cluster:
    """Make it."""
    cluster = Cluster(sandbox, archiving=False, settings=_SETTINGS).start()
    for begin in range(0, TABLES, 100):
        cluster.sql(
            "".join(
                _TABLE.format(n=n, fk=f"REFERENCES t{n - 1} (id)" if n % 2 else "")
                + f"CREATE SEQUENCE s{n} OWNED BY t{n}.c; SELECT setval('s{n}', 5);"
                for n in range(begin, begin + 100)
            )
        )
    cluster.sql("VACUUM ANALYZE")
    cluster.sql("CREATE EXTENSION pg_stat_statements")
    with cluster.connect() as connection:
        for number in range(STATEMENTS):
            # As long as statements are that programs write: some kilobytes each.
            columns = ", ".join(f"id AS column_{number}_{column}" for column in range(150))
            connection.execute(f"SELECT {columns} FROM t{number} LIMIT 0".encode())
    reporter(cluster)
    cluster.sql("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reporter")
    return cluster


def cost_of(
    cluster: Cluster, report: Callable[..., dict[str, Any]], **more: Any
) -> tuple[float, dict[str, Any]]:
    """Processor seconds of the server for a report, and the report."""
    wait_for(lambda: sessions(cluster) == 0, "the end of earlier reports")
    before = server_seconds(cluster)
    result = report(cluster, budget_seconds=600.0, **more)
    wait_for(lambda: sessions(cluster) == 0, "the end of the report's sessions")
    return server_seconds(cluster) - before, result
