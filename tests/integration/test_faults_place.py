# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The directories that a restore goes to, and what a staged copy must not do (C01-C03, C07-C10, C14, C16)."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from .harness.cluster import Cluster
from .harness.disk import SmallDisk
from .harness.sandbox import Sandbox
from .harness.template import SUPERUSER
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, World

CONFIRM = ("--confirm", "main")
TARGET = ("--target-name", "beta")
QUIET = {
    "listen_addresses": "",
    "archive_command": "",
    "max_logical_replication_workers": "0",
    "primary_conninfo": "",
    "shared_preload_libraries": "",
    "huge_pages": "off",
}


def small_past(cluster: Cluster) -> World:
    """A backup, work, the target, more work."""
    return World.begin(cluster).work().backup().work().point("beta").work().finish()


def staged(cluster: Cluster) -> Path:
    """The one work directory beside the live data."""
    [found] = cluster.seen(cluster.parent).glob("data.dbkeeper-*")
    return found


# -- where it goes -----------------------------------------------------------------------------------------


def test_tablespaces_are_mapped_to_free_places_only(sandbox: Sandbox) -> None:
    """C02: every map that would write where something lives is refused by plan and restore, and nothing changes."""
    cluster = Cluster(sandbox, settings=SETTINGS).start()
    first, second = (cluster.root / "spaces" / name for name in ("first", "second"))
    for place in (first, second):
        place.mkdir(parents=True)
        cluster.sql(f"CREATE TABLESPACE {place.name} LOCATION '{place}'")
    small_past(cluster)
    taken = cluster.root / "taken"
    taken.mkdir()
    (taken / "precious").write_text("somebody else's")
    link = cluster.root / "link"
    link.symlink_to(cluster.data_directory)
    free = cluster.root / "free"
    cases: list[tuple[dict[Path, Path], str, str]] = [
        ({first: free, second: free}, "tablespace-shared", str(free)),
        ({first: free, second: free / "inside"}, "tablespace-overlap", str(free)),
        (
            {first: cluster.data_directory / "inside"},
            "tablespace-target-forbidden",
            "outside the data directory",
        ),
        ({first: link / "inside"}, "tablespace-target-forbidden", "outside the data directory"),
        ({first: first}, "tablespace-target-forbidden", "which is live"),
        ({first: second}, "tablespace-target-forbidden", "in which something lies"),
        ({first: taken}, "tablespace-target-forbidden", "in which something lies"),
        ({cluster.root / "unknown": free}, "tablespace-unknown", str(second)),
    ]
    with cluster.unchanged():
        for mapping, code, word in cases:
            options = [part for old, new in mapping.items() for part in ("--tablespace", f"{old}={new}")]
            cluster.keeper("plan", *TARGET, *options).refused(code, word)
            cluster.keeper("restore", *TARGET, *options, *CONFIRM).refused(code, word)
    assert [path.name for path in taken.iterdir()] == ["precious"] and not free.exists()


def test_two_clusters_are_never_mixed_in_one_directory(world: World) -> None:
    """C01: what lay in the live directory is kept with it, and none of it is in the restored one."""
    cluster = world.cluster
    (cluster.data_directory / "stray").write_text("after the backup")
    (cluster.data_directory / "base" / "stray").write_text("after the backup")
    done = cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    kept = Path(done["record"]["kept_directory"])
    assert not list(cluster.data_directory.rglob("stray"))
    assert sorted(str(path.relative_to(kept)) for path in kept.rglob("stray")) == ["base/stray", "stray"]
    # C07: the server would refuse others (and refuses to start when others may look in).
    assert cluster.data_directory.stat().st_mode & 0o7777 in (0o700, 0o750)
    assert cluster.data_directory.stat().st_uid == os.getuid()
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def test_what_only_root_may_do_is_left_to_root(world: World) -> None:
    """C07: systemd takes no orders from the cluster's owner; found out before anything is staged."""
    cluster = world.cluster
    cluster.write_config(service={"manager": "systemd", "unit": "postgresql@15-main.service"})
    with cluster.unchanged():
        cluster.keeper("plan", *TARGET).refused("needs-root", "postgresql@15-main.service", "sudo")
        cluster.keeper("restore", *TARGET, *CONFIRM).refused("needs-root")


