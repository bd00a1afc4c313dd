# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Timelines: which WAL belongs to which line of history.

A history file lists the ancestors of a timeline and where each was left (source: PostgreSQL manual,
"Timelines"; the content has decimal timelines, the file name hexadecimal ones).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..core.errors import Refused
from .lsn import format_lsn
from .segment import history_name

_LINE = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})(?:\s+(.*))?$")

_BRING_BACK = (
    "Bring the file back from pg_wal of the server that made the timeline, or from a copy of the archive."
)


@dataclass(frozen=True)
class Fork:
    """An ancestor and the position at which it was left."""

    timeline: int
    lsn: int
    reason: str


@dataclass(frozen=True)
class History:
    """A timeline and its ancestors, oldest first; timeline 1 has none."""

    timeline: int
    forks: tuple[Fork, ...]


@dataclass(frozen=True)
class Span:
    """The part of a timeline that belongs to a line of history: from ``begin`` up to, not with, ``end``."""

    timeline: int
    begin: int
    end: int | None


def parse_history(timeline: int, text: str) -> History:
    """A history file's content. Raises :class:`Refused` (``history-damaged``, fault B13).

    Positions need not grow: a recovery that stops before an ancestor's fork writes a smaller one after it,
    and PostgreSQL reads such files. Timelines must grow, and end below the file's own.
    """

    def damaged(why: str) -> Refused:
        return Refused(
            "history-damaged",
            attempted=f"read the history of timeline {timeline}",
            happened=f"{history_name(timeline)} {why}",
            remedy=_BRING_BACK,
            details={"name": history_name(timeline), "timeline": timeline},
        )

    forks: list[Fork] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if not match:
            raise damaged(f"has a line {number} that is no ancestor: {line[:60]!r}")
        fork = Fork(int(match[1]), int(match[2], 16) << 32 | int(match[3], 16), (match[4] or "").strip())
        if forks and fork.timeline <= forks[-1].timeline:
            raise damaged(f"lists timeline {fork.timeline} after {forks[-1].timeline}")
        forks.append(fork)
    if not forks:
        raise damaged("is empty")
    if not 0 < forks[0].timeline <= forks[-1].timeline < timeline:
        raise damaged(f"names timeline {forks[-1].timeline} as an ancestor of {timeline}")
    return History(timeline, tuple(forks))


class Timelines:
    """All timelines of an archive."""

    def __init__(
        self,
        histories: Mapping[int, History],
        seen: frozenset[int] = frozenset(),
        damaged: Mapping[int, Refused] | None = None,
    ) -> None:
        """``seen`` are the timelines that segment names tell of, with or without a history.

        ``damaged`` are the refusals of histories that cannot be read; they are raised when one is needed.
        """
        self.histories = dict(histories)
        self.damaged = dict(damaged or {})
        self.known = frozenset(self.histories) | {t for t in seen if t == 1}
        self.without_history = frozenset(t for t in seen if t != 1 and t not in self.histories)

    def lineage(self, timeline: int) -> tuple[Span, ...]:
        """The spans that lead to the open end of a timeline, oldest first; empty ones are left out.

        Raises :class:`Refused` (``history-missing``, fault B11, or ``history-damaged``, fault B13).
        """
        if timeline == 1:
            return (Span(1, 0, None),)
        if timeline in self.damaged:
            raise self.damaged[timeline]
        history = self.histories.get(timeline)
        if history is None:
            raise Refused(
                "history-missing",
                attempted=f"follow timeline {timeline} back to its beginning",
                happened=f"{history_name(timeline)}, which says where it left its parent, is not there",
                remedy=_BRING_BACK,
                details={"name": history_name(timeline), "timeline": timeline},
            )
        spans: list[Span] = []
        begin = 0
        for position, fork in enumerate(history.forks):
            # An ancestor counts only up to the smallest later fork, should the positions not grow.
            end = min(later.lsn for later in history.forks[position:])
            if begin < end:
                spans.append(Span(fork.timeline, begin, end))
                begin = end
        spans.append(Span(timeline, begin, None))
        return tuple(spans)

    def span(self, timeline: int, within: int) -> Span | None:
        """The part of ``timeline`` on the way to ``within``, or None when it is no ancestor of it."""
        return next((span for span in self.lineage(within) if span.timeline == timeline), None)

    def descends(self, timeline: int, ancestor: int, position: int) -> bool:
        """Whether the line to ``timeline`` goes through ``ancestor`` at ``position``.

        For a backup the position is where it STOPS (fault A13): a fork inside its window leaves it behind.
        """
        span = self.span(ancestor, timeline)
        return span is not None and (span.end is None or position <= span.end)

    def descendants(self, ancestor: int, position: int) -> tuple[int, ...]:
        """The timelines, with the ancestor itself, that a state of ``ancestor`` at ``position`` can reach."""
        return tuple(sorted(t for t in self.known | {ancestor} if self.descends(t, ancestor, position)))

    def children(self, timeline: int) -> tuple[tuple[int, int], ...]:
        """The timelines that fork off this one, with the position: (child, lsn), in order of the position."""
        found = []
        for child in self.histories:
            spans = self.lineage(child)
            if len(spans) > 1 and spans[-2].timeline == timeline:
                found.append((child, spans[-1].begin))
        return tuple(sorted(found, key=lambda item: (item[1], item[0])))

    def leaves(self, among: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the given timelines that no other of them goes through."""
        inner = {span.timeline for t in among for span in self.lineage(t) if span.timeline != t}
        return tuple(t for t in among if t not in inner)

    def describe(self, timeline: int) -> str:
        """'timeline 3 (from 2 at 0/5000060)', for messages."""
        spans = self.lineage(timeline)
        if len(spans) < 2:
            return f"timeline {timeline}"
        return f"timeline {timeline} (from {spans[-2].timeline} at {format_lsn(spans[-1].begin)})"
