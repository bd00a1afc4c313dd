# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A base backup is worth nothing without the WAL from its start to its stop: seen in the repository, or no backup."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from ..core.errors import Failed
from ..repository.catalog import Backup
from ..repository.layout import Repository
from ..repository.manifest import WalRange
from ..wal.segment import Segment, last_segment_of, segment_name, segment_of
from .state import ready_segments

_COARSE = timedelta(milliseconds=50)
_QUIET_SECONDS = 3.0
_FAILING_SECONDS = 30.0
_STUCK_SECONDS = 600.0
_ARRIVAL_SECONDS = 60.0
_WAITING = "waiting for wal archiving to finish"


def stop_time(data_directory: str, first: WalRange, backup: Backup, ended_at: datetime) -> datetime:
    """A moment at which the backup had certainly stopped, and as early as it is known.

    The program ends long afterwards when the archiver is slow. The server writes the backup history file just
    after the stop record (PostgreSQL manual, "Continuous Archiving"); its time of change is that moment, on
    the clock of the file system: coarse, and foreign on a network, so it is believed only in its bounds.
    """
    size = backup.wal_segment_size
    segment = segment_name(Segment(first.timeline, segment_of(first.start_lsn, size)), size)
    try:
        written = os.stat(f"{data_directory}/pg_wal/{segment}.{first.start_lsn % size:08X}.backup").st_mtime
    except OSError:
        return ended_at
    known = datetime.fromtimestamp(written, timezone.utc) + _COARSE
    return known if backup.started_at < known < ended_at else ended_at


class ArchiveWatch:
    """At its end the server waits for its archiver, for ever if need be. This one gives up with a reason.

    Bounded by progress, not by time: a slow archiver may take its time, one that fails for half a minute or
    stands still for ten may not.
    """

    def __init__(self, config: ClusterConfig, attempted: str) -> None:
        self._config = config
        self._attempted = attempted
        self._seen: tuple[str, ...] | None = None
        self._moved = time.monotonic()
        self._failing_since: float | None = None

    def watch(self, quiet_seconds: float) -> None:
        """Called while the copy runs. Raises :class:`Failed`: ``archiving-failing``, ``archive-stuck``."""
        if quiet_seconds < _QUIET_SECONDS:
            self._failing_since = None
            self._moved = time.monotonic()
            return
        row = query(
            self._config,
            "SELECT (SELECT min(phase) FROM pg_stat_progress_basebackup),"
            " coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false),"
            " coalesce(last_failed_wal, '') FROM pg_stat_archiver",
        )[0]
        self.judge(str(row[0]), row[1] == "t", str(row[2]), ready_segments(self._config.data_directory))

    def judge(self, phase: str, failing: bool, segment: str, ready: tuple[str, ...]) -> None:
        """Decide from what was found now and before."""
        now = time.monotonic()
        if phase != _WAITING or ready != self._seen:
            self._seen, self._moved = ready, now
        if phase != _WAITING or not failing:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = now
        if self._failing_since is not None and now - self._failing_since > _FAILING_SECONDS:
            raise self._failed(
                "archiving-failing", f"the archiver fails at {segment} for {now - self._failing_since:.0f} s"
            )
        if phase == _WAITING and now - self._moved > _STUCK_SECONDS:
            raise self._failed("archive-stuck", f"the archiver has not moved for {now - self._moved:.0f} s")

    def _failed(self, code: str, what: str) -> Failed:
        return Failed(
            code,
            attempted=self._attempted,
            happened=f"the copy is whole, but its WAL does not get into the archive: {what}",
            remedy="Read the server's log for the words of archive_command, mend it, then run the same command again.",
        )


def needed_segments(timeline: int, start_lsn: int, stop_lsn: int, size: int) -> list[str]:
    """The names of the segments from a backup's start to its stop (which is exclusive)."""
    numbers = range(segment_of(start_lsn, size), last_segment_of(stop_lsn, size) + 1)
    return [segment_name(Segment(timeline, number), size) for number in numbers]


def await_wal(
    names: list[str],
    repository: Repository,
    system_id: int,
    config: ClusterConfig,
    *,
    attempted: str,
    report: Callable[[int], None],
) -> None:
    """See every segment of the backup in this repository.

    The server calls them archived; whether they are HERE is another question (an archive_command that goes
    elsewhere, or to /bin/true). Raises :class:`Failed` (``wal-not-in-repository``).
    """
    deadline = time.monotonic() + _ARRIVAL_SECONDS
    while True:
        # Asked first: what is archived between the two is then no longer waited for, and there.
        waiting = set(ready_segments(config.data_directory))
        there = repository.has_wal(system_id, names)
        missing = [name for name in names if name not in there]
        report(len(names) - len(missing))
        if not missing:
            return
        told = not set(missing) & waiting
        if told or time.monotonic() > deadline:
            raise Failed(
                "wal-not-in-repository",
                attempted=attempted,
                happened=(
                    f"{len(missing)} of {len(names)} segments that the backup needs, {missing[0]} first, are not in "
                    f"{repository.wal(system_id)}"
                    + (", though the server calls them archived" if told else "")
                ),
                remedy=(
                    f"archive_command must go to this repository: '{config.command} archive-push --cluster "
                    f"{config.cluster} %p'. Correct it, reload, and run the same command again."
                ),
                details={"missing": missing[:100]},
            )
        time.sleep(0.5 if repository.elsewhere else 0.05)
