# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Reads segments for the index: neighbours, a few at a time, in bounded space.

A record that goes over a segment's end belongs to the segment in which it ends. So reading a segment begins
with the last record of its predecessor; that also checks the link between the two.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ..core.errors import KeeperError
from .entry import Entry, Tally
from .page import HEADER_BYTES, SegmentFault, check_segment_header
from .records import Layout, first_record, read_layout, record_end, zeros_from
from .segment import Segment, first_lsn, last_segment_of, parse_segment, segment_name, segment_of
from .source import StoredWal
from .waldump import RawEnd, RestorePoint, TimelineSwitch, WalDump, lsn_of

#: So much is plain at a time: little enough to stay near the processor until pg_waldump has read it.
GROUP_BYTES = 64 << 20


@dataclass
class Piece:
    """A segment being read: what is stored, and what has been found so far."""

    segment: Segment
    stored: StoredWal
    digest: str | None = None
    fault: SegmentFault | None = None
    layout: Layout | None = None
    page_timeline: int | None = None
    tail: int | None = None
    tally: Tally | None = None
    joined: str | None = None
    carried_from: int | None = None
    carried_open: bool = False


class Splitter:
    """Gives each transaction end to the segment in which its record ends."""

    def __init__(self, pieces: Sequence[Piece], segment_bytes: int) -> None:
        self._size = segment_bytes
        self._tallies = {piece.segment.number: Tally() for piece in pieces}
        for piece in pieces:
            piece.tally = self._tallies[piece.segment.number]

    def ends(self, found: list[RawEnd]) -> None:
        """See :class:`.waldump.Sink`."""
        if self._number(found[0]) == self._number(found[-1]):
            self._add(self._number(found[0]), found)
            return
        for number, group in groupby(found, self._number):
            self._add(number, list(group))

    def restore_point(self, point: RestorePoint) -> None:
        """See :class:`.waldump.Sink`."""
        tally = self._tallies.get(last_segment_of(point.end_lsn, self._size))
        if tally:
            tally.points.append(point)

    def switch(self, switch: TimelineSwitch) -> None:
        """See :class:`.waldump.Sink`."""
        tally = self._tallies.get(last_segment_of(switch.end_lsn, self._size))
        if tally:
            tally.switches.append(switch)

    def _add(self, number: int, found: list[RawEnd]) -> None:
        tally = self._tallies.get(number)
        if tally:
            tally.add(found)

    def _number(self, raw: RawEnd) -> int:
        end = record_end(lsn_of(raw[2], raw[3]), int(raw[0]), self._size)
        return last_segment_of(end, self._size)