def test_a_pid_file_that_may_not_be_read_is_no_stopped_server(world: World) -> None:
    """C03: nobody can say whether a server runs there, so nothing is done."""
    path = world.cluster.data_directory / "postmaster.pid"
    with world.cluster.unchanged():
        path.chmod(0)
        for command in (("plan", *TARGET), ("restore", *TARGET, *CONFIRM)):
            world.cluster.keeper(*command).failed("pid-file-unreadable", str(path))
        path.chmod(0o600)
    assert not (world.cluster.state_directory / "restore.journal.json").exists()


# -- room --------------------------------------------------------------------------------------------------


@pytest.fixture
def cramped(sandbox: Sandbox) -> Iterator[tuple[SmallDisk, World]]:
    """A world on a file system with room for few files."""
    disk = SmallDisk(sandbox.root / "disk", 300, inodes=4000)
    cluster = Cluster(sandbox, settings=SETTINGS, external_config=True, disk=disk).start()
    yield disk, small_past(cluster)
    sandbox.stop_all()
    disk.close()


def test_inodes_are_counted_before_anything_is_touched(cramped: tuple[SmallDisk, World]) -> None:
    """C08: bytes enough, files too many."""
    disk, world = cramped
    cluster = world.cluster
    ballast = disk.fill_inodes(leave=300)
    with cluster.unchanged():
        error = cluster.keeper("plan", *TARGET).refused("inodes-too-few", "inodes", "small files")
        cluster.keeper("restore", *TARGET, *CONFIRM).refused("inodes-too-few")
    assert abs(error["details"]["free_inodes"] - disk.free_inodes()) < 20
    assert error["details"]["free_bytes"] > error["details"]["needed_bytes"]
    # As many as the copy really has, and some to spare.
    copied = sum(
        len(names) + len(files) for _path, names, files in os.walk(cluster.seen(cluster.data_directory))
    )
    assert 0.9 * copied < error["details"]["needed_inodes"] < 1.5 * copied + 200
    ballast()
    before = recovered_rows(cluster.dsn())
    # And when they run out in the middle: the copy stops, the live cluster does not.
    running = cluster.keeper_start("restore", *TARGET, *CONFIRM, pause_at="stage:begun")
    running.wait_paused()
    ballast = disk.fill_inodes(leave=50)
    running.resume()
    running.wait().failed("staging-full", "No space left on device", "run the same command again")
    assert recovered_rows(cluster.dsn()) == before
    ballast()
    cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def test_one_disk_for_all_is_warned_of(world: World) -> None:
    """C09: by the plans of backup and restore."""
    cluster = world.cluster
    assert cluster.repository.stat().st_dev == cluster.data_directory.stat().st_dev
    plan = cluster.keeper("plan", *TARGET).expect(0)["plan"]
    assert {"key": "note_one_disk", "values": {}} in plan["notes"]
    backup = cluster.keeper("backup", "--check").expect(0)["plan"]
    assert any("one lost disk loses both" in warning for warning in backup["warnings"])
    # And it is on record afterwards, with all else that the plan had to say.
    done = cluster.keeper("restore", *TARGET, *CONFIRM, "--skip-backup").expect(0)
    assert json.loads(Path(done["evidence"]).read_text())["notes"] == done["plan"]["notes"] == plan["notes"]


# -- what the copy does ------------------------------------------------------------------------------------


