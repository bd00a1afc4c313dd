# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The loss of the connection to the repository's host at every step of the engine's own lists (E04).

The way is cut while a command waits at a step. It goes on over a new one or fails; either way what is stored is whole,
and the same command again, or the next one, ends as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Iterator

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup import steps as backup_steps
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery import steps as recovery_steps

from .harness.cluster import Cluster
from .harness.elsewhere import Elsewhere
from .harness.keeper import Answer
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, World
from .slices import points, sliced

CONFIRM = ("--confirm", "main")
RESTORE = ("restore", "--target-name", "here", *CONFIRM)


@pytest.fixture
def vault(sandbox: Sandbox) -> Iterator[Elsewhere]:
    """Another host."""
    place = Elsewhere(sandbox).start()
    yield place
    place.stop()


def cut(vault: Elsewhere, cluster: Cluster, *argv: str, at: str) -> Answer:
    """The command, whose connections end while it waits at a step; new ones may be made."""
    running = cluster.keeper_start(*argv, pause_at=at)
    running.wait_paused()
    for pid in vault.sessions():
        # The archiver's are among them, and come and go.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    running.resume()
    answer = running.wait()
    assert answer.status in (0, 3), str(answer)
    if answer.status:
        assert "repository-unreachable" in json.dumps(answer.data), str(answer)
    return answer


def whole(vault: Elsewhere) -> dict[str, str]:
    """Status by label; each one that is verified has all of its files, as they were sent."""
    found = {}
    for path in sorted((vault.archive / "base").glob("*/backup.json")):
        entry = json.loads(path.read_text())
        found[str(entry["label"])] = str(entry["status"])
        for file in entry["files"] if entry["status"] == "verified" else ():
            content = (path.parent / file["name"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == file["digest"]
    return found


@pytest.mark.parametrize(("step", "when"), sliced(points(backup_steps.BACKUP), (), 10))
def test_a_backup_that_loses_its_repository_is_failed_or_whole(
    sandbox: Sandbox, vault: Elsewhere, step: str, when: str
) -> None:
    cluster = Cluster(sandbox, elsewhere=vault, settings=SETTINGS).start()
    answer = cut(vault, cluster, "backup", "--label", "cut", at=f"{step}:{when}")
    if answer.status == 0:
        assert whole(vault) == {"cut": "verified"}
    else:
        # Before it is registered there is nothing; after the last word, the door has it and only the answer was lost.
        wait_for(lambda: whole(vault).get("cut") != "running", "the door's giving up")
    assert cluster.keeper("backup", "--label", "cut").expect(0)["backup"]["status"] == "verified"
    assert whole(vault) == {"cut": "verified"}


def ready(sandbox: Sandbox, vault: Elsewhere) -> World:
    """A past that can be restored to."""
    cluster = Cluster(sandbox, elsewhere=vault, settings=SETTINGS).start()
    return World.begin(cluster).work().backup().work().point("here").work().finish()


@pytest.mark.parametrize(("step", "when"), sliced(points(recovery_steps.RESTORE), (), 28))
def test_a_restore_that_loses_its_repository_ends_as_it_was_to(
    sandbox: Sandbox, vault: Elsewhere, step: str, when: str
) -> None:
    world = ready(sandbox, vault)
    cluster = world.cluster
    answer = cut(vault, cluster, *RESTORE, at=f"{step}:{when}")
    if answer.status:
        cluster.keeper(*RESTORE).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["here"])
    assert cluster.keeper(*RESTORE).expect(0)["changed"] is False
    # A base backup of the new timeline that was cut stays as a failed entry; the one after it is whole.
    *earlier, newest = whole(vault).values()
    assert newest == "verified" and set(earlier) <= (
        {"verified", "failed"} if answer.status else {"verified"}
    )


@pytest.mark.parametrize(("step", "when"), sliced(points(recovery_steps.UNDO), (), 12))
def test_an_undo_that_loses_its_repository_ends_as_it_was_to(
    sandbox: Sandbox, vault: Elsewhere, step: str, when: str
) -> None:
    world = ready(sandbox, vault)
    cluster = world.cluster
    cluster.keeper(*RESTORE, "--skip-backup").expect(0)
    answer = cut(vault, cluster, "undo", *CONFIRM, at=f"{step}:{when}")
    if answer.status:
        cluster.keeper("undo", *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.all_rows()
    assert cluster.keeper("undo", *CONFIRM).expect(0)["changed"] is False
    # What was given up is told once.
    notes = [path.name for path in (vault.archive / "evidence").glob("given-up-*.json")]
    assert notes == [f"given-up-{cluster.system_id}-00000002.json"]
