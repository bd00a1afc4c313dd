# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How deep each stored thing is verified now: pure.

Every day what is new, what has changed, and a part of the rest in turn, so that each byte is read about once in
``ROUND``; thorough: everything, from the stored bytes to each file in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

#: Only names and sizes; the stored bytes against their digests; unpacked, each file against the manifest.
LOOK, DIGEST, FULL = "look", "digest", "full"
ROUND = timedelta(days=7)
#: A thorough run that was interrupted is continued so long; after that it begins anew.
PATIENCE = timedelta(days=7)

GOOD, BAD = "good", "bad"


@dataclass(frozen=True)
class Item:
    """Something stored. ``signature`` changes when its files may have."""

    identity: str
    stored_bytes: int
    signature: str


@dataclass(frozen=True)
class Known:
    """What the last verification of an item said. ``read_at``: when its bytes were read, at ``full_at`` unpacked."""

    result: str
    signature: str
    read_at: datetime | None
    full_at: datetime | None


@dataclass(frozen=True)
class Step:
    """An item, how deep it is looked at, and why."""

    item: Item
    depth: str
    why: str


def make_plan(
    items: Sequence[Item],
    known: Mapping[str, Known],
    *,
    now: datetime,
    asked: bool = False,
    thorough_since: datetime | None = None,
) -> list[Step]:
    """In the order of ``items``.

    ``asked``: they were named. ``thorough_since``: everything is read that has not been since then, which is when a
    thorough run began, perhaps one that was interrupted.
    """
    turn = _turn(items, known, now)
    return [_step(item, known.get(item.identity), turn, asked, thorough_since, now) for item in items]


def _step(
    item: Item,
    known: Known | None,
    turn: frozenset[str],
    asked: bool,
    thorough_since: datetime | None,
    now: datetime,
) -> Step:
    if asked:
        return Step(item, FULL, "asked")
    if known is None or known.full_at is None:
        return Step(item, FULL, "new")
    if known.result != GOOD:
        # Somebody may have mended it; only then is it said to be good again.
        return Step(item, FULL, "was-bad")
    if known.signature != item.signature:
        return Step(item, FULL, "changed")
    if thorough_since is not None:
        if thorough_since <= known.full_at <= now:
            return Step(item, LOOK, "read-before")
        return Step(item, FULL, "thorough")
    if item.identity in turn:
        return Step(item, DIGEST, "turn")
    return Step(item, LOOK, "known")


def _turn(items: Sequence[Item], known: Mapping[str, Known], now: datetime) -> frozenset[str]:
    """Whose turn it is: those read longest ago, as many as make up a day's share of all bytes, and one at least."""
    share = sum(item.stored_bytes for item in items) * (timedelta(days=1) / ROUND)
    due: list[tuple[datetime, int, str]] = []
    for item in items:
        record = known.get(item.identity)
        if record is None or record.read_at is None:
            continue
        # Read tomorrow: the clock was wrong, and nobody knows when it was.
        if not now - ROUND / 2 < record.read_at <= now:
            due.append((min(record.read_at, now), item.stored_bytes, item.identity))
    chosen: set[str] = set()
    taken = 0
    for _read_at, stored_bytes, identity in sorted(due):
        if taken >= share and chosen:
            break
        chosen.add(identity)
        taken += stored_bytes
    return frozenset(chosen)


@dataclass(frozen=True)
class Sweep:
    """Which segments of an archive are read now, in order of their names; ``begin`` and ``high`` are where it stood."""

    names: tuple[str, ...]
    fresh: int


def sweep(sizes: Mapping[str, int], cursor: str | None, high: Mapping[str, str], *, thorough: bool) -> Sweep:
    """What arrived since the last time (above ``high``, by timeline), then a day's share in turn from ``cursor`` on.

    ``thorough``: everything after ``cursor``; None: from the first.
    """
    names = sorted(sizes)
    if thorough:
        return Sweep(tuple(name for name in names if cursor is None or name > cursor), 0)
    fresh = [name for name in names if name > high.get(name[:8], "")]
    rest = [name for name in names if name <= high.get(name[:8], "")]
    later = [name for name in rest if cursor is None or name > cursor]
    share = sum(sizes.values()) * (timedelta(days=1) / ROUND)
    turn: list[str] = []
    taken = 0
    for name in (*later, *(name for name in rest if name not in set(later))):
        if taken >= share:
            break
        turn.append(name)
        taken += sizes[name]
    return Sweep((*fresh, *turn), len(fresh))
