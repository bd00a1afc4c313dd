# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report on health: each condition is made for real, in a server, and seen by a role with pg_monitor only."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.fleet import across
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.session import Look

from .harness.cluster import Cluster
from .harness.installation import a_major_a_day, installations
from .harness.waiting import wait_for
from .report_help import REPORTER, health, login_options, of_class, reporter, standby_of

NOW = {"warning": 0.0, "critical": 1e9}
QUIET = {"warning": 1e9, "critical": None}


@pytest.fixture
def server(make_cluster: Callable[..., Cluster]) -> Callable[..., Cluster]:
    def make(major: int | None = None, **settings: str) -> Cluster:
        installation = installations()[major] if major else None
        cluster = make_cluster(archiving=False, installation=installation, settings=settings)
        reporter(cluster)
        return cluster

    return make


def one(result: dict[str, Any], of: str, /, **thing: str) -> dict[str, Any]:
    """The one finding of a class about a thing."""
    found = [item for item in of_class(result, of) if thing.items() <= item["object"].items()]
    assert len(found) == 1, (of, thing, of_class(result, of), result["not_seen"])
    return found[0]


@contextlib.contextmanager
def at_work(*connections: psycopg.Connection[Any], statement: str) -> Iterator[None]:
    """Sessions that run a statement meanwhile, and are ended afterwards."""

    def run(connection: psycopg.Connection[Any]) -> None:
        with contextlib.suppress(psycopg.Error):
            connection.execute(statement.encode())

    threads = [threading.Thread(target=run, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for connection in connections:
            connection.cancel()
        for thread in threads:
            thread.join(timeout=240)


@pytest.mark.parametrize("major", a_major_a_day())
def test_sessions_that_block_idle_and_run_long(major: int, server: Callable[..., Cluster]) -> None:
    cluster = server(major)
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)")
    cluster.sql("CREATE ROLE shop LOGIN SUPERUSER")
    limits = {
        "blocked_seconds": NOW,
        "idle_in_transaction_seconds": NOW,
        "transaction_seconds": NOW,
        "prepared_seconds": {"warning": 0, "critical": 0},
        "connections_share": {"warning": 0.01, "critical": 0.99},
        "lock_table_share": {"warning": 1e-6, "critical": 0.99},
        "xmin_age": {"warning": 5, "critical": 1e9},
    }
    with contextlib.ExitStack() as stack:
        root, second, third, ready = (
            stack.enter_context(cluster.connect(user="shop")) for _number in range(4)
        )
        root.execute(b"SET application_name = 'root of all'; BEGIN; UPDATE t SET id = 11 WHERE id = 1")
        second.execute(b"SET application_name = 'in the middle'; BEGIN; UPDATE t SET id = 12 WHERE id = 2")
        third.execute(b"SET application_name = 'at the end'")
        ready.execute(
            "BEGIN; UPDATE t SET id = 13 WHERE id = 3; PREPARE TRANSACTION 'it''s \"準備\"'".encode()
        )
        for _number in range(20):
            cluster.sql("SELECT pg_current_xact_id()")
        stack.enter_context(at_work(second, statement="UPDATE t SET id = 21 WHERE id = 1"))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_for(lambda: cluster.value(waiting) == 1, "the second to wait")
        stack.enter_context(at_work(third, statement="UPDATE t SET id = 22 WHERE id = 2"))
        wait_for(lambda: cluster.value(waiting) == 2, "the third to wait")
        found = health(cluster, thresholds=limits)
        blocked = one(found, "HC02")
        assert (blocked["value"]["pid"], blocked["value"]["waiting"], blocked["value"]["depth"]) == (
            root.info.backend_pid,
            2,
            2,
        )
        assert blocked["object"] == {"kind": "session", "user": "shop", "application": "root of all"}
        assert blocked["threshold"]["source"] == "option thresholds"
        assert one(found, "HC03")["value"]["pid"] == root.info.backend_pid
        apps = {item["object"]["application"] for item in of_class(found, "HC04")}
        assert {"in the middle", "at the end"} <= apps
        assert one(found, "HC06")["action"] == ["ROLLBACK PREPARED 'it''s \"準備\"'"]
        # Four of the test's and the report's own; of the test's others some may not have ended yet.
        assert 5 <= one(found, "HC01")["value"]["used"] <= one(found, "HC01")["value"]["usable"]
        assert one(found, "HC05")["value"]["held"] > 0
        assert one(found, "HC19")["value"]["age"] >= 20
        known = health(cluster, thresholds=limits)
        assert {item["id"] for item in found["findings"]} == {item["id"] for item in known["findings"]}
        assert one(known, "HC02")["state"] == "known"
        assert one(known, "HC02")["first_seen"] == blocked["first_seen"]
        assert known["changed"] is False
    cluster.sql("ROLLBACK PREPARED 'it''s \"準備\"'")
    gone = health(cluster, thresholds=limits)
    assert gone["changed"] is True
    assert not of_class(gone, "HC02") + of_class(gone, "HC06")


def test_a_prepared_transaction_is_a_root_too(server: Callable[..., Cluster]) -> None:
    cluster = server()
    cluster.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    cluster.sql("BEGIN; UPDATE t SET id = 2; PREPARE TRANSACTION 'p'")
    with cluster.connect() as waiter, at_work(waiter, statement="UPDATE t SET id = 3"):
        wait_for(lambda: cluster.value("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1, "it waits")
        found = one(health(cluster, thresholds={"blocked_seconds": NOW}), "HC02")
    assert (found["value"]["pid"], found["value"]["waiting"], found["action"]) == (0, 1, [])


@pytest.mark.parametrize("major", a_major_a_day())
def test_tables_sequences_and_objects(major: int, server: Callable[..., Cluster]) -> None:
    cluster = server(major, autovacuum_freeze_max_age="100000")
    cluster.sql("CREATE EXTENSION pgstattuple; CREATE EXTENSION pg_stat_statements VERSION '1.8'")
    cluster.sql('CREATE SCHEMA "S 1"')
    cluster.sql('CREATE TABLE "S 1"."表 ""q""" (id serial PRIMARY KEY, pad text, other int)')
    table = '"S 1"."表 ""q"""'
    cluster.sql(
        f"INSERT INTO {table} (pad, other) SELECT repeat('x', 500), g % 2 FROM generate_series(1, 20000) g"
    )
    cluster.sql(f"VACUUM ANALYZE {table}")
    cluster.sql(f"DELETE FROM {table} WHERE id % 10 <> 0")
    cluster.sql("""SELECT setval('"S 1"."表 ""q""_id_seq"', 2000000000)""")
    cluster.sql("CREATE SEQUENCE down INCREMENT -1 MINVALUE -100 START -1; SELECT setval('down', -95)")
    cluster.sql(
        "CREATE SEQUENCE fresh; CREATE SEQUENCE rounds MAXVALUE 10 CYCLE; SELECT setval('rounds', 10)"
    )
    cluster.sql("CREATE TABLE wide (id bigserial PRIMARY KEY); CREATE TABLE narrow (id int REFERENCES wide)")
    cluster.sql("SELECT setval('wide_id_seq', 2000000000)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        cluster.sql(f'CREATE UNIQUE INDEX CONCURRENTLY "left ""over" ON {table} (other)')
    cluster.sql(f'ALTER TABLE {table} ADD CONSTRAINT "late 1" CHECK (other > 5) NOT VALID')
    cluster.sql("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    cluster.sql(f"CREATE TRIGGER off BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION f()")
    cluster.sql(f"ALTER TABLE {table} DISABLE TRIGGER off")
    cluster.sql("ALTER SYSTEM SET max_connections = 41")
    cluster.reload()
    wait_for(
        lambda: cluster.value("SELECT pending_restart FROM pg_settings WHERE name = 'max_connections'"), "it"
    )
    cluster.sql("DO $$ BEGIN FOR n IN 1..126000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
    cluster.sql('GRANT SELECT ON ALL SEQUENCES IN SCHEMA public, "S 1" TO reporter')
    cluster.sql("GRANT pg_read_all_data TO reporter")
    small = {"dead_bytes": {"warning": 1e6}, "bloat_bytes": {"warning": 1e6}, "bloat_share": {"warning": 0.3}}
    # The counters of dead rows come a moment after the transaction.
    found = wait_for(
        lambda: (result := health(cluster, thresholds=small)) and of_class(result, "HC20") and result,
        "dead rows",
    )
    assert found["not_seen"] == []
    dead = one(found, "HC20")
    assert dead["object"] == {"kind": "table", "schema": "S 1", "name": '表 "q"'}
    assert dead["value"]["dead"] == 18000
    assert dead["action"] == [f"VACUUM (ANALYZE, VERBOSE) {table}"]
    sequence = one(found, "HC22", name='表 "q"_id_seq')
    assert (sequence["value"]["end"], sequence["severity"]) == (2147483647, "high")
    assert sequence["value"]["left"] == 147483647
    assert one(found, "HC22", name="down")["value"] == {
        "last": -95,
        "end": -100,
        "used_share": 0.95,
        "left": 5,
    }
    # Its own column holds far more; the one that refers to it does not.
    assert one(found, "HC22", name="wide_id_seq")["value"]["end"] == 2147483647
    assert len(of_class(found, "HC22")) == 3
    assert one(found, "HC23")["action"] == ['REINDEX INDEX CONCURRENTLY "S 1"."left ""over"']
    assert one(found, "HC24")["action"] == [f'ALTER TABLE {table} VALIDATE CONSTRAINT "late 1"']
    assert one(found, "HC38")["object"]["name"] == "off"
    assert one(found, "HC27")["value"]["settings"] == ["max_connections"]
    outdated = one(found, "HC28")["value"]
    assert outdated["available"] == cluster.value(
        "SELECT default_version FROM pg_available_extensions WHERE name = 'pg_stat_statements'"
    )
    ages = dict(cluster.sql("SELECT datname, age(datfrozenxid) FROM pg_database"))
    old = {item["object"]["name"]: item["value"]["age"] for item in of_class(found, "HC17")}
    assert set(old) == set(ages)
    assert all(126000 <= age <= ages[name] for name, age in old.items())
    cluster.sql(f"VACUUM {table}")
    exact = wait_for(
        lambda: (
            (result := health(cluster, thresholds=small, exact_bloat=True))
            and of_class(result, "HC21")
            and result
        ),
        "bloat",
    )
    measured = one(exact, "HC21")
    free = cluster.value(f"SELECT approx_free_space FROM pgstattuple_approx('{table}')")
    assert (measured["grade"], measured["says"]["key"]) == ("measured", "HC21_exact")
    assert measured["value"]["waste_bytes"] == pytest.approx(free, rel=0.02)
    cluster.sql(f"ANALYZE {table}")
    estimated = one(health(cluster, thresholds=small), "HC21")
    assert estimated["grade"] == "heuristic"
    assert estimated["value"]["waste_bytes"] == pytest.approx(free, rel=0.15)
    for statement in exact["findings"]:
        if statement["class"] in ("HC23", "HC28") and "left" not in statement["object"]["name"]:
            for action in statement["action"]:
                cluster.sql(action)
    assert not of_class(health(cluster), "HC28")


def test_counters_of_the_window(server: Callable[..., Cluster]) -> None:
    cluster = server(deadlock_timeout="10ms", work_mem="64kB")
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
    health(cluster)
    with cluster.connect() as first, cluster.connect() as second:
        for connection, number in ((first, 1), (second, 2)):
            connection.execute(f"BEGIN; UPDATE t SET id = id WHERE id = {number}".encode())
        with at_work(first, statement="UPDATE t SET id = id WHERE id = 2"):
            wait_for(
                lambda: cluster.value("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1, "it waits"
            )
            with contextlib.suppress(psycopg.errors.DeadlockDetected):
                second.execute(b"UPDATE t SET id = id WHERE id = 1")
        for connection in (first, second):
            connection.execute(b"ROLLBACK")
        for _number in range(600):
            second.execute(b"BEGIN; SELECT 1; ROLLBACK")
            second.execute(b"BEGIN; SELECT 1; COMMIT")
        second.execute(b"SELECT * FROM generate_series(1, 200000) g ORDER BY -g")
    for _number in range(6):
        cluster.sql("CHECKPOINT")
    limits = {"temp_bytes_per_hour": {"warning": 1000}}
    seen: dict[str, dict[str, Any]] = {}

    def all_seen() -> bool:
        for item in health(cluster, thresholds=limits, min_window_seconds=1e9)["findings"]:
            seen[item["class"]] = item
        return {"HC07", "HC08", "HC10", "HC11"} <= set(seen)

    wait_for(all_seen, "the counters of all four")
    assert seen["HC07"]["value"]["deadlocks"] == 1
    assert seen["HC08"]["value"]["rollbacks"] >= 600
    assert seen["HC10"]["value"]["temp_bytes"] > 1_000_000
    assert seen["HC11"]["value"]["forced"] >= 6
    assert seen["HC07"]["window"]["seconds"] > 0


def test_an_archiver_that_fails_and_one_that_falls_behind(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(archiving=False, settings={"archive_mode": "on", "archive_command": "/bin/false"})
    reporter(cluster)
    cluster.switch_wal()
    failed = "SELECT failed_count FROM pg_stat_archiver"
    wait_for(lambda: cluster.value(failed) > 0, "a failure")
    found = one(health(cluster), "HC16")
    assert (found["severity"], found["says"]["key"]) == ("critical", "HC16_failing")
    assert found["value"]["ready"] == 1
    cluster.set(archive_command="/bin/true")
    cluster.reload()
    wait_for(lambda: cluster.value("SELECT archived_count FROM pg_stat_archiver") > 0, "a success")
    assert not of_class(health(cluster), "HC16")
    cluster.set(archive_command="sleep 60")
    cluster.reload()

    def behind() -> list[dict[str, Any]]:
        # The archiver may still take one with the command of before.
        cluster.switch_wal()
        return of_class(health(cluster, thresholds={"archive_ready": {"warning": 3}}), "HC16")

    (late,) = wait_for(behind, "segments that wait")
    assert (late["says"]["key"], late["value"]["ready"]) == ("HC16_behind", 3)


def test_what_is_refused_locked_or_hidden_is_named_and_the_rest_is_seen(
    server: Callable[..., Cluster],
) -> None:
    cluster = server()
    cluster.sql("CREATE DATABASE closed")
    cluster.sql("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    cluster.sql("CREATE TABLE held (id serial); SELECT nextval('held_id_seq')")
    with cluster.connect() as holder:
        holder.execute(b"BEGIN; LOCK TABLE held; ALTER SEQUENCE held_id_seq CYCLE")
        found = health(cluster)
        missed = {gap["what"]: gap for gap in found["not_seen"]}
        assert "public.held in database postgres" in missed
        assert "database closed" in missed
        assert "sequences (1) in database postgres" in missed
        assert all(gap["why"] and gap["remedy"] for gap in missed.values())
        holder.execute(b"ROLLBACK")
    assert found["databases"] == ["postgres", "template1"]
    assert bool(of_class(found, "HC25")) == (cluster.value("SHOW data_checksums") == "off")
    cluster.sql("CREATE ROLE nobody_at_all LOGIN")
    bare = health(cluster, user="nobody_at_all")
    assert any(gap["says"]["key"] == "denied" for gap in bare["not_seen"])
    assert bare["node"]["system_id"] == cluster.system_id
    nothing = health(cluster, budget_seconds=0)
    assert any(gap["says"]["key"] == "budget" for gap in nothing["not_seen"])
    gone = health(cluster, databases=["no such"])
    assert [gap["what"] for gap in gone["not_seen"]] == ["database no such"]


def test_it_stores_nothing_in_check_mode_and_accepts_what_it_is_told_to(
    server: Callable[..., Cluster],
) -> None:
    cluster = server()
    cluster.sql("CREATE SEQUENCE s MAXVALUE 100; SELECT setval('s', 99); GRANT SELECT ON s TO reporter")
    with cluster.unchanged():
        dry = health(cluster, check=True)
    assert dry["baseline"]["stored"] is False and not (cluster.root / "report").exists()
    found = one(health(cluster), "HC22")
    assert (found["state"], found["severity"]) == ("new", "critical")
    risk = {"id": found["id"], "owner": "ops", "reason": "an import of once", "until": "2999-12-31"}
    taken = health(cluster, accepted=[risk])
    assert (taken["changed"], one(taken, "HC22")["accepted"]["owner"]) == (True, "ops")
    assert health(cluster, accepted=[risk])["changed"] is False
    assert one(health(cluster, accepted=[{**risk, "until": "2020-01-01"}]), "HC22")["state"] == "known"


def test_disks_a_forecast_and_settings_without_secrets(server: Callable[..., Cluster]) -> None:
    cluster = server(work_mem="5MB", archive_command="hunter2")
    full = health(cluster, thresholds={"disk_share": {"warning": 0.0, "critical": 1.1}})
    disk = of_class(full, "HC29")[0]
    assert disk["value"]["total_bytes"] >= disk["value"]["free_bytes"] > 0
    assert "data" in full["facts"]["disks"][0]["holds"]
    settings = full["facts"]["settings"]
    assert settings["work_mem"] == "5120" and settings["archive_command"].startswith("sha256:")
    assert "hunter2" not in repr(full)
    away = health(cluster, login=login_options(cluster, REPORTER, login_host=str(cluster.socket_directory)))
    assert away["facts"]["disks"]


@pytest.mark.parametrize("major", a_major_a_day())
def test_slots_standbys_and_a_standby_that_is_asked_itself(
    major: int, server: Callable[..., Cluster]
) -> None:
    primary = server(major, wal_keep_size="0", max_slot_wal_keep_size="2GB")
    standby = standby_of(primary, max_slot_wal_keep_size="2GB")
    streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    wait_for(lambda: primary.value(streaming) == 1, "the standby to stream")
    primary.sql("SELECT pg_create_physical_replication_slot('stuck', true)")
    primary.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g")
    standby.sql("SELECT pg_wal_replay_pause()")
    wait_for(lambda: standby.value("SELECT pg_get_wal_replay_pause_state()") == "paused", "the pause")
    primary.sql("INSERT INTO t SELECT g FROM generate_series(1, 100000) g")
    limits = {
        "lag_bytes": {"warning": 1_000_000},
        "slot_retained_share": {"warning": 0.001, "critical": 0.9},
        "slot_inactive_seconds": {"warning": 0.0},
    }
    behind = "SELECT count(*) FROM pg_stat_replication WHERE pg_wal_lsn_diff(sent_lsn, replay_lsn) > 1000000"
    wait_for(lambda: primary.value(behind) == 1, "the standby to fall behind")
    found = health(primary, thresholds=limits)
    assert one(found, "HC12")["object"]["name"] == "second"
    assert one(found, "HC14", name="stuck")["says"]["key"] == "HC14_retained"
    assert found["facts"]["standbys"][0]["application_name"] == "second"
    idle = {"slot_inactive_seconds": {"warning": 0.0}, "slot_retained_share": {"warning": 2}}
    assert one(health(primary, thresholds=idle), "HC14", name="stuck")["says"]["key"] == "HC14_inactive"
    there = health(standby)
    assert there["node"]["role"] == "standby" and there["node"]["system_id"] == found["node"]["system_id"]
    assert one(there, "HC37")["says"]["key"] == "HC37_paused"
    assert there["not_seen"] == []
    assert across([("a", found), ("b", there)], ["b"]) == []
    assert [item.name for item in across([("a", found), ("b", None)], ["b"])] == ["HC34"]
    assert [item.grade for item in across([("a", None), ("b", there)])] == ["insufficient"]
    standby.set(work_mem="7MB")
    standby.reload()
    wait_for(lambda: standby.value("SHOW work_mem") == "7MB", "the setting")
    (drift,) = across([("a", found), ("b", health(standby))])
    assert (drift.name, drift.thing["name"]) == ("HC31", "work_mem")
    standby.sql("SELECT pg_wal_replay_resume()")
    primary.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    primary.reload()
    primary.sql("SELECT pg_drop_replication_slot('stuck')")
    primary.sql("SELECT pg_create_physical_replication_slot('stuck', true)")
    for _number in range(3):
        primary.switch_wal()
    primary.sql("CHECKPOINT")
    lost = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'stuck'"
    wait_for(lambda: primary.value(lost) == "lost", "the slot to be lost")
    told = one(health(primary), "HC14", name="stuck")
    assert (told["severity"], told["says"]["key"]) == ("critical", "HC14_lost")
    for action in told["action"]:
        primary.sql(action)
    standby.stop()
    second = {"slot_inactive_seconds": {"warning": 0.0}}
    wait_for(lambda: not primary.value("SELECT active FROM pg_replication_slots"), "the slot to be idle")
    assert one(health(primary, thresholds=second), "HC14")["object"]["name"] == "second"


def test_a_conflict_on_the_standby_is_told(server: Callable[..., Cluster]) -> None:
    primary = server()
    primary.sql("CREATE DATABASE doomed")
    standby = standby_of(primary)
    look = Look(login_options(standby))
    with look.database("doomed") as inside:
        primary.sql("DROP DATABASE doomed")
        gone = "SELECT count(*) FROM pg_database WHERE datname = 'doomed'"
        wait_for(lambda: standby.value(gone) == 0, "the standby to have dropped it")
        assert inside.ask("SELECT 1", what="one") is None
    assert [gap.says.key for gap in look.not_seen] == ["conflict"]
