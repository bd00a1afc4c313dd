# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The plan of a restore: request + proof + state -> every path, size, estimate and loss, or a refusal.

Pure. Whoever reads the plan knows all that the restore will do; executing it decides nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..backup.pages import describe
from ..core.clock import format_utc, label_time
from ..repository.catalog import Backup
from ..wal.facts import Proof
from ..wal.lsn import format_lsn, parse_lsn
from . import steps
from .fitness import fitness
from .host import TablespaceMove, check_host, tablespace_moves
from .request import RestoreRequest
from .space import combine_method, disk_needs
from .state import HostState

WORK_MARKER = ".dbkeeper-"
KEPT_MARKER = ".before-"

# Speeds assumed where no restore on this host has been measured yet: a plain disk, an ordinary CPU.
_DEFAULT_STAGE_RATE = 150e6
_DEFAULT_REPLAY_RATE = 60e6
_DEFAULT_DOWNTIME = 3.0
#: What a server writes into WAL when it differs from what the control file says (record XLOG_PARAMETER_CHANGE).
TEMPLATE_SETTINGS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)


@dataclass(frozen=True)
class RestorePlan:
    """Everything that a restore will do. JSON values throughout, so that a journal can hold it whole."""

    id: str
    request: dict[str, Any]
    request_identity: str
    cluster: str
    made_at: str
    system_id: str
    major: int
    wal_segment_size: int
    backup: str
    backup_stopped_at: str
    proof: dict[str, Any]
    segments: list[list[str]]
    histories: list[str]
    data_directory: str
    work_directory: str
    kept_directory: str
    tablespaces: list[dict[str, Any]]
    settings: dict[str, int]
    staged_bytes: int
    wal_bytes: int
    disk: list[dict[str, Any]]
    live: dict[str, Any]
    lost: dict[str, Any]
    reachable: dict[str, Any]
    estimate: dict[str, Any]
    stop_first: bool
    skip_backup: bool
    steps: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    chain: list[dict[str, Any]] = field(default_factory=list)
    combine_method: str = ""

    @property
    def staging(self) -> str:
        """The data directory while it is being made."""
        return f"{self.work_directory}/data"

    @property
    def timeline(self) -> int:
        """The timeline that recovery follows, as PostgreSQL wants it: a number."""
        return int(self.proof["timeline"])

    @property
    def lsn(self) -> int:
        """The record at which recovery stops (its start)."""
        return parse_lsn(self.proof["lsn"])

    @property
    def inclusive(self) -> bool:
        """Whether the record itself is replayed."""
        return bool(self.proof["inclusive"])

    @property
    def immediate(self) -> bool:
        """Whether recovery ends as soon as the backup is consistent."""
        return bool(self.proof["target"]["kind"] == "immediate")

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> RestorePlan:
        """Back from :meth:`to_dict`."""
        return cls(**value)


def plan_id(system_id: str, proof: Proof, destination: str) -> str:
    """The identity of a plan: same cluster, backup, timeline, position and destination (recovery-faults 8)."""
    parts = (system_id, proof.backup, proof.timeline, format_lsn(proof.lsn), proof.inclusive, destination)
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:12]


def make_plan(
    request: RestoreRequest,
    proof: Proof,
    backup: Backup,
    state: HostState,
    inodes: Mapping[int, int] | None = None,
) -> RestorePlan:
    """The whole plan. Raises :class:`Refused` when the host does not allow what the proof does (faults C*).

    ``inodes``: how many files and directories staging makes, by tablespace (0: the data directory).
    """
    config = state.config
    system_id = str(backup.system_id)
    identity = plan_id(system_id, proof, config.data_directory)
    moves = tablespace_moves(backup, request.tablespace_map, identity)
    check_host(request, state, backup, moves)
    fit = fitness(request, backup, state)
    chain = state.catalog.chain(backup)
    fetched_bytes = sum(link.plain_bytes for link in chain)
    stop_first = proof.target.kind == "latest" and state.live.status.running and not state.live.stranger
    combined_bytes = backup.full_bytes if len(chain) > 1 else 0
    rate = state.measured.stage_bytes_per_second or _DEFAULT_STAGE_RATE
    stage_seconds = (fetched_bytes + combined_bytes) / rate
    replay_seconds = proof.wal_bytes / (state.measured.replay_bytes_per_second or _DEFAULT_REPLAY_RATE)
    downtime = state.measured.downtime_seconds or _DEFAULT_DOWNTIME
    if stop_first:
        downtime += stage_seconds + replay_seconds
    return RestorePlan(
        id=identity,
        request=request.to_dict(),
        request_identity=request.identity,
        cluster=config.cluster,
        made_at=format_utc(state.now),
        system_id=system_id,
        major=backup.major,
        wal_segment_size=backup.wal_segment_size,
        backup=backup.label,
        backup_stopped_at=format_utc(backup.stopped_at) if backup.stopped_at else "",
        proof=proof.to_dict(),
        segments=[[segment.name, segment.digest] for segment in proof.segments],
        histories=list(proof.histories),
        data_directory=config.data_directory,
        work_directory=f"{config.data_directory}{WORK_MARKER}{identity}",
        kept_directory=f"{config.data_directory}{KEPT_MARKER}{label_time(state.now)}-{identity}",
        tablespaces=[asdict(move) for move in moves],
        settings={name: int(backup.settings[name]) for name in TEMPLATE_SETTINGS if name in backup.settings},
        staged_bytes=fetched_bytes,
        wal_bytes=proof.wal_bytes,
        disk=disk_needs(chain, proof, moves, state, inodes or {}),
        live=_live(state),
        lost=_lost(proof, state),
        reachable=_reachable(proof, state),
        estimate={
            "stage_seconds": round(stage_seconds, 1),
            "replay_seconds": round(replay_seconds, 1),
            "total_seconds": round(stage_seconds + replay_seconds + downtime, 1),
            "downtime_seconds": round(downtime, 1),
            "source": state.measured.source or None,
        },
        stop_first=stop_first,
        skip_backup=request.skip_backup,
        steps=list(steps.RESTORE),
        warnings=list(proof.warnings),
        notes=_notes(state, moves, proof) + _backup_notes(state, backup, proof) + fit,
        chain=_described(chain),
        combine_method=combine_method(backup, moves) if len(chain) > 1 else "",
    )


