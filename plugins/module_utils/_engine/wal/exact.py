# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Exact answers about single records, by reading again the one or two segments that the index points to."""

from __future__ import annotations

import os
from typing import Protocol

from ..core.errors import Refused
from .content import kind_of
from .page import PAGE_BYTES
from .reach import Reach, Step
from .scratch import workspace
from .segment import Segment, first_lsn, last_segment_of, segment_name, segment_of
from .source import WalSource
from .waldump import RawEnd, RestorePoint, TimelineSwitch, TransactionEnd, WalDump, transaction_end


class Records(Protocol):
    """What a decision asks about single records of sound segments."""

    def ends(self, reach: Reach, number: int) -> list[TransactionEnd]:
        """The commits and aborts whose records end in a segment of ``reach``, in the order of WAL."""

    def record_from(self, reach: Reach, lsn: int) -> tuple[int, int] | None:
        """Start and end of the first record at or after ``lsn``, None when the reach ends before it does."""


class _Keep:
    """Keeps transaction ends as they are printed."""

    def __init__(self) -> None:
        self.found: list[RawEnd] = []

    def ends(self, found: list[RawEnd]) -> None:
        """See :class:`.waldump.Sink`."""
        self.found += found

    def restore_point(self, point: RestorePoint) -> None:
        """The index knows them already."""

    def switch(self, switch: TimelineSwitch) -> None:
        """The index knows them already."""


class Exact:
    """Reads segments that the index has found to be sound; remembers what it has read.

    The bytes are held against the digest in the index: raises :class:`Refused` (``archive-changed``) when
    they are no longer the same, and whatever the source raises when they cannot be read.
    """

    def __init__(self, dump: WalDump, source: WalSource, directory: str) -> None:
        self._dump = dump
        self._source = source
        self._directory = directory
        self._ends: dict[tuple[str, int], list[TransactionEnd]] = {}

    def ends(self, reach: Reach, number: int) -> list[TransactionEnd]:
        """See :class:`Records`."""
        position = reach.position(number)
        step = reach.steps[position]
        begin = reach.steps[position - 1].entry.tail_lsn if position else step.entry.first_lsn
        if begin is None or not step.entry.commits + step.entry.aborts:
            return []
        key = (step.entry.name, begin)
        if key not in self._ends:
            size = self._dump.segment_bytes
            keep = _Keep()
            first = max(reach.steps[0].segment.number, segment_of(begin, size))
            begin = max(begin, first_lsn(first, size))
            with workspace(self._directory) as space:
                steps = reach.steps[reach.position(first) : position + 1]
                self._bring(steps, space)
                start = Segment(step.segment.timeline, first)
                words = self._dump.scan(space, start, begin, reach.end_of(step), keep)
            if words:
                raise _changed(step.entry.name, f"pg_waldump now says: {words}")
            found = [transaction_end(raw, size) for raw in keep.found]
            self._ends[key] = [end for end in found if last_segment_of(end.end_lsn, size) == number]
        return self._ends[key]

    def record_from(self, reach: Reach, lsn: int) -> tuple[int, int] | None:
        """See :class:`Records`."""
        size = self._dump.segment_bytes
        if segment_of(lsn, size) < reach.steps[0].segment.number or lsn >= reach.end:
            return None
        after_gap = _after_gap(reach, lsn, size)
        if after_gap is None:
            return None
        lsn = after_gap
        # Reading begins at a page, and may have to go over a record that was begun in earlier ones.
        first = segment_of(lsn - lsn % PAGE_BYTES, size)
        count = 2
        while True:
            steps = reach.steps[reach.position(first) : reach.position(first) + count]
            timeline = steps[-1].segment.timeline
            with workspace(self._directory) as space:
                self._bring(steps, space)
                end = reach.end_of(steps[-1])
                found = self._dump.record_from(space, Segment(timeline, first), lsn, end)
            if found or steps[-1] is reach.steps[-1]:
                return found
            count *= 2

    def _bring(self, steps: tuple[Step, ...], space: str) -> None:
        timeline = steps[-1].segment.timeline
        for step in steps:
            path = os.path.join(
                space, segment_name(Segment(timeline, step.segment.number), self._dump.segment_bytes)
            )
            known = step.entry.digest
            if self._source.fetch(step.entry.stored_name, path, kind_of(known)) != known:
                raise _changed(step.entry.name, "its bytes are not those that were indexed")


def _after_gap(reach: Reach, lsn: int, size: int) -> int | None:
    """Behind the last record that begins in a segment (a switch) nothing follows: go on where the next one begins."""
    steps = reach.steps[reach.position(segment_of(lsn, size)) :]
    tail = steps[0].entry.tail_lsn
    if tail is None or lsn <= tail:
        return lsn
    return next((step.entry.first_lsn for step in steps[1:] if step.entry.first_lsn is not None), None)


def _changed(name: str, happened: str) -> Refused:
    return Refused(
        "archive-changed",
        attempted=f"read {name} again",
        happened=happened,
        remedy="Look who writes into the archive; 'dbkeeper index --rebuild' reads all of it anew.",
        details={"name": name},
    )
