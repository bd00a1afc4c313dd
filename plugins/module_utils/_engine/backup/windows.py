# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which moments can be restored: from the stop of a backup to the last commit before the first break. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..core.clock import format_utc
from ..core.errors import KeeperError
from ..wal.archive import Archive
from ..wal.branch import Branch
from ..wal.facts import BackupFacts
from ..wal.forks import Break
from ..wal.lsn import format_lsn
from ..wal.reach import Reach, reach
from ..wal.segment import history_name, last_segment_of, segment_of


@dataclass(frozen=True)
class Window:
    """An unbroken stretch on the line of one timeline.

    ``begin`` is the stop of its oldest backup: nothing before it can be reached. ``until`` is the time of the
    last archived commit, None where nobody has committed since. ``backups`` all lie in it, oldest first.
    """

    timeline: int
    begin: datetime
    begin_lsn: int
    until: datetime | None
    until_lsn: int
    backups: tuple[str, ...]
    broken: Break | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values. ``from`` and ``until`` are moments that a target time may have."""
        return {
            "timeline": self.timeline,
            "from": format_utc(self.begin),
            "from_lsn": format_lsn(self.begin_lsn),
            "until": format_utc(self.until or self.begin),
            "until_lsn": format_lsn(self.until_lsn),
            "commits": self.until is not None,
            "backups": list(self.backups),
            "broken": describe_break(self.timeline, self.broken) if self.broken else None,
        }


def describe_break(timeline: int, broken: Break) -> dict[str, Any]:
    """JSON values."""
    return {
        "timeline": timeline,
        "code": broken.code,
        "first": broken.first,
        "last": broken.last,
        "text": broken.text,
    }


def windows(backups: Sequence[BackupFacts], archive: Archive) -> list[Window]:
    """The windows of every timeline, by timeline and time. One whose history cannot be read has a break only."""
    timelines = set(archive.numbers) | set(archive.timelines.known) | {backup.timeline for backup in backups}
    found: list[Window] = []
    for timeline in sorted(timelines):
        found += _on(timeline, backups, archive)
    return found


def gaps(found: Sequence[Window], promised: Mapping[str, bool] | None = None) -> list[dict[str, Any]]:
    """What ends windows before the end of the archive does; each once.

    ``promised``: label -> whether every moment since is; WAL that the policy has let go behind a backup that is kept
    for itself is no gap. Without it: of all.
    """
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for window in found:
        wanted = not window.backups or any((promised or {}).get(label, True) for label in window.backups)
        if window.broken is not None and wanted:
            key = (window.broken.code, window.broken.first)
            seen.setdefault(key, describe_break(window.timeline, window.broken))
    return list(seen.values())


def _on(timeline: int, backups: Sequence[BackupFacts], archive: Archive) -> list[Window]:
    try:
        branch = archive.branch(timeline)
        leading = [b for b in backups if archive.timelines.descends(timeline, b.timeline, b.stop_lsn)]
    except KeeperError as error:
        # Nobody can say what lies on the line. That is a gap for the backups on it, and for none of other lines.
        own = sorted((b for b in backups if b.timeline == timeline), key=lambda b: b.stop_lsn)
        name = history_name(timeline)
        broken = Break(error.code, name, name, error.happened)
        return [_unreachable(timeline, backup, broken) for backup in own[-1:]]
    found: list[Window] = []
    reached: Reach | None = None
    for backup in sorted(leading, key=lambda b: b.stop_lsn):
        if found and reached is not None and backup.stop_lsn <= reached.end:
            last = found[-1]
            found[-1] = Window(**{**last.__dict__, "backups": (*last.backups, backup.label)})
            continue
        reached = reach(archive, branch, backup.start_lsn)
        if reached.end >= backup.stop_lsn:
            found.append(_window(timeline, backup, reached))
        elif reached.broken is not None or backup.timeline == timeline:
            found.append(
                _unreachable(timeline, backup, reached.broken or _tail(archive, branch, backup, reached))
            )
            reached = None
    return found


def _unreachable(timeline: int, backup: BackupFacts, broken: Break) -> Window:
    """No window at all: the backup cannot even become consistent."""
    return Window(timeline, backup.stopped_at, backup.stop_lsn, None, backup.stop_lsn, (), broken)


def _tail(archive: Archive, branch: Branch, backup: BackupFacts, reached: Reach) -> Break:
    """The archive ends within what the backup needs, and a backup is verified only once it had all of that (B10)."""
    size = archive.segment_bytes
    first = archive.name(branch.segment(segment_of(reached.end, size)))
    last = archive.name(branch.segment(last_segment_of(backup.stop_lsn, size)))
    return Break("segment-missing", first, last, f"the archive ends before backup {backup.label} does")


def _window(timeline: int, backup: BackupFacts, reached: Reach) -> Window:
    newest = reached.newest_commit()
    last = reached.last_record()
    after = newest is not None and newest.lsn >= backup.stop_lsn
    return Window(
        timeline=timeline,
        begin=backup.stopped_at,
        begin_lsn=backup.stop_lsn,
        until=newest.time if newest is not None and after else None,
        until_lsn=max(last[0] if last else 0, backup.stop_lsn),
        backups=(backup.label,),
        broken=reached.broken,
    )
