# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A copy in a directory: another disk, a mount. In the layout of a repository, so it can be used as one.

Written as everything durable is: under a hidden name, fsync, read again from the disk, rename, fsync of the directory.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator

from ..core.errors import KeeperError
from ..core.files import fsync_directory, make_directory, remove_tree, rename_durable, write_durable
from .stores import BLOCK, COPYING, Source, Stored, denied, full, object_missing, unreachable, wrong_digest

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
READ_BACK = "read-back"


class DirectoryStore:
    """Below ``root``, which is there: the marker was read from it."""

    renames = True

    def __init__(self, root: str) -> None:
        self.where = root

    def read(self, key: str) -> bytes | None:
        """See :class:`Store`."""
        try:
            with open(self._path(key), "rb") as handle:
                return handle.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error, f"read {key}") from error

    def write(self, key: str, data: bytes) -> None:
        """See :class:`Store`."""
        path = self._path(key)
        try:
            make_directory(os.path.dirname(path))
            write_durable(path, data)
        except OSError as error:
            raise self._failed(error, f"write {key}") from error

    def names(self, prefix: str) -> dict[str, int]:
        """See :class:`Store`."""
        found: dict[str, int] = {}
        try:
            for directory, below, names in os.walk(self._path(prefix), onerror=_raise):
                below[:] = [name for name in below if not name.startswith(".")]
                for name in names:
                    if not name.startswith("."):
                        path = os.path.join(directory, name)
                        # Another host's copy may end, and what it leaves out is taken away, at any moment.
                        with contextlib.suppress(FileNotFoundError):
                            found[os.path.relpath(path, self.where)] = os.stat(path).st_size
        except OSError as error:
            raise self._failed(error, f"list {prefix}") from error
        return found

    def put(self, key: str, source: Source) -> Stored:
        """See :class:`Store`."""
        path = self._path(key)
        directory, name = os.path.split(path)
        temporary = f"{directory}/{COPYING}{name}"
        sha, length = hashlib.sha256(), 0
        try:
            make_directory(directory)
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            try:
                for block in source.blocks():
                    sha.update(block)
                    length += len(block)
                    source.spend(len(block))
                    view = memoryview(block)
                    while view:
                        view = view[os.write(handle, view) :]
                os.fsync(handle)
                found = _digest(handle)
            finally:
                os.close(handle)
            if found != (length, sha.hexdigest()):
                raise wrong_digest(self.where, key, sha.hexdigest(), found[1])
            os.rename(temporary, path)
            fsync_directory(directory)
        except OSError as error:
            raise self._failed(error, f"copy {key}") from error
        return Stored(length, sha.hexdigest(), READ_BACK)

    def look(self, key: str) -> Stored | None:
        """See :class:`Store`."""
        try:
            handle = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error, f"read {key}") from error
        try:
            length, digest = _digest(handle)
        except OSError as error:
            raise self._failed(error, f"read {key}") from error
        finally:
            os.close(handle)
        return Stored(length, digest, READ_BACK)

    def fetch(self, key: str) -> Iterator[bytes]:
        """See :class:`Store`."""
        try:
            with open(self._path(key), "rb", buffering=0) as handle:
                while block := handle.read(BLOCK):
                    yield block
        except FileNotFoundError as error:
            raise object_missing(self.where, key) from error
        except OSError as error:
            raise self._failed(error, f"read {key}") from error

    def delete(self, key: str) -> None:
        """See :class:`Store`."""
        path = self._path(key)
        try:
            os.unlink(path)
            fsync_directory(os.path.dirname(path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed(error, f"remove {key}") from error

    def move(self, old: str, new: str) -> None:
        """See :class:`Store`."""
        try:
            rename_durable(self._path(old), self._path(new))
        except OSError as error:
            raise self._failed(error, f"rename {old}") from error

    def clear(self, directory: str) -> None:
        """See :class:`Store`."""
        path = self._path(directory)
        try:
            if os.path.lexists(path):
                shutil.rmtree(path)
                fsync_directory(os.path.dirname(path))
        except OSError as error:
            raise self._failed(error, f"remove {directory}") from error

    def tidy(self) -> list[str]:
        """See :class:`Store`."""
        found = []
        try:
            for directory, below, names in os.walk(self.where, onerror=_raise):
                for name in [one for one in (*below, *names) if one.startswith(COPYING)]:
                    path = os.path.join(directory, name)
                    found.append(os.path.relpath(path, self.where))
                    if name in below:
                        below.remove(name)
                        remove_tree(path, made_by_us=COPYING)
                    else:
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(path)
        except OSError as error:
            raise self._failed(error, "tidy up") from error
        return found

    def close(self) -> None:
        """Nothing is held."""

    def _path(self, key: str) -> str:
        return os.path.join(self.where, key)

    def _failed(self, error: OSError, what: str) -> KeeperError:
        attempted = f"{what} in the copy {self.where}"
        if error.errno in _NO_ROOM:
            return full(self.where, attempted)
        words = f"{error.filename or self.where}: {error.strerror}"
        if error.errno in _NOT_ALLOWED:
            return denied(self.where, attempted, words)
        return unreachable(self.where, attempted, words)


def _raise(error: OSError) -> None:
    # What is not there, or not any more, has nothing below it.
    if not isinstance(error, FileNotFoundError):
        raise error


def _digest(handle: int) -> tuple[int, str]:
    """Length and SHA-256 of what the disk has: what is only in memory is let go of first."""
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    sha, done = hashlib.sha256(), 0
    while block := os.pread(handle, BLOCK, done):
        sha.update(block)
        done += len(block)
    return done, sha.hexdigest()
