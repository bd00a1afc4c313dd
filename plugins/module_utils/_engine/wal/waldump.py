# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""pg_waldump, the server's own reader: every record decoded, its checksum and its link to the last checked.

Only transaction ends and restore points are printed; all records are read. The output is taken in while
the program runs, because a segment can hold tens of thousands of commits.
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import NamedTuple, Protocol

from ..core.errors import Failed, Refused
from ..core.run import run, start, stop_group
from .lsn import format_lsn
from .records import record_end
from .segment import Segment, last_segment_of, segment_name

_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 1 << 18
_SECONDS_PER_GIGABYTE = 600.0
_TRANSACTION = re.compile(
    rb"^rmgr: Transaction\s+len \(rec/tot\):\s*\d+/\s*(\d+), tx:\s*(\d+), "
    rb"lsn: ([0-9A-F]+)/([0-9A-F]+), prev \S+ desc: (COMMIT|ABORT)(?:_PREPARED (\d+):)? "
    rb"(\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}) UTC(?:;[^\n]*?subxacts:((?: \d+)+))?",
    re.MULTILINE,
)
_ANY_END = re.compile(rb"^rmgr: Transaction [^\n]*?, desc: (?:COMMIT|ABORT)", re.MULTILINE)
_RESTORE_POINT = re.compile(
    rb"^rmgr: XLOG\s+len \(rec/tot\):\s*\d+/\s*(\d+), [^\n]*?lsn: ([0-9A-F]+)/([0-9A-F]+), [^\n]*?"
    rb"desc: RESTORE_POINT ([^\n]*)$",
    re.MULTILINE,
)
_SWITCH = re.compile(
    rb"^rmgr: XLOG\s+len \(rec/tot\):\s*\d+/\s*(\d+), [^\n]*?lsn: ([0-9A-F]+)/([0-9A-F]+), [^\n]*?"
    rb"desc: (?:CHECKPOINT_SHUTDOWN|END_OF_RECOVERY) [^\n]*?\btli (\d+); prev tli (\d+);",
    re.MULTILINE,
)
_ONE = re.compile(
    rb"^rmgr: \S+\s+len \(rec/tot\):\s*\d+/\s*(\d+), [^\n]*?lsn: ([0-9A-F]+)/([0-9A-F]+),", re.MULTILINE
)
_DAMAGE = re.compile(r"error in WAL record at |could not find a valid record after ")

# length, tx, lsn high, lsn low, COMMIT or ABORT, xid of a prepared one, time, subtransactions
RawEnd = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]


class TransactionEnd(NamedTuple):
    """A commit or an abort; ``end_lsn`` is where its record ends."""

    lsn: int
    end_lsn: int
    committed: bool
    xid: int
    time: datetime
    subxids: tuple[int, ...]


class RestorePoint(NamedTuple):
    """A named restore point."""

    name: str
    lsn: int
    end_lsn: int


class TimelineSwitch(NamedTuple):
    """The record with which a timeline begins: where it is, whose it is, and which timeline was left."""

    lsn: int
    end_lsn: int
    timeline: int
    previous: int


class Sink(Protocol):
    """Takes what is found, in the order of WAL."""

    def ends(self, found: list[RawEnd]) -> None:
        """Transaction ends."""

    def restore_point(self, point: RestorePoint) -> None:
        """A restore point."""

    def switch(self, switch: TimelineSwitch) -> None:
        """The beginning of a timeline."""


