# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a refusal says of the other timelines: when each began (A12), and which one holds the target (A15)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..core.clock import format_utc
from ..core.errors import Refused
from .archive import Archive
from .branch import Branch
from .exact import Records
from .facts import BackupFacts, Commit, Target
from .lsn import format_lsn
from .reach import reach
from .resolve import Resolver
from .segment import first_lsn, segment_of

#: Refusals of a target that may well lie on another timeline than the one that was asked for.
_MAY_LIE_ELSEWHERE = (
    "restore-point-unknown",
    "xid-not-in-archive",
    "xid-aborted",
    "lsn-out-of-range",
    "target-after-last-commit",
)


def describe(timeline: int, archive: Archive, exact: Records) -> tuple[str, dict[str, Any]]:
    """A timeline with its parent, the LSN of the fork and the last commit before it (A12), for people and as JSON.

    A history file knows no time: that commit is as near as the WAL can tell.
    """
    spans = archive.timelines.lineage(timeline)
    if len(spans) < 2:
        return f"timeline {timeline}", {"timeline": timeline}
    parent, fork = spans[-2].timeline, spans[-1].begin
    commit = _last_before(fork, archive.branch(timeline), archive, exact)
    when = f", after the commit of {format_utc(commit.time)}" if commit else ""
    return (
        f"timeline {timeline} (from {parent} at {format_lsn(fork)}{when})",
        {
            "timeline": timeline,
            "parent": parent,
            "fork_lsn": format_lsn(fork),
            "last_commit_before": commit.to_dict() if commit else None,
        },
    )


def _last_before(fork: int, branch: Branch, archive: Archive, exact: Records) -> Commit | None:
    """The last commit before a fork, as far back as the archive holds the line without a gap."""
    size = archive.segment_bytes
    number = segment_of(fork - 1, size)
    while number >= 0:
        part = reach(archive, branch, first_lsn(number, size))
        entry = part.steps[0].entry if part.steps else None
        if entry is None:
            return None
        if entry.first_commit is not None and entry.first_commit.lsn < fork:
            try:
                ends = exact.ends(part, number)
            except Refused:
                return None
            before = [end for end in ends if end.committed and end.lsn < fork]
            if before:
                end = before[-1]
                return Commit(branch.timeline_at(end.lsn), end.lsn, end.time, end.xid)
        number -= 1
    return None


def told(
    refusal: Refused, backups: Sequence[BackupFacts], target: Target, archive: Archive, exact: Records
) -> Refused:
    """The refusal with the timelines that do hold the target, where there are any (A15)."""
    if target.timeline is None or refusal.code not in _MAY_LIE_ELSEWHERE:
        return refusal
    holders = list(_holders(backups, target, archive, exact))
    if not holders:
        return refusal
    places = "; ".join(
        f"timeline {one['timeline']} holds it (LSN {one['lsn']}, from backup {one['backup']})"
        for one in holders
    )
    numbers = " or ".join(str(one["timeline"]) for one in holders)
    return Refused(
        refusal.code,
        attempted=refusal.attempted,
        happened=f"{refusal.happened}; {places}",
        remedy=f"Ask for timeline {numbers} if that state is meant. {refusal.remedy}",
        details={**refusal.details, "held_by": holders},
    )


def _holders(
    backups: Sequence[BackupFacts], target: Target, archive: Archive, exact: Records
) -> Iterator[dict[str, Any]]:
    timelines = archive.timelines
    asked = archive.branch(int(target.timeline or 1))
    seen = set()
    for timeline in sorted(t for t in timelines.known if archive.numbers.get(t)):
        leading = [b for b in backups if timelines.descends(timeline, b.timeline, b.stop_lsn)]
        try:
            there = replace(target, timeline=timeline)
            found = Resolver(archive, archive.branch(timeline), exact, leading).resolve(there)
        except Refused:
            continue
        own = found.reached.branch.timeline_at(found.lsn)
        if asked.timeline_at(found.lsn) != own and (own, found.lsn) not in seen:
            seen.add((own, found.lsn))
            yield {"timeline": own, "lsn": format_lsn(found.lsn), "backup": found.backup.label}
