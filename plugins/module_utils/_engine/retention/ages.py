# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How old things are, without believing any clock: WAL order first, times second.

A clock that leapt ahead must not make everything old at once, so a window is counted back from the last sign
of life (an archived commit, a backup's end), over time in which something lived. What claims to be from the
future proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from ..wal.archive import Archive
from ..wal.facts import BackupFacts
from ..wal.waldump import time_of, time_text

#: Silence longer than this is a leap of the clock, or a server that was off: nothing grows old meanwhile.
_LEAP_SECONDS = 8 * 86400.0
_HOUR = len("2026-11-21 03")


def signs_of_life(
    archives: Iterable[Archive], backups: Iterable[BackupFacts], now: datetime
) -> list[datetime]:
    """Moments at which something lived, ascending, none after ``now``; of each hour the last one."""
    latest = time_text(now)
    hours: dict[str, str] = {}
    for archive in archives:
        for entry in archive.entries.values():
            for text in (entry.min_time, entry.max_time):
                if text is not None and text <= latest and text > hours.get(text[:_HOUR], ""):
                    hours[text[:_HOUR]] = text
    for backup in backups:
        text = time_text(backup.stopped_at)
        if text <= latest and text > hours.get(text[:_HOUR], ""):
            hours[text[:_HOUR]] = text
    return [time_of(hours[hour]) for hour in sorted(hours)]


def last_signs(archive: Archive, now: datetime) -> dict[int, datetime]:
    """The last archived commit or abort of each timeline, of those that are not in the future."""
    latest = time_text(now)
    found: dict[int, str] = {}
    for name, entry in archive.entries.items():
        timeline = int(name[:8], 16)
        for text in (entry.min_time, entry.max_time):
            if text is not None and found.get(timeline, "") < text <= latest:
                found[timeline] = text
    return {timeline: time_of(text) for timeline, text in found.items()}


def lived_back(signs: Sequence[datetime], seconds: float, now: datetime) -> datetime:
    """The moment ``seconds`` of life ago. Without any sign: by the clock alone."""
    if not signs:
        return now - timedelta(seconds=seconds)
    leap = max(_LEAP_SECONDS, seconds / 4)
    left = seconds
    for later, earlier in zip(reversed(signs), reversed(signs[:-1])):
        gap = (later - earlier).total_seconds()
        if gap > leap:
            continue
        if gap >= left:
            return later - timedelta(seconds=left)
        left -= gap
    return signs[0] - timedelta(seconds=left)


def settled(backups: Sequence[BackupFacts], now: datetime) -> Mapping[str, datetime]:
    """When the backups of one line ended, as their order on it allows: a clock that went back makes nothing older.

    ``backups`` in the order of their stop LSN. One from the future is taken to be as young as the next that is
    not, or as the present.
    """
    found: dict[str, datetime] = {}
    youngest: datetime | None = None
    unknown: list[str] = []
    for backup in backups:
        if backup.stopped_at > now:
            unknown.append(backup.label)
            continue
        youngest = max(youngest, backup.stopped_at) if youngest else backup.stopped_at
        found.update(dict.fromkeys([*unknown, backup.label], youngest))
        unknown.clear()
    found.update(dict.fromkeys(unknown, now))
    return found
