# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The dumps of a repository as everybody else sees them: listed, found, held against their digests."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator

from ..core import files
from ..core.errors import Failed, Refused
from ..repository.dumps import Dump, Shelf, read_dump_entry, read_shelf
from ..repository.layout import Repository
from ..repository.leases import release_lease, take_lease

__all__ = ["Dump", "Shelf", "check_files", "leased", "list_dumps", "newest_dump", "read_dump", "read_shelf"]


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
