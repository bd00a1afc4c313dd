# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A stored backup into a directory, proven on the way: each stored byte and each file against its checksum.

Everything is read once. Per archive there are zstd in its own process, this thread cutting and writing, one
thread hashing what was cut and one hashing the stored file: the two cores of a small host are busy with work
that releases Python's lock. ``pg_control`` gets its name last (D01): before that, no server starts.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..core.errors import Failed, Refused
from ..core.files import fsync_directory, sync_filesystem, write_durable
from .catalog import MANIFEST, Backup, read_backup
from .layout import Repository
from .manifest import Manifest, parse_manifest
from .tarstream import Member, TarDamaged, safe_name
from .unpack import Sink, StreamFault, unpack

BASE = "base.tar.zst"
CONTROL = "global/pg_control"
CONTROL_ASIDE = "global/pg_control.unproven"
_NEEDED = ("backup_label", "PG_VERSION", CONTROL)
#: Holds no files when WAL is archived apart, so no manifest lists it; without it no server starts (B21).
_NEEDED_DIRECTORY = "pg_wal"
#: Directories of every data directory that may be empty, and so are in no manifest.
_EMPTY_DIRECTORIES = 24


@dataclass(frozen=True)
class Fetched:
    """What was read and found to be right."""

    label: str
    files: int
    plain_bytes: int
    stored_bytes: int


@dataclass(frozen=True)
class Contents:
    """What a restore of a backup makes: how many files and directories, by tablespace (0: the data directory)."""

    label: str
    inodes: Mapping[int, int]


def look(repository: Repository, label: str) -> Contents:
    """Whether a backup is there with the right names and sizes under a sound manifest (B17); reads none of its data.

    Raises as :func:`fetch` does.
    """
    attempted = f"look at backup {label}"
    backup = read_backup(repository, label)
    content = _check_stored(repository, backup, attempted)
    manifest = parse_manifest(content, f"{repository.backup(label)}/{MANIFEST}", attempted=attempted)
    directories = {os.path.dirname(path) for path in manifest.files}
    inodes = dict.fromkeys((0, *(tablespace.oid for tablespace in backup.tablespaces)), _EMPTY_DIRECTORIES)
    for path in (*manifest.files, *directories):
        parts = path.split("/", 2)
        oid = int(parts[1]) if parts[0] == "pg_tblspc" and len(parts) > 2 and parts[1].isdigit() else 0
        inodes[oid] = inodes.get(oid, 0) + 1
    return Contents(label, inodes)


def fetch(
    repository: Repository,
    label: str,
    directory: str | None,
    *,
    tablespace_map: Mapping[int, str],
    progress: Callable[[int], None] | None = None,
    durable: bool = True,
    as_link: bool = False,
) -> Fetched:
    """Extract backup ``label`` into ``directory`` (made; must be absent or empty), or only check it (None).

    ``tablespace_map``: oid -> directory for each tablespace (made; must be absent or empty); those not named
    go to where they were. ``progress`` is told the plain bytes done, of the manifest's total.
    ``durable``: one syncfs for each file system at the end; False leaves that to the caller. ``as_link``: as
    pg_combinebackup wants it, with its manifest and its own ``tablespace_map``.

    Raises :class:`Refused` ``backup-unknown``, ``backup-not-verified``, ``directory-not-empty``,
    ``tablespace-unknown``, ``tablespace-overlap``; :class:`Failed` ``backup-entry-damaged``,
    ``backup-file-missing``, ``backup-file-damaged``, ``backup-file-extra``, ``backup-file-unreadable``
    (B17, B18, B20, B21), ``staging-full``, ``staging-not-writable``. After :class:`Failed` the directories
    hold an unfinished copy that no server starts, for the caller to remove.
    """
    attempted = f"fetch backup {label}" if directory else f"verify backup {label}"
    repository.require(attempted)
    backup = read_backup(repository, label)
    # One that was found damaged may be read again, to see whether it has been mended; never restored.
    if not backup.verified:
        backup.facts(even_unsound=directory is None)
    content = _check_stored(repository, backup, attempted)
    manifest = parse_manifest(content, f"{repository.backup(label)}/{MANIFEST}", attempted=attempted)
    targets = _targets(backup, directory, tablespace_map, attempted)
    extraction = Extraction(manifest, attempted, progress)
    digests = {file.name: file.digest for file in backup.files}
    try:
        for oid, target in targets.items():
            if target is not None:
                os.makedirs(target, 0o700, exist_ok=True)
            name = f"{oid}.tar.zst" if oid else BASE
            extraction.enter(target, f"pg_tblspc/{oid}" if oid else "")
            path = f"{repository.backup(label)}/{name}"
            unpack(path, extraction, digest=digests[name], feed=repository.feed(label, name))
        extraction.complete()
        if directory is not None:
            _link_tablespaces(directory, targets, rewrite=not as_link)
            if as_link:
                write_durable(f"{directory}/{MANIFEST}", content, 0o600)
            _name_control(directory, targets, durable)
    except StreamFault as fault:
        raise _fault("backup-file-damaged", attempted, fault.name, fault.text) from fault
    except TarDamaged as fault:
        raise _fault("backup-file-damaged", attempted, extraction.where, str(fault)) from fault
    except OSError as error:
        raise _staging(error, attempted) from error
    return Fetched(
        label, len(extraction.seen), extraction.done, sum(file.stored_bytes for file in backup.files)
    )


