# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is done again and again with the files of a directory, while somebody else writes them."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TypeVar

_Self = TypeVar("_Self", bound="Meanwhile")


class Meanwhile:
    """Calls :meth:`_turn` every so many seconds, in a thread of its own, for the length of a ``with`` block.

    A turn that is under way when the block ends is waited for; long ones look at ``_stop``. A file or directory that is
    not there is not there yet, or not any more. Any other error of the system ends the turns, and is raised when the
    block ends well.
    """

    #: Between two turns.
    _SECONDS = 0.5

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._stop = threading.Event()
        self._fault: OSError | None = None
        self._thread = threading.Thread(target=self._work, name=type(self).__name__.lower(), daemon=True)

    def __enter__(self: _Self) -> _Self:
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
        while not self._stop.wait(self._SECONDS):
            try:
                self._turn()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self._fault = error
                return

    def _turn(self) -> None:
        """One look at the directory. Raises :class:`OSError`."""
        raise NotImplementedError
