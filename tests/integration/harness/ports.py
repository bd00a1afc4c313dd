# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Ports that no other test takes: each is held by a lock file while its test lives, also under xdist.

In a place that all runs on this machine see, whatever their directories for temporary files are."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

FIRST, LAST = 21000, 24999


class PortKeeper:
    """Gives out ports and keeps them until :meth:`close`."""

    def __init__(self) -> None:
        self._held: list[int] = []
        self._directory = Path("/tmp") / f"dbkeeper-test-ports-{os.getuid()}"
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._next = FIRST + (os.getpid() * 37) % (LAST - FIRST)

    def take(self) -> int:
        """A port that nobody listens on and no other test holds."""
        for _dummy in range(LAST - FIRST):
            port = self._next
            self._next = FIRST + (self._next - FIRST + 1) % (LAST - FIRST)
            handle = os.open(self._directory / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            if self._is_free(port):
                self._held.append(handle)
                return port
            os.close(handle)
        raise RuntimeError(f"no free port between {FIRST} and {LAST}")

    def close(self) -> None:
        """Let all of them go."""
        for handle in self._held:
            os.close(handle)
        self._held.clear()

    @staticmethod
    def _is_free(port: int) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
        return True
