# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A restore on its way, stopped where a test wants it, and what must hold when it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .harness.keeper import Answer, Running
from .harness.workload import recovered_rows
from .harness.world import World

CONFIRM = ("--confirm", "main")
TARGET = ("--target-name", "beta")
RESTORE = ("restore", *TARGET, *CONFIRM)
#: What a restore on its way may add: its own directory, and WAL that the live server archives meanwhile.
ITS_OWN = ("beside: data.dbkeeper-", "wal: ")


def staged(world: World) -> Path:
    """The staged data directory."""
    [found] = world.cluster.parent.glob("data.dbkeeper-*/data")
    return found


def work(world: World) -> Path:
    """The work directory of the restore that is on its way."""
    return staged(world).parent


def nothing_swapped(world: World, answer: Answer) -> None:
    """The failure says so, the live cluster still serves all its rows, the work is kept and its lease, too."""
    cluster = world.cluster
    assert "nothing was swapped" in answer.error["happened"], str(answer)
    state = answer.error["details"]["state"]
    assert (state["swapped"], state["running"], state["work_directory"]) == (False, True, str(work(world)))
    assert recovered_rows(cluster.dsn()) == world.all_rows()
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 1
    assert len(leases(world)) == 1


def journal(world: World) -> dict[str, Any]:
    """What the restore on its way has written down."""
    text = (world.cluster.state_directory / "restore.journal.json").read_text()
    data: dict[str, Any] = json.loads(text)["data"]
    return data


def leases(world: World) -> list[dict[str, Any]]:
    directory = world.cluster.repository / world.cluster.name / "leases"
    return [json.loads(path.read_text()) for path in directory.glob("*.json")]


def finished(world: World, answer: Answer) -> None:
    """The target is there, and nothing is left over."""
    answer.expect(0)
    cluster = world.cluster
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    names = sorted(path.name.split("-")[0] for path in cluster.parent.iterdir())
    assert names == ["data", "data.before"]
    assert leases(world) == []


def given_up(world: World) -> None:
    """The way out that the message names: afterwards nothing is left of the restore."""
    cluster = world.cluster
    cluster.keeper("undo", *CONFIRM).expect(0)
    assert [path.name for path in cluster.parent.iterdir()] == ["data"]
    assert leases(world) == []


def paused(world: World, step: str, **options: Any) -> Running:
    running = world.cluster.keeper_start(*RESTORE, pause_at=step, **options)
    running.wait_paused()
    return running
