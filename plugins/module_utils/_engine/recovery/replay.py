# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Replay on a private socket up to the planned record, and the proof that it was reached.

PostgreSQL itself says where it stopped: the history file of the timeline that the promotion made. A server
that starts proves nothing (recovery-faults 0.5); only that line does.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..cluster.config import ClusterConfig
from ..cluster.controldata import read_control_data
from ..core.errors import Failed
from ..core.run import start, stop_group
from ..wal.history import parse_history
from ..wal.lsn import format_lsn, parse_lsn
from ..wal.segment import first_lsn, is_history_name, parse_segment
from .plan import RestorePlan
from .staging import has_room, log_path, socket_directory, stop_left_behind

Report = Callable[[int, str], None]
_STOPPED = re.compile(r"^(before|after) LSN ([0-9A-F]{1,8}/[0-9A-F]{1,8})$")
_TITLE = re.compile(r"startup\s+(?:recovering|waiting for)\s+([0-9A-F]{24})")
#: Who moves recovery on: the one replays, the other writes what was replayed when it has ended.
_WORKERS = re.compile(r":\s*(startup|checkpointer)\b")
_BYTES = re.compile(r"^[rw]char: (\d+)$", re.MULTILINE)
_POLL_SECONDS = 0.05
_NO_SPACE = "No space left on device"
_NO_ROOM = "maximum number of prepared transactions reached"
_FULL_BELOW_BYTES = 1 << 20


@dataclass(frozen=True)
class Activity:
    """What replay has done so far. ``bytes_done`` are those that its processes have read and written."""

    segment: str | None
    bytes_done: int


@dataclass(frozen=True)
class Reached:
    """Where recovery ended: the record it stopped at, the end of what it replayed, and the new timeline."""

    lsn: int
    inclusive: bool
    immediate: bool
    end_lsn: int
    new_timeline: int


class NoRoomForPrepared(Exception):
    """Replay met more prepared transactions than ``max_prepared_transactions`` of the staged server (fault C12)."""


class StagedServer:
    """The server of a staged data directory; ours alone, and gone when the block ends.

    One that a killed run left behind is ended first (D02); what an earlier one left as its fault is forgotten.
    """

    def __init__(self, plan: RestorePlan, config: ClusterConfig) -> None:
        self._plan = plan
        stop_left_behind(plan)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{plan.work_directory}/spool/fault.json")
        with open(log_path(plan), "ab") as log:
            self._process: subprocess.Popen[bytes] = start(
                [
                    config.program("postgres"),
                    "-D",
                    plan.staging,
                    "-c",
                    f"config_file={plan.work_directory}/staged.conf",
                ],
                stdout=log.fileno(),
                stderr=log.fileno(),
                cwd=plan.staging,
            )

    def __enter__(self) -> StagedServer:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            stop_group(self._process, grace=30.0)

    @property
    def pid(self) -> int:
        """The postmaster."""
        return self._process.pid

    @property
    def socket_directory(self) -> str:
        """Where it can be asked, once it is ready."""
        return socket_directory(self._plan)

    def ended(self) -> int | None:
        """Its exit status, or None while it lives."""
        return self._process.poll()

    def ready(self) -> bool:
        """Whether it takes connections: with hot standby off that is after the promotion.

        Source: the eighth line of postmaster.pid (PostgreSQL manual, "Database File Layout").
        """
        try:
            with open(f"{self._plan.staging}/postmaster.pid", encoding="utf-8", errors="replace") as handle:
                lines = handle.read().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"

    def activity(self) -> Activity:
        """The segment that the startup process works on, and how much was read and written (proc(5), io).

        A restore_command counts when it has ended: one that hangs moves nothing.
        """
        segment, done = None, 0
        for title, child in self._children():
            worker, working = _WORKERS.search(title), _TITLE.search(title)
            segment = working[1] if working else segment
            if worker:
                with contextlib.suppress(OSError), open(f"/proc/{child}/io", encoding="ascii") as handle:
                    done += sum(int(number) for number in _BYTES.findall(handle.read()))
        return Activity(segment, done)

    def _children(self) -> Iterator[tuple[str, str]]:
        """Title and pid of each of the server's processes."""
        with contextlib.suppress(OSError):
            with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as handle:
                children = handle.read().split()
            for child in children:
                with contextlib.suppress(OSError), open(f"/proc/{child}/cmdline", "rb") as handle:
                    yield handle.read().replace(b"\0", b" ").decode(errors="replace"), child

    def stop(self, patience: float = 600.0) -> None:
        """A clean, fast shutdown. Raises :class:`Failed` (``staged-server-stuck``)."""
        stop_left_behind(self._plan, patience)
        self._process.wait(timeout=patience)


