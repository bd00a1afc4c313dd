# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Durable files and locks, on a real file system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core import files, locks
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

ENGINE = Path(files.__file__).parents[2]
HOLDER = """
import sys
sys.path.insert(0, sys.argv[1])
from _engine.core.locks import locked
with locked(sys.argv[2], "backup", attempted="test"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_durable(str(path), b"old")
    with pytest.raises(RuntimeError), files.replacing(str(path)) as handle:
        handle.write(b"half of the n")
        raise RuntimeError("killed")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_has_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_durable(str(path), b"new", 0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def test_only_what_carries_the_mark_is_removed(tmp_path: Path) -> None:
    ours = tmp_path / "main.dbkeeper-1234"
    (ours / "data").mkdir(parents=True)
    files.remove_tree(str(ours), made_by_us=".dbkeeper-")
    assert not ours.exists()
    theirs = tmp_path / "main"
    theirs.mkdir()
    with pytest.raises(ValueError, match="does not carry"):
        files.remove_tree(str(theirs), made_by_us=".dbkeeper-")
    assert theirs.is_dir()


def test_a_lock_names_its_holder_and_is_free_when_the_holder_is_killed(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(ENGINE), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Refused) as caught, locks.locked(path, "restore", attempted="restore"):
            pytest.fail("two holders of one lock")
        assert caught.value.code == "busy"
        assert f"backup (pid {holder.pid}" in caught.value.happened
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locks.locked(path, "restore", attempted="restore", patience=5):
        pass


def test_a_process_is_one_process(tmp_path: Path) -> None:
    record = locks.owner_record("test")
    assert locks.owner_alive(record)
    assert not locks.owner_alive({**record, "process_start": "1"})
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert locks.process_start(child.pid) is None
