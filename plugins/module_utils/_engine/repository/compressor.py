# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One file into another through zstd, started before anything else is: the server waits for every push.

zstd reads the segment by itself while Python is still importing what it needs to check it. That, and starting
it without ``subprocess`` (whose import takes a quarter of the time that a push may), is why this does not go
through core.run as every other program does.
"""

from __future__ import annotations

import errno
import os

from ..core.errors import Failed

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


class Compressor:
    """A running zstd: :meth:`finish` it or :meth:`abandon` it."""

    def __init__(self, source: int, target: int, *, level: int, attempted: str) -> None:
        self._attempted = attempted
        self._words, theirs = os.pipe()
        environment = {"PATH": os.environ.get("PATH", _DEFAULT_PATH), "LC_ALL": "C"}
        actions = [
            (os.POSIX_SPAWN_DUP2, source, 0),
            (os.POSIX_SPAWN_DUP2, target, 1),
            (os.POSIX_SPAWN_DUP2, theirs, 2),
        ]
        argv = ["zstd", "-q", "-c", f"-{level}", "--single-thread"]
        try:
            self._pid = os.posix_spawnp("zstd", argv, environment, file_actions=actions)
        except OSError as error:
            os.close(self._words)
            raise Failed(
                "program-missing",
                attempted=attempted,
                happened=f"zstd cannot be started: {error.strerror}",
                remedy="Install the package zstd. The WAL stays on the server and is sent again.",
            ) from error
        finally:
            os.close(theirs)

    def finish(self) -> None:
        """Wait for its end. Raises :class:`Failed` ``repository-full`` or ``repository-not-writable``."""
        try:
            words = b""
            while True:
                block = os.read(self._words, 4096)
                if not block:
                    break
                words += block
            pid, self._pid = self._pid, 0
            _dummy, status = os.waitpid(pid, 0)
        finally:
            self.abandon()
        if status != 0:
            text = words.decode(errors="replace").strip()
            raise write_failure(text or f"zstd ended with wait status {status}", attempted=self._attempted)

    def abandon(self) -> None:
        """End it, whatever it has done; no effect after :meth:`finish`."""
        pid, self._pid = self._pid, 0
        if pid:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        words, self._words = self._words, -1
        if words >= 0:
            os.close(words)


def write_failure(reason: OSError | str, *, attempted: str) -> Failed:
    """The error for a repository that takes no more bytes (fault E05), from an OSError or from zstd's words."""
    words = reason if isinstance(reason, str) else f"{reason.filename or 'write'}: {reason.strerror}"
    number = None if isinstance(reason, str) else reason.errno
    if number in _FULL or any(text in words for text in _FULL_WORDS):
        return Failed(
            "repository-full",
            attempted=attempted,
            happened=f"the repository takes no more bytes: {words}",
            remedy="Make space on its file system. The WAL stays on the server and is sent again.",
        )
    return Failed(
        "repository-not-writable",
        attempted=attempted,
        happened=words,
        remedy="See that the repository is mounted read-write and belongs to the cluster's owner, and that "
        "the program zstd works. The WAL stays on the server and is sent again.",
    )
