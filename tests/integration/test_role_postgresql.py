# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the role postgresql writes is taken by real servers, changes nothing twice, and logs what pgBadger reads."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from .harness.cluster import Cluster
from .harness.installation import a_major_a_day, default_installation, each_major, installations
from .harness.waiting import wait_for
from .role_help import RoleHost

#: The settings of the role, with thresholds that a test reaches in a moment.
SMALL: dict[str, Any] = {"shared_buffers": "32MB", "max_wal_size": "128MB"}
LOUD: dict[str, Any] = {
    **SMALL,
    "log_min_duration_statement": "5ms",
    "log_temp_files": "0",
    "log_autovacuum_min_duration": "0",
    "deadlock_timeout": "20ms",
    "autovacuum": "on",
    "autovacuum_naptime": "1s",
    "work_mem": "64kB",
}


@pytest.mark.parametrize("major", a_major_a_day())
def test_every_server_takes_the_whole_file(make_cluster: Callable[..., Cluster], major: int) -> None:
    host = RoleHost(make_cluster(installation=installations()[major]))
    host.cluster.stop()
    first = host.run(postgresql_settings=SMALL, postgresql_auto_explain={"log_min_duration": "5s"})
    assert first.changed == 1
    assert "[WARNING]" not in first.out, first.out
    show = host.cluster.value
    assert host.cluster.sql("SELECT name FROM pg_file_settings WHERE error IS NOT NULL") == []
    assert show("SELECT current_setting('shared_preload_libraries')") == "pg_stat_statements, auto_explain"
    assert show("SELECT current_setting('auto_explain.log_min_duration')") == "5s"
    assert show("SELECT current_setting('archive_mode')") == "on"
    host.cluster.sql("CREATE EXTENSION pg_stat_statements")
    assert show("SELECT count(*) FROM pg_stat_statements") > 0
    # Every value of the file is the one in effect: nobody else overrides it.
    wrong = host.cluster.sql(
        "SELECT f.name, f.setting, s.setting FROM pg_file_settings f"
        " JOIN pg_settings s ON lower(s.name) = lower(f.name)"
        " WHERE f.sourcefile = %s AND s.sourcefile IS DISTINCT FROM f.sourcefile",
        str(host.settings),
    )
    assert wrong == []
    started = show("SELECT pg_postmaster_start_time()")
    text = host.settings.read_text()
    again = host.run("--diff", postgresql_settings=SMALL, postgresql_auto_explain={"log_min_duration": "5s"})
    assert again.changed == 0, again.out
    assert host.settings.read_text() == text
    assert show("SELECT pg_postmaster_start_time()") == started


def test_values_given_win_and_are_marked(make_cluster: Callable[..., Cluster]) -> None:
    host = RoleHost(make_cluster())
    host.cluster.stop()
    given = {
        **SMALL,
        "Work_Mem": "12MB",
        "shared_preload_libraries": "auth_delay",
        "log_checkpoints": False,
        "search_path": ['"$user"', "app", "it's"],
    }
    assert host.run(postgresql_settings=given).changed == 1
    show = host.cluster.value
    assert show("SELECT current_setting('work_mem')") == "12MB"
    assert show("SELECT current_setting('shared_preload_libraries')") == "auth_delay, pg_stat_statements"
    assert show("SELECT reset_val FROM pg_settings WHERE name = 'search_path'") == '"$user", app, it\'s'
    text = host.settings.read_text()
    assert "(pinned)\nwork_mem = '12MB'" in text
    assert "(pinned)\nlog_checkpoints = 'off'" in text
    assert text.lower().count("\nwork_mem =") == 1


def test_tuning_and_insight_off_leave_everything_alone(make_cluster: Callable[..., Cluster]) -> None:
    host = RoleHost(make_cluster())
    host.cluster.stop()
    # Bare off in an inventory is YAML's false.
    assert host.run(postgresql_tuning=False, postgresql_query_insight=False).changed == 1
    names = {
        name
        for (name,) in host.cluster.sql(
            "SELECT name FROM pg_file_settings WHERE sourcefile = %s", str(host.settings)
        )
    }
    assert names == {
        "port",
        "listen_addresses",
        "archive_mode",
        "archive_command",
        "track_commit_timestamp",
        "ssl",
    }
    again = host.run("--diff", postgresql_tuning=False, postgresql_query_insight=False)
    assert again.changed == 0, again.out


def test_check_mode_then_run_then_a_mistake(make_cluster: Callable[..., Cluster]) -> None:
    host = RoleHost(make_cluster())
    host.cluster.stop()
    assert host.run("--check", "--diff", postgresql_settings=SMALL).changed == 1
    assert not host.settings.exists() and not host.cluster.running
    assert host.run(postgresql_settings=SMALL).changed == 1
    text, pid = host.settings.read_text(), host.cluster.pid
    failed = host.run(postgresql_settings={**SMALL, "work_men": "4MB"})
    assert failed.status != 0
    assert "work_men" in failed.out and "setting-unknown" in failed.out
    assert (host.settings.read_text(), host.cluster.pid) == (text, pid)
    # What a start alone brings into effect is reported, and done when it is allowed.
    told = host.run(postgresql_settings={**SMALL, "max_connections": 66})
    assert "a restart is needed for max_connections" in told.out
    assert host.cluster.pid == pid
    done = host.run(postgresql_settings={**SMALL, "max_connections": 66}, postgresql_restart="allowed")
    assert done.changed == 2
    assert host.cluster.value("SELECT current_setting('max_connections')") == "66"
    assert host.cluster.pid != pid


