# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A stored file of a backup as it comes from the door, into a pipe for zstd; hashed on the way.

A way that is cut is opened again where it ended (fault E04): a restore of hours does not begin anew for a moment.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING

from ...core.errors import KeeperError
from ..compression import widen, write_all

if TYPE_CHECKING:
    from .client import RemoteRepository

_PAUSES_SECONDS = (0.5, 2.0, 5.0, 10.0)


class _Enough(Exception):
    """Nobody reads any more."""


class RemoteFeed(threading.Thread):
    """``source`` is what zstd reads. After its end ``digest`` holds, or ``error`` why there is none."""

    def __init__(self, repository: RemoteRepository, label: str, name: str) -> None:
        super().__init__(name="dbkeeper-feed", daemon=True)
        self.digest: str | None = None
        self.error: OSError | None = None
        self.stop = False
        self._repository = repository
        self._label = label
        self._name = name
        self._sha = hashlib.sha256()
        self._offset = 0
        self.source, self._pipe = os.pipe()
        widen(self.source)

    def run(self) -> None:
        try:
            self._all()
            self.digest = self._sha.hexdigest()
        except _Enough:
            # zstd has ended: it or the sink has met a fault, and tells it.
            self.digest = None
        except KeeperError as error:
            self.error = OSError(5, f"{error.code}: {error.happened}")
        except OSError as error:
            self.error = error
        finally:
            os.close(self._pipe)

    def _all(self) -> None:
        pauses = list(_PAUSES_SECONDS)
        while True:
            before = self._offset
            try:
                _answer, end = self._repository.line.fetch(
                    "backup-get",
                    self._take,
                    attempted=f"fetch {self._name} of backup {self._label}",
                    label=self._label,
                    name=self._name,
                    offset=self._offset,
                )
            except KeeperError as error:
                if self._offset > before:
                    pauses = list(_PAUSES_SECONDS)
                if error.code != "repository-unreachable" or not pauses:
                    raise
                time.sleep(pauses.pop(0))
                continue
            if end.get("fault"):
                raise OSError(5, str(end["fault"]))
            return

    def _take(self, piece: bytes) -> None:
        if self.stop:
            raise _Enough
        try:
            write_all(self._pipe, memoryview(piece))
        except BrokenPipeError as error:
            raise _Enough from error
        self._sha.update(piece)
        self._offset += len(piece)
