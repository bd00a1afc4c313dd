# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Durable files: what is said to be there is there after a power cut (temp, fsync, rename, fsync directory)."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .errors import Failed

CHUNK = 1 << 20
TEMPORARY_PREFIX = ".tmp-"
_REMOVALS = 100
_REMOVAL_SECONDS = 0.02


def fsync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_file(path: str) -> None:
    """Make a file's bytes durable, whoever wrote them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_filesystem(path: str) -> None:
    """Make everything on the file system of ``path`` durable at once: cheaper than an fsync for each of many files.

    Raises OSError when the kernel could not write some of it (from 5.8 on syncfs(2) says so).
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        import ctypes

        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            number = ctypes.get_errno()
            if number != errno.ENOSYS:
                raise OSError(number, os.strerror(number), path)
            os.sync()
    finally:
        os.close(handle)


def rename_durable(source: str, target: str) -> None:
    """Rename within one file system and make it durable on both sides."""
    os.rename(source, target)
    parents = {os.path.dirname(os.path.abspath(source)), os.path.dirname(os.path.abspath(target))}
    for parent in sorted(parents):
        fsync_directory(parent)


@contextlib.contextmanager
def replacing(path: str, mode: int = 0o640) -> Iterator[Any]:
    """A binary file object whose content becomes ``path`` atomically and durably when the block ends well."""
    directory = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
            handle.flush()
            os.fchmod(handle.fileno(), mode)
            os.fsync(handle.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    fsync_directory(directory)


def write_durable(path: str, data: bytes, mode: int = 0o640) -> None:
    """Write a whole file atomically and durably."""
    with replacing(path, mode) as handle:
        handle.write(data)


def write_json(path: str, value: Any, mode: int = 0o640) -> None:
    """Write JSON that a person can read, atomically and durably."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_durable(path, text.encode(), mode)


def read_json(path: str, *, attempted: str) -> Any:
    """Read JSON. Raises FileNotFoundError as it is, and :class:`Failed` (``file-damaged``) for nonsense."""
    with open(path, encoding="utf-8") as handle:
        try:
            return json.load(handle)
        except ValueError as error:
            raise Failed(
                "file-damaged",
                attempted=attempted,
                happened=f"{path} is not valid JSON: {error}",
                remedy="Bring the file back from a copy, or move it aside so that it is made again.",
                details={"path": path},
            ) from error


def make_directory(path: str, mode: int = 0o750) -> None:
    """Make a directory and its parents, durably; no effect when it is there."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(os.path.abspath(path))
    make_directory(parent, mode)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    fsync_directory(parent)


def digest(path: str) -> str:
    """SHA-256 of a file's bytes, in hex."""
    sha = hashlib.sha256()
    with open(path, "rb", buffering=0) as handle:
        while True:
            block = handle.read(CHUNK)
            if not block:
                return sha.hexdigest()
            sha.update(block)


def digests(paths: Sequence[str]) -> Iterator[str]:
    """SHA-256 of several files, in their order; several at a time, as hashing lets other threads work."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(4, len(os.sched_getaffinity(0)))) as pool:
        yield from pool.map(digest, paths)


def tree_size(path: str) -> int:
    """Bytes on disk below a directory, not following links; files that vanish while looking count as nothing."""
    total = 0
    pending = [path]
    while pending:
        with contextlib.suppress(FileNotFoundError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def remove_tree(path: str, *, made_by_us: str) -> None:
    """Remove a directory of our own making.

    ``made_by_us`` is the marker that its name must contain: a wrong path must not become a lost database.
    """
    if made_by_us not in os.path.basename(path.rstrip("/")):
        raise ValueError(f"{path} does not carry the marker {made_by_us}")
    if not os.path.lexists(path):
        return
    for tries_left in reversed(range(_REMOVALS)):
        try:
            shutil.rmtree(path)
            break
        except OSError as error:
            # Somebody who is just ending takes his own away, or makes a last file, while we look.
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY) or not tries_left:
                raise
            if not os.path.lexists(path):
                break
            time.sleep(_REMOVAL_SECONDS)
    fsync_directory(os.path.dirname(os.path.abspath(path)))
