# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The end of recovery is ours to say, whatever the backup's own configuration holds (D06-D08, C14)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.side import Beside
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, World
from .restore_help import ITS_OWN, RESTORE, finished, nothing_swapped, paused, staged, work


@pytest.mark.parametrize(
    ("action", "identity"),
    [
        pytest.param("pause", "D06", marks=pytest.mark.matrix),
        pytest.param("shutdown", "D08", marks=pytest.mark.matrix),
        ("pause, hot", "D07"),
    ],
    ids=["pause", "shutdown", "pause with a hot standby"],
)
def test_what_the_backup_says_of_the_targets_end_is_not_believed(
    sandbox: Sandbox, action: str, identity: str
) -> None:
    """D06 and D07: no pause that ends in a shutdown or a promotion. D08: no signal that stops the next start.

    The subtransactions of the open transaction overflow what a snapshot holds: a hot standby would never be active.
    """
    cluster = Cluster(sandbox, settings=SETTINGS).start()
    cluster.sql(f"ALTER SYSTEM SET recovery_target_action = '{action.partition(',')[0]}'")
    cluster.sql("ALTER SYSTEM SET hot_standby = off")
    world = World.begin(cluster)
    cluster.sql("CREATE TABLE overflow (n int)")
    with cluster.connect() as connection:
        connection.execute("BEGIN")
        for number in range(100):
            connection.execute("SAVEPOINT s")
            connection.execute("INSERT INTO overflow VALUES (%s)", [number])
            connection.execute("RELEASE s")
        world.work(6).backup().work(6).point("beta").work(6)
        connection.execute("COMMIT")
    world.finish()
    running = paused(world, "configure:done")
    if action == "pause, hot":
        # What the server makes of it by itself: it promotes, and says nothing; where it did is held against the plan.
        path = work(world) / "staged.conf"
        text = path.read_text().replace(
            "recovery_target_action = 'promote'", "recovery_target_action = 'pause'"
        )
        path.write_text(text.replace("hot_standby = 'off'", "hot_standby = 'on'"))
    running.resume()
    answer = running.wait().expect(0)
    assert answer["record"]["reached"]["lsn"] == answer["record"]["planned"]["lsn"], identity
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    assert cluster.sql("SELECT pg_is_in_recovery(), (SELECT count(*) FROM overflow)") == [(False, 0)]
    assert list(cluster.data_directory.glob("*.signal")) == []
    cluster.restart()
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 2


def test_d08_a_staged_server_that_stops_at_its_target_is_no_success(world: World) -> None:
    """Neither is one that would pause: without hot standby PostgreSQL makes a shutdown of it (D06)."""
    cluster = world.cluster
    with cluster.unchanged(*ITS_OWN):
        running = paused(world, "configure:done")
        path = work(world) / "staged.conf"
        text = path.read_text()
        assert "recovery_target_action = 'promote'" in text and "hot_standby = 'off'" in text
        path.write_text(
            text.replace("recovery_target_action = 'promote'", "recovery_target_action = 'pause'")
        )
        running.resume()
        answer = running.wait()
        answer.failed(
            "replay-server-died", "ended with status 0", "shutdown at recovery target", "server.log"
        )
        nothing_swapped(world, answer)
        assert (staged(world) / "recovery.signal").exists()
        path.write_text(text)
    finished(world, cluster.keeper(*RESTORE))


def test_what_is_restored_beside_never_writes_to_an_archive(world: World) -> None:
    """The backup's own configuration archives into the repository; a copy that lives beside must not (C14)."""
    cluster = world.cluster
    assert "archive-push" in cluster.value("SHOW archive_command")
    with cluster.unchanged():
        beside = Beside(cluster)
        plan = beside.plan(name="beta")
        with beside.server(plan) as dsn, psycopg.connect(dsn, autocommit=True) as connection:

            def ask(query: str) -> Any:
                return connection.execute(query.encode()).fetchall()[0][0]

            assert ask("SHOW archive_command") == ""
            libraries = "SELECT count(*) FROM pg_settings WHERE name = 'archive_library' AND setting <> ''"
            assert ask(libraries) == 0
            for _dummy in range(3):
                connection.execute("CREATE TABLE drilled AS SELECT 1 AS one")
                connection.execute("DROP TABLE drilled")
                connection.execute("SELECT pg_switch_wal()")
            log = Path(plan.work_directory) / "server.log"
            wait_for(lambda: "archive_mode enabled, yet" in log.read_text(), "the archiver, awake")
            status = Path(plan.staging) / "pg_wal" / "archive_status"
            assert len(list(status.glob("00000002*.ready"))) >= 3
            assert list(status.glob("00000002*.done")) == []
            assert ask("SELECT archived_count FROM pg_stat_archiver") == 0
    assert not cluster.timeline_directory(2).exists()
