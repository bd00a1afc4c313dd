# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A copy on another host that has nothing but ssh with file transfer: a storage box, a server without dbkeeper.

In the layout of a repository. Written under a hidden name, fsync (where the server knows it), read again, renamed. A
connection that breaks is opened anew.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..cluster.wishes_copies import CopyWish
from ..core.errors import KeeperError
from ..repository.remote.ssh import Way
from . import sftpwire
from .sftpwire import CHUNK, Lost, Refusal, Wire
from .stores import (
    COPYING,
    Passing,
    Patience,
    Source,
    Stored,
    denied,
    full,
    object_missing,
    patiently,
    unreachable,
    wrong_digest,
)

READ_BACK = "read-back"
#: Requests on their way at once.
_AHEAD = 64
_LITTLE_BYTES = 1 << 20
#: What ssh says when trying again will not help.
_FINAL = ("Permission denied", "Host key verification failed", "does not speak sftp", "Could not resolve")

_Found = TypeVar("_Found")


class SftpStore:
    """Below ``sftp://user@host/path/<cluster>``."""

    renames = True

    def __init__(self, wish: CopyWish, cluster: str, state_directory: str, patience: Patience) -> None:
        self.where = f"{wish.to}/{cluster}"
        way = Way(f"ssh{wish.to[len('sftp') :]}", wish.ssh or {}, state_directory)
        program, *options, end, host = way.argv()
        # The first of two options counts: no connection stays behind.
        alone = ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
        self._argv = [program, *alone, *options, "-s", end, host, "sftp"]
        self._root = f"{way.path.rstrip('/')}/{cluster}"
        self._patience = patience
        self._wire: Wire | None = None
        self._made: set[str] = set()

    def read(self, key: str) -> bytes | None:
        """See :class:`Store`."""

        def once() -> bytes | None:
            try:
                return b"".join(self._blocks(self._talk(), self._path(key)))
            except Refusal as error:
                if error.code == sftpwire.NO_SUCH_FILE:
                    return None
                raise

        return self._tried(once, f"read {key}")

    def write(self, key: str, data: bytes) -> None:
        """See :class:`Store`."""
        self._tried(lambda: self._put(key, iter([data]), None, resume=False), f"write {key}")

    def names(self, prefix: str) -> dict[str, int]:
        """See :class:`Store`."""

        def below(wire: Wire, directory: str, found: dict[str, int]) -> None:
            for name, (is_directory, size) in wire.entries(self._path(directory)).items():
                if name.startswith("."):
                    continue
                if is_directory:
                    below(wire, f"{directory}/{name}", found)
                else:
                    found[f"{directory}/{name}"] = size

        def once() -> dict[str, int]:
            found: dict[str, int] = {}
            try:
                below(self._talk(), prefix, found)
            except Refusal as error:
                if error.code != sftpwire.NO_SUCH_FILE:
                    raise
            return found

        return self._tried(once, f"list {prefix}")

    def put(self, key: str, source: Source) -> Stored:
        """See :class:`Store`."""
        resume = source.repeatable

        def once() -> Stored:
            nonlocal resume
            try:
                return self._put(key, source.blocks(), source, resume=resume)
            except Passing as error:
                # What lay there was the beginning of something else, or was damaged: all of it again.
                resume = resume and error.error.code != "copy-digest-wrong"
                raise

        return self._tried(once, f"copy {key}")

    def look(self, key: str) -> Stored | None:
        """See :class:`Store`."""

        def once() -> Stored | None:
            try:
                length, digest = self._digest(self._talk(), self._path(key))
            except Refusal as error:
                if error.code == sftpwire.NO_SUCH_FILE:
                    return None
                raise
            return Stored(length, digest, READ_BACK)

        return self._tried(once, f"read {key}")

    def fetch(self, key: str) -> Iterator[bytes]:
        """See :class:`Store`; a break goes on where it was."""
        done, number = 0, 0
        while True:
            try:
                for block in self._blocks(self._talk(), self._path(key), done):
                    done += len(block)
                    number = 0
                    yield block
                return
            except Refusal as error:
                if error.code == sftpwire.NO_SUCH_FILE:
                    raise object_missing(self.where, key) from error
                raise self._refused(error, f"read {key}") from error
            except Lost as error:
                number += 1
                fault = self._lost(error, f"read {key}")
                if not isinstance(fault, Passing):
                    raise fault from error
                if number >= self._patience.tries:
                    raise fault.error from error
                import time

                time.sleep(self._patience.pause(number))

    def delete(self, key: str) -> None:
        """See :class:`Store`."""

        def once() -> None:
            try:
                self._talk().remove(self._path(key))
            except Refusal as error:
                if error.code != sftpwire.NO_SUCH_FILE:
                    raise

        self._tried(once, f"remove {key}")

    def move(self, old: str, new: str) -> None:
        """See :class:`Store`."""

        def once() -> None:
            try:
                self._talk().rename(self._path(old), self._path(new))
            except Refusal as error:
                # Done before, and the answer was lost with the connection.
                if error.code != sftpwire.NO_SUCH_FILE or not self._talk().stat(self._path(new))[0]:
                    raise

        self._tried(once, f"rename {old}")
        self._made.clear()

    def clear(self, directory: str) -> None:
        """See :class:`Store`."""

        def remove(wire: Wire, path: str) -> None:
            for name, (is_directory, _size) in wire.entries(path).items():
                if name in (".", ".."):
                    continue
                if is_directory:
                    remove(wire, f"{path}/{name}")
                else:
                    wire.remove(f"{path}/{name}")
            wire.rmdir(path)

        def once() -> None:
            try:
                remove(self._talk(), self._path(directory))
            except Refusal as error:
                if error.code != sftpwire.NO_SUCH_FILE:
                    raise

        self._tried(once, f"remove {directory}")
        self._made.clear()

    def tidy(self) -> list[str]:
        """See :class:`Store`."""
        found: list[str] = []

        def below(wire: Wire, directory: str) -> None:
            for name, (is_directory, _size) in wire.entries(self._path(directory)).items():
                place = f"{directory}/{name}" if directory else name
                if name.startswith(COPYING):
                    found.append(place)
                    if is_directory:
                        self.clear(place)
                    else:
                        wire.remove(self._path(place))
                elif is_directory and not name.startswith("."):
                    below(wire, place)

        self._tried(lambda: below(self._talk(), ""), "tidy up")
        return sorted(set(found))

    def close(self) -> None:
        """See :class:`Store`."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    # -- one try ---------------------------------------------------------------------------------------

    def _put(self, key: str, blocks: Iterator[bytes], source: Source | None, *, resume: bool) -> Stored:
        """``resume``: what a cut-off try has sent stays, and is held against the whole's digest at the end."""
        wire, path = self._talk(), self._path(key)
        directory, name = posixpath.split(path)
        self._directory(wire, directory)
        temporary = f"{directory}/{COPYING}{name}"
        sha, length = hashlib.sha256(), 0
        there = self._size(wire, temporary) if resume else 0
        begin_anew = 0 if there else sftpwire.TRUNCATE
        handle = wire.open(temporary, sftpwire.WRITE | sftpwire.CREATE | begin_anew)
        waiting: deque[int] = deque()
        for block in blocks:
            sha.update(block)
            for begin in range(0, len(block), CHUNK):
                piece = block[begin : begin + CHUNK]
                length += len(piece)
                if length <= there:
                    continue
                if source is not None:
                    source.spend(len(piece))
                waiting.append(wire.ask_write(handle, length - len(piece), piece))
                if len(waiting) >= _AHEAD:
                    wire.written(waiting.popleft())
        while waiting:
            wire.written(waiting.popleft())
        wire.sync(handle)
        wire.shut(handle)
        found = self._digest(wire, temporary)
        if found != (length, sha.hexdigest()):
            raise Passing(wrong_digest(self.where, key, sha.hexdigest(), found[1]))
        wire.rename(temporary, path)
        return Stored(length, sha.hexdigest(), READ_BACK)

    def _size(self, wire: Wire, path: str) -> int:
        """Bytes that a file has; 0 where it is not there."""
        try:
            return wire.stat(path)[1]
        except Refusal as error:
            if error.code != sftpwire.NO_SUCH_FILE:
                raise
            return 0

    def _digest(self, wire: Wire, path: str) -> tuple[int, str]:
        sha, length = hashlib.sha256(), 0
        for block in self._blocks(wire, path):
            sha.update(block)
            length += len(block)
        return length, sha.hexdigest()

    def _blocks(self, wire: Wire, path: str, offset: int = 0) -> Iterator[bytes]:
        """A file from a place on: asked for ahead, given in order."""
        handle = wire.open(path, sftpwire.READ)
        ended = False
        waiting: deque[tuple[int, int]] = deque()
        asked = offset
        try:
            while not ended or waiting:
                while not ended and len(waiting) < _AHEAD:
                    waiting.append((wire.ask_read(handle, asked), asked))
                    asked += CHUNK
                number, place = waiting.popleft()
                block = wire.data(number)
                if not block:
                    ended = True
                    continue
                if ended:
                    # Behind what was the end when it was asked: the file is growing, and not ours.
                    continue
                yield block
                if len(block) < CHUNK:
                    # Less than was asked for: what follows was asked from the wrong place.
                    for other, _place in waiting:
                        wire.data(other)
                    waiting.clear()
                    asked = place + len(block)
        finally:
            if not waiting:
                wire.shut(handle)

    def _directory(self, wire: Wire, path: str) -> None:
        if path in self._made or path in ("", "/"):
            return
        try:
            if wire.stat(path)[0]:
                self._made.add(path)
                return
        except Refusal as error:
            if error.code != sftpwire.NO_SUCH_FILE:
                raise
        self._directory(wire, posixpath.dirname(path))
        wire.mkdir(path)
        self._made.add(path)

    def _talk(self) -> Wire:
        if self._wire is None:
            self._wire = Wire(self._argv)
        return self._wire

    def _tried(self, action: Callable[[], _Found], attempted: str) -> _Found:
        def once() -> _Found:
            try:
                return action()
            except Refusal as error:
                raise self._refused(error, attempted) from error
            except Lost as error:
                raise self._lost(error, attempted) from error

        return patiently(once, self._patience)

    def _lost(self, error: Lost, attempted: str) -> Exception:
        self._made.clear()
        self.close()
        fault = unreachable(self.where, attempted, str(error))
        for words in _FINAL:
            if words in str(error):
                return denied(self.where, attempted, str(error)) if "denied" in words else fault
        return Passing(fault)

    def _refused(self, error: Refusal, attempted: str) -> KeeperError:
        # What was being written or read goes with the connection.
        if error.code == sftpwire.PERMISSION_DENIED:
            self.close()
            return denied(self.where, attempted, str(error))
        fault = unreachable(self.where, attempted, str(error))
        try:
            free = self._talk().free_bytes(posixpath.dirname(self._root))
            if free is not None and free < _LITTLE_BYTES:
                fault = full(self.where, attempted)
        except (Lost, Refusal):
            # What it said before counts.
            fault.details["connection"] = "lost"
        self.close()
        return fault

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"
