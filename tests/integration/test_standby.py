# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Standbys of a restored primary: they stream its new timeline, by following or by being made anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.standby import execute
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.standby.execute import make_standby
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.standby.request import StandbyRequest

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.spare import spare_for
from .harness.template import BACKUP_USER
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import Frozen

CONFIRM = ("--confirm", "main")
#: The repository is the primary's, whose archiver works on whatever is done to the standby.
ARCHIVE = "wal: "
KILLED = """
import os, signal, sys, json
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core import journal
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.standby.execute import make_standby
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.standby.request import StandbyRequest
path, primary, step, moment = sys.argv[1:]
def kill(name, status):
    print(name, status, flush=True)
    if (name, status) == (step, moment):
        os.kill(os.getpid(), signal.SIGKILL)
    if (name, status, moment) == (step, "begun", "pause"):
        sys.stdin.readline()
journal.add_hook(kill)
request = StandbyRequest(json.loads(primary), slot="second", timeout_seconds=60)
make_standby(ClusterConfig.load(path), request, check=False)
"""


def request_of(primary: Cluster, **more: Any) -> StandbyRequest:
    place = {"host": str(primary.socket_directory), "port": str(primary.port), "user": BACKUP_USER}
    return StandbyRequest(place, slot="second", timeout_seconds=60, **more)


def config_of(cluster: Cluster) -> ClusterConfig:
    return ClusterConfig.load(str(cluster.config_path))


def stream(standby: Cluster, primary: Cluster, *, check: bool = False, **options: Any) -> dict[str, Any]:
    confirm = options.pop("confirm", None)
    return make_standby(config_of(standby), request_of(primary, **options), confirm=confirm, check=check)


def same_rows(standby: Cluster, primary: Cluster) -> bool:
    primary.sql("SELECT pg_switch_wal()")
    end = primary.value("SELECT pg_current_wal_flush_lsn()::text")
    wait_for(
        lambda: standby.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", end),
        "the standby has caught up",
    )
    return recovered_rows(standby.dsn()) == recovered_rows(primary.dsn())


@pytest.fixture
def pair(frozen: Frozen, sandbox: Sandbox) -> tuple[Cluster, Cluster]:
    """A primary with a backup and an archive, and a host that is to be its standby."""
    world = frozen.thaw(sandbox)
    standby = spare_for(world.cluster, sandbox, archiving=False)
    return world.cluster, standby


def test_from_nothing_to_streaming_and_after_a_restore_again(pair: tuple[Cluster, Cluster]) -> None:
    primary, standby = pair
    foreseen = stream(standby, primary, check=True)
    assert (foreseen["plan"]["action"], foreseen["executed"]) == ("rebuild", False)
    assert not standby.data_directory.exists()
    made = stream(standby, primary)
    assert made["changed"] and made["kept_directory"] is None
    assert made["standby"]["streaming"] == 1 and same_rows(standby, primary)
    with standby.unchanged(ARCHIVE):
        again = stream(standby, primary)
    assert (again["changed"], again["plan"]["action"]) == (False, "none")

    # The primary goes back to an earlier moment: the standby has what the primary no longer has.
    primary.sql("SELECT pg_create_restore_point('before')")
    primary.sql("CREATE TABLE lost AS SELECT 1 AS n")
    assert same_rows(standby, primary) and standby.value("SELECT n FROM lost") == 1
    primary.keeper("restore", "--target-name", "before", *CONFIRM).expect(0)
    foreseen = stream(standby, primary, check=True)
    assert foreseen["plan"]["action"] == "rebuild"
    assert "which the primary left at" in foreseen["plan"]["reason"]
    assert standby.value("SELECT n FROM lost") == 1
    rebuilt = stream(standby, primary)
    assert rebuilt["standby"]["streaming"] == rebuilt["primary"]["timeline"] == 2
    assert same_rows(standby, primary)
    assert standby.value("SELECT to_regclass('lost') IS NULL") is True
    kept = Path(rebuilt["kept_directory"])
    assert (kept / "PG_VERSION").exists() and (kept / "standby.signal").exists()
    slots = primary.sql("SELECT slot_name, active FROM pg_replication_slots")
    assert ("second", True) in slots
    assert stream(standby, primary)["changed"] is False


