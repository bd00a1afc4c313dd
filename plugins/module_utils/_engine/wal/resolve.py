# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""From a target to one record: where on a line of history recovery has to stop, and from which backup.

The meaning of each kind is PostgreSQL's own (source: recoveryStopsBefore and recoveryStopsAfter in
xlogrecovery.c). A target by time stops BEFORE the first commit or abort in the order of WAL that is later;
the order of times is not trusted (A18).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ..core.clock import format_utc
from . import refusals
from .archive import Archive
from .branch import Branch
from .exact import Records
from .facts import BackupFacts, Commit, Target
from .reach import Reach, lost_end, reach
from .segment import last_segment_of
from .waldump import TransactionEnd, time_text

_XID_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Found:
    """Where a target lies: stop at the record ``lsn``, which ends at ``end_lsn``; with it, or before it."""

    backup: BackupFacts
    reached: Reach
    lsn: int
    end_lsn: int
    inclusive: bool
    warnings: tuple[str, ...] = ()

    @property
    def last_number(self) -> int:
        """The last segment needed: the record must be read even to stop before it."""
        return last_segment_of(self.end_lsn, self.reached.branch.segment_bytes)


class Resolver:
    """Resolves a target on one branch; ``backups`` are those that lead to it, in any order."""

    def __init__(
        self, archive: Archive, branch: Branch, exact: Records, backups: Sequence[BackupFacts]
    ) -> None:
        self._archive = archive
        self._branch = branch
        self._exact = exact
        self._backups = sorted(backups, key=lambda backup: (backup.stop_lsn, backup.label), reverse=True)
        self._reaches: dict[int, Reach] = {}

    def resolve(self, target: Target) -> Found:
        """The record to stop at, from the newest backup that can be used. Raises :class:`Refused`."""
        if not self._backups:
            raise refusals.no_backup(target, f"no backup leads to timeline {self._branch.timeline}", ())
        value = target.value
        if isinstance(value, datetime):
            return self._time(target, value)
        if isinstance(value, str):
            return self._name(target, value)
        if isinstance(value, int):
            return self._xid(target, value) if target.kind == "xid" else self._lsn(target, value)
        return self._latest(target) if target.kind == "latest" else self._immediate(target)

    # -- the kinds -------------------------------------------------------------------------------------

    def _time(self, target: Target, moment: datetime) -> Found:
        early = [backup for backup in self._backups if backup.stopped_at <= moment]
        if not early:
            raise refusals.before_oldest(target, self._backups[-1])
        skewed: list[str] = []
        for backup in early:
            reached = self._usable(target, backup)
            end = self._first_later(reached, moment, target.inclusive)
            if end is None:
                if reached.broken:
                    raise self._broken(target, reached)
                if not target.allow_idle_gap:
                    raise refusals.after_last_commit(target, self._newest(), backup, self._archive.partials)
                return self._at_known_end(target, backup, reached)
            if end.lsn >= backup.stop_lsn:
                skewed += self._left_out(reached, end, target)
                return Found(backup, reached, end.lsn, end.end_lsn, False, tuple(skewed))
            # A transaction inside the backup's window is later than the asked time: the clock went back.
            skewed.append(
                f"backup {backup.label} was passed over: its window holds a transaction of {format_utc(end.time)}, "
                f"later than the asked time {format_utc(moment)}, although the backup ended before it, at "
                f"{format_utc(backup.stopped_at)}: the clock was set back (A18)"
            )
        raise refusals.before_oldest(target, self._backups[-1])

    def _name(self, target: Target, name: str) -> Found:
        known: dict[int, tuple[str, int]] = {}
        for backup in self._backups:
            for point, lsn, end_lsn in self._reach(backup).restore_points():
                known[lsn] = (point, end_lsn)
        places = sorted(lsn for lsn, (point, _dummy) in known.items() if point == name)
        if len(places) > 1:
            raise refusals.point_ambiguous(target, places)
        if not places:
            broken = self._reach(self._backups[0])
            if broken.broken:
                raise self._broken(target, broken)
            raise refusals.point_unknown(
                target, sorted((point, lsn) for lsn, (point, _dummy) in known.items())
            )
        return self._at(target, places[0], known[places[0]][1], inclusive=True)

    def _xid(self, target: Target, value: int) -> Found:
        xid = value & _XID_MASK
        top: int | None = None
        for backup in self._backups:
            for end in self._ends_with(self._reach(backup), xid):
                if not end.committed:  # a subtransaction went with its top-level transaction
                    raise refusals.xid_aborted(target, end.lsn, end.time)
                if end.xid == xid:
                    return self._at(target, end.lsn, end.end_lsn, inclusive=target.inclusive)
                top = end.xid
        newest = self._reach(self._backups[0])
        if newest.broken and top is None:
            raise self._broken(target, newest)
        raise refusals.xid_not_found(target, top, self._newest(), self._backups[0])

    def _lsn(self, target: Target, lsn: int) -> Found:
        usable = [backup for backup in self._backups if backup.stop_lsn <= lsn]
        oldest = self._backups[-1]
        if not usable:
            last = self._reach(oldest).last_record()
            raise refusals.lsn_out_of_range(
                target, oldest.stop_lsn, last[0] if last else None, self._branch.timeline
            )
        backup = usable[0]
        reached = self._usable(target, backup)
        record = self._exact.record_from(reached, lsn)
        if record is not None:
            return Found(backup, reached, record[0], record[1], target.inclusive)
        if reached.broken:
            raise self._broken(target, reached)
        last = reached.last_record()
        raise refusals.lsn_out_of_range(
            target, oldest.stop_lsn, last[0] if last else None, self._branch.timeline
        )

    def _latest(self, target: Target) -> Found:
        backup = self._backups[0]
        reached = self._usable(target, backup)
        if reached.broken:
            raise self._broken(target, reached)
        return self._at_known_end(target, backup, reached)

    def _immediate(self, target: Target) -> Found:
        backup = self._backups[0]
        reached = self._usable(target, backup)
        record = self._exact.record_from(reached, backup.stop_lsn)
        if record is not None:
            return Found(backup, reached, record[0], record[1], False)
        return self._at_end(target, backup, reached)

    # -- what they share -------------------------------------------------------------------------------

    def _reach(self, backup: BackupFacts) -> Reach:
        if backup.start_lsn not in self._reaches:
            self._reaches[backup.start_lsn] = reach(self._archive, self._branch, backup.start_lsn)
        return self._reaches[backup.start_lsn]

    def _usable(self, target: Target, backup: BackupFacts) -> Reach:
        """The reach of a backup whose own window is whole (B10)."""
        reached = self._reach(backup)
        if reached.end >= backup.stop_lsn and reached.steps:
            return reached
        if reached.broken:
            raise self._broken(target, reached)
        needed = self._branch.segment(last_segment_of(backup.stop_lsn, self._archive.segment_bytes))
        raise refusals.refuse(
            "segment-missing",
            target,
            f"segment {self._archive.name(needed)}, in which backup {backup.label} ends, is not in the archive",
            "Bring it back from pg_wal of the server, or choose an older backup.",
            {"first": self._archive.name(needed), "last": self._archive.name(needed), "backup": backup.label},
        )

    def _at(self, target: Target, lsn: int, end_lsn: int, *, inclusive: bool) -> Found:
        """A known record, from the newest backup that ends before it."""
        for backup in self._backups:
            if backup.stop_lsn <= lsn:
                reached = self._usable(target, backup)
                if reached.end < end_lsn:
                    raise self._broken(target, reached)
                return Found(backup, reached, lsn, end_lsn, inclusive)
        raise refusals.before_oldest(target, self._backups[-1])

    def _at_known_end(self, target: Target, backup: BackupFacts, reached: Reach) -> Found:
        """The end of the archive, where nothing that is left of it tells that there was more (B01)."""
        lost = lost_end(self._archive, reached)
        if lost is not None:
            raise self._broken(target, replace(reached, broken=lost))
        return self._at_end(target, backup, reached)

    def _at_end(self, target: Target, backup: BackupFacts, reached: Reach) -> Found:
        last = reached.last_record()
        if last is None:
            raise self._broken(target, reached)
        lsn, step = last
        return Found(backup, reached, lsn, reached.end_of(step), True)

    def _first_later(self, reached: Reach, moment: datetime, inclusive: bool) -> TransactionEnd | None:
        text = time_text(moment)
        for step in reached.steps:
            latest = step.entry.max_time
            if latest is None or latest < text or (inclusive and latest == text):
                continue
            for end in self._exact.ends(reached, step.segment.number):
                later = end.time > moment if inclusive else end.time >= moment
                if later and end.lsn >= reached.start_lsn:
                    return end
        return None

    def _left_out(self, reached: Reach, stop: TransactionEnd, target: Target) -> Iterator[str]:
        """A commit of the asked time or before that lies behind the stop: clocks do not go on with the WAL (A18)."""
        moment = target.value
        if not isinstance(moment, datetime):
            return
        text = time_text(moment)
        for step in reached.steps[
            reached.position(last_segment_of(stop.end_lsn, reached.branch.segment_bytes)) :
        ]:
            if step.entry.min_time is None or step.entry.min_time > text:
                continue
            for end in self._exact.ends(reached, step.segment.number):
                early = end.time < moment or (target.inclusive and end.time == moment)
                if early and end.committed and end.lsn > stop.lsn:
                    yield (
                        f"xid {end.xid} committed at {format_utc(end.time)}, not after the asked time, and will not "
                        f"be there: in the order of WAL it comes after xid {stop.xid} of {format_utc(stop.time)}, "
                        "before which recovery stops; the clock was set back, or both committed at once (A18)"
                    )
                    return

    def _ends_with(self, reached: Reach, xid: int) -> Iterator[TransactionEnd]:
        for step in reached.steps:
            low, high = step.entry.min_xid, step.entry.max_xid
            if low is None or high is None or not low <= xid <= high:
                continue
            for end in self._exact.ends(reached, step.segment.number):
                if end.lsn >= reached.start_lsn and (end.xid == xid or xid in end.subxids):
                    yield end

    def _newest(self) -> Commit | None:
        """The newest commit that some backup can reach, at or after that backup's end."""
        for backup in self._backups:
            commit = self._reach(backup).newest_commit()
            if commit is not None and commit.lsn >= backup.stop_lsn:
                return commit
        return None

    def _broken(self, target: Target, reached: Reach) -> Exception:
        return refusals.broken(target, reached, self._newest(), self._backups[0])
