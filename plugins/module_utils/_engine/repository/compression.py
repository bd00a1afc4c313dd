# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Stored files unpacked, hashed on the way: by libzstd where there is one and all is well, else by ``zstd``.

The program can always: hosts have it, the standard library of Python 3.9 has not. What is damaged is what it
calls so.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from hashlib import sha256
from subprocess import DEVNULL
from typing import IO

from ..core.run import start, stop_group
from ..wal.content import CHEAPEST, PACKED, PLAIN, packed_identity
from .zstdlib import Stored, Unsound, library

BLOCK = 1 << 18
SUFFIX = ".zst"
_UNPACK = ("zstd", "-q", "-d", "-c")
_WRITE_FAILURES = (errno.ENOSPC, errno.EDQUOT)
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux; Python names it only from 3.10 on


class Damaged(Exception):
    """A stored file that zstd cannot unpack; its words."""


def widen(pipe: int) -> None:
    """Make a pipe as large as an ordinary user may: fewer switches between the two processes."""
    try:
        fcntl.fcntl(pipe, _SET_PIPE_SIZE, 1 << 20)
    except OSError:
        # Only speed is lost: the user's share of pipe pages is used up, or the kernel is not Linux.
        return


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the program was started without this pipe")
    return stream


def write_all(target: int, block: memoryview) -> None:
    """Write the whole block."""
    while block:
        block = block[os.write(target, block) :]


def plain_digest(path: str, target: int | None = None) -> tuple[str, int]:
    """SHA-256 and length of a stored file's plain bytes, written to ``target`` (open for both) on the way.

    What ``target`` held is overwritten, and what is left of it cut off.
    Raises OSError when it cannot be read (or the target not written), :class:`Damaged` when not unpacked.
    """
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not path.endswith(SUFFIX):
            result = _copy(source, target)
        else:
            result = _unpack_here(source, target) or (
                _unpack(source) if target is None else _unpack_into(source, target)
            )
        if target is not None:
            os.ftruncate(target, result[1])
        return result
    finally:
        os.close(source)


def identity(path: str, target: int | None = None, kind: str = PLAIN) -> str:
    """The identity of a stored file's content in a kind of :mod:`..wal.content`; else as :func:`plain_digest`."""
    if kind == PLAIN or not path.endswith(SUFFIX):
        return plain_digest(path, target)[0]
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = _packed(source, target, kind)
    finally:
        os.close(source)
    return plain_digest(path, target)[0] if found is None else packed_identity(found)


def _packed(source: int, target: int | None, kind: str) -> str | None:
    """SHA-256 of the stored bytes, unpacked into ``target``; None, and begin anew, when that says too little."""
    seen = Stored()
    length = _here(source, target, lambda block: None, seen)
    if length is None and kind == PACKED:
        seen = Stored()
        length = _feed(source, target, seen)
    if length is None or (kind == CHEAPEST and not seen.is_one_checked_frame):
        _rewind(target)
        return None
    if target is not None:
        os.ftruncate(target, length)
    return seen.sha.hexdigest()


def _rewind(*descriptors: int | None) -> None:
    for descriptor in descriptors:
        if descriptor is not None:
            os.lseek(descriptor, 0, os.SEEK_SET)


def _unpack_here(source: int, target: int | None) -> tuple[str, int] | None:
    """Without a program; None when that cannot be done, for whatever reason."""
    sha = sha256()
    length = _here(source, target, sha.update)
    return None if length is None else (sha.hexdigest(), length)


def _here(
    source: int, target: int | None, plain: Callable[[memoryview], None], seen: Stored | None = None
) -> int | None:
    """The plain length; ``plain`` and ``seen`` are told what passes. None, all at its beginning: not the library."""
    unpacker = library()
    if unpacker is None:
        return None
    length = 0
    try:
        for block in unpacker.blocks(source, seen):
            plain(block)
            length += len(block)
            if target is not None:
                write_all(target, block)
    except Unsound:
        _rewind(source, target)
        return None
    return length


def _feed(source: int, target: int | None, seen: Stored) -> int:
    """By the program, which is handed exactly the bytes that are hashed; the plain length (0 without a target)."""
    program = start([*_UNPACK], stdin=-1, stdout=DEVNULL if target is None else target, stderr=-1)
    stdin, stderr = _pipe(program.stdin), _pipe(program.stderr)
    taken = True
    try:
        with contextlib.closing(stdin):
            buffer = memoryview(bytearray(BLOCK))
            # Of what it does not want any more the rest is read all the same: a disk that fails is no damage.
            while count := os.readv(source, [buffer]):
                seen.read(buffer[:count])
                try:
                    if taken:
                        write_all(stdin.fileno(), buffer[:count])
                except BrokenPipeError:
                    taken = False
        words = stderr.read().decode(errors="replace").strip()
        status = program.wait()
    except BaseException:
        stop_group(program)
        raise
    finally:
        stderr.close()
    if status != 0 or not taken:
        _must_not_be_full(words)
        raise Damaged(words or f"zstd ended with status {status}")
    return 0 if target is None else os.lseek(target, 0, os.SEEK_CUR)


def _unpack(source: int) -> tuple[str, int]:
    program = start([*_UNPACK], stdin=source, stdout=-1, stderr=-1)
    stdout, stderr = _pipe(program.stdout), _pipe(program.stderr)
    try:
        widen(stdout.fileno())
        result = _copy(stdout.fileno(), None)
        words = stderr.read().decode(errors="replace").strip()
        status = program.wait()
    except BaseException:
        stop_group(program)
        raise
    finally:
        stdout.close()
        stderr.close()
    if status != 0:
        _must_be_readable(source)
        raise Damaged(words or f"zstd ended with status {status}")
    return result


def _unpack_into(source: int, target: int) -> tuple[str, int]:
    """zstd writes the file, and what lies there afterwards is hashed: a copy less than through a pipe."""
    program = start([*_UNPACK], stdin=source, stdout=target, stderr=-1)
    stderr = _pipe(program.stderr)
    try:
        words = stderr.read().decode(errors="replace").strip()
        status = program.wait()
    except BaseException:
        stop_group(program)
        raise
    finally:
        stderr.close()
    if status != 0:
        _must_not_be_full(words)
        _must_be_readable(source)
        raise Damaged(words or f"zstd ended with status {status}")
    os.ftruncate(target, os.lseek(target, 0, os.SEEK_CUR))
    os.lseek(target, 0, os.SEEK_SET)
    return _copy(target, None)


def _must_not_be_full(words: str) -> None:
    for number in _WRITE_FAILURES:
        if os.strerror(number) in words:
            raise OSError(number, os.strerror(number))


def _must_be_readable(source: int) -> None:
    """What zstd calls damaged may be a disk or a mount that does not answer, which another try may mend (B08)."""
    os.lseek(source, 0, os.SEEK_SET)
    while os.read(source, BLOCK):
        continue


def _copy(source: int, target: int | None) -> tuple[str, int]:
    sha, length = sha256(), 0
    buffer = memoryview(bytearray(BLOCK))
    while True:
        count = os.readv(source, [buffer])
        if not count:
            return sha.hexdigest(), length
        block = buffer[:count]
        sha.update(block)
        length += count
        if target is not None:
            write_all(target, block)
