# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The swap interrupted, and the way back: at each rename, and with something in the way (D12)."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .harness.keeper import KILL_AT_RENAME
from .harness.workload import recovered_rows
from .harness.world import World
from .restore_help import CONFIRM, ITS_OWN, RESTORE, finished, journal, paused


@pytest.mark.parametrize(
    ("rename", "way"),
    [
        (1, "finish"),
        pytest.param(1, "go back", marks=pytest.mark.matrix),
        pytest.param(2, "finish", marks=pytest.mark.matrix),
        (2, "go back"),
    ],
)
def test_d12_killed_right_after_a_rename(world: World, rename: int, way: str) -> None:
    """Neither the journal nor the disk has heard of the rename: what lies there must tell."""
    cluster = world.cluster
    answer = cluster.keeper(*RESTORE, environment={KILL_AT_RENAME: str(rename)})
    assert answer.status == -signal.SIGKILL, str(answer)
    assert cluster.data_directory.exists() is (rename == 2)
    if way == "finish":
        finished(world, cluster.keeper(*RESTORE))
        return
    cluster.keeper("undo", *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.all_rows()
    names = sorted(path.name.split("-")[0] for path in cluster.parent.iterdir())
    assert names == (["data"] if rename == 1 else ["data", "data.undone"])


@pytest.mark.matrix
@pytest.mark.parametrize("rename", [1, 2])
def test_d12_an_undo_killed_right_after_a_rename(world: World, rename: int) -> None:
    cluster = world.cluster
    cluster.keeper(*RESTORE, "--skip-backup").expect(0)
    answer = cluster.keeper("undo", *CONFIRM, environment={KILL_AT_RENAME: str(rename)})
    assert answer.status == -signal.SIGKILL, str(answer)
    assert cluster.data_directory.exists() is (rename == 2)
    cluster.keeper("undo", *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.all_rows()
    names = sorted(path.name.split("-")[0] for path in cluster.parent.iterdir())
    assert names == ["data", "data.undone"]


@pytest.mark.parametrize(
    "step", [pytest.param("stop-live:begun", marks=pytest.mark.matrix), "keep-old:begun"]
)
def test_d12_something_in_the_way_of_the_swap(world: World, step: str) -> None:
    """Seen before the live cluster stops; made while it is down, it costs seconds, and the old one serves again."""
    cluster = world.cluster
    with cluster.unchanged(*ITS_OWN, "postmaster", "beside: data.before-"):
        running = paused(world, step.replace("stop-live:begun", "settle:done"))
        plan = journal(world)["plan"]
        blocked = Path(plan["kept_directory"])
        blocked.mkdir()
        pid = cluster.pid
        running.resume()
        answer = running.wait()
        answer.failed(
            "swap-blocked",
            f"rename {cluster.data_directory} to {blocked}",
            "is there already",
            "move it away",
        )
        assert cluster.pid is not None
        assert (cluster.pid == pid) is (step == "stop-live:begun")
        assert ("is running again" in answer.error["happened"]) is (step == "keep-old:begun")
        assert recovered_rows(cluster.dsn()) == world.all_rows()
    blocked.rmdir()
    finished(world, cluster.keeper(*RESTORE))


@pytest.mark.matrix
def test_d12_something_in_the_place_of_the_live_directory(world: World) -> None:
    """Between the two renames: nothing is put over it, and both data directories wait under their names."""
    cluster = world.cluster
    running = paused(world, "place-new:begun")
    cluster.data_directory.mkdir(mode=0o700)
    running.resume()
    answer = running.wait()
    answer.failed(
        "swap-blocked",
        f"to {cluster.data_directory}",
        f"{cluster.data_directory} is there already",
        "move it away",
    )
    assert answer.error["details"]["state"]["kept_directory"] is not None
    assert list(cluster.data_directory.iterdir()) == []
    cluster.data_directory.rmdir()
    finished(world, cluster.keeper(*RESTORE))


def test_d12_an_undo_without_the_old_directory(world: World) -> None:
    cluster = world.cluster
    record = cluster.keeper(*RESTORE).expect(0)["record"]
    kept = Path(record["kept_directory"])
    aside = cluster.root / "aside"
    kept.rename(aside)
    with cluster.unchanged():
        cluster.keeper("undo", *CONFIRM).refused(
            "kept-directory-missing", str(kept), "somebody removed it", "dbkeeper info"
        )
    aside.rename(kept)
    cluster.keeper("undo", *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.all_rows()
