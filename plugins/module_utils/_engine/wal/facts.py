# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is asked of a proof, and what a proof says. Data only: other packages build and read these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ..core.clock import format_utc
from .lsn import format_lsn

TargetKind = Literal["time", "lsn", "xid", "name", "latest", "immediate"]


@dataclass(frozen=True)
class BackupFacts:
    """What the proof needs to know of a verified base backup. LSNs and the system identifier are integers."""

    label: str
    timeline: int
    start_lsn: int
    stop_lsn: int
    stopped_at: datetime
    system_id: int
    wal_segment_size: int
    major: int


@dataclass(frozen=True)
class Target:
    """A recovery target with PostgreSQL's meaning.

    ``value`` is an aware datetime for ``time``, an integer for ``lsn`` and ``xid``, a text for ``name`` and
    None for ``latest`` and ``immediate``. ``timeline`` None: the only branch on which the target lies.
    """

    kind: TargetKind
    value: datetime | int | str | None = None
    inclusive: bool = True
    timeline: int | None = None
    allow_idle_gap: bool = False

    def __post_init__(self) -> None:
        wanted: dict[str, type | tuple[type, ...]] = {
            "time": datetime,
            "lsn": int,
            "xid": int,
            "name": str,
            "latest": type(None),
            "immediate": type(None),
        }
        if not isinstance(self.value, wanted[self.kind]):
            raise TypeError(f"a target of kind {self.kind} does not take {self.value!r}")
        if isinstance(self.value, datetime) and self.value.tzinfo is None:
            raise TypeError("a target's time must have a zone")

    def describe(self) -> str:
        """'time 2026-11-21T03:04:05.000000Z, exclusive, on timeline 2'."""
        value = self.value
        if isinstance(value, datetime):
            value = format_utc(value)
        elif self.kind == "lsn" and isinstance(value, int):
            value = format_lsn(value)
        elif isinstance(value, str):
            value = repr(value)
        text = self.kind if value is None else f"{self.kind} {value}"
        if not self.inclusive:
            text += ", exclusive"
        return text if self.timeline is None else f"{text}, on timeline {self.timeline}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        value = self.value
        if isinstance(value, datetime):
            value = format_utc(value)
        elif self.kind == "lsn" and isinstance(value, int):
            value = format_lsn(value)
        return {
            "kind": self.kind,
            "value": value,
            "inclusive": self.inclusive,
            "timeline": self.timeline,
            "allow_idle_gap": self.allow_idle_gap,
        }


@dataclass(frozen=True)
class Commit:
    """A committed transaction: the start of its commit record, its time and top-level xid."""

    timeline: int
    lsn: int
    time: datetime
    xid: int

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "timeline": self.timeline,
            "lsn": format_lsn(self.lsn),
            "time": format_utc(self.time),
            "xid": self.xid,
        }


@dataclass(frozen=True)
class PlannedSegment:
    """A segment that recovery will need, bound to its content by that one's identity (:mod:`.content`)."""

    name: str
    digest: str
    stored_bytes: int
    plain_bytes: int


@dataclass(frozen=True)
class Proof:
    """That a target is reachable, and how.

    Recovery with ``recovery_target_lsn = lsn``, ``recovery_target_inclusive = inclusive`` and the numeric
    ``timeline`` reaches it, reading only ``segments`` (in WAL order) and ``histories``, which are bound to
    their texts by ``history_digests`` (SHA-256). ``timelines`` are all that the archive has seen, with or without
    a history: a promotion must take another number (B11, D13). ``lsn`` is the start of a record.
    ``last_commit`` is the newest commit that will be there, ``next_commit`` the first that will not;
    ``first_commit`` is the oldest from the backup's start on. ``newest_reachable`` is the last archived commit on
    the target's branch, timeline ``branch``. ``end_lsn`` is where the last record needed ends. ``unfinished`` are those
    of the segments that are there as ``.partial`` only (B15).
    """

    backup: str
    timeline: int
    lsn: int
    inclusive: bool
    end_lsn: int
    segments: tuple[PlannedSegment, ...]
    histories: tuple[str, ...]
    first_commit: Commit | None
    last_commit: Commit | None
    next_commit: Commit | None
    newest_reachable: Commit | None
    wal_bytes: int
    target: Target
    branch: int
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    history_digests: Mapping[str, str] = field(default_factory=dict)
    timelines: tuple[int, ...] = ()
    unfinished: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values; the segments as their number, the first and the last (the plan holds them all)."""

        def commit(value: Commit | None) -> dict[str, Any] | None:
            return value.to_dict() if value else None

        return {
            "backup": self.backup,
            "target": self.target.to_dict(),
            "timeline": self.timeline,
            "branch": self.branch,
            "lsn": format_lsn(self.lsn),
            "inclusive": self.inclusive,
            "end_lsn": format_lsn(self.end_lsn),
            "first_commit": commit(self.first_commit),
            "last_commit": commit(self.last_commit),
            "next_commit": commit(self.next_commit),
            "newest_reachable": commit(self.newest_reachable),
            "wal": {
                "segments": len(self.segments),
                "first": self.segments[0].name,
                "last": self.segments[-1].name,
                "plain_bytes": self.wal_bytes,
                "stored_bytes": sum(segment.stored_bytes for segment in self.segments),
                "histories": list(self.histories),
                "history_digests": dict(self.history_digests),
                "unfinished": [dict(one) for one in self.unfinished],
            },
            "timelines": list(self.timelines),
            "warnings": list(self.warnings),
        }
