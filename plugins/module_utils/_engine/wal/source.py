# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Where archived WAL comes from: the one thing that the proof knows of an engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from .content import PLAIN


@dataclass(frozen=True)
class StoredWal:
    """One stored file: ``name`` as PostgreSQL calls it, without a suffix of compression.

    ``signature`` changes whenever the file might have (size, mtime_ns, ctime_ns, inode); ``location`` is
    for messages. A name may come twice (``.zst`` and plain): that is a fault to be told, not to be hidden.
    """

    name: str
    stored_bytes: int
    signature: str
    location: str = ""


class WalSource(Protocol):
    """The archive of one system identifier."""

    def list_files(self) -> Iterable[StoredWal]:
        """All finished files: segments, ``.partial``, ``.history``, ``.backup``; no temporary ones."""

    def fetch(self, name: str, target_path: str, kind: str = PLAIN) -> str:
        """Write the plain bytes to ``target_path``, over what is there; the content's identity, of that kind.

        The kinds are those of :mod:`.content`; one who cannot tell a packed one answers with the plain one.
        Needs no fsync. Raises KeeperError (``segment-unreadable``, ``segment-missing``, ``segment-corrupt``)
        and leaves no file then. Called from several threads at once.
        """

    def read_history(self, timeline: int) -> str | None:
        """A history file's content, or None when there is none. Raises KeeperError (``history-damaged``)."""