class Extraction(Sink):
    """What to do with the members of one backup's archives; holds them against the manifest."""

    def __init__(self, manifest: Manifest, attempted: str, progress: Callable[[int], None] | None) -> None:
        self._manifest = manifest
        self._attempted = attempted
        self._progress = progress
        self._target: str | None = None
        self._prefix = ""
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self.seen: set[str] = set()
        self.done = 0
        self.where = BASE
        self._directories: set[str] = set()

    def enter(self, target: str | None, prefix: str) -> None:
        """Go on with the archive whose members lie below ``prefix`` in the manifest."""
        self._target, self._prefix = target, f"{prefix}/" if prefix else ""
        self.where = f"{prefix.rpartition('/')[2]}.tar.zst" if prefix else BASE

    def open(self, member: Member) -> tuple[int | None, str | None, str | None]:
        """See :class:`Sink`: makes the file, and knows its checksum."""
        name = safe_name(member.name)
        if member.kind == "directory":
            self._directories.add(self._prefix + name)
            self._make(name, member.mode)
            return None, None, None
        if member.kind == "link":
            # Only tablespaces are links, and where those go is decided here, not in a stored file (C02).
            if not self._prefix and name.startswith("pg_tblspc/") and name[10:].isdigit():
                return None, None, None
            raise TarDamaged(f"{name!r} is a symbolic link to {member.target!r}")
        known = self._manifest.files.get(self._prefix + name)
        if known is None or self._prefix + name in self.seen:
            raise self._fault(
                "backup-file-extra", self._prefix + name, "the manifest does not list it (again)"
            )
        self.seen.add(self._prefix + name)
        if known.size_bytes != member.size_bytes:
            what = f"it has {member.size_bytes} bytes, the manifest says {known.size_bytes}"
            raise self._fault("backup-file-damaged", self._prefix + name, what)
        handle = None
        if self._target is not None:
            placed = CONTROL_ASIDE if self._prefix + name == CONTROL else name
            handle = self._create(f"{self._target}/{placed}", member.mode)
        return handle, known.algorithm, known.checksum

    def mismatch(self, member: Member) -> Exception:
        """See :class:`Sink`."""
        what = "its checksum is not that of the manifest"
        return self._fault("backup-file-damaged", self._prefix + safe_name(member.name), what)

    def advance(self, count: int) -> None:
        """See :class:`Sink`."""
        self.done += count
        if self._progress is not None:
            self._progress(self.done)

    def complete(self) -> None:
        """All archives have been read. Raises for what the manifest lists and nobody saw."""
        missing = sorted(set(self._manifest.files) - self.seen)
        missing += [name for name in _NEEDED if name not in self._manifest.files]
        if _NEEDED_DIRECTORY not in self._directories:
            missing.append(_NEEDED_DIRECTORY)
        if missing:
            what = "it is in no archive of the backup"
            if len(missing) > 1:
                what += f", and neither are {len(missing) - 1} more"
            raise self._fault("backup-file-missing", missing[0], what)

    def _make(self, name: str, mode: int) -> None:
        if self._target is None or not name:
            return
        path = f"{self._target}/{name}"
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode & 0o770)

    def _create(self, path: str, mode: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        mode &= 0o770
        try:
            handle = os.open(path, flags, mode)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            handle = os.open(path, flags, mode)
        if mode & self._umask:
            os.fchmod(handle, mode)
        return handle

    def _fault(self, code: str, name: str, what: str) -> Failed:
        return _fault(code, self._attempted, name, what)


def _check_stored(repository: Repository, backup: Backup, attempted: str) -> bytes:
    """Names and sizes before the first byte is unpacked: the cheapest faults first. The manifest, by which all
    that follows is judged."""
    directory = repository.backup(backup.label)
    try:
        _compare_stored(directory, repository.stored_sizes(backup.label), backup, attempted)
        content = repository.stored_bytes(backup.label, MANIFEST)
    except OSError as error:
        raise _fault(
            "backup-file-unreadable", attempted, error.filename or directory, str(error.strerror)
        ) from error
    if hashlib.sha256(content).hexdigest() != backup.stored_digest(MANIFEST):
        raise _fault("backup-file-damaged", attempted, MANIFEST, "it is not the one that the catalog knows")
    return content


def stored_fault(repository: Repository, backup: Backup) -> str | None:
    """What is wrong with the names, sizes and manifest of what is stored, or None; its content is not read."""
    try:
        _check_stored(repository, backup, f"look at backup {backup.label}")
    except Failed as error:
        return error.happened
    return None


def _compare_stored(directory: str, present: Mapping[str, int], backup: Backup, attempted: str) -> None:
    wanted = {file.name: file.stored_bytes for file in backup.files}
    needed = {BASE, MANIFEST} | {f"{tablespace.oid}.tar.zst" for tablespace in backup.tablespaces}
    for name in sorted(needed - set(wanted)):
        raise _fault("backup-entry-damaged", attempted, name, "backup.json does not list it")
    for name in sorted(set(wanted) - set(present)):
        raise _fault("backup-file-missing", attempted, name, f"it is not in {directory}")
    for name in sorted(set(present) - set(wanted)):
        raise _fault(
            "backup-file-extra", attempted, name, f"it lies in {directory}, backup.json does not list it"
        )
    for name, size in sorted(wanted.items()):
        actual = present[name]
        if actual != size:
            what = f"it has {actual} bytes, backup.json says {size}"
            raise _fault("backup-file-damaged", attempted, name, what)


def _targets(
    backup: Backup, directory: str | None, tablespace_map: Mapping[int, str], attempted: str
) -> dict[int, str | None]:
    """Where each archive goes, 0 for the data directory itself: empty places, none inside another."""
    known = {tablespace.oid: tablespace.path for tablespace in backup.tablespaces}
    for oid in sorted(set(tablespace_map) - set(known)):
        raise Refused(
            "tablespace-unknown",
            attempted=attempted,
            happened=f"the backup has no tablespace {oid}",
            remedy=f"Map only tablespaces of the backup: {known or 'it has none'}.",
            details={"tablespaces": {str(oid): path for oid, path in known.items()}},
        )
    if directory is None:
        return {0: None, **dict.fromkeys(known)}
    targets: dict[int, str | None] = {0: os.path.abspath(directory)}
    targets.update({oid: os.path.abspath(tablespace_map.get(oid, path)) for oid, path in known.items()})
    paths = sorted(os.path.realpath(path) for path in targets.values() if path is not None)
    for one, other in zip(paths, paths[1:]):
        if f"{other}/".startswith(f"{one}/"):
            raise Refused(
                "tablespace-overlap",
                attempted=attempted,
                happened=f"{other} lies in {one}",
                remedy="Give every tablespace a directory of its own, outside the data directory.",
            )
    for path in paths:
        if os.path.isdir(path) and os.listdir(path):
            raise Refused(
                "directory-not-empty",
                attempted=attempted,
                happened=f"{path} is not empty",
                remedy="Nothing was touched. Name a directory that is not there yet, or is empty.",
                details={"directory": path},
            )
    return targets


def _link_tablespaces(directory: str, targets: Mapping[int, str | None], *, rewrite: bool) -> None:
    """Links for us and the checks, ``tablespace_map`` for the server, which makes the links anew from it."""
    placed = {oid: target for oid, target in targets.items() if oid and target is not None}
    for oid, target in placed.items():
        link = f"{directory}/pg_tblspc/{oid}"
        os.makedirs(os.path.dirname(link), exist_ok=True)
        os.symlink(target, link)
    if placed and rewrite:
        write_durable(f"{directory}/tablespace_map", tablespace_lines(placed), 0o600)


def tablespace_lines(targets: Mapping[int, str]) -> bytes:
    """The content of ``tablespace_map``: oid -> directory, line breaks escaped."""
    lines = []
    for oid, target in targets.items():
        escaped = target.replace("\\", "\\\\").replace("\n", "\\\n").replace("\r", "\\\r")
        lines.append(f"{oid} {escaped}\n")
    return os.fsencode("".join(lines))


def _name_control(directory: str, targets: Mapping[int, str | None], durable: bool) -> None:
    if durable:
        for device in {os.stat(path).st_dev: path for path in targets.values() if path is not None}.values():
            sync_filesystem(device)
    os.rename(f"{directory}/{CONTROL_ASIDE}", f"{directory}/{CONTROL}")
    if durable:
        fsync_directory(f"{directory}/global")


def _fault(code: str, attempted: str, name: str, what: str) -> Failed:
    return Failed(
        code,
        attempted=attempted,
        happened=f"{name}: {what}",
        remedy="Nothing that is in use was touched. Bring the backup's files back from a copy of the "
        "repository, or choose another backup (dbkeeper info lists them).",
        details={"file": name},
    )


def _staging(error: OSError, attempted: str) -> Failed:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return Failed(
        "staging-full" if full else "staging-not-writable",
        attempted=attempted,
        happened=f"{error.filename or 'writing a file'}: {error.strerror}",
        remedy="Nothing that is in use was touched. "
        + (
            "Make space where the copy is staged, then run the same command again."
            if full
            else "Let the cluster's owner write there, then run the same command again."
        ),
    )