def _live(state: HostState) -> dict[str, Any]:
    control = state.live.control
    return {
        "exists": state.live.exists,
        "stranger": state.live.stranger,
        "running": state.live.status.running,
        "timeline": control.timeline if control else None,
        "unarchived_segments": list(state.live.ready_segments),
    }


def _lost(proof: Proof, state: HostState) -> dict[str, Any]:
    """What the live cluster has and the restored one will not have."""
    newest, following = proof.newest_reachable, proof.next_commit
    return {
        "from": format_utc(following.time) if following else None,
        "until": format_utc(newest.time) if newest and following else None,
        "archived_wal_bytes": max(0, newest.lsn - proof.end_lsn) if newest and following else 0,
        "unarchived_segments": list(state.live.ready_segments),
        "since_the_archive_ends": (
            state.live.status.running and not state.live.stranger and proof.target.kind != "latest"
        ),
    }


def _reachable(proof: Proof, state: HostState) -> dict[str, Any]:
    oldest = min((b.stopped_at for b in state.catalog.usable() if b.stopped_at), default=None)
    newest = proof.newest_reachable
    return {
        "oldest": format_utc(oldest) if oldest else None,
        "newest": format_utc(newest.time) if newest else None,
    }


def _notes(state: HostState, moves: list[TablespaceMove], proof: Proof) -> list[dict[str, Any]]:
    """What is not wrong and still worth knowing, as keys of recovery.words with their values."""
    notes: list[dict[str, Any]] = []
    if state.repository_device in {disk.device for disk in state.disks.values()}:
        notes.append({"key": "note_one_disk", "values": {}})
    if not state.repository_writable:
        notes.append({"key": "note_read_only", "values": {}})
    if not state.live.exists:
        notes.append({"key": "note_no_live", "values": {"path": state.config.data_directory}})
    if state.live.stranger:
        values = {"path": state.config.data_directory, "found": state.live.stranger}
        notes.append({"key": "note_stranger", "values": values})
    for move in moves:
        notes.append({"key": "note_tablespace", "values": asdict(move)})
    if state.catalog.damaged:
        labels = ", ".join(entry.label for entry in state.catalog.damaged)
        notes.append({"key": "note_damaged", "values": {"labels": labels}})
    for one in proof.unfinished:
        notes.append({"key": "note_unfinished", "values": dict(one)})
        if one["ragged"]:
            notes.append({"key": "note_ragged", "values": dict(one)})
    return notes


def _backup_notes(state: HostState, chosen: Backup, proof: Proof) -> list[dict[str, Any]]:
    """Newer backups that were passed over although they are there, and damaged pages that somebody accepted (B19)."""
    notes: list[dict[str, Any]] = []
    for backup in state.catalog.backups:
        later = backup.stop_lsn is not None and (chosen.stop_lsn or 0) < backup.stop_lsn <= proof.lsn
        if not (backup.verified and later and backup.system_id == chosen.system_id):
            continue
        fault = state.catalog.fault(backup)
        if fault is not None:
            values = {"label": backup.label, "why": fault.happened}
            notes.append({"key": "note_passed_over", "values": values})
        elif state.catalog.page_faults(backup):
            notes.append({"key": "note_passed_over_pages", "values": {"label": backup.label}})
    for label, faults in state.catalog.page_faults(chosen).items():
        notes.append({"key": "note_page_faults", "values": {"label": label, "faults": describe(faults)}})
    return notes


def _described(links: tuple[Backup, ...]) -> list[dict[str, Any]]:
    """What a plan says of its chain, the full backup first."""
    return [
        {
            "label": link.label,
            "kind": link.kind,
            "plain_bytes": link.plain_bytes,
            "stored_bytes": link.stored_bytes,
            "tablespaces": [tablespace.oid for tablespace in link.tablespaces],
        }
        for link in links
    ]
