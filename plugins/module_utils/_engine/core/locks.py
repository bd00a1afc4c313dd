# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Locks that say who holds them, and that the kernel lets go of when the holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from .clock import format_utc, utc_now
from .errors import Refused
from .files import make_directory


def process_start(pid: int) -> str | None:
    """When a process started, in the kernel's ticks: with the pid it names one process for ever.

    None when there is no such process or it is a zombie (source: proc(5), fields 3 and 22 of stat).
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as handle:
            fields = handle.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def owner_record(purpose: str) -> dict[str, Any]:
    """Who we are, for a lock, a lease or a journal."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_start": process_start(os.getpid()),
        "purpose": purpose,
        "since": format_utc(utc_now()),
    }


def owner_alive(record: dict[str, Any]) -> bool:
    """Whether the owner of a record still lives; an owner on another host is believed to."""
    if record.get("host") != socket.gethostname():
        return True
    pid = record.get("pid", 0)
    if not isinstance(pid, int):
        # Nobody here writes that, and nobody can tell: what it protects stays.
        return True
    start = process_start(pid)
    return start is not None and start == record.get("process_start")


@contextlib.contextmanager
def locked(path: str, purpose: str, *, attempted: str, patience: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock on ``path``, waiting at most ``patience`` seconds.

    Raises :class:`Refused` (``busy``, fault C20) naming the holder.
    """
    make_directory(os.path.dirname(path))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    deadline = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise _busy(descriptor, path, attempted) from None
                time.sleep(0.1)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner_record(purpose)).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _busy(descriptor: int, path: str, attempted: str) -> Refused:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:
        holder = {}
    who = (
        f"{holder['purpose']} (pid {holder['pid']} on {holder['host']}, since {holder['since']})"
        if holder.get("pid")
        else "another process"
    )
    return Refused(
        "busy",
        attempted=attempted,
        happened=f"busy by {who}",
        remedy="Wait for it to end (dbkeeper info shows its progress), then run the same command again.",
        details={"lock": path, "holder": holder},
    )
