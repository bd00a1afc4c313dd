# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Lines of history with the backups on them: what can be restored from where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..core.errors import KeeperError
from ..wal.archive import Archive
from ..wal.branch import Branch
from ..wal.facts import BackupFacts
from ..wal.reach import Reach, reach
from .ages import last_signs, settled


@dataclass(frozen=True)
class Line:
    """The line to one timeline. ``backups`` lead to it and are fit, oldest first; ``moments`` are their ages.

    ``sign``: when something last lived on the timeline itself, None when that is not known.
    """

    timeline: int
    branch: Branch
    backups: tuple[BackupFacts, ...]
    moments: tuple[datetime, ...]
    sign: datetime | None

    def anchor(self, moment: datetime) -> int | None:
        """The place of the newest backup from which ``moment`` can be restored, None when there is none."""
        for place in range(len(self.backups) - 1, -1, -1):
            if self.moments[place] <= moment and self.backups[place].stopped_at <= moment:
                return place
        return None

    def needed(self, moment: datetime | None) -> range:
        """The places of the backups that are needed to restore every moment from ``moment`` on; None: all."""
        if moment is None:
            return range(len(self.backups))
        first = next((n for n, one in enumerate(self.moments) if one >= moment), len(self.backups))
        anchor = self.anchor(moment)
        # After the anchor none is so old, but for those whose own clock says that they are younger.
        return range(first if anchor is None else min(first, anchor), len(self.backups))


def lines(archive: Archive, backups: Sequence[BackupFacts], now: datetime) -> list[Line]:
    """Every line, by timeline. Raises :class:`Refused` (``history-missing``, ``history-damaged``)."""
    timelines = set(archive.numbers) | set(archive.timelines.known) | {one.timeline for one in backups}
    signs = last_signs(archive, now)
    found = []
    for timeline in sorted(timelines | archive.timelines.without_history | set(archive.timelines.damaged)):
        branch = archive.branch(timeline)
        leading = sorted(
            (one for one in backups if archive.timelines.descends(timeline, one.timeline, one.stop_lsn)),
            key=lambda one: (one.stop_lsn, one.label),
        )
        moments = settled(leading, now)
        own = [moments[one.label] for one in leading if one.timeline == timeline]
        sign = max([*own, *([signs[timeline]] if timeline in signs else [])], default=None)
        found.append(
            Line(timeline, branch, tuple(leading), tuple(moments[one.label] for one in leading), sign)
        )
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
