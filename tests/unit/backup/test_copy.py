# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Reading what pg_basebackup says, and reading files while they grow."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.copy import (
    Follower,
    Words,
    copy,
    stop_strangers,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed

# As pg_basebackup 15 -P -v wrote it into a pipe.
SAID = b"""pg_basebackup: initiating base backup, waiting for checkpoint to complete
pg_basebackup: checkpoint completed
    0/22469 kB (0%), 0/1 tablespace
12001/22469 kB (53%), 0/1 tablespace
22478/22478 kB (100%), 1/1 tablespace
NOTICE:  all required WAL segments have been archived
pg_basebackup: base backup completed
"""


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("end", [b"\n", b"\r"])
def test_progress_lines_are_progress_however_they_come(size: int, end: bytes) -> None:
    told: list[tuple[int, int]] = []
    words = Words(lambda done, total: told.append((done, total)))
    said = SAID.replace(b"tablespace\n", b"tablespace" + end)
    for begin in range(0, len(said), size):
        words.feed(said[begin : begin + size])
    assert told == [(0, 23008256), (12289024, 23008256), (23017472, 23017472)]
    assert len(words.lines) == 4
    assert words.text().startswith("pg_basebackup: initiating")


def test_errors_come_first() -> None:
    words = Words(lambda done, total: None)
    words.feed(SAID + b"pg_basebackup: error: could not write to file: No space left on device")
    assert words.text().startswith("pg_basebackup: error:")


def program(tmp_path: Path, text: str) -> tuple[str, ...]:
    """A stand-in for pg_basebackup that says and does what a real one did."""
    path = tmp_path / "pg_basebackup"
    path.write_text(f"#!{sys.executable}\nimport sys, os, time\n{text}\n")
    path.chmod(0o755)
    return (str(path),)


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        (
            "sys.exit('error: could not write to file: No space left on device')",
            "repository-full",
            "No space",
        ),
        (
            "sys.exit('pg_basebackup: error: connection failed: FATAL: no pg_hba.conf entry')",
            "basebackup-failed",
            "pg_hba",
        ),
        ("os.kill(os.getpid(), 9)", "basebackup-failed", "was ended by signal 9"),
        ("sys.exit(1)", "basebackup-failed", "no message"),
    ],
)
def test_how_it_ends_badly(tmp_path: Path, text: str, code: str, word: str) -> None:
    with pytest.raises(Failed) as caught:
        copy(program(tmp_path, text), attempted="try", progress=lambda d, t: None, watch=lambda s: None)
    assert caught.value.code == code
    assert word in caught.value.happened


def test_a_missing_program() -> None:
    with pytest.raises(Failed) as caught:
        copy(("/nowhere/pg_basebackup",), attempted="try", progress=lambda d, t: None, watch=lambda s: None)
    assert caught.value.code == "program-missing"


def test_a_watch_that_raises_ends_the_program(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    argv = program(tmp_path, f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)")

    def watch(quiet_seconds: float) -> None:
        raise Failed("archive-stuck", attempted="a", happened="b", remedy="c")

    with pytest.raises(Failed) as caught:
        copy(argv, attempted="try", progress=lambda d, t: None, watch=watch)
    assert caught.value.code == "archive-stuck"
    assert not os.path.exists(f"/proc/{mark.read_text()}")


def test_growing_files_are_hashed_whole(tmp_path: Path) -> None:
    contents = {
        "base.tar.zst": os.urandom(3_000_001),
        "16385.tar.zst": os.urandom(1_500_000),
        "empty.tar.zst": b"",
    }
    with Follower(str(tmp_path), ".tar.zst") as follower:
        for name, content in contents.items():
            with open(tmp_path / name, "wb") as handle:
                for begin in range(0, len(content), 100_000):
                    handle.write(content[begin : begin + 100_000])
        (tmp_path / "backup_manifest").write_text("not a stream")
        follower.finish()
    assert follower.digests == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in contents.items()
    }


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "base.tar.zst").mkdir()
    with Follower(str(tmp_path), ".tar.zst") as follower, pytest.raises(IsADirectoryError):
        follower.finish()


def test_only_programs_that_write_there_are_stopped(tmp_path: Path) -> None:
    source = str(shutil.which("sleep"))
    shutil.copy(source, tmp_path / "pg_basebackup")
    argv = [str(tmp_path / "pg_basebackup"), "600"]
    ours, theirs = tmp_path / "ours", tmp_path / "ours-too"
    # sleep takes several numbers only: the directory comes through argv[0] of nobody, so give it as an option.
    script = "import time; time.sleep(600)"
    processes = [
        subprocess.Popen(["pg_basebackup", "-c", script, f"{ours}/.incoming"], executable=sys.executable),
        subprocess.Popen(["pg_basebackup", "-c", script, f"{theirs}/.incoming"], executable=sys.executable),
        subprocess.Popen([sys.executable, "-c", script, f"{ours}/.incoming"]),
        subprocess.Popen(argv),
    ]
    try:
        assert stop_strangers(str(ours)) == [processes[0].pid]
        assert processes[0].wait(timeout=10) != 0
        assert [process.poll() for process in processes[1:]] == [None, None, None]
    finally:
        for process in processes:
            process.kill()
            process.wait()
