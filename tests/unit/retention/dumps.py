# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Random lives of a shelf of dumps, and what an expiry owes to them, worked out from the life's own calendar."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.dumps import (
    Dump,
    Shelf,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.leases import Lease
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.selection import Selection
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.generations import DumpState
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.policy import (
    DumpPolicy,
    Generations,
)

BIRTH = datetime(2025, 12, 20, 1, tzinfo=timezone.utc)
HOUR = 3600
DAY = 24 * HOUR
#: Of each database and series; the last one is a schema dump.
KINDS = (
    ("app", "nightly", Selection()),
    ("app", "tables", Selection(tables=("public.orders",))),
    ('it\'s "odd"\n/データ', "nightly", Selection()),
    ("app", "shape", Selection("schema")),
)


@dataclass
class DumpLife:
    """A shelf's life, grown from a seed. ``odd``: with clocks that go wrong. ``most``: so many dumps at most."""

    seed: int
    odd: bool = False
    most: int = 60
    dumps: list[Dump] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)
    leases: list[Lease] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"dumps {self.seed} {self.odd}")
        now, skew = BIRTH + timedelta(days=self.dice.randrange(60)), timedelta()
        kinds = KINDS[: self.dice.randint(1, len(KINDS))]
        pace = self.dice.choice([HOUR, 6 * HOUR, DAY, DAY, 7 * DAY, 40 * DAY])
        for number in range(self.dice.randint(0, self.most)):
            now += timedelta(seconds=self.dice.choice([60, pace, pace, 2 * pace]))
            if self.odd and self.dice.random() < 0.1:
                skew = timedelta(days=self.dice.choice([0, 0, 1, 400, 4000, -1, -30, -400]))
            self._dump(number + 1, self.dice.choice(kinds), now + skew)
        self.policy = DumpPolicy(self._rules(), self._rules() if self.dice.random() < 0.4 else None)

    def _rules(self) -> Generations:
        dice = self.dice
        return Generations(
            daily=dice.choice([0, 0, 1, 3, 7]),
            weekly=dice.choice([0, 0, 1, 4]),
            monthly=dice.choice([0, 0, 1, 3]),
            yearly=dice.choice([0, 0, 2]),
            count=dice.choice([0, 0, 3]),
            age_seconds=dice.choice([None, None, 0, 2 * DAY, 30 * DAY]),
            minimum=dice.choice([1, 1, 2, 5]),
        )

    def _dump(self, sequence: int, kind: tuple[str, str, Selection], said: datetime) -> None:
        dice = self.dice
        database, series, selection = kind
        status = dice.choices(["verified", "failed", "running"], [0.85, 0.1, 0.05])[0]
        one = Dump(
            database=database,
            label=f"{sequence:04}-{series}",
            series=series,
            sequence=sequence,
            status=status,
            started_at=said,
            stopped_at=said + timedelta(seconds=30) if status == "verified" else None,
            format="custom",
            selection=selection,
            data="dump.custom" if status == "verified" else "",
            pinned=status == "verified" and dice.random() < 0.04,
            owner={"pid": 0},
            unsound={"code": "dump-file-damaged"} if status == "verified" and dice.random() < 0.05 else None,
        )
        self.dumps.append(one)
        if status == "running" and dice.random() < 0.5:
            self.alive.add(one.key)
        if dice.random() < 0.04:
            self.leases.append(Lease(f"load-{sequence}", "load", one.key, None, None, True, {}))

    def state(self, dumps: Iterable[Dump] | None = None) -> DumpState:
        """What the engine would be told of it."""
        ordered = sorted(self.dumps if dumps is None else dumps, key=lambda one: (one.database, one.sequence))
        held = {lease.label: (lease.id,) for lease in self.leases}
        return DumpState(Shelf(tuple(ordered)), frozenset(self.alive), held)

    # -- the truth -------------------------------------------------------------------------------------

    def groups(self) -> list[list[Dump]]:
        """What has generations of its own, in the order of life."""
        found: dict[tuple[str, str], list[Dump]] = {}
        for one in self.dumps:
            found.setdefault((one.database, one.series), []).append(one)
        return list(found.values())

    def protected(self) -> set[str]:
        """What nobody may delete, whatever the policy."""
        return (
            {one.key for one in self.dumps if one.pinned}
            | {str(lease.label) for lease in self.leases}
            | self.alive
        )

    def wanted(self, group: list[Dump]) -> set[str]:
        """Of sane clocks: by the calendar, period by period."""
        rules = self.policy.of("schema" if group[0].selection.content == "schema" else "dump")
        good = [one for one in group if one.verified]
        found = {one.key for one in good[-max(rules.minimum, rules.count) :]}
        if rules.age_seconds is not None and good:
            since = good[-1].ended_at - timedelta(seconds=rules.age_seconds)
            found |= {one.key for one in good if one.ended_at >= since}
        for count, form in (
            (rules.daily, "%Y-%m-%d"),
            (rules.weekly, "%G-%V"),
            (rules.monthly, "%Y-%m"),
            (rules.yearly, "%Y"),
        ):
            last_of = {one.started_at.strftime(form): one.key for one in good}
            periods = sorted(last_of)
            found |= {last_of[period] for period in (periods[-count:] if count else [])}
        return found

    def promised(self, kept: set[str]) -> None:
        """As :meth:`check`, of an expiry that has died: what is to stay is there."""
        missing = self.protected() - kept
        for group in self.groups():
            missing |= self.wanted(group) - kept
        assert not missing, f"{missing} went"

    def check(self, kept: set[str]) -> None:
        """Hold what is left against what was promised, nothing more and nothing less."""
        for group in self.groups():
            good = [one for one in group if one.verified]
            mine = {one.key for one in group} & kept
            rules = self.policy.of("schema" if group[0].selection.content == "schema" else "dump")
            newest = {one.key for one in good[-max(rules.minimum, rules.count) :]}
            assert newest <= kept, f"one of the newest is gone: {newest - kept}"
            assert self.protected() & {one.key for one in group} <= kept
            records = {
                one.key
                for place, one in enumerate(group)
                if not one.verified and not any(later.verified for later in group[place + 1 :])
            }
            assert records <= kept, "a failure that nothing good has followed is forgotten"
            rest = mine - self.protected() - records
            assert rest <= {one.key for one in good}, f"{rest} is no good dump and lingers"
            if not self.odd:
                assert rest == self.wanted(group) - self.protected() - records
            elif rules.age_seconds is None:
                most = rules.daily + rules.weekly + rules.monthly + rules.yearly
                assert len(rest) <= most + max(rules.minimum, rules.count)
                # A clock that leaps makes generations at most shorter by those that it stamped wrongly.
                stay = mine & {one.key for one in good}
                assert len(stay) >= min(len({one.started_at.date() for one in good}), rules.daily)
