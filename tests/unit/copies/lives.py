# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The random lives of archives (:mod:`tests.unit.retention.history`) as the sheets of a copy that got all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.keep import KeepPlan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.sheets import Kept, Sheet
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import Catalog
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import Target
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.lsn import format_lsn
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.proof import decide
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.reach import Reach
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.waldump import TransactionEnd
from tests.unit.retention.history import SIZE, SYSTEM, Life
from tests.unit.retention.promises import Promises
from tests.unit.retention.test_model import state_of

#: Of a record of a commit.
_LENGTH = 40
Segments = set[tuple[int, int]]


def copied(life: Life) -> set[str]:
    """The labels of the backups that a copy gets: finished ones whose chain is whole."""
    catalog = Catalog(tuple(life.backups), ())
    return {one.label for one in catalog.backups if one.verified and catalog.fault(one) is None}


class CopyPromises(Promises):
    """What a copy owes: its window ends with the newest thing that it has, and a segment without any commit, of which
    sheets tell nothing, is one, too."""

    def _last(self) -> datetime:
        came = [at for place, at in self.life.arrivals.items() if place in self.present]
        return max([super()._last(), *came])


def only_copied(life: Life) -> None:
    """What no copy ever has: leases, backups that run or failed."""
    life.leases.clear()
    life.alive.clear()
    labels = copied(life)
    life.backups = [one for one in life.backups if one.label in labels]


def sheets_of(life: Life, *, elsewhere: bool = False) -> dict[str, Sheet]:
    """All of it, as runs of ``dbkeeper copy`` leave it. ``elsewhere``: WAL was archived where the clock is right."""
    found: dict[str, Sheet] = {}
    labels = copied(life)
    for one in life.backups:
        if one.label in labels:
            group = f"base/{one.label}"
            facts = one.to_dict()
            kept = Kept(f"{group}/base.tar.zst", 5, "", 5, "", "", life.stopped[one.label].timestamp())
            found[group] = Sheet(group, "base", "whole", facts, {kept.name: kept})
    for timeline, number in sorted(life.present()):
        key = f"wal/{SYSTEM}/{timeline:08X}/{life.name(timeline, number)}.zst"
        at = (life.arrivals if elsewhere else life.came)[timeline, number]
        kept = Kept(key, 9, "", 9, "", "", at.timestamp())
        group = key.rpartition("/")[0] + f"/{life.name(timeline, number)[:16]}"
        found[group] = found.get(group, Sheet(group, "wal", "whole")).having(key, kept)
    texts = {f"{child:08X}.history": history(life, child) for child in life.forks}
    if texts:
        group = f"wal/{SYSTEM}/histories"
        found[group] = Sheet(group, "wal", "whole", {"histories": texts})
    return found


def history(life: Life, timeline: int) -> str:
    """The file as PostgreSQL writes it."""
    lines = [life.forks[one] for one, _end in reversed(life.ancestry(timeline)) if one in life.forks]
    return "".join(f"{parent}\t{format_lsn(position)}\tby a test\n" for parent, position in lines)


def left(life: Life, plan: KeepPlan) -> tuple[set[str], Segments]:
    """The labels and segments that stay in the copy."""
    gone = {key.rpartition("/")[2][:24] for key in plan.wal}
    labels = copied(life) - {group.removeprefix("base/") for group in plan.groups}
    return labels, {one for one in life.present() if life.name(*one) not in gone}


class Reader:
    """Reads the single records of a life for the prover."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def ends(self, reach: Reach, number: int) -> list[TransactionEnd]:
        """See Records."""
        return [
            TransactionEnd(one.lsn, one.lsn + _LENGTH, True, 1, one.said, ())
            for one in self._life.line(reach.branch.timeline)
            if (one.lsn + _LENGTH - 1) // SIZE == number
        ]

    def record_from(self, reach: Reach, lsn: int) -> tuple[int, int] | None:
        """A record begins at every multiple of 64."""
        start = (lsn + 63) // 64 * 64
        return (start, start + _LENGTH) if start + _LENGTH <= reach.end else None


def proven(life: Life, labels: set[str], present: Segments, lsn: int) -> bool:
    """Whether the prover of a restore says that this position of the present can be reached."""
    catalog = Catalog(tuple(one for one in life.backups if one.label in labels), ())
    entries = life.entries()
    names = {life.name(*one) for one in present}
    whole = state_of(life).systems[0].archive
    if whole is None:
        raise ValueError("a life has an archive")
    archive = replace(whole, entries={name: entries[name] for name in entries if name in names})
    usable = [one.facts() for one in catalog.usable()]
    try:
        decide(usable, Target("lsn", lsn, timeline=life.timeline), archive, Reader(life))
    except Refused:
        return False
    return True