@dataclass(frozen=True)
class Reader:
    """Reads segments of one system. ``obtain(stored, path)`` puts the bytes at path; returns their identity.

    ``release(path)`` is told of a file that is not needed any more, which may be made another one.
    """

    dump: WalDump
    system_id: int
    obtain: Callable[[StoredWal, str], str]
    release: Callable[[str], None] = os.unlink

    @property
    def size(self) -> int:
        """Bytes of a segment."""
        return self.dump.segment_bytes

    def read_batch(
        self,
        batch: Sequence[tuple[Segment, StoredWal]],
        before: Iterable[tuple[Segment, StoredWal]],
        space: str,
    ) -> list[Entry]:
        """The entries of neighbours on one timeline.

        ``before`` are the segments that lead to them, nearest first; as many are read as it takes to find
        the record that is carried in.
        """
        timeline = batch[0][0].timeline
        earlier = self._earlier(before, timeline, space)
        found: list[Entry] = []
        count = max(1, GROUP_BYTES // self.size)
        for position in range(0, len(batch), count):
            group = batch[position : position + count]
            pieces = [self._fetch(segment, stored, timeline, space) for segment, stored in group]
            earlier = self._read(pieces, earlier, timeline, space)
            found += [self._entry(piece) for piece in pieces]
            # What comes next is read from the last record of what was.
            tail = None if earlier is None else earlier.tail
            self._release(space, group[-1][0].number + 1 if tail is None else segment_of(tail, self.size))
        return found

    def _release(self, space: str, below: int) -> None:
        for name in os.listdir(space):
            if parse_segment(name, self.size).number < below:
                self.release(os.path.join(space, name))

    def _read(
        self, pieces: Sequence[Piece], earlier: Piece | None, timeline: int, space: str
    ) -> Piece | None:
        """Fill in neighbours that follow ``earlier``; the last of them, if the next can be joined to it."""
        run: list[Piece] = []
        for piece in pieces:
            if piece.fault:
                self._read_run(run, earlier, timeline, space)
                run, earlier = [], None
            else:
                run.append(piece)
        self._read_run(run, earlier, timeline, space)
        return run[-1] if run else earlier

    def read_unfinished(
        self,
        segment: Segment,
        stored: StoredWal,
        before: Iterable[tuple[Segment, StoredWal]],
        space: str,
    ) -> Entry:
        """The entry of an unfinished segment up to its last sound record (B15).

        Raises :class:`SegmentFault` when there is none, and whatever ``obtain`` raises.
        """
        earlier = self._earlier(before, segment.timeline, space)
        begin, end = first_lsn(segment.number, self.size), first_lsn(segment.number + 1, self.size)
        path = os.path.join(space, segment_name(segment, self.size))
        piece = Piece(segment, stored, self.obtain(stored, path))
        self._check(piece, path)
        first = first_record(path, self.size)
        start = first if earlier is None else earlier.tail
        found = None
        if start is not None:
            place = Segment(segment.timeline, segment_of(start, self.size))
            found = self.dump.last_record(space, place, start, end)
        if start is None or found is None or found[1] <= begin:
            raise SegmentFault("segment-corrupt", "it holds no whole record that continues what is there")
        splitter = Splitter([piece], self.size)
        words = self.dump.scan(space, place, start, found[1], splitter)
        if words:
            raise SegmentFault("segment-corrupt", f"pg_waldump says: {words}")
        return Entry(
            stored.name,
            stored.signature,
            stored.stored_bytes,
            piece.digest,
            joined=earlier.digest if earlier else None,
            first_lsn=first,
            last_lsn=found[0],
            tail_lsn=found[0],
            end_lsn=found[1],
            is_ragged=not zeros_from(path, found[1] - begin),
            page_timeline=piece.page_timeline,
            **(piece.tally or Tally()).facts(),
        )

    def _earlier(
        self, before: Iterable[tuple[Segment, StoredWal]], timeline: int, space: str
    ) -> Piece | None:
        """The predecessor, with the start of its last record known; None when that cannot be had."""
        nearest: Piece | None = None
        for segment, stored in before:
            piece = self._fetch(segment, stored, timeline, space)
            if piece.fault or piece.layout is None:
                return None
            nearest = nearest or piece
            if piece.layout.tail is not None:
                nearest.tail = piece.layout.tail
                return nearest
        return None

    def _fetch(self, segment: Segment, stored: StoredWal, timeline: int, space: str) -> Piece:
        # pg_waldump follows one timeline: an ancestor's segment lies there under the descendant's name.
        path = os.path.join(space, segment_name(Segment(timeline, segment.number), self.size))
        piece = Piece(segment, stored)
        try:
            piece.digest = self.obtain(stored, path)
            self._check(piece, path)
            piece.layout = read_layout(path, self.size)
            piece.tail = piece.layout.tail
        except SegmentFault as fault:
            piece.fault = fault
        except KeeperError as error:
            code = error.code if error.code.startswith("segment-") else "segment-unreadable"
            piece.fault = SegmentFault(code, error.happened)
        except OSError as error:
            piece.fault = SegmentFault("segment-unreadable", f"it cannot be read: {error.strerror}")
        return piece

    def _check(self, piece: Piece, path: str) -> None:
        with open(path, "rb", buffering=0) as handle:
            count = os.fstat(handle.fileno()).st_size
            if count != self.size:
                raise SegmentFault("segment-wrong-size", f"it has {count} bytes instead of {self.size}")
            header = check_segment_header(
                handle.read(HEADER_BYTES),
                segment=piece.segment,
                size=self.size,
                system_id=self.system_id,
                major=self.dump.major,
            )
            piece.page_timeline = header.timeline

    def _read_run(self, run: list[Piece], earlier: Piece | None, timeline: int, space: str) -> None:
        if not run:
            return
        self._chain(run, earlier)
        begin = self._begin(run)
        if begin is None:
            for piece in run:
                piece.tally = Tally()
            return
        if self._scan(run, begin, timeline, space) is None:
            return
        # Something is wrong in there: find out where, one by one.
        for position, piece in enumerate(run):
            self._read_one(piece, run[position - 1] if position else earlier, timeline, space)

    def _chain(self, run: list[Piece], earlier: Piece | None) -> None:
        last = earlier
        for piece in run:
            if last is not None and last.tail is not None:
                piece.joined = last.digest
                piece.carried_from = last.tail
                piece.carried_open = last.layout is not None and last.layout.is_open
                if piece.tail is None:
                    piece.tail = last.tail
            last = piece

    def _begin(self, run: list[Piece]) -> int | None:
        if run[0].carried_from is not None:
            return run[0].carried_from
        return next(
            (piece.layout.first for piece in run if piece.layout and piece.layout.first is not None), None
        )

    def _scan(self, run: list[Piece], begin: int, timeline: int, space: str) -> str | None:
        splitter = Splitter(run, self.size)
        if not _holds_record(run, begin, self.size):
            return None
        start = Segment(timeline, segment_of(begin, self.size))
        return self.dump.scan(space, start, begin, first_lsn(run[-1].segment.number + 1, self.size), splitter)

    def _read_one(self, piece: Piece, last: Piece | None, timeline: int, space: str) -> None:
        joined_words = None
        if piece.carried_from is not None:
            joined_words = self._scan([piece], piece.carried_from, timeline, space)
            if joined_words is None:
                return
        first = piece.layout.first if piece.layout else None
        own_words = None
        if first is None:
            piece.tally = Tally()
        else:
            own_words = self._scan([piece], first, timeline, space)
        if own_words:
            piece.fault = SegmentFault("segment-corrupt", f"pg_waldump says: {own_words}")
        elif joined_words:
            before = last.stored.name if last else "its predecessor"
            piece.fault = SegmentFault(
                "segment-corrupt",
                f"the record that comes over from {before} is damaged in one of the two: {joined_words}",
            )

    def _entry(self, piece: Piece) -> Entry:
        entry = Entry(piece.stored.name, piece.stored.signature, piece.stored.stored_bytes, piece.digest)
        if piece.layout is not None:
            layout = piece.layout
            last = layout.last_complete
            if last is None and layout.carried_end is not None:
                last = piece.carried_from
            entry = replace(
                entry,
                joined=piece.joined,
                first_lsn=layout.first,
                last_lsn=last,
                tail_lsn=piece.tail,
                is_open=layout.is_open,
                page_timeline=piece.page_timeline,
            )
        if piece.tally is not None:
            entry = replace(entry, **piece.tally.facts())
        if piece.fault is not None:
            entry = replace(entry, fault=(piece.fault.code, piece.fault.text))
        return entry


def _holds_record(run: Sequence[Piece], begin: int, size: int) -> bool:
    """Whether any record from ``begin`` on ends in the run; pg_waldump would call it an error if not.

    A single record can cover whole segments. What is read of it is checked with the segment in which it ends.
    """
    if run[0].carried_from == begin and not run[0].carried_open:
        return True
    for piece in run:
        if piece.layout is None:
            continue
        if piece.layout.last_complete is not None:
            return True
        if piece.layout.carried_end is not None and begin < first_lsn(piece.segment.number, size):
            return True
    return False
