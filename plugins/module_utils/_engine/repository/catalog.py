# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The catalog: what each base backup is and whether it may be trusted.

An entry is written before its backup starts (status ``running``), so that a backup that was killed is
known as such and never chosen (fault B22), and no clean-up takes one that is being written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..core.clock import format_utc, label_time, parse_utc
from ..core.errors import Failed, KeeperError, Refused
from ..core.files import TEMPORARY_PREFIX, make_directory, remove_tree, rename_durable, write_json
from ..wal.lsn import format_lsn, parse_lsn
from .chain import KINDS, chain
from .layout import Repository

if TYPE_CHECKING:
    from ..wal.facts import BackupFacts

FORMAT = 1
ENTRY = "backup.json"
MANIFEST = "backup_manifest"

RUNNING = "running"
VERIFIED = "verified"
FAILED = "failed"
EXPIRED = "expired"
STATUSES = (RUNNING, VERIFIED, FAILED, EXPIRED)
_LABEL = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,62}")


@dataclass(frozen=True)
class Tablespace:
    """A tablespace other than the two that every cluster has: where it lay when the backup was taken."""

    oid: int
    path: str
    name: str = ""
    plain_bytes: int = 0
    restored_bytes: int = 0

    @property
    def full_bytes(self) -> int:
        """Its size after a restore."""
        return self.restored_bytes or self.plain_bytes


@dataclass(frozen=True)
class StoredFile:
    """A file of the backup as it lies in the repository; ``digest`` is SHA-256 in hex of the stored bytes."""

    name: str
    stored_bytes: int
    digest: str


@dataclass(frozen=True)
class Backup:
    """One base backup. Facts that are known only at its end are None while it is ``running``.

    ``settings`` holds what a server needs to replay it (``max_connections`` and the like, from pg_control,
    fault C12); ``seconds`` the duration of each phase; ``owner`` who made it (see core.locks.owner_record).

    An ``incremental`` one is built on ``parent``, whose manifest had the digest ``parent_manifest``; ``plain_bytes``
    are its own, ``restored_bytes`` those of the data directory that the chain gives, ``rebuilt_bytes`` those of
    its files that have to be put together from several links. ``pinned``: kept until somebody unpins it.
    ``page_faults``: what the server said of damaged pages while it was taken (fault B19), see backup.pages.
    ``unsound``: what a later verification found wrong with its stored files (``code``, ``text``, ``at``); a good one
    takes it away again.
    """

    label: str
    status: str
    started_at: datetime
    system_id: int
    major: int
    wal_segment_size: int
    kind: str = "full"
    parent: str | None = None
    parent_manifest: str | None = None
    pinned: bool = False
    version: str = ""
    timeline: int | None = None
    start_lsn: int | None = None
    stop_lsn: int | None = None
    stopped_at: datetime | None = None
    tablespaces: tuple[Tablespace, ...] = ()
    files: tuple[StoredFile, ...] = ()
    plain_bytes: int = 0
    stored_bytes: int = 0
    restored_bytes: int = 0
    rebuilt_bytes: int = 0
    data_checksums: bool | None = None
    page_faults: dict[str, Any] | None = None
    unsound: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    owner: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None

    @property
    def finished(self) -> bool:
        """Whether it was whole when it was taken; what has become of its files since is another question."""
        return self.status == VERIFIED

    @property
    def verified(self) -> bool:
        """Whether it is whole, as the server sent it, as far as anybody has looked."""
        return self.finished and self.unsound is None

    @property
    def usable(self) -> bool:
        """Whether a restore may start from it without being told so; an incremental one needs its chain, too."""
        return self.verified and not self.page_faults

    @property
    def full_bytes(self) -> int:
        """The size of the data directory that a restore from it gives."""
        return self.restored_bytes or self.plain_bytes

    def stored_digest(self, name: str) -> str | None:
        """The digest of one stored file."""
        return next((file.digest for file in self.files if file.name == name), None)

    def facts(self, *, even_unsound: bool = False) -> BackupFacts:
        """What a proof needs to know. Raises :class:`Refused` ``backup-not-verified``.

        ``even_unsound``: of one whose files were found damaged as well, for who asks where it lies in time.
        """
        from ..wal.facts import BackupFacts

        attempted = f"use backup {self.label}"
        if self.finished and self.unsound is not None and not even_unsound:
            raise Refused(
                "backup-not-verified",
                attempted=attempted,
                happened=f"its stored files were found damaged on {self.unsound['at']}: {self.unsound['text']}",
                remedy=f"Choose another backup (dbkeeper info lists them), or bring its files back from a copy and "
                f"verify them: dbkeeper verify {self.label}.",
                details={"label": self.label, "status": self.status, "unsound": self.unsound},
            )
        if not self.finished:
            raise Refused(
                "backup-not-verified",
                attempted=attempted,
                happened=f"its status is {self.status}" + (f": {self.failure}" if self.failure else ""),
                remedy="Choose a verified backup (dbkeeper info lists them), or take one: dbkeeper backup.",
                details={"label": self.label, "status": self.status},
            )
        if self.timeline is None or self.start_lsn is None:
            raise _damaged(self.label, attempted, "it is verified, yet timeline or start LSN is missing")
        if self.stop_lsn is None or self.stopped_at is None:
            raise _damaged(self.label, attempted, "it is verified, yet stop LSN or stop time is missing")
        return BackupFacts(
            label=self.label,
            timeline=self.timeline,
            start_lsn=self.start_lsn,
            stop_lsn=self.stop_lsn,
            stopped_at=self.stopped_at,
            system_id=self.system_id,
            wal_segment_size=self.wal_segment_size,
            major=self.major,
        )

    def changed(self, **values: Any) -> Backup:
        """The same backup with other values."""
        return replace(self, **values)

    def to_dict(self) -> dict[str, Any]:
        """JSON values: LSNs as ``X/Y``, times in UTC, the system identifier as text (it needs 64 bits)."""
        value = asdict(self)
        value["system_id"] = str(self.system_id)
        for name in ("start_lsn", "stop_lsn"):
            value[name] = None if value[name] is None else format_lsn(value[name])
        for name in ("started_at", "stopped_at"):
            value[name] = None if value[name] is None else format_utc(value[name])
        return {
            "format": FORMAT,
            **value,
            "tablespaces": list(value["tablespaces"]),
            "files": list(value["files"]),
        }

    @classmethod
    def from_dict(cls, value: Any, *, label: str) -> Backup:
        """Back from :meth:`to_dict`. Raises :class:`Failed` ``backup-entry-damaged``."""
        attempted = f"read the catalog entry of backup {label}"
        try:
            data = dict(value)
            if data.pop("format") != FORMAT:
                raise _damaged(label, attempted, f"it is not of format {FORMAT}")
            data["system_id"] = int(data["system_id"])
            for name in ("start_lsn", "stop_lsn"):
                data[name] = None if data[name] is None else parse_lsn(data[name])
            for name in ("started_at", "stopped_at"):
                data[name] = None if data[name] is None else parse_utc(data[name])
            data["tablespaces"] = tuple(Tablespace(**item) for item in data["tablespaces"])
            data["files"] = tuple(StoredFile(**item) for item in data["files"])
            backup = cls(**data)
        except (KeyError, TypeError, ValueError, AttributeError, Refused) as error:
            raise _damaged(label, attempted, f"{type(error).__name__}: {error}") from error
        if backup.label != label or backup.status not in STATUSES or backup.kind not in KINDS:
            what = f"it calls itself {backup.label!r}, status {backup.status!r}, kind {backup.kind!r}"
            raise _damaged(label, attempted, what)
        return backup


