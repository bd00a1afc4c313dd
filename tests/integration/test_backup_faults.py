# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Base backups that must not begin, and base backups that are disturbed: nothing bad is ever called good."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup import base as engine
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup import steps, wal
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

from .backup_help import SLOWLY, base, copier, entries, statuses, stored, wait_for_copier
from .harness.cluster import Cluster
from .harness.disk import SmallDisk
from .harness.sandbox import Sandbox
from .harness.template import Kind
from .harness.waiting import wait_for
from .slices import points, sliced

DANGEROUS = ((steps.COPY, "done"), (steps.WAL, "begun"), (steps.SEAL, "begun"), (steps.SEAL, "done"))


def refused(cluster: Cluster, code: str, *words: str) -> None:
    """Plan and backup say no, and nothing has changed."""
    with cluster.unchanged():
        cluster.keeper("backup", "--check").refused(code, *words)
        cluster.keeper("backup").refused(code, *words)
    assert not (cluster.state_directory / "backup.journal.json").exists()


# -- must not begin ------------------------------------------------------------------------------------


def test_the_server_is_down(cluster: Cluster) -> None:
    cluster.stop()
    refused(cluster, "server-not-running", "no postmaster.pid")


def test_archiving_is_off(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(archiving=False)
    # The repository is made by hand here, as the harness does it when it archives.
    Repository(str(cluster.repository), cluster.name).create()
    refused(cluster, "archiving-off", "archive_mode is off")


def test_archive_command_is_empty(cluster: Cluster) -> None:
    cluster.set(archive_command="")
    cluster.reload()
    wait_for(lambda: cluster.value("SHOW archive_command") in ("", "(disabled)"), "the setting")
    refused(cluster, "archiving-off")


def test_the_archiver_fails(cluster: Cluster) -> None:
    good = cluster.settings["archive_command"]
    cluster.set(archive_command="echo mind the gap >&2; false")
    cluster.reload()
    wait_for(lambda: "mind" in cluster.value("SHOW archive_command"), "the setting")
    name = cluster.switch_wal()
    wait_for(lambda: cluster.value("SELECT failed_count FROM pg_stat_archiver") > 0, "a failure")
    cluster.keeper("backup", "--check").refused("archiving-failing", name)
    error = cluster.keeper("backup").refused("archiving-failing", name, "log")
    assert error["details"]["archiver"]["last_failed_wal"] == name
    assert entries(cluster) == {}
    # Mended: the archiver would sleep for a minute; the backup wakes it.
    cluster.set(archive_command=good)
    cluster.reload()
    wait_for(lambda: "mind" not in cluster.value("SHOW archive_command"), "the setting")
    assert cluster.keeper("backup").expect(0)["backup"]["status"] == "verified"


def test_the_server_is_a_standby(cluster: Cluster) -> None:
    cluster.stop()
    (cluster.data_directory / "standby.signal").touch()
    cluster.start()
    refused(cluster, "server-in-recovery", "standby")


def test_the_port_is_another_cluster_s(make_cluster: Callable[..., Cluster]) -> None:
    ours, theirs = make_cluster("ours"), make_cluster("theirs", archiving=False, kind=Kind(variant=1))
    ours.write_config(port=theirs.port, socket_directory=str(theirs.socket_directory))
    with theirs.unchanged():
        refused(ours, "server-other-cluster", ours.system_id, theirs.system_id)


def test_the_backup_role_is_missing_or_unfit(cluster: Cluster) -> None:
    cluster.write_config(backup_user="nobody_here")
    refused(cluster, "backup-role-missing", "nobody_here does not exist")
    cluster.sql("CREATE ROLE nobody_here LOGIN")
    refused(cluster, "backup-role-missing", "lacks LOGIN or REPLICATION")


def test_the_repository_is_not_there(cluster: Cluster) -> None:
    cluster.write_config(repository=str(cluster.root / "not-mounted"))
    refused(cluster, "repository-missing", "not mounted")


def test_the_repository_is_not_writable(cluster: Cluster) -> None:
    base(cluster).chmod(0o500)
    refused(cluster, "repository-not-writable", str(base(cluster)))
    base(cluster).chmod(0o700)


def test_too_little_space_is_computed(sandbox: Sandbox) -> None:
    disk = SmallDisk(sandbox.root / "disk", 60)
    try:
        cluster = Cluster(
            sandbox, repository=disk.mountpoint / "repository", disk=disk, disk_holds="repository"
        )
        cluster.start().archive_all()
        cluster.keeper("backup", "--check").refused("space-too-little", "free")
        error = cluster.keeper("backup").refused("space-too-little", "free")
        assert error["details"]["needed_bytes"] > error["details"]["free_bytes"] > 0
        assert list((disk.view / "repository" / "main" / "base").iterdir()) == []
    finally:
        sandbox.stop_all()
        disk.close()


# -- disturbed -----------------------------------------------------------------------------------------


def test_the_disk_is_full_in_the_middle(sandbox: Sandbox) -> None:
    disk = SmallDisk(sandbox.root / "disk", 200)
    try:
        cluster = Cluster(
            sandbox, repository=disk.mountpoint / "repository", disk=disk, disk_holds="repository"
        )
        cluster.start().archive_all()
        cluster.write_config(**SLOWLY)
        seen = disk.view / "repository" / "main" / "base"
        running = cluster.keeper_start("backup")
        wait_for(lambda: any(p.stat().st_size for p in seen.glob("*/.incoming/*.zst")), "the copy to begin")
        ballast = disk.fill(leave_bytes=0)
        running.wait().failed("repository-full", "No space left on device")
        # Its data is gone, and that made room to write down what happened.
        label = next(seen.iterdir())
        assert [path.name for path in label.iterdir()] == ["backup.json"]
        assert '"status": "failed"' in (label / "backup.json").read_text()
        assert "repository-full" in (label / "backup.json").read_text()
        ballast.unlink()
        cluster.write_config(backup={})
        assert cluster.keeper("backup").expect(0)["backup"]["status"] == "verified"
    finally:
        sandbox.stop_all()
        disk.close()


@pytest.mark.parametrize(("step", "when"), sliced(points(steps.BACKUP), DANGEROUS, 3))
def test_killed_at_every_step_and_run_again(cluster: Cluster, step: str, when: str) -> None:
    assert cluster.keeper("backup", kill_at=f"{step}:{when}").status == -signal.SIGKILL
    left = statuses(cluster)
    finished = (step, when) == ("seal", "done")
    assert left in ([], ["running"]) if not finished else left == ["verified"]
    # Never chosen, whatever was there when it was killed.
    known = cluster.keeper("info").expect(0)["backups"]
    assert [item["status"] for item in known] == left
    assert cluster.keeper("backup").expect(0)["backup"]["status"] == "verified"
    expected = ["verified"] if left == [] else ["failed" if not finished else "verified", "verified"]
    assert statuses(cluster) == expected
    for label, entry in entries(cluster).items():
        files = stored(base(cluster) / label)
        assert set(files) == (
            {item["name"] for item in entry["files"]} if entry["status"] == "verified" else set()
        )


def test_a_label_that_was_killed_is_begun_anew(cluster: Cluster) -> None:
    assert cluster.keeper("backup", "--label", "x", kill_at="wal:begun").status == -signal.SIGKILL
    entry = cluster.keeper("backup", "--label", "x").expect(0)["backup"]
    assert statuses(cluster) == ["verified"]
    assert {item["name"]: (item["stored_bytes"], item["digest"]) for item in entry["files"]} == stored(
        base(cluster) / "x"
    )


def test_the_command_is_killed_and_its_copier_lives_on(cluster: Cluster) -> None:
    cluster.write_config(**SLOWLY)
    running = cluster.keeper_start("backup")
    orphan = wait_for_copier(cluster)
    running.kill()
    assert copier(cluster) == orphan
    progress = cluster.keeper("info").expect(0)["progress"]
    assert progress["state"] == "interrupted"
    cluster.write_config(backup={})
    assert cluster.keeper("backup").expect(0)["backup"]["status"] == "verified"
    assert not os.path.exists(f"/proc/{orphan}")
    assert statuses(cluster) == ["failed", "verified"]


def test_the_copier_is_killed(cluster: Cluster) -> None:
    cluster.write_config(**SLOWLY)
    running = cluster.keeper_start("backup")
    os.kill(wait_for_copier(cluster), signal.SIGKILL)
    running.wait().failed("basebackup-failed", "signal 9")
    assert statuses(cluster) == ["failed"]
    label = next(iter(entries(cluster)))
    assert stored(base(cluster) / label) == {}
    assert "signal 9" in entries(cluster)[label]["failure"]
    cluster.write_config(backup={})
    assert cluster.keeper("backup").expect(0)["backup"]["status"] == "verified"


def test_the_server_is_killed(cluster: Cluster) -> None:
    cluster.write_config(**SLOWLY)
    running = cluster.keeper_start("backup")
    wait_for_copier(cluster)
    cluster.crash()
    running.wait().failed("basebackup-failed")
    assert statuses(cluster) == ["failed"]
    cluster.start()
    cluster.write_config(backup={})
    assert cluster.keeper("backup").expect(0)["backup"]["status"] == "verified"


def test_a_second_one_at_the_same_time_is_busy(cluster: Cluster) -> None:
    running = cluster.keeper_start("backup", pause_at="copy:begun")
    running.wait_paused()
    for more in ((), ("--check",)):
        error = cluster.keeper("backup", *more).refused("busy", str(running.pid))
        assert error["details"]["holder"]["pid"] == running.pid
    assert statuses(cluster) == ["running"]
    running.resume()
    assert running.wait().status == 0
    assert statuses(cluster) == ["verified"]


def test_damaged_pages_are_told_and_recorded(make_cluster: Callable[..., Cluster]) -> None:
    """B19: it may be the only copy there is, so it is kept; it satisfies nobody."""
    cluster = make_cluster(kind=Kind(checksums=True))
    cluster.sql("CREATE TABLE pages AS SELECT generate_series(1, 5000) AS n")
    cluster.sql("CHECKPOINT")
    path = cluster.value("SELECT pg_relation_filepath('pages')")
    cluster.stop()
    with open(cluster.data_directory / path, "r+b") as handle:
        handle.seek(8192 + 4000)
        handle.write(b"damage")
    cluster.start()
    error = cluster.keeper("backup").failed("page-checksum-failed", path, "older backup")
    assert error["touched"] is True
    assert statuses(cluster) == ["verified"]
    recorded = next(iter(entries(cluster).values()))["page_faults"]
    assert recorded == {"count": 1, "files": [{"path": path, "count": 1, "blocks": [1]}]}
    assert error["details"]["page_faults"] == recorded
    assert cluster.keeper("backup", "--max-age", "1h", "--check").expect(0)["changed"] is True


def test_an_archive_command_that_goes_elsewhere(cluster: Cluster) -> None:
    cluster.set(archive_command="test -f %p")
    cluster.reload()
    wait_for(lambda: cluster.value("SHOW archive_command") == "test -f %p", "the setting")
    # The archiver may still take some with the command of before.
    wait_for(lambda: not (cluster.wal_directory / f"{cluster.archive_all()}.zst").exists(), "the archiver")
    cluster.keeper("backup").failed("wal-not-in-repository", "though the server calls them archived")
    assert statuses(cluster) == ["failed"]


def test_an_archive_command_that_keeps_nothing(cluster: Cluster) -> None:
    """What the role postgresql sets until the role backup says better: no backup is begun."""
    cluster.set(archive_command="/bin/true")
    cluster.reload()
    wait_for(lambda: cluster.value("SHOW archive_command") == "/bin/true", "the setting")
    cluster.keeper("backup").refused("archiving-off")
    assert statuses(cluster) == []


@pytest.mark.parametrize(
    ("command", "limit", "code"),
    [("false", "_FAILING_SECONDS", "archiving-failing"), ("sleep 1000", "_STUCK_SECONDS", "archive-stuck")],
)
def test_archiving_breaks_in_the_middle(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, limit: str, code: str
) -> None:
    """In this process, so that patience can be made short."""
    switch = tmp_path / "broken"
    good = cluster.settings["archive_command"]
    cluster.set(archive_command=f"if [ -e {switch} ]; then {command}; else {good}; fi")
    cluster.reload()
    wait_for(lambda: str(switch) in cluster.value("SHOW archive_command"), "the setting")
    cluster.archive_all()
    monkeypatch.setattr(wal, limit, 2.0)
    config = ClusterConfig.load(str(cluster.config_path))
    switch.touch()
    with pytest.raises(Failed) as caught:
        engine.take_backup(config, Repository(config.repository, config.cluster))
    assert caught.value.code == code
    assert statuses(cluster) == ["failed"]
    assert copier(cluster) is None
