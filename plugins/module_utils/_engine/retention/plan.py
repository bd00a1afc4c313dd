# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The plan of an expiry: what goes, what stays and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..core.clock import format_utc
from ..core.errors import Refused
from ..repository.catalog import EXPIRED, FAILED, RUNNING, Backup
from ..repository.leases import Lease
from ..wal.segment import SIZES_BYTES
from ..wal.source import StoredWal
from .choice import Choice, SystemView, choose, lives
from .generations import DumpPlan, plan_dumps
from .policy import DumpPolicy, Policy
from .state import RetentionState
from .wal import Need, Needs, Run, between, from_lsn, from_segment, sort_out

#: Why a backup that the policy does not want stays all the same.
BLOCKING = ("pinned", "leased", "lease-unread", "running", "held")


@dataclass(frozen=True)
class Verdict:
    """A backup and its fate; ``why`` a word, ``by`` who or what it is about (a label, a lease)."""

    backup: Backup
    keep: bool
    why: str
    by: tuple[str, ...] = ()
    stored_bytes: int = 0

    @property
    def label(self) -> str:
        """The backup's label."""
        return self.backup.label

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        stopped = self.backup.stopped_at
        return {
            "label": self.label,
            "kind": self.backup.kind,
            "status": self.backup.status,
            "stopped_at": format_utc(stopped) if stopped else None,
            "action": "keep" if self.keep else "expire",
            "why": self.why,
            "by": list(self.by),
            "stored_bytes": self.stored_bytes,
        }


