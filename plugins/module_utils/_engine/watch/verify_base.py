# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One base backup verified as deep as the plan says, and its entry in the catalog marked, or cleared of the mark.

The deepest look does what pg_verifybackup does (each file there, of the right size and checksum, none extra), on the
compressed archives as they lie: nothing is unpacked to disk, so it needs no space and works for every version; the
tests hold its verdicts against pg_verifybackup's. WAL is stored apart and proven apart.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

from ..core.clock import format_utc, utc_now
from ..core.errors import KeeperError
from ..core.files import CHUNK
from ..core.locks import locked
from ..repository.catalog import ENTRY, Backup, read_backup, write_backup
from ..repository.fetch import fetch, stored_fault
from ..repository.layout import Repository
from .gentle import Throttle, forget
from .verify_plan import DIGEST, FULL

#: What says that the stored files are wrong; everything else that fails says only that nobody knows.
_DAMAGE = ("backup-file-", "backup-entry-", "manifest-")
PATIENCE_SECONDS = 900.0

Told = Callable[[int], None]


def signature_of(repository: Repository, backup: Backup) -> str:
    """Changes when a stored file may have: names, sizes, times, inodes."""
    parts = []
    directory = repository.backup(backup.label)
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        # Expired since it was listed; who verifies it finds that out.
        names = []
    for name in names:
        # The entry itself is written again when it is pinned or marked.
        if name != ENTRY and not name.startswith("."):
            try:
                facts = os.stat(f"{directory}/{name}")
            except FileNotFoundError:
                parts.append(f"{name}:-")
                continue
            parts.append(f"{name}:{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}:{facts.st_ino}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def verify_base(
    repository: Repository, backup: Backup, depth: str, throttle: Throttle, told: Told
) -> dict[str, str] | None:
    """What is wrong with it (``code``, ``text``), or None. ``told`` gets the stored bytes as they are read.

    Raises KeeperError where that could not be found out (no zstd, say).
    """
    try:
        if depth == FULL:
            _unpack(repository, backup, throttle, told)
        else:
            # What is not there, or has another size, is told in the same words as by a restore.
            text = stored_fault(repository, backup)
            if text is not None:
                return {"code": "backup-file-damaged", "text": text}
            if depth == DIGEST:
                return _digests(repository, backup, throttle, told)
    except KeeperError as error:
        if not error.code.startswith(_DAMAGE):
            raise
        return {"code": error.code, "text": error.happened}
    finally:
        if depth != "look":
            for file in backup.files:
                forget(f"{repository.backup(backup.label)}/{file.name}")
    return None


def _unpack(repository: Repository, backup: Backup, throttle: Throttle, told: Told) -> None:
    share = backup.stored_bytes / backup.plain_bytes if backup.plain_bytes else 1.0
    done = 0

    def progress(plain_bytes: int) -> None:
        nonlocal done
        stored = int(plain_bytes * share)
        # Small steps would cost more than what they hold back.
        if stored - done >= CHUNK:
            throttle.took(stored - done)
            told(stored - done)
            done = stored

    fetched = fetch(repository, backup.label, None, tablespace_map={}, progress=progress, durable=False)
    throttle.took(max(0, fetched.stored_bytes - done))
    told(max(0, fetched.stored_bytes - done))


def _digests(repository: Repository, backup: Backup, throttle: Throttle, told: Told) -> dict[str, str] | None:
    for file in backup.files:
        path = f"{repository.backup(backup.label)}/{file.name}"
        try:
            found = digest_slowly(path, throttle, told)
        except OSError as error:
            return {"code": "backup-file-unreadable", "text": f"{path}: {error.strerror}"}
        if found != file.digest:
            return {
                "code": "backup-file-damaged",
                "text": f"{file.name}: its stored bytes are not those that the catalog knows",
            }
    return None


def digest_slowly(path: str, throttle: Throttle, told: Told) -> str:
    """SHA-256 in hex, as fast as it may be read. Raises OSError."""
    sha = hashlib.sha256()
    with open(path, "rb", buffering=0) as handle:
        while block := handle.read(CHUNK):
            sha.update(block)
            throttle.took(len(block))
            told(len(block))
    return sha.hexdigest()


def mark(repository: Repository, label: str, fault: dict[str, str] | None) -> str:
    """Say in the catalog what was found, so that plans, expiry and checks know: ``marked``, ``cleared``, ``same``, or
    ``gone`` where an expiry has taken the backup meanwhile.

    Raises :class:`Refused` (``busy``), :class:`Failed` (``repository-not-writable``).
    """
    attempted = f"write down what the verification of backup {label} found"
    with locked(repository.lock("expire"), "verification", attempted=attempted, patience=PATIENCE_SECONDS):
        try:
            backup = read_backup(repository, label)
        except KeeperError:
            return "gone"
        if not backup.finished:
            return "gone"
        if fault is None:
            if backup.unsound is None:
                return "same"
            write_backup(repository, backup.changed(unsound=None))
            return "cleared"
        known: dict[str, Any] = backup.unsound or {}
        if {name: known.get(name) for name in fault} == fault:
            return "same"
        write_backup(repository, backup.changed(unsound={**fault, "at": format_utc(utc_now())}))
        return "marked"
