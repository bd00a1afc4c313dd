# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Clocks that were wrong (A18): a real server whose clock is an hour ahead for a while, and set back."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.world import SETTINGS, utc

CONFIRM = ("--confirm", "main")
HOUR = timedelta(hours=1)


def commit(cluster: Cluster, number: int) -> tuple[int, datetime]:
    """Xid and the server's own word on the time of its commit."""
    [(xid,)] = cluster.sql("INSERT INTO t VALUES (%s) RETURNING xmin::text::int", number)
    return xid, cluster.value("SELECT pg_xact_commit_timestamp(%s::text::xid)", str(xid)).astimezone(
        timezone.utc
    )


def shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture
def skewed(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A server, and with it its archiver, an hour in the future; not the host's command itself."""
    [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    cluster = Cluster(sandbox, settings=SETTINGS).start()
    cluster.sql("CREATE TABLE t (n int)")
    cluster.keeper("backup").expect(0)
    commit(cluster, 0)
    cluster.stop()
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FAKETIME", "+1h")
    cluster.start()
    monkeypatch.undo()
    return cluster


def test_a18_the_order_of_wal_decides_and_both_times_are_told(skewed: Cluster) -> None:
    cluster = skewed
    ahead, ahead_at = commit(cluster, 1)
    assert ahead_at > datetime.now(timezone.utc) + HOUR / 2
    cluster.restart()
    behind, behind_at = commit(cluster, 2)
    assert behind_at < ahead_at - HOUR / 2
    cluster.archive_all()
    # Of this time, and yet not before the first record that is later.
    target = ("--target-time", utc(behind_at))
    with cluster.unchanged():
        plan = cluster.keeper("plan", *target).expect(0)["plan"]
    [warning] = [one for one in plan["warnings"] if "A18" in one]
    for word in (f"xid {behind} committed at {shown(behind_at)}", f"xid {ahead} of {shown(ahead_at)}"):
        assert word in warning
    done = cluster.keeper("restore", *target, *CONFIRM).expect(0)
    assert cluster.sql("SELECT n FROM t ORDER BY n") == [(0,)]
    assert warning in json.loads(Path(done["evidence"]).read_text())["planned"]["warnings"]
    # Everything is there when it is asked for by its place.
    cluster.keeper("undo", *CONFIRM).expect(0)
    cluster.keeper("restore", "--target-xid", str(behind), *CONFIRM).expect(0)
    assert cluster.sql("SELECT n FROM t ORDER BY n") == [(0,), (1,), (2,)]
