# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Workload tests against a real server: what is measured, kept, refused, and left behind."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.benchmark.operation import benchmark
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.benchmark.plan import (
    BenchmarkRequest,
)

from .harness.cluster import SUPERUSER, Cluster
from .report_help import login_options, standby_of


def measured(cluster: Cluster, **more: Any) -> dict[str, Any]:
    request = {
        "workloads": ("read_only", "read_write"),
        "scale": 1,
        "seconds": 1,
        "clients": 2,
        "state_directory": str(cluster.root / "report"),
        "bin_directory": str(cluster.installation.bin_directory),
        **more,
    }
    return benchmark(BenchmarkRequest(login=login_options(cluster, SUPERUSER), **request))


def databases(cluster: Cluster) -> list[str]:
    return [row[0] for row in cluster.sql("SELECT datname FROM pg_database ORDER BY 1")]


def test_a_workload_is_measured_kept_and_leaves_no_database(cluster: Cluster) -> None:
    before = databases(cluster)
    planned = measured(cluster, check=True)
    assert planned["plan"] == ["read_only direct 2", "read_write direct 2"]
    assert planned["facts"]["runs"] == []
    assert not (cluster.root / "report").exists()
    gone = {"login_host": "127.0.0.1", "login_unix_socket": "", "login_port": 9}
    made = measured(cluster, workloads=("read_only",), pooler=gone)
    direct, pooled = made["facts"]["runs"]
    assert direct["tps"] > 0 and direct["transactions"] > 0 and direct["failed"] == 0
    assert (
        direct["scale"] == 1 and direct["host"]["cpus"] >= 1 and direct["settings"]["fsync"] in ("on", "off")
    )
    assert pooled["way"] == "pgbouncer" and "tps" not in pooled and "127.0.0.1" in pooled["error"]
    assert databases(cluster) == before
    again = measured(cluster, workloads=("read_write",))["facts"]["runs"]
    assert [run["workload"] for run in again] == ["read_write", "read_only", "read_only"]
    history = measured(cluster, workloads=())
    assert history["changed"] is False
    assert history["facts"]["runs"] == again


def test_a_database_of_somebody_else_is_left_alone(cluster: Cluster) -> None:
    cluster.sql('CREATE DATABASE "dbkeeper_benchmark"')
    with cluster.connect("dbkeeper_benchmark") as connection:
        connection.execute('CREATE TABLE "客" (n int)')
    with pytest.raises(Refused) as refused:
        measured(cluster)
    assert refused.value.code == "benchmark-database-taken"
    assert "dbkeeper_benchmark" in refused.value.happened and "客" in refused.value.happened
    assert "dbkeeper_benchmark" in databases(cluster)
    assert not (cluster.root / "report").exists()


def test_an_empty_database_is_used_and_stays(cluster: Cluster) -> None:
    """A pooler has to know a database before there is a test in it."""
    cluster.sql('CREATE DATABASE "dbkeeper_benchmark"')
    before = cluster.sql("SELECT oid FROM pg_database WHERE datname = 'dbkeeper_benchmark'")
    with cluster.connect("dbkeeper_benchmark") as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
    for _round in range(2):
        (run,) = measured(cluster, workloads=("read_only",), state_directory=str(cluster.root / str(_round)))[
            "facts"
        ]["runs"]
        assert run["tps"] > 0
    assert cluster.sql("SELECT oid FROM pg_database WHERE datname = 'dbkeeper_benchmark'") == before
    with cluster.connect("dbkeeper_benchmark") as connection:
        left = connection.execute("SELECT relname FROM pg_class WHERE relname ~ '^pgbench'").fetchall()
    assert left == []


def test_a_standby_is_refused(cluster: Cluster) -> None:
    standby = standby_of(cluster)
    with pytest.raises(Refused) as refused:
        measured(standby)
    assert refused.value.code == "benchmark-on-standby"
