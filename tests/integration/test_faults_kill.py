# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""kill -9 anywhere: run the same command again, and it finishes with the same result (D01, D02, D10, D12)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery import steps

from .harness.keeper import Answer
from .harness.processes import kill_postmaster, postmaster_pid
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import World
from .slices import points, sliced

CONFIRM = ("--confirm", "main")
RESTORE = ("restore", "--target-name", "beta", *CONFIRM)

#: Before these, the live cluster serves as if nothing happened; then it is down, or the restored one is in its place.
LIVE = steps.RESTORE[: steps.RESTORE.index(steps.STOP_LIVE)]

#: Where most can go wrong; the other moments come by turns (what a step has done is where the next one begins), and
#: all of them in the matrix.
DANGEROUS = (
    (steps.REPLAY, "begun"),
    (steps.STOP_LIVE, "done"),
    (steps.KEEP_OLD, "done"),
    (steps.PLACE_NEW, "done"),
    (steps.START_NEW, "done"),
)


def killed(answer: Answer) -> None:
    """It died as it was meant to."""
    assert answer.status == -signal.SIGKILL, str(answer)


def finished(world: World) -> None:
    """Everything is as an undisturbed restore leaves it."""
    cluster = world.cluster
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 2
    assert (cluster.timeline_directory(1).parent / "00000002.history").exists()
    names = sorted(path.name.split("-")[0] for path in cluster.parent.iterdir())
    assert names == ["data", "data.before"]
    assert list((cluster.repository / cluster.name / "leases").glob("*.json")) == []

    def alone() -> bool:
        servers = {pid: _parent(pid) for pid in cluster.sandbox.processes() if _is_postmaster(pid)}
        return [pid for pid, parent in servers.items() if parent not in servers] == [cluster.pid]

    # A child that was forked this moment still has its parent's command line, and may be gone when it is asked for one.
    wait_for(alone, "no other server is left")
    with cluster.unchanged():
        again = cluster.keeper(*RESTORE).expect(0)
        assert (again["changed"], again["executed"]) == (False, False)


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _is_postmaster(pid: int) -> bool:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        # It ended between the listing and the look: a program that the command had started.
        return False
    return argv[0].endswith(b"/postgres") and b"-D" in argv


@pytest.mark.parametrize(("step", "status"), sliced(points(steps.RESTORE), DANGEROUS, 5))
def test_a_restore_killed_at_any_step_is_finished_by_the_next_run(
    world: World, step: str, status: str
) -> None:
    cluster = world.cluster
    before = recovered_rows(cluster.dsn())
    pid = cluster.pid
    killed(cluster.keeper(*RESTORE, kill_at=f"{step}:{status}"))
    if step in LIVE:
        assert cluster.pid == pid
        assert recovered_rows(cluster.dsn()) == before
    if (step, status) == (steps.KEEP_OLD, "done"):
        # Between the renames there is no live directory, and nothing is lost.
        assert not cluster.data_directory.exists()
        names = sorted(path.name.split("-")[0] for path in cluster.parent.iterdir())
        assert names == ["data.before", "data.dbkeeper"]
    plan = cluster.keeper("plan", *RESTORE[1:3]).expect(0)
    assert plan["resumes"] is True
    answer = cluster.keeper(*RESTORE).expect(0)
    assert answer["executed"] and answer["resumes"]
    assert answer["plan"]["id"] == plan["plan"]["id"]
    finished(world)


