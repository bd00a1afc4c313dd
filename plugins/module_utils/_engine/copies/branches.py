# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The branches of history that a copy holds, from its sheets alone: which file of WAL belongs to which, and from which
of its backups a restore could really start. Pure.

Nothing is read of the WAL itself, which may be encrypted: names, times and the texts of histories must do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ..core.errors import KeeperError
from ..wal.history import parse_history
from ..wal.segment import last_segment_of, segment_of
from .choice import number_of
from .objects import WAL
from .sheets import Sheet

_DIGITS = 8
_NEVER = 1 << 62


@dataclass(frozen=True)
class Held:
    """A backup of a copy. ``sound``: not found damaged, and without damaged pages when it was taken."""

    group: str
    label: str
    full: bool
    parent: str | None
    pinned: bool
    system: str
    timeline: int
    start: int
    stop: int
    ended: datetime
    segment_bytes: int
    sound: bool = True

    @property
    def segments(self) -> range:
        """Numbers of the segments without which it is not consistent."""
        first = segment_of(self.start, self.segment_bytes)
        return range(first, last_segment_of(self.stop, self.segment_bytes) + 1)


@dataclass
class Branches:
    """One system's timelines. ``files``: (timeline, number) of a segment -> when it was archived."""

    histories: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    files: dict[tuple[int, int], float] = field(default_factory=dict)
    segment_bytes: int = 1 << 24

    @classmethod
    def of(
        cls, system: str, segment_bytes: int, sheets: Mapping[str, Sheet], loose: Iterable[str]
    ) -> Branches:
        """``loose``: WAL that is there and on no sheet; since when, nobody has noted."""
        sheet = sheets.get(f"wal/{system}/histories")
        found = cls(_histories(sheet.facts.get("histories", {}) if sheet else {}), {}, segment_bytes)
        mine = [one for one in sheets.values() if one.kind == WAL and one.group.startswith(f"wal/{system}/")]
        times = {key: kept.modified_at for one in mine for key, kept in one.objects.items()}
        times.update({key: 0.0 for key in loose if key not in times and key.startswith(f"wal/{system}/")})
        for key, at in times.items():
            parts = key.split("/")
            number = number_of(key, segment_bytes) if len(parts) == 4 else None
            if number is not None:
                place = (int(parts[2], 16), number)
                found.files[place] = max(at, found.files.get(place, at))
        return found

    @property
    def timelines(self) -> set[int]:
        """All that something is known of."""
        return {timeline for timeline, _number in self.files} | set(self.histories)

    def spans(self, timeline: int) -> list[tuple[int, int]]:
        """The ancestors of a timeline, the oldest first, and itself: each with the position at which it was left."""
        return [*self.histories.get(timeline, ()), (timeline, _NEVER)]

    def leads(self, backup: Held, timeline: int) -> bool:
        """Whether the way to a timeline goes through the backup's stop."""
        return any(one == backup.timeline and backup.stop <= end for one, end in self.spans(timeline))

    def file(self, timeline: int, number: int) -> tuple[int, int]:
        """What recovery to a timeline reads: the file of the youngest one that begins in that segment or before."""
        begin = 0
        found = timeline
        for one, end in self.spans(timeline):
            if begin // self.segment_bytes <= number:
                found = one
            begin = end
        return found, number

    def consistent(self, backup: Held) -> bool:
        """Whether the WAL that it cannot do without is there, on some way through it."""
        return any(
            self.leads(backup, timeline)
            and all(self.file(timeline, number) in self.files for number in backup.segments)
            for timeline in self.timelines | {backup.timeline}
        )

    def current(self, backups: Sequence[Held]) -> int:
        """The timeline of the newest thing; of several at once the youngest."""
        signs = [(at, timeline) for (timeline, _number), at in self.files.items()]
        signs += [(one.ended.timestamp(), one.timeline) for one in backups]
        return max(signs)[1]


def fit(backups: Iterable[Held], branches: Mapping[str, Branches]) -> list[Held]:
    """Those that a restore could start from: sound and whole with all that they are built on, and consistent."""
    by_label = {one.label: one for one in backups}

    def whole(one: Held) -> bool:
        seen = set()
        while one.sound and one.label not in seen:
            seen.add(one.label)
            if one.parent is None:
                return True
            if one.parent not in by_label:
                return False
            one = by_label[one.parent]
        return False

    return [one for one in by_label.values() if whole(one) and branches[one.system].consistent(one)]


def _histories(texts: Mapping[str, object]) -> dict[int, tuple[tuple[int, int], ...]]:
    found = {}
    for name, text in texts.items():
        try:
            timeline = int(name[:_DIGITS], 16)
            forks = parse_history(timeline, str(text)).forks
        except (KeeperError, ValueError):
            # As if there were none: what is on it is not counted upon, and stays.
            continue
        found[timeline] = tuple((fork.timeline, fork.lsn) for fork in forks)
    return found