def test_one_that_is_behind_the_fork_follows_by_itself(pair: tuple[Cluster, Cluster]) -> None:
    primary, standby = pair
    stream(standby, primary)
    assert same_rows(standby, primary)
    standby.stop()
    # Several segments, and what the restored primary does with them when it is promoted, stopped, backed up.
    for number in range(4):
        primary.sql("SELECT pg_logical_emit_message(false, 'test', %s)", str(number))
        primary.sql("SELECT pg_switch_wal()")
    primary.sql("SELECT pg_create_restore_point('later')")
    primary.sql("CREATE TABLE lost AS SELECT 1 AS n")
    primary.sql("SELECT pg_switch_wal()")
    primary.keeper("restore", "--target-name", "later", *CONFIRM).expect(0)
    inode = standby.data_directory.stat().st_ino
    answer = stream(standby, primary)
    assert answer["plan"]["action"] == "follow", answer
    assert standby.data_directory.stat().st_ino == inode
    assert answer["standby"]["streaming"] == 2 and same_rows(standby, primary)
    # It is asked how all is, as any server is.
    told = {item["name"]: item["state"] for item in standby.keeper("check").data["checks"]}
    assert told["server"] == told["rpo-now"] == "ok", told


def test_one_that_receives_and_cannot_replay_is_no_standby(pair: tuple[Cluster, Cluster]) -> None:
    """Its limit is below the primary's: the walreceiver goes on, replay stands still for ever."""
    primary, standby = pair
    stream(standby, primary)
    assert same_rows(standby, primary)
    primary.set(max_connections="45")
    primary.restart()
    primary.sql("SELECT pg_switch_wal()")
    wait_for(
        lambda: standby.value("SELECT pg_get_wal_replay_pause_state()") == "paused",
        "replay of the standby stands",
    )
    with standby.unchanged(ARCHIVE), pytest.raises(Failed) as error:
        stream(standby, primary, patience_seconds=1)
    assert error.value.code == "standby-does-not-stream" and "has replayed up to" in error.value.happened
    standby.set(max_connections="45")
    standby.restart()
    assert stream(standby, primary)["changed"] is False and same_rows(standby, primary)


def test_what_is_no_standby_is_put_aside_only_by_name(
    pair: tuple[Cluster, Cluster], sandbox: Sandbox
) -> None:
    primary, _standby = pair
    other = Cluster(
        sandbox, "main", root=sandbox.root / "other", archiving=False, external_config=True
    ).start()
    with other.unchanged(ARCHIVE), pytest.raises(Refused) as error:
        stream(other, primary)
    assert error.value.code == "standby-is-primary"
    assert "runs as a server of its own" in error.value.happened and "(main)" in error.value.remedy
    answer = stream(other, primary, confirm="main")
    assert answer["standby"]["streaming"] == 1 and answer["kept_directory"]


