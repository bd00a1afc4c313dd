# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The native archive as a source of WAL: what is stored, and its plain bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from ..core.errors import Failed, KeeperError, Refused
from ..core.files import digest as file_digest
from ..wal.content import PLAIN
from ..wal.segment import history_name, is_backup_name, is_history_name, is_partial_name, is_segment_name
from ..wal.source import StoredWal
from .compression import Damaged, identity
from .layout import Repository

# Others may have been put there by hand; they are listed so that a second copy of a segment is seen (B14).
_SUFFIXES = (".zst", ".gz", ".lz4", ".xz")
_READABLE = (".zst", "")


#: Below the directory of ``dbkeeper receive``: what a branch left behind when the server went another way.
ASIDE = "aside"


class NativeWalSource:
    """The archive of one system identifier in a repository; a :class:`WalSource`."""

    def __init__(self, repository: Repository, system_id: int) -> None:
        self.repository = repository
        self.system_id = system_id
        self._directory = repository.wal(system_id)
        spool = repository.receive(system_id)
        #: What was streamed and is not archived lies here, as plain files (fault B15).
        self._received = (spool, f"{spool}/{ASIDE}")

    def list_files(self) -> Iterator[StoredWal]:
        """All finished files, ordered by directory and name, without hidden ones (temporary, conflicts).

        Raises :class:`Refused` ``repository-missing``, :class:`Failed` ``repository-unreadable``.
        """
        self.repository.require("list the WAL archive")
        try:
            for name in sorted(_names(self._directory)):
                path = f"{self._directory}/{name}"
                try:
                    if is_history_name(name):
                        yield stored_wal(name, path)
                    elif len(name) == 8 and os.path.isdir(path):
                        yield from _segments(path, name)
                except FileNotFoundError:
                    # Expired while we looked: gone is gone, also a directory with all of its timeline.
                    self.repository.require("list the WAL archive")
            yield from self._streamed()
        except OSError as error:
            raise Failed(
                "repository-unreadable",
                attempted="list the WAL archive",
                happened=f"{error.filename or self._directory}: {error.strerror}",
                remedy=f"Give the cluster's owner access to {self._directory}, or mend its mount.",
            ) from error

    def fetch(self, name: str, target_path: str | None, kind: str = PLAIN) -> str:
        """Write the plain bytes of ``name`` to a file, over what is there (None: nowhere); the content's identity.

        ``kind`` is one of :mod:`..wal.content`. Of two forms the first is told, in its kind, once both hold the same.
        Raises :class:`Refused` ``segment-missing``, ``segment-unreadable``, ``segment-corrupt`` (zstd cannot
        unpack it) or ``segment-duplicate`` (two stored forms whose contents differ, B14);
        :class:`Failed` ``segment-write-failed`` when the target takes no more bytes.
        """
        paths = self._found(name)
        while True:
            try:
                return self._fetch(name, paths, target_path, kind)
            except Refused as error:
                # What was streamed is renamed, and moves into the archive, at any moment.
                before, paths = paths, self._found(name)
                if error.code != "segment-missing" or paths == before:
                    raise

    def _found(self, name: str) -> list[str]:
        try:
            return self.paths(name)
        except OSError as error:
            raise _unreadable(name, str(error.filename), error, f"read {name} from the archive") from error

    def _fetch(self, name: str, paths: list[str], target_path: str | None, kind: str) -> str:
        attempted = f"read {name} from the archive"
        if not paths:
            raise self._missing(name, attempted)
        found = self._read(name, paths[0], target_path, attempted, kind)
        if paths[1:]:
            try:
                self._hold_the_same(name, paths, target_path, attempted)
            except BaseException:
                if target_path is not None:
                    os.unlink(target_path)
                raise
        return found

    def _hold_the_same(self, name: str, paths: list[str], target_path: str | None, attempted: str) -> None:
        """Only plain bytes can be compared: of what was written, where it was, and not of what lies there now."""
        plain = file_digest(target_path) if target_path else self._read(name, paths[0], None, attempted)
        for path in paths[1:]:
            if self._read(name, path, None, attempted) != plain:
                raise Refused(
                    "segment-duplicate",
                    attempted=attempted,
                    happened=f"it is there twice with different content: {' and '.join(paths)}",
                    remedy="Find out which of the two belongs to this cluster's history, and move the other "
                    "one out of the repository.",
                    details={"name": name, "paths": paths},
                )

    def read_history(self, timeline: int) -> str | None:
        """A history file's text, or None when the archive has none.

        Raises :class:`Refused` ``repository-missing`` (then nobody can say that there is none),
        ``history-unreadable``, ``history-damaged`` (not text).
        """
        name = history_name(timeline)
        attempted = f"read {name} from the archive"
        path = self.repository.history(self.system_id, timeline)
        try:
            with open(path, "rb") as handle:
                return handle.read().decode("utf-8")
        except FileNotFoundError:
            self.repository.require(attempted)
            return None
        except UnicodeDecodeError as error:
            raise Refused(
                "history-damaged",
                attempted=attempted,
                happened=f"{path} is not text",
                remedy="Bring it back from pg_wal of the server that made the timeline, or from a copy.",
                details={"name": name},
            ) from error
        except OSError as error:
            raise Refused(
                "history-unreadable",
                attempted=attempted,
                happened=f"{path}: {error.strerror}",
                remedy="Give the cluster's owner access to the file, or mend the repository's mount.",
                details={"name": name},
            ) from error

    def paths(self, name: str) -> list[str]:
        """Where ``name`` is stored: in one form, as it should be, in several, or not at all.

        Raises OSError when nobody can say: what may not be looked at is not "not there" (B08).
        """
        return [path for path in self._candidates(name) if _lies(path)]

    def _candidates(self, name: str) -> list[str]:
        directory = self._directory if is_history_name(name) else f"{self._directory}/{name[:8]}"
        plain = is_history_name(name) or is_backup_name(name)
        stored = [f"{directory}/{name}{suffix}" for suffix in (("",) if plain else _READABLE)]
        if plain:
            return stored
        # What the archive has counts before what was streamed and not pushed; of unfinished ones no two need be equal.
        known = [path for path in stored if _lies(path)]
        streamed = [f"{place}/{name}" for place in self._received]
        if is_partial_name(name) or not known:
            return [path for path in (*known, *streamed) if _lies(path)][:1] or stored
        return known

    def _streamed(self) -> Iterator[StoredWal]:
        """Unfinished segments, and finished ones that nobody has pushed yet."""
        seen: set[str] = set()
        for directory in self._received:
            for name in sorted(_names(directory)):
                path = f"{directory}/{name}"
                known = is_partial_name(name) or is_segment_name(name)
                if not known or name in seen or self._candidates(name) != [path]:
                    continue
                try:
                    yield stored_wal(name, path)
                except FileNotFoundError:
                    # Finished or pushed while we looked: it is in the archive, or will be at once.
                    continue
                seen.add(name)

    def _read(self, name: str, path: str, target_path: str | None, attempted: str, kind: str = PLAIN) -> str:
        target = None
        written = False
        try:
            # Opened before the target is, so that the errors of the two cannot be taken for each other.
            os.close(os.open(path, os.O_RDONLY))
            if target_path is not None:
                target = _open_target(target_path, attempted)
            found = identity(path, target, kind)
            written = True
        except FileNotFoundError as error:
            raise self._missing(name, attempted) from error
        except Damaged as error:
            raise Refused(
                "segment-corrupt",
                attempted=attempted,
                happened=f"{path} cannot be unpacked: {error}",
                remedy="Bring the file back from a copy of the archive, or choose a target before it.",
                details={"name": name, "path": path},
            ) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Failed(
                    "staging-full",
                    attempted=attempted,
                    happened=f"{target_path}: {error.strerror}",
                    remedy="Make space on that file system, then run the same command again.",
                    details={"name": name},
                ) from error
            raise _unreadable(name, path, error, attempted) from error
        finally:
            if target is not None:
                os.close(target)
                if not written and target_path is not None:
                    os.unlink(target_path)
        return found

    def _missing(self, name: str, attempted: str) -> KeeperError:
        self.repository.require(attempted)
        return Refused(
            "segment-missing",
            attempted=attempted,
            happened=f"{name} is not in {self._directory}",
            remedy="Bring it back from a copy of the archive or from the server's pg_wal, or choose a target "
            "before it.",
            details={"name": name},
        )


