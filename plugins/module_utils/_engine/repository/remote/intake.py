# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The door's side of archive push: a WAL file is received, unpacked and judged, and only then gets its name.

Whoever sends is not believed: length, digest, first page and system identifier are read from the bytes that
arrived. A name that is there is never replaced.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from typing import Any

from ...core.errors import Failed, KeeperError, Refused
from ...core.files import fsync_directory, make_directory
from ...core.run import start, stop_group
from ...wal.history import parse_history
from ...wal.page import HEADER_BYTES, SegmentFault, check_segment_header, parse_header
from ...wal.segment import SIZES_BYTES, is_backup_name, is_history_name, parse_segment
from ..archive import SUFFIX, Turn
from ..compression import Damaged, plain_digest, widen
from ..compressor import write_failure
from ..layout import CONFLICT_PREFIX, Repository
from ..source import stored_wal
from ..timelines import highest
from . import names
from .frames import Pipes

_TEMPORARY = ".tmp-door-"
#: Copies of an archive may lack timelines that have expired in between.
_MOST_TIMELINES_AHEAD = 256
_SMALL_FILE_BYTES = 1 << 20
_LARGEST_SEGMENT_BYTES = 1 << 30
#: zstd makes what cannot be compressed a little longer.
_LARGEST_STORED_BYTES = _LARGEST_SEGMENT_BYTES + (1 << 23)
_BLOCK = 1 << 18


class Received:
    """A temporary file that is locked as long as its door lives, so that the next door knows what is left over."""

    def __init__(self, directory: str, name: str) -> None:
        _sweep(directory)
        self.path = f"{directory}/{_TEMPORARY}{os.getpid()}-{name}"
        while True:
            self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            fcntl.flock(self.handle, fcntl.LOCK_EX)
            if os.fstat(self.handle).st_nlink:
                break
            # Another door swept it away before it was locked: what has no name cannot be given one.
            os.close(self.handle)
        self.length = 0
        self.sha = hashlib.sha256()

    def take(self, pipes: Pipes, most: int) -> dict[str, Any]:
        """All pieces; what the client said at their end. Raises Broken, :class:`Refused`, OSError."""
        while True:
            piece = pipes.read_piece()
            if isinstance(piece, dict):
                return piece
            self.length += len(piece)
            if self.length > most:
                raise names.refused(f"a file of more than {most} bytes")
            self.sha.update(piece)
            view = memoryview(piece)
            while view:
                view = view[os.write(self.handle, view) :]

    def link(self, final: str) -> None:
        """Give it its name, durably; a link never replaces. Raises FileExistsError."""
        os.fsync(self.handle)
        os.link(f"/proc/self/fd/{self.handle}", final, src_dir_fd=self.handle, follow_symlinks=True)

    def close(self) -> None:
        """The temporary name goes."""
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            # Taken away by hand; nothing is left of it.
            pass
        finally:
            os.close(self.handle)


