# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Chains and damaged pages with the repository on another host: the same through the door."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.harness.cluster import Cluster
from tests.integration.harness.elsewhere import Elsewhere
from tests.integration.harness.installation import installations
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.workload import recovered_rows
from tests.integration.harness.world import SETTINGS, World


@pytest.fixture
def vault(sandbox: Sandbox) -> Iterator[Elsewhere]:
    """Another host."""
    place = Elsewhere(sandbox).start()
    yield place
    place.stop()


@pytest.mark.matrix
def test_a_chain_is_taken_and_restored_through_the_door(
    make_cluster: Callable[..., Cluster], vault: Elsewhere
) -> None:
    cluster = make_cluster(
        installation=installations()[18], settings={**SETTINGS, "summarize_wal": "on"}, elsewhere=vault
    )
    cluster.sql("CREATE TABLE hurt AS SELECT generate_series(1, 3000) AS n")
    world = World.begin(cluster).work().backup().work().backup().work().point("here").work().finish()
    plan = cluster.keeper("plan", "--target-name", "here").expect(0)["plan"]
    assert [link["label"] for link in plan["chain"]] == [one.label for one in world.backups]
    cluster.keeper("restore", "--target-name", "here", "--skip-backup", "--confirm", "main").expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["here"])
    path = cluster.value("SELECT pg_relation_filepath('hurt')")
    cluster.sql("CHECKPOINT")
    cluster.stop()
    with open(cluster.data_directory / path, "r+b") as handle:
        handle.seek(8192 + 5000)
        handle.write(b"damage")
    cluster.start()
    error = cluster.keeper("backup").failed("page-checksum-failed", path)
    information = cluster.keeper("info").expect(0)
    assert [item["label"] for item in information["page_faults"]] == [error["details"]["label"]]