def test_files_that_the_copied_configuration_includes_need_not_be_there(world: World) -> None:
    """C10: the staged server has a configuration of its own; after the swap the host's counts, not the backup's."""
    cluster = world.cluster
    absent = cluster.root / "absent"
    absent.mkdir()
    (absent / "one.conf").write_text("work_mem = '5MB'\n")
    configuration = cluster.data_directory / "postgresql.conf"
    text = configuration.read_text()
    configuration.write_text(f"{text}include '{absent}/one.conf'\ninclude_dir '{absent}'\n")
    cluster.reload()
    wait_for(lambda: cluster.value("SHOW work_mem") == "5MB", "the included setting")
    world.backup().point("included").work(4)
    cluster.archive_all()
    configuration.write_text(text)
    cluster.reload()
    (absent / "one.conf").unlink()
    absent.rmdir()
    cluster.keeper("restore", "--target-name", "included", *CONFIRM).expect(0)
    assert configuration.read_text() == text
    assert (
        f"include '{absent}/one.conf'" in (cluster.data_directory / "postgresql.conf.from-backup").read_text()
    )
    assert cluster.value("SHOW work_mem") == "4MB"
    # A copy that names them is refused by the server itself.
    with pytest.raises(AssertionError, match="absent"):
        copy = cluster.data_directory / "postgresql.conf.from-backup"
        cluster.program("postgres", "-D", str(cluster.data_directory), f"--config-file={copy}", "-C", "port")


def test_a_copy_that_archives_is_never_swapped_in(world: World) -> None:
    """C14: its timeline in the archive would mislead the next restore. Somebody gave it a command.

    While it stands there: it has no network and no workers (C15), no second signal (C17), no huge pages (C19).
    """
    cluster = world.cluster
    before = recovered_rows(cluster.dsn())
    with cluster.unchanged("beside: data.dbkeeper-"):
        running = cluster.keeper_start("restore", *TARGET, *CONFIRM, pause_at="verify:begun")
        running.wait_paused()
        work = staged(cluster)
        # Promoted, and nothing has left it: what is new waits.
        status = work / "data" / "pg_wal" / "archive_status"
        assert (status / "00000002.history.ready").exists()
        assert not (work / "data" / "standby.signal").exists()
        dsn = f"host={work}/socket port={cluster.port} dbname=postgres user={SUPERUSER}"
        with psycopg.connect(dsn, autocommit=True, connect_timeout=60) as connection:
            for name, value in QUIET.items():
                [[found]] = connection.execute("SELECT current_setting(%s)", [name]).fetchall()
                assert found == value, name
        with open(work / "staged.conf", "a") as handle:
            handle.write("archive_command = '/bin/true'\n")
        os.kill(int((work / "data" / "postmaster.pid").read_text().split("\n", 1)[0]), signal.SIGHUP)
        wait_for((status / "00000002.history.done").exists, "the copy's archiver", timeout=240)
        running.resume()
        error = running.wait().failed("restored-copy-unfit", "archived segments", "nothing was swapped")
        assert error["details"]["state"] == {**error["details"]["state"], "swapped": False, "running": True}
    assert not (cluster.wal_directory.parent / "00000002.history").exists()
    assert recovered_rows(cluster.dsn()) == before


def test_old_recovery_settings_are_removed_and_told(world: World) -> None:
    """C16: the next start must not go after another target; what was taken out is on record."""
    cluster = world.cluster
    for setting in (
        "recovery_target_name TO 'elsewhere'",
        "restore_command TO 'exit 1'",
        "work_mem TO '7MB'",
    ):
        cluster.sql(f"ALTER SYSTEM SET {setting}")
    done = cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert done["record"]["removed_settings"] == ["recovery_target_name", "restore_command"]
    evidence = json.loads(Path(done["evidence"]).read_text())
    assert evidence["removed_settings"] == done["record"]["removed_settings"]
    auto = (cluster.data_directory / "postgresql.auto.conf").read_text()
    assert "recovery_target" not in auto and "restore_command" not in auto
    assert cluster.value("SHOW work_mem") == "7MB"
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def test_a_plan_that_archive_get_cannot_read_stops_replay_and_is_written_anew(world: World) -> None:
    """B08: without its plan nobody can say what recovery needs, so it gets nothing, and never "no more"."""
    cluster = world.cluster
    with cluster.unchanged("beside: data.dbkeeper-"):
        running = cluster.keeper_start("restore", *TARGET, *CONFIRM, pause_at="replay:begun")
        running.wait_paused()
        (staged(cluster) / "plan.json").write_text('{"format": 1')
        running.resume()
        running.wait().failed(
            "plan-unreadable", "plan.json", "nothing was swapped", "run the same command again"
        )
        assert (staged(cluster) / "data" / "recovery.signal").exists()
    assert cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)["resumes"] is True
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
