# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The newest state: an archive that lost its end looks like one that ends there, but others know better.

The live cluster knows what it wrote, the catalog where backups ended, a child's history where it left its parent. What
they tell of is never left out in silence, and nothing that was committed while a restore was on its way either.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .harness.cluster import Cluster
from .harness.installation import each_major, installations
from .harness.sandbox import Sandbox
from .harness.spare import spare_for
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, World, lsn_number, lsn_text, utc

CONFIRM = ("--confirm", "main")
LATEST = ("restore", "--latest", *CONFIRM)
SEGMENT_BYTES = 1 << 20


def number(path: Path) -> int:
    """A segment's position in WAL, in segments."""
    return (int(path.name[8:16], 16) << 12) + int(path.name[16:24], 16)


def test_an_archive_that_lost_its_end_is_seen(world: World) -> None:
    """The whole command, warm and cold index alike: the names that are gone are not remembered anywhere."""
    cluster = world.cluster
    cluster.archive_all()
    cluster.sql("CHECKPOINT")
    cluster.keeper("plan", "--latest").expect(0)
    moment = utc(cluster.value("SELECT clock_timestamp()"))
    gone = [(path, path.read_bytes()) for path in cluster.archived_segments()[-2:]]
    for path, _dummy in gone:
        path.unlink()
    idle = ("--target-time", moment, "--allow-idle-gap")
    with cluster.unchanged():
        for target in (("--latest",), idle):
            error = cluster.keeper("plan", *target).refused("live-wal-not-archived", "lost its end")
            ends, live = (lsn_number(error["details"][name]) for name in ("archive_end_lsn", "live_lsn"))
            assert ends == live - 2 * SEGMENT_BYTES
    cluster.keeper("plan", "--latest", "--accept-unarchived").expect(0)
    cluster.keeper("plan", "--target-name", "beta").expect(0)
    for path, content in gone:
        path.write_bytes(content)
    cluster.keeper("plan", "--latest").expect(0)


@pytest.mark.parametrize("major", each_major(max(installations())))
def test_what_a_server_that_does_not_archive_has_written_is_not_left_out(
    make_cluster: Callable[..., Cluster], major: int
) -> None:
    """archive_mode is off in the server that runs, and on in its files: its clean stop ends no segment."""
    cluster = make_cluster(installation=installations()[major], settings=SETTINGS)
    world = World.begin(cluster).work(4).backup().work(4)
    cluster.archive_all()
    cluster.set(archive_mode="off")
    cluster.restart()
    world.work(2, workers=1)
    before = recovered_rows(cluster.dsn())
    cluster.set(archive_mode="on")
    answer = cluster.keeper(*LATEST)
    answer.refused("live-wal-not-archived", "was never given it", "--accept-unarchived")
    # It was stopped to be asked, and serves again as before; started so, it archives what it has.
    assert recovered_rows(cluster.dsn()) == before
    assert not list(cluster.parent.glob("data.*"))
    cluster.keeper(*LATEST, "--skip-backup").expect(0)
    assert recovered_rows(cluster.dsn()) == before


def test_what_a_server_in_recovery_has_replayed_is_not_left_out(world: World) -> None:
    """Somebody made a standby of the cluster: it archives nothing, and stops in order all the same."""
    cluster = world.cluster
    world.work()
    before = recovered_rows(cluster.dsn())
    cluster.crash()
    (cluster.data_directory / "standby.signal").touch()
    cluster.start()
    assert recovered_rows(cluster.dsn()) == before
    cluster.stop()
    with cluster.unchanged():
        cluster.keeper(*LATEST).refused("live-wal-not-archived", "--accept-unarchived")
    assert not (cluster.state_directory / "restore.journal.json").exists()


@pytest.mark.parametrize("state", ["running", "crashed"])
def test_an_idle_gap_begins_behind_what_the_live_cluster_has(world: World, state: str) -> None:
    """Committed before the asked time, in a segment that is not archived yet: that is no idle time."""
    cluster = world.cluster
    world.work()
    before = recovered_rows(cluster.dsn())
    idle = ("--target-time", utc(cluster.value("SELECT clock_timestamp()")), "--allow-idle-gap", *CONFIRM)
    if state == "running":
        cluster.keeper("restore", *idle).expect(0)
        assert recovered_rows(cluster.dsn()) == before
        return
    cluster.crash()
    # What was finished and waits is archived all the same.
    with cluster.unchanged("wal: ", "data: pg_wal/archive_status"):
        cluster.keeper("restore", *idle).refused("live-wal-not-archived", "--accept-unarchived")
    assert not (cluster.state_directory / "restore.journal.json").exists()


@pytest.mark.parametrize(
    ("step", "now"),
    [
        ("stage:begun", "running"),
        pytest.param("stage:begun", "stopped", marks=pytest.mark.matrix),
        pytest.param("stop-live:done", "running", marks=pytest.mark.matrix),
        ("stop-live:done", "stopped"),
    ],
)
def test_what_is_committed_while_latest_is_unfinished_is_not_lost(world: World, step: str, now: str) -> None:
    """The restore was killed; the cluster is started by somebody, and somebody commits. Its old plan is no good."""
    cluster = world.cluster
    assert cluster.keeper(*LATEST, kill_at=step).status == -signal.SIGKILL
    assert not cluster.running
    cluster.start()
    world.work()
    before = recovered_rows(cluster.dsn())
    if now == "stopped":
        cluster.stop()
    with cluster.unchanged("beside: data.dbkeeper-"):
        answer = cluster.keeper(*LATEST)
        answer.failed(
            "live-wal-not-archived",
            "was started again",
            "nothing was swapped",
            "dbkeeper undo --cluster main",
        )
    assert answer.error["details"]["state"]["swapped"] is False
    cluster.keeper("undo", *CONFIRM).expect(0)
    cluster.keeper(*LATEST).expect(0)
    assert recovered_rows(cluster.dsn()) == before


