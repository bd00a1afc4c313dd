# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The histories held against WAL: a timeline begins with a record that says so, and where its history says.

A name is all that tells a child's first segment from its parent's: with the parent's content under it every record
is sound, and recovery goes on along the parent's line, without a word (faults B05, B12). So is a history in which a
position was changed (B13).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .branch import Branch
from .entry import Entry
from .lsn import format_lsn
from .records import skip_header
from .segment import Segment, first_lsn, history_name, segment_name, segment_of

#: Before the record of a switch the server may write others, all small: full_page_writes changed, or a record that
#: was left unfinished is made good (PostgreSQL's xlog.c, StartupXLOG).
_BEFORE_BYTES = 128
_RECORD_BYTES = 256


@dataclass(frozen=True)
class Break:
    """The first and the last of the neighbours that are missing or at fault, and why the first is."""

    code: str
    first: str
    last: str
    text: str


class Forks:
    """The forks on a line of history, and those that its segments show; to be asked segment by segment."""

    def __init__(self, branch: Branch, start_lsn: int) -> None:
        self._branch = branch
        self._start = start_lsn
        spans = branch.spans
        self._wanted = {
            (child.timeline, parent.timeline): child.begin for parent, child in zip(spans, spans[1:])
        }
        self._missing = [(child.begin, child.timeline) for child in spans[1:] if child.begin > start_lsn]

    def misplaced(self, numbers: Mapping[int, Sequence[int]]) -> Break | None:
        """Segments of a timeline from before its history lets it begin; ``numbers`` are the archive's, by timeline."""
        size = self._branch.segment_bytes
        for span in self._branch.spans[1:]:
            own = numbers.get(span.timeline)
            if own and own[0] < segment_of(span.begin, size):
                name = history_name(self._branch.timeline)
                first = segment_name(Segment(span.timeline, own[0]), size)
                text = (
                    f"it says that timeline {span.timeline} began at {format_lsn(span.begin)}, and the archive holds "
                    f"{first}, which lies before"
                )
                return Break("history-damaged", name, name, text)
        return None

    def check(self, name: str, segment: Segment, entry: Entry) -> Break | None:
        """What is wrong with the next segment of the line, None when it goes on as the history says."""
        size = self._branch.segment_bytes
        begin = first_lsn(segment.number, size)
        owner = self._branch.timeline_at(begin)
        if entry.page_timeline not in (None, owner):
            text = (
                f"its first page is of timeline {entry.page_timeline}, by the history it should be of {owner}"
            )
            return Break("segment-wrong-content", name, name, text)
        for lsn, timeline, previous in entry.switches:
            if lsn < self._start:
                continue
            fork = self._wanted.get((timeline, previous))
            if fork is None or not fork <= lsn <= skip_header(fork, size) + _BEFORE_BYTES:
                return self._contradicts(lsn, timeline, previous, fork)
            self._missing = [item for item in self._missing if item[1] != timeline]
        end = entry.end_lsn or begin + size
        for fork, timeline in self._missing:
            if skip_header(fork, size) + _BEFORE_BYTES + _RECORD_BYTES < end:
                text = (
                    f"timeline {timeline} begins at {format_lsn(fork)} by its history, and here is no record that "
                    "begins it: it is another timeline's content, or the history is of another archive"
                )
                return Break("segment-wrong-content", name, name, text)
        return None

    def _contradicts(self, lsn: int, timeline: int, previous: int, fork: int | None) -> Break:
        name = history_name(self._branch.timeline)
        said = f"that it began at {format_lsn(fork)}" if fork is not None else "nothing of that"
        text = f"WAL has timeline {timeline} leave timeline {previous} at {format_lsn(lsn)}, the history says {said}"
        return Break("history-damaged", name, name, text)
