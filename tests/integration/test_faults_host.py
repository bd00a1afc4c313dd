# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A host that doesn't allow a restore, or changes its mind in the middle (C01-C20, D10)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery import steps

from .harness.cluster import Cluster
from .harness.disk import SmallDisk
from .harness.sandbox import Sandbox
from .harness.template import Kind
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, World
from .slices import sliced

CONFIRM = ("--confirm", "main")
TARGET = ("--target-name", "beta")


def refused_everywhere(world: World, code: str, *words: str) -> None:
    """Plan and restore say no, and nothing has changed."""
    with world.cluster.unchanged():
        world.cluster.keeper("plan", *TARGET).refused(code, *words)
        world.cluster.keeper("restore", *TARGET, *CONFIRM).refused(code, *words)
    assert not (world.cluster.state_directory / "restore.journal.json").exists()


def test_the_data_directory_of_somebody_else(world: World) -> None:
    """C07."""
    world.cluster.write_config(data_directory="/usr/share/dbkeeper-test-absent")
    refused_everywhere(world, "wrong-owner", "root")


def test_a_parent_directory_without_permission(world: World) -> None:
    """C07."""
    world.cluster.parent.chmod(0o500)
    refused_everywhere(world, "parent-not-writable", str(world.cluster.parent))
    world.cluster.parent.chmod(0o700)


def test_programs_of_another_major(world: World) -> None:
    world.cluster.write_config(version="99")
    refused_everywhere(world, "version-mismatch", "99", str(world.cluster.installation.major))


def test_the_repository_of_another_system(world: World, sandbox: Sandbox) -> None:
    stranger = Cluster(sandbox, "stranger", kind=Kind(variant=1)).start()
    world.cluster.write_config(data_directory=str(stranger.data_directory), port=stranger.port)
    with stranger.unchanged():
        refused_everywhere(world, "system-mismatch", stranger.system_id)


def test_a_missing_program(world: World) -> None:
    world.cluster.write_config(bin_directory="/nonexistent")
    with world.cluster.unchanged():
        answer = world.cluster.keeper("plan", *TARGET)
        assert answer.status in (2, 3), str(answer)
        assert answer.error["code"] == "program-missing", str(answer)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "config-missing"),
        ("{", "file-damaged"),
        ('{"format": 99}', "config-malformed"),
        ("[]", "config-malformed"),
    ],
)
def test_a_configuration_that_cannot_be_read(world: World, content: str | None, code: str) -> None:
    if content is None:
        world.cluster.config_path.unlink()
    else:
        world.cluster.config_path.write_text(content)
    with world.cluster.unchanged():
        answer = world.cluster.keeper("plan", *TARGET)
        assert answer.status in (2, 3) and answer.error["code"] == code, str(answer)


# -- somebody else is at it ------------------------------------------------------------------------------


def test_a_second_restore_at_the_same_time_is_told_who_is_busy(world: World) -> None:
    """C20."""
    cluster = world.cluster
    running = cluster.keeper_start("restore", *TARGET, *CONFIRM, pause_at="configure:done")
    running.wait_paused()
    with cluster.unchanged():
        for command in (("restore", *TARGET), ("restore", "--latest"), ("undo",)):
            error = cluster.keeper(*command, *CONFIRM).refused("busy", str(running.pid), "restore")
            assert error["details"]["holder"]["pid"] == running.pid
    running.resume()
    running.wait().expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def test_a_backup_during_a_restore_is_told_who_is_busy(world: World) -> None:
    """C20."""
    cluster = world.cluster
    running = cluster.keeper_start("restore", *TARGET, *CONFIRM, pause_at="stop-live:begun")
    running.wait_paused()
    with cluster.unchanged():
        cluster.keeper("backup").refused("busy", "restore")
    running.resume()
    running.wait().expect(0)


def test_a_restore_does_not_wait_for_a_backup_which_fails_and_says_so(world: World) -> None:
    """C20: in a disaster the restore goes first; the backup loses its server and is never chosen."""
    cluster = world.cluster
    cluster.write_config(backup={"compression_level": 1, "max_rate_kbytes": 32})
    slow = cluster.keeper_start("backup")
    wait_for(lambda: cluster.sql("SELECT 1 FROM pg_stat_progress_basebackup"), "the running backup")
    cluster.write_config(backup={"compression_level": 1, "max_rate_kbytes": None})
    done = cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    answer = slow.wait()
    assert answer.status == 3, str(answer)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    entries = (cluster.repository / cluster.name / "base").glob("*/backup.json")
    statuses = {path.parent.name: json.loads(path.read_text())["status"] for path in entries}
    assert sorted(statuses.values()) == ["failed", "verified", "verified", "verified"]
    assert statuses[done["record"]["new_backup"]] == "verified"


# -- the live server ---------------------------------------------------------------------------------------


