# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What can be restored, said by the command and known from the server; restore points."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.restore_point import (
    RestorePointRequest,
    create_restore_point,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig

from .harness.cluster import Cluster


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def commit(cluster: Cluster, table: str) -> datetime:
    """Commit something and return the server's own time of it."""
    cluster.sql(f"CREATE TABLE {table} (n int)")
    found: datetime = cluster.value("SELECT timestamp FROM pg_last_committed_xact()")
    return found


def test_a_repository_without_backups(cluster: Cluster) -> None:
    cluster.archive_all()
    known = cluster.keeper("info").expect(0)
    assert (known["backups"], known["windows"], known["gaps"]) == ([], [], [])
    assert known["system_id"] == cluster.system_id
    checked = cluster.keeper("check").expect(3)
    states = {item["name"]: item["state"] for item in checked["checks"]}
    assert (states["backup"], states["window"], states["server"]) == ("failed", "failed", "ok")


def test_the_window_ends_with_the_last_archived_commit(cluster: Cluster) -> None:
    entry = cluster.keeper("backup").expect(0)["backup"]
    last = commit(cluster, "archived")
    cluster.archive_all()
    commit(cluster, "not_yet_archived")
    known = cluster.keeper("info").expect(0)
    (window,) = known["windows"]
    assert (window["timeline"], window["backups"]) == (1, [entry["label"]])
    assert window["from"] == entry["stopped_at"]
    # pg_waldump prints microseconds, as the server keeps them.
    assert moment(window["until"]) == last
    assert moment(known["newest_commit"]["time"]) == last
    assert known["freshness"]["newest_backup"] == entry["label"]


def test_a_gap_ends_a_window_and_the_next_backup_begins_one(cluster: Cluster) -> None:
    first = cluster.keeper("backup").expect(0)["backup"]
    before = commit(cluster, "before_the_gap")
    cluster.archive_all()
    commit(cluster, "in_the_gap")
    lost = cluster.archive_all()
    commit(cluster, "after_the_gap")
    cluster.archive_all()
    second = cluster.keeper("backup").expect(0)["backup"]
    after = commit(cluster, "after_the_second")
    cluster.archive_all()
    assert len(cluster.keeper("info").expect(0)["windows"]) == 1
    (cluster.wal_directory / f"{lost}.zst").unlink()
    known = cluster.keeper("info").expect(0)
    assert [window["backups"] for window in known["windows"]] == [[first["label"]], [second["label"]]]
    assert [moment(window["until"]) for window in known["windows"]] == [before, after]
    (gap,) = known["gaps"]
    assert (gap["code"], gap["first"], gap["last"]) == ("segment-missing", lost, lost)
    states = {item["name"]: item["state"] for item in cluster.keeper("check").data["checks"]}
    # The newest backup is not touched by it.
    assert states["archive"] == "warning"


def test_a_second_server_on_the_same_archive_is_seen(cluster: Cluster) -> None:
    """B14: the segment's name is in the archive with other content; both are kept, and somebody is told."""
    cluster.keeper("backup").expect(0)
    name = cluster.archive_all()
    twin = cluster.root / "twin"
    other = twin / "pg_wal" / name
    other.parent.mkdir(parents=True)
    (twin / "global").mkdir()
    shutil.copyfile(cluster.data_directory / "global/pg_control", twin / "global/pg_control")
    plain = (cluster.data_directory / "pg_wal" / name).read_bytes()
    other.write_bytes(plain[:-8192] + b"\x01" * 8192)
    argv = [str(cluster.command), "archive-push", "--config", str(cluster.config_path), str(other)]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert answer.returncode == 1 and "archive-conflict" in answer.stderr
    (kept,) = cluster.keeper("info").expect(0)["conflicts"]
    assert name in kept
    (check,) = (item for item in cluster.keeper("check").expect(3)["checks"] if item["name"] == "archive")
    assert check["state"] == "failed" and kept in check["text"]