@dataclass(frozen=True)
class DamagedEntry:
    """A directory under ``base/`` that is no readable backup, and why."""

    label: str
    error: KeeperError


@dataclass(frozen=True)
class Catalog:
    """All backups of a repository, oldest first, and what could not be read."""

    backups: tuple[Backup, ...]
    damaged: tuple[DamagedEntry, ...]

    def usable(self, *, accept_page_faults: bool = False) -> list[Backup]:
        """Those that a restore may start from, oldest first: verified with all of their chain, pages sound.

        ``accept_page_faults``: those with damaged pages (fault B19) as well.
        """
        return [
            backup
            for backup in self.backups
            if backup.verified
            and self.fault(backup) is None
            and (accept_page_faults or not self.page_faults(backup))
        ]

    def chain(self, backup: Backup) -> tuple[Backup, ...]:
        """It and all that it is built on, the full one first. Raises as :func:`.chain.chain` does."""
        return chain(backup, {other.label: other for other in self.backups})

    def fault(self, backup: Backup) -> Refused | None:
        """What is wrong with its chain."""
        try:
            self.chain(backup)
        except Refused as error:
            return error
        return None

    def page_faults(self, backup: Backup) -> dict[str, dict[str, Any]]:
        """Label -> damaged pages, of all links of its chain that have any."""
        return {link.label: link.page_faults for link in self.chain(backup) if link.page_faults}

    def find(self, label: str) -> Backup:
        """The backup of that label. Raises :class:`Refused` ``backup-unknown``, or its entry's error."""
        for backup in self.backups:
            if backup.label == label:
                return backup
        for entry in self.damaged:
            if entry.label == label:
                raise entry.error
        labels = [backup.label for backup in self.usable()]
        raise Refused(
            "backup-unknown",
            attempted=f"find backup {label}",
            happened="no backup of that label in the repository",
            remedy=f"Choose one of: {', '.join(labels)}." if labels else "Take a backup: dbkeeper backup.",
            details={"labels": labels},
        )