def replay(plan: RestorePlan, server: StagedServer, report: Report, *, stalled_after: float) -> Reached:
    """Wait until the server has replayed and promoted, telling progress; then say where it stopped.

    However long it takes: only ``stalled_after`` seconds in which it neither reads nor writes end it (fault D09).
    Raises :class:`Failed`: the fault that archive-get left (a planned segment could not be delivered),
    ``replay-server-died`` (D04), ``disk-full`` (D10), ``replay-stalled`` (D09), ``target-not-reached`` (D11);
    :class:`NoRoomForPrepared`.
    """
    order = {segment[0]: position for position, segment in enumerate(plan.segments)}
    seen = Activity(None, 0)
    moved = time.monotonic()
    while not server.ready():
        status = server.ended()
        if status is not None:
            raise _died(plan, status)
        now = server.activity()
        if now.segment in order:
            number = parse_segment(str(now.segment), plan.wal_segment_size).number
            note = f"at {format_lsn(first_lsn(number, plan.wal_segment_size))}"
            report(order[str(now.segment)] * plan.wal_segment_size, note)
        if now != seen:
            seen, moved = now, time.monotonic()
        elif time.monotonic() - moved > stalled_after:
            raise _stalled(plan, now, stalled_after)
        time.sleep(_POLL_SECONDS)
    report(len(order) * plan.wal_segment_size, f"at {plan.proof['lsn']}")
    return reached(plan)


def promoted(plan: RestorePlan) -> bool:
    """Whether an earlier run got as far as the promotion."""
    return not os.path.exists(f"{plan.staging}/recovery.signal") and _new_timeline(plan) is not None


def cut_short(plan: RestorePlan, config: ClusterConfig) -> bool:
    """Whether a promotion was interrupted (D02): its signal is gone, the control file still on the old timeline.

    Such a copy would start with a plain crash recovery on the old timeline, past the target (seen on 15.18: the
    signal is removed before the new timeline's history is written).
    """
    if os.path.exists(f"{plan.staging}/recovery.signal"):
        return False
    return read_control_data(config.bin_directory, plan.staging).timeline <= plan.timeline


def reached(plan: RestorePlan) -> Reached:
    """Read where recovery stopped and hold it against the plan: a server that promoted proves nothing (D07, D11).

    Raises :class:`Failed` (``target-not-reached``).
    """
    found = _new_timeline(plan)
    if found is None:
        raise _not_reached(plan, "the server promoted nothing")
    new_timeline, text = found
    fork = parse_history(new_timeline, text).forks[-1]
    match = _STOPPED.match(fork.reason)
    immediate = fork.reason == "reached consistency"
    if fork.timeline != plan.timeline:
        raise _not_reached(plan, f"recovery followed timeline {fork.timeline}")
    if immediate and plan.immediate:
        return Reached(plan.lsn, plan.inclusive, True, fork.lsn, new_timeline)
    if not match or plan.immediate:
        raise _not_reached(plan, f"recovery ended at {format_lsn(fork.lsn)}: {fork.reason}")
    lsn, inclusive = parse_lsn(match[2]), match[1] == "after"
    if lsn != plan.lsn or inclusive != plan.inclusive:
        raise _not_reached(plan, f"recovery stopped {fork.reason}")
    if (fork.lsn > plan.lsn) is not inclusive:
        raise _not_reached(plan, f"recovery stopped {fork.reason}, but replayed up to {format_lsn(fork.lsn)}")
    return Reached(lsn, inclusive, False, fork.lsn, new_timeline)


def _new_timeline(plan: RestorePlan) -> tuple[int, str] | None:
    """The newest timeline in the staged pg_wal that is not one of the archive's."""
    # The server keeps what it restored below its target's number only: what lies above was made here.
    made = [
        name
        for name in os.listdir(f"{plan.staging}/pg_wal")
        if is_history_name(name) and name not in plan.histories and int(name[:8], 16) > plan.timeline
    ]
    if not made:
        return None
    newest = max(made)
    with open(f"{plan.staging}/pg_wal/{newest}", encoding="utf-8") as handle:
        return int(newest[:8], 16), handle.read()