def test_files_that_nobody_uses_are_told_with_their_age_and_ignored(cluster: Cluster) -> None:
    """B16: what killed work and people leave behind; none of it is taken for WAL or for a backup."""
    entry = cluster.keeper("backup").expect(0)["backup"]
    # Afterwards the archiver has nothing to do: what it is at work on has such a name, too.
    cluster.archive_all()
    before = cluster.keeper("info").expect(0)
    assert before["leftovers"] == []
    base = cluster.repository / cluster.name / "base"
    left = [
        cluster.wal_directory / f".tmp-{cluster.archived_segments()[0].name}",
        cluster.wal_directory / "000000010000000000000002.part",
        cluster.wal_directory.parent / "notes.txt",
        base / entry["label"] / ".tmp-backup.json",
    ]
    for hours, path in enumerate(left):
        path.write_bytes(b"x" * 100)
        moment = path.stat().st_mtime - 3600 * hours
        os.utime(path, (moment, moment))
    known = cluster.keeper("info").expect(0)
    assert [item["path"] for item in known["leftovers"]] == [str(path) for path in reversed(left)]
    for hours, item in enumerate(reversed(known["leftovers"])):
        assert 3600 * hours <= item["age_seconds"] < 3600 * hours + 600 and item["bytes"] == 100
    for name in ("backups", "windows", "gaps", "conflicts"):
        assert known[name] == before[name]
    checks = {item["name"]: item for item in cluster.keeper("check").data["checks"]}
    assert checks["leftovers"]["state"] == "warning" and str(left[-1]) in checks["leftovers"]["text"]
    assert checks["archive"]["state"] == "ok"
    with cluster.unchanged():
        cluster.keeper("plan", "--latest").expect(0)
    assert all(path.exists() for path in left)


def test_all_is_well_and_then_the_archiver_fails(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(settings={"archive_timeout": "300"})
    cluster.keeper("backup").expect(0)
    checked = cluster.keeper("check").expect(0)
    assert checked["healthy"] is True
    assert {item["state"] for item in checked["checks"]} <= {"ok", "warning"}
    cluster.stop()
    checked = cluster.keeper("check").expect(3)
    assert next(item for item in checked["checks"] if item["name"] == "server")["state"] == "failed"


def test_without_a_data_directory_the_backups_are_still_known(cluster: Cluster) -> None:
    entry = cluster.keeper("backup").expect(0)["backup"]
    cluster.stop()
    cluster.data_directory.rename(cluster.root / "lost")
    known = cluster.keeper("info").expect(0)
    assert [item["label"] for item in known["backups"]] == [entry["label"]]
    assert known["system_id"] == entry["system_id"]
    assert len(known["windows"]) == 1
    assert known["server"]["running"] is False


@pytest.fixture
def options(cluster: Cluster) -> dict[str, Any]:
    return {
        "login_unix_socket": str(cluster.socket_directory),
        "login_port": cluster.port,
        "login_user": "postgres",
    }


def test_a_restore_point_is_made_once(cluster: Cluster, options: dict[str, Any]) -> None:
    cluster.archive_all()
    config = ClusterConfig.load(str(cluster.config_path))
    request = RestorePointRequest("before it's too late")
    with cluster.unchanged():
        planned = create_restore_point(options, request, config=config, check=True)
    assert (planned["changed"], planned["executed"], planned["lsn"]) == (True, False, None)
    made = create_restore_point(options, request, config=config)
    assert (made["changed"], made["executed"]) == (True, True)
    assert made["plan"] == planned["plan"]
    again = create_restore_point(options, request, config=config)
    assert (again["changed"], again["lsn"], again["made_at"]) == (False, made["lsn"], made["made_at"])
    assert "is kept" in again["warnings"][0]
    # It was archived at once; the archive knows it also when the list is lost.
    cluster.archive_all()
    (cluster.state_directory / "restore_points.json").unlink()
    assert create_restore_point(options, request, config=config)["changed"] is False


def test_a_restore_point_made_by_hand_is_known(cluster: Cluster, options: dict[str, Any]) -> None:
    cluster.sql("SELECT pg_create_restore_point('by-hand')")
    cluster.archive_all()
    config = ClusterConfig.load(str(cluster.config_path))
    assert create_restore_point(options, RestorePointRequest("by-hand"), config=config)["changed"] is False


def test_without_a_cluster_nobody_can_know(cluster: Cluster, options: dict[str, Any]) -> None:
    made = create_restore_point(options, RestorePointRequest("somewhere", archive=False))
    assert made["changed"] is True
    assert "nobody looked" in made["warnings"][0]