def test_no_secret_is_in_what_ansible_says(make_cluster: Callable[..., Cluster]) -> None:
    host = RoleHost(make_cluster())
    host.cluster.stop()
    given = {**SMALL, "primary_conninfo": "host=db1 password=sesame-opens"}
    run = host.run("-vvv", "--diff", postgresql_settings=given)
    assert run.changed == 1
    # Variables that are given on the command line are ours; what tasks and results say must not repeat them.
    said = run.out.split("PLAY [", 1)[1]
    assert "sesame-opens" not in said
    assert "password=sesame-opens" in host.settings.read_text()
    assert host.settings.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("major", each_major(default_installation().major))
def test_pgbadger_understands_every_line(make_cluster: Callable[..., Cluster], major: int) -> None:
    host = RoleHost(make_cluster(installation=installations()[major]))
    host.cluster.stop()
    explain = {"log_min_duration": "0", "log_nested_statements": "on"}
    assert host.run(postgresql_settings=LOUD, postgresql_auto_explain=explain).changed == 1
    make_noise(host.cluster)
    host.cluster.stop()
    log = host.log
    for word in (
        "connection received",
        "connection authorized",
        "disconnection",
        "duration:",
        "temporary file",
        "still waiting for",
        "checkpoint complete",
        "automatic vacuum",
        "deadlock detected",
        "plan:",
    ):
        assert word in log, f"{word} is not in\n{log}"
    report = host.cluster.root / "report.json"
    prefix = "%m [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h "
    files = [str(path) for path in sorted(host.cluster.log_directory.glob("server-*.log"))]
    argv = [
        "pgbadger",
        f"--pid-dir={host.cluster.root}",
        "--verbose",
        "--format=stderr",
        f"--prefix={prefix}",
        f"--outfile={report}",
        "--extension=json",
    ]
    done = subprocess.run([*argv, *files], check=False, text=True, capture_output=True, timeout=240)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not [line for line in said.splitlines() if "unknown" in line.lower()], said
    told = json.loads(report.read_text())
    stat = told["overall_stat"]["postgres"] if "postgres" in told["overall_stat"] else told["overall_stat"]
    assert stat["queries_number"] > 0, stat
    assert sum("LOG:" in line for line in log.splitlines()) > 0


def make_noise(cluster: Cluster) -> None:
    """Something of everything that is logged: slow, failing, waiting, deadlocked, spilling, vacuumed."""
    with cluster.connect() as connection:
        connection.execute(
            "CREATE TABLE noise AS SELECT n, repeat('x', 100) AS text FROM generate_series(1, 20000) n"
        )
        connection.execute("SELECT pg_sleep(0.02)")
        connection.execute("SELECT *\nFROM noise\n  ORDER BY text, n DESC")
        for statement in (
            "SELECT nothing_like_it",
            "SELECT 1/0",
            "SELEKT 1",
            "COMMENT ON TABLE noise IS 'it''s\nnoise'",
        ):
            with contextlib.suppress(psycopg.Error):
                connection.execute(statement.encode())
        connection.execute("UPDATE noise SET text = 'y'")
        connection.execute("DELETE FROM noise WHERE n % 2 = 0")
        connection.execute("CHECKPOINT")
    with contextlib.suppress(psycopg.Error):
        cluster.connect(user="nobody_of_this_name")
    wait_in_vain(cluster)
    deadlock(cluster)
    wait_for(
        lambda: cluster.value("SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'noise'") > 0,
        "an automatic vacuum",
        timeout=240,
    )


def wait_in_vain(cluster: Cluster) -> None:
    """A session that waits for another one, longer than deadlock_timeout."""
    with cluster.connect() as one, cluster.connect() as other:
        one.execute("BEGIN")
        one.execute("LOCK TABLE noise IN ACCESS EXCLUSIVE MODE")
        other.execute("SET lock_timeout = '200ms'")
        with contextlib.suppress(psycopg.Error):
            other.execute("SELECT count(*) FROM noise")
        one.execute("ROLLBACK")


def deadlock(cluster: Cluster) -> None:
    """Two sessions that wait for each other, one of which is cancelled by the server."""
    with cluster.connect() as one, cluster.connect() as other:
        for connection, row in ((one, 1), (other, 3)):
            connection.execute("BEGIN")
            connection.execute("UPDATE noise SET text = 'z' WHERE n = %s", (row,))

        def cross(connection: psycopg.Connection[Any], row: int) -> None:
            with contextlib.suppress(psycopg.Error):
                connection.execute("UPDATE noise SET text = 'z' WHERE n = %s", (row,))

        thread = threading.Thread(target=cross, args=(one, 3))
        thread.start()
        cross(other, 1)
        thread.join()
        for connection in (one, other):
            connection.execute("ROLLBACK")
