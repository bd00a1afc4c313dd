# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Archive push: one finished WAL file into the repository, durably, and never over another.

Contract (PostgreSQL manual, "Setting Up WAL Archiving"; contrib/basic_archive does the same): success only
after the bytes and the name are on disk; the same content again is success; other content under the same
name is a failure and both are kept. All failures end with a status of 1 to 125, because a signal or more
than 125 would restart the archiver and not be counted in pg_stat_archiver.

This runs once for every segment, and the server waits for it. So zstd is started first, on a file that nobody
can see yet; what is needed to check the segment is imported while it works.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from ..core.errors import Failed, KeeperError, Refused
from .compressor import Compressor, write_failure
from .layout import CONFLICT_PREFIX, Repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Watch = Callable[[str], None]

SUFFIX = ".zst"
DEFAULT_LEVEL = 1
#: What ``watch`` is told, in order; a kill before any of them leaves nothing that the next push does not clear up.
STEPS = ("directories", "temporary", "write", "fsync", "link", "unlink", "fsync-directory", "done")
_TEMPORARY_PREFIX = ".tmp-"
_PATIENCE_SECONDS = 20.0
_SMALL_FILE_BYTES = 1 << 20
_LONGEST_NAME = 64
_BLOCK = 1 << 18


def control_system_id(data_directory: str) -> int:
    """The system identifier of a data directory: the first eight bytes of pg_control in every major.

    Raises :class:`Failed` ``control-file-unreadable``.
    """
    path = os.path.join(data_directory, "global", "pg_control")
    try:
        with open(path, "rb", buffering=0) as handle:
            head = handle.read(8)
            if len(head) != 8:
                raise ValueError(f"it has only {len(head)} bytes")
            return int.from_bytes(head, sys.byteorder)
    except (OSError, ValueError) as error:
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
    if not name or len(name) > _LONGEST_NAME or not name.replace(".", "").isalnum():
        raise _unknown(name, attempted)
    if not repository.elsewhere:
        repository.require(attempted)
    if system_id is None:
        system_id = control_system_id(os.path.dirname(os.path.dirname(path)) or ".")
    offered = Offered(name, path, system_id, segment_size, attempted)
    try:
        if repository.elsewhere:
            from .remote.push import push_elsewhere

            return push_elsewhere(repository, offered, system_id, level)
        archive = repository.wal(system_id)
        directory = archive if name.endswith(".history") else f"{archive}/{name[:8]}"
        final = f"{directory}/{name}" + ("" if offered.plain else SUFFIX)
        try:
            (watch or _nobody)("directories")
            if not os.path.isdir(directory):
                offered.check()
                from ..core.files import make_directory

                make_directory(directory)
            with Turn(f"{archive}/.push.lock", attempted):
                if os.path.lexists(final):
                    return _again(offered, final, level)
                stored = _store(offered, final, level, watch or _nobody)
        except OSError as error:
            raise write_failure(error, attempted=attempted) from error
        return offered.result("archived", final, stored)
    finally:
        offered.close()


def conflicts(repository: Repository, system_id: int) -> list[str]:
    """Paths of files that were kept aside because their name was already archived with other content."""
    return repository.conflicts(system_id)


def _nobody(step: str) -> None:
    """Nobody watches."""


