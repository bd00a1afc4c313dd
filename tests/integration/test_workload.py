# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The workload's book can be trusted: it finds every kind of difference, and only real ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .harness.cluster import Cluster
from .harness.waiting import wait_for
from .harness.workload import Workload, recovered_rows, server_commits

MIX = ["--rollbacks=0.1", "--savepoints=0.3", "--prepared=0.1", "--ddl=0.05"]


@pytest.fixture
def plain(make_cluster: Callable[..., Cluster]) -> Cluster:
    """A cluster without an archive that keeps its WAL."""
    return make_cluster(archiving=False, settings={"wal_keep_size": "1GB"})


def test_book_and_server_agree_on_rows_times_and_order(plain: Cluster) -> None:
    workload = Workload(plain)
    since = plain.value("SELECT pg_current_wal_lsn()::text")
    counts = workload.run(*MIX, transactions=50)
    assert counts["committed"] + counts["rolled_back"] == 200
    assert counts["rolled_back"] > 0
    answer = workload.verify()
    assert answer["exact"] and answer["rows_expected"] > counts["committed"]
    rows = workload.committed()
    assert recovered_rows(plain.dsn()) == set().union(*rows.values())
    commits = {commit.xid: commit for commit in server_commits(plain, since) if commit.committed}
    assert rows.keys() <= commits.keys()
    for xid, moment in plain.sql(
        "SELECT xid, pg_xact_commit_timestamp(xid::text::xid) FROM unnest(%s::bigint[]) AS xid", list(rows)
    ):
        assert commits[xid].time == moment


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (
            "DELETE FROM ledger_entries WHERE worker = 1 AND seq = 7 AND part = 0",
            "missing",
        ),
        ("INSERT INTO ledger_entries VALUES ('other', 1, 1, 0, 0)", "unexpected"),
        ("CREATE TABLE ledger_made_up ()", "tables_wrong"),
    ],
)
def test_a_difference_is_found(plain: Cluster, damage: str, found: str) -> None:
    workload = Workload(plain)
    workload.run(transactions=20)
    assert workload.verify()["exact"]
    plain.sql(damage)
    answer = workload.verify()
    assert not answer["exact"] and answer[found]


def test_a_changed_balance_is_found(plain: Cluster) -> None:
    workload = Workload(plain)
    workload.run(transactions=20)
    plain.sql("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1")
    answer = workload.verify()
    assert not answer["balances_equal"] and not answer["exact"]


def test_what_came_after_the_target_is_unexpected(plain: Cluster) -> None:
    workload = Workload(plain)
    workload.run(transactions=20)
    between = plain.value("SELECT clock_timestamp()::text")
    assert workload.verify("--target-time", between)["exact"]
    workload.run(transactions=5)
    answer = workload.verify("--target-time", between)
    assert (answer["missing"], answer["unexpected"], answer["exact"]) == (0, 20, False)


def test_a_crash_of_the_server_leaves_doubt_but_no_lie(plain: Cluster) -> None:
    workload = Workload(plain)
    process = workload.start("--savepoints", "0.3", "--prepared", "0.1")
    wait_for(lambda: workload.book.exists() and len(workload.book.read_text()) > 100_000, "some transactions")
    plain.crash()
    plain.start()
    before = len(workload.book.read_text())
    wait_for(lambda: len(workload.book.read_text()) > before + 20_000, "transactions after the crash")
    counts = workload.stop(process)
    assert counts["errors"]
    answer = workload.verify()
    assert answer["exact"], answer
    assert answer["rows_undetermined"] <= 4 * 4 * 2


def test_a_password_is_not_taken(plain: Cluster) -> None:
    workload = Workload(plain)
    with pytest.raises(AssertionError, match="no passwords on a command line"):
        workload.run("--dsn", f"{plain.dsn()} password=secret", transactions=1)
