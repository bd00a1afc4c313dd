# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is being written is brought to the disk meanwhile, so that making it durable at the end is short.

The disk has little to do while a dump is compressed, and the processors have little while a file is made durable.
"""

from __future__ import annotations

import os

from .meanwhile import Meanwhile


class Writeback(Meanwhile):
    """Flushes the files of a directory again and again, for the length of a ``with`` block.

    An error of the disk is told once only by the system, so that it is kept and raised when the block ends well.
    """

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self._sizes: dict[str, int] = {}

    def _turn(self) -> None:
        for parent, _dummy, names in os.walk(self._directory):
            for name in names:
                self._flush(f"{parent}/{name}")

    def _flush(self, path: str) -> None:
        if self._stop.is_set():
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            if self._sizes.get(path) != size:
                os.fdatasync(descriptor)
                self._sizes[path] = size
        finally:
            os.close(descriptor)
