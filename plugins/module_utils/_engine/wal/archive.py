# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What an archive holds, as the index and the histories tell it at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ..core.errors import KeeperError, Refused
from .branch import Branch
from .entry import Entry
from .history import History, Timelines, parse_history
from .segment import Segment, is_history_name, is_partial_name, parse_segment, segment_name
from .source import StoredWal, WalSource


@dataclass(frozen=True)
class Archive:
    """Entries by segment name, and everything else that a proof asks of an archive."""

    entries: Mapping[str, Entry]
    timelines: Timelines
    segment_bytes: int
    partials: tuple[str, ...] = ()
    report: Mapping[str, object] = field(default_factory=dict)

    @property
    def indexed(self) -> int:
        """How many segments were read to get here."""
        return int(str(self.report.get("indexed", 0)))

    def to_dict(self) -> dict[str, object]:
        """What was done to get here, and what is wrong, in JSON values."""
        faults = [
            {"name": name, "code": entry.fault[0], "text": entry.fault[1]}
            for name, entry in sorted(self.entries.items())
            if entry.fault
        ]
        return {**self.report, "faulty": faults, "partial": list(self.partials)}

    @cached_property
    def numbers(self) -> dict[int, list[int]]:
        """The numbers of the segments of each timeline, ascending."""
        found: dict[int, list[int]] = {}
        for segment in sorted(parse_segment(name, self.segment_bytes) for name in self.entries):
            found.setdefault(segment.timeline, []).append(segment.number)
        return found

    def branch(self, timeline: int) -> Branch:
        """The line to a timeline. Raises :class:`Refused` (``history-missing``, ``history-damaged``)."""
        return Branch(self.timelines.lineage(timeline), self.segment_bytes)

    def name(self, segment: Segment) -> str:
        """The file name of a segment."""
        return segment_name(segment, self.segment_bytes)

    def entry(self, segment: Segment) -> Entry | None:
        """What is known of a segment, None when the archive does not have it."""
        return self.entries.get(self.name(segment))


def read_timelines(source: WalSource, files: Mapping[str, StoredWal], seen: frozenset[int]) -> Timelines:
    """All histories of an archive; damaged ones are kept as refusals until somebody needs them."""
    wanted = {int(name[:8], 16) for name in files if is_history_name(name)} | (seen - {1})
    histories: dict[int, History] = {}
    damaged: dict[int, Refused] = {}
    for timeline in sorted(wanted - {0, 1}):
        try:
            text = source.read_history(timeline)
            if text is not None:
                histories[timeline] = parse_history(timeline, text)
        except Refused as refusal:
            damaged[timeline] = refusal
        except KeeperError as error:
            damaged[timeline] = Refused(
                "history-damaged",
                attempted=error.attempted,
                happened=error.happened,
                remedy=error.remedy,
                details=error.details,
            )
    return Timelines(histories, seen, damaged)


def partial_names(files: Mapping[str, StoredWal]) -> tuple[str, ...]:
    """Unfinished segments that old timelines left behind (fault B15)."""
    return tuple(sorted(name for name in files if is_partial_name(name)))


class Branches:
    """The lines to all timelines, each worked out once."""

    def __init__(self, timelines: Timelines, size: int) -> None:
        self._timelines = timelines
        self._size = size
        self._branches: dict[int, Branch | None] = {}

    def before(self, segment: Segment) -> Segment:
        """The predecessor, on the parent's timeline at a fork; without a history, of the same timeline."""
        timeline = segment.timeline
        if timeline not in self._branches:
            try:
                self._branches[timeline] = Branch(self._timelines.lineage(timeline), self._size)
            except Refused:
                self._branches[timeline] = None
        branch = self._branches[timeline]
        number = segment.number - 1
        return branch.segment(number) if branch else Segment(timeline, number)


def predecessors(
    segment: Segment, timelines: Timelines, files: Mapping[str, StoredWal], size: int
) -> Iterator[tuple[Segment, StoredWal]]:
    """The segments that lead to one, nearest first, as far as the archive has them."""
    branches = Branches(timelines, size)
    last = segment
    while last.number > 0:
        last = branches.before(last)
        stored = files.get(segment_name(last, size))
        if stored is None:
            return
        yield last, stored
