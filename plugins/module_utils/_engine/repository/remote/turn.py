# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One at a time adds to a shelf of a repository, whichever door it came through."""

from __future__ import annotations

import fcntl
import os

from ...core.errors import Refused


class Turn:
    """A lock that lasts from the beginning of an entry to its end; the kernel lets go of it when the door dies."""

    def __init__(self, path: str, what: str, hint: str = "") -> None:
        """``what`` is taken, for the message (``backup``, ``dump``); ``hint`` how its progress is seen."""
        self._path, self._what, self._hint = path, what, hint
        self._handle = -1

    def take(self, attempted: str) -> None:
        """No change when it is ours already. Raises :class:`Refused` ``busy``."""
        if self._handle >= 0:
            return
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise Refused(
                "busy",
                attempted=attempted,
                happened=f"another {self._what} is being taken into this repository",
                remedy=f"Wait for it to end{self._hint}, then run the same command again.",
            ) from error
        self._handle = handle

    def end(self) -> None:
        """Let the next one in."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
