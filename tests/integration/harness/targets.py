# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Random targets on a cluster with a past, each with the rows that it must bring back."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from .workload import Key
from .world import World, lsn_text, utc


@dataclass(frozen=True)
class Case:
    """A target and the rows that it must bring back."""

    target: dict[str, Any]
    rows: set[Key] = field(repr=False)


class Chooser:
    """Random targets after the oldest backup, each with what must come back."""

    def __init__(
        self, world: World, chance: random.Random, *, zone: str = "", always_timeline: bool = False
    ) -> None:
        """Times are asked for in UTC, or as the clocks of ``zone`` show them; ``always_timeline``: name the branch."""
        self.world = world
        self.zone = zone
        self.always_timeline = always_timeline
        self.chance = chance
        self.first = world.backups[0]
        self.ends = [end for end in world.ends if end.time > self.first.done_at]
        assert len(self.ends) > 10

    def choose(self) -> Case:
        """One target of a random kind."""
        kinds = {self.time: 9, self.xid: 5, self.lsn: 7, self.name: 2, self.latest: 1}
        if self.world.timeline == 1:
            # Of a restored cluster the backup's end lies on another timeline.
            kinds[self.immediate] = 1
        return self.chance.choices(list(kinds), list(kinds.values()))[0]()

    def time(self) -> Case:
        """A commit's exact time, a microsecond beside it, or anywhere between two."""
        position = self.chance.randrange(len(self.ends) - 1)
        moment = self.ends[position].time
        if self.chance.random() < 0.4:
            moment += self.chance.random() * (self.ends[position + 1].time - moment)
        else:
            moment += timedelta(microseconds=self.chance.choice((-1, 0, 0, 0, 1)))
        moment = max(moment, self.first.done_at)
        inclusive = self.chance.random() < 0.5
        stop = self.world.stop_at_time(moment, inclusive)
        if stop is None:
            # Commits of two sessions may lie in another order than their times: after the latest one comes nothing.
            return self.time()
        return self._case(stop, time=self._shown(moment), inclusive=inclusive)

    def xid(self) -> Case:
        """A committed transaction."""
        end = self.chance.choice([end for end in self.ends if end.committed])
        inclusive = self.chance.random() < 0.5
        return self._case(self.world.stop_at_xid(end.xid, inclusive), xid=str(end.xid), inclusive=inclusive)

    def lsn(self) -> Case:
        """A record's start, or a position inside a record."""
        low, high = self.ends[0].lsn, self.ends[-1].lsn
        value = self.chance.randint(low, high)
        if self.chance.random() < 0.4:
            value = self.chance.choice([record for record in self.world.records if low <= record <= high])
        elif self.chance.random() < 0.5:
            value = self.chance.choice(self.ends).lsn
        inclusive = self.chance.random() < 0.5
        return self._case(self.world.stop_at_lsn(value, inclusive), lsn=lsn_text(value), inclusive=inclusive)

    def name(self) -> Case:
        """A restore point."""
        points = {name: lsn for name, lsn in self.world.points.items() if lsn > self.first.stop_lsn}
        name = self.chance.choice(sorted(points))
        return self._case(points[name], name=name)

    def immediate(self) -> Case:
        """The end of a backup."""
        backup = self.chance.choice(self.world.backups)
        return self._case(backup.stop_lsn, immediate=True, backup=backup.label)

    def latest(self) -> Case:
        """Everything."""
        return self._case(1 << 62, latest=True)

    def _case(self, stop: int, **target: Any) -> Case:
        # A position, an xid and a moment may be on a branch left behind, too, and then need their timeline.
        needed = self.always_timeline or self.world.timeline > 1
        if needed and ("name" not in target or self.chance.random() < 0.5):
            target["timeline"] = self.world.timeline
        return Case(target, self.world.rows_before(stop))

    def _shown(self, moment: datetime) -> str:
        if not self.zone:
            return utc(moment)
        return moment.astimezone(ZoneInfo(self.zone)).strftime(f"%Y-%m-%d %H:%M:%S.%f {self.zone}")