def backup_label(moment: datetime, kind: str = "full") -> str:
    """``20261121T031500Z-full``."""
    return f"{label_time(moment)}-{kind}"


def check_label(label: str) -> str:
    """The label, if it can be the name of a directory. Raises :class:`Refused` ``label-malformed``."""
    if not _LABEL.fullmatch(label):
        raise Refused(
            "label-malformed",
            attempted=f"use the label {label!r}",
            happened="a label is 1 to 63 letters, digits, '-', '_', '.', and begins with a letter or a digit",
            remedy="Choose such a label, or leave it out: it is then made from the time.",
        )
    return label


def read_catalog(repository: Repository) -> Catalog:
    """List the backups; damaged entries are listed, not raised. Raises as :meth:`Repository.require`."""
    repository.require("list the backups")
    try:
        found = repository.documents("base")
    except OSError as error:
        raise Failed(
            "repository-unreadable",
            attempted="list the backups",
            happened=f"{repository.base}: {error.strerror}",
            remedy=f"Give the cluster's owner access to {repository.path}, or mend its mount.",
        ) from error
    backups: list[Backup] = []
    damaged: list[DamagedEntry] = []
    for name, item in found.items():
        try:
            backups.append(_entry(repository, check_label(name), item))
        except KeeperError as error:
            # Expired since it was listed: what is gone is not damaged.
            if error.code != "backup-unknown":
                damaged.append(DamagedEntry(name, error))
    backups.sort(key=lambda backup: (backup.started_at, backup.label))
    return Catalog(tuple(backups), tuple(damaged))


def read_backup(repository: Repository, label: str) -> Backup:
    """One entry. Raises :class:`Refused` ``backup-unknown``, :class:`Failed` ``backup-entry-damaged``."""
    item: bytes | OSError
    try:
        item = repository.document("base", check_label(label))
    except OSError as error:
        item = error
    return _entry(repository, label, item)


def _entry(repository: Repository, label: str, item: bytes | OSError) -> Backup:
    """An entry from its text, or from what was met instead of it."""
    attempted = f"read the catalog entry of backup {label}"
    path = f"{repository.backup(label)}/{ENTRY}"
    if isinstance(item, FileNotFoundError):
        if os.path.isdir(repository.backup(label)):
            raise _damaged(label, attempted, f"{path} is not there") from item
        raise Refused(
            "backup-unknown",
            attempted=attempted,
            happened=f"{repository.backup(label)} is not there",
            remedy="Choose a backup that dbkeeper info lists.",
        ) from item
    if isinstance(item, OSError):
        raise _damaged(label, attempted, str(item)) from item
    try:
        value = json.loads(item)
    except ValueError as error:
        raise _damaged(label, attempted, f"{path} is not valid JSON: {error}") from error
    return Backup.from_dict(value, label=label)


def write_backup(repository: Repository, backup: Backup) -> None:
    """Write an entry durably, making its directory. Raises :class:`Failed` ``repository-not-writable``."""
    directory = repository.backup(check_label(backup.label))
    try:
        if not os.path.isdir(directory):
            _begin(repository, backup)
        else:
            write_json(f"{directory}/{ENTRY}", backup.to_dict())
    except OSError as error:
        raise Failed(
            "repository-not-writable",
            attempted=f"write the catalog entry of backup {backup.label}",
            happened=f"{directory}: {error.strerror}",
            remedy=f"Let the cluster's owner write below {repository.path}, and see that it has space.",
        ) from error


def _begin(repository: Repository, backup: Backup) -> None:
    """The directory comes with its entry in it: who lists the backups meanwhile would take it for damaged."""
    made = f"{repository.base}/{TEMPORARY_PREFIX}{backup.label}"
    # Of an earlier try that was killed.
    remove_tree(made, made_by_us=TEMPORARY_PREFIX)
    make_directory(made)
    try:
        write_json(f"{made}/{ENTRY}", backup.to_dict())
        rename_durable(made, repository.backup(backup.label))
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _damaged(label: str, attempted: str, happened: str) -> Failed:
    return Failed(
        "backup-entry-damaged",
        attempted=attempted,
        happened=happened,
        remedy="Bring its directory back from a copy, or move it out of base/ and take a new backup.",
        details={"label": label},
    )
