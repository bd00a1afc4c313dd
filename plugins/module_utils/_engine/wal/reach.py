# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How far the WAL of one line of history reaches without a break, from a backup's start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .archive import Archive
from .branch import Branch
from .entry import Entry, Mark
from .facts import Commit
from .forks import Break, Forks
from .segment import Segment, segment_of


class Step(NamedTuple):
    """A sound segment on the way."""

    segment: Segment
    entry: Entry


@dataclass(frozen=True)
class Reach:
    """Sound, joined segments from ``start_lsn`` on; ``broken`` is None when only the archive's end stops them."""

    branch: Branch
    start_lsn: int
    steps: tuple[Step, ...]
    broken: Break | None

    @property
    def end(self) -> int:
        """Where the last sound segment ends, or ``start_lsn`` when there is none."""
        if not self.steps:
            return self.start_lsn
        return self.end_of(self.steps[-1])

    def end_of(self, step: Step) -> int:
        """Where a segment ends: an unfinished one (B15) before its file does."""
        return step.entry.end_lsn or (step.segment.number + 1) * self.branch.segment_bytes

    def position(self, number: int) -> int:
        """The place of a segment number among the steps."""
        return number - self.steps[0].segment.number

    def commit(self, mark: Mark) -> Commit | None:
        """The commit of a mark, None when it lies before the start."""
        if mark.lsn < self.start_lsn:
            return None
        return Commit(self.branch.timeline_at(mark.lsn), mark.lsn, mark.moment, mark.xid)

    def last_record(self) -> tuple[int, Step] | None:
        """The last record that the archive holds whole: where it begins, and the segment in which it ends."""
        for step in reversed(self.steps):
            if step.entry.last_lsn is not None:
                return step.entry.last_lsn, step
        return None

    def newest_commit(self) -> Commit | None:
        """The last commit on the way, at or after the start."""
        for step in reversed(self.steps):
            mark = step.entry.last_commit
            if mark is not None:
                return self.commit(mark)
        return None

    def restore_points(self) -> Iterator[tuple[str, int, int]]:
        """Name, start and end of each restore point on the way."""
        for step in self.steps:
            for name, lsn, end_lsn in step.entry.restore_points:
                if lsn >= self.start_lsn:
                    yield name, lsn, end_lsn


def reach(archive: Archive, branch: Branch, start_lsn: int) -> Reach:
    """Walk the branch from the segment that holds ``start_lsn``, as far as everything is there and sound (B01, B02)."""
    first = segment_of(start_lsn, archive.segment_bytes)
    last = branch.last_present(archive.numbers)
    steps: list[Step] = []
    if last is None or last < first:
        name = archive.name(branch.segment(first))
        return Reach(branch, start_lsn, (), Break("segment-missing", name, name, "it is not in the archive"))
    forks = Forks(branch, start_lsn)
    misplaced = forks.misplaced(archive.numbers)
    if misplaced:
        return Reach(branch, start_lsn, (), misplaced)
    for number in range(first, last + 1):
        segment = branch.segment(number)
        entry = archive.entry(segment)
        broken = _break(archive, branch, segment, entry, steps[-1].entry if steps else None, last)
        if entry and not broken:
            broken = forks.check(archive.name(segment), segment, entry)
        if broken or entry is None:
            return Reach(branch, start_lsn, tuple(steps), broken)
        steps.append(Step(segment, entry))
    return Reach(branch, start_lsn, tuple(steps), _childless(archive, branch))


def _childless(archive: Archive, branch: Branch) -> Break | None:
    """A line that ends where its last timeline should begin (B12)."""
    timeline, begin = branch.timeline, branch.spans[-1].begin
    if not begin or archive.numbers.get(timeline):
        return None
    name = archive.name(branch.segment(segment_of(begin, archive.segment_bytes)))
    return Break("segment-missing", name, name, f"no WAL of timeline {timeline} is archived yet")


def lost_end(archive: Archive, reached: Reach) -> Break | None:
    """The segments behind the end of a line's own archive of which a child's history tells that they were written.

    A child left its parent where that had come to. The segment of the fork itself may be there under the child's name
    only; every one before it was finished.
    """
    branch, size = reached.branch, archive.segment_bytes
    left = [(lsn, child) for child, lsn in archive.timelines.children(branch.timeline)]
    if not left or not reached.steps:
        return None
    lsn, child = max(left)
    first, final = reached.steps[-1].segment.number + 1, segment_of(lsn, size) - 1
    if final < first:
        return None
    names = [archive.name(branch.segment(number)) for number in (first, final)]
    text = f"it is not in the archive, and {archive.timelines.describe(child)} began behind it"
    return Break("segment-missing", names[0], names[1], text)


def _break(
    archive: Archive, branch: Branch, segment: Segment, entry: Entry | None, before: Entry | None, last: int
) -> Break | None:
    name = archive.name(segment)
    if entry is None:
        end = segment
        while end.number < last and archive.entry(branch.segment(end.number + 1)) is None:
            end = branch.segment(end.number + 1)
        return Break("segment-missing", name, archive.name(end), "it is not in the archive")
    if entry.fault is not None:
        end, code = segment, entry.fault[0]
        while end.number < last:
            after = archive.entry(branch.segment(end.number + 1))
            if after is None or after.fault is None or after.fault[0] != code:
                break
            end = branch.segment(end.number + 1)
        return Break(code, name, archive.name(end), entry.fault[1])
    if before is not None and entry.joined != before.digest:
        return Break("segment-corrupt", name, name, f"its records do not continue those of {before.name}")
    return None
