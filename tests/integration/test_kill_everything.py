# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The moments of death of every operation: kill -9, and the loss of the server it talks to, at every step of its list.

Kills of restore and undo are in test_faults_kill.py, of backup in test_backup_faults.py, of the push in
test_archive_push.py; all take their steps from the engine's own lists, and one test here holds those lists against
what the journals say.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup import steps as backup_steps
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.locks import process_start
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery import steps as recovery_steps
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention import steps as expiry_steps

from .backup_help import SLOWLY, statuses, wait_for_copier
from .harness.cluster import Cluster
from .harness.processes import postmaster_pid
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import World
from .slices import points, sliced
from .test_faults_kill import CONFIRM, LIVE, RESTORE, finished

EXPIRE = ("expire", "--full-count", "1")
AFTER = recovery_steps.RESTORE[recovery_steps.RESTORE.index(recovery_steps.PROVE_ARCHIVING) :]


def sound(cluster: Cluster) -> None:
    """The archive, read again as a whole, has no fault and no gap, and nobody has left anything."""
    [report] = cluster.keeper("index", "--rebuild").expect(0)["archives"].values()
    assert report["faults"] == 0
    known = cluster.keeper("info").expect(0)
    assert (known["gaps"], known["conflicts"], known["damaged"]) == ([], [], [])

    def left() -> list[str]:
        walked = os.walk(cluster.repository / cluster.name)
        names = [f"{parent}/{name}" for parent, below, files in walked for name in (*below, *files)]
        return [
            path for path in names if os.path.basename(path)[0] == "." and not path.endswith("/.push.lock")
        ]

    # The archiver may be at work on a file of this moment; what somebody has left stays.
    wait_for(lambda: not left(), f"nothing to be left over ({left()})")


_OTHERS = "pid <> pg_backend_pid() AND backend_type IN ('client backend', 'walsender')"


def lose_connections(cluster: Cluster) -> None:
    """Every connection of a client or a copier is ended by the server."""
    cluster.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_OTHERS}")


def stop_at_once(cluster: Cluster) -> None:
    """As when somebody stops the server in immediate mode."""
    cluster.stop("immediate")


LOSSES = {"connections": lose_connections, "server": stop_at_once}


# -- expiry ----------------------------------------------------------------------------------------------

EXPIRY_DANGEROUS = ((expiry_steps.MARK, "done"), (expiry_steps.DELETE, "begun"), (expiry_steps.WAL, "begun"))


@pytest.mark.parametrize(("step", "status"), sliced(points(expiry_steps.EXPIRE), EXPIRY_DANGEROUS, 10))
def test_an_expiry_killed_at_any_step_is_finished_by_the_next_run(
    world: World, step: str, status: str
) -> None:
    cluster = world.cluster
    old, new = (backup.label for backup in world.backups)
    assert cluster.keeper(*EXPIRE, kill_at=f"{step}:{status}").status == -signal.SIGKILL
    known = {one["label"]: one["status"] for one in cluster.keeper("info").expect(0)["backups"]}
    assert known[new] == "verified"
    # Whatever is still listed as verified can be restored as it is.
    for label, said in known.items():
        if said == "verified":
            cluster.keeper("plan", "--backup", label, "--immediate").expect(0)
    cluster.keeper(*EXPIRE).expect(0)
    assert [one["label"] for one in cluster.keeper("info").expect(0)["backups"]] == [new]
    with cluster.unchanged():
        assert cluster.keeper(*EXPIRE).expect(0)["changed"] is False
    sound(cluster)
    assert old not in {path.name for path in (cluster.repository / cluster.name / "base").iterdir()}
    cluster.keeper(*RESTORE).expect(0)
    finished(world)


# -- backup ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "loss"),
    sliced(points(backup_steps.BACKUP, tuple(LOSSES)), ((backup_steps.WAL, "server"),), 10),
)
def test_a_backup_that_loses_its_server_fails_or_ends_well(world: World, step: str, loss: str) -> None:
    cluster = world.cluster
    before = recovered_rows(cluster.dsn())
    running = cluster.keeper_start("backup", pause_at=f"{step}:begun")
    running.wait_paused()
    LOSSES[loss](cluster)
    running.resume()
    ended = running.wait()
    assert ended.status in (0, 3), str(ended)
    if ended.status:
        assert ended.error["code"] in (
            "basebackup-failed",
            "server-unreachable",
            "sql-failed",
            "server-not-running",
        )
        assert statuses(cluster)[-1] in ("failed", "verified")
    after_loss(cluster, before)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_backup_that_loses_its_server_in_the_middle_of_the_copy(world: World, loss: str) -> None:
    cluster = world.cluster
    before = recovered_rows(cluster.dsn())
    cluster.write_config(**SLOWLY)
    running = cluster.keeper_start("backup")
    wait_for_copier(cluster)
    LOSSES[loss](cluster)
    running.wait().failed("basebackup-failed")
    assert statuses(cluster)[-1] == "failed"
    cluster.write_config(backup={})
    after_loss(cluster, before)


