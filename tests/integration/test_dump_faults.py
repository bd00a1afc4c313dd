# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Dumps that fail in the middle: older ones stay as they were, the record says why, the next run clears away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.dump_rows import Snapshot
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.dump_steps import STEPS

from .harness.cluster import Cluster
from .harness.digest import listing
from .harness.disk import SmallDisk
from .harness.keeper import ENGINE_PARENT
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .slices import WHEN
from .test_kill_everything import LOSSES

GOOD = "good"
APP = ("--database", "app", "--no-globals")
AT_LOCK = "datname = 'app' AND wait_event_type = 'Lock' AND strpos(query, 'LOCK TABLE') > 0"


@pytest.fixture
def guarded(make_cluster: Callable[..., Cluster]) -> Cluster:
    """A cluster with a database and a good dump of it."""
    return prepare(make_cluster(archiving=False))


def prepare(cluster: Cluster) -> Cluster:
    """A database, two tables, a good dump."""
    cluster.sql("CREATE DATABASE app")
    with cluster.connect("app") as connection:
        connection.execute("CREATE TABLE one AS SELECT n, md5(n::text) FROM generate_series(1, 500) AS n")
        connection.execute("CREATE TABLE two AS SELECT n FROM generate_series(1, 10) AS n")
    cluster.keeper("dump", *APP, "--label", GOOD).expect(0)
    return cluster


def shelf(cluster: Cluster) -> Path:
    """The dumps of the database."""
    return cluster.seen(cluster.repository) / cluster.name / "dump" / "app"


def record(cluster: Cluster, label: str) -> dict[str, Any]:
    """A dump's entry."""
    value = json.loads((shelf(cluster) / label / "dump.json").read_text())
    assert isinstance(value, dict)
    return value


@contextmanager
def good_one_stays(cluster: Cluster) -> Iterator[None]:
    """The files of the good dump are not touched."""
    before = listing(shelf(cluster) / GOOD)
    yield
    assert listing(shelf(cluster) / GOOD) == before


def nothing_is_left(cluster: Cluster, label: str) -> None:
    """Only the record."""
    assert os.listdir(shelf(cluster) / label) == ["dump.json"]


def backends(cluster: Cluster) -> int:
    """Sessions of pg_dump and of the keeper."""
    return int(
        cluster.value(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dbkeeper' AND datname = 'app'"
        )
    )


def waits_for_lock(cluster: Cluster) -> bool:
    """Whether pg_dump stands at a lock; who counts rows may stand there, too."""
    return bool(cluster.value("SELECT count(*) FROM pg_stat_activity WHERE " + AT_LOCK))


@pytest.mark.parametrize("when", ["done", pytest.param("begun", marks=pytest.mark.matrix)])
def test_killed_at_every_step(guarded: Cluster, when: str) -> None:
    # The list is the journal's own: a step that is not in it would not be killed.
    passed = [line.rpartition(":")[0] for line in guarded.steps()]
    assert tuple(passed[:: len(WHEN)]) == STEPS
    for step in STEPS:
        label = f"{step}-{when}"
        with good_one_stays(guarded):
            killed = guarded.keeper("dump", *APP, "--label", label, kill_at=f"{step}:{when}")
            assert killed.status == -signal.SIGKILL, str(killed)
            known = {one["label"]: one for one in guarded.keeper("info").expect(0)["dumps"]}
            if label in known and (step, when) != ("seal", "done"):
                assert known[label]["status"] == "running"
            done = guarded.keeper("dump", *APP, "--label", label).expect(0)
            assert done["changed"] is ((step, when) != ("seal", "done"))
        assert record(guarded, label)["status"] == "verified"
        assert sorted(os.listdir(shelf(guarded) / label)) == ["dump.custom", "dump.json"]


@pytest.mark.parametrize("loss", ["server", pytest.param("connections", marks=pytest.mark.matrix)])
def test_the_server_is_lost_at_every_step(guarded: Cluster, loss: str) -> None:
    """The dump fails or ends well; either way the next one with its label is whole."""
    for step in STEPS:
        with good_one_stays(guarded):
            running = guarded.keeper_start("dump", *APP, "--label", step, pause_at=f"{step}:begun")
            running.wait_paused()
            LOSSES[loss](guarded)
            running.resume()
            ended = running.wait()
            assert ended.status in (0, 3), str(ended)
            if not guarded.running:
                guarded.start()
            done = guarded.keeper("dump", *APP, "--label", step).expect(0)
            assert done["changed"] is (ended.status == 3), step
        assert record(guarded, step)["status"] == "verified"
        assert sorted(os.listdir(shelf(guarded) / step)) == ["dump.custom", "dump.json"]


