# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Is there a server on a data directory? Judged by more than a pid file (faults C03 to C05).

A pid file may be left behind, its number may belong to another program by now, or to a zombie; and a server
may run whose pid file somebody has removed. What cannot be faked by accident: a process of PostgreSQL's
program whose working directory is this very directory (a postmaster changes into it and stays there, also
when the directory is renamed).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ..core.clock import format_utc
from ..core.errors import Failed
from ..core.locks import process_start

PID_FILE = "postmaster.pid"
_PROGRAMS = ("postgres", "postmaster")


@dataclass(frozen=True)
class InstanceStatus:
    """Whether a server runs, and how that is known.

    ``ready`` is the server's own word that it takes connections. ``stale_pid_file``: a pid file is there and
    its server is not. ``leftover`` are processes of a killed postmaster that have not ended yet: nothing may be
    started or moved while they live. ``reason`` is one sentence for people.
    """

    running: bool
    pid: int | None = None
    started_at: datetime | None = None
    ready: bool = False
    stale_pid_file: bool = False
    leftover: tuple[int, ...] = ()
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "running": self.running,
            "pid": self.pid,
            "started_at": format_utc(self.started_at) if self.started_at else None,
            "ready": self.ready,
            "stale_pid_file": self.stale_pid_file,
            "leftover": list(self.leftover),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class PidFile:
    """The lines of postmaster.pid (source: PostgreSQL's miscadmin.h, LOCK_FILE_LINE_…)."""

    pid: int
    started_at: datetime | None = None
    status: str = ""


def read_pid_file(data_directory: str) -> PidFile | None:
    """The pid file, or None where there is none or it is being written.

    Raises :class:`Failed` (``pid-file-unreadable``): not being allowed to look is not "not running".
    """
    try:
        with open(f"{data_directory}/{PID_FILE}", encoding="utf-8", errors="replace") as handle:
            return parse_pid_file(handle.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Failed(
            "pid-file-unreadable",
            attempted=f"see whether a server runs on {data_directory}",
            happened=f"{error.filename}: {error.strerror}",
            remedy="Run the command as root or as the owner of the data directory.",
        ) from error


def parse_pid_file(text: str) -> PidFile | None:
    """None for what is no (whole) pid file. A negative pid is a single-user server's."""
    lines = [line.strip() for line in text.splitlines()]
    if not lines or not lines[0].lstrip("-").isdigit():
        return None
    started = None
    if len(lines) > 2 and lines[2].isdigit():
        started = datetime.fromtimestamp(int(lines[2]), timezone.utc)
    return PidFile(abs(int(lines[0])), started, lines[7] if len(lines) > 7 else "")


def stale_socket_lock(path: str, data_directory: str) -> bool:
    """Whether a socket's lock file was left by a server of this directory, where none runs any more.

    Its first two lines are those of the pid file. One of another directory is not ours to judge.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            lines = handle.read().splitlines()
    except OSError:
        return False
    if len(lines) < 2 or not lines[0].strip().isdigit() or lines[1].strip() != data_directory:
        return False
    return not _serves(int(lines[0]), data_directory)


def server_status(data_directory: str) -> InstanceStatus:
    """Look at pid file and processes; nothing is asked of the server.

    Raises :class:`Failed` (``pid-file-unreadable``).
    """
    pid_file = read_pid_file(data_directory)
    # Asked afterwards: one that was removed between the two is gone, not damaged.
    present = pid_file is not None or os.path.lexists(f"{data_directory}/{PID_FILE}")
    if pid_file is not None and _serves(pid_file.pid, data_directory):
        # The file may be of an earlier server for a moment, while the new one writes its own.
        return InstanceStatus(
            running=True,
            pid=pid_file.pid,
            started_at=pid_file.started_at,
            ready=pid_file.status in ("ready", "standby"),
            reason=f"process {pid_file.pid} serves {data_directory}",
        )
    servers, leftover = _processes_on(data_directory)
    if servers:
        said = f"names process {pid_file.pid}" if pid_file else ("is damaged" if present else "is missing")
        return InstanceStatus(
            running=True,
            pid=servers[0],
            reason=f"process {servers[0]} serves {data_directory}, though its {PID_FILE} {said}",
        )
    reason = _why_not(data_directory, pid_file, present)
    if leftover:
        reason += f"; {len(leftover)} processes of a killed server are still ending"
    return InstanceStatus(running=False, stale_pid_file=present, leftover=leftover, reason=reason)


def _why_not(data_directory: str, pid_file: PidFile | None, present: bool) -> str:
    if not present:
        return f"no {PID_FILE} and no server process on {data_directory}"
    if pid_file is None:
        return f"{PID_FILE} holds no process number, and no server process is on {data_directory}"
    if not os.path.exists(f"/proc/{pid_file.pid}"):
        return f"{PID_FILE} was left behind by process {pid_file.pid}, which is gone"
    if process_start(pid_file.pid) is None:
        return f"{PID_FILE} was left behind by process {pid_file.pid}, which is dead and not collected (a zombie)"
    return (
        f"{PID_FILE} was left behind; process {pid_file.pid} is another program now: {_title(pid_file.pid)!r}"
    )


def _serves(pid: int, data_directory: str) -> bool:
    return process_start(pid) is not None and _is_postgres(pid) and _works_in(pid, data_directory)


def _processes_on(data_directory: str) -> tuple[list[int], tuple[int, ...]]:
    """Server processes on a directory: postmasters, and children of a postmaster that is gone."""
    try:
        home = os.stat(data_directory)
    except OSError:
        return [], ()
    found = [
        int(name)
        for name in os.listdir("/proc")
        if name.isdigit()
        and process_start(int(name)) is not None
        and _works_in(int(name), data_directory, home)
        and _is_postgres(int(name))
    ]
    # One that has ended since has no title any more.
    titles = {pid: title for pid in found if (title := _title(pid))}
    # Children call themselves "postgres: checkpointer"; the postmaster keeps its command line.
    servers = [pid for pid, title in titles.items() if not title.startswith("postgres:")]
    # A child that was just forked has not named itself yet.
    servers = [pid for pid in servers if _parent(pid) not in servers]
    return servers, tuple(pid for pid in titles if pid not in servers)


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as handle:
            return int(handle.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _is_postgres(pid: int) -> bool:
    try:
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        program = os.path.basename(_title(pid).partition(" ")[0]).rstrip(":")
    # An upgraded package leaves "postgres (deleted)" behind.
    return program.partition(" ")[0] in _PROGRAMS


def _works_in(pid: int, directory: str, home: os.stat_result | None = None) -> bool:
    try:
        place = os.stat(f"/proc/{pid}/cwd")
        wanted = home or os.stat(directory)
    except OSError:
        return False
    return (place.st_dev, place.st_ino) == (wanted.st_dev, wanted.st_ino)


def _title(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            return handle.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
