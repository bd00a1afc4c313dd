# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which line of history a target means.

PostgreSQL follows whatever timeline it finds last (faults A13, A14). Here a target that would mean different
states on different branches needs a timeline.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..core.errors import Refused
from . import refusals
from .archive import Archive
from .branch import Branch
from .elsewhere import describe
from .exact import Records
from .facts import BackupFacts, Target
from .lsn import format_lsn
from .resolve import Found
from .segment import Segment

#: That a name or an xid is not on another branch settles the matter. That a time or a position is not
#: reached there does not: the WAL may be missing or not archived yet, and it may be the branch meant.
_SETTLED = ("restore-point-unknown", "xid-not-in-archive", "no-backup", "target-before-oldest-backup")

#: What a branch that a restore has left behind says of a target on the live line: its archive ends before it,
#: or another transaction, rolled back, had the same xid there.
_LEFT_BEHIND = ("target-after-last-commit", "xid-aborted")


@dataclass(frozen=True)
class Outcome:
    """What a target is on one branch."""

    branch: Branch
    found: Found | None = None
    refusal: Refused | None = None


def check_timeline(target: Target, archive: Archive, exact: Records) -> None:
    """An asked timeline must be there, with its history (A12, B11, B13)."""
    timeline = target.timeline
    if timeline is None:
        return
    timelines = archive.timelines
    if timeline in timelines.known or timeline in timelines.damaged or timeline in timelines.without_history:
        timelines.lineage(timeline)
        return
    known = [describe(t, archive, exact) for t in sorted(timelines.known)]
    raise refusals.refuse(
        "timeline-unknown",
        target,
        f"timeline {timeline} is not in the archive",
        f"Choose one of: {', '.join(text for text, _dummy in known)}." if known else "The archive is empty.",
        {"timelines": sorted(timelines.known), "forks": [facts for _dummy, facts in known]},
    )


def leads(backup: BackupFacts, timeline: int, archive: Archive) -> bool:
    """Whether a restore of the backup can follow the line to a timeline."""
    return archive.timelines.descends(timeline, backup.timeline, backup.stop_lsn)


def candidates(backups: Sequence[BackupFacts], target: Target, archive: Archive) -> list[BackupFacts]:
    """The backups from which the branches in question are told.

    Time, ``latest`` and ``immediate`` start from the newest backup that may be used: only branches that go
    on from there are meant. Names, xids and positions are looked for everywhere.
    """
    if target.timeline is not None:
        leading = [backup for backup in backups if leads(backup, target.timeline, archive)]
        if not leading:
            raise refusals.refuse(
                "timeline-not-descendant",
                target,
                f"no backup leads to timeline {target.timeline}: it left the backups' timelines before they ended",
                "Choose the timeline of a backup or one that goes on from it: "
                + ", ".join(f"{b.label} (timeline {b.timeline})" for b in backups)
                + ".",
                {"backups": [backup.label for backup in backups]},
            )
        return leading
    if target.kind in ("lsn", "xid", "name"):
        return list(backups)
    usable = list(backups)
    if isinstance(target.value, datetime):
        usable = [backup for backup in backups if backup.stopped_at <= target.value]
        if not usable:
            raise refusals.before_oldest(target, min(backups, key=lambda backup: backup.stopped_at))
    return [max(usable, key=lambda backup: (backup.stopped_at, backup.label))]


def ends_of_history(backups: Sequence[BackupFacts], target: Target, archive: Archive) -> list[int]:
    """The ends of history that the backups lead to: timelines with WAL of their own that no other repeats."""
    if target.timeline is not None:
        return [target.timeline]
    timelines = archive.timelines
    oldest = min(backup.timeline for backup in backups)
    for lost in sorted(t for t in timelines.without_history | set(timelines.damaged) if t > oldest):
        # Without its history nobody can say whether it goes on from the backup (B11, B13).
        timelines.lineage(lost)
    reachable = sorted({t for b in backups for t in timelines.descendants(b.timeline, b.stop_lsn)})
    with_wal = [t for t in reachable if archive.numbers.get(t)]
    return [t for t in with_wal if _is_end(t, with_wal, archive)] or sorted({b.timeline for b in backups})


