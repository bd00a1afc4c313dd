# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The door's side of base backups: received part by part, verified by the digests of what arrived, then never changed.

One backup at a time: its lock is held from the first word to the last, also against backups that are taken on the
repository's own host, and the kernel lets go of it when the door dies. What a dead door left is ``running`` without
an owner; the next backup discards it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Any

from ...core.errors import KeeperError, Refused
from ...core.files import fsync_directory, make_directory
from ...core.locks import owner_record
from ..catalog import FAILED, MANIFEST, RUNNING, VERIFIED, Backup, StoredFile, read_backup, write_backup
from ..compressor import write_failure
from ..layout import Repository
from ..parts import INCOMING, SUFFIX, remove_data
from . import names
from .entries import check_backup
from .frames import Pipes
from .turn import Turn

_BASE = f"base{SUFFIX}"
_SYNC_EVERY_BYTES = 64 << 20
_LARGEST_MANIFEST_BYTES = 1 << 30


class Intake:
    """The backup that this door is taking in, if it is."""

    def __init__(self, repository: Repository, who: str) -> None:
        self._repository = repository
        self._who = who
        self._turn = Turn(repository.lock("backup"), "backup", " (dbkeeper info shows its progress)")
        self._entry: Backup | None = None
        self._parts: dict[str, StoredFile] = {}

    def begin(self, request: dict[str, Any]) -> dict[str, Any]:
        """``backup-begin``: ``label``, ``entry`` (status ``running``).

        Raises :class:`Refused` ``busy``, ``label-taken``, ``door-refused``; :class:`Failed` as writing does.
        """
        label = names.text(request, "label", names.LABEL)
        attempted = f"take in backup {label}"
        entry = _entry(request, label, attempted)
        if entry.status != RUNNING:
            raise names.refused(f"a backup that begins is running, not {entry.status}", attempted=attempted)
        self._turn.take(attempted)
        known = self._known(label)
        if known is not None and known.status not in (RUNNING, FAILED):
            raise _taken(label, known.status, attempted)
        directory = self._repository.backup(label)
        owner = {**owner_record(f"base backup {label}"), "door": self._who, "client": entry.owner}
        with _writing(attempted):
            remove_data(directory)
            write_backup(self._repository, entry.changed(owner=owner))
            make_directory(f"{directory}/{INCOMING}")
        self._entry, self._parts = entry.changed(owner=owner), {}
        return {}

    def put(self, request: dict[str, Any], pipes: Pipes) -> dict[str, Any]:
        """``backup-put``: ``label``, ``name``; the end of the pieces says ``bytes`` and ``digest``."""
        entry = self._ours(request)
        name = names.text(request, "name", names.PART)
        attempted = f"take in {name} of backup {entry.label}"
        if name in self._parts:
            raise names.refused(f"{name} has been sent already", attempted=attempted)
        path = f"{self._repository.backup(entry.label)}/{INCOMING}/{name}"
        sha, length, durable = hashlib.sha256(), 0, 0
        with _writing(attempted):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
            try:
                while True:
                    piece = pipes.read_piece()
                    if isinstance(piece, dict):
                        break
                    view = memoryview(piece)
                    sha.update(view)
                    length += len(view)
                    if name == MANIFEST and length > _LARGEST_MANIFEST_BYTES:
                        raise names.refused("a manifest of more than 1 GB", attempted=attempted)
                    while view:
                        view = view[os.write(handle, view) :]
                    if length - durable >= _SYNC_EVERY_BYTES:
                        os.fdatasync(handle)
                        durable = length
                os.fsync(handle)
            finally:
                os.close(handle)
        if (piece.get("bytes"), piece.get("digest")) != (length, sha.hexdigest()):
            os.unlink(path)
            raise names.refused(f"{name} arrived with another checksum than was sent", attempted=attempted)
        self._parts[name] = StoredFile(name, length, sha.hexdigest())
        return {"bytes": length, "digest": sha.hexdigest()}

    def finish(self, request: dict[str, Any]) -> dict[str, Any]:
        """``backup-finish``: ``label``, ``entry`` (status ``verified``, with exactly the files that arrived)."""
        begun = self._ours(request)
        attempted = f"finish backup {begun.label}"
        entry = _entry(request, begun.label, attempted)
        same = (entry.status, entry.system_id, entry.major, entry.wal_segment_size, entry.started_at)
        if same != (VERIFIED, begun.system_id, begun.major, begun.wal_segment_size, begun.started_at):
            raise names.refused("it is not the backup that was begun", attempted=attempted)
        if None in (entry.timeline, entry.start_lsn, entry.stop_lsn, entry.stopped_at):
            raise names.refused("it does not say where it began and ended", attempted=attempted)
        if {file.name: file for file in entry.files} != self._parts or not {_BASE, MANIFEST} <= set(
            self._parts
        ):
            raise names.refused("its files are not those that arrived", attempted=attempted)
        directory = self._repository.backup(begun.label)
        with _writing(attempted):
            for name in sorted(self._parts):
                os.rename(f"{directory}/{INCOMING}/{name}", f"{directory}/{name}")
            os.rmdir(f"{directory}/{INCOMING}")
            fsync_directory(directory)
            write_backup(self._repository, entry.changed(owner=begun.owner, pinned=False, unsound=None))
        self._release()
        return {}

    def give_up(self, request: dict[str, Any]) -> dict[str, Any]:
        """``backup-fail``: ``label``, ``why``: the data of one that is not finished goes, its entry says failed.

        Raises :class:`Refused` ``busy`` when it is being taken through another door, ``label-taken`` when finished.
        """
        label = names.text(request, "label", names.LABEL)
        attempted = f"give up backup {label}"
        why = str(request.get("why"))[:2000]
        self._turn.take(attempted)
        known = self._known(label)
        if known is None:
            raise names.refused(f"there is no backup {names.shown(label)}", attempted=attempted)
        if known.status not in (RUNNING, FAILED):
            raise _taken(label, known.status, attempted)
        with _writing(attempted):
            remove_data(self._repository.backup(label))
            if known.status == RUNNING:
                write_backup(self._repository, known.changed(status=FAILED, failure=why))
        if self._entry is None or self._entry.label == label:
            self._release()
        return {}

    def close(self) -> None:
        """The client is gone: what it had not finished is nothing."""
        entry = self._entry
        if entry is not None:
            with contextlib.suppress(KeeperError, OSError):
                remove_data(self._repository.backup(entry.label))
                why = "the connection ended before the backup did; its data was removed"
                write_backup(self._repository, entry.changed(status=FAILED, failure=why))
        self._release()

    def _known(self, label: str) -> Backup | None:
        try:
            return read_backup(self._repository, label)
        except KeeperError as error:
            if error.code != "backup-unknown":
                raise
        return None

    def _ours(self, request: dict[str, Any]) -> Backup:
        label = names.text(request, "label", names.LABEL)
        if self._entry is None or self._entry.label != label:
            raise names.refused(f"backup {names.shown(label)} was not begun here")
        return self._entry

    def _release(self) -> None:
        self._entry, self._parts = None, {}
        self._turn.end()


def _entry(request: dict[str, Any], label: str, attempted: str) -> Backup:
    """What the client says of its backup. Raises :class:`Refused` ``door-refused``."""
    value = names.mapping(request, "entry")
    try:
        entry = Backup.from_dict(value, label=label)
    except (KeeperError, OverflowError) as error:
        raise names.refused(
            f"its entry is no backup's: {names.shown(str(error))}", attempted=attempted
        ) from error
    return check_backup(entry, attempted)


@contextlib.contextmanager
def _writing(attempted: str) -> Any:
    try:
        yield
    except OSError as error:
        failure = write_failure(error, attempted=attempted)
        if failure.code == "repository-full":
            failure.remedy = (
                "Make space on the file system of the repository, or expire old backups, then run the same command "
                "again; what had arrived of this one is removed."
            )
        raise failure from error


def _taken(label: str, status: str, attempted: str) -> KeeperError:
    return Refused(
        "label-taken",
        attempted=attempted,
        happened=f"backup {label} is {status}; what is finished is not changed through the door",
        remedy="Choose another label, or leave it out: it is then made from the time.",
    )