def test_the_port_is_taken_when_the_restored_cluster_starts(world: World, sandbox: Sandbox) -> None:
    """C06: the old cluster is put back, the proven copy is kept, and the next run finishes."""
    cluster = world.cluster
    cluster.stop()
    before = sorted(path.name for path in cluster.parent.iterdir())
    stranger = Cluster(
        sandbox,
        "stranger",
        settings={"port": str(cluster.port), "unix_socket_directories": str(cluster.socket_directory)},
        archiving=False,
    ).start()
    with cluster.unchanged("beside: data.dbkeeper-"):
        cluster.keeper("restore", *TARGET, *CONFIRM).failed(
            "new-cluster-did-not-start", "the old cluster is in its place again", "run the same command again"
        )
    assert stranger.running
    beside = [path.name for path in cluster.parent.iterdir() if not path.name.startswith("data.dbkeeper-")]
    assert sorted(beside) == before
    stranger.stop()
    cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def test_a_configuration_that_does_not_start_is_seen_before_the_swap(world: World) -> None:
    """C10, C11: the server's own program is asked while the old cluster still serves."""
    cluster = world.cluster
    running = cluster.keeper_start("restore", *TARGET, *CONFIRM, pause_at="settle:begun")
    running.wait_paused()
    pid = cluster.pid
    cluster.set(shared_preload_libraries="not_installed")
    with cluster.unchanged("beside: data.dbkeeper-"):
        running.resume()
        answer = running.wait()
        answer.failed("restored-configuration-unfit", "not_installed", "nothing was swapped")
    assert pid is not None and cluster.pid == pid
    cluster.settings.pop("shared_preload_libraries")
    cluster.set()
    cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def test_a_configuration_that_does_not_start_is_gone_back_on(world: World) -> None:
    cluster = world.cluster
    before = recovered_rows(cluster.dsn())
    running = cluster.keeper_start("restore", *TARGET, *CONFIRM, pause_at="start-new:begun")
    running.wait_paused()
    good = (cluster.data_directory / "postgresql.conf").read_text()
    # The restored one's, which lies in the place of the old one by now.
    (cluster.data_directory / "postgresql.conf").write_text(
        f"{good}shared_preload_libraries = 'not_installed'\n"
    )
    running.resume()
    answer = running.wait()
    answer.failed("new-cluster-did-not-start", "not_installed")
    [path] = (cluster.repository / cluster.name / "evidence").glob("*.json")
    evidence = json.loads(path.read_text())
    assert (evidence["result"], evidence["error"]["code"]) == ("failed", "new-cluster-did-not-start")
    assert cluster.running
    assert recovered_rows(cluster.dsn()) == before
    cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def stale_pid(world: World) -> str:
    done = subprocess.run(["true"], check=True)
    assert done.returncode == 0
    child = subprocess.Popen(["true"])
    child.wait()
    return str(child.pid)


def own_pid(world: World) -> str:
    return str(os.getpid())


@pytest.mark.parametrize("pid", [stale_pid, own_pid], ids=["of a dead process", "of another program"])
def test_a_left_over_pid_file_does_not_fool_anybody(world: World, pid: Callable[[World], str]) -> None:
    """C04, C05."""
    cluster = world.cluster
    cluster.crash()
    path = cluster.data_directory / "postmaster.pid"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([pid(world), *lines[1:]]))
    cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def test_what_the_copied_configuration_says_is_not_believed_while_staged(sandbox: Sandbox) -> None:
    """C11-C13, C16: it names another target, this host's paths, and limits that the host no longer has."""
    pid_file, logs = sandbox.root / "external.pid", sandbox.root / "logs"
    settings = SETTINGS | {
        "external_pid_file": str(pid_file),
        "logging_collector": "on",
        "log_directory": str(logs),
        "log_filename": "live-%H%M%S.log",
        "max_connections": "90",
        "max_worker_processes": "20",
    }
    cluster = Cluster(sandbox, settings=settings).start()
    for setting in ("recovery_target_name TO 'elsewhere'", "restore_command TO 'exit 1'"):
        cluster.sql(f"ALTER SYSTEM SET {setting}")
    world = World.begin(cluster).work().backup().work().point("beta").work().finish()
    cluster.set(max_connections="20", max_worker_processes="4")
    cluster.restart()
    pid, live = pid_file.read_text(), sorted(path.name for path in logs.iterdir())
    running = cluster.keeper_start("restore", *TARGET, *CONFIRM, pause_at="stop-live:begun")
    running.wait_paused()
    assert pid_file.read_text() == pid
    assert sorted(path.name for path in logs.iterdir()) == live
    assert not any("recovery" in (logs / name).read_text() for name in live)
    running.resume()
    running.wait().expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    assert cluster.value("SHOW max_connections") == "20"
    assert cluster.value("SHOW recovery_target_name") == ""
    assert pid_file.read_text().strip() == str(cluster.pid)


# -- space -------------------------------------------------------------------------------------------------


