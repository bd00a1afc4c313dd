# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A session of the server that lets others go first.

pg_dump and its session hand rows to each other; who counts beside them on a processor of theirs holds both up, though
there is time enough between. A process of lower priority takes just that time. It cannot be raised again without
privilege, so this is for sessions that end with their work.

A process of the server is a session of the operating system, too, and where the kernel shares time between sessions
first (the manual page sched(7), "The autogroup feature"), a priority within it means nothing: its group has one of its
own.
"""

from __future__ import annotations

import contextlib
import os
import time

from .session import Session

# The kernel takes one such word in a tenth of a second from all who have no privilege (kernel/sched/autogroup.c).
_TRIES, _AGAIN_SECONDS = 20, 0.11


def give_way(session: Session, nice: int) -> bool:
    """Lower the priority of the process that serves this session to ``nice`` (19: only what nobody else wants);
    whether that was to be had.

    It belongs to the same user on the same host, or it is left alone: a server in a container of its own has other
    numbers for its processes.
    """
    pid = int(session.ask("SELECT pg_backend_pid()")[0])
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as handle:
            if handle.read().strip() != "postgres":
                return False
        os.setpriority(os.PRIO_PROCESS, pid, max(nice, os.getpriority(os.PRIO_PROCESS, pid)))
        if os.getsid(pid) == pid:
            _lower_group(pid, nice)
        return True
    return False


def _lower_group(pid: int, nice: int) -> None:
    """The scheduling group of a session that is the process's own, where the kernel has such groups."""
    try:
        descriptor = os.open(f"/proc/{pid}/autogroup", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for _dummy in range(_TRIES):
            try:
                os.write(descriptor, str(nice).encode())
                return
            except BlockingIOError:
                time.sleep(_AGAIN_SECONDS)
    except OSError:
        return
    finally:
        os.close(descriptor)