def _is_end(timeline: int, among: Sequence[int], archive: Archive) -> bool:
    forks = [lsn for child, lsn in archive.timelines.children(timeline) if child in among]
    if not forks:
        return True
    size = archive.segment_bytes
    for number in reversed(archive.numbers[timeline]):
        if (number + 1) * size <= max(forks):
            return False
        entry = archive.entry(Segment(timeline, number))
        # A segment at fault after the fork may hold commits: then the branch is an end of its own.
        if entry is None or entry.fault or (entry.last_commit and entry.last_commit.lsn >= max(forks)):
            return True
    return False


def choose(outcomes: Sequence[Outcome], target: Target, live: int | None = None) -> Found:
    """The one state that the target means, or the refusal that says most.

    ``live`` is the timeline of the cluster that would be replaced. When its own line reaches the target, a
    branch that it is not on and that cannot reach the target (what a restore has left behind) is not what is
    meant. A branch that reaches the target elsewhere still is a question.
    """
    found = [outcome for outcome in outcomes if outcome.found]
    refused = [outcome for outcome in outcomes if outcome.refusal]
    states = {(o.branch.timeline_at(o.found.lsn), o.found.lsn, o.found.inclusive) for o in found if o.found}
    open_questions = [o for o in refused if o.refusal and o.refusal.code not in _SETTLED]
    if any(o.branch.timeline == live for o in found):
        open_questions = [o for o in open_questions if o.refusal and o.refusal.code not in _LEFT_BEHIND]
    if len(states) == 1 and not open_questions:
        return next(o.found for o in reversed(found) if o.found)
    if not found:
        telling = [o.refusal for o in open_questions or refused if o.refusal]
        if len({refusal.happened for refusal in telling}) == 1 or not open_questions:
            raise telling[-1]
    raise _ambiguous(outcomes, target)


def _ambiguous(outcomes: Sequence[Outcome], target: Target) -> Refused:
    rows = []
    words = []
    for outcome in outcomes:
        timeline = outcome.branch.timeline
        row: dict[str, object] = {"timeline": timeline}
        if outcome.found:
            newest = outcome.found.reached.newest_commit()
            row.update(
                lsn=format_lsn(outcome.found.lsn),
                backup=outcome.found.backup.label,
                newest_commit=newest.to_dict() if newest else None,
            )
            words.append(f"on timeline {timeline} it is LSN {format_lsn(outcome.found.lsn)}")
        elif outcome.refusal:
            row.update(code=outcome.refusal.code, happened=outcome.refusal.happened)
            words.append(f"on timeline {timeline} it is refused ({outcome.refusal.happened})")
        spans = outcome.branch.spans
        if len(spans) > 1:
            row.update(parent=spans[-2].timeline, fork_lsn=format_lsn(spans[-1].begin))
        rows.append(row)
    numbers = ", ".join(str(outcome.branch.timeline) for outcome in outcomes)
    return refusals.refuse(
        "timeline-ambiguous",
        target,
        f"the archive holds {len(outcomes)} branches that go on from the backup: {'; '.join(words)}",
        f"Say which timeline is meant: {numbers}. The live cluster's is in pg_controldata.",
        {"branches": rows},
    )


def check_silent_children(
    found: Found, target: Target, archive: Archive, given_up: Collection[int] = ()
) -> None:
    """A timeline whose history is archived but no WAL yet may be where the target lies (B12)."""
    if target.timeline is not None:
        return
    line = {span.timeline for span in found.reached.branch.spans}
    for timeline in archive.timelines.known - line - set(given_up):
        if archive.numbers.get(timeline):
            continue
        spans = archive.timelines.lineage(timeline)
        parent = spans[-2] if len(spans) > 1 else None
        if parent and parent.timeline in line and parent.end is not None and found.lsn >= parent.end:
            raise refusals.refuse(
                "timeline-ambiguous",
                target,
                f"it lies after {format_lsn(parent.end)}, where timeline {timeline} left timeline "
                f"{parent.timeline}, and no WAL of timeline {timeline} is archived yet",
                f"Have timeline {timeline}'s WAL archived, or say that timeline "
                f"{found.reached.branch.timeline} is meant.",
                {"branches": [{"timeline": found.reached.branch.timeline}, {"timeline": timeline}]},
            )
