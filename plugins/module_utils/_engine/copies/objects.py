# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What of a repository is copied, in which groups and in which order.

A group is what belongs together: a base backup, a dump, some hundred segments. Within one, what makes it count
(backup.json, dump.json) comes last; WAL comes before the backups that need it. So a copy that was cut off has more
than is listed, never something listed and broken.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import Failed, KeeperError
from ..repository.catalog import ENTRY, Backup, read_backup, read_catalog
from ..repository.dumps import DUMP_ENTRY, read_shelf
from ..repository.evidence import is_verification
from ..repository.layout import Repository

WAL = "wal"
BASE = "base"
DUMP = "dump"
PAPERS = "papers"
#: Directories of small documents that are copied as they are.
_PAPERS = ("evidence", "timelines", "rescue")
#: So many leading digits of a segment's name make a group: 256 segments (4 GB with the usual 16 MB).
_GROUP_DIGITS = 16
_VERIFIED = "verified"


@dataclass(frozen=True)
class Item:
    """A file of the repository. ``key``: its path in there. ``digest``: SHA-256 where an entry tells it.

    ``mutable``: a newer version replaces the one in the copy; everything else is written once and for ever.
    """

    key: str
    path: str
    bytes: int
    signature: str
    modified_at: float
    digest: str | None = None
    mutable: bool = False


