# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The copy of a primary before it is swapped in: all of it is durable, or it is made again."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.journal import Journal
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.progress import Progress
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.standby import execute
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.standby.plan import StandbyPlan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.standby.request import StandbyRequest

from ..recovery.world import config

REQUEST = StandbyRequest({"host": "db1", "user": "dbkeeper"})


class Host:
    """pg_basebackup makes a copy with two tablespaces, pg_verifybackup likes it; what is made durable is noted."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places = [root / "fast", root / "large"]
        self.staging = ""
        self.told: list[str] = []
        self.fails_for: Path | None = None
        monkeypatch.setattr(execute, "run", self.run)
        monkeypatch.setattr(execute, "sync_filesystem", self.sync)
        monkeypatch.setattr(execute, "fsync_file", lambda path: self.told.append(os.path.basename(path)))

    def run(self, argv: Sequence[str], **_more: Any) -> None:
        program = os.path.basename(argv[0])
        self.told.append(program)
        if program == "pg_basebackup":
            self.staging = str(argv[list(argv).index("-D") + 1])
            links = Path(self.staging, "pg_tblspc")
            links.mkdir(parents=True)
            for number, place in enumerate(self.places):
                place.mkdir(exist_ok=True)
                (links / str(16384 + number)).symlink_to(place)

    def sync(self, path: str) -> None:
        self.told.append(os.path.realpath(path))
        if self.fails_for is not None and os.path.realpath(path) == str(self.fails_for):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def of(root: Path, **changes: Any) -> ClusterConfig:
    paths: Mapping[str, str] = {
        "data_directory": str(root / "data"),
        "state_directory": str(root / "state"),
    }
    return config(**paths, **changes)


def stage(root: Path) -> str:
    staging = str(root / f"data{execute._MARKER}now")
    execute._stage(
        of(root), REQUEST, staging, Progress(str(root / "progress.json"), "standby", identity="main")
    )
    return staging


def test_each_tablespace_is_made_durable_after_the_copy_was_verified(tmp_path: Path, host: Host) -> None:
    """Each may lie on a file system of its own, and pg_basebackup was told not to sync any of them."""
    staging = stage(tmp_path)
    assert host.told[:2] == ["pg_basebackup", "pg_verifybackup"]
    assert host.told[2:5] == [staging, *map(str, host.places)]


@pytest.mark.parametrize("lost", [None, 0, 1], ids=["the data directory", "a tablespace", "another"])
def test_a_copy_that_could_not_be_written_is_never_swapped_in(
    tmp_path: Path, host: Host, lost: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says so once: a second sync that says nothing does not make it good, only a new copy does."""
    moved: list[str] = []
    monkeypatch.setattr(execute, "move", lambda source, _target: moved.append(source))
    monkeypatch.setattr(execute, "_stop", lambda _instance: None)
    monkeypatch.setattr(execute, "_start", lambda _instance, _request: None)
    monkeypatch.setattr(execute, "_prove", lambda *_dummy: None)
    (tmp_path / "state").mkdir()

    def rebuild(journal: Journal | None) -> None:
        execute._rebuild(of(tmp_path), REQUEST, PRIMARY, StandbyPlan("rebuild", "it is new"), journal)

    def journal() -> Journal | None:
        return Journal.load(str(tmp_path / "state" / "standby.journal.json"), attempted="test")

    if lost is None:
        monkeypatch.setattr(execute, "sync_filesystem", failing)
    else:
        host.fails_for = host.places[lost]
    with pytest.raises(OSError) as caught:
        rebuild(None)
    assert caught.value.errno == errno.EIO and moved == []
    half = journal()
    assert half is not None and half.status(execute.STAGE) == "begun" and half.state == "running"
    first = Path(host.staging)
    (first / "of the first copy").write_text("")
    # Now the disk takes everything; what it did not take before is not believed for that.
    host.fails_for = None
    monkeypatch.setattr(execute, "sync_filesystem", host.sync)
    host.told.clear()
    rebuild(half)
    assert host.told[:2] == ["pg_basebackup", "pg_verifybackup"]
    assert Path(host.staging) == first and not (first / "of the first copy").exists()
    assert moved == [str(tmp_path / "data"), str(first)]


def failing(path: str) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO), path)


PRIMARY = execute.Primary(7400000000000000001, 3, 1 << 30, None)
