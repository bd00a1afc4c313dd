# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The proof that a restore will reach its target, before anything is touched.

The index says what is there (index.py), a line of history is chosen (lines.py), the target is resolved to a
record on it (resolve.py), and the segments from the backup to that record are listed, each bound to its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from ..core.clock import format_utc
from ..core.errors import Refused
from . import lines, refusals
from .archive import Archive
from .elsewhere import told
from .exact import Exact, Records
from .facts import BackupFacts, Commit, PlannedSegment, Proof, Target
from .identity import ArchiveFacts
from .index import WalIndex
from .reach import Reach, reach
from .resolve import Found, Resolver
from .segment import history_name
from .source import WalSource
from .unfinished import mention, not_used, used, with_unfinished
from .waldump import WalDump


def prove(
    backups: Sequence[BackupFacts],
    target: Target,
    *,
    index: WalIndex,
    source: WalSource,
    bin_directory: str,
    now: datetime,
    live_timeline: int | None = None,
    use_partial: bool = False,
    progress: Callable[[int, int], None] | None = None,
    given_up: Callable[[Archive], Collection[int]] = lambda _archive: (),
) -> Proof:
    """Prove that ``target`` is reachable from one of the verified ``backups`` of one system.

    ``live_timeline`` is that of the cluster to be replaced: it settles some questions of branches, see
    :func:`lines.choose`. Brings the index up to date first (``progress`` as in
    :meth:`WalIndex.refresh`). ``bin_directory`` holds the programs of the backups' major. With ``use_partial``
    unfinished segments count up to their last sound record (B15). ``given_up`` tells which timelines an undo gave up:
    that nothing is archived of them is no question then.
    Raises :class:`Refused`; nothing but the index is ever written.
    """
    if not backups:
        raise refusals.no_backup(target, "there is no verified backup", ())
    if isinstance(target.value, datetime) and target.value > now:
        raise refusals.in_future(target, now)
    facts = _facts(target, backups)
    archive = index.refresh(source, bin_directory, facts=facts, progress=progress)
    dump = WalDump(bin_directory, facts.major, facts.segment_bytes)
    left_out: Mapping[str, str] = {}
    if use_partial:
        archive, left_out = with_unfinished(archive, source, dump, facts, index.directory)
    try:
        proof = decide(
            backups, target, archive, Exact(dump, source, index.directory), live_timeline, given_up(archive)
        )
    except Refused as refusal:
        raise mention(refusal, archive) from None
    warnings = [f"{name} cannot be used: {why}" for name, why in left_out.items()]
    warnings += [
        f"backup {backup.label} ended at {format_utc(backup.stopped_at)}, which this host's clock, {format_utc(now)}, "
        "has not reached yet: one of the two clocks was wrong (A18)"
        for backup in backups
        if backup.stopped_at > now
    ]
    if not use_partial:
        warnings += not_used(proof, archive)
    return replace(
        proof,
        history_digests=history_digests(proof.histories, source),
        warnings=(*proof.warnings, *warnings),
    )


def history_digests(names: Sequence[str], source: WalSource) -> dict[str, str]:
    """What replay must be handed as the histories, so that it follows the line that was proven (B13).

    Raises :class:`Refused` (``archive-changed``): one without a digest would be handed out whatever it says.
    """
    found = {}
    for name in names:
        text = source.read_history(int(name[:8], 16))
        if text is None:
            raise Refused(
                "archive-changed",
                attempted=f"read {name} again",
                happened="it was there when the line of history was followed, and is gone",
                remedy="Look who writes into the archive; bring the file back from a copy, then plan again.",
                details={"name": name},
            )
        found[name] = hashlib.sha256(text.encode()).hexdigest()
    return found


def decide(
    backups: Sequence[BackupFacts],
    target: Target,
    archive: Archive,
    exact: Records,
    live_timeline: int | None = None,
    given_up: Collection[int] = (),
) -> Proof:
    """The decision itself: from what the archive holds, and a reader for single records."""
    lines.check_timeline(target, archive, exact)
    candidates = lines.candidates(backups, target, archive)
    outcomes: list[lines.Outcome] = []
    for timeline in lines.ends_of_history(candidates, target, archive):
        branch = archive.branch(timeline)
        leading = [backup for backup in backups if lines.leads(backup, timeline, archive)]
        try:
            outcomes.append(lines.Outcome(branch, Resolver(archive, branch, exact, leading).resolve(target)))
        except Refused as refusal:
            outcomes.append(lines.Outcome(branch, refusal=refusal))
    try:
        found = lines.choose(outcomes, target, live_timeline)
    except Refused as refusal:
        raise told(refusal, backups, target, archive, exact) from refusal
    lines.check_silent_children(found, target, archive, given_up)
    seen = archive.timelines
    timelines = tuple(sorted(seen.known | seen.without_history | set(seen.damaged)))
    return replace(_proof(found, _on_own_timeline(found, archive, exact), target, exact), timelines=timelines)


