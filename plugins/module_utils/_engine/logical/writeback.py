# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is being written is brought to the disk meanwhile, so that making it durable at the end is short.

The disk has little to do while a dump is compressed, and the processors have little while a file is made durable.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType

_SECONDS = 0.5


class Writeback:
    """Flushes the files of a directory again and again, for the length of a ``with`` block.

    An error of the disk is told once only by the system, so that it is kept and raised when the block ends well.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._stop = threading.Event()
        self._fault: OSError | None = None
        self._sizes: dict[str, int] = {}
        self._thread = threading.Thread(target=self._work, name="writeback", daemon=True)

    def __enter__(self) -> Writeback:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if kind is None and self._fault is not None:
            raise self._fault

    def _work(self) -> None:
        while not self._stop.wait(_SECONDS):
            try:
                for parent, _dummy, names in os.walk(self._directory):
                    for name in names:
                        self._flush(f"{parent}/{name}")
            except FileNotFoundError:
                # Removed by whom it belongs to.
                continue
            except OSError as error:
                self._fault = error
                return

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