def after_loss(cluster: Cluster, before: object) -> None:
    """The server is as it was, the next backup is taken, and nothing is left of the one before."""
    if not cluster.running:
        cluster.start()
    assert recovered_rows(cluster.dsn()) == before
    made = cluster.keeper("backup").expect(0)["backup"]
    assert made["status"] == "verified"
    cluster.archive_all()
    sound(cluster)
    cluster.keeper("plan", "--backup", made["label"], "--immediate").expect(0)


# -- restore ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "loss"),
    sliced(points((*LIVE, *AFTER), tuple(LOSSES)), ((recovery_steps.BACKUP, "server"),), 12),
)
def test_a_restore_that_loses_the_live_server_goes_to_its_end(world: World, step: str, loss: str) -> None:
    cluster = world.cluster
    running = cluster.keeper_start(*RESTORE, pause_at=f"{step}:begun")
    running.wait_paused()
    LOSSES[loss](cluster)
    running.resume()
    answer = running.wait()
    # Refused would mean that nothing was touched.
    assert answer.status in (0, 3), str(answer)
    if not cluster.running:
        cluster.start()
    if answer.status:
        cluster.keeper(*RESTORE).expect(0)
    finished(world)
    sound(cluster)


def kill_paused(pid: int) -> None:
    """kill -9 of a postmaster whose parent stands still, so that it stays a zombie for a while; its children go."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(pid, signal.SIGKILL)
    wait_for(
        lambda: all(process_start(int(one)) is None for one in (pid, *children)),
        "the end of the staged server",
    )


def staged_server(cluster: Cluster) -> int | None:
    """The postmaster of the copy beside the live cluster."""
    found: list[Path] = list(cluster.parent.glob("data.dbkeeper-*/data"))
    return postmaster_pid(found[0]) if found else None


@pytest.mark.parametrize(
    ("step", "status"),
    sliced(
        [
            (recovery_steps.REPLAY, "begun"),
            (recovery_steps.REPLAY, "done"),
            (recovery_steps.VERIFY, "begun"),
        ],
        ((recovery_steps.VERIFY, "begun"),),
        2,
    ),
)
def test_a_staged_server_that_dies_is_told_and_the_next_run_goes_on(
    world: World, step: str, status: str
) -> None:
    cluster = world.cluster
    pid = cluster.pid
    running = cluster.keeper_start(*RESTORE, pause_at=f"{step}:{status}")
    running.wait_paused()
    staged = wait_for(lambda: staged_server(cluster), "the staged server")
    assert staged is not None and staged != pid
    kill_paused(staged)
    running.resume()
    answer = running.wait()
    assert answer.status == 3 and answer.error["code"] in ("replay-server-died", "restored-copy-unfit"), str(
        answer
    )
    assert cluster.pid == pid
    assert cluster.keeper(*RESTORE).expect(0)["resumes"]
    finished(world)


# -- undo ------------------------------------------------------------------------------------------------


#: Between these two no server runs, so that there is none to be lost.
UNDO = recovery_steps.UNDO
WITH_SERVER = (UNDO[0], *UNDO[UNDO.index(recovery_steps.UNDO_START) + 1 :])


@pytest.mark.parametrize(
    ("step", "loss"),
    sliced(points(WITH_SERVER, tuple(LOSSES)), ((recovery_steps.UNDO_GIVE_UP, "server"),), 6),
)
def test_an_undo_that_loses_the_server_goes_to_its_end(world: World, step: str, loss: str) -> None:
    cluster = world.cluster
    before = recovered_rows(cluster.dsn())
    cluster.keeper(*RESTORE).expect(0)
    running = cluster.keeper_start("undo", *CONFIRM, pause_at=f"{step}:begun")
    running.wait_paused()
    LOSSES[loss](cluster)
    running.resume()
    running.wait().expect(0)
    if not cluster.running:
        # It is the old one that was lost, after it had been started.
        assert step != UNDO[0] and loss == "server"
        cluster.start()
    assert recovered_rows(cluster.dsn()) == before


# -- the lists -------------------------------------------------------------------------------------------


def test_no_step_is_missing_from_the_lists(world: World) -> None:
    """Every step that a journal ever names is in the list that these tests go through, and the other way round."""
    cluster = world.cluster
    cluster.keeper("backup").expect(0)
    cluster.keeper(*EXPIRE).expect(0)
    cluster.keeper("restore", "--latest", *CONFIRM).expect(0)
    cluster.keeper("undo", *CONFIRM).expect(0)
    lists = (backup_steps.BACKUP, recovery_steps.RESTORE, recovery_steps.UNDO, expiry_steps.EXPIRE)
    assert {line.rpartition(":")[0] for line in cluster.steps()} == {step for one in lists for step in one}
