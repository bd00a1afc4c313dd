# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A real archive with two backups and three timelines, and the truth about it, read without the engine.

The truth is worked out from the files as the server wrote them, kept aside: history files split by hand, records as a
plain run of pg_waldump prints them, and the arithmetic of pages. Nothing of the code under test is asked.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import Target

from .harness.installation import Installation
from .harness.sandbox import Sandbox
from .harness.world import lsn_number, lsn_text
from .wal_archive import Recovery, Server

SEGMENT = 1 << 20
PAGE = 8192
_RECORD = re.compile(
    r"^rmgr: (\S+)\s+len \(rec/tot\):\s*\d+/\s*(\d+), tx:\s*(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), .*?desc: (.*)$"
)
_TIME = re.compile(r"(?:COMMIT|ABORT)\s+(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC")


@dataclass(frozen=True)
class Record:
    """One record of one timeline's own part."""

    timeline: int
    lsn: int
    length: int
    rmgr: str
    xid: int
    description: str

    @property
    def end(self) -> int:
        """Where it ends: page headers lie between."""
        position, left = self.lsn, self.length
        while True:
            room = PAGE - position % PAGE
            if left <= room:
                return position + left
            left -= room
            position += room
            position += 40 if position % SEGMENT == 0 else 24

    @property
    def time(self) -> datetime | None:
        """When the transaction ended, if it is the end of one."""
        match = _TIME.search(self.description) if self.rmgr == "Transaction" else None
        return (
            datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)
            if match
            else None
        )


@dataclass(frozen=True)
class Aim:
    """A target, and where recovery has to stop for it: record, its end, its timeline; ``branch`` is what was asked."""

    target: Target
    branch: int
    lsn: int
    end: int
    inclusive: bool
    open_ended: bool = False


