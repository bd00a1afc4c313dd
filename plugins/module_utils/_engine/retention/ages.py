# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How old things are, without believing any clock: age is what has been lived through since, in the order of WAL.

The times of commits and of backups' ends are put into the order in which they were written: system after system,
timeline after timeline (promotions only count upwards), position after position. Where a clock leapt, forwards or
backwards, or the server was off for long, an era ends; nothing was lived between two of them. Within an era age is what
the clock said at its end less what it said then: a clock that was wrong for a moment and was set right makes nothing
older. What was written while the clock was behind what it had said before is as old as the next that was not.

Timelines have eras of their own, because an undo lets the parent's life go on after the child's: of other timelines
only what is later by the clock counts, and no moment counts twice.

So the clock of the host that expires does not matter at all, and a cluster that is down keeps what it has. What
cannot be told apart: a clock that is set forwards by less than a leap and stays there, and as long a silence.

What an expiry deletes are also the signs by which a silence is told from a leap: they are remembered (:mod:`.memory`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from typing import NamedTuple

from ..wal.archive import Archive
from ..wal.facts import BackupFacts

#: Silence longer than this, or than a quarter of the window, is a leap.
_LEAP_SECONDS = 8 * 86400.0
#: Of what was lived evenly it is enough to remember so much apart.
_REMEMBERED_SECONDS = 86400.0


class Place(NamedTuple):
    """A place in the order in which everything was written."""

    system: int
    timeline: int
    lsn: int


class Age(NamedTuple):
    """Seconds lived since, and signs of life since: these decide where the clock stood still or went back."""

    seconds: float
    signs: int = 0


Sign = tuple[Place, datetime]
Stretch = tuple[float, float]


class Chronicle:
    """The life of an archive as signs of it in the order in which they were written.

    ``remembered`` are signs that may be gone by now; those before the first of ``signs`` are of no use.
    """

    def __init__(
        self, signs: Iterable[Sign], window_seconds: float = 0.0, remembered: Iterable[Sign] = ()
    ) -> None:
        known = set(signs)
        first = min(known, default=None)
        known.update(sign for sign in remembered if first is not None and sign > first)
        ordered = sorted(known)
        self._places = [place for place, _moment in ordered]
        self._moments = [moment for _place, moment in ordered]
        self._clock = [moment.timestamp() for moment in self._moments]
        lines = [(place.system, place.timeline) for place in self._places]
        self._lived = _lived(lines, self._clock, max(_LEAP_SECONDS, window_seconds / 4))
        #: The greatest age of a sign and of all after it.
        self._most = list(accumulate(reversed(self._lived), max))[::-1]

    def age(self, place: Place) -> Age:
        """Of the last sign that is not after ``place``."""
        return self._told(self._lived, place)

    def span(self, place: Place) -> Age:
        """So old is nothing that was written after ``place``."""
        return self._told(self._most, place)

    def _told(self, ages: Sequence[float], place: Place) -> Age:
        found = max(bisect_right(self._places, place) - 1, 0)
        return Age(ages[found], len(ages) - found) if ages else Age(0.0)

    def moment(self, age_seconds: float) -> datetime | None:
        """What the clock said when so much was still to be lived; None for an empty life."""
        for number in range(len(self._most) - 1, -1, -1):
            if self._most[number] >= age_seconds:
                return self._moments[number] + timedelta(seconds=self._most[number] - age_seconds)
        if not self._most:
            return None
        return self._moments[0] - timedelta(seconds=age_seconds - self._most[0])

    def said(self, place: Place) -> datetime | None:
        """The clock at the last sign that is not after ``place``."""
        found = bisect_right(self._places, place) - 1
        return self._moments[found] if found >= 0 else None

    def knows(self, place: Place) -> bool:
        """Whether a sign is from that very place."""
        found = bisect_left(self._places, place)
        return found < len(self._places) and self._places[found] == place

    def last(self, system: int) -> datetime | None:
        """The last moment of one system."""
        found = bisect_left(self._places, Place(system + 1, 0, 0)) - 1
        return self._moments[found] if found >= 0 and self._places[found].system == system else None

    def memory(self) -> list[Sign]:
        """Signs that tell the same: of even life one a day, and both ends of every step that is not even."""
        chosen = []
        last = -1
        for number in range(len(self._clock)):
            far = self._even(number) and self._clock[number + 1] - self._clock[last] > _REMEMBERED_SECONDS
            if far or not self._even(number) or not self._even(number - 1):
                chosen.append((self._places[number], self._moments[number]))
                last = number
        return chosen

    def _even(self, number: int) -> bool:
        """Whether life went on evenly from a sign to the next."""
        if not 0 <= number < len(self._clock) - 1 or self._places[number][:2] != self._places[number + 1][:2]:
            return False
        return 0 <= self._clock[number + 1] - self._clock[number] <= _REMEMBERED_SECONDS


def _lived(lines: Sequence[tuple[int, int]], clock: Sequence[float], leap: float) -> list[float]:
    """Seconds lived since each reading of a clock; ``lines``: on which timeline it was read."""
    found = [0.0] * len(clock)
    mine: list[Stretch] = []
    others: list[Stretch] = []
    end = len(clock) - 1
    while end >= 0:
        begin = end
        while begin > 0 and lines[begin - 1] == lines[end] and abs(clock[begin] - clock[begin - 1]) <= leap:
            begin -= 1
        records = [begin]
        for number in range(begin + 1, end + 1):
            if clock[number] >= clock[records[-1]]:
                records.append(number)
        age = _measure(mine, others, clock[records[-1]])
        for number in range(end, begin - 1, -1):
            if records and records[-1] == number:
                said = clock[records.pop()]
                age = _measure([*mine, (said, clock[end])], others, said)
            found[number] = age
        mine.append((clock[begin], clock[end]))
        if begin > 0 and lines[begin - 1] != lines[end]:
            others, mine = _united([*others, *mine]), []
            if 0 < clock[begin] - clock[begin - 1] <= leap:
                others = _united([*others, (clock[begin - 1], clock[begin])])
        end = begin - 1
    return found


def _measure(mine: Sequence[Stretch], others: Sequence[Stretch], after: float) -> float:
    """Seconds of all of these, each moment once; of ``others`` what is later than ``after``."""
    if not others and len(mine) == 1:
        return max(0.0, mine[0][1] - mine[0][0])
    clipped = [(max(begin, after), end) for begin, end in others]
    return sum(end - begin for begin, end in _united([*mine, *clipped]))


def _united(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same moments in stretches that do not touch; one that ends before it begins is none."""
    found: list[Stretch] = []
    for begin, end in sorted(stretch for stretch in stretches if stretch[0] < stretch[1]):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def commits(archive: Archive, system: int) -> Iterator[Sign]:
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


def stops(backups: Iterable[BackupFacts]) -> Iterator[Sign]:
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