def _facts(target: Target, backups: Sequence[BackupFacts]) -> ArchiveFacts:
    facts = {ArchiveFacts(b.system_id, b.wal_segment_size, b.major) for b in backups}
    if len(facts) > 1:
        raise refusals.refuse(
            "system-ambiguous",
            target,
            f"the backups are of {len(facts)} different database systems or versions",
            "Name the backup; each system has an archive of its own.",
            {"system_ids": sorted({str(one.system_id) for one in facts})},
        )
    return facts.pop()


def _on_own_timeline(found: Found, archive: Archive, exact: Records) -> Found:
    """The same record on the timeline that it belongs to, when the target lies before a fork.

    A recovery to there on the child's line would write a history whose positions go back. The parent's own
    copy of the fork's segment may never have been archived; then the child's, which repeats it, is used.
    """
    spans = found.reached.branch.spans
    own = found.reached.branch.timeline_at(found.lsn)
    for span in spans:
        if span.timeline < own or span.timeline == found.reached.branch.timeline:
            continue
        if not archive.timelines.descends(span.timeline, found.backup.timeline, found.backup.stop_lsn):
            continue
        other = reach(archive, archive.branch(span.timeline), found.backup.start_lsn)
        if other.end < found.end_lsn or not other.steps:
            continue
        if _same_segments(other, found) or exact.record_from(other, found.lsn) == (found.lsn, found.end_lsn):
            return Found(found.backup, other, found.lsn, found.end_lsn, found.inclusive, found.warnings)
    return found


def _same_segments(other: Reach, found: Found) -> bool:
    count = other.position(found.last_number) + 1
    ours = [step.entry.name for step in found.reached.steps[:count]]
    return [step.entry.name for step in other.steps[:count]] == ours


def _proof(asked: Found, found: Found, target: Target, exact: Records) -> Proof:
    reached = found.reached
    steps = reached.steps[: reached.position(found.last_number) + 1]
    size = reached.branch.segment_bytes
    last, following = _around(asked, exact)
    segments = tuple(
        PlannedSegment(step.entry.name, step.entry.digest or "", step.entry.stored_bytes, size)
        for step in steps
    )
    newest = asked.reached.newest_commit()
    warnings = list(found.warnings)
    if target.timeline is not None and target.timeline != reached.branch.timeline:
        warnings.append(
            f"the target lies before timeline {target.timeline} began, on timeline {reached.branch.timeline}"
        )
    if following is not None and asked.reached.broken is not None:
        warnings.append(
            f"after the target the archive is broken at {asked.reached.broken.first} ({asked.reached.broken.code}): "
            "what follows cannot be reached later either"
        )
    return Proof(
        backup=found.backup.label,
        timeline=reached.branch.timeline,
        lsn=found.lsn,
        inclusive=found.inclusive,
        end_lsn=found.end_lsn,
        segments=segments,
        histories=tuple(history_name(span.timeline) for span in reached.branch.spans if span.timeline > 1),
        first_commit=_first(asked, exact),
        last_commit=last,
        next_commit=following,
        newest_reachable=newest,
        wal_bytes=len(segments) * size,
        target=target,
        branch=asked.reached.branch.timeline,
        warnings=tuple(warnings),
        unfinished=used(steps),
    )


def _around(found: Found, exact: Records) -> tuple[Commit | None, Commit | None]:
    """The newest commit that will be there, and the first that will not."""
    reached = found.reached
    limit = found.lsn + (1 if found.inclusive else 0)
    position = reached.position(found.last_number)
    entry = reached.steps[position].entry
    last: Commit | None = None
    following: Commit | None = None
    first_mark, last_mark = entry.first_commit, entry.last_commit
    if last_mark is not None and last_mark.lsn < limit:
        last = reached.commit(last_mark)
    elif first_mark is not None and first_mark.lsn >= limit:
        following = reached.commit(first_mark)
    elif first_mark is not None:
        for end in exact.ends(reached, found.last_number):
            if end.committed and end.lsn >= reached.start_lsn:
                commit = Commit(reached.branch.timeline_at(end.lsn), end.lsn, end.time, end.xid)
                if end.lsn < limit:
                    last = commit
                else:
                    following = commit
                    break
    if last is None:
        marks = (step.entry.last_commit for step in reversed(reached.steps[:position]))
        last = next((reached.commit(mark) for mark in marks if mark), None)
    if following is None:
        marks = (step.entry.first_commit for step in reached.steps[position + 1 :])
        following = next((reached.commit(mark) for mark in marks if mark), None)
    return last, following


def _first(found: Found, exact: Records) -> Commit | None:
    """The oldest commit at or after the backup's start."""
    reached = found.reached
    for step in reached.steps:
        first_mark, last_mark = step.entry.first_commit, step.entry.last_commit
        if first_mark is None or last_mark is None or last_mark.lsn < reached.start_lsn:
            continue
        if first_mark.lsn >= reached.start_lsn:
            return reached.commit(first_mark)
        for end in exact.ends(reached, step.segment.number):
            if end.committed and end.lsn >= reached.start_lsn:
                return Commit(reached.branch.timeline_at(end.lsn), end.lsn, end.time, end.xid)
    return None
