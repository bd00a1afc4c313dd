# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Archives that are written down as lists of transaction ends, for the tests of decisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.archive import Archive
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.entry import Entry, Mark
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import BackupFacts, Proof, Target
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.history import Fork, History, Timelines
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.proof import decide
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.reach import Reach
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.segment import Segment, segment_name
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.waldump import (
    TransactionEnd,
    time_text,
)

SIZE = 1 << 20
SYSTEM = 42
EPOCH = datetime(2026, 11, 21, 3, tzinfo=timezone.utc)
LENGTH = 40


def at(seconds: float) -> datetime:
    """A moment after the epoch of these stories."""
    return EPOCH + timedelta(seconds=seconds)


def end(
    lsn: int, seconds: float, xid: int = 0, *, committed: bool = True, sub: Sequence[int] = ()
) -> TransactionEnd:
    """A transaction end whose record has 40 bytes."""
    return TransactionEnd(lsn, lsn + LENGTH, committed, xid or lsn // 100, at(seconds), tuple(sub))


def backup(start: int, stop: int, seconds: float, *, timeline: int = 1, label: str = "") -> BackupFacts:
    """A verified backup."""
    return BackupFacts(label or f"b{start}", timeline, start, stop, at(seconds), SYSTEM, SIZE, 15)


@dataclass
class Story:
    """Ends and restore points by timeline; a child's list begins at its fork."""

    ends: dict[int, list[TransactionEnd]]
    segments: dict[int, range]
    forks: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    points: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    faults: dict[str, tuple[str, str]] = field(default_factory=dict)
    partials: tuple[str, ...] = ()
    reads: list[str] = field(default_factory=list)

    def line(self, timeline: int) -> list[TransactionEnd]:
        """All ends on the line to a timeline."""
        found: list[TransactionEnd] = []
        begin = 0
        for parent, fork in [*self.forks.get(timeline, []), (timeline, 2**63)]:
            found += [one for one in self.ends.get(parent, []) if begin <= one.lsn < fork]
            begin = fork
        return found

    def archive(self) -> Archive:
        """What the index would say of it."""
        entries: dict[str, Entry] = {}
        for timeline, numbers in self.segments.items():
            line = self.line(timeline)
            for number in numbers:
                name = segment_name(Segment(timeline, number), SIZE)
                if name in self.missing:
                    continue
                entries[name] = self._entry(name, number, line, timeline)
        histories = {
            timeline: History(timeline, tuple(Fork(parent, lsn, "") for parent, lsn in forks))
            for timeline, forks in self.forks.items()
        }
        joined = {}
        for name, entry in entries.items():
            timeline, number = int(name[:8], 16), int(name[16:], 16)
            before = self._before(timeline, number)
            joined[name] = replace(entry, joined=f"digest of {before}" if before in entries else None)
        return Archive(joined, Timelines(histories, frozenset(self.segments)), SIZE, self.partials)

    def _before(self, timeline: int, number: int) -> str:
        for parent, fork in reversed([(timeline, 0), *self.forks.get(timeline, [])][1:]):
            if number - 1 >= fork // SIZE:
                break
            timeline = parent
        return segment_name(Segment(timeline, number - 1), SIZE)

    def _entry(self, name: str, number: int, line: list[TransactionEnd], timeline: int) -> Entry:
        if name in self.faults:
            return Entry(name, "signature", 1000, fault=self.faults[name])
        here = [one for one in line if (one.end_lsn - 1) // SIZE == number]
        commits = [one for one in here if one.committed]
        times = [time_text(one.time) for one in here]
        xids = [xid for one in here for xid in (one.xid, *one.subxids)]
        return Entry(
            name,
            "signature",
            1000,
            f"digest of {name}",
            None,
            None,
            number * SIZE + 40,
            number * SIZE + SIZE - 64,
            number * SIZE + SIZE - 64,
            False,
            len(commits),
            len(here) - len(commits),
            Mark(commits[0].lsn, time_text(commits[0].time), commits[0].xid) if commits else None,
            Mark(commits[-1].lsn, time_text(commits[-1].time), commits[-1].xid) if commits else None,
            min(times, default=None),
            max(times, default=None),
            min(xids, default=None),
            max(xids, default=None),
            tuple(
                (point, lsn, lsn + LENGTH)
                for point, lsn in self.points.get(timeline, [])
                if (lsn + LENGTH - 1) // SIZE == number
            ),
            switches=tuple(
                (fork, child, parent)
                for (parent, fork), child in self._forks(timeline)
                if fork // SIZE == number
            ),
        )

    def _forks(self, timeline: int) -> Iterable[tuple[tuple[int, int], int]]:
        """The forks on the line to a timeline, each with the timeline that begins there."""
        forks = self.forks.get(timeline, [])
        return zip(forks, [*(parent for parent, _dummy in forks[1:]), timeline])

    # -- the reader of single records ------------------------------------------------------------------

    def read_ends(self, reach: Reach, number: int) -> list[TransactionEnd]:
        """See Records."""
        name = reach.steps[reach.position(number)].entry.name
        self.reads.append(name)
        line = self.line(reach.branch.timeline)
        return [one for one in line if (one.end_lsn - 1) // SIZE == number]

    def record_from(self, reach: Reach, lsn: int) -> tuple[int, int] | None:
        """A record begins at every multiple of 64."""
        start = (lsn + 63) // 64 * 64
        return (start, start + LENGTH) if start + LENGTH <= reach.end else None

    def decide(
        self, target: Target, *backups: BackupFacts, live: int | None = None, given_up: tuple[int, ...] = ()
    ) -> Proof:
        """The decision under test."""
        return decide(list(backups), target, self.archive(), Reader(self), live, given_up)


@dataclass
class Reader:
    """Reads the story for a decision."""

    story: Story

    def ends(self, reach: Reach, number: int) -> list[TransactionEnd]:
        return self.story.read_ends(reach, number)

    def record_from(self, reach: Reach, lsn: int) -> tuple[int, int] | None:
        return self.story.record_from(reach, lsn)


def lsns(ends: Iterable[TransactionEnd]) -> list[int]:
    """Their positions."""
    return [one.lsn for one in ends]
