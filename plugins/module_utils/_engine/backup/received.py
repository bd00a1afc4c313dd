# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The files that pg_receivewal leaves, and which of them lie on the way that the server went.

Pure. After a promotion, a restore or the undoing of one a server is on another branch than what was streamed; what
is not on its way is put aside, so that pg_receivewal goes on where both agree and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..cluster.replication import Identity
from ..wal.segment import first_lsn, is_history_name, is_partial_name, is_segment_name, parse_segment

PARTIAL = ".partial"


@dataclass(frozen=True)
class Spool:
    """What lies in the directory that is streamed into, by kind and in order."""

    finished: tuple[str, ...]
    partial: tuple[str, ...]
    histories: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> Spool:
        """From a listing; what is none of them is nobody's business."""
        known = sorted(names)
        return cls(
            tuple(name for name in known if is_segment_name(name)),
            tuple(name for name in known if is_partial_name(name)),
            tuple(name for name in known if is_history_name(name)),
        )

    @property
    def last(self) -> str | None:
        """Where pg_receivewal would go on: the newest position, of equal ones that of the newest timeline."""
        return max(
            (*self.finished, *self.partial), key=lambda name: (name[8:24], name[:8], len(name)), default=None
        )

    def removable(self, pushed: Iterable[str]) -> tuple[str, ...]:
        """What is archived and no longer needed to know where to go on."""
        done = set(pushed)
        return tuple(name for name in (*self.finished, *self.histories) if name in done and name != self.last)


def off_the_way(spool: Spool, server: Identity, segment_size: int) -> tuple[str, ...]:
    """Files from which the server cannot be followed: of a branch that it never was on, or past where it left one.

    A finished segment is left at its end, an unfinished one is streamed again from its beginning.
    """
    left = {server.timeline: None if server.history is None else 1 << 63}
    if server.history is not None:
        left |= {fork.timeline: fork.lsn for fork in server.history.forks}
    found = []
    for name in (*spool.finished, *spool.partial):
        segment = parse_segment(name[:24], segment_size)
        goes_on_at = first_lsn(segment.number + (0 if name.endswith(PARTIAL) else 1), segment_size)
        limit = left.get(segment.timeline, -1)
        if limit is not None and goes_on_at > limit:
            found.append(name)
    return tuple(found)


def ahead_of(spool: Spool, server: Identity, segment_size: int) -> bool:
    """Whether the server is behind what was streamed from its own timeline: it went back in time, unseen by itself."""
    name = spool.last
    if name is None or int(name[:8], 16) != server.timeline:
        return False
    number = parse_segment(name[:24], segment_size).number
    return first_lsn(number + (0 if name.endswith(PARTIAL) else 1), segment_size) > server.flushed_lsn