@pytest.mark.parametrize(
    ("step", "status"),
    sliced(points(steps.RESTORE), [(steps.KEEP_OLD, "done"), (steps.PLACE_NEW, "done")], 14),
)
def test_a_restore_killed_at_any_step_can_be_taken_back(world: World, step: str, status: str) -> None:
    cluster = world.cluster
    before = recovered_rows(cluster.dsn())
    killed(cluster.keeper(*RESTORE, kill_at=f"{step}:{status}"))
    cluster.keeper("undo", *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == before
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 1
    names = sorted(path.name.split("-")[0] for path in cluster.parent.iterdir())
    placed = points(steps.RESTORE).index((step, status)) >= points(steps.RESTORE).index(
        (steps.PLACE_NEW, "done")
    )
    assert names == (["data", "data.undone"] if placed else ["data"])
    # And a new restore starts from nothing.
    answer = cluster.keeper(*RESTORE).expect(0)
    assert answer["resumes"] is False
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


UNDO_DANGEROUS = ((steps.UNDO_PUT_ASIDE, "begun"), (steps.UNDO_PUT_ASIDE, "done"))


@pytest.mark.parametrize(("step", "status"), sliced(points(steps.UNDO), UNDO_DANGEROUS, 4))
def test_a_killed_undo_is_finished_by_the_next_run(world: World, step: str, status: str) -> None:
    cluster = world.cluster
    before = recovered_rows(cluster.dsn())
    cluster.keeper(*RESTORE).expect(0)
    killed(cluster.keeper("undo", *CONFIRM, kill_at=f"{step}:{status}"))
    # The swap back may be half-done and the server down: of what is there, a restore changes nothing.
    with cluster.unchanged():
        cluster.keeper(*RESTORE).refused("undo-unfinished", "dbkeeper undo")
    cluster.keeper("undo", *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == before
    with cluster.unchanged():
        assert cluster.keeper("undo", *CONFIRM).expect(0)["changed"] is False


def test_another_target_is_refused_while_one_is_unfinished(world: World) -> None:
    cluster = world.cluster
    killed(cluster.keeper(*RESTORE, kill_at="replay:begun"))
    with cluster.unchanged("beside: "):
        cluster.keeper("restore", "--target-name", "alpha", *CONFIRM).refused(
            "restore-unfinished", "restore point beta", "dbkeeper undo"
        )
        cluster.keeper("plan", "--target-name", "alpha").refused("restore-unfinished")
    cluster.keeper(*RESTORE).expect(0)
    finished(world)


def test_the_staged_server_killed_in_replay_is_told_and_the_next_run_continues(world: World) -> None:
    cluster = world.cluster
    segments = cluster.keeper("plan", *RESTORE[1:3]).expect(0)["plan"]["segments"]
    running = cluster.keeper_start(*RESTORE, hold_get=segments[-2][0])
    running.wait_paused()
    staged = postmaster_pid(staging(world))
    assert staged is not None and staged != cluster.pid
    os.kill(staged, signal.SIGKILL)
    answer = running.wait()
    answer.failed("replay-server-died", "nothing was swapped")
    running.resume()
    assert cluster.running
    assert recovered_rows(cluster.dsn()) == world.all_rows()
    assert cluster.keeper(*RESTORE).expect(0)["resumes"]
    finished(world)


@pytest.mark.parametrize("name", sliced([("SIGKILL",), ("SIGTERM",), ("SIGHUP",)], [("SIGKILL",)], 2))
def test_the_command_killed_in_replay_leaves_a_server_that_the_next_run_takes_care_of(
    world: World, name: str
) -> None:
    """SIGHUP: the connection of whoever started it was lost."""
    cluster = world.cluster
    segments = cluster.keeper("plan", *RESTORE[1:3]).expect(0)["plan"]["segments"]
    running = cluster.keeper_start(*RESTORE, hold_get=segments[-2][0])
    running.wait_paused()
    os.kill(running.pid, signal.Signals[name])
    assert running.wait().status != 0
    assert cluster.running
    running.resume()
    assert cluster.keeper(*RESTORE).expect(0)["resumes"]
    finished(world)


def test_a_promotion_that_was_cut_short_is_staged_again(world: World) -> None:
    """PostgreSQL removes recovery.signal before it writes the new timeline's history.

    Killed in between, the copy would start with a plain crash recovery, and go past the target on the old timeline.
    """
    cluster = world.cluster
    killed(cluster.keeper(*RESTORE, kill_at="replay:begun"))
    (staging(world) / "recovery.signal").unlink()
    assert cluster.keeper(*RESTORE).expect(0)["resumes"]
    assert cluster.steps().count("stage:done") == 2
    finished(world)


def test_everything_killed_in_replay_and_the_live_server_too(world: World) -> None:
    """As after a reboot: nothing runs any more, only files are left."""
    cluster = world.cluster
    segments = cluster.keeper("plan", *RESTORE[1:3]).expect(0)["plan"]["segments"]
    running = cluster.keeper_start(*RESTORE, hold_get=segments[-2][0])
    running.wait_paused()
    cluster.sandbox.stop_all()
    running.wait()
    running.resume()
    assert not cluster.running
    cluster.keeper(*RESTORE).expect(0)
    finished(world)


def test_killed_while_the_backup_is_extracted(world: World) -> None:
    """D01. Not at a step's edge but in the middle of it: as soon as the first file is there."""
    cluster = world.cluster
    running = cluster.keeper_start(*RESTORE)
    wait_for(lambda: staged(world), "the staging directory", interval=0.001)
    killed(running.kill_group())
    cluster.keeper(*RESTORE).expect(0)
    finished(world)


def test_a_live_server_that_crashes_during_the_restore_does_not_disturb_it(world: World) -> None:
    cluster = world.cluster
    running = cluster.keeper_start(*RESTORE, pause_at="settle:begun")
    running.wait_paused()
    pid = cluster.pid
    assert pid is not None
    kill_postmaster(pid)
    running.resume()
    running.wait().expect(0)
    finished(world)


@pytest.mark.parametrize("step", ["stop-live:begun", "place-new:done"])
def test_latest_killed_and_run_again_loses_nothing(world: World, step: str) -> None:
    cluster = world.cluster
    world.work()
    before = recovered_rows(cluster.dsn())
    killed(cluster.keeper("restore", "--latest", *CONFIRM, kill_at=step))
    cluster.keeper("restore", "--latest", *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == before


def staging(world: World) -> Path:
    """The staged data directory."""
    [found] = staged(world)
    return found


def staged(world: World) -> list[Path]:
    """The staged data directory, if there is one."""
    return list(world.cluster.parent.glob("data.dbkeeper-*/data"))