def test_a_primary_that_does_not_answer_costs_nothing(pair: tuple[Cluster, Cluster]) -> None:
    primary, standby = pair
    stream(standby, primary)
    primary.stop()
    with standby.unchanged(ARCHIVE), pytest.raises(Failed) as error:
        stream(standby, primary)
    assert error.value.code == "primary-unreachable"
    assert "Nothing was changed" in error.value.remedy


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"primary": {"host": "db1"}}, "primary-incomplete"),
        ({"primary": {"host": "db1", "user": "u", "password": "secret"}}, "standby-secret-given"),
        ({"primary": {"host": "db1", "user": "u"}, "slot": "Odd-Name"}, "slot-name-invalid"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as error:
        StandbyRequest(**given)
    assert error.value.code == code
    assert "secret" not in error.value.happened


def command(standby: Cluster, primary: Cluster, step: str, moment: str) -> list[str]:
    """Making the standby in a process of its own, which dies or waits at a step, and tells each."""
    place = json.dumps(dict(request_of(primary).primary))
    return [sys.executable, "-c", KILLED, str(standby.config_path), place, step, moment]


def test_the_list_of_steps_is_the_journals_own(pair: tuple[Cluster, Cluster]) -> None:
    """A step that is not in it would be killed nowhere below."""
    primary, standby = pair
    done = subprocess.run(
        command(standby, primary, "none", "none"), capture_output=True, text=True, timeout=240, check=True
    )
    passed = [tuple(line.split()) for line in done.stdout.splitlines()]
    assert passed == [(step, moment) for step in execute.STEPS for moment in ("begun", "done")]


def some_steps(*every_run: str) -> list[Any]:
    """All of the engine's list, of which those that are not named belong to the matrix."""
    return [
        pytest.param(step, marks=() if step in every_run else pytest.mark.matrix) for step in execute.STEPS
    ]


@pytest.mark.parametrize("step", some_steps(execute.STAGE))
def test_losing_the_primary_at_any_step_it_is_finished_by_the_next_run(
    pair: tuple[Cluster, Cluster], step: str
) -> None:
    primary, standby = pair
    running = subprocess.Popen(
        command(standby, primary, step, "pause"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert f"{step} begun\n" in iter(running.stdout.readline, "")
    primary.stop("immediate")
    _dummy, words = running.communicate("\n", timeout=240)
    assert running.returncode != 0 and ("Refused" in words or "Failed" in words), words
    primary.start()
    assert stream(standby, primary)["standby"]["streaming"] == 1
    assert same_rows(standby, primary)
    assert [name for name in os.listdir(standby.parent) if not name.startswith("data.replaced-")] == ["data"]


def test_one_that_was_started_in_the_middle_is_stopped_again(pair: tuple[Cluster, Cluster]) -> None:
    """Killed after the old one was stopped; the boot of the host starts it. No directory in use is renamed."""
    primary, standby = pair
    stream(standby, primary)
    primary.sql("SELECT pg_create_restore_point('before')")
    primary.sql("CREATE TABLE lost AS SELECT 1 AS n")
    assert same_rows(standby, primary)
    primary.keeper("restore", "--target-name", "before", *CONFIRM).expect(0)
    argv = command(standby, primary, execute.STOP, "done")
    assert subprocess.run(argv, capture_output=True, timeout=240, check=False).returncode == -signal.SIGKILL
    standby.start()
    old = standby.pid
    assert stream(standby, primary)["standby"]["streaming"] == 2 and same_rows(standby, primary)
    assert old is not None and standby.pid not in (None, old)
    assert not os.path.exists(f"/proc/{old}")


@pytest.mark.parametrize("step", some_steps(execute.KEEP_OLD, execute.STAGE))
def test_killed_at_any_step_it_is_finished_by_the_next_run(pair: tuple[Cluster, Cluster], step: str) -> None:
    primary, standby = pair
    stream(standby, primary)
    primary.sql("SELECT pg_create_restore_point('before')")
    primary.sql("CREATE TABLE lost AS SELECT 1 AS n")
    assert same_rows(standby, primary)
    primary.keeper("restore", "--target-name", "before", *CONFIRM).expect(0)
    for moment in ("begun", "done"):
        argv = command(standby, primary, step, moment)
        done = subprocess.run(argv, capture_output=True, timeout=240, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        if step == execute.PROVE:
            break
    answer = stream(standby, primary)
    assert answer["standby"]["streaming"] == 2 and same_rows(standby, primary)
    names = sorted(os.listdir(standby.parent))
    assert names[0] == "data" and len(names) == 2 and names[1].startswith("data.replaced-")
