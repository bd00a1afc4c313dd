# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What an expiry owes to a life, in the life's own truth; nothing of the engine decides here."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.unit.retention.history import SIZE, Commit, Life

Present = set[tuple[int, int]]


class Promises:
    """All that must be true of what is left. ``labels`` and ``present`` before the expiry."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.labels = {one.label for one in life.backups}
        self.present = life.present()
        self.fit = life.fit(self.labels, self.present)
        self.since = self._since()
        self.wal_since = self._wal_since()
        self.lines = {t: life.line(t) for t in life.archived if self._lives(t)}
        self.reached = {
            t: life.restorable(self.labels, self.present, t, [one.lsn for one in line])
            for t, line in self.lines.items()
        }

    def _last(self) -> datetime:
        signs = [one.true for one in self.life.commits] + list(self.life.stopped.values())
        return max(signs)

    def newest(self) -> list[str]:
        """The newest full backups of the live line, so many as the policy counts."""
        life = self.life
        full = [one for one in self.fit if one.kind == "full" and life.leads(one, life.timeline)]
        full.sort(key=lambda one: int(one.stop_lsn or 0))
        return [one.label for one in full[-life.policy.full_count :]]

    def _since(self) -> datetime | None:
        counted = self.newest()
        if len(counted) < self.life.policy.full_count:
            return None
        since = self.life.stopped[counted[0]]
        if self.life.policy.window_seconds is not None:
            since = min(since, self._last() - timedelta(seconds=self.life.policy.window_seconds))
        return since

    def _wal_since(self) -> datetime | None:
        if self.life.policy.wal_seconds is None:
            return self.since
        short = self._last() - timedelta(seconds=self.life.policy.wal_seconds)
        return short if self.since is None else max(short, self.since)

    def _lives(self, timeline: int) -> bool:
        if self.since is None or timeline == self.life.timeline:
            return True
        own = [one.true for one in self.life.commits if one.timeline == timeline]
        own += [self.life.stopped[one.label] for one in self.fit if one.timeline == timeline]
        return max(own, default=self.since - timedelta(1)) >= self.since

    def _promised(self, line: list[Commit]) -> list[Commit]:
        return [one for one in line if self.wal_since is None or one.true >= self.wal_since]

    def check(self, labels: set[str], present: Present) -> None:
        """Hold what is left against what was promised. ``labels``: listed, not marked as expired."""
        life = self.life
        left = {one.label for one in life.fit(labels, present)}
        assert set(self.newest()) <= left, "one of the newest full backups is gone or broken"
        for one in self.fit:
            if self.since is None or life.stopped[one.label] >= self.since:
                assert one.label in left, f"{one.label} is within the window"
        for one in self.fit:
            if one.label in labels:
                assert one.label in left, f"{one.label} is listed and broken"
        for timeline, line in self.lines.items():
            after = life.restorable(labels, present, timeline, [one.lsn for one in line])
            lost = {one.lsn for one in self._promised(line)} & self.reached[timeline] - after
            assert not lost, f"timeline {timeline}: {sorted(lost)} cannot be restored any more"
            if not life.odd and self.wal_since is not None:
                self._moment(timeline, self.wal_since, labels, present)
        self._protected(labels, present)

    def _moment(self, timeline: int, moment: datetime, labels: set[str], present: Present) -> None:
        """The first moment of the window itself, between two commits."""
        if not any(one.true > moment for one in self.lines[timeline]):
            return
        before = self._at(timeline, moment, self.labels, self.present)
        assert not before or self._at(timeline, moment, labels, present), f"{moment} on timeline {timeline}"

    def _at(self, timeline: int, moment: datetime, labels: set[str], present: Present) -> bool:
        life = self.life
        for one in life.fit(labels, present):
            if life.stopped[one.label] > moment or not life.leads(one, timeline):
                continue
            later = [
                c.lsn for c in self.lines[timeline] if c.true > moment and c.lsn >= int(one.start_lsn or 0)
            ]
            if life.reaches(one, timeline, min(later, default=int(one.stop_lsn or 1) - 1), present):
                return True
        return False

    def _protected(self, labels: set[str], present: Present) -> None:
        life = self.life
        by_label = {one.label: one for one in life.backups}
        kept = [one.label for one in life.backups if one.pinned]
        kept += [str(lease.label) for lease in life.leases] + sorted(life.alive)
        for label in kept:
            while label:
                assert label in labels, f"{label} is protected"
                label = by_label[label].parent or ""
        for lease in life.leases:
            if lease.first_segment:
                self._from(int(lease.first_segment[:8], 16), int(lease.first_segment[16:], 16), present)
        for label in life.alive:
            one = by_label[label]
            if one.timeline is None or one.start_lsn is None:
                assert present == self.present, "a backup is being taken, nobody knows from where on"
            else:
                self._from(one.timeline, one.start_lsn // SIZE, present)

    def _from(self, timeline: int, number: int, present: Present) -> None:
        needed = {(t, n) for t, n in self.present if t >= timeline and n >= number}
        assert needed <= present

    def nothing_lingers(self, labels: set[str], present: Present) -> None:
        """What is left has a reason: the policy, a protection, or that the promise is poorer without it."""
        life = self.life
        protected = {one.label for one in life.backups if one.pinned} | life.alive
        protected |= {str(lease.label) for lease in life.leases}
        links = {label for one in protected for label in self._chain(one)}
        if self.since is None:
            return
        for one in life.backups:
            if one.label not in labels or one.label in links:
                continue
            stopped = life.stopped.get(one.label, one.started_at)
            if stopped >= self.since:
                continue
            assert one.status == "verified", f"{one.label} is {one.status} and old"
            assert self._missed(one.label, labels, present), f"{one.label} lingers"
        floors = self._floors(labels)
        if floors is None:
            return
        for timeline, number in present:
            assert any(t <= timeline and first <= number <= last for t, first, last in floors), (
                f"{timeline:X}/{number} lingers"
            )

    def _chain(self, label: str) -> list[str]:
        by_label = {one.label: one for one in self.life.backups}
        found = [label]
        while by_label[found[-1]].parent:
            found.append(str(by_label[found[-1]].parent))
        return found

    def _missed(self, label: str, labels: set[str], present: Present) -> bool:
        """Whether something of the promise could not be restored without a backup (and what is built on it)."""
        gone = {one for one in labels if label in self._chain(one)}
        rest = labels - gone
        if any(
            self.life.stopped.get(one, datetime.min.replace(tzinfo=self._last().tzinfo))
            >= (self.since or self._last())
            for one in gone
        ):
            return True
        for timeline, line in self.lines.items():
            moments = [one.true for one in line if self.since and one.true >= self.since]
            for moment in [*([self.since] if self.since else []), *moments]:
                with_it = self._newest_at(timeline, moment, labels)
                if with_it != self._newest_at(timeline, moment, rest):
                    return True
        return False

    def _newest_at(self, timeline: int, moment: datetime, labels: set[str]) -> str | None:
        """The backup that a restore to a moment would begin with, by the archive as it was."""
        found = [
            one
            for one in self.life.fit(labels, self.present)
            if self.life.stopped[one.label] <= moment and self.life.leads(one, timeline)
        ]
        return max(found, key=lambda one: int(one.stop_lsn or 0)).label if found else None

    def _floors(self, labels: set[str]) -> list[tuple[int, int, int]] | None:
        """(timeline, first, last) of what may be kept; None: all of it."""
        life = self.life
        last = 1 << 40
        found = []
        short = life.policy.wal_seconds is not None
        for one in life.backups:
            if one.label not in labels or one.start_lsn is None:
                continue
            first = one.start_lsn // SIZE
            end = (int(one.stop_lsn or 0) - 1) // SIZE if one.stop_lsn else last
            old = short and self.wal_since is not None and not self._begins(one.label, labels)
            only = one.pinned or any(lease.label == one.label for lease in life.leases)
            policy = self.since is None or life.stopped.get(one.label, one.started_at) >= self.since
            if one.label in life.alive or not (
                old or (only and not policy and not self._begins(one.label, labels))
            ):
                end = last
            found.append((int(one.timeline or 0), first, end))
        for lease in life.leases:
            if lease.first_segment:
                found.append((int(lease.first_segment[:8], 16), int(lease.first_segment[16:], 16), last))
        if any(one.label in life.alive and one.start_lsn is None for one in life.backups):
            return None
        return found

    def _begins(self, label: str, labels: set[str]) -> bool:
        """Whether moments of the WAL's window are restored from it."""
        since = self.wal_since
        if since is None or self.life.stopped.get(label, since) >= since:
            return True
        return any(self._newest_at(timeline, since, labels) == label for timeline in self.lines)
