# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A cluster with a past: backups, a workload with a book, restore points, and the server's own word on all of it.

What can be reached and what must be there then is worked out here from the server's pg_wal (by its own
pg_waldump), from the workload's book and from what the server answered; never from the archive's index.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .cluster import Cluster
from .sandbox import Sandbox
from .waiting import wait_for
from .workload import Commit, Key, Workload, server_commits

MIX = ("--rollbacks=0.1", "--savepoints=0.3", "--prepared=0.1", "--ddl=0.03")
#: A server that keeps all of its WAL, so that the truth can be read from it.
SETTINGS = {"wal_keep_size": "1GB"}

_RECORD = re.compile(r"\blsn: ([0-9A-F]+)/([0-9A-F]+),")


def lsn_number(text: str) -> int:
    """0/3000060 -> an integer."""
    high, _dummy, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def lsn_text(value: int) -> str:
    """Back from :func:`lsn_number`."""
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


@dataclass(frozen=True)
class BaseBackup:
    """A base backup as its manifest and the clock around it tell it."""

    label: str
    start_lsn: int
    stop_lsn: int
    asked_at: datetime
    done_at: datetime


class World:
    """A cluster, its workload, and the truth about its past."""

    def __init__(self, cluster: Cluster, workload: Workload) -> None:
        self.cluster = cluster
        self.workload = workload
        self.since = ""
        self.backups: list[BaseBackup] = []
        self.points: dict[str, int] = {}
        self.marks: dict[str, datetime] = {}
        self.ends: list[Commit] = []
        self.records: list[int] = []
        self.timeline = 1
        #: What came from the timeline before.
        self.inherited: set[Key] = set()

    # -- making a past ---------------------------------------------------------------------------------

    @classmethod
    def begin(cls, cluster: Cluster) -> World:
        """Tables are there, nothing has happened."""
        world = cls(cluster, Workload(cluster, accounts=200))
        world.since = cluster.value("SELECT pg_current_wal_lsn()::text")
        return world

    @classmethod
    def after_restore(cls, earlier: World, stop: int, number: int = 0) -> World:
        """The world on the new timeline of a cluster that was restored to a position, with a book of its own.

        (Transaction ids are used a second time, so one book cannot hold both.)
        """
        cluster, number = earlier.cluster, number or earlier.timeline + 1
        world = cls(cluster, Workload.found(cluster, f"ledger-{number}.jsonl"))
        world.timeline, world.inherited = number, earlier.rows_before(stop)
        world.backups = [backup for backup in earlier.backups if backup.stop_lsn <= stop]
        world.since = cluster.value("SELECT pg_current_wal_lsn()::text")
        return world

    def work(self, transactions: int = 12, *options: str, workers: int = 4) -> World:
        """Let workers commit, roll back, set savepoints, prepare and make tables at the same time."""
        self.workload.run(
            *(options or MIX), f"--seed={len(self.marks)}", workers=workers, transactions=transactions
        )
        return self.mark(f"after work {len(self.marks)}")

    def wait_for_work(self, transactions: int = 60) -> None:
        """Until a started run has written so many lines into its book."""
        before = self.workload.lines()
        wait_for(lambda: self.workload.lines() > before + transactions, "the workload's progress")

    def mark(self, name: str) -> World:
        """Remember the present under a name."""
        self.marks[name] = self.cluster.value("SELECT clock_timestamp()")
        return self

    def point(self, name: str) -> World:
        """Make a restore point."""
        self.points[name] = lsn_number(self.cluster.value("SELECT pg_create_restore_point(%s)::text", name))
        return self

    def backup(self) -> World:
        """Take a base backup with the host command."""
        asked_at = self.cluster.value("SELECT clock_timestamp()")
        label = self.cluster.keeper("backup").expect(0)["backup"]["label"]
        done_at = self.cluster.value("SELECT clock_timestamp()")
        ranges = json.loads(self.manifest(label).read_text())["WAL-Ranges"]
        self.backups.append(
            BaseBackup(
                label,
                lsn_number(ranges[0]["Start-LSN"]),
                lsn_number(ranges[-1]["End-LSN"]),
                asked_at,
                done_at,
            )
        )
        return self

    def manifest(self, label: str) -> Path:
        """A backup's manifest in the repository."""
        return (
            self.cluster.seen(self.cluster.repository)
            / self.cluster.name
            / "base"
            / label
            / "backup_manifest"
        )

    def finish(self) -> World:
        """Have everything archived, and read the truth from the server's WAL."""
        self.cluster.archive_all()
        self.ends = server_commits(self.cluster, self.since, self.timeline)
        acknowledged = self.workload.committed().keys()
        assert acknowledged <= {end.xid for end in self.ends if end.committed}, "the server lost a commit"
        self.records = record_positions(self.cluster, self.since, self.timeline)
        return self

    # -- the truth -------------------------------------------------------------------------------------

    def rows_before(self, lsn: int) -> set[Key]:
        """Rows of every transaction whose commit record starts before a position."""
        rows = self.workload.committed(sent=True)
        here = (rows.get(end.xid, set()) for end in self.ends if end.committed and end.lsn < lsn)
        return self.inherited.union(*here)

    def all_rows(self) -> set[Key]:
        """Rows of every transaction."""
        return self.rows_before(1 << 63)

    def stop_at_lsn(self, lsn: int, inclusive: bool) -> int:
        """Where PostgreSQL's ``recovery_target_lsn`` stops: rows before this position are there."""
        position = bisect_left(self.records, lsn)
        first = self.records[position] if position < len(self.records) else 1 << 62
        return first + 1 if inclusive else first

    def stop_at_time(self, moment: datetime, inclusive: bool) -> int | None:
        """Where ``recovery_target_time`` stops; None when nothing comes after it."""
        for end in self.ends:
            if end.time > moment or (not inclusive and end.time == moment):
                return end.lsn
        return None

    def stop_at_xid(self, xid: int, inclusive: bool) -> int:
        """Where ``recovery_target_xid`` stops."""
        lsn = next(end.lsn for end in self.ends if end.xid == xid)
        return lsn + 1 if inclusive else lsn

    def commit_before(self, lsn: int) -> Commit:
        """The last commit whose record ends before a position (the start of a segment)."""
        following = dict(zip(self.records, self.records[1:]))
        # 40: the long header of a segment's first page, where the next record may begin.
        return [end for end in self.ends if end.committed and following.get(end.lsn, 1 << 62) <= lsn + 40][-1]

    # -- keeping and copying -----------------------------------------------------------------------------

    def freeze(self) -> Frozen:
        """Stop the cluster; from now on tests work on copies of it."""
        self.cluster.stop()
        return Frozen(self)