class ForkedArchive:
    """Timeline 1 goes on; 2 left it at ``fork1``; 3 left 2 at ``fork2``; all with WAL of their own."""

    def __init__(self, sandbox: Sandbox, installation: Installation) -> None:
        self.server = Server(sandbox, f"m{installation.major}", installation)
        cluster = self.server.cluster
        cluster.start()
        cluster.sql("CREATE TABLE t (n int, p text)")
        self.server.backup()
        for step in range(3):
            self._work(step)
            self.server.close_segment()
        self.server.backup()
        self._work(10)
        cluster.sql("SELECT pg_create_restore_point('fork1')")
        self._work(11)
        self.server.close_segment()
        self._work(12)
        self.server.close_segment()
        self._fork("fork1", 1, "fork2")
        self._fork("fork2", 2, "fork3")
        self.system_id = int(cluster.system_id)
        cluster.stop()
        self.files = {path.name: path.read_bytes() for path in self.server.archive.path.iterdir()}
        self.root = sandbox.root / f"stored-{installation.major}"
        self.repository = Repository(str(self.root), "main")
        self.repository.create()
        self._store()
        self.spans = {timeline: self._spans(timeline) for timeline in (1, 2, 3)}
        self.records = {timeline: self._read(timeline) for timeline in (1, 2, 3)}

    # -- making ----------------------------------------------------------------------------------------

    def _work(self, step: int) -> None:
        sql = self.server.cluster.sql
        for number in range(6):
            sql("INSERT INTO t SELECT %s, repeat(md5(random()::text), 8) FROM generate_series(1, 20)", number)
        # Long records that go over pages and, here and there, over a segment's end.
        sql("SELECT pg_logical_emit_message(true, 'long', repeat('x', %s))", 300_000 + 7 * step)
        sql("BEGIN; INSERT INTO t VALUES (-1, 'gone'); ROLLBACK")
        sql("SELECT pg_create_restore_point(%s)", f"point {step}")

    def _fork(self, name: str, parent: int, following: str) -> None:
        lsn = self._position(name, parent)
        backup = self.server.backups[-1]
        settings = {"recovery_target_lsn": lsn_text(lsn), "recovery_target_timeline": str(parent)}
        names = [path.name for path in self.server.archive.path.iterdir()]
        with self.server.recover_files(backup.label, names, settings, archiving=True) as recovery:
            recovery.promote()
            self._fill(recovery, following)

    def _fill(self, recovery: Recovery, point: str) -> None:
        for part in range(3):
            for number in range(5):
                recovery.sql(
                    f"WITH x AS (INSERT INTO t SELECT {part * 10 + number}, repeat(md5(random()::text), 9) "
                    "FROM generate_series(1, 20) RETURNING n) SELECT count(*) FROM x"
                )
            recovery.sql("SELECT pg_logical_emit_message(true, 'long', repeat('y', 250000))")
            if part == 1:
                recovery.sql(f"SELECT pg_create_restore_point('{point}')")
            else:
                recovery.close_segment()

    def _position(self, name: str, timeline: int) -> int:
        for line in self._dump(timeline):
            match = _RECORD.match(line)
            if match and match[5] == f"RESTORE_POINT {name}":
                return lsn_number(match[4])
        raise AssertionError(f"no restore point {name}")

    def _store(self) -> None:
        for name, content in self.files.items():
            if name.endswith(".history"):
                path = Path(self.repository.wal(self.system_id)) / name
            else:
                path = Path(self.repository.wal(self.system_id)) / name[:8] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if len(name) == 24:
                subprocess.run(["zstd", "-1", "-q", "--rm", str(path)], check=True)

    # -- the truth ---------------------------------------------------------------------------------------

    def _dump(self, timeline: int) -> list[str]:
        segments = self.server.archive.segments(timeline)
        program = self.server.cluster.installation.program("pg_waldump")
        return subprocess.run(
            [program, str(segments[0]), str(segments[-1])],
            env=self.server.cluster.installation.environment,
            check=False,
            capture_output=True,
            text=True,
        ).stdout.splitlines()

    def _spans(self, timeline: int) -> list[tuple[int, int, int]]:
        """(timeline, begin, end) of its line, oldest first."""
        spans, begin = [], 0
        if timeline > 1:
            for line in self.files[f"{timeline:08X}.history"].decode().splitlines():
                fields = line.split()
                if fields:
                    spans.append((int(fields[0]), begin, lsn_number(fields[1])))
                    begin = lsn_number(fields[1])
        return [*spans, (timeline, begin, 1 << 62)]

    def _read(self, timeline: int) -> list[Record]:
        """All records of the line to a timeline, in order."""
        found = []
        for member, begin, end in self._spans(timeline):
            for match in filter(None, map(_RECORD.match, self._dump(member))):
                lsn = lsn_number(match[4])
                if begin <= lsn < end:
                    found.append(Record(member, lsn, int(match[2]), match[1], int(match[3]), match[5]))
        assert [record.lsn for record in found] == sorted(record.lsn for record in found)
        return found

    def name(self, timeline: int, number: int) -> str:
        """The file that PostgreSQL would read for a segment number on the line to a timeline."""
        member = [span[0] for span in self.spans[timeline] if span[1] // SEGMENT <= number][-1]
        return f"{member:08X}{number // 4096:08X}{number % 4096:08X}"

    def stored(self, name: str) -> str:
        """Where a file lies below the archive's directory, as the repository stores it."""
        if name.endswith(".history"):
            return name
        return f"{name[:8]}/{name}{'.zst' if len(name) == 24 else ''}"

    def segments(self) -> list[str]:
        """The names of all whole segments."""
        return sorted(name for name in self.files if len(name) == 24)

    def covered(self, timeline: int, number: int, end: int) -> bytearray:
        """1 for every byte of a segment that recovery to ``end`` depends on: records, and headers of their pages."""
        mask = bytearray(SEGMENT)
        content = self.files[self.name(timeline, number)]
        low, high = number * SEGMENT, (number + 1) * SEGMENT
        for record in self.records[timeline]:
            position, left = record.lsn, record.length
            if record.lsn >= min(high, end):
                break
            if record.end <= low:
                continue
            while left:
                count = min(left, PAGE - position % PAGE)
                _mark(mask, position - low, count)
                page = position - position % PAGE
                header = 40 if page % SEGMENT == 0 else 24
                # Four bytes of padding (20 to 23) mean nothing.
                # So does the length of what is continued on a page that continues nothing.
                continues = 0 <= page - low < SEGMENT and content[page - low + 2] & 1
                _mark(mask, page - low, 20 if continues else 16)
                _mark(mask, page - low + 24, header - 24)
                left -= count
                position += count
                if left:
                    position += 40 if position % SEGMENT == 0 else 24
        return mask


def _mark(mask: bytearray, offset: int, count: int) -> None:
    begin, end = max(0, offset), min(len(mask), offset + count)
    if begin < end:
        mask[begin:end] = b"\1" * (end - begin)
