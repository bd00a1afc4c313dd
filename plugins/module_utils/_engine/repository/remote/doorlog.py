# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What happens at the door, one line each: to syslog, and to ``door.log`` in the cluster's repository.

At 16 MB it becomes ``door.log.1`` in place of the one before: whoever makes noise does not fill the disk (fault E06).
"""

from __future__ import annotations

import fcntl
import os
import syslog
import time

from .names import shown

NAME = "door.log"
_LARGEST_BYTES = 16 << 20


class DoorLog:
    """Lines of ``key=value``; what a client said is quoted and cut. A full disk silences the file, never the door."""

    def __init__(self, directory: str, **always: object) -> None:
        self._path = f"{directory}/{NAME}"
        self._always = _joined(always)
        syslog.openlog("dbkeeper-door", syslog.LOG_PID, syslog.LOG_AUTH)

    def note(self, event: str, *, bad: bool = False, **values: object) -> None:
        """One line."""
        line = f"{event} {self._always} {_joined(values)}".rstrip()
        syslog.syslog(syslog.LOG_WARNING if bad else syslog.LOG_INFO, line)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            self._append(f"{stamp} [{os.getpid()}] {'REFUSED ' if bad else ''}{line}\n".encode())
        except OSError:
            # syslog has it.
            return

    def _append(self, line: bytes) -> None:
        handle = os.open(
            self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640
        )
        try:
            if os.fstat(handle).st_size > _LARGEST_BYTES:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if os.stat(self._path).st_ino == os.fstat(handle).st_ino:
                    os.rename(self._path, f"{self._path}.1")
            os.write(handle, line)
        finally:
            os.close(handle)


def _joined(values: dict[str, object]) -> str:
    return " ".join(f"{key}={shown(value)}" for key, value in values.items() if value is not None)