@dataclass(frozen=True)
class Group:
    """``name`` is that of its sheet in the copy; ``facts`` is what the copy's own retention needs to know."""

    name: str
    kind: str
    items: tuple[Item, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(item.bytes for item in self.items)


@dataclass(frozen=True)
class Inventory:
    """``groups`` in the order in which they are copied; ``damaged``: what should be among them and cannot be, each as
    ``copy-source-damaged``."""

    groups: list[Group]
    damaged: tuple[KeeperError, ...] = ()


def inventory(repository: Repository) -> Inventory:
    """Everything finished. What is damaged keeps nothing else from being copied, and is never left out in silence.

    Raises as :func:`read_catalog` does, and :class:`Failed` ``repository-unreadable``.
    """
    # The catalog first: the WAL that its backups need is there then, and is listed afterwards.
    catalog = read_catalog(repository)
    groups: list[Group] = []
    suspects = {one.label: one.error.happened for one in catalog.damaged}
    try:
        for backup in catalog.backups:
            fault = catalog.fault(backup) if backup.verified else None
            if fault is not None:
                suspects[backup.label] = fault.happened
            elif backup.verified:
                try:
                    groups.append(_base(repository, backup))
                except FileNotFoundError as error:
                    suspects[backup.label] = f"{error.filename} is not there"
        groups += _dumps(repository.path)
        groups = [*_wal(repository), *groups, *_papers(repository.path)]
    except OSError as error:
        raise Failed(
            "repository-unreadable",
            attempted="list what is to be copied",
            happened=f"{error.filename or repository.path}: {error.strerror}",
            remedy=f"Give the cluster's owner access to {repository.path}, or mend its mount.",
        ) from error
    damaged = [
        source_damaged(f"base/{label}", repository.backup(label), happened)
        for label, happened in suspects.items()
        if _is_damaged(repository, label)
    ]
    for dump in read_shelf(repository).damaged:
        damaged.append(source_damaged(dump.key, f"{repository.path}/{dump.key}", dump.error.happened))
    return Inventory(groups, tuple(damaged))


def wal_group(key: str) -> str:
    """The group of an archived file: by its timeline and the upper part of its number."""
    directory, _slash, name = key.rpartition("/")
    if directory.count("/") < 2:
        return f"{directory}/histories"
    return f"{directory}/{name[:_GROUP_DIGITS]}"


def source_damaged(key: str, path: str, happened: str) -> KeeperError:
    """What the repository has of it is not what it should be."""
    return Failed(
        "copy-source-damaged",
        attempted=f"copy {key}",
        happened=happened,
        remedy="The repository's own file is damaged: it was not copied over a good one. Bring it back from a copy "
        "that has it (dbkeeper copy --list), or take a new backup.",
        details={"key": key, "path": path},
    )


def _is_damaged(repository: Repository, label: str) -> bool:
    """Whether it still is: what has been expired since it was looked at, or is only being written, is not."""
    try:
        return read_backup(repository, label).verified
    except KeeperError as error:
        # What has no label's name was never a backup.
        return error.code not in ("backup-unknown", "label-malformed")


def _base(repository: Repository, backup: Backup) -> Group:
    directory = f"base/{backup.label}"
    items = [_item(repository.path, f"{directory}/{file.name}", digest=file.digest) for file in backup.files]
    items.append(_item(repository.path, f"{directory}/{ENTRY}", mutable=True))
    facts = {**backup.to_dict(), "owner": {}, "settings": {}}
    return Group(directory, BASE, tuple(items), facts)


def _dumps(root: str) -> Iterator[Group]:
    for database in _visible(f"{root}/dump"):
        for label in _visible(f"{root}/dump/{database}"):
            directory = f"dump/{database}/{label}"
            try:
                with open(f"{root}/{directory}/{DUMP_ENTRY}", "rb") as handle:
                    entry = json.loads(handle.read())
            except (FileNotFoundError, NotADirectoryError, ValueError):
                # Not finished, or damaged: nothing that a copy should have.
                continue
            if not isinstance(entry, dict) or entry.get("status") != _VERIFIED:
                continue
            keys = sorted(_below(root, directory))
            try:
                items = [_item(root, key) for key in keys if key != f"{directory}/{DUMP_ENTRY}"]
                items.append(_item(root, f"{directory}/{DUMP_ENTRY}", mutable=True))
            except FileNotFoundError:
                # Expired since its entry was read.
                continue
            yield Group(directory, DUMP, tuple(items), {**entry, "rows": {}, "owner": {}})


def _wal(repository: Repository) -> Iterator[Group]:
    groups: dict[str, list[Item]] = {}
    for system_id in repository.system_ids():
        archive = f"wal/{system_id}"
        for name in _visible(f"{repository.path}/{archive}"):
            if name.endswith(".history"):
                _gather(groups, repository.path, f"{archive}/{name}")
            elif len(name) == 8 and os.path.isdir(f"{repository.path}/{archive}/{name}"):
                for segment in _visible(f"{repository.path}/{archive}/{name}"):
                    _gather(groups, repository.path, f"{archive}/{name}/{segment}")
    for name in sorted(groups):
        items = tuple(groups[name])
        yield Group(name, WAL, items, {"histories": _histories(items)} if name.endswith("/histories") else {})


def _histories(items: tuple[Item, ...]) -> dict[str, str]:
    """File name -> text: the copy's retention asks them, also where the copy is encrypted."""
    found = {}
    for item in items:
        # Expired since it was listed: its timeline has nothing else here any more.
        with (
            contextlib.suppress(FileNotFoundError),
            open(item.path, encoding="utf-8", errors="replace") as handle,
        ):
            found[item.key.rpartition("/")[2]] = handle.read()
    return found


def _gather(groups: dict[str, list[Item]], root: str, key: str) -> None:
    try:
        item = _item(root, key)
    except FileNotFoundError:
        # Expired while we looked: gone is gone.
        return
    groups.setdefault(wal_group(key), []).append(item)


def _papers(root: str) -> Iterator[Group]:
    for directory in _PAPERS:
        keys = [key for key in sorted(_below(root, directory)) if not _is_of_here(key)]
        items = tuple(item for key in keys if (item := _paper(root, key)) is not None)
        if items:
            yield Group(f"papers/{directory}", PAPERS, items)


def _paper(root: str, key: str) -> Item | None:
    """None where it is not there any more."""
    try:
        return _item(root, key, mutable=True)
    except FileNotFoundError:
        return None


def _is_of_here(key: str) -> bool:
    directory, _slash, name = key.partition("/")
    return directory == "evidence" and is_verification(name.removesuffix(".json"))


def _below(root: str, directory: str) -> Iterator[str]:
    for name in _visible(f"{root}/{directory}"):
        key = posixpath.join(directory, name)
        if os.path.isdir(f"{root}/{key}") and not os.path.islink(f"{root}/{key}"):
            yield from _below(root, key)
        else:
            yield key


def _visible(path: str) -> list[str]:
    """Names without temporary ones; none where the directory is not there."""
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _item(root: str, key: str, *, digest: str | None = None, mutable: bool = False) -> Item:
    status = os.stat(f"{root}/{key}")
    signature = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"
    # Under its final name since the later of the two: a file is written first and linked or renamed then.
    finished = max(status.st_mtime, status.st_ctime)
    return Item(key, f"{root}/{key}", status.st_size, signature, finished, digest, mutable)
