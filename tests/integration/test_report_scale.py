# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The reports on health and on statements where there is very much: what they cost, and that they wait for nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .report_scale import REPORTS, STATEMENTS, cost_of, large
from .test_index_scale import MOST_SERVER_SECONDS, MOST_TEMPORARY_BYTES, TABLES


@pytest.mark.matrix
def test_what_reports_on_health_and_statements_cost(
    sandbox: Sandbox, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = large(sandbox)
    for name, report in REPORTS.items():
        for number, which in enumerate(("first", "again")):
            spent, result = cost_of(cluster, report)
            with capsys.disabled():
                print(f"\n{name}, {which}: {spent:.2f} s of the server's processors, {result['cost']}")
            record_property(f"{name}-{number}", {"server_seconds": round(spent, 2), **result["cost"]})
            assert spent <= MOST_SERVER_SECONDS, (name, which)
            assert 0 <= result["cost"]["temp_bytes"] <= MOST_TEMPORARY_BYTES, (name, which)
            assert result["not_seen"] == []
    assert result["facts"]["extension"]["entries"] > STATEMENTS
    with locked(cluster) as waits:
        found = {name: report(cluster, budget_seconds=600.0) for name, report in REPORTS.items()}
    assert waits == []
    blind = {gap["what"] for gap in found["health"]["not_seen"] if gap["says"]["key"] == "locked"}
    assert {f"public.{name} in database postgres" for name in ("t1", "t2", "s3")} <= blind
    assert found["query"]["not_seen"] == []
    assert found["query"]["facts"]["extension"]["entries"] >= min(TABLES, STATEMENTS)


@contextmanager
def locked(cluster: Cluster) -> Iterator[list[Any]]:
    """One table and a sequence are held by somebody, another table is waited for; who of us waits is noted."""
    waits: list[Any] = []
    over = threading.Event()

    def watch() -> None:
        with cluster.connect() as connection:
            while not over.is_set():
                waits.extend(
                    connection.execute(
                        b"SELECT query FROM pg_stat_activity WHERE application_name LIKE 'dbkeeper%report%'"
                        b" AND wait_event_type = 'Lock'"
                    ).fetchall()
                )

    def wait_behind() -> None:
        with psycopg.connect(cluster.dsn()) as connection:
            connection.execute("LOCK TABLE t2 IN ACCESS EXCLUSIVE MODE")

    with psycopg.connect(cluster.dsn()) as holder, psycopg.connect(cluster.dsn()) as reader:
        holder.execute("LOCK TABLE t1 IN ACCESS EXCLUSIVE MODE; ALTER SEQUENCE s3 CYCLE")
        reader.execute("SELECT count(*) FROM t2")
        waiter, watcher = threading.Thread(target=wait_behind), threading.Thread(target=watch)
        waiter.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't2'::regclass"
        wait_for(lambda: cluster.value(waiting) == 1, "somebody waits for t2")
        watcher.start()
        try:
            yield waits
        finally:
            over.set()
            watcher.join()
            reader.rollback()
            waiter.join()
