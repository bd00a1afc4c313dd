# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Prove before delete: what the survivors can do must be all that was promised. Pure.

The plan says what goes by rules; this asks the archive as it would be afterwards, with the very walk that a
restore's proof is made of, and compares it with the archive as it is.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.errors import Refused
from ..wal.archive import Archive
from ..wal.facts import BackupFacts
from ..wal.lsn import format_lsn
from ..wal.segment import is_segment_name
from .choice import SystemView
from .generations import prove_dumps
from .lines import Line, ends
from .plan import ExpiryPlan


def prove_survivors(plan: ExpiryPlan) -> None:
    """Raises :class:`Refused` (``expiry-unsafe``) naming the first promise that would be broken."""
    prove_dumps(plan.dumps, plan.dump_policy)
    kept = {verdict.label for verdict in plan.verdicts if verdict.keep}
    for view in plan.choice.systems:
        if view.state.archive is None or view.held:
            if any(one.doomed for one in plan.wal if one.system_id == view.state.system_id):
                raise _unsafe(f"WAL of system {view.state.system_id} would go, which nobody has read")
            continue
        _system(plan, view, view.state.archive, kept)


def _system(plan: ExpiryPlan, view: SystemView, archive: Archive, kept: set[str]) -> None:
    gone = {stored.name for one in plan.wal if one.system_id == view.state.system_id for stored in one.doomed}
    after = replace(
        archive,
        entries={
            name: entry
            for name, entry in archive.entries.items()
            if not (is_segment_name(name) and name in gone)
        },
    )
    floors = {(t, lsn) for system, t, lsn in plan.choice.floors if system == view.state.system_id}
    whole: set[str] = set()
    for line in view.lines:
        _line(line, archive, after, kept, floors, whole)
    for backup in view.fit:
        if backup.label in kept and backup.label not in whole:
            raise _unsafe(f"backup {backup.label} would lose WAL that it needs to become consistent")
    wanted = [label for label in plan.choice.wanted if label not in kept]
    if wanted:
        raise _unsafe(f"backup {wanted[0]} is part of the promise and would go")
    kinds = {one.label: one.kind for one in plan.state.catalog.backups}
    for line in view.lines:
        full = [one.label for one in line.backups if kinds[one.label] == "full"]
        if line.timeline in view.current and full and full[-1] not in kept:
            raise _unsafe(f"the newest verified full backup, {full[-1]}, would go")


def _line(
    line: Line,
    before: Archive,
    after: Archive,
    kept: set[str],
    floors: set[tuple[int, int]],
    whole: set[str],
) -> None:
    """Every backup that stays reaches its own stop, and those of the promise as far as they did."""
    mine = [one for one in line.backups if one.label in kept]
    was = ends(before, line.branch, mine)
    now = ends(after, line.branch, mine)
    for backup in mine:
        if now[backup.label] >= backup.stop_lsn:
            whole.add(backup.label)
        if (backup.timeline, backup.start_lsn) in floors and now[backup.label] != was[backup.label]:
            raise _unsafe(_shorter(backup, line, was[backup.label], now[backup.label]))


def _shorter(backup: BackupFacts, line: Line, was: int, now: int) -> str:
    return (
        f"from backup {backup.label} timeline {line.timeline} could be followed to {format_lsn(was)}, "
        f"afterwards to {format_lsn(now)} only"
    )


def _unsafe(happened: str) -> Refused:
    return Refused(
        "expiry-unsafe",
        attempted="prove that what stays can do all that was promised",
        happened=f"{happened}; nothing was deleted",
        remedy="Keep the repository as it is and report this with 'dbkeeper expire --dry-run --json'.",
    )
