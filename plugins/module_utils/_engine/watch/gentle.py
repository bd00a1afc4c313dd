# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Work that has time: behind everything else that wants the processor or the disk, and no faster than it may be."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ..core.errors import KeeperError
from ..core.privilege import started_as_root
from ..core.run import run

_NICE = 10
#: Best effort, the lowest: "idle" would never end on a host that is always busy.
_IO_CLASS = ("-c", "2", "-n", "7")


def stand_back() -> dict[str, object]:
    """Let this process, and what it starts from now on, go behind others; what came of it.

    ``nice`` is what the process has then; ``io`` whether its turns at the disk are the last ones (not everywhere is
    there an ``ionice``).
    """
    now = os.getpriority(os.PRIO_PROCESS, 0)
    if now < _NICE:
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    try:
        run(
            ["ionice", *_IO_CLASS, "-p", str(os.getpid())],
            attempted="go behind others at the disk",
            privileged=started_as_root(),
        )
        behind = True
    except KeeperError:
        behind = False
    return {"nice": max(now, _NICE), "io": behind}


class Throttle:
    """Holds its caller back to so many bytes a second (None: not at all)."""

    def __init__(
        self,
        bytes_per_second: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._due = clock()
        self.total = 0

    def took(self, count: int) -> None:
        """So many bytes were read just now; returns when the next may be. What was not used is not saved up."""
        self.total += count
        if self._rate is None:
            return
        now = self._clock()
        self._due = max(self._due, now) + count / self._rate
        if self._due > now:
            self._sleep(self._due - now)


def forget(path: str) -> None:
    """Let the kernel drop a file from its cache: what is read once must not push out what the server reads often."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
