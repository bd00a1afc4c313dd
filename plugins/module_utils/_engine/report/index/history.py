# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Since when an index has not been scanned on this node, as far as that is proven; and what was written meanwhile.

A counter of zero says nothing of the time that it was zero for: statistics are reset, lost in a crash and begun anew by
a promotion, and catalogs do not say when an index was made. Proven is only what this baseline has watched, or what the
server says itself (``last_idx_scan``, version 16). Whatever breaks the proof begins the window again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...core.clock import format_utc
from ..baseline import Area, Marks, Window
from ..session import moment
from .facts import Database, Index

#: An entry of the baseline: oid, scans, since when it has these scans (seconds), bytes per row at its best.
_OID, _SCANS, _SINCE, _BEST = range(4)
#: A planner's look at the end of an index counts as a scan that reads one entry.
_PROBE_READS = 1.0


@dataclass(frozen=True)
class Idle:
    """One index on this node: not scanned since (seconds since 1970), and how that is known.

    ``why``: ``watched`` (by this baseline), ``server`` (its last scan), ``first-run``, or what broke the proof just now
    (``reset``, ``counters`` and the others of :class:`..baseline.Window`). ``probes``: it was
    scanned, but reads one entry a scan, as the planner does.
    """

    since: float
    why: str
    probes: bool


@dataclass(frozen=True)
class Past:
    """What the baseline adds to the facts. ``window`` is that of the differences; ``scans``, ``writes`` are those."""

    window: Window
    idle: Mapping[int, Idle]
    scans: Mapping[int, int]
    writes: Mapping[int, int]
    updates: Mapping[int, tuple[int, int]]
    best_bytes_per_row: Mapping[int, float]
    invalid_before: frozenset[str]


def compare(area: Area, database: Database, marks: Marks, now: datetime) -> Past:
    """Hold the facts against the area, and bring the area up to date. The caller stores it, or not (check mode)."""
    place = f"window:{database.name}"
    kept = area.data.get("indexes", {}).get(database.name, {})
    tables_kept = area.data.get("tables", {}).get(database.name, {})
    window = area.window(marks, now, place)
    names = {index.oid: _key(index) for index in database.indexes}
    lower = any(
        entry and entry[_OID] == index.oid and entry[_SCANS] > index.scans
        for index in database.indexes
        for entry in (kept.get(names[index.oid]),)
    )
    if window.why == "stored" and lower:
        window = Window(now, now, "counters")
    fresh = window.why != "stored"
    entries = {
        names[index.oid]: _entry(kept.get(names[index.oid]), index, database, fresh=fresh)
        for index in database.indexes
    }
    begun = area.data.get(place, {}).get("begun", {}) if not fresh else {}
    tables = {f"{table.schema}\n{table.name}": table for table in database.tables.values()}
    counters = {
        name: [table.oid, table.writes, table.updates, table.hot_updates] for name, table in tables.items()
    }
    if fresh:
        area.restart(marks, now, place, begun={name: entry[_SCANS] for name, entry in entries.items()})
        tables_kept = counters
    invalid = area.data.get("invalid", {}).get(database.name, [])
    past = Past(
        window=window,
        idle={
            index.oid: _idle(entries[names[index.oid]], index, database, begun=window.why if fresh else None)
            for index in database.indexes
        },
        scans={
            index.oid: index.scans - int(begun[names[index.oid]])
            for index in database.indexes
            if names[index.oid] in begun
        },
        writes={
            table.oid: table.writes - int(tables_kept[name][1])
            for name, table in tables.items()
            if _same(tables_kept.get(name), table.oid)
        },
        updates={
            table.oid: (
                table.updates - int(tables_kept[name][2]),
                table.hot_updates - int(tables_kept[name][3]),
            )
            for name, table in tables.items()
            if _same(tables_kept.get(name), table.oid)
        },
        best_bytes_per_row={
            index.oid: float(entries[names[index.oid]][_BEST])
            for index in database.indexes
            if entries[names[index.oid]][_BEST]
        },
        invalid_before=frozenset(invalid),
    )
    area.data.setdefault("indexes", {})[database.name] = entries
    # Tables keep what they had when the window began: the difference grows with it.
    area.data.setdefault("tables", {})[database.name] = {
        name: tables_kept[name] if _same(tables_kept.get(name), counters[name][0]) else counters[name]
        for name in counters
    }
    area.data.setdefault("invalid", {})[database.name] = sorted(
        names[index.oid]
        for index in database.indexes
        if not index.usable and index.oid not in database.building
    )
    return past


def _same(entry: Any, oid: int) -> bool:
    return bool(entry) and entry[0] == oid


def _key(index: Index) -> str:
    return f"{index.schema}\n{index.name}"


def name_of(index: Index) -> str:
    """What the baseline calls an index."""
    return _key(index)


def _entry(kept: Any, index: Index, database: Database, *, fresh: bool) -> list[Any]:
    moved = not kept or kept[_OID] != index.oid or kept[_SCANS] != index.scans
    since = database.taken_at if moved or fresh else kept[_SINCE]
    best = kept[_BEST] if kept and kept[_OID] == index.oid else None
    size = index.pages * database.block_bytes
    # A rebuilt index has another oid (REINDEX CONCURRENTLY) or fewer pages: its best is then that.
    now = round(size / index.rows, 2) if index.rows > 1000 and index.usable else None
    if now is not None and (best is None or now < best):
        best = now
    return [index.oid, index.scans, since, best]


def _idle(entry: list[Any], index: Index, database: Database, *, begun: str | None) -> Idle:
    """``begun``: why everything is watched from now on only, if that is so."""
    watched = float(entry[_SINCE])
    probes = index.scans > 0 and index.reads <= _PROBE_READS * index.scans
    if index.last_scan is not None and index.last_scan < watched:
        return Idle(index.last_scan, "server", probes)
    if watched >= database.taken_at:
        return Idle(watched, begun or "first-run", probes)
    return Idle(watched, "watched", probes)


def shown(since: float, until: float, why: str) -> dict[str, Any]:
    """A window as a finding has it."""
    return {
        "since": format_utc(moment(since)),
        "until": format_utc(moment(until)),
        "seconds": round(until - since, 3),
        "why": why,
    }
