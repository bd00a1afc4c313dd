# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Pid files of every kind, judged against real processes: none of them is a server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.postmaster import (
    _processes_on,
    parse_pid_file,
    server_status,
    stale_socket_lock,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed

# Lines as PostgreSQL 15 writes them.
READY = "{pid}\n/srv/data\n1795237200\n5432\n/run/postgresql\n\n  5432001    32769\nready   \n"


@pytest.mark.parametrize(
    ("text", "pid", "status"),
    [
        (READY.format(pid=4711), 4711, "ready"),
        ("4711\n/srv/data\n1795237200\n5432\n", 4711, ""),
        ("-4711\n/srv/data\n1795237200\n", 4711, ""),
    ],
)
def test_a_pid_file_says(text: str, pid: int, status: str) -> None:
    found = parse_pid_file(text)
    assert found is not None
    assert (found.pid, found.status) == (pid, status)
    # 1795237200 s after the epoch, by hand: date -u -d @1795237200
    assert found.started_at == datetime(2026, 11, 21, 5, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize("text", ["", "\n", "postgres\n", "-\n"])
def test_nonsense_is_no_pid_file(text: str) -> None:
    assert parse_pid_file(text) is None


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A live process that is no server, standing in the data directory."""
    process = subprocess.Popen(["sleep", "600"], cwd=tmp_path)
    yield process
    process.kill()
    process.wait()


def test_no_directory_and_no_pid_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        status = server_status(str(path))
        assert (status.running, status.stale_pid_file, status.pid) == (False, False, None)


def test_a_dead_pid_is_stale(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    (tmp_path / "postmaster.pid").write_text(READY.format(pid=process.pid))
    status = server_status(str(tmp_path))
    assert (status.running, status.ready, status.stale_pid_file) == (False, False, True)
    assert f"process {process.pid}, which is gone" in status.reason


def test_a_live_stranger_is_no_server(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    (tmp_path / "postmaster.pid").write_text(READY.format(pid=sleeper.pid))
    status = server_status(str(tmp_path))
    assert (status.running, status.stale_pid_file) == (False, True)
    assert "'sleep 600'" in status.reason


def test_a_zombie_is_no_server(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        (tmp_path / "postmaster.pid").write_text(READY.format(pid=process.pid))
        status = server_status(str(tmp_path))
    finally:
        process.wait()
    assert (status.running, status.stale_pid_file) == (False, True)
    assert "zombie" in status.reason


@pytest.fixture
def postgres_named(tmp_path: Path) -> Path:
    """A program called postgres that does nothing: a copy of sleep."""
    program = tmp_path / "bin" / "postgres"
    program.parent.mkdir()
    shutil.copy(str(shutil.which("sleep")), program)
    return program


def test_a_postgres_of_another_directory_is_a_stranger(tmp_path: Path, postgres_named: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    data.mkdir()
    other.mkdir()
    process = subprocess.Popen([str(postgres_named), "600"], cwd=other)
    try:
        (data / "postmaster.pid").write_text(READY.format(pid=process.pid))
        assert not server_status(str(data)).running
        (other / "postmaster.pid").write_text(READY.format(pid=process.pid))
        assert server_status(str(other)).running
        # Renamed while it runs: the same directory.
        other.rename(tmp_path / "moved")
        assert server_status(str(tmp_path / "moved")).running
    finally:
        process.kill()
        process.wait()


def test_a_server_whose_pid_file_was_removed_runs(tmp_path: Path, postgres_named: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    process = subprocess.Popen([str(postgres_named), "600"], cwd=data)
    try:
        status = server_status(str(data))
        assert (status.running, status.pid, status.ready) == (True, process.pid, False)
        assert "is missing" in status.reason
    finally:
        process.kill()
        process.wait()


def test_children_of_a_killed_server_are_told_apart(tmp_path: Path, postgres_named: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    process = subprocess.Popen(["postgres: checkpointer", "600"], executable=str(postgres_named), cwd=data)
    try:
        status = server_status(str(data))
        assert (status.running, status.leftover) == (False, (process.pid,))
    finally:
        process.kill()
        process.wait()


def test_not_being_allowed_to_look_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "postmaster.pid"
    path.mkdir()
    with pytest.raises(Failed) as caught:
        server_status(str(tmp_path))
    assert caught.value.code == "pid-file-unreadable"


def test_a_socket_s_lock_is_stale_when_it_is_ours_and_nobody_serves(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], postgres_named: Path
) -> None:
    data, lock = tmp_path / "data", tmp_path / ".s.PGSQL.5432.lock"
    data.mkdir()
    assert not stale_socket_lock(str(lock), str(data))
    lock.write_text(f"{sleeper.pid}\n{data}\n1795237200\n5432\n")
    assert stale_socket_lock(str(lock), str(data))
    # Another cluster's server may well run.
    assert not stale_socket_lock(str(lock), str(tmp_path))
    process = subprocess.Popen([str(postgres_named), "600"], cwd=data)
    try:
        lock.write_text(f"{process.pid}\n{data}\n1795237200\n5432\n")
        assert not stale_socket_lock(str(lock), str(data))
    finally:
        process.kill()
        process.wait()


def test_a_child_that_was_just_forked_is_not_the_server(tmp_path: Path) -> None:
    """It has its parent's command line until it gives itself a title; a subshell has it for ever."""
    data, program = tmp_path / "data", tmp_path / "postgres"
    data.mkdir()
    shutil.copy(str(shutil.which("sh")), program)
    os.mkfifo(tmp_path / "never")
    argv = [str(program), "-c", f"(read line < {tmp_path}/never) & echo; wait"]
    with subprocess.Popen(argv, cwd=data, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        (child,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        try:
            found = _processes_on(str(data))
        finally:
            for pid in (int(child), parent.pid):
                os.kill(pid, signal.SIGKILL)
    assert found == ([parent.pid], (int(child),))


def test_a_process_that_ends_while_it_is_looked_at_is_no_server(
    tmp_path: Path, postgres_named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    process = subprocess.Popen([str(postgres_named), "600"], cwd=data)
    read = os.readlink

    def slow_readlink(path: str) -> str:
        program = read(path)
        if path == f"/proc/{process.pid}/exe":
            process.kill()
            process.wait()
        return program

    monkeypatch.setattr(os, "readlink", slow_readlink)
    assert not server_status(str(data)).running


def test_a_pid_file_that_is_removed_while_it_is_looked_at_is_not_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is just ending takes its own away: whatever was looked at first, it is not damaged."""
    path = tmp_path / "postmaster.pid"
    path.write_text(READY.format(pid=1))
    lexists = os.path.lexists

    def slow_lexists(asked: str) -> bool:
        there = lexists(asked)
        path.unlink(missing_ok=True)
        return there

    opened = open

    def slow_open(asked: Any, *arguments: Any, **more: Any) -> Any:
        if str(asked) == str(path):
            path.unlink(missing_ok=True)
        return opened(asked, *arguments, **more)

    monkeypatch.setattr(os.path, "lexists", slow_lexists)
    monkeypatch.setattr("builtins.open", slow_open)
    status = server_status(str(tmp_path))
    assert (status.running, status.stale_pid_file, status.reason) == (
        False,
        False,
        f"no postmaster.pid and no server process on {tmp_path}",
    )