@pytest.mark.parametrize("where", ["entry", "temporary"])
def test_killed_between_the_directory_and_the_entry(guarded: Cluster, where: str) -> None:
    """Nothing is in it: it is told as left over, is no dump for anybody, and the next dump takes it away."""
    writing = "" if where == "entry" else "open(os.path.dirname(path) + '/.tmp-x', 'w').close()"
    script = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(ENGINE_PARENT)!r})\n"
        "from _engine.repository import dumps\n"
        "def killed(path, value):\n"
        f"    {writing}\n"
        "    os.kill(os.getpid(), 9)\n"
        "dumps.write_json = killed\n"
        "from _engine.cli.main import main\n"
        f"main(['dump', '--config', {str(guarded.config_path)!r}, *{[*APP, '--label', 'never']!r}])\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    left = str(shelf(guarded) / "never")
    assert os.listdir(left) == ([] if where == "entry" else [".tmp-x"])
    told = guarded.keeper("info").expect(0)
    assert [one["label"] for one in told["dumps"]] == [GOOD]
    assert left in [one["path"] for one in told["leftovers"]]
    with good_one_stays(guarded):
        guarded.keeper("dump", *APP, "--label", "next").expect(0)
    assert sorted(os.listdir(shelf(guarded))) == [GOOD, "next"]
    assert guarded.keeper("info").expect(0)["leftovers"] == []


@pytest.mark.parametrize("how", ["custom", "plain"])
def test_killed_while_pg_dump_goes_on(guarded: Cluster, how: str) -> None:
    """Its children outlive it; the next run ends them before it clears away what they wrote."""
    with good_one_stays(guarded), guarded.connect("app") as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE two IN ACCESS EXCLUSIVE MODE")
        running = guarded.keeper_start("dump", *APP, "--label", "killed", "--format", how)
        wait_for(lambda: waits_for_lock(guarded), "pg_dump at the lock")
        running.kill()
        with guarded.unchanged("dump: app/killed"):
            pass
        assert record(guarded, "killed")["status"] == "running"
        other.execute("ROLLBACK")
        guarded.keeper("dump", *APP, "--label", "next").expect(0)
    told = record(guarded, "killed")
    assert (told["status"], told["failure"]) == ("failed", "it was interrupted; a later run removed its data")
    nothing_is_left(guarded, "killed")
    wait_for(lambda: backends(guarded) == 0, "the end of the killed dump's sessions")


def test_a_lock_that_is_not_given(guarded: Cluster) -> None:
    with good_one_stays(guarded), guarded.connect("app") as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE two IN ACCESS EXCLUSIVE MODE")
        answer = guarded.keeper("dump", *APP, "--label", "late", "--lock-wait", "1s")
        answer.failed("dump-lock-timeout", "two", "pg_locks")
    told = record(guarded, "late")
    assert told["status"] == "failed" and told["failure"].startswith("dump-lock-timeout: ")
    nothing_is_left(guarded, "late")
    known = {one["label"]: one["status"] for one in guarded.keeper("info").expect(0)["dumps"]}
    assert known == {GOOD: "verified", "late": "failed"}
    # The name is free: a failed dump hides nothing.
    guarded.keeper("dump", *APP, "--label", "late").expect(0)
    assert record(guarded, "late")["status"] == "verified"


@pytest.mark.parametrize("how", ["custom", pytest.param("directory", marks=pytest.mark.matrix)])
def test_a_table_dropped_while_the_dump_begins(guarded: Cluster, how: str) -> None:
    with good_one_stays(guarded), guarded.connect("app") as other:
        other.execute("BEGIN")
        other.execute("DROP TABLE two")
        running = guarded.keeper_start("dump", *APP, "--label", "dropped", "--format", how)
        wait_for(lambda: waits_for_lock(guarded), "pg_dump at the lock")
        other.execute("COMMIT")
        running.wait().failed("dump-object-gone", "two", "older dumps are as they were")
    nothing_is_left(guarded, "dropped")
    assert record(guarded, "dropped")["status"] == "failed"
    done = guarded.keeper("dump", *APP, "--label", "dropped").expect(0)
    assert done["dumps"][0]["dump"]["rows"]["tables"] == 1


@pytest.mark.parametrize("end", ["crash", "terminate"])
def test_the_connection_is_lost(guarded: Cluster, end: str) -> None:
    with good_one_stays(guarded):
        other = guarded.connect("app")
        other.execute("BEGIN")
        other.execute("LOCK TABLE two IN ACCESS EXCLUSIVE MODE")
        running = guarded.keeper_start("dump", *APP, "--label", "lost")
        wait_for(lambda: waits_for_lock(guarded), "pg_dump at the lock")
        if end == "crash":
            guarded.crash()
        else:
            guarded.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + AT_LOCK)
        running.wait().failed("dump-connection-lost")
        other.close()
    nothing_is_left(guarded, "lost")
    assert record(guarded, "lost")["failure"].startswith("dump-connection-lost")
    if end == "crash":
        guarded.start()
    guarded.keeper("dump", *APP, "--label", "lost").expect(0)


