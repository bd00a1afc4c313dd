# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Streams through the ``zstd`` program, hashed on the way.

The program and not a binding: hosts have it, the standard library of Python 3.9 has not, and its process is
the second core that the work needs anyway.
"""

from __future__ import annotations

import errno
import fcntl
import os
from hashlib import sha256
from typing import IO

from ..core.errors import Failed
from ..core.run import start, stop_group

BLOCK = 1 << 18
SUFFIX = ".zst"
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux; Python names it only from 3.10 on
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")


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


def compress(source: int, target: int, *, level: int, attempted: str) -> tuple[str, int]:
    """Read ``source`` to its end through zstd into ``target``; SHA-256 and length of what was read.

    The digest is of the very bytes that were compressed. Raises :class:`Failed` ``repository-full`` or
    ``compression-failed``; OSError when the source cannot be read.
    """
    program = start(["zstd", "-q", f"-{level}", "--single-thread", "-c"], stdin=-1, stdout=target, stderr=-1)
    sha, length = sha256(), 0
    buffer = memoryview(bytearray(BLOCK))
    try:
        stdin, stderr = _pipe(program.stdin), _pipe(program.stderr)
        feed = stdin.fileno()
        widen(feed)
        while True:
            count = os.readv(source, [buffer])
            if not count:
                break
            try:
                write_all(feed, buffer[:count])
            except BrokenPipeError:
                # zstd has ended early; its status and words below say why.
                break
            sha.update(buffer[:count])
            length += count
        stdin.close()
        words = stderr.read().decode(errors="replace").strip()
        stderr.close()
        status = program.wait()
    except BaseException:
        stop_group(program)
        raise
    if status != 0:
        raise write_failure(words or f"zstd ended with status {status}", attempted=attempted)
    return sha.hexdigest(), length


def write_failure(reason: OSError | str, *, attempted: str) -> Failed:
    """The error for a repository that takes no more bytes, from an OSError or from zstd's words."""
    words = reason if isinstance(reason, str) else f"{reason.filename or 'write'}: {reason.strerror}"
    number = None if isinstance(reason, str) else reason.errno
    full = number in _FULL or any(text in words for text in _FULL_WORDS)
    if full:
        return Failed(
            "repository-full",
            attempted=attempted,
            happened=f"the repository takes no more bytes: {words}",
            remedy="Make space on its file system. The WAL stays on the server and is sent again.",
        )
    return Failed(
        "repository-not-writable",
        attempted=attempted,
        happened=words,
        remedy="See that the repository is mounted read-write and belongs to the cluster's owner, and that "
        "the program zstd works. The WAL stays on the server and is sent again.",
    )


def plain_digest(path: str, target: int | None = None) -> tuple[str, int]:
    """SHA-256 and length of a stored file's plain bytes, written to ``target`` on the way.

    Raises OSError when it cannot be read (or the target not written), :class:`Damaged` when not unpacked.
    """
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not path.endswith(SUFFIX):
            return _copy(source, target)
        return _unpack(source, target)
    finally:
        os.close(source)


def _unpack(source: int, target: int | None) -> tuple[str, int]:
    program = start(["zstd", "-q", "-d", "-c"], stdin=source, stdout=-1, stderr=-1)
    stdout, stderr = _pipe(program.stdout), _pipe(program.stderr)
    try:
        widen(stdout.fileno())
        result = _copy(stdout.fileno(), target)
        words = stderr.read().decode(errors="replace").strip()
        status = program.wait()
    except BaseException:
        stop_group(program)
        raise
    finally:
        stdout.close()
        stderr.close()
    if status != 0:
        raise Damaged(words or f"zstd ended with status {status}")
    return result


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
