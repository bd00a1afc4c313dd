# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Lines of history with the backups on them: what can be restored from where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from ..core.errors import KeeperError
from ..wal.archive import Archive
from ..wal.branch import Branch
from ..wal.facts import BackupFacts
from ..wal.reach import Reach, reach
from .ages import Age, Chronicle, newest, place_of


@dataclass(frozen=True)
class Line:
    """The line to one timeline. ``backups`` lead to it and are fit, oldest first; ``ages`` are theirs.

    ``age`` is that of the last sign of life on the timeline itself, None when there is none; ``said`` what the clock
    said there.
    """

    timeline: int
    branch: Branch
    backups: tuple[BackupFacts, ...]
    ages: tuple[Age, ...]
    age: Age | None
    said: datetime | None

    def anchor(self, age: Age) -> int | None:
        """The place of the newest backup that is so old: from it the state of that moment can be restored."""
        return next((place for place in reversed(range(len(self.ages))) if self.ages[place] >= age), None)

    def needed(self, age: Age) -> range:
        """The places of the backups that are needed to restore every moment since then."""
        return range(self.anchor(age) or 0, len(self.backups))


def lines(system: int, archive: Archive, backups: Sequence[BackupFacts], life: Chronicle) -> list[Line]:
    """Every line, by timeline. Raises :class:`Refused` (``history-missing``, ``history-damaged``)."""
    timelines = set(archive.numbers) | set(archive.timelines.known) | {one.timeline for one in backups}
    signs = newest(archive, backups, system)
    found = []
    for timeline in sorted(timelines | archive.timelines.without_history | set(archive.timelines.damaged)):
        branch = archive.branch(timeline)
        leading = sorted(
            (one for one in backups if archive.timelines.descends(timeline, one.timeline, one.stop_lsn)),
            key=lambda one: (one.stop_lsn, one.label),
        )
        # What lies before another on its line is not younger than that, whatever the clock said.
        ages = tuple(accumulate((life.age(place_of(one)) for one in reversed(leading)), max))[::-1]
        last = signs.get(timeline)
        age, said = (life.age(last), life.said(last)) if last is not None else (None, None)
        found.append(Line(timeline, branch, tuple(leading), ages, age, said))
    return found


def ends(archive: Archive, branch: Branch, backups: Iterable[BackupFacts]) -> dict[str, int]:
    """Label -> where the unbroken WAL from that backup's start ends on a line.

    One walk for each unbroken stretch, not one for each backup.
    """
    found: dict[str, int] = {}
    last: Reach | None = None
    for backup in sorted(backups, key=lambda one: one.start_lsn):
        if last is None or not last.steps or backup.start_lsn >= last.end:
            last = reach(archive, branch, backup.start_lsn)
        found[backup.label] = last.end if last.steps else backup.start_lsn
    return found


def restorable(archive: Archive, backups: Sequence[BackupFacts]) -> frozenset[str]:
    """The labels of those whose WAL from start to stop is there and sound, on any line that they lead to."""
    found: set[str] = set()
    for timeline in set(archive.numbers) | {one.timeline for one in backups}:
        try:
            branch = archive.branch(timeline)
            leading = [
                one for one in backups if archive.timelines.descends(timeline, one.timeline, one.stop_lsn)
            ]
        except KeeperError:
            # Whoever asks for the lines is told; here only what is certain counts.
            continue
        reached = ends(archive, branch, leading)
        found |= {one.label for one in leading if reached[one.label] >= one.stop_lsn}
    return frozenset(found)
