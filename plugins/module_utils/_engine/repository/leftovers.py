# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What lies in a repository and is nobody's: temporary files of work that was killed, files put there by hand (B16).

They are ignored by everything else. Here they are told with their age, for a person to remove: a young one may belong
to work that is going on, and nobody knows who put the others there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from ..core.files import TEMPORARY_PREFIX
from ..wal.segment import is_backup_name, is_history_name, is_partial_name, is_segment_name
from .catalog import read_catalog
from .dumps import never_begun
from .layout import CONFLICT_PREFIX, Repository
from .remote.client import RemoteRepository

_SUFFIXES = ("", ".zst", ".gz", ".lz4", ".xz")
_LOCKS = (".lock",)


def leftovers(repository: Repository, system_id: int | None, now: float) -> list[dict[str, Any]] | None:
    """Path, bytes and age in seconds of each, the oldest first; ``now`` in seconds since the epoch.

    Raises as :func:`.catalog.read_catalog` does; what vanishes or cannot be looked at meanwhile is left out.
    A repository elsewhere is asked at its door, which looks by its own clock; None: the door is too old to know.
    """
    if isinstance(repository, RemoteRepository):
        return repository.leftovers(system_id)
    found: list[dict[str, Any]] = []

    def note(path: str) -> None:
        try:
            facts = os.lstat(path)
        except OSError:
            return
        found.append(
            {"path": path, "bytes": facts.st_size, "age_seconds": max(0.0, round(now - facts.st_mtime, 1))}
        )

    if system_id is not None:
        for path in _files(repository.wal(system_id), _is_archived):
            note(path)
    known = {backup.label for backup in read_catalog(repository).backups}
    for directory in (repository.base, *(repository.backup(label) for label in known)):
        for path in _files(directory, lambda name: not name.startswith(TEMPORARY_PREFIX), deep=False):
            note(path)
    for name in os.listdir(repository.base):
        if name.startswith(TEMPORARY_PREFIX) and os.path.isdir(f"{repository.base}/{name}"):
            note(f"{repository.base}/{name}")
    for path in never_begun(repository):
        note(path)
    return sorted(found, key=lambda one: (-one["age_seconds"], one["path"]))


def _is_archived(name: str) -> bool:
    if name.startswith(CONFLICT_PREFIX) or name.endswith(_LOCKS) or is_history_name(name):
        return True
    for suffix in _SUFFIXES:
        plain = name[: len(name) - len(suffix)] if name.endswith(suffix) else name
        if is_segment_name(plain) or is_partial_name(plain) or is_backup_name(plain):
            return True
    return False


def _files(directory: str, expected: Callable[[str], bool], *, deep: bool = True) -> Iterator[str]:
    for parent, names, files in os.walk(directory):
        if not deep:
            names.clear()
        for name in sorted(files):
            if not expected(name):
                yield f"{parent}/{name}"
