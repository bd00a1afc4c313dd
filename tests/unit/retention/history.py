# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Random lives of an archive, and what can be restored from it, worked out by brute force from the life itself."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import Backup
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.given_up import GivenUp
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.leases import Lease
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.policy import Policy
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.entry import Entry, Mark
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.records import skip_header
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.waldump import time_text

SIZE = 1 << 20
SYSTEM = 42
BIRTH = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAY = 86400


@dataclass(frozen=True)
class Commit:
    """A commit: where, when by the server's clock, and when in truth."""

    timeline: int
    lsn: int
    said: datetime
    true: datetime


@dataclass
class Life:
    """An archive's life, grown from a seed. ``odd``: with clocks that go wrong, ``astray``: and are set right again.

    ``undone``: some restores are taken back, and the parent's life goes on; ``noted``: the undo is noted, and sometimes
    what was given up is taken up again all the same.
    """

    seed: int
    odd: bool = False
    astray: bool = False
    undone: bool = False
    noted: bool = False
    backups: list[Backup] = field(default_factory=list)
    #: label -> when it stopped in truth.
    stopped: dict[str, datetime] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    #: child -> (parent, position at which it was left).
    forks: dict[int, tuple[int, int]] = field(default_factory=dict)
    #: child -> the timeline that lived when it was made.
    left: dict[int, int] = field(default_factory=dict)
    #: timeline -> numbers of its archived segments.
    archived: dict[int, set[int]] = field(default_factory=dict)
    missing: set[tuple[int, int]] = field(default_factory=set)
    leases: list[Lease] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)
    timeline: int = 1
    #: When each segment came into the archive, in truth.
    arrivals: dict[tuple[int, int], datetime] = field(default_factory=dict)
    notes: dict[tuple[int, int], tuple[GivenUp, ...]] = field(default_factory=dict)
    given_up: dict[int, datetime] = field(default_factory=dict)
    #: The same by the server's clock.
    came: dict[tuple[int, int], datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.rot = random.Random(f"rot {self.seed}")
        self.now = BIRTH
        self.skew = timedelta()
        self._number = 1
        self._next = 2
        self._live()
        self.policy = self._policy()
        #: The clock of the host that expires.
        self.clock = self.now + timedelta(minutes=5)
        if self.odd:
            wrong = self.dice.choice([0, 0, 400 * DAY, 2000 * DAY, -400 * DAY, -5 * DAY])
            self.clock += self.skew + timedelta(seconds=wrong)

    # -- living ----------------------------------------------------------------------------------------

    def _live(self) -> None:
        dice = self.dice
        self._commit()
        self._backup("full")
        for _dummy in range(dice.randint(2, 22)):
            self.now += timedelta(seconds=dice.choice([600, 3600, 6 * 3600, DAY, DAY, 3 * DAY]))
            if not self.odd and self.now - self.commits[-1].true > timedelta(days=4):
                self._commit()
            what = dice.random()
            if what < 0.38:
                self._work()
            elif what < 0.62:
                self._backup("full")
            elif what < 0.76:
                self._backup("incremental")
            elif what < 0.84:
                self._fork()
            elif what < 0.88:
                self._fail()
            elif what < 0.91:
                self._lose()
            elif what < 0.95:
                self._protect()
            elif self.odd:
                days = dice.choice([0, 0, 12, 300, 1500, -12, -300])
                self.skew = timedelta(days=days)
            elif self.astray:
                self._go_astray()
            elif self.undone and self.timeline in self.forks:
                self._undo()
            elif self.noted and self.given_up and dice.random() < 0.25:
                self._take_up_again()
        if dice.random() < 0.15:
            self._running()
        self._work()

    def _go_astray(self) -> None:
        """The clock is wrong for a moment, and right again before anything is expired."""
        self._commit()
        self.skew = timedelta(hours=self.dice.choice([-168, -72, -24, -6, 0.1, 6, 24, 72, 120, 168, 190]))
        self._work()
        if self.dice.random() < 0.5:
            self._backup("full")
        self.skew = timedelta()
        self._commit()

    def said(self, moment: datetime) -> datetime:
        """A moment by the server's clock."""
        return moment + self.skew

    def _commit(self) -> None:
        """Segments until one has a commit: a silence of many days is taken for a leap of the clock."""
        before = len(self.commits)
        while len(self.commits) == before:
            self._segment()

    def _segment(self) -> None:
        """The current segment is full and archived; it has one commit, most of the time."""
        if self.dice.random() < 0.9:
            lsn = self._number * SIZE + 6400
            if lsn >= self._begin():
                self.now += timedelta(seconds=self.dice.choice([1, 30, 300]))
                self.commits.append(Commit(self.timeline, lsn, self.said(self.now), self.now))
        self.archived.setdefault(self.timeline, set()).add(self._number)
        self.arrivals[self.timeline, self._number] = self.now
        self.came[self.timeline, self._number] = self.said(self.now)
        self._number += 1

    def _begin(self) -> int:
        return self.forks[self.timeline][1] if self.timeline in self.forks else 0

    def _work(self) -> None:
        for _dummy in range(self.dice.randint(1, 4)):
            self._segment()

    def _backup(self, kind: str) -> None:
        start = max(self._number * SIZE + 40, self._begin())
        parent = None
        if kind == "incremental":
            on_line = [b for b in self.backups if b.status == "verified" and b.timeline == self.timeline]
            if not on_line:
                return
            parent = self.dice.choice(on_line[-2:]).label
        begun = self.now
        for _dummy in range(self.dice.choice([0, 0, 1])):
            self._segment()
        self.now += timedelta(seconds=60)
        label = f"{len(self.backups):04}-{kind}"
        self.backups.append(
            Backup(
                label=label,
                status="verified",
                started_at=self.said(begun),
                stopped_at=self.said(self.now),
                system_id=SYSTEM,
                major=15,
                wal_segment_size=SIZE,
                kind=kind,
                parent=parent,
                timeline=self.timeline,
                start_lsn=start,
                stop_lsn=max(self._number * SIZE + 640, start + 600),
                # The server found damaged pages while it sent them: whole, and not to be built upon.
                page_faults={"count": 1, "files": []} if self.rot.random() < 0.06 else None,
            )
        )
        self.stopped[label] = self.now
        self._segment()

    def _fork(self) -> None:
        """A restore to somewhere on the line after one of its backups."""
        leading = [b for b in self.backups if b.status == "verified" and self.leads(b, self.timeline)]
        if not leading:
            return
        low = int(self.dice.choice(leading).stop_lsn or 0) // 64 * 64 + 64
        high = self._number * SIZE
        if low >= high:
            return
        position = self.dice.randrange(low, high, 64)
        owner = self.owner(self.timeline, position)
        # Recovery reads the child's copy of a segment that its parent shares with it.
        self.forks[self._next] = (owner, position)
        self.left[self._next] = self.timeline
        self.timeline = self._next
        self._next += 1
        self._number = position // SIZE
        self._work()

    def _undo(self) -> None:
        """Back to the data directory that the last restore has put aside; its next segment is archived there."""
        gone, end = self.timeline, self._number * SIZE + 40
        self.timeline = self.left[self.timeline]
        self._number = max(self.archived[self.timeline]) + 1
        if self.noted:
            note = GivenUp(
                SYSTEM, gone, end, self.timeline, self._number * SIZE + 40, self.said(self.now), "0"
            )
            self.notes[SYSTEM, gone] = (*self.notes.get((SYSTEM, gone), ()), note)
            self.given_up[gone] = self.now
        self._commit()
        if self.dice.random() < 0.5:
            self._backup("full")

    def _take_up_again(self) -> None:
        """Somebody starts what was put aside, in the place of the one that lived: it archives there as before."""
        gone = self.dice.choice(sorted(self.given_up))
        # More than a week of silence is taken for a leap, and what lived meanwhile has a lower number.
        if self.now - self.given_up[gone] <= timedelta(days=4):
            del self.given_up[gone]
            self.timeline, self._number = gone, max(self.archived[gone]) + 1
            self._commit()

    def _fail(self) -> None:
        label = f"{len(self.backups):04}-failed"
        self.backups.append(
            Backup(
                label=label,
                status=self.dice.choice(["failed", "running"]),
                started_at=self.said(self.now),
                system_id=SYSTEM,
                major=15,
                wal_segment_size=SIZE,
                owner={"pid": 0},
            )
        )

    def _running(self) -> None:
        label = f"{len(self.backups):04}-running"
        known = self.dice.random() < 0.5
        parents = [b.label for b in self.backups if b.status == "verified" and b.timeline == self.timeline]
        kind = self.dice.choice(["full", "incremental"]) if parents else "full"
        self.backups.append(
            Backup(
                label=label,
                status="running",
                started_at=self.said(self.now),
                system_id=SYSTEM,
                major=15,
                wal_segment_size=SIZE,
                kind=kind,
                parent=self.dice.choice(parents) if kind == "incremental" else None,
                timeline=self.timeline if known else None,
                start_lsn=max(self._number * SIZE + 40, self._begin()) if known else None,
            )
        )
        self.alive.add(label)

    def _lose(self) -> None:
        """A segment is lost; not of those that are to come."""
        timeline = self.dice.choice(sorted(self.archived))
        self.missing.add((timeline, self.dice.choice(sorted(self.archived[timeline]))))

    def _protect(self) -> None:
        place = self.dice.randrange(len(self.backups))
        backup = self.backups[place]
        if backup.status != "verified":
            return
        if self.dice.random() < 0.5:
            self.backups[place] = backup.changed(pinned=True)
            return
        first = self.name(int(backup.timeline or 1), int(backup.start_lsn or 0) // SIZE)
        segment = first if self.dice.random() < 0.7 else None
        self.leases.append(
            Lease(f"lease-{len(self.leases)}", "restore", backup.label, SYSTEM, segment, True, {})
        )

    def _policy(self) -> Policy:
        dice = self.dice
        window = dice.choice([None, 3600, DAY, 3 * DAY, 10 * DAY, 20 * DAY])
        wal = dice.choice([None, None, None, 3600, DAY, 5 * DAY])
        return Policy(dice.randint(1, 4), window, wal)

    # -- the truth -------------------------------------------------------------------------------------

    @staticmethod
    def name(timeline: int, number: int) -> str:
        """A segment's file name (numbers stay below 4096)."""
        return f"{timeline:08X}00000000{number:08X}"

    def ancestry(self, timeline: int) -> list[tuple[int, int]]:
        """From a timeline down to the first: (timeline, up to where it counts)."""
        found, end = [(timeline, 1 << 62)], 1 << 62
        while timeline in self.forks:
            timeline, position = self.forks[timeline]
            end = min(end, position)
            found.append((timeline, end))
        return found

    def leads(self, backup: Backup, timeline: int) -> bool:
        """Whether the line to a timeline goes through the backup's stop."""
        return any(
            one == backup.timeline and int(backup.stop_lsn or 0) <= end
            for one, end in self.ancestry(timeline)
        )

    def owner(self, timeline: int, position: int) -> int:
        """Whose record lies at a position of a line."""
        found = timeline
        for one, end in self.ancestry(timeline):
            if position < end:
                found = one
        return found

    def segment(self, timeline: int, number: int) -> tuple[int, int]:
        """Which file recovery reads: the youngest timeline's that begins in it or before."""
        while timeline in self.forks and self.forks[timeline][1] // SIZE > number:
            timeline = self.forks[timeline][0]
        return timeline, number

    def line(self, timeline: int) -> list[Commit]:
        """The commits of a line in the order of WAL."""
        return sorted(
            (one for one in self.commits if self.owner(timeline, one.lsn) == one.timeline),
            key=lambda one: one.lsn,
        )

    def present(self) -> set[tuple[int, int]]:
        """The segments of the archive."""
        return {(t, n) for t, numbers in self.archived.items() for n in numbers} - self.missing

    def reaches(self, backup: Backup, timeline: int, lsn: int, present: set[tuple[int, int]]) -> bool:
        """Whether every segment from the backup's start to a position is there."""
        first = int(backup.start_lsn or 0) // SIZE
        return all(self.segment(timeline, n) in present for n in range(first, lsn // SIZE + 1))

    def chained(self, backup: Backup, labels: set[str]) -> bool:
        """Whether it and all that it is built on are there."""
        by_label = {one.label: one for one in self.backups}
        while True:
            if backup.label not in labels:
                return False
            if backup.parent is None:
                return True
            backup = by_label[backup.parent]

    def sound(self, backup: Backup) -> bool:
        """Whether nothing that it consists of has damaged pages."""
        by_label = {one.label: one for one in self.backups}
        while backup.parent is not None and not backup.page_faults:
            backup = by_label[backup.parent]
        return not backup.page_faults

    def fit(self, labels: set[str], present: set[tuple[int, int]]) -> list[Backup]:
        """The verified backups that can become consistent, and of which no part has damaged pages."""
        return [
            one
            for one in self.backups
            if one.status == "verified"
            and self.chained(one, labels)
            and self.sound(one)
            and any(
                self.leads(one, t) and self.reaches(one, t, int(one.stop_lsn or 1) - 1, present)
                for t in [*self.archived]
            )
        ]

    def restorable(
        self, labels: set[str], present: set[tuple[int, int]], timeline: int, lsns: list[int]
    ) -> set[int]:
        """Those commits of a line after which a restore can stop, by position."""
        fit = [one for one in self.fit(labels, present) if self.leads(one, timeline)]
        ends = []
        for one in fit:
            number = int(one.start_lsn or 0) // SIZE
            while self.segment(timeline, number) in present:
                number += 1
            ends.append((int(one.stop_lsn or 0), number * SIZE))
        return {lsn for lsn in lsns if any(stop <= lsn < end for stop, end in ends)}

    def silent(self) -> bool:
        """Whether what is archived tells of more than a week without any sign of life."""
        present = self.present()
        signs = [one.true for one in self.commits if (one.timeline, one.lsn // SIZE) in present]
        signs = sorted([*signs, *self.stopped.values()])
        return any(later - earlier > timedelta(days=7) for earlier, later in zip(signs, signs[1:]))

    # -- as the engine sees it -------------------------------------------------------------------------

    def entries(self) -> dict[str, Entry]:
        """The index of the archive."""
        marks: dict[tuple[int, int], Mark] = {}
        for one in self.commits:
            marks[(one.timeline, one.lsn // SIZE)] = Mark(one.lsn, time_text(one.said), 1)
        found = {}
        present = self.present()
        for timeline, number in present:
            # A child's first segment repeats what its parent wrote before the fork.
            mark = marks.get((timeline, number))
            if mark is None:
                owner = self.owner(timeline, number * SIZE + 6400)
                mark = marks.get((owner, number))
                if mark is not None and owner != timeline and mark.lsn >= self.forks[timeline][1]:
                    mark = None
            before = self.segment(timeline, number - 1)
            name = self.name(timeline, number)
            found[name] = Entry(
                name,
                "signature",
                1000,
                f"digest of {name}",
                None,
                f"digest of {self.name(*before)}" if before in present else None,
                number * SIZE + 40,
                number * SIZE + SIZE - 64,
                number * SIZE + SIZE - 64,
                False,
                1 if mark else 0,
                0,
                mark,
                mark,
                mark.time if mark else None,
                mark.time if mark else None,
                switches=self._switches(timeline, number),
            )
        return found

    def _switches(self, timeline: int, number: int) -> tuple[tuple[int, int, int], ...]:
        """The records with which timelines begin in a segment, as far as they are on its line."""
        found = []
        for child, end in reversed(self.ancestry(timeline)):
            if child in self.forks:
                parent, position = self.forks[child]
                if position < end and position // SIZE == number:
                    found.append((skip_header(position, SIZE), child, parent))
        return tuple(found)