@dataclass(frozen=True)
class WalPlan:
    """The archive of one system: what goes, oldest first, and all of it as runs."""

    system_id: int
    doomed: tuple[StoredWal, ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class ExpiryPlan:
    """All fates. ``verdicts`` in the order of the catalog."""

    policy: Policy | None
    state: RetentionState
    choice: Choice
    verdicts: tuple[Verdict, ...]
    wal: tuple[WalPlan, ...]
    dump_policy: DumpPolicy | None = None
    dumps: DumpPlan = field(default_factory=DumpPlan)

    @property
    def doomed(self) -> tuple[Verdict, ...]:
        """The backups that go, those that build on others first."""
        gone = [verdict for verdict in self.verdicts if not verdict.keep]
        depth = {verdict.label: _depth(verdict.backup, self.state) for verdict in gone}
        return tuple(sorted(gone, key=lambda verdict: (-depth[verdict.label], verdict.label)))

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        dumps = self.dumps.doomed or self.dumps.remains
        return bool(self.doomed or self.state.remains or dumps or any(one.doomed for one in self.wal))

    @property
    def freed_bytes(self) -> int:
        """Stored bytes that go."""
        wal = sum(stored.stored_bytes for one in self.wal for stored in one.doomed)
        return wal + sum(verdict.stored_bytes for verdict in self.doomed) + self.dumps.freed_bytes

    @property
    def blocked(self) -> list[dict[str, Any]]:
        """What keeps more than the policy wants: ``what`` (a backup, or ``wal``), ``why``, ``by``."""
        found = [
            {"what": one.label, "why": one.why, "by": list(one.by)}
            for one in self.verdicts
            if one.keep and one.why in BLOCKING
        ]
        found += [
            {"what": one.dump.key, "why": one.why, "by": list(one.by)}
            for one in self.dumps.verdicts
            if one.keep and one.why in BLOCKING
        ]
        for one in self.wal:
            reasons = {run.why for run in one.runs if run.why in (*BLOCKING, "damaged", "no-backup")}
            found += [
                {"what": f"wal {one.system_id}", "why": str(why), "by": []}
                for why in sorted(map(str, reasons))
            ]
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        since, wal_since = self.choice.since, self.choice.wal_since
        return {
            "policy": self.policy.to_dict() if self.policy else None,
            "dump_policy": self.dump_policy.to_dict() if self.dump_policy else None,
            "since": format_utc(since) if since else None,
            "wal_since": format_utc(wal_since) if wal_since else None,
            "backups": [verdict.to_dict() for verdict in self.verdicts],
            "wal": [
                {"system_id": str(one.system_id), **run.to_dict()} for one in self.wal for run in one.runs
            ],
            "dumps": [verdict.to_dict() for verdict in self.dumps.verdicts],
            "damaged_dumps": [{"key": one.key, "error": one.error.to_dict()} for one in self.dumps.damaged],
            "remains": [*self.state.remains, *(f"dump/{name}" for name in self.dumps.remains)],
            "blocked": self.blocked,
            "held": [
                {"system_id": str(view.state.system_id), "error": view.held.to_dict()}
                for view in self.choice.systems
                if view.held
            ],
            "given_up": [
                self.state.given_up[view.state.system_id, timeline][0].to_dict()
                for view in self.choice.systems
                for timeline in sorted(view.given_up)
            ],
            "oldest": self._oldest(),
            "freed_bytes": self.freed_bytes,
        }

    def _oldest(self) -> str | None:
        """The oldest moment that can still be restored after it."""
        kept = {verdict.label for verdict in self.verdicts if verdict.keep}
        ends = [one.stopped_at for view in self.choice.systems for one in view.fit if one.label in kept]
        return format_utc(min(ends)) if ends else None


def make_plan(
    policy: Policy | None, state: RetentionState, dump_policy: DumpPolicy | None = None
) -> ExpiryPlan:
    """Decide. Nothing of it has been proven yet, see :mod:`.survivors`. Where there is no policy nothing goes."""
    if policy is None:
        state = replace(state, systems=())
        policy, said = Policy(), None
    else:
        said = policy
    choice = choose(policy, state)
    verdicts = _chains(_verdicts(choice, state), state)
    wal = tuple(_wal(view, choice, verdicts, state) for view in choice.systems)
    ordered = tuple(verdicts[backup.label] for backup in state.catalog.backups)
    dumps = plan_dumps(dump_policy, state.dumps)
    return ExpiryPlan(said, state, choice, ordered, wal, dump_policy, dumps)


def _verdicts(choice: Choice, state: RetentionState) -> dict[str, Verdict]:
    held = {view.state.system_id for view in choice.systems if view.held}
    leases = _leases(state)
    found: dict[str, Verdict] = {}
    for backup in state.catalog.backups:
        keep, why, by = _fate(backup, choice, state, held, leases)
        found[backup.label] = Verdict(backup, keep, why, by, state.sizes.get(backup.label, 0))
    return found


def _fate(
    backup: Backup,
    choice: Choice,
    state: RetentionState,
    held: set[int],
    leases: dict[str | None, list[Lease]],
) -> tuple[bool, str, tuple[str, ...]]:
    label = backup.label
    if backup.status == EXPIRED:
        # Marked by an expiry that was killed: part of its data may be gone.
        return False, "unfinished", ()
    if label in choice.wanted:
        return True, choice.wanted[label], ()
    if backup.pinned:
        return True, "pinned", ()
    if label in leases or None in leases:
        return True, "leased", tuple(lease.id for lease in (*leases.get(label, ()), *leases.get(None, ())))
    if label in state.alive:
        return True, "running", ()
    if backup.system_id in held:
        return True, "held", ()
    if choice.since is None or label in choice.young:
        return True, "few" if choice.since is None else "window", ()
    if backup.stopped_at is None and backup.started_at >= choice.since:
        return True, "window", ()
    return False, "failed" if backup.status in (FAILED, RUNNING) else "outside", ()


def _leases(state: RetentionState) -> dict[str | None, list[Lease]]:
    """Label -> the leases on it; None -> those that cannot be read and so hold everything."""
    found: dict[str | None, list[Lease]] = {}
    for lease in state.leases:
        if lease.damaged is not None:
            found.setdefault(None, []).append(lease)
        elif lease.label is not None:
            found.setdefault(lease.label, []).append(lease)
    return found


def _chains(verdicts: dict[str, Verdict], state: RetentionState) -> dict[str, Verdict]:
    """What a kept backup builds on is kept, whatever it is; what builds on a damaged entry waits for its repair."""
    found = dict(verdicts)
    damaged = {entry.label for entry in state.catalog.damaged}
    for label, verdict in verdicts.items():
        parents = [verdict.backup.parent, *(one.backup.parent for one in _below(verdict.backup, verdicts))]
        if not verdict.keep and damaged.intersection(map(str, parents)) and verdict.backup.status != EXPIRED:
            found[label] = replace(verdict, keep=True, why="held")
    for label, verdict in list(found.items()):
        # What a failed one was to be built on is not needed by it.
        if not verdict.keep or not (verdict.backup.finished or label in state.alive):
            continue
        for below in _below(verdict.backup, verdicts):
            if not found[below.label].keep and below.backup.status != EXPIRED:
                found[below.label] = replace(below, keep=True, why="chain", by=(label,))
    return found


def _below(backup: Backup, verdicts: dict[str, Verdict]) -> list[Verdict]:
    """What it builds on, as far as the catalog has it."""
    found: list[Verdict] = []
    parent = backup.parent
    while parent is not None and parent in verdicts and verdicts[parent] not in found:
        found.append(verdicts[parent])
        parent = verdicts[parent].backup.parent
    return found


def _depth(backup: Backup, state: RetentionState) -> int:
    by_label = {one.label: one for one in state.catalog.backups}
    depth, seen = 0, {backup.label}
    while backup.parent in by_label and backup.parent not in seen:
        backup = by_label[str(backup.parent)]
        seen.add(backup.label)
        depth += 1
    return depth


def _wal(view: SystemView, choice: Choice, verdicts: dict[str, Verdict], state: RetentionState) -> WalPlan:
    archive = view.state.archive
    size = archive.segment_bytes if archive else SIZES_BYTES[4]
    needs, hold = _needs(view, choice, verdicts, state, size)
    doomed, runs = sort_out(view.state.files, Needs(needs), size, hold=hold)
    return WalPlan(view.state.system_id, tuple(doomed), tuple(runs))


def _needs(
    view: SystemView, choice: Choice, verdicts: dict[str, Verdict], state: RetentionState, size: int
) -> tuple[list[Need], str | None]:
    """What the WAL of a system is needed for; or why nothing of it may be touched."""
    system_id = view.state.system_id
    if view.held or view.state.archive is None:
        return [], "held"
    if state.catalog.damaged:
        return [], "damaged"
    mine = [one for one in verdicts.values() if one.backup.system_id == system_id and one.keep]
    needs = [
        from_lsn(timeline, lsn, size, "window")
        for system, timeline, lsn in choice.floors
        if system == system_id
    ]
    alive = bool(view.current) or any(lives(line, view, choice.age) for line in view.lines)
    if not needs and alive:
        return [], "no-backup"
    for one in mine:
        backup = one.backup
        if backup.timeline is None or backup.start_lsn is None:
            if backup.label in state.alive:
                return [], "running"
        elif backup.label in state.alive:
            needs.append(from_lsn(backup.timeline, backup.start_lsn, size, "running"))
        elif backup.stop_lsn is not None and backup.finished:
            needs.append(between(backup.timeline, backup.start_lsn, backup.stop_lsn, size, "backup"))
    for lease in state.leases:
        if lease.damaged is not None:
            return [], "lease-unread"
        if lease.first_segment is None or str(lease.system_id) not in (str(system_id), "None"):
            continue
        try:
            needs.append(from_segment(lease.first_segment, size, "leased"))
        except Refused:
            return [], "lease-unread"
    return needs, None
