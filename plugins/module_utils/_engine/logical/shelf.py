# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The dumps of a repository as everybody else sees them: listed, found, held against their digests."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType

from ..core import files
from ..core.errors import Failed, KeeperError, Refused
from ..repository.dumps import GLOBALS, Dump, Shelf, read_dump_entry, read_shelf
from ..repository.layout import Repository
from ..repository.leases import release_lease, take_lease

__all__ = [
    "Dump",
    "Shelf",
    "Soundness",
    "check_files",
    "leased",
    "list_dumps",
    "newest_dump",
    "read_dump",
    "read_shelf",
]

#: Smaller files are quicker checked than talked about.
_LATER_BYTES = 1 << 20


def list_dumps(repository: Repository) -> list[Dump]:
    """All whose entries can be read, by database and in the order in which they were begun."""
    return list(read_shelf(repository).dumps)


def read_dump(repository: Repository, database: str, label: str) -> Dump:
    """One entry. Raises :class:`Failed` ``dump-entry-damaged``."""
    return read_dump_entry(repository, database, label)


def newest_dump(repository: Repository, database: str, *, content: str = "all") -> Dump | None:
    """The newest verified dump of a whole database."""
    fit = [
        one
        for one in read_shelf(repository).of(database)
        if one.verified and one.selection.whole and one.selection.content == content
    ]
    return fit[-1] if fit else None


@contextlib.contextmanager
def leased(repository: Repository, dump: Dump, purpose: str) -> Iterator[None]:
    """No expiry takes it while the block runs; when this process dies, nobody believes the lease any more (D05).

    Raises :class:`Refused` ``dump-unfit`` where an expiry has marked it already.
    """
    identity = f"{purpose}-{dump.label}-{secrets.token_hex(4)}"
    take_lease(repository, identity, purpose=purpose, label=dump.key)
    try:
        # An expiry looks for leases after it has marked; so of the two one sees the other.
        status = read_dump(repository, dump.database, dump.label).status
        if status != dump.status:
            raise Refused(
                "dump-unfit",
                attempted=f"use {dump.key}",
                happened=f"its status has become {status}",
                remedy="Use another dump: dbkeeper info lists them.",
                details={"key": dump.key, "status": status},
            )
        yield
    finally:
        release_lease(repository, identity)


class Soundness:
    """Files of a dump held against their entry while they are used already, for the length of a ``with`` block.

    Whoever uses them asks :meth:`require` before anybody may see what became of them. Sizes,
    small files and roles are held against the entry before the block begins. Raises as :func:`check_files`.
    """

    def __init__(self, repository: Repository, dump: Dump, *, meanwhile: bool) -> None:
        check_files(repository, dump, digests=False)
        later = tuple(
            file
            for file in dump.files
            if meanwhile and file.stored_bytes >= _LATER_BYTES and file.name != GLOBALS
        )
        check_files(repository, replace(dump, files=tuple(file for file in dump.files if file not in later)))
        self._one = replace(dump, files=later)
        self._repository = repository
        self._fault: KeeperError | None = None
        self._stop = False
        self._thread = threading.Thread(target=self._work, name="digests", daemon=True)

    def __enter__(self) -> Soundness:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop = True
        self._thread.join()

    def look(self) -> None:
        """Raise what has been found so far."""
        if self._fault is not None:
            raise self._fault

    def require(self) -> None:
        """Wait for the end of the check."""
        self._thread.join()
        self.look()

    def _work(self) -> None:
        for file in self._one.files:
            if self._stop:
                return
            try:
                check_files(self._repository, replace(self._one, files=(file,)))
            except KeeperError as error:
                self._fault = error
                return


def check_files(repository: Repository, dump: Dump, *, digests: bool = True) -> None:
    """Hold the stored files against the entry. Raises :class:`Failed` ``dump-file-missing``, ``dump-file-damaged``."""
    paths = [f"{dump.directory(repository)}/{file.name}" for file in dump.files]
    try:
        for file, path in zip(dump.files, paths):
            size = os.stat(path).st_size
            if size != file.stored_bytes:
                raise _fault(
                    "dump-file-damaged", dump, f"{path} has {size} bytes, {file.stored_bytes} were written"
                )
        for file, path, found in zip(dump.files, paths, files.digests(paths) if digests else ()):
            if found != file.digest:
                raise _fault("dump-file-damaged", dump, f"{path} is not what was written: its digest differs")
    except OSError as error:
        raise _fault("dump-file-missing", dump, f"{error.filename}: {error.strerror}") from error


def _fault(code: str, dump: Dump, happened: str) -> Failed:
    return Failed(
        code,
        attempted=f"check {dump.key}",
        happened=happened,
        remedy="Use another dump (dbkeeper info lists them) or a copy of this one, and look at the repository's disk.",
        details={"key": dump.key},
    )