class Small:
    """A world whose data directory lies on a small disk of its own."""

    def __init__(self, sandbox: Sandbox, size_mb: int) -> None:
        self.disk = SmallDisk(sandbox.root / "disk", size_mb)
        self.cluster = Cluster(
            sandbox, settings=SETTINGS | {"wal_keep_size": "64MB"}, external_config=True, disk=self.disk
        ).start()
        self.world = World.begin(self.cluster).work().backup().work().point("beta").work().finish()


@pytest.fixture
def small(sandbox: Sandbox) -> Iterator[Callable[[int], Small]]:
    """Make a world on a disk of so many MB."""
    made: list[Small] = []

    def make(size_mb: int) -> Small:
        made.append(Small(sandbox, size_mb))
        return made[-1]

    yield make
    sandbox.stop_all()
    for item in made:
        item.disk.close()


def test_too_little_space_is_computed_before_anything_is_touched(small: Callable[[int], Small]) -> None:
    """C08."""
    place = small(300)
    ballast = place.disk.fill(leave_bytes=20 << 20)
    cluster = place.cluster
    with cluster.unchanged():
        error = cluster.keeper("plan", *TARGET).refused("disk-too-small", "free")
        cluster.keeper("restore", *TARGET, *CONFIRM).refused("disk-too-small")
    free = place.disk.free_bytes()
    assert abs(error["details"]["free_bytes"] - free) < 2 << 20
    assert error["details"]["needed_bytes"] > error["details"]["free_bytes"]
    ballast.unlink()
    cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == place.world.rows_before(place.world.points["beta"])


@pytest.mark.parametrize("step", ["stage:begun", "replay:begun"])
def test_a_disk_that_is_really_full_in_the_middle(small: Callable[[int], Small], step: str) -> None:
    """C08."""
    place = small(300)
    cluster, world = place.cluster, place.world
    before = recovered_rows(cluster.dsn())
    running = cluster.keeper_start("restore", *TARGET, *CONFIRM, pause_at=step)
    running.wait_paused()
    ballast = place.disk.fill(leave_bytes=3 << 20 if step == "stage:begun" else 0)
    running.resume()
    answer = running.wait()
    assert answer.status == 3, str(answer)
    codes = ("staging-full",) if step == "stage:begun" else ("disk-full", "replay-server-died")
    assert answer.error["code"] in codes, str(answer)
    assert "No space left on device" in json.dumps(answer.error), str(answer)
    assert answer.error["details"]["state"]["swapped"] is False
    assert cluster.running
    assert recovered_rows(cluster.dsn()) == before
    ballast.unlink()
    cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


@pytest.mark.parametrize("step", sliced([(step,) for step in steps.RESTORE], (), 100))
def test_a_disk_that_is_full_from_any_step_on(small: Callable[[int], Small], step: str) -> None:
    """C08, D10: with room again the same command goes to its end."""
    place = small(300)
    cluster, world = place.cluster, place.world
    before = recovered_rows(cluster.dsn())
    running = cluster.keeper_start("restore", *TARGET, *CONFIRM, pause_at=f"{step}:begun")
    running.wait_paused()
    ballast = place.disk.fill(leave_bytes=0)
    running.resume()
    answer = running.wait()
    assert answer.status in (0, 3), str(answer)
    live = step in steps.RESTORE[: steps.RESTORE.index(steps.STOP_LIVE)]
    if answer.status and live:
        assert cluster.running and recovered_rows(cluster.dsn()) == before
    ballast.unlink()
    again = cluster.keeper("restore", *TARGET, *CONFIRM)
    if again.status:
        # A server that could not write its WAL is down, and is started by whoever made room.
        assert again.status == 3 and not live and not cluster.running, str(again)
        cluster.start()
        cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def test_a_full_repository_keeps_wal_on_the_server(sandbox: Sandbox) -> None:
    disk = SmallDisk(sandbox.root / "disk", 30)
    try:
        cluster = Cluster(
            sandbox, repository=disk.mountpoint / "repository", disk=disk, disk_holds="repository"
        )
        cluster.start().archive_all()
        failed = "SELECT last_failed_wal FROM pg_stat_archiver"

        def fails_on_a_full_disk() -> Any:
            # What the last push still notes in its index may free a page after the disk was filled.
            disk.fill(leave_bytes=0)
            cluster.switch_wal()
            return cluster.value(failed)

        name = wait_for(fails_on_a_full_disk, "a failure of the archiver", interval=0.5)
        ballast = disk.fill(leave_bytes=0)
        status = cluster.archive_status
        assert (status / f"{name}.ready").exists()
        assert "repository-full" in cluster.log()
        ballast.unlink()
        wait_for((status / f"{name}.done").exists, "the segment's second chance", timeout=240)
        # The next ones that waited follow, each with one for a moment.
        wait_for(lambda: not list(Path(disk.view / "repository").rglob(".tmp-*")), "nothing half")
    finally:
        sandbox.stop_all()
        disk.close()
