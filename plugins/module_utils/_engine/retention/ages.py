# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How old things are, without believing any clock: age is what has been lived through since, in the order of WAL.

The times of commits and of backups' ends are put into the order in which they were written: system after system,
timeline after timeline (promotions only count upwards), position after position. Age is the sum of the steps from
there to the end. A step back is a clock that was set right, a step too far is one that leapt, or a server that was
off: neither makes anything older. So the clock of the host that expires does not matter at all, and a cluster that is
down keeps what it has.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from ..wal.archive import Archive
from ..wal.facts import BackupFacts

#: Silence longer than this, or than a quarter of the window, is a leap.
_LEAP_SECONDS = 8 * 86400.0


class Place(NamedTuple):
    """A place in the order in which everything was written."""

    system: int
    timeline: int
    lsn: int


class Chronicle:
    """The life of an archive as moments in the order in which they were written."""

    def __init__(self, marks: Iterable[tuple[Place, datetime]], window_seconds: float = 0.0) -> None:
        ordered = sorted(marks)
        self._places = [place for place, _moment in ordered]
        self._moments = [moment for _place, moment in ordered]
        leap = max(_LEAP_SECONDS, window_seconds / 4)
        self._ages = [0.0] * len(ordered)
        for number in range(len(ordered) - 2, -1, -1):
            step = (self._moments[number + 1] - self._moments[number]).total_seconds()
            self._ages[number] = self._ages[number + 1] + (step if 0 < step <= leap else 0.0)

    def age(self, place: Place) -> float:
        """Seconds lived since the last mark that is not after ``place``."""
        found = bisect_right(self._places, place) - 1
        return self._ages[max(found, 0)] if self._ages else 0.0

    def moment(self, age_seconds: float) -> datetime | None:
        """What the clock said when so much was still to be lived; None for an empty life."""
        for number in range(len(self._ages) - 1, -1, -1):
            if self._ages[number] >= age_seconds:
                return self._moments[number] + timedelta(seconds=self._ages[number] - age_seconds)
        if not self._ages:
            return None
        return self._moments[0] - timedelta(seconds=age_seconds - self._ages[0])

    def last(self, system: int) -> datetime | None:
        """The last moment of one system."""
        found = bisect_right(self._places, Place(system, 1 << 40, 0)) - 1
        return self._moments[found] if found >= 0 and self._places[found].system == system else None


def commits(archive: Archive, system: int) -> Iterator[tuple[Place, datetime]]:
    """The first and last commit of each segment, of those that belong to the segment's own timeline."""
    begins: dict[int, int] = {}
    for name, entry in archive.entries.items():
        timeline = int(name[:8], 16)
        if timeline not in begins:
            begins[timeline] = _begin(archive, timeline)
        for mark in (entry.first_commit, entry.last_commit):
            # A child's first segment repeats what its parent wrote.
            if mark is not None and mark.lsn >= begins[timeline]:
                yield Place(system, timeline, mark.lsn), _moment(mark.time)


def _begin(archive: Archive, timeline: int) -> int:
    history = archive.timelines.histories.get(timeline)
    return history.forks[-1].lsn if history else 0


def _moment(text: str) -> datetime:
    """The form of the index; ten times faster than strptime, and there may be hundreds of thousands."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def stops(backups: Iterable[BackupFacts]) -> Iterator[tuple[Place, datetime]]:
    """The ends of backups."""
    for backup in backups:
        yield place_of(backup), backup.stopped_at


def place_of(backup: BackupFacts) -> Place:
    """Where a backup ended."""
    return Place(backup.system_id, backup.timeline, backup.stop_lsn)


def newest(archive: Archive, backups: Sequence[BackupFacts], system: int) -> Mapping[int, Place]:
    """The last sign of life on each timeline itself."""
    found: dict[int, Place] = {}
    for place, _moment_of in (*commits(archive, system), *stops(backups)):
        found[place.timeline] = max(found.get(place.timeline, place), place)
    return found