class Offered:
    """The file that the server offers."""

    def __init__(self, name: str, path: str, system_id: int, size: int | None, attempted: str) -> None:
        self.name = name
        self.attempted = attempted
        self.plain = name.endswith((".history", ".backup"))
        self.digest = ""
        self._handlers: dict[int, Any] = {}
        self._path = path
        self._system_id = system_id
        self._size = size
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(
                "wal-file-missing" if isinstance(error, FileNotFoundError) else "wal-file-unreadable",
                attempted=attempted,
                happened=f"{path}: {error.strerror}",
                remedy="Run archive-push in the data directory as the cluster's owner, with %p as the path.",
            ) from error
        self._before = os.fstat(self.descriptor)
        self.length = self._before.st_size

    def close(self) -> None:
        """Let go of it, and of the signals."""
        import signal

        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self.descriptor)

    def mind_signals(self) -> None:
        """From now on a signal that would end us is a failure like others: cleaned up, and counted by the server."""
        import signal
        import threading

        def fail(number: int, _dummy: object) -> None:
            raise Failed(
                "interrupted",
                attempted=self.attempted,
                happened=f"signal {number} asked to end",
                remedy="Nothing to do: the WAL stays on the server and is sent again.",
            )

        # Handlers can be set in the main thread only; in another, the program's own ones do.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
                self._handlers[number] = signal.signal(number, fail)

    def check(self) -> None:
        """Whether it is what its name says, by its length and first page."""
        from ..wal.page import HEADER_BYTES, SegmentFault, check_segment_header, parse_header
        from ..wal.segment import (
            SIZES_BYTES,
            is_backup_name,
            is_history_name,
            is_partial_name,
            is_segment_name,
            parse_segment,
        )

        name = self.name
        head = os.pread(self.descriptor, HEADER_BYTES, 0)
        try:
            if is_history_name(name) or is_backup_name(name):
                if not 0 < self.length <= _SMALL_FILE_BYTES:
                    raise SegmentFault("segment-wrong-size", f"it has {self.length} bytes")
                return
            if not is_segment_name(name) and not is_partial_name(name):
                raise _unknown(name, self.attempted)
            size = self._size
            if size is None:
                size = parse_header(head).segment_bytes if len(head) == HEADER_BYTES else self.length
            # A size that is none comes from a first page of zeros or nonsense; the check will call it that.
            if size in SIZES_BYTES and size != self.length:
                raise SegmentFault("segment-wrong-size", f"it has {self.length} bytes, a segment has {size}")
            size = size if size in SIZES_BYTES else SIZES_BYTES[4]
            segment = parse_segment(name[:24], size)
            check_segment_header(head, segment=segment, size=size, system_id=self._system_id, major=None)
        except SegmentFault as fault:
            raise Refused(
                fault.code,
                attempted=self.attempted,
                happened=f"{self._path} is not what its name says: {fault.text}",
                remedy="Nothing was archived, the server keeps the file. Look at what writes into this pg_wal; "
                "if it was the server itself, its disk is damaged: take a base backup elsewhere now.",
                details={"name": name, "system_id": str(self._system_id)},
            ) from fault

    def hash(self) -> str:
        """SHA-256 of its bytes. Raises :class:`Failed` ``wal-file-changed`` when it did not stay as it was."""
        from hashlib import sha256

        sha, done = sha256(), 0
        buffer = memoryview(bytearray(_BLOCK))
        while True:
            count = os.preadv(self.descriptor, [buffer], done)
            if not count:
                break
            sha.update(buffer[:count])
            done += count
        self.digest = sha.hexdigest()
        self._unchanged(done)
        return self.digest

    def _unchanged(self, done: int) -> None:
        """zstd read the file too; that both saw the same bytes follows from nobody having written to it."""
        now = os.fstat(self.descriptor)
        if done != self.length or (now.st_size, now.st_mtime_ns) != (self.length, self._before.st_mtime_ns):
            raise Failed(
                "wal-file-changed",
                attempted=self.attempted,
                happened=f"{self._path} was written to while it was archived",
                remedy="Archive finished segments only: let PostgreSQL call archive-push.",
            )

    def result(self, outcome: str, path: str, stored: int) -> dict[str, Any]:
        """What :func:`push` answers."""
        return {
            "name": self.name,
            "outcome": outcome,
            "digest": self.digest,
            "plain_bytes": self.length,
            "stored_bytes": stored,
            "path": path,
        }


def _unknown(name: str, attempted: str) -> Refused:
    return Refused(
        "wal-name-unknown",
        attempted=attempted,
        happened=f"{name!r} is no name that PostgreSQL archives",
        remedy="Give the path that archive_command has as %p: a segment, .partial, .backup or .history file.",
    )


class Turn:
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

    def __exit__(self, *_dummy: object) -> None:
        os.close(self._descriptor)


def _store(offered: Offered, final: str, level: int, tell: Watch) -> int:
    """Write ``final`` durably if nothing is there; the stored length."""
    directory, name = os.path.split(final)
    temporary = f"{directory}/{_TEMPORARY_PREFIX}{name}"
    # A push that was killed left it; the turn makes sure that nobody writes it now.
    _remove(temporary)
    tell("temporary")
    target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        tell("write")
        if offered.plain:
            _copy(offered, target)
        else:
            _compress(offered, target, level)
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
    return stored


def _compress(offered: Offered, target: int, level: int) -> None:
    compressor = Compressor(offered.descriptor, target, level=level, attempted=offered.attempted)
    try:
        offered.mind_signals()
        offered.check()
        offered.hash()
        compressor.finish()
    finally:
        compressor.abandon()


def _copy(offered: Offered, target: int) -> None:
    offered.check()
    offered.hash()
    content = os.pread(offered.descriptor, _SMALL_FILE_BYTES, 0)
    while content:
        content = content[os.write(target, content) :]


def _again(offered: Offered, final: str, level: int) -> dict[str, Any]:
    """The name is archived already: success if the content is the same, a conflict otherwise."""
    from .compression import Damaged, plain_digest

    offered.check()
    ours = offered.hash()
    directory = os.path.dirname(final)
    try:
        theirs, _dummy = plain_digest(final)
        seen = f"the archive already has {offered.name} with other content"
    except Damaged as error:
        theirs, seen = "", f"the archived {offered.name} is damaged ({error})"
    if theirs == ours:
        # The push that wrote it may have been killed before it had tidied up and the name was durable.
        _remove(f"{directory}/{_TEMPORARY_PREFIX}{os.path.basename(final)}")
        _fsync_directory(directory)
        return offered.result("identical", final, os.stat(final).st_size)
    aside = f"{directory}/{CONFLICT_PREFIX}{offered.name}-{ours[:16]}" + ("" if offered.plain else SUFFIX)
    kept = aside
    try:
        if not os.path.lexists(aside):
            if Repository.room_aside(directory):
                _store(offered, aside, level, _nobody)
            else:
                kept = "only on the server: enough is kept aside here already"
    except (OSError, KeeperError) as error:
        kept = f"not in the repository ({error}), only on the server"
    raise Failed(
        "archive-conflict",
        attempted=offered.attempted,
        happened=f"{seen}; nothing was overwritten, the new file is kept as {kept}",
        remedy="Find out which of two servers writes this timeline, and stop it archiving here. If "
        f"{final} is the wrong or damaged one, move it out of the repository: the server's own follows.",
        details={"archived": final, "archived_digest": theirs or None, "offered_digest": ours, "kept": kept},
    )


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
