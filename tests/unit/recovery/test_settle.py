# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A copy that could not be made durable: nothing of it is believed, and the next run makes it again."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.journal import Journal
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.progress import Progress
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery import execute, staging, steps

from .world import config

COPY = (steps.STAGE, steps.COMBINE, steps.CONFIGURE, steps.REPLAY, steps.VERIFY)


def execution(root: Path, plan: Any) -> Any:
    """One whose copy is made and verified, and is to be settled."""
    journal = Journal.begin(str(root / "restore.journal.json"), "restore", "an id", {})
    for name in (steps.LEASE, *COPY):
        journal.step(name, lambda: None)
    progress = Progress(str(root / "progress.json"), "restore", identity="main")
    return execute.Execution(plan, config(), None, None, journal, progress)


def test_it_is_staged_again_and_not_settled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells of a lost write once: a second try over the same copy would find nothing wrong."""
    copy = tmp_path / "work" / "data"
    (copy / "pg_wal" / "archive_status").mkdir(parents=True)
    plan: Any = SimpleNamespace(
        cluster="main",
        staging=str(copy),
        work_directory=str(tmp_path / "work"),
        data_directory=str(tmp_path / "data"),
        tablespaces=[{"target": str(tmp_path)}],
    )
    asked: list[str] = []

    def sync(path: str) -> None:
        asked.append(path)
        if path == str(tmp_path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(staging, "sync_filesystem", sync)
    monkeypatch.setattr(execute, "preflight", lambda *_dummy: pytest.fail("it goes on"))
    running = execution(tmp_path, plan)
    with pytest.raises(Failed) as caught:
        running._do(steps.SETTLE, running._settle)
    assert asked == [str(copy), str(tmp_path)]
    assert caught.value.code == "restored-copy-unfit"
    assert f"cannot be made durable: {tmp_path}: Input/output error" in caught.value.happened
    assert "nothing was swapped" in caught.value.happened
    # What the next run reads: the lease is held, everything of the copy is to be done, and nothing is settled.
    left = Journal.load(str(tmp_path / "restore.journal.json"), attempted="test")
    assert left is not None and left.state == "running" and left.is_done(steps.LEASE)
    assert [left.status(name) for name in COPY] == [None] * len(COPY)
    assert left.status(steps.SETTLE) == "begun" and left.status(steps.STOP_LIVE) is None