def _lies(path: str) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _unreadable(name: str, path: str, error: OSError, attempted: str) -> KeeperError:
    return Refused(
        "segment-unreadable",
        attempted=attempted,
        happened=f"{path}: {error.strerror}",
        remedy="Give the cluster's owner access to the file, or mend the repository's mount.",
        details={"name": name, "path": path},
    )


def _open_target(path: str, attempted: str) -> int:
    try:
        # Not emptied: what lies there is written over, which costs a fraction of taking new pages.
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failed(
            "segment-write-failed",
            attempted=attempted,
            happened=f"{path}: {error.strerror}",
            remedy="See that the target directory exists, is writable for the cluster's owner and has space.",
        ) from error


def _names(directory: str) -> list[str]:
    """None where there is no archive of this system yet: the marker said that the repository itself is there."""
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _segments(directory: str, timeline: str) -> Iterator[StoredWal]:
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            name, suffix = os.path.splitext(entry.name)
            if suffix not in _SUFFIXES:
                name = entry.name
            known = is_segment_name(name) or is_partial_name(name) or is_backup_name(name)
            if known and name.startswith(timeline):
                try:
                    yield _stored(name, entry.path, entry.stat())
                except FileNotFoundError:
                    # Expired while we looked: gone is gone.
                    continue


def stored_wal(name: str, path: str) -> StoredWal:
    """A stored file as the listing would tell it."""
    return _stored(name, path, os.stat(path))


def _stored(name: str, path: str, status: os.stat_result) -> StoredWal:
    signature = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"
    return StoredWal(name, status.st_size, signature, path)
