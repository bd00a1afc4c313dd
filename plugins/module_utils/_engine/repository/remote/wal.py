# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The archive of a repository elsewhere as a source of WAL; a :class:`WalSource`."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from typing import IO

from ...core.errors import Failed, KeeperError, Refused
from ...core.files import digest as file_digest
from ...core.run import start, stop_group
from ...wal.content import PACKED, PLAIN, packed_identity
from ...wal.segment import history_name
from ...wal.source import StoredWal
from ..layout import Repository
from .client import RemoteRepository

_FULL = (errno.ENOSPC, errno.EDQUOT)
#: A way that is cut is opened again: recovery waits for a segment rather than fail for a moment's sake.
_PAUSES_SECONDS = (0.5, 2.0, 5.0)


class RemoteWalSource:
    """The archive of one system identifier, behind a door."""

    def __init__(self, repository: Repository, system_id: int) -> None:
        if not isinstance(repository, RemoteRepository):
            raise TypeError(f"{repository.path} is no repository elsewhere")
        self.repository = repository
        self.system_id = system_id

    def list_files(self) -> Iterator[StoredWal]:
        """See :meth:`NativeWalSource.list_files`."""
        attempted = "list the WAL archive"
        system_id = str(self.system_id)
        _answer, parts, _end = self.repository.line.collect(
            "wal-list", attempted=attempted, system_id=system_id
        )
        for line in b"".join(parts).decode().splitlines():
            name, size, signature, location = line.split("\t")
            yield StoredWal(name, int(size), signature, location)

    def fetch(self, name: str, target_path: str, kind: str = PLAIN) -> str:
        """See :meth:`NativeWalSource.fetch`. The cheapest kind is the plain one here: the way costs more."""
        attempted = f"read {name} from the archive"
        digest, forms = self._patiently(name, target_path, attempted, kind)
        if forms > 1:
            try:
                self._hold_the_same(name, forms, target_path, attempted)
            except BaseException:
                os.unlink(target_path)
                raise
        return digest

    def _hold_the_same(self, name: str, forms: int, target_path: str, attempted: str) -> None:
        plain = file_digest(target_path)
        for form in range(1, forms):
            other, _dummy = self._read(name, form, f"{target_path}.form", attempted, PLAIN)
            os.unlink(f"{target_path}.form")
            if other != plain:
                raise Refused(
                    "segment-duplicate",
                    attempted=attempted,
                    happened="it is there twice with different content",
                    remedy="Find out which of the two belongs to this cluster's history, and move the other "
                    "one out of the repository.",
                    details={"name": name},
                )

    def read_history(self, timeline: int) -> str | None:
        """See :meth:`NativeWalSource.read_history`."""
        name = history_name(timeline)
        attempted = f"read {name} from the archive"
        answer, parts, end = self.repository.line.collect(
            "wal-get", attempted=attempted, system_id=str(self.system_id), name=name
        )
        if not answer["forms"]:
            return None
        if end.get("fault"):
            raise _unreadable("history-unreadable", name, str(end["fault"]), attempted)
        try:
            return b"".join(parts).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused(
                "history-damaged",
                attempted=attempted,
                happened=f"{name} is not text",
                remedy="Bring it back from pg_wal of the server that made the timeline, or from a copy.",
                details={"name": name},
            ) from error

    def _patiently(self, name: str, target_path: str, attempted: str, kind: str) -> tuple[str, int]:
        for pause in _PAUSES_SECONDS:
            try:
                return self._read(name, 0, target_path, attempted, kind)
            except KeeperError as error:
                if error.code != "repository-unreachable":
                    raise
            time.sleep(pause)
        return self._read(name, 0, target_path, attempted, kind)

    def _read(self, name: str, form: int, target_path: str, attempted: str, kind: str) -> tuple[str, int]:
        """One stored form into a new file; its identity, and how many forms there are."""
        unpacker = _Unpacker(target_path, attempted)
        try:
            answer, end = self.repository.line.fetch(
                "wal-get",
                unpacker.take,
                attempted=attempted,
                system_id=str(self.system_id),
                name=name,
                form=form,
            )
            if form >= answer["forms"]:
                raise Refused(
                    "segment-missing",
                    attempted=attempted,
                    happened=f"{name} is not in {self.repository.wal(self.system_id)}",
                    remedy="Bring it back from a copy of the archive or from the server's pg_wal, or choose a "
                    "target before it.",
                    details={"name": name},
                )
            if end.get("fault"):
                raise _unreadable("segment-unreadable", name, str(end["fault"]), attempted)
            return unpacker.finish(packed=bool(answer["packed"]), name=name, kind=kind), int(answer["forms"])
        except BaseException:
            unpacker.abandon()
            raise


