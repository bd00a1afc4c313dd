# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Starting, stopping and judging real servers of every major, with plain pg_ctl."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.controldata import (
    read_control_data,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.disks import (
    file_system,
    tablespaces,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.instance import Instance
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused

from .harness.cluster import Cluster
from .harness.installation import Installation, an_installation_a_day
from .harness.waiting import wait_for


def instance(cluster: Cluster) -> Instance:
    return Instance(ClusterConfig.load(str(cluster.config_path)))


@pytest.fixture
def quiet(make_cluster: Callable[..., Cluster]) -> Cluster:
    """A running cluster that does not archive."""
    return make_cluster(archiving=False)


@pytest.mark.parametrize("installation", an_installation_a_day())
def test_a_life(make_cluster: Callable[..., Cluster], installation: Installation) -> None:
    cluster = make_cluster(archiving=False, installation=installation, external_config=True)
    server = instance(cluster)
    status = server.status()
    assert (status.running, status.ready, status.pid) == (True, True, cluster.pid)
    assert server.start().changed is False
    assert server.stop() is True
    assert (server.status().running, server.status().stale_pid_file) == (False, False)
    assert server.stop() is False
    started = server.start()
    assert started.changed and started.status.ready and 0 < started.ready_seconds < 240
    assert server.answers()
    assert cluster.value("SHOW config_file") == str(cluster.config_file)
    before = cluster.pid
    server.restart()
    assert cluster.pid != before and server.status().ready
    cluster.set(work_mem="5MB")
    server.reload()
    wait_for(lambda: cluster.value("SHOW work_mem") == "5MB", "the reloaded setting")
    server.stop("immediate")
    assert cluster.control()["Database cluster state"] == "in production"
    # Recovers by itself.
    assert server.start().status.ready


def test_started_at_is_what_the_server_says(quiet: Cluster) -> None:
    begun = datetime.now(timezone.utc)
    quiet.restart()
    said = quiet.value("SELECT pg_postmaster_start_time()")
    known = instance(quiet).status().started_at
    # The pid file has whole seconds, and is written a moment earlier.
    assert known is not None and begun - timedelta(seconds=1) <= known <= said


def test_smart_waits_for_clients_and_gives_up_in_time(quiet: Cluster) -> None:
    server = instance(quiet)
    with quiet.connect():
        with pytest.raises(Failed) as caught:
            server.stop("smart", timeout=1.5)
        assert caught.value.code == "server-did-not-stop"
        assert caught.value.details["running"] is True
    wait_for(lambda: not server.status().running, "the smart stop, when the client has gone")


def test_a_crashed_server_leaves_a_stale_pid_file_and_starts_again(quiet: Cluster) -> None:
    pid = quiet.pid
    quiet.crash()
    server = instance(quiet)
    status = server.status()
    assert (status.running, status.stale_pid_file, status.leftover) == (False, True, ())
    assert f"process {pid}" in status.reason
    started = server.start()
    assert started.removed_stale_pid_file and started.status.ready


def test_children_of_a_killed_postmaster_are_waited_for(quiet: Cluster) -> None:
    pid = quiet.pid
    assert pid is not None
    children = [int(item) for item in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    held = children[0]
    os.kill(held, signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGKILL)
        server = instance(quiet)
        wait_for(lambda: server.status().leftover == (held,), "only the stopped child being left")
        assert not server.status().running
        # stop() must not call this stopped: somebody would rename the directory under a living process.
        with pytest.raises(Failed) as caught:
            server.stop(timeout=0.5)
        assert caught.value.code == "server-did-not-stop"
        # Nor may another be started beside it.
        with quiet.unchanged(), pytest.raises(Refused) as refused:
            server.start(timeout=0.5)
        assert refused.value.code == "server-processes-left"
        assert f"processes {held} of a killed server still work on the data" in refused.value.happened
        assert "kill -QUIT" in refused.value.remedy and refused.value.details["pids"] == [held]
    finally:
        os.kill(held, signal.SIGCONT)
    assert server.start().status.ready


@pytest.mark.parametrize("kind", ["stranger", "zombie"])
def test_a_pid_file_with_the_number_of_another_process(quiet: Cluster, kind: str) -> None:
    """C05: PostgreSQL itself refuses to start ("lock file already exists") or calls it running."""
    path = quiet.data_directory / "postmaster.pid"
    lock = quiet.socket_directory / f".s.PGSQL.{quiet.port}.lock"
    text, lock_text = path.read_text(), lock.read_text()
    quiet.stop()
    command = ["sleep", "600"] if kind == "stranger" else ["true"]
    process = subprocess.Popen(command)
    if kind == "zombie":
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        path.write_text(text.replace(text.split("\n", 1)[0], str(process.pid), 1))
        lock.write_text(lock_text.replace(text.split("\n", 1)[0], str(process.pid), 1))
        server = instance(quiet)
        assert (server.status().running, server.status().stale_pid_file) == (False, True)
        started = server.start()
        assert started.removed_stale_pid_file and started.status.ready
        assert kind == "zombie" or process.poll() is None
        assert quiet.pid != process.pid
    finally:
        process.kill()
        process.wait()


def test_a_server_without_its_pid_file_is_seen(quiet: Cluster) -> None:
    path = quiet.data_directory / "postmaster.pid"
    aside = path.with_name("aside")
    pid = quiet.pid
    # PostgreSQL notices within a minute and ends; put it back before.
    path.rename(aside)
    try:
        status = instance(quiet).status()
        assert (status.running, status.pid) == (True, pid)
        assert "is missing" in status.reason
    finally:
        aside.rename(path)


def test_a_start_that_fails_says_the_server_s_own_words(quiet: Cluster) -> None:
    quiet.stop()
    quiet.set(shared_preload_libraries="no_such_library")
    with pytest.raises(Failed) as caught:
        instance(quiet).start(timeout=240)
    assert caught.value.code == "server-did-not-start"
    assert 'could not access file "no_such_library"' in caught.value.happened
    assert not instance(quiet).status().running
    quiet.set(shared_preload_libraries="")
    assert instance(quiet).start().status.ready


def test_two_servers_on_one_port(make_cluster: Callable[..., Cluster]) -> None:
    """C06: the second says who is in the way; the first is not touched."""
    first, second = make_cluster("first", archiving=False), make_cluster("second", archiving=False)
    second.stop()
    second.set(port=str(first.port), unix_socket_directories=str(first.socket_directory))
    with first.unchanged(), pytest.raises(Failed) as caught:
        instance(second).start(timeout=240)
    assert caught.value.code == "server-did-not-start"
    assert "lock file" in caught.value.happened or "already in use" in caught.value.happened


def test_what_is_no_data_directory_is_not_started(quiet: Cluster) -> None:
    quiet.stop()
    quiet.write_config(data_directory=str(quiet.root / "nowhere"))
    with pytest.raises(Refused) as caught:
        instance(quiet).start()
    assert caught.value.code == "data-directory-missing"
    with pytest.raises(Refused) as caught:
        instance(quiet).reload()
    assert caught.value.code == "server-not-running"


def test_a_unit_is_not_touched_without_root(quiet: Cluster) -> None:
    quiet.write_config(service={"manager": "systemd", "unit": "postgresql@15-main.service"})
    with quiet.unchanged(), pytest.raises(Refused) as caught:
        instance(quiet).stop()
    assert caught.value.code == "needs-root"


def test_a_missing_manager_is_named(quiet: Cluster) -> None:
    quiet.stop()
    quiet.write_config(bin_directory="/nowhere")
    with pytest.raises(Failed) as caught:
        instance(quiet).start()
    assert caught.value.code == "program-missing"


@pytest.mark.parametrize("installation", an_installation_a_day())
def test_control_data_of_every_major(
    make_cluster: Callable[..., Cluster], installation: Installation
) -> None:
    cluster = make_cluster(archiving=False, installation=installation)
    control = read_control_data(str(installation.bin_directory), str(cluster.data_directory))
    row = cluster.sql(
        "SELECT system_identifier, timeline_id, checkpoint_lsn::text, redo_lsn::text"
        " FROM pg_control_system(), pg_control_checkpoint()"
    )[0]
    found = control.to_dict()
    assert (control.system_id, control.timeline) == (row[0], row[1])
    assert (found["checkpoint_lsn"], found["redo_lsn"]) == (row[2], row[3])
    assert control.wal_segment_size == cluster.kind.segment_mb << 20
    for name, value in control.settings.items():
        assert cluster.value(f"SHOW {name}") == value
    assert (control.state, control.data_checksums) == ("in production", True)


def test_control_data_that_cannot_be_read(quiet: Cluster, tmp_path: Path) -> None:
    programs = str(quiet.installation.bin_directory)
    with pytest.raises(Failed) as caught:
        read_control_data(programs, str(tmp_path))
    assert caught.value.code == "control-file-unreadable"
    quiet.stop()
    path = quiet.data_directory / "global" / "pg_control"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Failed) as caught:
        read_control_data(programs, str(quiet.data_directory))
    assert caught.value.code == "control-file-damaged"


def test_tablespaces_and_disks(quiet: Cluster) -> None:
    wanted = {}
    for name in ("one", "two"):
        path = quiet.root / f"ts {name}"
        path.mkdir()
        quiet.sql(f"CREATE TABLESPACE {name} LOCATION '{path}'")
        wanted[quiet.value("SELECT oid FROM pg_tablespace WHERE spcname = %s", name)] = str(path)
    assert {found.oid: found.path for found in tablespaces(str(quiet.data_directory))} == wanted
    facts = os.statvfs(quiet.root)
    disk = file_system(str(quiet.root / "not" / "there" / "yet"))
    assert disk.path == str(quiet.root)
    assert disk.device == os.stat(quiet.root).st_dev
    assert disk.total_bytes == facts.f_blocks * facts.f_frsize
    assert 0 < disk.free_bytes <= disk.total_bytes
    with pytest.raises(Failed) as caught:
        tablespaces(str(quiet.root / "nowhere"))
    assert caught.value.code == "tablespace-unreadable"
