# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A session of the server that lets others go first.

pg_dump and its session hand rows to each other; who counts beside them on a processor of theirs holds both up, though
there is time enough between. A process of lower priority takes just that time. It cannot be raised again without
privilege, so this is for sessions that end with their work.
"""

from __future__ import annotations

import contextlib
import os

from .session import Session

_NICE = 10


def give_way(session: Session) -> bool:
    """Lower the priority of the process that serves this session; whether that was to be had.

    It belongs to the same user on the same host, or it is left alone: a server in a container of its own has other
    numbers for its processes.
    """
    pid = int(session.ask("SELECT pg_backend_pid()")[0])
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as handle:
            if handle.read().strip() != "postgres":
                return False
        os.setpriority(os.PRIO_PROCESS, pid, max(_NICE, os.getpriority(os.PRIO_PROCESS, pid)))
        return True
    return False
