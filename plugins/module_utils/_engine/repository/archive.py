# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Archive push: one finished WAL file into the repository, durably, and never over another.

Contract (PostgreSQL manual, "Setting Up WAL Archiving"; contrib/basic_archive does the same): success only
after the bytes and the name are on disk; the same content again is success; other content under the same
name is a failure and both are kept. All failures end with a status of 1 to 125, because a signal or more
than 125 would restart the archiver and not be counted in pg_stat_archiver.

This runs once for every segment, so modules that are not needed for the usual case are imported late.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from ..core.errors import Failed, KeeperError, Refused
from ..wal.page import HEADER_BYTES, SegmentFault, check_segment_header, parse_header
from ..wal.segment import is_backup_name, is_history_name, is_partial_name, is_segment_name, parse_segment
from .compression import SUFFIX, Damaged, compress, plain_digest, write_all, write_failure
from .layout import Repository

DEFAULT_LEVEL = 1
CONFLICT_PREFIX = ".conflict-"
_TEMPORARY_PREFIX = ".tmp-"
_PATIENCE_SECONDS = 20.0
_SMALL_FILE_BYTES = 1 << 20

Watch = Callable[[str], None]


def control_system_id(data_directory: str) -> int:
    """The system identifier of a data directory: the first eight bytes of pg_control in every major.

    Raises :class:`Failed` ``control-file-unreadable``.
    """
    path = os.path.join(data_directory, "global", "pg_control")
    try:
        with open(path, "rb", buffering=0) as handle:
            return int(struct.unpack("=Q", handle.read(8))[0])
    except (OSError, struct.error) as error:
        raise Failed(
            "control-file-unreadable",
            attempted="learn the system identifier of the cluster whose WAL is archived",
            happened=f"{path}: {error}",
            remedy="Run archive-push as the cluster's owner with the path that PostgreSQL gives (%p).",
            details={"path": path},
        ) from error