@pytest.mark.parametrize(
    "how", ["plain", *(pytest.param(one, marks=pytest.mark.matrix) for one in ("custom", "directory"))]
)
def test_the_disk_is_full(sandbox: Sandbox, make_cluster: Callable[..., Cluster], how: str) -> None:
    disk = SmallDisk(sandbox.root / "disk", 100)
    cluster = make_cluster(
        archiving=False, repository=sandbox.root / "disk" / "repository", disk=disk, disk_holds="repository"
    )
    prepare(cluster)
    with cluster.connect("app") as connection:
        connection.execute(
            "CREATE TABLE large AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 45000) AS n"
        )
    small = ("--table", "large", "--compression", "none", "--format", how)
    with good_one_stays(cluster):
        ballast = disk.fill(36 << 20)
        cluster.keeper("dump", *APP, *small, "--label", "full").failed("repository-full")
        nothing_is_left(cluster, "full")
        told = record(cluster, "full")
        assert told["status"] == "failed" and told["failure"].startswith("repository-full")
        disk.fill(4 << 20)
        before = listing(shelf(cluster))
        cluster.keeper("dump", *APP, *small, "--label", "more").refused("space-too-little", "expire")
        assert listing(shelf(cluster)) == before
        ballast.unlink()
        cluster.keeper("dump", *APP, *small, "--label", "full").expect(0)
    assert record(cluster, "full")["rows"]["public.large"]["rows"] == 45000
    sandbox.stop_all()
    disk.close()


def test_the_second_at_once_is_told_who_is_at_it(guarded: Cluster) -> None:
    running = guarded.keeper_start("dump", *APP, "--label", "first", pause_at="dump:begun")
    running.wait_paused()
    with guarded.unchanged():
        guarded.keeper("dump", *APP).refused("busy", "dump", str(running.pid))
        # One that is being taken does not expire.
        fates = guarded.keeper("expire", "--dry-run", "--dumps", "count=1").expect(0)["plan"]["dumps"]
    assert [(one["label"], one["action"], one["why"]) for one in fates] == [
        (GOOD, "keep", "newest"),
        ("first", "keep", "running"),
    ]
    running.resume()
    running.wait().expect(0)


def test_rows_that_are_not_those_of_the_snapshot_are_not_recorded(guarded: Cluster) -> None:
    """TRUNCATE takes rows from older snapshots too: what would be counted then was never dumped."""
    config = ClusterConfig.load(str(guarded.config_path))
    with Snapshot(config, "app", attempted="test", user=None, lock_wait_seconds=5) as snapshot:
        guarded.sql("DELETE FROM one WHERE n > 400", database="app")
        guarded.sql("TRUNCATE two", database="app")
        snapshot.count(None, ["public.one", "public.two"], large_objects=False)
    assert {name: item["rows"] for name, item in snapshot.rows.items()} == {"public.one": 500}
    assert len(snapshot.warnings) == 1 and "public.two" in snapshot.warnings[0]


def used_and_locked(cluster: Cluster, holder: Any) -> None:
    """A table that somebody reads is counted by reading it; who wants to waits for whoever has locked it."""
    cluster.sql("SELECT n FROM two", database="app")
    holder.execute("BEGIN")
    holder.execute("LOCK TABLE two IN ACCESS EXCLUSIVE MODE")


def test_a_dump_that_fails_ends_what_counts(guarded: Cluster) -> None:
    """A count may take an hour, and nobody wants to know any more: here it waits for a lock for a minute."""
    config = ClusterConfig.load(str(guarded.config_path))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND wait_event_type = 'Lock'"
    with guarded.connect("app") as holder:
        begun = time.monotonic()
        with (
            pytest.raises(LookupError),
            Snapshot(config, "app", attempted="test", user=None, lock_wait_seconds=60) as snapshot,
        ):
            used_and_locked(guarded, holder)
            snapshot.count_all()
            wait_for(lambda: guarded.value(waiting) == 1, "a count that waits", timeout=45)
            raise LookupError
        assert time.monotonic() - begun < 55
        wait_for(lambda: guarded.value(waiting) == 0, "the end of the statement that counts")
        holder.execute("ROLLBACK")
    assert snapshot.rows == {}


