# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a workload test runs, and what is read of pgbench's words."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.benchmark.plan import (
    WORKLOADS,
    BenchmarkRequest,
    figures,
    steps,
)

#: As pgbench 15 and newer say it, and as 14 does, which knows no failed transactions.
NEW = """transaction type: <builtin: TPC-B (sort of)>
scaling factor: 1
query mode: prepared
number of clients: 4
number of threads: 4
maximum number of tries: 1
duration: 1 s
number of transactions actually processed: 2215
number of failed transactions: 3 (0.135%)
latency average = 1.804 ms
initial connection time = 5.123 ms
tps = 2217.294521 (without initial connection time)
"""
OLD = """number of transactions actually processed: 10
latency average = 2.000 ms
initial connection time = 1.000 ms
tps = 500.000000 (without initial connection time)
"""


def test_figures_are_read_with_their_units() -> None:
    assert figures(NEW) == {
        "tps": 2217.294521,
        "latency_seconds": 0.001804,
        "transactions": 2215,
        "failed": 3,
        "connecting_seconds": 0.005123,
    }
    assert figures(OLD)["failed"] == 0


def test_words_that_are_not_pgbench_s_are_no_result() -> None:
    with pytest.raises(Failed) as failed:
        figures("tps = 12.0\n")
    assert failed.value.code == "benchmark-not-understood"
    assert "latency_seconds, transactions" in failed.value.happened


def test_what_writes_comes_last_and_each_workload_goes_every_way() -> None:
    request = BenchmarkRequest(
        {}, "/bin", workloads=WORKLOADS, pooler={"login_port": 6432}, clients=3, many_clients=70
    )
    planned = [(step.workload, step.way, step.clients) for step in steps(request)]
    assert planned == [
        ("read_only", "direct", 3),
        ("read_only", "pgbouncer", 3),
        ("many_clients", "direct", 70),
        ("many_clients", "pgbouncer", 70),
        ("read_write", "direct", 3),
        ("read_write", "pgbouncer", 3),
    ]
    for step in steps(request):
        assert ("--select-only" in step.options) is (step.workload != "read_write")
        # A pooler in transaction mode may not keep prepared statements.
        assert ("simple" in step.options) is (step.way == "pgbouncer")
    assert {step.way for step in steps(BenchmarkRequest({}, "/bin", workloads=WORKLOADS))} == {"direct"}
    assert steps(BenchmarkRequest({}, "/bin")) == []


@pytest.mark.parametrize("name", ["scale", "seconds", "clients", "many_clients"])
def test_a_test_without_work_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        BenchmarkRequest({}, "/bin", **{name: 0})
    assert refused.value.code == "benchmark-senseless"
    assert name in refused.value.happened
