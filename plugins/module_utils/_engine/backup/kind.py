# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Full or incremental, and why: pure.

When in doubt, full. A chain is only as good as its weakest link, so one is begun anew whenever something could make
a link worthless: after a promotion (also for the sake of servers before 17.7 and 18.1, whose incremental backups
may hold stale blocks then), after checksums were switched, when the parent is not whole, when its time is over.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.errors import Refused
from ..core.sizes import format_duration
from ..repository.catalog import Backup
from ..repository.chain import FULL, INCREMENTAL
from ..wal.lsn import format_lsn
from .request import BackupRequest
from .state import BackupState, ServerFacts, newest_parent
from .summaries import SUMMARIZES, describe_missing


@dataclass(frozen=True)
class Kind:
    """What is taken, and ``why``. ``chain`` are the backups that an incremental one is built on, the full one first."""

    kind: str
    why: str
    chain: tuple[Backup, ...] = ()

    @property
    def parent(self) -> Backup | None:
        """The backup that it is built on."""
        return self.chain[-1] if self.chain else None


def choose_kind(request: BackupRequest, state: BackupState, server: ServerFacts) -> Kind:
    """Decide. Raises :class:`Refused` ``incremental-not-possible`` where nothing else will do."""
    wanted = request.kind or state.config.backup.kind
    if wanted == FULL:
        return Kind(FULL, "a full one is asked for")
    obstacle = _obstacle(state, server)
    parent = newest_parent(state.catalog, state.control.system_id)
    if obstacle is None and parent is not None:
        chain = state.catalog.chain(parent)
        return Kind(INCREMENTAL, f"{parent.label} is whole, and all that changed since is known", chain)
    if wanted == INCREMENTAL:
        raise Refused(
            "incremental-not-possible",
            attempted=f"take an incremental backup of cluster {state.config.cluster}",
            happened=str(obstacle),
            remedy="Take a full one (--kind full, or --kind auto, which takes the one that is possible)"
            + (", and set summarize_wal = on for those after it." if not _summarizes(state) else "."),
        )
    return Kind(FULL, str(obstacle))


def _summarizes(state: BackupState) -> bool:
    return state.summaries is not None and state.summaries.on


def _obstacle(state: BackupState, server: ServerFacts) -> str | None:
    """The first thing that stands in the way, or None."""
    if server.major < SUMMARIZES or state.summaries is None:
        return f"PostgreSQL {server.major} has no incremental backups: they come with {SUMMARIZES}"
    if not state.summaries.on:
        return "summarize_wal is off, so the server does not know what changed: set summarize_wal = on"
    if not state.can_combine:
        return f"pg_combinebackup, which a restore needs, is not in {state.config.bin_directory}"
    parent = newest_parent(state.catalog, state.control.system_id)
    if parent is None or parent.start_lsn is None or parent.timeline is None:
        return "there is no verified backup to build on"
    if server.timeline != parent.timeline:
        return (
            f"the server is on timeline {server.timeline} since a promotion or a restore, and {parent.label} is of "
            f"timeline {parent.timeline}"
        )
    if parent.data_checksums != state.control.data_checksums:
        return f"data checksums were switched since {parent.label}"
    if state.parent_fault:
        return state.parent_fault
    old = _interval_over(state, state.catalog.chain(parent)[0])
    return old or describe_missing(state.summaries, parent.timeline, parent.start_lsn)


def _interval_over(state: BackupState, root: Backup) -> str | None:
    age = (state.now - (root.stopped_at or root.started_at)).total_seconds()
    interval = state.config.backup.full_interval_seconds
    if age < 0:
        return f"the full backup {root.label} ended in the future by this host's clock"
    if age >= interval:
        return (
            f"the full backup {root.label} is {format_duration(age)} old, and one is due every "
            f"{format_duration(interval)}"
        )
    return None


def summary_warnings(state: BackupState) -> list[str]:
    """What makes incremental backups impossible later, though not today."""
    summaries, interval = state.summaries, state.config.backup.full_interval_seconds
    if summaries is None or not summaries.on or state.config.backup.kind == FULL:
        return []
    parent = newest_parent(state.catalog, state.control.system_id)
    since = f", and {format_lsn(parent.start_lsn)} was the last" if parent and parent.start_lsn else ""
    if 0 < summaries.keep_seconds < min(interval, 2 * 86400):
        kept = format_duration(summaries.keep_seconds)
        return [f"wal_summary_keep_time is {kept}: a backup that is taken later than that is full{since}"]
    return []
