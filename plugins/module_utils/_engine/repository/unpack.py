# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One compressed archive through zstd and the tar cutter, with writing and hashing side by side."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Protocol

from ..core.run import start, stop_group
from .compression import widen, write_all
from .tarstream import Member, Piece, TarCutter

if TYPE_CHECKING:
    from .remote.feed import RemoteFeed

_BLOCK = 1 << 20
_BLOCKS = 8


class StreamFault(Exception):
    """A stored archive that is not what the catalog knows: its file name and what is wrong."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


class Sink(Protocol):
    """What becomes of the members."""

    def open(self, member: Member) -> tuple[int | None, str | None, str | None]:
        """A descriptor to write to (None: nowhere; closed for the sink), hash algorithm and checksum."""

    def mismatch(self, member: Member) -> Exception:
        """What to raise for a member whose checksum was wrong."""

    def advance(self, count: int) -> None:
        """So many bytes of members have been written."""


@dataclass
class _Open:
    """The member being written."""

    member: Member
    handle: int | None
    sha: Any
    checksum: str | None


@dataclass
class _Batch:
    """A block and the pieces of files in it that are to be hashed."""

    block: memoryview
    pieces: list[tuple[_Open, Piece]] = field(default_factory=list)


class _Hasher(threading.Thread):
    """Hashes the pieces in order; keeps the first mismatch, and gives every block back."""

    def __init__(self, sink: Sink, free: queue.SimpleQueue[memoryview]) -> None:
        super().__init__(name="dbkeeper-hash", daemon=True)
        self.work: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self.error: Exception | None = None
        self._sink = sink
        self._free = free

    def run(self) -> None:
        while True:
            batch = self.work.get()
            if batch is None:
                return
            try:
                if self.error is None:
                    self._hash(batch)
            except Exception as error:
                self.error = error
            self._free.put(batch.block)

    def _hash(self, batch: _Batch) -> None:
        for current, piece in batch.pieces:
            current.sha.update(batch.block[piece.begin : piece.end])
            if piece.last and current.sha.hexdigest() != current.checksum:
                raise self._sink.mismatch(current.member)


class _StoredDigest(threading.Thread):
    """Hashes the stored file; being ahead of zstd, it also reads it into the cache."""

    def __init__(self, path: str) -> None:
        super().__init__(name="dbkeeper-stored", daemon=True)
        self.digest: str | None = None
        self.error: OSError | None = None
        self.stop = False
        self._path = path

    def run(self) -> None:
        sha = hashlib.sha256()
        buffer = memoryview(bytearray(_BLOCK))
        try:
            with open(self._path, "rb", buffering=0) as handle:
                while not self.stop:
                    count = handle.readinto(buffer)
                    if not count:
                        self.digest = sha.hexdigest()
                        return
                    sha.update(buffer[:count])
        except OSError as error:
            self.error = error


def unpack(path: str, sink: Sink, *, digest: str, feed: RemoteFeed | None = None) -> None:
    """Give all members of the archive at ``path`` to ``sink``; its stored bytes must have ``digest``.

    ``feed`` brings the bytes when no file at ``path`` has them. Raises :class:`StreamFault`, TarDamaged, what the
    sink raises, and OSError from writing.
    """
    name = os.path.basename(path)
    try:
        source = feed.source if feed else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StreamFault(name, f"it cannot be read: {error.strerror}") from error
    stored = feed or _StoredDigest(path)
    try:
        program = start(["zstd", "-q", "-d", "-c"], stdin=source, stdout=-1, stderr=-1)
    finally:
        os.close(source)
    stored.start()
    try:
        try:
            _run(program.stdout, sink)
        except Exception as error:
            # What zstd or the stored digest say is the cause; what the cutter tripped over only its effect.
            if isinstance(error, OSError):
                raise
            _judge(program, stored, name, digest, wait=False)
            raise
        _judge(program, stored, name, digest, wait=True)
    finally:
        stored.stop = True
        if program.poll() is None:
            stop_group(program)
        for pipe in (program.stdout, program.stderr):
            if pipe is not None:
                pipe.close()
        stored.join()


def _judge(program: Any, stored: _StoredDigest | RemoteFeed, name: str, digest: str, *, wait: bool) -> None:
    if not wait:
        program.stdout.close()
    words = program.stderr.read().decode(errors="replace").strip()
    status = program.wait()
    stored.join()
    if stored.error is not None:
        raise StreamFault(name, f"it cannot be read: {stored.error.strerror}")
    if stored.digest != digest:
        raise StreamFault(name, f"its checksum is not that of backup.json{f' ({words})' if words else ''}")
    if status != 0 and wait:
        raise StreamFault(name, words or f"zstd ended with status {status}")


def _run(stream: IO[bytes] | None, sink: Sink) -> None:
    if stream is None:
        raise ValueError("zstd was started without a pipe")
    free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
    for _dummy in range(_BLOCKS):
        free.put(memoryview(bytearray(_BLOCK)))
    hasher = _Hasher(sink, free)
    hasher.start()
    cutter = TarCutter()
    writer = _Writer(sink)
    try:
        widen(stream.fileno())
        while hasher.error is None:
            batch = _Batch(free.get())
            count = _fill(stream.fileno(), batch.block)
            if not count:
                cutter.finish()
                break
            written = writer.place(cutter, batch, count)
            hasher.work.put(batch)
            sink.advance(written)
    finally:
        writer.close()
        hasher.work.put(None)
        hasher.join()
    if hasher.error is not None:
        raise hasher.error


def _fill(descriptor: int, block: memoryview) -> int:
    """Read until the block is full or the stream ends: a pipe gives less at a time."""
    count = 0
    while count < len(block):
        got = os.readv(descriptor, [block[count:]])
        if not got:
            break
        count += got
    return count


class _Writer:
    """Writes the pieces of each block; one member is open at a time."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._current: _Open | None = None

    def place(self, cutter: TarCutter, batch: _Batch, count: int) -> int:
        """Write the first ``count`` bytes of the batch, note what is to be hashed; bytes of members in them."""
        written = 0
        for piece in cutter.cut(batch.block[:count]):
            if piece.first:
                handle, algorithm, checksum = self._sink.open(piece.member)
                self._current = _Open(
                    piece.member, handle, hashlib.new(algorithm) if algorithm else None, checksum
                )
            current = self._current
            if current is None:
                continue
            if current.handle is not None:
                write_all(current.handle, batch.block[piece.begin : piece.end])
            if current.sha is not None:
                batch.pieces.append((current, piece))
            written += piece.end - piece.begin
            if piece.last:
                self.close()
        return written

    def close(self) -> None:
        """Close the member that is open, if one is."""
        current, self._current = self._current, None
        if current is not None and current.handle is not None:
            os.close(current.handle)
