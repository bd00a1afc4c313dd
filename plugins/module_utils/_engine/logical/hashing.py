# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Digests of large files made while pg_dump writes them, so that they are not read from the disk again at the end.

Only of files that are never changed where they were written already: those of tables in a dump of format directory.
The table of contents of the others is written anew when all its entries have their places.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

from ..core.files import CHUNK, digest
from .meanwhile import Meanwhile

_LEAST_BYTES = 8 * CHUNK
_GROWS = re.compile(r"\d+\.dat(\.(gz|lz4|zst))?")


class Hashing(Meanwhile):
    """Follows the growing files of a directory for the length of a ``with`` block."""

    _SECONDS = 0.25

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self._begun: dict[str, tuple[Any, int]] = {}

    def digest(self, path: str) -> str:
        """SHA-256 of a file that is whole by now, in hex."""
        sha, done = self._begun.pop(path, (None, 0))
        if sha is None or os.stat(path).st_size < done:
            return digest(path)
        self._read(path, sha, done)
        return str(sha.hexdigest())

    def _turn(self) -> None:
        with os.scandir(self._directory) as entries:
            grown = [
                entry.path
                for entry in entries
                if _GROWS.fullmatch(entry.name) and entry.stat().st_size >= _LEAST_BYTES
            ]
        for path in grown:
            sha, done = self._begun.get(path) or (hashlib.sha256(), 0)
            self._begun[path] = (sha, self._read(path, sha, done, whole=False))

    def _read(self, path: str, sha: Any, done: int, *, whole: bool = True) -> int:
        """From ``done`` to the end, or as long as nobody waits for the end; how far that is."""
        with open(path, "rb", buffering=0) as handle:
            handle.seek(done)
            while (whole or not self._stop.is_set()) and (block := handle.read(CHUNK)):
                sha.update(block)
                done += len(block)
        return done
