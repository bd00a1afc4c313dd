# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Stored files unpacked, hashed on the way: by libzstd where there is one and all is well, else by ``zstd``.

The program can always: hosts have it, the standard library of Python 3.9 has not. What is damaged is what it
calls so.
"""

from __future__ import annotations

import errno
import fcntl
import os
from hashlib import sha256
from typing import IO

from ..core.run import start, stop_group
from .zstdlib import Unsound, library

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


def _unpack_here(source: int, target: int | None) -> tuple[str, int] | None:
    """Without a program; None when that cannot be done, for whatever reason."""
    unpacker = library()
    if unpacker is None:
        return None
    sha, length = sha256(), 0
    try:
        for block in unpacker.blocks(source):
            sha.update(block)
            length += len(block)
            if target is not None:
                write_all(target, block)
    except Unsound:
        for descriptor in (source, target):
            if descriptor is not None:
                os.lseek(descriptor, 0, os.SEEK_SET)
        return None
    return sha.hexdigest(), length


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
        for number in _WRITE_FAILURES:
            if os.strerror(number) in words:
                raise OSError(number, os.strerror(number))
        _must_be_readable(source)
        raise Damaged(words or f"zstd ended with status {status}")
    os.ftruncate(target, os.lseek(target, 0, os.SEEK_CUR))
    os.lseek(target, 0, os.SEEK_SET)
    return _copy(target, None)


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
