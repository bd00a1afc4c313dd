# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Waiting for the archiver is bounded by progress, not by time; and the segments that a backup needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup import wal
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

from .states import config

WAITING = "waiting for wal archiving to finish"


class Clock:
    """A clock that goes only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(wal.time, "monotonic", clock.monotonic)
    return clock


def watch(clock: Clock, *seen: tuple[float, str, bool, tuple[str, ...]]) -> wal.ArchiveWatch:
    """Judge observations, each so many seconds after the one before."""
    watcher = wal.ArchiveWatch(config(), "try")
    for seconds, phase, failing, ready in seen:
        clock.now += seconds
        watcher.judge(phase, failing, "SEGMENT", ready)
    return watcher


@pytest.mark.parametrize(
    "seen",
    [
        # Not at the end yet: a failing archiver is no matter of ours.
        [(100.0, "streaming database files", True, ("A",))] * 50,
        # Slow, but it goes on.
        [(590.0, WAITING, False, ready) for ready in [("A", "B", "C"), ("B", "C"), ("C",), ()]],
        # It failed and recovered.
        [(29.0, WAITING, True, ("A",)), (1.0, WAITING, False, ("A",)), (29.0, WAITING, True, ("A",))],
        # A checkpoint of an hour.
        [(3600.0, "waiting for checkpoint to finish", False, ())] * 3,
    ],
)
def test_patience(clock: Clock, seen: list[Any]) -> None:
    watch(clock, *seen)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        ([(5.0, WAITING, True, ("A",)), (31.0, WAITING, True, ("A",))], "archiving-failing"),
        ([(5.0, WAITING, False, ("A",)), (601.0, WAITING, False, ("A",))], "archive-stuck"),
    ],
)
def test_no_patience(clock: Clock, seen: list[Any], code: str) -> None:
    with pytest.raises(Failed) as caught:
        watch(clock, *seen)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("start", "stop", "megabytes", "names"),
    [
        (0x2000028, 0x2000100, 16, ["000000030000000000000002"]),
        # The stop is exclusive: at a boundary the segment before is the last.
        (0x2000028, 0x3000000, 16, ["000000030000000000000002"]),
        (0x2000028, 0x3000001, 16, ["000000030000000000000002", "000000030000000000000003"]),
        (0xFFF00028, 0x100000010, 1, ["000000030000000000000FFF", "000000030000000100000000"]),
    ],
)
def test_the_segments_a_backup_needs(start: int, stop: int, megabytes: int, names: list[str]) -> None:
    assert wal.needed_segments(3, start, stop, megabytes << 20) == names


def test_wal_that_arrives_between_two_looks_has_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archiver goes on meanwhile: what no longer waits was not "called archived and not here"."""
    repository = Repository(str(tmp_path), "main")
    repository.create()
    name = "000000010000000000000001"
    stored = Path(repository.timeline(7, 1)) / f"{name}.zst"
    stored.parent.mkdir(parents=True)
    listed: list[tuple[str, ...]] = []

    def ready(_data_directory: str) -> tuple[str, ...]:
        stored.touch()
        listed.append(())
        return ()

    monkeypatch.setattr(wal, "ready_segments", ready)
    reports: list[int] = []
    wal.await_wal([name], repository, 7, config(), attempted="try", report=reports.append)
    assert (reports, listed) == ([1], [()])
    stored.unlink()
    monkeypatch.setattr(wal, "ready_segments", lambda _data_directory: ())
    with pytest.raises(Failed) as caught:
        wal.await_wal([name], repository, 7, config(), attempted="try", report=reports.append)
    assert caught.value.code == "wal-not-in-repository"