class Frozen:
    """A world that was stopped, to be copied for tests that damage it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def thaw(self, sandbox: Sandbox, name: str = "copy", *, start: bool = True) -> World:
        """A copy at another place, with the same past, running."""
        old = self._world.cluster
        cluster = Cluster(
            sandbox,
            old.name,
            installation=old.installation,
            kind=old.kind,
            settings=SETTINGS,
            root=sandbox.root / name,
            external_config=old.config_file is not None,
            origin=old,
        )
        shutil.copyfile(self._world.workload.book, cluster.root / self._world.workload.book.name)
        world = World(cluster, Workload.found(cluster, self._world.workload.book.name))
        for attribute in ("since", "backups", "points", "marks", "ends", "records", "timeline", "inherited"):
            value: Any = getattr(self._world, attribute)
            setattr(world, attribute, type(value)(value))
        if start:
            cluster.start()
        return world


def standard_past(cluster: Cluster) -> World:
    """Work, backup, work, restore point ``alpha``, work, backup, work, ``beta``, work, ``twice`` twice, work.

    The newest backup is followed by about a dozen segments, most of them before ``beta``.
    """
    world = World.begin(cluster).work().backup().work().point("alpha").work().backup()
    for _dummy in range(8):
        world.work(6)
        cluster.switch_wal()
    world.point("beta").work()
    # More than one segment follows the one that holds beta.
    cluster.switch_wal()
    world.point("twice").point("twice").work()
    cluster.switch_wal()
    return world.work(6).finish()


def record_positions(cluster: Cluster, since: str, timeline: int = 1) -> list[int]:
    """Where every record begins, in the server's own pg_wal.

    pg_waldump learns the size of segments from whichever it finds first, be it one that the server is making just now.
    """
    path = cluster.seen(cluster.data_directory / "pg_wal")
    argv = ["--path", str(path), "--timeline", str(timeline), "--start", since]

    def dumped() -> subprocess.CompletedProcess[str] | None:
        done = subprocess.run(
            [cluster.installation.program("pg_waldump"), *argv],
            check=False,
            capture_output=True,
            text=True,
            env=cluster.installation.environment,
        )
        return None if "(0 bytes)" in done.stderr else done

    done = wait_for(dumped, "segments that have their size")
    found = [(int(high, 16) << 32) + int(low, 16) for high, low in _RECORD.findall(done.stdout)]
    assert found and found == sorted(found), done.stderr
    return found


def utc(moment: datetime) -> str:
    """A moment as a person would give it to the host command."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f+00:00")
