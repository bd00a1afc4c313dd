# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which notes of given-up timelines an archive bears out, and how long ago each was given up at least. Pure.

Believed is a note only while nothing tells of a life after it. Whatever cannot be told counts against the note: then
the timeline is alive, as it was without one, and more is kept. What a believed note does is no more than that its
timeline does not count as the present, and that all of it is as old as the first sign of the life that went on without
it: window and count hold for it as for everything else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf

from ..core.errors import KeeperError
from ..repository.given_up import GivenUp, Notes
from ..wal.archive import Archive
from ..wal.facts import BackupFacts
from .ages import Chronicle, Place, Sign

Believed = Mapping[int, tuple[GivenUp, ...]]


def believed(
    notes: Notes,
    system: int,
    archive: Archive,
    backups: Iterable[BackupFacts],
    live: tuple[int, int] | None,
) -> Believed:
    """The timelines of a system that are given up for good, with their notes.

    None is whose history is not archived; which has WAL or a backup beyond the end that was noted; which the live
    cluster is on, or came from; or from which another timeline descends that is not given up itself.
    """
    ends: dict[int, int] = {}
    for timeline, numbers in archive.numbers.items():
        ends[timeline] = max(numbers) * archive.segment_bytes
    for backup in backups:
        ends[backup.timeline] = max(ends.get(backup.timeline, 0), backup.stop_lsn - 1)
    found = {
        timeline: told
        for (of, timeline), told in notes.items()
        if of == system
        and told
        and timeline in archive.timelines.histories
        and all(_borne_out(one, archive, ends.get(timeline, 0), live) for one in told)
    }
    while True:
        alive = {
            fork.timeline
            for timeline, history in archive.timelines.histories.items()
            if timeline not in found
            for fork in history.forks
        }
        left = {timeline: told for timeline, told in found.items() if timeline not in alive}
        if len(left) == len(found):
            return found
        found = left


def _borne_out(one: GivenUp, archive: Archive, end: int, live: tuple[int, int] | None) -> bool:
    """Whether nothing of the archive contradicts a note; ``end``: where the last segment began, or a backup ended."""
    if end >= one.end_lsn // archive.segment_bytes * archive.segment_bytes:
        return False
    try:
        later = {span.timeline for span in archive.timelines.lineage(one.resumed_timeline)}
        if live is not None and live[0] == one.system_id:
            later |= {span.timeline for span in archive.timelines.lineage(live[1])}
    except KeeperError:
        return False
    return one.timeline not in later


def long_gone(
    given_up: Mapping[int, Believed],
    signs: Sequence[Sign],
    window_seconds: float,
    remembered: Sequence[Sign],
    oldest: Iterable[Place | None],
) -> frozenset[tuple[int, int]]:
    """(system, timeline) of those that were given up before all that is promised.

    ``oldest``: where the promised count of backups begins (None: there are fewer). What is older is told by the life of
    all others, in which the first sign after the note stands for the moment at which it was given up.
    """
    gone = {(system, timeline) for system, those in given_up.items() for timeline in those}
    if not gone:
        return frozenset()
    others = without(signs, gone)
    life = Chronicle(others, window_seconds, without(remembered, gone))
    spans = [life.span(place).seconds if place is not None else inf for place in oldest]
    promised = max([window_seconds, *spans]) if spans else inf
    return frozenset(
        (system, timeline)
        for system, those in given_up.items()
        for timeline, told in those.items()
        if all(_since(one, others, life) > promised for one in told)
    )


def without(signs: Iterable[Sign], gone: Collection[tuple[int, int]]) -> list[Sign]:
    """The signs of all other timelines than these, (system, timeline)."""
    return [sign for sign in signs if sign[0][:2] not in gone]


def _since(one: GivenUp, signs: Iterable[Sign], life: Chronicle) -> float:
    """Seconds lived since the first sign that is later than the note, on the very timeline that went on."""
    after = Place(one.system_id, one.resumed_timeline, one.resumed_lsn)
    first = min((place for place, _moment in signs if after < place and place[:2] == after[:2]), default=None)
    return life.age(first).seconds if first is not None else 0.0
