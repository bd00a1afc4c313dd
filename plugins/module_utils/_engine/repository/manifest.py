# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""PostgreSQL's backup_manifest: what a backup must hold, file by file, and proof that the list is whole.

Format: PostgreSQL manual, "Backup Manifest Format" (version 1 up to 16, version 2 from 17 on).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import Failed
from ..wal.lsn import parse_lsn
from .layout import Repository

_ALGORITHMS = {"SHA224": "sha224", "SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512"}


@dataclass(frozen=True)
class ManifestFile:
    """One file: path below the data directory, size in bytes, checksum in hex (None: not recorded)."""

    path: str
    size_bytes: int
    algorithm: str | None
    checksum: str | None


@dataclass(frozen=True)
class WalRange:
    """WAL that the backup needs to become consistent: from ``start_lsn`` up to, not with, ``end_lsn``."""

    timeline: int
    start_lsn: int
    end_lsn: int


@dataclass(frozen=True)
class Manifest:
    """A whole manifest whose own checksum was right. ``system_id`` is known from version 2 on."""

    files: dict[str, ManifestFile]
    wal_ranges: tuple[WalRange, ...]
    system_id: int | None

    @property
    def plain_bytes(self) -> int:
        """The sum of all files."""
        return sum(file.size_bytes for file in self.files.values())


INCREMENTAL_PREFIX = "INCREMENTAL."
#: A file of which no block changed: its head alone (PostgreSQL source, GetIncrementalHeaderSize).
_UNCHANGED_BYTES = 12


def combined_bytes(chain: Sequence[Manifest]) -> dict[int, tuple[int, int]]:
    """How large what a chain (the full backup first) gives can become: tablespace -> (all bytes, rebuilt bytes).

    0 stands for the data directory itself. Rebuilt are files that have to be put together from several links; such a
    one is no larger than all its parts.
    """
    sums: dict[int, tuple[int, int]] = {}
    for path, file in chain[-1].files.items():
        directory, slash, name = path.rpartition("/")
        size, changed = file.size_bytes, file.size_bytes > _UNCHANGED_BYTES
        incremental = name.startswith(INCREMENTAL_PREFIX)
        if incremental:
            plain = f"{directory}{slash}{name[len(INCREMENTAL_PREFIX) :]}"
            for manifest in reversed(chain[:-1]):
                whole, part = manifest.files.get(plain), manifest.files.get(path)
                size += whole.size_bytes if whole else part.size_bytes if part else 0
                if whole:
                    break
                changed = changed or (part is not None and part.size_bytes > _UNCHANGED_BYTES)
        parts = path.split("/", 2)
        oid = int(parts[1]) if parts[0] == "pg_tblspc" and len(parts) == 3 else 0
        before = sums.get(oid, (0, 0))
        sums[oid] = (before[0] + size, before[1] + (size if incremental and changed else 0))
    return sums


def read_manifest(path: str, *, attempted: str) -> Manifest:
    """Read and check a manifest (faults B17).

    Raises :class:`Failed` ``backup-file-missing``, ``backup-file-damaged`` or ``manifest-unsupported``
    (checksums that the standard library cannot calculate: CRC32C).
    """
    try:
        with open(path, "rb") as handle:
            content = handle.read()
    except OSError as error:
        raise _unread(path, attempted, error) from error
    return parse_manifest(content, path, attempted=attempted)


def stored_manifest(repository: Repository, label: str, *, attempted: str) -> Manifest:
    """That of a stored backup, wherever the repository is."""
    path = f"{repository.backup(label)}/backup_manifest"
    try:
        content = repository.stored_bytes(label, "backup_manifest")
    except OSError as error:
        raise _unread(path, attempted, error) from error
    return parse_manifest(content, path, attempted=attempted)


def parse_manifest(content: bytes, path: str, *, attempted: str) -> Manifest:
    """The same from its bytes; ``path`` is for messages."""
    # The last line holds the checksum of everything before it.
    body = content[: content.rstrip(b"\n").rfind(b"\n") + 1]
    try:
        value = json.loads(content)
        if value["Manifest-Checksum"] != hashlib.sha256(body).hexdigest():
            raise _damaged(path, attempted, "its own checksum does not match")
        if value["PostgreSQL-Backup-Manifest-Version"] not in (1, 2):
            raise _damaged(
                path, attempted, f"version {value['PostgreSQL-Backup-Manifest-Version']} is unknown"
            )
        files = [_file(item, path, attempted) for item in value["Files"]]
        ranges = tuple(
            WalRange(int(item["Timeline"]), parse_lsn(item["Start-LSN"]), parse_lsn(item["End-LSN"]))
            for item in value["WAL-Ranges"]
        )
        system = value.get("System-Identifier")
        return Manifest({file.path: file for file in files}, ranges, None if system is None else int(system))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, attempted, f"{type(error).__name__}: {error}") from error


def _file(item: dict[str, Any], path: str, attempted: str) -> ManifestFile:
    encoded = item.get("Encoded-Path")
    name = str(item["Path"]) if encoded is None else os.fsdecode(bytes.fromhex(encoded))
    algorithm = item.get("Checksum-Algorithm")
    if algorithm is not None and algorithm not in _ALGORITHMS:
        raise Failed(
            "manifest-unsupported",
            attempted=attempted,
            happened=f"{path} has checksums of kind {algorithm}",
            remedy="Take the backup with --manifest-checksums=SHA256, as dbkeeper backup does.",
        )
    return ManifestFile(
        name,
        int(item["Size"]),
        _ALGORITHMS[algorithm] if algorithm else None,
        str(item["Checksum"]).lower() if algorithm else None,
    )


def _unread(path: str, attempted: str, error: OSError) -> Failed:
    return Failed(
        "backup-file-missing" if isinstance(error, FileNotFoundError) else "backup-file-unreadable",
        attempted=attempted,
        happened=f"{path}: {error.strerror}",
        remedy="Bring the file back from a copy of the repository, or choose another backup.",
        details={"file": os.path.basename(path)},
    )


def _damaged(path: str, attempted: str, happened: str) -> Failed:
    return Failed(
        "backup-file-damaged",
        attempted=attempted,
        happened=f"{path}: {happened}",
        remedy="Bring the file back from a copy of the repository, or choose another backup.",
        details={"file": os.path.basename(path)},
    )