def archived_by(plan: RestorePlan, timeline: int) -> list[str]:
    """The files of the new timeline that the staged server counts as archived: there must be none."""
    names = os.listdir(f"{plan.staging}/pg_wal/archive_status")
    return sorted(name for name in names if name.startswith(f"{timeline:08X}") and name.endswith(".done"))


def abandon(plan: RestorePlan) -> str:
    """The command that gives an unfinished restore up."""
    return f"dbkeeper undo --cluster {plan.cluster} --confirm {plan.cluster}"


def _stalled(plan: RestorePlan, at: Activity, seconds: float) -> Failed:
    return Failed(
        "replay-stalled",
        attempted=f"replay WAL up to {plan.proof['lsn']} in the staged copy",
        happened=f"nothing was read or written for {seconds:.0f} s, at segment {at.segment or 'none'}; nothing was "
        "swapped, the live cluster is as it was",
        remedy=f"See whether the repository answers, and look at {log_path(plan)}; run the same command again to "
        "continue.",
        details={"segment": at.segment, "stalled_after_seconds": seconds},
    )


def _not_reached(plan: RestorePlan, why: str) -> Failed:
    side = "after" if plan.inclusive else "before"
    return Failed(
        "target-not-reached",
        attempted=f"replay up to {side} LSN {plan.proof['lsn']} on timeline {plan.timeline}",
        happened=f"{why}; nothing was swapped, the live cluster is as it was",
        remedy=f"Keep a copy of {plan.work_directory} with its server.log for inquiry, abandon this restore "
        f"({abandon(plan)}), and plan it again.",
    )


def _died(plan: RestorePlan, status: int) -> Failed:
    attempted = f"replay WAL up to {plan.proof['lsn']} in the staged copy"
    with contextlib.suppress(FileNotFoundError, ValueError):
        with open(f"{plan.work_directory}/spool/fault.json", encoding="utf-8") as handle:
            fault = json.load(handle)
        return Failed(
            str(fault["code"]),
            attempted=attempted,
            happened=f"{fault['text']}; nothing was swapped, the live cluster is as it was",
            remedy="Bring it back from a copy, then run the same command again: it continues. Or abandon this restore "
            "(dbkeeper undo) and run dbkeeper plan, which reads that file again and names the last commit that can "
            "still be reached. 'dbkeeper index --rebuild' reads all of the archive again.",
            details={"fault": fault},
        )
    words = _last_words(plan)
    if _NO_ROOM in words and not has_room(plan):
        raise NoRoomForPrepared
    return disk_full(plan, attempted) or Failed(
        "replay-server-died",
        attempted=attempted,
        happened=f"the staged server ended with status {status}: {words}; nothing was swapped",
        remedy=f"Read {log_path(plan)}; run the same command again to continue from where it was.",
    )


def disk_full(plan: RestorePlan, attempted: str) -> Failed | None:
    """The error for a staged server that a full disk has ended or silenced (D10); None where there is room."""
    words = _last_words(plan)
    if _NO_SPACE not in words and _free_bytes(plan) >= _FULL_BELOW_BYTES:
        return None
    return Failed(
        "disk-full",
        attempted=attempted,
        happened=f"{words}; {_free_bytes(plan)} bytes are free; nothing was swapped, the live cluster is as it was",
        remedy=f"Free space below {plan.work_directory}, and run the same command again: it continues.",
    )


def _free_bytes(plan: RestorePlan) -> int:
    """A server on a full disk may not even have been able to say so."""
    facts = os.statvfs(plan.work_directory)
    return facts.f_bavail * facts.f_frsize


def _last_words(plan: RestorePlan) -> str:
    with contextlib.suppress(OSError), open(log_path(plan), "rb") as handle:
        handle.seek(max(0, os.path.getsize(log_path(plan)) - 8192))
        lines = handle.read().decode(errors="replace").splitlines()
        telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "ERROR"))]
        full = [line for line in lines if _NO_SPACE in line]
        return " / ".join((full or telling or lines)[-3:])
    return "it left no log"