def push(
    repository: Repository,
    path: str,
    *,
    system_id: int | None = None,
    segment_size: int | None = None,
    level: int = DEFAULT_LEVEL,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Archive the file at ``path``: a segment, ``.partial``, ``.backup`` or ``.history``.

    ``system_id`` None: that of the data directory in whose ``pg_wal`` the file lies. ``segment_size`` (bytes)
    None: what the segment's own header says. ``watch`` is told each step's name before it is done (tests).

    Result: ``name``, ``outcome`` (``archived`` or ``identical``), ``digest`` (SHA-256 of the plain bytes),
    ``plain_bytes``, ``stored_bytes``, ``path``.

    Raises :class:`Refused` ``wal-name-unknown``, ``wal-file-missing``, ``repository-missing``, ``busy``,
    ``segment-wrong-size``, ``segment-zero-filled``, ``segment-wrong-content``, ``segment-wrong-system``,
    ``segment-corrupt``; :class:`Failed` ``archive-conflict``, ``repository-full``,
    ``repository-not-writable``, ``repository-unreadable``.
    """
    name = os.path.basename(path)
    attempted = f"archive {name}"
    directory_of = _check_name(name, attempted)
    repository.require(attempted)
    if system_id is None:
        system_id = control_system_id(os.path.dirname(os.path.dirname(path)) or ".")
    tell = watch or _nobody
    source = _open_source(path, attempted)
    try:
        plain = directory_of is None or is_backup_name(name)
        if not (directory_of is None or is_backup_name(name)):
            _check_content(source, name, path, system_id=system_id, size=segment_size, attempted=attempted)
        directory = repository.wal(system_id)
        if directory_of is not None:
            directory = f"{directory}/{directory_of}"
        final = f"{directory}/{name}" + ("" if plain else SUFFIX)
        try:
            tell("directories")
            if not os.path.isdir(directory):
                from ..core.files import make_directory

                make_directory(directory)
            with _Turn(f"{repository.wal(system_id)}/.push.lock", attempted):
                tell("compare")
                if os.path.lexists(final):
                    return _again(source, final, name, attempted=attempted, level=level, plain=plain)
                digest, length, stored = _store(
                    source, final, plain=plain, level=level, attempted=attempted, tell=tell
                )
        except OSError as error:
            raise write_failure(error, attempted=attempted) from error
    finally:
        os.close(source)
    return _result("archived", name, final, digest, length, stored)


def conflicts(repository: Repository, system_id: int) -> list[str]:
    """Paths of files that were kept aside because their name was already archived with other content."""
    found = []
    for directory, _, names in os.walk(repository.wal(system_id)):
        found += [os.path.join(directory, name) for name in names if name.startswith(CONFLICT_PREFIX)]
    return sorted(found)


def _nobody(step: str) -> None:
    """Nobody watches."""


def _result(outcome: str, name: str, path: str, digest: str, length: int, stored: int) -> dict[str, Any]:
    return {
        "name": name,
        "outcome": outcome,
        "digest": digest,
        "plain_bytes": length,
        "stored_bytes": stored,
        "path": path,
    }


def _check_name(name: str, attempted: str) -> str | None:
    """The directory of a name below the system's: None for histories, which lie beside the timelines."""
    if is_history_name(name):
        return None
    if is_segment_name(name) or is_partial_name(name) or is_backup_name(name):
        return name[:8]
    raise Refused(
        "wal-name-unknown",
        attempted=attempted,
        happened=f"{name!r} is no name that PostgreSQL archives",
        remedy="Give the path that archive_command has as %p: a segment, .partial, .backup or .history file.",
    )


def _open_source(path: str, attempted: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(
            "wal-file-missing" if isinstance(error, FileNotFoundError) else "wal-file-unreadable",
            attempted=attempted,
            happened=f"{path}: {error.strerror}",
            remedy="Run archive-push in the data directory as the cluster's owner, with %p as the path.",
        ) from error


def _check_content(
    source: int, name: str, path: str, *, system_id: int, size: int | None, attempted: str
) -> None:
    """Whether a segment is what its name says, by its length and first page."""
    actual = os.fstat(source).st_size
    head = os.pread(source, HEADER_BYTES, 0)
    try:
        if size is None:
            size = parse_header(head).segment_bytes if len(head) == HEADER_BYTES and any(head) else actual
        if actual != size:
            raise SegmentFault("segment-wrong-size", f"it has {actual} bytes, a segment has {size}")
        # A size that is none at all comes from a damaged header, and that is what the check will call it.
        valid = size >= 1 << 20 and size & (size - 1) == 0
        segment = parse_segment(name[:24], size if valid else 1 << 24)
        check_segment_header(head, segment=segment, size=size, system_id=system_id, major=None)
    except SegmentFault as fault:
        raise Refused(
            fault.code,
            attempted=attempted,
            happened=f"{path} is not the segment that its name says: {fault.text}",
            remedy="Nothing was archived, the server keeps the file. Look at what writes into this pg_wal; "
            "if the server itself wrote it, its disk is damaged: take a base backup elsewhere now.",
            details={"name": name, "system_id": str(system_id)},
        ) from fault


class _Turn:
    """One push at a time for each archive: two must not clean up each other's temporary file."""

    def __init__(self, path: str, attempted: str) -> None:
        self._path = path
        self._attempted = attempted
        self._descriptor = -1

    def __enter__(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    os.close(self._descriptor)
                    raise Refused(
                        "busy",
                        attempted=self._attempted,
                        happened=f"another archive-push has held {self._path} for {_PATIENCE_SECONDS:.0f} s",
                        remedy="Nothing to do, PostgreSQL tries again. If it stays so, a push hangs.",
                    ) from error
                time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _store(
    source: int, final: str, *, plain: bool, level: int, attempted: str, tell: Watch
) -> tuple[str, int, int]:
    """Write ``final`` durably if nothing is there; digest, length and stored length."""
    directory, name = os.path.split(final)
    temporary = f"{directory}/{_TEMPORARY_PREFIX}{name}"
    # A push that was killed left it; the turn makes sure that nobody writes it now.
    _remove(temporary)
    tell("temporary")
    target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        tell("write")
        if plain:
            digest, length = _copy_small(source, target, attempted)
        else:
            digest, length = compress(source, target, level=level, attempted=attempted)
        tell("fsync")
        os.fsync(target)
        stored = os.fstat(target).st_size
        tell("link")
        # A link never replaces, a rename would. By descriptor: our file and no other gets the name.
        # Only with a directory's descriptor does Python use linkat(2), which follows; the path is absolute anyway.
        os.link(f"/proc/self/fd/{target}", final, src_dir_fd=target, follow_symlinks=True)
        tell("unlink")
    finally:
        os.close(target)
        _remove(temporary)
    tell("fsync-directory")
    _fsync_directory(directory)
    tell("done")
    return digest, length, stored


def _again(source: int, final: str, name: str, *, attempted: str, level: int, plain: bool) -> dict[str, Any]:
    """The name is archived already: success if the content is the same, a conflict otherwise."""
    sha, length = sha256(), 0
    while True:
        block = os.pread(source, 1 << 18, length)
        if not block:
            break
        sha.update(block)
        length += len(block)
    ours = sha.hexdigest()
    directory = os.path.dirname(final)
    try:
        theirs, _ = plain_digest(final)
        seen = f"the archive already has {name} with other content"
    except Damaged as error:
        theirs, seen = "", f"the archived {name} is damaged ({error})"
    if theirs == ours:
        # The push that wrote it may have been killed before the name was durable.
        _fsync_directory(directory)
        return _result("identical", name, final, ours, length, os.stat(final).st_size)
    aside = f"{directory}/{CONFLICT_PREFIX}{name}-{ours[:16]}" + ("" if plain else SUFFIX)
    kept = aside
    try:
        if not os.path.lexists(aside):
            os.lseek(source, 0, os.SEEK_SET)
            _store(source, aside, plain=plain, level=level, attempted=attempted, tell=_nobody)
    except (OSError, KeeperError) as error:
        kept = f"not in the repository ({error}), only on the server"
    raise Failed(
        "archive-conflict",
        attempted=attempted,
        happened=f"{seen}; nothing was overwritten, the new file is kept as {kept}",
        remedy="Find out which of two servers writes this timeline, and stop it archiving here. If "
        f"{final} is the wrong or damaged one, move it out of the repository: the server's own follows.",
        details={"archived": final, "archived_digest": theirs or None, "offered_digest": ours, "kept": kept},
    )


def _copy_small(source: int, target: int, attempted: str) -> tuple[str, int]:
    content = os.pread(source, _SMALL_FILE_BYTES + 1, 0)
    if not content or len(content) > _SMALL_FILE_BYTES:
        raise Refused(
            "segment-wrong-size",
            attempted=attempted,
            happened=f"a history or backup label file of {len(content)} bytes or more is not one",
            remedy="Nothing was archived, the server keeps the file. Look at what writes into this pg_wal.",
        )
    write_all(target, memoryview(content))
    return sha256(content).hexdigest(), len(content)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _fsync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
