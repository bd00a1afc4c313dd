# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report on health, both ways: what is near a threshold is told in no word, and what a finding says is to be done
makes it go. With the other tests of health each check has a server that makes it red, and one that keeps it quiet."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import format_utc, parse_utc
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.baseline import Baseline
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.fleet import across
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words.say import finding

from .harness.cluster import Cluster
from .harness.disk import SmallDisk
from .harness.installation import a_major_a_day, installations
from .harness.sandbox import Sandbox
from .harness.template import Kind
from .harness.waiting import wait_for
from .report_help import health, of_class, reporter, standby_of

NOW = {"warning": 0.0, "critical": 1e9}


def told(result: dict[str, Any]) -> set[str]:
    """Which findings, by what they say."""
    return {str(one["says"]["key"]) for one in result["findings"]}


def seen_there(standby: Cluster) -> None:
    """Wait for the role that asks."""
    wait_for(
        lambda: standby.value("SELECT count(*) FROM pg_roles WHERE rolname = 'reporter'") == 1, "the role"
    )


@pytest.mark.parametrize("major", a_major_a_day())
def test_two_nodes_that_are_well_and_then_a_standby_that_has_less_and_is_left_alone(
    major: int, make_cluster: Callable[..., Cluster]
) -> None:
    # A standby whose primary was away tries again after five seconds otherwise.
    settings = {
        "max_connections": "40",
        "archive_mode": "on",
        "archive_command": "true",
        "wal_retrieve_retry_interval": "100ms",
    }
    primary = make_cluster(archiving=False, installation=installations()[major], settings=settings)
    reporter(primary)
    standby = standby_of(primary, **settings)
    primary.sql(
        "CREATE TABLE t (id serial PRIMARY KEY, pad text); CREATE TABLE near_end (id smallserial PRIMARY KEY);"
        "SELECT setval('near_end_id_seq', 22000);"
        "INSERT INTO t (pad) SELECT repeat('x', 100) FROM generate_series(1, 20000); DELETE FROM t WHERE id % 6 = 0;"
        "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reporter; ANALYZE"
    )
    seen_there(standby)
    with contextlib.ExitStack() as stack:
        # Some connections, one that is idle in its transaction, a prepared one, one that waits: all for a moment only.
        first, *_others = (stack.enter_context(primary.connect()) for _number in range(10))
        first.execute(b"BEGIN; UPDATE t SET pad = 'y' WHERE id = 1")
        with primary.connect() as ready:
            ready.execute(b"BEGIN; UPDATE t SET pad = 'z' WHERE id = 2; PREPARE TRANSACTION 'soon'")
        stack.callback(primary.sql, "ROLLBACK PREPARED 'soon'")
        primary.switch_wal()
        wait_for(lambda: primary.value("SELECT archived_count FROM pg_stat_archiver") > 0, "the archiver")
        for _run in range(2):
            here, there = health(primary), health(standby)
            assert (told(here), told(there), here["not_seen"], there["not_seen"]) == (set(), set(), [], [])
            assert across([("a", here), ("b", there)], ["b"]) == []
    # The primary gets more connections: the standby, which has less, replays no more.
    primary.set(max_connections="50")
    primary.restart()
    paused = "SELECT pg_get_wal_replay_pause_state()"
    wait_for(lambda: standby.value(paused) == "paused", "the standby to notice")
    here, there = health(primary), health(standby)
    assert told(there) == {"HC37_paused"}
    drift, less = sorted(across([("a", here), ("b", there)], ["b"]), key=lambda one: one.name)
    assert (drift.name, less.name, less.severity) == ("HC31", "HC32", "high")
    assert less.value == {"here": 40, "primary": 50} and less.thing["name"] == "max_connections"
    standby.set(max_connections="50")
    standby.restart()
    receiver = "SELECT string_agg(status, '') FROM pg_stat_wal_receiver"
    wait_for(lambda: standby.value(receiver) == "streaming", "the standby to stream again")
    assert across([("a", health(primary)), ("b", health(standby))], ["b"]) == []
    primary.stop()
    wait_for(lambda: standby.value(receiver) is None, "the standby to be left alone")
    alone = health(standby)
    assert alone["facts"]["receiver"] is None
    assert told(alone) == {"HC37_receiver"}
    (none,) = across([("b", alone)])
    assert (none.name, none.says.key, none.grade) == ("HC33", "HC33_none", "measured")
    standby.program("pg_ctl", "promote", "-w", "-s", "-D", str(standby.data_directory))
    two = [one for one in across([("a", here), ("b", health(standby))]) if one.name == "HC33"]
    assert [(one.says.key, one.severity, one.nodes) for one in two] == [("HC33_two", "critical", ("a", "b"))]
    for language in ("en", "ja"):
        for one in (none, *two, less):
            assert finding(one.says.key, one.says.values, language)["what"]


@pytest.fixture
def disk(sandbox: Sandbox) -> Iterator[SmallDisk]:
    small = SmallDisk(sandbox.root / "small", 64)
    yield small
    small.close()