def _sweep(directory: str) -> None:
    """Remove what doors that are dead have left."""
    for name in os.listdir(directory):
        if not name.startswith(_TEMPORARY):
            continue
        try:
            handle = os.open(f"{directory}/{name}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(f"{directory}/{name}")
        except (BlockingIOError, FileNotFoundError):
            continue
        finally:
            os.close(handle)


def take_wal(repository: Repository, request: dict[str, Any], pipes: Pipes) -> dict[str, Any]:
    """The verb ``wal-put``: ``system_id``, ``name``; the end of the pieces says ``digest`` of the plain bytes.

    Raises :class:`Refused` ``door-refused``, ``busy``, the faults of a segment (``segment-…``);
    :class:`Failed` ``archive-conflict``, ``repository-full``, ``repository-not-writable``.
    """
    name = names.text(request, "name", names.WAL)
    system_id = names.system(request)
    attempted = f"archive {name}"
    repository.require(attempted)
    archive = repository.wal(system_id)
    plain = is_history_name(name) or is_backup_name(name)
    directory = archive if is_history_name(name) else f"{archive}/{name[:8]}"
    final = f"{directory}/{name}{'' if plain else SUFFIX}"
    _not_far_ahead(repository, system_id, int(name[:8], 16), attempted)
    try:
        received = Received(_nearest(repository, directory), name)
        try:
            end = received.take(pipes, _SMALL_FILE_BYTES if plain else _LARGEST_STORED_BYTES)
            digest, length = _judge(received, name, system_id, plain, attempted)
            if end.get("digest") != digest:
                raise _fault(
                    "segment-corrupt", attempted, f"{name} arrived with another checksum than was sent"
                )
            make_directory(directory)
            with Turn(f"{archive}/.push.lock", attempted):
                outcome = _place(received, final, name, digest, attempted, plain)
        finally:
            received.close()
    except OSError as error:
        raise write_failure(error, attempted=attempted) from error
    stored = stored_wal(name, final)
    return {
        "outcome": outcome,
        "digest": digest,
        "plain_bytes": length,
        "stored_bytes": stored.stored_bytes,
        "signature": stored.signature,
        "location": final,
    }


def _not_far_ahead(repository: Repository, system_id: int, timeline: int, attempted: str) -> None:
    """A number that is there is never taken by a promotion: with the last one there no restore could promote."""
    there = highest(repository, system_id)
    if there and timeline > there + _MOST_TIMELINES_AHEAD:
        raise Refused(
            "door-refused",
            attempted=attempted,
            happened=f"timeline {timeline} is far beyond {there}, the highest that is known",
            remedy="Nothing was changed. If the server really is on that timeline, make the directory "
            f"{repository.timeline(system_id, timeline)} on the repository's host, as its owner; if not, find out who "
            "uses this key: door.log names his address.",
        )


def _nearest(repository: Repository, directory: str) -> str:
    """Where it is received: no directory is made for what has not been judged."""
    top = f"{repository.path}/wal"
    make_directory(top)
    while directory != top and not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory


def _place(received: Received, final: str, name: str, digest: str, attempted: str, plain: bool) -> str:
    directory = os.path.dirname(final)
    if not os.path.lexists(final):
        received.link(final)
        fsync_directory(directory)
        return "archived"
    try:
        theirs, _dummy = plain_digest(final)
        seen = f"the archive already has {name} with other content"
    except Damaged as error:
        theirs, seen = "", f"the archived {name} is damaged ({error})"
    if theirs == digest:
        fsync_directory(directory)
        return "identical"
    aside = f"{directory}/{CONFLICT_PREFIX}{name}-{digest[:16]}{'' if plain else SUFFIX}"
    kept = aside
    if not os.path.lexists(aside):
        if Repository.room_aside(directory):
            received.link(aside)
            fsync_directory(directory)
        else:
            kept = "only on the server: enough is kept aside here already"
    raise Failed(
        "archive-conflict",
        attempted=attempted,
        happened=f"{seen}; nothing was overwritten, the new file is kept as {kept}",
        remedy="Find out which of two servers writes this timeline, and stop it archiving here. If "
        f"{final} is the wrong or damaged one, move it out of the repository: the server's own follows.",
        details={
            "archived": final,
            "archived_digest": theirs or None,
            "offered_digest": digest,
            "kept": kept,
        },
    )


def _judge(received: Received, name: str, system_id: int, plain: bool, attempted: str) -> tuple[str, int]:
    """Whether the bytes are what the name says; digest and length of what they hold."""
    if plain:
        if not received.length:
            raise _fault("segment-wrong-size", attempted, f"{name} has no bytes")
        if is_history_name(name):
            _judge_history(received, name, attempted)
        return received.sha.hexdigest(), received.length
    try:
        head, digest, length = _unpacked(received.handle)
        size = parse_header(head).segment_bytes if len(head) == HEADER_BYTES else length
        if size in SIZES_BYTES and size != length:
            raise SegmentFault("segment-wrong-size", f"it has {length} bytes, a segment has {size}")
        size = size if size in SIZES_BYTES else SIZES_BYTES[4]
        segment = parse_segment(name[:24], size)
        check_segment_header(head, segment=segment, size=size, system_id=system_id, major=None)
    except SegmentFault as fault:
        raise _fault(fault.code, attempted, f"{name} is not what its name says: {fault.text}") from fault
    except Damaged as error:
        raise _fault("segment-corrupt", attempted, f"{name} cannot be unpacked: {error}") from error
    return digest, length


def _judge_history(received: Received, name: str, attempted: str) -> None:
    try:
        parse_history(int(name[:8], 16), os.pread(received.handle, received.length, 0).decode())
    except (KeeperError, ValueError) as error:
        why = error.happened if isinstance(error, KeeperError) else "it is not text"
        raise _fault("history-damaged", attempted, why) from error


def _unpacked(handle: int) -> tuple[bytes, str, int]:
    """First page's header, SHA-256 and length of the plain bytes; no more than a segment may have is unpacked."""
    os.lseek(handle, 0, os.SEEK_SET)
    program = start(["zstd", "-q", "-d", "-c", "--no-sparse"], stdin=handle, stdout=-1, stderr=-1)
    if program.stdout is None or program.stderr is None:
        raise Damaged("zstd was started without pipes")
    head, sha, length = b"", hashlib.sha256(), 0
    buffer = memoryview(bytearray(_BLOCK))
    try:
        widen(program.stdout.fileno())
        while True:
            count = os.readv(program.stdout.fileno(), [buffer])
            if not count:
                break
            if len(head) < HEADER_BYTES:
                head += bytes(buffer[: min(count, HEADER_BYTES - len(head))])
            sha.update(buffer[:count])
            length += count
            if length > _LARGEST_SEGMENT_BYTES:
                raise Damaged("it holds more than a segment can")
        words = program.stderr.read().decode(errors="replace").strip()
        status = program.wait()
    except BaseException:
        stop_group(program)
        raise
    finally:
        program.stdout.close()
        program.stderr.close()
    if status != 0:
        raise Damaged(words or f"zstd ended with status {status}")
    return head, sha.hexdigest(), length


def _fault(code: str, attempted: str, happened: str) -> KeeperError:
    return Refused(
        code,
        attempted=attempted,
        happened=happened,
        remedy="Nothing was archived, the server keeps the file and sends it again. If it stays so, look at what "
        "writes into this pg_wal; if it was the server itself, take a base backup elsewhere now.",
    )