def test_what_is_committed_after_the_old_cluster_was_put_back_is_not_lost(world: World) -> None:
    """The restored one did not start, the old one serves again: the same command is no way to get its newest state."""
    cluster = world.cluster
    running = cluster.keeper_start(*LATEST, pause_at="start-new:begun")
    running.wait_paused()
    path = cluster.data_directory / "postgresql.conf"
    good = path.read_text()
    path.write_text(f"{good}shared_preload_libraries = 'not_installed'\n")
    running.resume()
    running.wait().failed("new-cluster-did-not-start", "the old cluster is running again")
    world.work()
    before = recovered_rows(cluster.dsn())
    with cluster.unchanged("beside: data.dbkeeper-"):
        cluster.keeper(*LATEST).failed("live-wal-not-archived", "it is running", "nothing was swapped")
    cluster.keeper("undo", *CONFIRM).expect(0)
    cluster.keeper(*LATEST).expect(0)
    assert recovered_rows(cluster.dsn()) == before


def test_a_cluster_that_was_started_in_the_middle_of_the_swap_is_stopped_again(world: World) -> None:
    """Killed between the stop and the rename; the host's boot starts it. No running server's directory is renamed."""
    cluster = world.cluster
    before = recovered_rows(cluster.dsn())
    restore = ("restore", "--target-name", "beta", *CONFIRM, "--skip-backup")
    assert cluster.keeper(*restore, kill_at="stop-live:done").status == -signal.SIGKILL
    cluster.start()
    old = cluster.pid
    cluster.keeper(*restore).expect(0)
    assert cluster.pid is not None and cluster.pid != old
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    # And back: killed after the restored one was stopped, which somebody starts.
    assert cluster.keeper("undo", *CONFIRM, kill_at="undo-stop:done").status == -signal.SIGKILL
    cluster.start()
    restored = cluster.pid
    cluster.keeper("undo", *CONFIRM).expect(0)
    assert cluster.pid is not None and cluster.pid != restored
    assert recovered_rows(cluster.dsn()) == before


def test_a_childs_history_tells_that_its_parent_went_on(world: World, sandbox: Sandbox) -> None:
    """No cluster is left to ask; of timeline 1 the archive has lost what came before the fork."""
    cluster = world.cluster
    record = cluster.keeper("restore", "--target-name", "beta", "--skip-backup", *CONFIRM).expect(0)["record"]
    fork = lsn_number(record["reached"]["end_lsn"]) // SEGMENT_BYTES
    cluster.stop()
    first = fork - 3
    assert first > world.backups[1].stop_lsn // SEGMENT_BYTES + 1
    names = []
    for path in cluster.archived_segments():
        if number(path) >= first:
            names.append(path.name.partition(".")[0])
            path.unlink()
    spare = spare_for(cluster, sandbox)
    for target in (
        ("--latest", "--timeline", "1"),
        ("--target-time", utc(world.ends[-1].time), "--allow-idle-gap", "--timeline", "1"),
    ):
        with spare.unchanged():
            error = spare.keeper("plan", *target).refused("segment-missing", *names[:3:2], "timeline 2")
            spare.keeper("restore", *target, *CONFIRM).refused("segment-missing", names[0])
        assert (error["details"]["first"], error["details"]["last"]) == (names[0], names[2])
    # What can be reached is named, and can be asked for.
    last = world.commit_before(first * SEGMENT_BYTES)
    assert error["details"]["last_reachable_commit"]["lsn"] == lsn_text(last.lsn)
    plan = spare.keeper("plan", "--target-lsn", lsn_text(last.lsn), "--timeline", "1").expect(0)["plan"]
    assert plan["proof"]["last_commit"]["xid"] == last.xid


def test_a_backup_tells_that_the_archive_went_on(world: World, sandbox: Sandbox) -> None:
    """No cluster is left to ask, and an older backup was named: the newer one's WAL was there once."""
    cluster = world.cluster
    older, newer = world.backups
    cluster.stop()
    first = newer.start_lsn // SEGMENT_BYTES
    assert first > older.stop_lsn // SEGMENT_BYTES + 1
    names = []
    for path in cluster.archived_segments():
        if number(path) >= first:
            names.append(path.name.partition(".")[0])
            path.unlink()
    spare = spare_for(cluster, sandbox)
    target = ("--latest", "--backup", older.label)
    with spare.unchanged():
        error = spare.keeper("plan", *target).refused("segment-missing", newer.label, names[0])
        spare.keeper("restore", *target, *CONFIRM).refused("segment-missing", newer.label)
        assert error["details"]["first"] == names[0]
        spare.keeper("plan", "--latest").refused("segment-missing", names[0])
    spare.keeper("plan", *target, "--accept-unarchived").expect(0)