def _unreadable(code: str, name: str, why: str, attempted: str) -> KeeperError:
    return Refused(
        code,
        attempted=attempted,
        happened=f"{name}: {why}",
        remedy="Give the owner of the repository access to the file, or mend its mount.",
        details={"name": name},
    )


class _Unpacker:
    """Pieces as they come into a file, through zstd when they are packed (which their first bytes say)."""

    _MAGIC = b"\x28\xb5\x2f\xfd"

    def __init__(self, path: str, attempted: str) -> None:
        self._path = path
        self._attempted = attempted
        self._program: subprocess.Popen[bytes] | None = None
        self._sink: IO[bytes] | None = None
        self._begun = False
        self._broken = False
        self._sha = hashlib.sha256()
        try:
            self._target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Failed(
                "segment-write-failed",
                attempted=attempted,
                happened=f"{path}: {error.strerror}",
                remedy="See that the target directory exists, is writable for the cluster's owner and has space.",
            ) from error

    def take(self, piece: bytes) -> None:
        """The next piece; what the target does not take is told by :meth:`finish`."""
        self._sha.update(piece)
        if not self._begun:
            self._begun = True
            if piece.startswith(self._MAGIC):
                argv = ["zstd", "-q", "-d", "-c"]
                self._program = start(argv, stdin=-1, stdout=self._target, stderr=-1)
                self._sink = self._program.stdin
        if self._program is None:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._target, view) :]
        elif self._sink is not None and not self._broken:
            try:
                self._sink.write(piece)
            except BrokenPipeError:
                # It has given up, and its words say why.
                self._broken = True

    def finish(self, *, packed: bool, name: str, kind: str) -> str:
        """The identity of what lies there now. Raises :class:`Refused` ``segment-corrupt``, :class:`Failed`
        ``staging-full``."""
        if self._program is not None:
            status, words = self._end_program()
            if status != 0 or self._broken:
                for number in _FULL:
                    if os.strerror(number) in words:
                        raise OSError(number, os.strerror(number), self._path)
                raise self._corrupt(name, words)
        elif packed:
            raise self._corrupt(name, "it is not packed, though its name says so")
        os.close(self._target)
        self._target = -1
        if packed and kind == PACKED:
            return packed_identity(self._sha.hexdigest())
        return file_digest(self._path)

    def abandon(self) -> None:
        """Leave no file."""
        if self._program is not None and self._program.poll() is None:
            stop_group(self._program)
            self._end_program()
        if self._target >= 0:
            os.close(self._target)
            self._target = -1
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _end_program(self) -> tuple[int, str]:
        program = self._program
        if program is None:
            return 0, ""
        try:
            _dummy, words = program.communicate()
        except BrokenPipeError:
            words = program.stderr.read() if program.stderr else b""
        return program.wait(), words.decode(errors="replace").strip()

    def _corrupt(self, name: str, words: str) -> KeeperError:
        return Refused(
            "segment-corrupt",
            attempted=self._attempted,
            happened=f"{name} cannot be unpacked: {words}",
            remedy="Bring the file back from a copy of the archive, or choose a target before it.",
            details={"name": name},
        )