def test_a_disk_that_is_full_and_one_that_will_be(
    disk: SmallDisk, make_cluster: Callable[..., Cluster]
) -> None:
    """A tablespace on a really small disk: quiet when half full, red when it is full, and when it will be in days."""
    cluster = make_cluster(archiving=False, kind=Kind(checksums=False))
    reporter(cluster)
    place = disk.view / "space"
    place.mkdir(mode=0o700)
    # Where it lies is seen through the process that holds its name space.
    cluster.sql(f"CREATE TABLESPACE small LOCATION '{place}'")

    def of_disk() -> list[dict[str, Any]]:
        # Once a day: what is stored is a day older at the next run.
        found = health(cluster)
        # The other half of this server: checksums are off, and it is told of at every run.
        assert "HC25" in told(found)
        _a_day_passes(cluster, found)
        return [one for one in of_class(found, "HC29") if one["object"]["name"] == str(place)]

    disk.fill(30 << 20)
    assert [of_disk() for _run in range(4)] == [[], [], [], []]
    # Less room from day to day, and always enough of it: 18 MB at something less than 2 a day.
    for free in (28, 26, 24, 22, 20, 18):
        disk.fill(free << 20)
        soon = of_disk()
    assert [(one["says"]["key"], one["severity"]) for one in soon] == [("HC29_soon", "medium")]
    assert 9 <= soon[0]["value"]["full_in_seconds"] / 86400 <= 14
    full = disk.fill(4 << 20)
    (now,) = of_disk()
    assert now["severity"] == "critical" and now["value"]["used_share"] > 0.9
    assert now["value"]["free_bytes"] == disk.free_bytes()
    full.unlink()
    assert of_disk() == []


def _a_day_passes(cluster: Cluster, found: dict[str, Any]) -> None:
    """What runs have seen of the disks is a day older."""
    baseline = Baseline.load(str(cluster.root / "report"), found["node"]["system_id"])
    node = f"{cluster.socket_directory}:{cluster.port}"
    area = baseline.area(node, "health")
    assert area.runs
    area.runs = [{**run, "at": format_utc(parse_utc(run["at"]) - timedelta(days=1))} for run in area.runs]
    assert baseline.store(node, "health", area, check=False)["stored"] is True


@pytest.mark.parametrize("major", a_major_a_day())
def test_what_a_finding_says_is_to_be_done_makes_it_go(
    major: int, make_cluster: Callable[..., Cluster]
) -> None:
    cluster = make_cluster(
        archiving=False, installation=installations()[major], settings={"autovacuum": "off"}
    )
    reporter(cluster)
    cluster.sql(
        "CREATE EXTENSION pg_stat_statements VERSION '1.8'; CREATE SCHEMA \"S 1\";"
        'CREATE TABLE "S 1"."t ""1""" (id int, other int);'
        'INSERT INTO "S 1"."t ""1""" SELECT g, g FROM generate_series(1, 20000) g;'
        'DELETE FROM "S 1"."t ""1""" WHERE id % 3 > 0;'
        'INSERT INTO "S 1"."t ""1""" VALUES (3, 3);'
        'ALTER TABLE "S 1"."t ""1""" ADD CONSTRAINT "ok \'1\'" CHECK (other > 0) NOT VALID;'
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        'CREATE TRIGGER "off 1" BEFORE INSERT ON "S 1"."t ""1""" FOR EACH ROW EXECUTE FUNCTION f();'
        'ALTER TABLE "S 1"."t ""1""" DISABLE TRIGGER "off 1"; ANALYZE'
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        cluster.sql('CREATE UNIQUE INDEX CONCURRENTLY "left ""1""" ON "S 1"."t ""1""" (id)')
    cluster.sql('DELETE FROM "S 1"."t ""1""" WHERE id = 3')
    cluster.sql("SELECT pg_create_physical_replication_slot('unused', true)")
    limits = {
        "dead_bytes": {"warning": 1e4},
        "idle_in_transaction_seconds": NOW,
        "transaction_seconds": NOW,
        "prepared_seconds": {"warning": 0, "critical": 0},
        "slot_inactive_seconds": {"warning": 0.0},
    }
    with cluster.connect() as ready:
        ready.execute(b"BEGIN; CREATE TABLE held (id int); PREPARE TRANSACTION 'it''s'")
    with cluster.connect() as idle:
        idle.execute(b"SET application_name = 'forgets'; BEGIN; SELECT 1")
        # The slot's time begins with the first run that sees it unused, before 17.
        health(cluster, thresholds=limits, databases=("postgres",))
        found = wait_for(
            lambda: (
                (result := health(cluster, thresholds=limits, databases=("postgres",)))
                and of_class(result, "HC20")
                and result
            ),
            "the counters of dead rows",
        )
        expected = {"HC03", "HC06", "HC14_inactive", "HC20", "HC23", "HC24", "HC28", "HC38"}
        assert expected <= told(found), found["not_seen"]
        for one in found["findings"]:
            assert one["action"], one["says"]["key"]
            for action in one["action"]:
                cluster.sql(action)
        with pytest.raises(psycopg.errors.AdminShutdown):
            idle.execute(b"SELECT 1")
    forgets = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'forgets'"
    wait_for(lambda: cluster.value(forgets) == 0, "the session to end")
    wait_for(
        lambda: not told(health(cluster, thresholds=limits, databases=("postgres",))),
        "nothing to be told any more",
    )