def test_who_counts_goes_behind_pg_dump(guarded: Cluster) -> None:
    """Only the process that counts: the one that holds the snapshot, and all others, are as they were."""
    config = ClusterConfig.load(str(guarded.config_path))
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = 'app' AND wait_event_type = 'Lock'"
    with guarded.connect("app") as holder:
        own = os.getpriority(os.PRIO_PROCESS, holder.info.backend_pid)
        with Snapshot(config, "app", attempted="test", user=None, lock_wait_seconds=60) as snapshot:
            used_and_locked(guarded, holder)
            snapshot.count_all()
            wait_for(lambda: len(guarded.sql(waiting)) == 1, "a count that waits", timeout=45)
            counting = guarded.value(waiting)
            everybody = {row[0] for row in guarded.sql("SELECT pid FROM pg_stat_activity")}
            nice = {pid: _nice(pid) for pid in everybody}
            groups = {pid: _nice_of_group(pid) for pid in everybody}
            holder.execute("ROLLBACK")
            snapshot.count(None, ["public.one", "public.two"], large_objects=False)
    assert nice.pop(counting) == max(own, 19)
    assert set(nice.values()) <= {own, None}
    # Where the kernel has groups, nothing else says who goes first.
    assert groups.pop(counting) in (None, 19)
    assert 19 not in groups.values()
    assert {name: item["rows"] for name, item in snapshot.rows.items()} == {
        "public.one": 500,
        "public.two": 10,
    }


def _nice(pid: int) -> int | None:
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except ProcessLookupError:
        return None


def _nice_of_group(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])
    except (OSError, IndexError):
        return None


def test_numbers_that_are_not_known_when_pg_dump_is_done(guarded: Cluster) -> None:
    """Who counts is behind, here at a table that somebody has locked for a moment: it is ended, and the rest is counted
    at once."""
    config = ClusterConfig.load(str(guarded.config_path))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND wait_event_type = 'Lock'"
    with guarded.connect("app") as holder:
        with Snapshot(config, "app", attempted="test", user=None, lock_wait_seconds=3600, jobs=2) as snapshot:
            used_and_locked(guarded, holder)
            snapshot.count_all()
            wait_for(lambda: guarded.value(waiting) == 1, "a count that waits", timeout=45)
            begun = Path(guarded.server_log).stat().st_size
            # pg_dump would not be done: it is as if the lock were given back just now.
            threading.Timer(1.0, holder.execute, ("ROLLBACK",)).start()
            snapshot.count(None, ["public.one", "public.two"], large_objects=False)
    assert {name: item["rows"] for name, item in snapshot.rows.items()} == {
        "public.one": 500,
        "public.two": 10,
    }
    assert b"canceling statement due to user request" in Path(guarded.server_log).read_bytes()[begun:]


def test_an_expiry_killed_at_every_deed_leaves_no_broken_dump_listed(guarded: Cluster) -> None:
    for number in range(3):
        guarded.keeper("dump", *APP, "--label", f"d{number}", "--rows", "none").expect(0)
    for step in ("mark", "confirm", "delete", "forget"):
        for when in ("begun", "done"):
            answer = guarded.keeper("expire", "--dumps", "count=2", kill_at=f"{step}:{when}")
            assert answer.status in (0, -signal.SIGKILL)
            for one in guarded.keeper("info").expect(0)["dumps"]:
                if one["status"] == "verified":
                    assert (shelf(guarded) / one["label"] / one["data"]).is_file(), one
    guarded.keeper("expire", "--dumps", "count=2").expect(0)
    assert sorted(os.listdir(shelf(guarded))) == ["d1", "d2"]


def test_a_dump_that_is_being_loaded_does_not_expire(guarded: Cluster) -> None:
    for number in range(2):
        guarded.keeper("dump", *APP, "--label", f"d{number}", "--rows", "none").expect(0)
    running = guarded.keeper_start("load", GOOD, "--database", "app", "--into", "copy", pause_at="*:begun")
    running.wait_paused()
    key = f"dump/app/{GOOD}"
    held = guarded.keeper("expire", "--dumps", "count=1").expect(0)
    assert held["deleted"]["dumps"] == ["dump/app/d0"]
    (blocked,) = held["plan"]["blocked"]
    assert (blocked["what"], blocked["why"]) == (key, "leased") and blocked["by"][0].startswith("load-good-")
    running.resume()
    running.wait().expect(0)
    assert guarded.value("SELECT count(*) FROM one", database="copy") == 500
    # Its lease has gone with it.
    assert guarded.keeper("expire", "--dumps", "count=1").expect(0)["deleted"]["dumps"] == [key]
    guarded.keeper("load", GOOD, "--database", "app", "--into", "other").refused("dump-unknown")


def test_a_load_that_comes_after_the_mark_is_refused(guarded: Cluster) -> None:
    guarded.keeper("dump", *APP, "--label", "next", "--rows", "none").expect(0)
    expiry = guarded.keeper_start("expire", "--dumps", "count=1", pause_at="mark:done")
    expiry.wait_paused()
    with guarded.unchanged():
        guarded.keeper("load", GOOD, "--database", "app", "--into", "copy").refused("dump-unfit", "expired")
    expiry.resume()
    assert expiry.wait().expect(0)["deleted"]["dumps"] == [f"dump/app/{GOOD}"]
