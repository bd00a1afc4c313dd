# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the index remembers of one segment: enough to answer nearly everything without reading it again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from .waldump import RawEnd, RestorePoint, TimelineSwitch, lsn_of, time_of


class Mark(NamedTuple):
    """A commit: the start of its record, its time as text in UTC (texts sort as times do), its xid."""

    lsn: int
    time: str
    xid: int

    @property
    def moment(self) -> datetime:
        """The time."""
        return time_of(self.time)


@dataclass(frozen=True)
class Entry:
    """A segment's facts. It answers for the records that END in the segment.

    ``fault`` is (code, text) or None. ``digest`` is the identity of its content (:mod:`.content`), None when that
    could not be read. ``joined`` is the digest of the predecessor with which the chain of records across the boundary
    has been checked. ``last_lsn`` is the start of the last record that ends here, ``tail_lsn`` of the last one
    that begins at or before the end. Times and xids are of commits and aborts, subtransactions included.
    ``page_timeline`` is what the first page says; ``switches`` are the beginnings of timelines: position, the
    timeline that begins, the one that was left.

    ``end_lsn`` is where an unfinished segment (B15) ends, None for a whole one; ``is_ragged`` says that something
    follows there which is neither a sound record nor zeros. Such entries are never written to the index.
    """

    name: str
    signature: str
    stored_bytes: int
    digest: str | None = None
    fault: tuple[str, str] | None = None
    joined: str | None = None
    first_lsn: int | None = None
    last_lsn: int | None = None
    tail_lsn: int | None = None
    is_open: bool = False
    commits: int = 0
    aborts: int = 0
    first_commit: Mark | None = None
    last_commit: Mark | None = None
    min_time: str | None = None
    max_time: str | None = None
    min_xid: int | None = None
    max_xid: int | None = None
    restore_points: tuple[tuple[str, int, int], ...] = ()
    page_timeline: int | None = None
    switches: tuple[tuple[int, int, int], ...] = ()
    end_lsn: int | None = None
    is_ragged: bool = False

    @property
    def stored_name(self) -> str:
        """Under which name the source has it."""
        return self.name if self.end_lsn is None else f"{self.name}.partial"

    @property
    def is_unreadable(self) -> bool:
        """Whether the fault may go away by itself, so that it is worth another try."""
        return self.fault is not None and self.fault[0] == "segment-unreadable"

    @property
    def is_joinable(self) -> bool:
        """Whether it is a segment of this place, so that its records can continue a neighbour's."""
        return self.digest is not None and (self.fault is None or self.tail_lsn is not None)

    def to_json(self) -> dict[str, Any]:
        """A flat object of JSON values without the defaults."""
        defaults = _DEFAULTS
        return {key: value for key, value in self.__dict__.items() if defaults.get(key, _MISSING) != value}


_MISSING = object()
_DEFAULTS: dict[str, Any] = {
    name: field.default
    for name, field in Entry.__dataclass_fields__.items()
    if name not in ("name", "signature")
}


def entry_from_json(value: dict[str, Any]) -> Entry:
    """Back from :meth:`Entry.to_json`. Raises TypeError, KeyError or ValueError for what is none."""
    for key in ("first_commit", "last_commit"):
        if value.get(key) is not None:
            lsn, time, xid = value[key]
            value[key] = Mark(lsn, time, xid)
    if "fault" in value:
        code, text = value["fault"]
        value["fault"] = (code, text)
    if "switches" in value:
        value["switches"] = tuple((lsn, timeline, previous) for lsn, timeline, previous in value["switches"])
    if "restore_points" in value:
        value["restore_points"] = tuple((name, lsn, end) for name, lsn, end in value["restore_points"])
    return Entry(**value)


class Tally:
    """Sums up the transaction ends of one segment."""

    def __init__(self) -> None:
        self.commits = 0
        self.aborts = 0
        self.first: Mark | None = None
        self.last: Mark | None = None
        self.times: list[bytes] = []
        self.xids: list[int] = []
        self.points: list[RestorePoint] = []
        self.switches: list[TimelineSwitch] = []

    def add(self, found: list[RawEnd]) -> None:
        """Take more ends, in order."""
        commits = [raw for raw in found if raw[4] == b"COMMIT"]
        self.commits += len(commits)
        self.aborts += len(found) - len(commits)
        if commits:
            self.first = self.first or _mark(commits[0])
            self.last = _mark(commits[-1])
        times = [raw[6] for raw in found]
        self.times += [min(times), max(times)]
        xids = [int(raw[5] or raw[1]) for raw in found]
        for raw in found:
            if raw[7]:
                xids += map(int, raw[7].split())
        self.xids += [min(xids), max(xids)]

    def facts(self) -> dict[str, Any]:
        """The fields of an :class:`Entry`."""
        return {
            "commits": self.commits,
            "aborts": self.aborts,
            "first_commit": self.first,
            "last_commit": self.last,
            "min_time": min(self.times).decode() if self.times else None,
            "max_time": max(self.times).decode() if self.times else None,
            "min_xid": min(self.xids, default=None),
            "max_xid": max(self.xids, default=None),
            "switches": tuple((one.lsn, one.timeline, one.previous) for one in self.switches),
            "restore_points": tuple((point.name, point.lsn, point.end_lsn) for point in self.points),
        }


def _mark(raw: RawEnd) -> Mark:
    return Mark(lsn_of(raw[2], raw[3]), raw[6].decode(), int(raw[5] or raw[1]))
