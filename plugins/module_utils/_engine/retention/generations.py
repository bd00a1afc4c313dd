# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which dumps stay: generations by day, week, month and year, by count and by age, without believing any clock. Pure.

A generation is a stretch of neighbours, in the order in which they were begun, that a calendar (UTC) puts on the same
day (week, month, year); the newest of each stretch stands for it. So nothing grows old because nothing is dumped or
because a clock leaps: generations are pushed out by newer ones only, and the last ones never go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ..core.errors import Refused
from ..repository.catalog import EXPIRED, FAILED, RUNNING
from ..repository.dumps import DamagedDump, Dump, Shelf
from .policy import DumpPolicy, Generations

_PERIODS: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "daily": lambda moment: (moment.year, moment.month, moment.day),
    "weekly": lambda moment: tuple(moment.isocalendar())[:2],
    "monthly": lambda moment: (moment.year, moment.month),
    "yearly": lambda moment: (moment.year,),
}


@dataclass(frozen=True)
class DumpVerdict:
    """A dump and its fate; ``why`` a word, ``by`` whom it is leased to."""

    dump: Dump
    keep: bool
    why: str
    by: tuple[str, ...] = ()
    stored_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "key": self.dump.key,
            "database": self.dump.database,
            "label": self.dump.label,
            "series": self.dump.series,
            "kind": self.dump.kind,
            "status": self.dump.status,
            "started_at": self.dump.started_at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "action": "keep" if self.keep else "expire",
            "why": self.why,
            "by": list(self.by),
            "stored_bytes": self.stored_bytes,
        }


@dataclass(frozen=True)
class DumpState:
    """What a choice needs to know. ``alive``: keys of running dumps whose makers live; ``leases``: key -> who holds it
    (the key None: everything); ``sizes``: bytes on disk by key; ``remains``: directories of an earlier expiry."""

    shelf: Shelf = Shelf(())
    alive: frozenset[str] = frozenset()
    leases: Mapping[str | None, tuple[str, ...]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    remains: tuple[str, ...] = ()


@dataclass(frozen=True)
class DumpPlan:
    """All fates, by database and in order of sequence."""

    verdicts: tuple[DumpVerdict, ...] = ()
    remains: tuple[str, ...] = ()
    damaged: tuple[DamagedDump, ...] = ()

    @property
    def doomed(self) -> tuple[DumpVerdict, ...]:
        """What goes, oldest first."""
        return tuple(one for one in self.verdicts if not one.keep)

    @property
    def freed_bytes(self) -> int:
        """Stored bytes that go."""
        return sum(one.stored_bytes for one in self.doomed)


def plan_dumps(policy: DumpPolicy | None, state: DumpState) -> DumpPlan:
    """Decide. Without a policy nothing goes but what an earlier expiry began with."""
    found: list[DumpVerdict] = []
    for group in _groups(state.shelf.dumps):
        wanted = choose_generations(policy.of(group[0].kind), group) if policy else None
        found += [_fate(one, wanted, group, state) for one in group]
    order = {one.key: place for place, one in enumerate(state.shelf.dumps)}
    found.sort(key=lambda one: order[one.dump.key])
    return DumpPlan(tuple(found), state.remains, state.shelf.damaged)


def choose_generations(policy: Generations, group: Sequence[Dump]) -> dict[str, str]:
    """Key -> rule, of the verified dumps of one series (in order of sequence) that stay."""
    newest_first = [one for one in reversed(group) if one.verified]
    wanted: dict[str, str] = {}
    for one in newest_first[: max(policy.minimum, policy.count)]:
        wanted[one.key] = "newest"
    if policy.age_seconds is not None and newest_first:
        newest = newest_first[0].ended_at
        for one in newest_first:
            # What claims to be from the future has a clock that was wrong, not a right to stay.
            if 0 <= (newest - one.ended_at).total_seconds() <= policy.age_seconds:
                wanted.setdefault(one.key, "age")
    for rule, period in _PERIODS.items():
        last, left = None, getattr(policy, rule)
        for one in newest_first:
            here = period(one.started_at.astimezone(timezone.utc))
            if here == last:
                continue
            if left == 0:
                break
            last, left = here, left - 1
            wanted.setdefault(one.key, rule)
    return wanted


def prove_dumps(plan: DumpPlan, policy: DumpPolicy | None) -> None:
    """Said another way than it was chosen: of every series that has a good dump the newest stays, and so does all
    that is leased, pinned or being taken. Raises :class:`Refused` (``expiry-unsafe``)."""
    for group in _groups([one.dump for one in plan.verdicts]):
        keep = {one.dump.key for one in plan.verdicts if one.keep}
        good = [one for one in group if one.verified]
        least = policy.of(group[0].kind).minimum if policy else len(good)
        lost = [one.key for one in good[-least:] if one.key not in keep]
        lost += [one.key for one in group if one.pinned and one.verified and one.key not in keep]
        if lost:
            raise Refused(
                "expiry-unsafe",
                attempted="prove that the newest dumps stay",
                happened=f"{lost[0]} would go; nothing was deleted",
                remedy="Keep the repository as it is and report this with 'dbkeeper expire --dry-run --json'.",
            )


def _groups(dumps: Iterable[Dump]) -> list[list[Dump]]:
    """By database, series and kind, what was selected included: a dump of one table stands for no whole one."""
    found: dict[Any, list[Dump]] = {}
    for one in dumps:
        found.setdefault((one.database, one.series, one.kind, one.selection), []).append(one)
    return list(found.values())


def _fate(
    one: Dump, wanted: Mapping[str, str] | None, group: Sequence[Dump], state: DumpState
) -> DumpVerdict:
    keep, why, by = _reason(one, wanted, group, state)
    return DumpVerdict(one, keep, why, by, state.sizes.get(one.key, 0))


def _reason(
    one: Dump, wanted: Mapping[str, str] | None, group: Sequence[Dump], state: DumpState
) -> tuple[bool, str, tuple[str, ...]]:
    if one.status == EXPIRED:
        # Marked by an expiry that was killed: part of it may be gone.
        return False, "unfinished", ()
    if wanted is None:
        return True, "no-policy", ()
    if one.key in wanted:
        return True, wanted[one.key], ()
    if one.pinned:
        return True, "pinned", ()
    held = (*state.leases.get(one.key, ()), *state.leases.get(None, ()))
    if held:
        return True, "leased", held
    if one.key in state.alive:
        return True, "running", ()
    if one.status in (FAILED, RUNNING) or one.unsound is not None:
        # It stays until a good one has followed: it says why there is none, and something may be saved from it.
        if not any(other.verified and other.sequence > one.sequence for other in group):
            return True, "record", ()
        return False, "unsound" if one.finished else "failed", ()
    return False, "outside", ()
