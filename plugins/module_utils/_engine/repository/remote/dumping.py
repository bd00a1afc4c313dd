# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""This side of dumps in a repository elsewhere: sent file by file, fetched file by file, held against their digests."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial

from ...core.errors import Failed, KeeperError
from ...core.files import make_directory
from ..catalog import RUNNING
from ..dumps import GLOBALS, Dump, DumpFile
from .client import RemoteRepository

_PIECE = 1 << 18
_PAUSES_SECONDS = (0.5, 2.0, 5.0, 10.0)

#: The bytes of one file, piece by piece.
Pieces = Callable[[DumpFile], Iterator[bytes]]


def send_dump(
    there: RemoteRepository,
    entry: Dump,
    pieces: Pieces,
    *,
    attempted: str,
    told: Callable[[int], None] | None = None,
) -> None:
    """Send a verified dump; the door gives up what does not arrive whole. Raises what the door answers."""
    line = there.line
    about = {"database": entry.database, "label": entry.label}
    begun = entry.changed(status=RUNNING, files=(), rows={}, stopped_at=None)
    line.ask("dump-begin", attempted=attempted, tries=1, entry=begun.to_dict(), **about)
    try:
        for file in entry.files:
            line.send(
                "dump-put",
                pieces(file),
                partial(dict, bytes=file.stored_bytes, digest=file.digest),
                attempted=attempted,
                name=file.name,
                **about,
            )
            if told:
                told(file.stored_bytes)
        text = json.dumps(entry.to_dict()).encode()
        blocks = (text[begin : begin + _PIECE] for begin in range(0, len(text), _PIECE))
        line.send("dump-finish", blocks, dict, attempted=attempted, **about)
    except BaseException:
        # The door gives up what was not finished when the conversation ends.
        line.close()
        raise


def file_pieces(path: str) -> Iterator[bytes]:
    """Of a file here."""
    with open(path, "rb", buffering=0) as handle:
        while block := handle.read(_PIECE):
            yield block


def fetch_dump(
    there: RemoteRepository, dump: Dump, directory: str, told: Callable[[int], None] | None = None
) -> None:
    """Its files below ``directory``; those that are there already and whole are not fetched again.

    Raises :class:`Failed` ``dump-file-missing``, ``dump-file-damaged``, what the way there raises.
    """
    make_directory(directory, 0o700)
    for file in dump.files:
        path = f"{directory}/{file.name}"
        make_directory(os.path.dirname(path), 0o700)
        _File(there, dump, file, path).fetch()
        if told:
            told(file.stored_bytes)


class _File:
    def __init__(self, there: RemoteRepository, dump: Dump, file: DumpFile, path: str) -> None:
        self._there, self._dump, self._file, self._path = there, dump, file, path
        self._attempted = f"fetch {file.name} of {dump.key}"
        self._sha, self._length = hashlib.sha256(), 0

    def fetch(self) -> None:
        """From where it was left, and held against its digest."""
        mode = 0o600 if self._file.name == GLOBALS else 0o640
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "r+b", buffering=0) as target:
            while block := target.read(_PIECE):
                self._seen(block)
            left = self._length
            if left > self._file.stored_bytes:
                self._anew(target)

            def take(piece: bytes) -> None:
                target.write(piece)
                self._seen(piece)

            self._rest(take)
            if left and not self._whole():
                # What was left here is not what had arrived: a crash of this host may have made zeros of it.
                self._anew(target)
                self._rest(take)
        if not self._whole():
            os.unlink(self._path)
            raise self._fault(
                "dump-file-damaged", "it is not what was written: its digest or its length differs"
            )

    def _whole(self) -> bool:
        return (self._length, self._sha.hexdigest()) == (self._file.stored_bytes, self._file.digest)

    def _anew(self, target: io.FileIO) -> None:
        target.seek(0)
        target.truncate()
        self._sha, self._length = hashlib.sha256(), 0

    def _seen(self, piece: bytes) -> None:
        self._sha.update(piece)
        self._length += len(piece)

    def _rest(self, take: Callable[[bytes], None]) -> None:
        """A way that is cut is opened again where it ended."""
        pauses = list(_PAUSES_SECONDS)
        while self._length < self._file.stored_bytes:
            before = self._length
            try:
                _answer, end = self._there.line.fetch(
                    "dump-get",
                    take,
                    attempted=self._attempted,
                    database=self._dump.database,
                    label=self._dump.label,
                    name=self._file.name,
                    offset=self._length,
                )
            except KeeperError as error:
                if error.details.get("missing"):
                    raise self._fault("dump-file-missing", error.happened) from error
                if self._length > before:
                    pauses = list(_PAUSES_SECONDS)
                if error.code != "repository-unreachable" or not pauses:
                    raise
                time.sleep(pauses.pop(0))
                continue
            if end.get("fault") or self._length == before:
                raise self._fault("dump-file-damaged", str(end.get("fault") or "it is shorter than it was"))

    def _fault(self, code: str, happened: str) -> Failed:
        return Failed(
            code,
            attempted=self._attempted,
            happened=happened,
            remedy="Use another dump (dbkeeper info lists them) or a copy of this one; look at the repository's disk.",
            details={"key": self._dump.key},
        )
