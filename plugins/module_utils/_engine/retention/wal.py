# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which archived WAL is needed, and by what: a rule that is cheap for a hundred thousand segments. Pure.

A segment is kept when its timeline is not older and its number not smaller than those of anything that needs WAL
from there on. Timelines only count upwards along a line of history, so this keeps too much rather than too little.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import Refused
from ..wal.segment import (
    Segment,
    is_backup_name,
    is_partial_name,
    is_segment_name,
    next_segment,
    parse_segment,
)
from ..wal.source import StoredWal


@dataclass(frozen=True)
class Need:
    """WAL of timelines from ``timeline`` on, from segment ``first`` up to ``last`` (None: to the end); ``why``."""

    timeline: int
    first: int
    last: int | None
    why: str


@dataclass
class Run:
    """Neighbouring segments with one fate; ``why`` None: they go."""

    first: Segment
    last: Segment
    first_name: str
    last_name: str
    segments: int
    stored_bytes: int
    why: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "timeline": self.first.timeline,
            "first": self.first_name,
            "last": self.last_name,
            "segments": self.segments,
            "stored_bytes": self.stored_bytes,
            "action": "expire" if self.why is None else "keep",
            "why": self.why or "outside",
        }


class Needs:
    """All needs of one archive; asked for each segment."""

    def __init__(self, needs: Iterable[Need]) -> None:
        self._needs = tuple(dict.fromkeys(needs))
        self._by_timeline: dict[int, tuple[list[int], list[str | None]]] = {}

    def why(self, segment: Segment) -> str | None:
        """What needs it, None when nothing does."""
        if segment.timeline not in self._by_timeline:
            self._by_timeline[segment.timeline] = self._table(segment.timeline)
        starts, reasons = self._by_timeline[segment.timeline]
        place = bisect_right(starts, segment.number) - 1
        return reasons[place] if place >= 0 else None

    def _table(self, timeline: int) -> tuple[list[int], list[str | None]]:
        """From which number on which need counts; of several the one that was named first."""
        mine = [need for need in self._needs if need.timeline <= timeline]
        starts = {need.first for need in mine} | {need.last + 1 for need in mine if need.last is not None}
        table: list[tuple[int, str | None]] = []
        for start in sorted(starts):
            reason = next(
                (
                    need.why
                    for need in mine
                    if need.first <= start and (need.last is None or start <= need.last)
                ),
                None,
            )
            table.append((start, reason))
        return [start for start, _reason in table], [reason for _start, reason in table]


def sort_out(
    files: Sequence[StoredWal], needs: Needs, size: int, *, hold: str | None
) -> tuple[list[StoredWal], list[Run]]:
    """What may go, oldest first, and the whole archive as runs. ``hold``: why all of it stays.

    History files stay for ever; so does what has no name of this archive's. ``.backup`` and ``.partial`` files
    share the fate of their segment.
    """
    doomed: list[tuple[Segment, StoredWal]] = []
    kinds: dict[Segment, list[StoredWal]] = {}
    for stored in files:
        name = stored.name
        if not (is_segment_name(name) or is_partial_name(name) or is_backup_name(name)):
            continue
        try:
            segment = parse_segment(name[:24], size)
        except Refused:
            # Of another segment size: not ours to judge.
            continue
        kinds.setdefault(segment, []).append(stored)
    runs: list[Run] = []
    for segment in sorted(kinds, key=lambda one: (one.timeline, one.number)):
        why = hold or needs.why(segment)
        stored_bytes = sum(one.stored_bytes for one in kinds[segment])
        if why is None:
            doomed += [(segment, one) for one in kinds[segment]]
        name = kinds[segment][0].name[:24]
        if runs and runs[-1].why == why and next_segment(runs[-1].last) == segment:
            runs[-1].last, runs[-1].last_name = segment, name
            runs[-1].segments += 1
            runs[-1].stored_bytes += stored_bytes
        else:
            runs.append(Run(segment, segment, name, name, 1, stored_bytes, why))
    return [stored for _segment, stored in doomed], runs


def from_lsn(timeline: int, start_lsn: int, size: int, why: str) -> Need:
    """Everything from a position on."""
    return Need(timeline, start_lsn // size, None, why)


def between(timeline: int, start_lsn: int, stop_lsn: int, size: int, why: str) -> Need:
    """What a backup needs to become consistent, and no more."""
    return Need(timeline, start_lsn // size, (stop_lsn - 1) // size, why)


def from_segment(name: str, size: int, why: str) -> Need:
    """Everything from a segment on. Raises :class:`Refused` (``segment-name-malformed``)."""
    segment = parse_segment(name, size)
    return Need(segment.timeline, segment.number, None, why)