@dataclass(frozen=True)
class WalDump:
    """The pg_waldump of one major, for one segment size in bytes."""

    bin_directory: str
    major: int
    segment_bytes: int

    def check_version(self) -> None:
        """Refuse to read WAL with the program of another major, which would call all of it damaged (A16)."""
        program = os.path.join(self.bin_directory, "pg_waldump")
        attempted = "read archived WAL"
        remedy = f"Install the server package of PostgreSQL {self.major}, or correct bin_directory."
        told = run([program, "--version"], attempted=attempted, remedy=remedy).out
        match = re.search(r"\(PostgreSQL\) (\d+)", told)
        if match is None or int(match[1]) != self.major:
            raise Refused(
                "version-mismatch",
                attempted=attempted,
                happened=f"the WAL was written by PostgreSQL {self.major}, {program} is {told.strip()!r}",
                remedy=remedy,
                details={"major": self.major, "program": program},
            )

    def scan(self, directory: str, segment: Segment, begin: int, end: int, sink: Sink) -> str | None:
        """Read from ``begin``, a record's start in ``segment``, all records that end before ``end``.

        ``directory`` holds the plain segments under names of one timeline. Returns None when all are sound (B06),
        otherwise the program's words about the first that is not. Raises :class:`Failed` when the program is
        missing, is stopped, or prints what this does not understand.
        """
        for groups in (("Transaction", "XLOG"),) if self.major >= 15 else (("Transaction",), ("XLOG",)):
            words = self._run(directory, segment, begin, end, [f"--rmgr={group}" for group in groups], sink)
            if words:
                return words
        return None

    def last_record(self, directory: str, segment: Segment, begin: int, end: int) -> tuple[int, int] | None:
        """Start and end of the last sound record from ``begin``, a record's start, on; None when not even that one is.

        What follows it may be anything (B15). Raises as :meth:`scan` does.
        """
        keep = _KeepText(most=_TAIL_BYTES)
        self._run(directory, segment, begin, end, [], keep)
        found = _ONE.findall(bytes(keep.text))
        if not found:
            return None
        length, high, low = found[-1]
        lsn = lsn_of(high, low)
        return lsn, record_end(lsn, int(length), self.segment_bytes)

    def record_from(self, directory: str, segment: Segment, begin: int, end: int) -> tuple[int, int] | None:
        """Start and end of the first record at or after ``begin`` that ends before ``end``, or None."""
        keep = _KeepText()
        self._run(directory, segment, begin, end, ["--limit=1"], keep)
        match = _ONE.search(bytes(keep.text))
        if not match:
            return None
        lsn = lsn_of(match[2], match[3])
        return lsn, record_end(lsn, int(match[1]), self.segment_bytes)

    def _run(
        self,
        directory: str,
        segment: Segment,
        begin: int,
        end: int,
        options: list[str],
        sink: Sink | _KeepText,
    ) -> str | None:
        program = os.path.join(self.bin_directory, "pg_waldump")
        attempted = f"read WAL from {format_lsn(begin)} to {format_lsn(end)} on timeline {segment.timeline}"
        last = Segment(segment.timeline, last_segment_of(end, self.segment_bytes))
        argv = [
            program,
            f"--path={directory}",
            f"--start={format_lsn(begin)}",
            f"--end={format_lsn(end)}",
            *options,
            segment_name(segment, self.segment_bytes),
            segment_name(last, self.segment_bytes),
        ]

        try:
            process = start(argv)
        except OSError as error:
            raise Failed(
                "program-missing",
                attempted=attempted,
                happened=f"{program} cannot be started: {error.strerror}",
                remedy=f"Install the server package of PostgreSQL {self.major}; pg_waldump is part of it.",
            ) from error
        late = threading.Event()

        def stop() -> None:
            late.set()
            stop_group(process)

        timer = threading.Timer(60 + _SECONDS_PER_GIGABYTE * (end - begin) / (1 << 30), stop)
        timer.daemon = True
        timer.start()
        try:
            if process.stdout is not None:
                _feed(process.stdout.fileno(), sink, self.segment_bytes, attempted)
            words = process.communicate()[1].decode(errors="replace").strip()
            status = process.returncode
        except BaseException:
            stop_group(process)
            raise
        finally:
            timer.cancel()
        if late.is_set():
            raise Failed(
                "program-timeout",
                attempted=attempted,
                happened=f"{program} did not end in time and was stopped",
                remedy="Look for a file system that does not answer, then run the same command again.",
            )
        if status != 0 and not _DAMAGE.search(words):
            raise Failed(
                "program-failed",
                attempted=attempted,
                happened=f"{program} ended with status {status}: {words or 'no message'}",
                remedy="Run the same command again; should it stay, run pg_waldump by hand.",
            )
        return _plain(words) if status else None


class _KeepText:
    """Keeps the output as it is, or ``most`` bytes of its end."""

    def __init__(self, most: int | None = None) -> None:
        self.text = bytearray()
        self._most = most

    def add(self, text: bytes) -> None:
        """Take more."""
        self.text += text
        if self._most is not None and len(self.text) > self._most:
            del self.text[: -self._most]


def _feed(descriptor: int, sink: Sink | _KeepText, size: int, attempted: str) -> None:
    rest = b""
    while True:
        chunk = os.read(descriptor, _CHUNK_BYTES)
        text, newline, rest = (rest + chunk).rpartition(b"\n") if chunk else (rest, b"", b"")
        if isinstance(sink, _KeepText):
            sink.add(text + newline)
        elif text:
            _parse(text, sink, size, attempted)
        if not chunk:
            return


def _parse(text: bytes, sink: Sink, size: int, attempted: str) -> None:
    found = _TRANSACTION.findall(text)
    if text.count(b", desc: COMMIT") + text.count(b", desc: ABORT") != len(found):
        told = len(_ANY_END.findall(text))
        if told != len(found):
            raise Failed(
                "waldump-not-understood",
                attempted=attempted,
                happened=f"{told - len(found)} transaction ends are printed in a form that is not known here",
                remedy="Use a release of this collection that supports this version of PostgreSQL.",
            )
    if found:
        sink.ends(found)
    if b"; prev tli " in text:
        for length, high, low, timeline, previous in _SWITCH.findall(text):
            if timeline != previous:
                lsn = lsn_of(high, low)
                end_lsn = record_end(lsn, int(length), size)
                sink.switch(TimelineSwitch(lsn, end_lsn, int(timeline), int(previous)))
    if b"RESTORE_POINT" in text:
        for length, high, low, name in _RESTORE_POINT.findall(text):
            lsn = lsn_of(high, low)
            sink.restore_point(
                RestorePoint(name.decode(errors="replace"), lsn, record_end(lsn, int(length), size))
            )


def _plain(words: str) -> str:
    lines = [re.sub(r"^pg_waldump: (?:error|fatal): ", "", line) for line in words.splitlines()]
    return " ".join(line for line in lines if line) or "pg_waldump gave no reason"


def lsn_of(high: bytes, low: bytes) -> int:
    """A position from its two printed halves."""
    return int(high, 16) << 32 | int(low, 16)


def time_of(text: str) -> datetime:
    """A printed time of the server, which was asked for UTC."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)


def time_text(moment: datetime) -> str:
    """The form of :func:`time_of`; texts of this form sort as the times do."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def transaction_end(raw: RawEnd, size: int) -> TransactionEnd:
    """What a raw end means."""
    length, tx, high, low, kind, prepared, time, subxids = raw
    lsn = lsn_of(high, low)
    return TransactionEnd(
        lsn,
        record_end(lsn, int(length), size),
        kind == b"COMMIT",
        int(prepared or tx),
        time_of(time.decode()),
        tuple(map(int, subxids.split())),
    )
