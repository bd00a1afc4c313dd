# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A repository on another host: push, backup, plan and restore through a real sshd and the real door."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.harness.cluster import Cluster
from tests.integration.harness.elsewhere import Elsewhere
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.workload import recovered_rows
from tests.integration.harness.world import SETTINGS, World


@pytest.fixture
def vault(sandbox: Sandbox) -> Iterator[Elsewhere]:
    """Another host."""
    place = Elsewhere(sandbox).start()
    yield place
    place.stop()


@pytest.fixture
def away(make_cluster: Callable[..., Cluster], vault: Elsewhere) -> Cluster:
    """A cluster whose repository is there."""
    return make_cluster(settings=SETTINGS, elsewhere=vault)


def test_push_backup_plan_and_restore_are_the_same_through_the_door(away: Cluster, vault: Elsewhere) -> None:
    world = World.begin(away).work().backup().work().point("alpha").work().finish()
    assert not (away.root / "repository" / "main" / "base").exists()
    label = world.backups[0].label
    assert {path.name for path in (vault.archive / "base" / label).iterdir()} == {
        "backup.json",
        "backup_manifest",
        "base.tar.zst",
    }
    away.keeper("plan", "--target-name", "alpha").expect(0)
    away.keeper("restore", "--target-name", "alpha", "--confirm", "main").expect(0)
    assert recovered_rows(away.dsn()) == world.rows_before(world.points["alpha"])
