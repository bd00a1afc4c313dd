# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The shelf of logical dumps: ``dump/<database, percent-encoded>/<label>/dump.json`` and the files beside it.

As with base backups an entry is written before its dump starts, so that a dump that was killed is known as such and
never taken for a good one. The order of dumps is their ``sequence``, never a clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ..core.clock import format_utc, parse_utc
from ..core.errors import Failed, KeeperError, Refused
from ..core.files import TEMPORARY_PREFIX, fsync_directory, make_directory, write_json
from .catalog import FAILED, RUNNING, STATUSES, VERIFIED, check_label
from .layout import Repository
from .selection import FORMATS, Selection

FORMAT = 1
DUMP_ENTRY = "dump.json"
GLOBALS = "globals.sql"
#: Below a dump's directory: what is still being written.
DUMP_INCOMING = ".incoming"
#: Names of the file or directory that is the dump, without what the compression adds.
DATA_NAMES = {"custom": "dump.custom", "directory": "dump.directory", "plain": "dump.sql"}
_LONGEST_NAME = 255


@dataclass(frozen=True)
class DumpFile:
    """A file of the dump, its path below the dump's directory; ``digest`` is SHA-256 in hex of the stored bytes."""

    name: str
    stored_bytes: int
    digest: str


@dataclass(frozen=True)
class Dump:
    """One logical dump. Facts that are known only at its end are empty while it is ``running``.

    ``series`` is its name in the cluster's description (or its kind), and tells apart what has generations of its own;
    ``sequence`` counts the dumps of a database in the order in which they were begun. ``data`` is the file or
    directory that pg_restore or psql takes, below the dump's directory; ``globals`` says whether roles and
    tablespaces are beside it. ``contents`` counts the entries that ``pg_restore --list`` names (plain: statements that
    copy rows). ``rows``: for each table ``schema.table`` (quoted as the server does) ``rows`` and, where they were
    digested, ``digest``, both of the very snapshot that was dumped; ``lsn`` is where WAL was then. ``owner`` made it.
    ``unsound``: what a later verification found wrong with its files (``code``, ``text``, ``at``).
    """

    database: str
    label: str
    series: str
    sequence: int
    status: str
    started_at: datetime
    format: str
    selection: Selection
    compression: str = "none"
    jobs: int = 1
    globals: bool = False
    pinned: bool = False
    stopped_at: datetime | None = None
    system_id: int = 0
    major: int = 0
    version: str = ""
    encoding: str = ""
    lsn: str | None = None
    data: str = ""
    files: tuple[DumpFile, ...] = ()
    stored_bytes: int = 0
    database_bytes: int = 0
    contents: int = 0
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    owner: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None
    unsound: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """What names it in leases, pins and texts: ``dump/<database, percent-encoded>/<label>``."""
        return f"dump/{encode_name(self.database)}/{self.label}"

    @property
    def finished(self) -> bool:
        """Whether it was whole when it was taken."""
        return self.status == VERIFIED

    @property
    def verified(self) -> bool:
        """Whether it is whole and was listed back, as far as anybody has looked since."""
        return self.finished and self.unsound is None

    @property
    def kind(self) -> str:
        """``dump`` or ``schema``."""
        return self.selection.kind

    @property
    def ended_at(self) -> datetime:
        """When it ended, or began where it has not."""
        return self.stopped_at or self.started_at

    def directory(self, repository: Repository) -> str:
        """Where it lies."""
        return f"{repository.path}/{self.key}"

    def path(self, repository: Repository) -> str:
        """What pg_restore takes (plain: the text, compressed as its name says)."""
        return f"{self.directory(repository)}/{self.data}"

    def changed(self, **values: Any) -> Dump:
        """The same dump with other values."""
        return replace(self, **values)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        value = asdict(self)
        value["system_id"] = str(self.system_id)
        value["started_at"] = format_utc(self.started_at)
        value["stopped_at"] = format_utc(self.stopped_at) if self.stopped_at else None
        value["selection"] = {
            name: list(item) if isinstance(item, tuple) else item for name, item in value["selection"].items()
        }
        value["files"], value["warnings"] = list(value["files"]), list(self.warnings)
        return {"format_version": FORMAT, **value}

    def summary(self) -> dict[str, Any]:
        """For people and lists: without what only a load needs; ``rows`` are ``tables``, ``rows`` in all, and of
        how many tables they were ``digested``."""
        entry = {
            name: item for name, item in self.to_dict().items() if name not in ("files", "format_version")
        }
        counted = sum(int(item["rows"]) for item in self.rows.values())
        digested = sum(1 for item in self.rows.values() if item.get("digest"))
        rows = {"tables": len(self.rows), "rows": counted, "digested": digested}
        return {"key": self.key, **entry, "rows": rows}

    @classmethod
    def from_dict(cls, value: Any, *, key: str) -> Dump:
        """Back from :meth:`to_dict`. Raises :class:`Failed` ``dump-entry-damaged``."""
        try:
            data = dict(value)
            if data.pop("format_version") != FORMAT:
                raise _damaged(key, f"it is not of format {FORMAT}")
            data["system_id"] = int(data["system_id"])
            data["started_at"] = parse_utc(data["started_at"])
            data["stopped_at"] = parse_utc(data["stopped_at"]) if data["stopped_at"] else None
            data["selection"] = _selection(data["selection"])
            data["files"] = tuple(DumpFile(**item) for item in data["files"])
            data["warnings"] = tuple(data["warnings"])
            dump = cls(**data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(key, f"{type(error).__name__}: {error}") from error
        if dump.key != key or dump.status not in STATUSES or dump.format not in FORMATS:
            raise _damaged(
                key, f"it calls itself {dump.key!r}, status {dump.status!r}, format {dump.format!r}"
            )
        return dump


@dataclass(frozen=True)
class DamagedDump:
    """A directory that is no readable dump, and why."""

    key: str
    error: KeeperError


@dataclass(frozen=True)
class Shelf:
    """All dumps, by database and in the order in which they were begun, and what could not be read."""

    dumps: tuple[Dump, ...]
    damaged: tuple[DamagedDump, ...] = ()

    def of(self, database: str) -> list[Dump]:
        """Those of one database, oldest first."""
        return [one for one in self.dumps if one.database == database]

    def find(self, name: str, database: str | None = None) -> Dump:
        """By key, or by label where only one has it. Raises :class:`Refused` ``dump-unknown``, or the entry's error."""
        found = [
            one for one in self.dumps if name in (one.key, one.label) and database in (None, one.database)
        ]
        if len(found) == 1:
            return found[0]
        for entry in self.damaged:
            if entry.key == name or entry.key.endswith(f"/{name}"):
                raise entry.error
        known = [one.key for one in found or self.dumps if one.verified][-5:]
        raise Refused(
            "dump-unknown",
            attempted=f"find dump {name}",
            happened=f"{len(found)} dumps are called so" if found else "no dump is called so",
            remedy=f"Choose one: {', '.join(known)}." if known else "Take one: dbkeeper dump.",
            details={"known": known},
        )


def encode_name(name: str) -> str:
    """A database's name as the name of a directory: UTF-8, percent-encoded, never hidden.

    Raises :class:`Refused` ``database-name-unfit``: PostgreSQL's 63 bytes fit in 189, those of a build that allows
    more may not.
    """
    encoded = quote(name, safe="")
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if not encoded or len(encoded) > _LONGEST_NAME or "\0" in name:
        raise Refused(
            "database-name-unfit",
            attempted=f"use the database name {name!r}",
            happened="it is empty, or too long for the name of a directory once it is percent-encoded",
            remedy="Name a database that is there: psql -l.",
        )
    return encoded


def read_shelf(repository: Repository) -> Shelf:
    """All dumps; damaged entries are listed, not raised. Raises as :meth:`Repository.require`."""
    repository.require("list the dumps")
    dumps: list[Dump] = []
    damaged: list[DamagedDump] = []
    for key, text in repository.dump_texts():
        try:
            dumps.append(_parsed(key, text))
        except KeeperError as error:
            damaged.append(DamagedDump(key, error))
    dumps.sort(key=lambda one: (one.database, one.sequence, one.started_at, one.label))
    return Shelf(tuple(dumps), tuple(damaged))


def read_dump_entry(repository: Repository, database: str, label: str) -> Dump:
    """One entry. Raises :class:`Failed` ``dump-entry-damaged``."""
    key = f"dump/{encode_name(database)}/{check_label(label)}"
    if repository.elsewhere:
        text = next((text for known, text in repository.dump_texts() if known == key), None)
        return _parsed(key, text if text is not None else OSError(2, "it is not there"))
    return _parsed(key, _text_of(repository, key))


def entry_texts(repository: Repository) -> Iterator[tuple[str, bytes | OSError]]:
    """Of each dump that was begun its key and the text of its entry, or why that cannot be read."""
    root = f"{repository.path}/dump"
    for encoded in _names(root):
        for label in _names(f"{root}/{encoded}"):
            key, directory = f"dump/{encoded}/{label}", f"{root}/{encoded}/{label}"
            text = _text_of(repository, key)
            if isinstance(text, FileNotFoundError):
                if _never_begun(directory) or not os.path.isdir(directory):
                    continue
                # Again: it may have been written since it was missed. One that is not there now is lost.
                text = _text_of(repository, key)
            yield key, text


def _text_of(repository: Repository, key: str) -> bytes | OSError:
    try:
        with open(f"{repository.path}/{key}/{DUMP_ENTRY}", "rb") as handle:
            return handle.read()
    except OSError as error:
        return error


def _parsed(key: str, text: bytes | OSError) -> Dump:
    if isinstance(text, OSError):
        raise _damaged(key, str(text)) from text
    try:
        return Dump.from_dict(json.loads(text), key=key)
    except ValueError as error:
        raise _damaged(key, str(error)) from error


def write_dump_entry(repository: Repository, dump: Dump) -> None:
    """Write an entry durably, making its directory. Raises :class:`Failed` ``repository-not-writable``."""
    directory = dump.directory(repository)
    check_label(dump.label)
    try:
        make_directory(directory)
        write_json(f"{directory}/{DUMP_ENTRY}", dump.to_dict())
    except OSError as error:
        raise Failed(
            "repository-not-writable",
            attempted=f"write the entry of {dump.key}",
            happened=f"{directory}: {error.strerror}",
            remedy=f"Let the cluster's owner write below {repository.path}, and see that it has space.",
        ) from error


def remove_dump_data(directory: str) -> None:
    """Everything of a dump but its entry; names that we do not make stay."""
    ours = (DUMP_INCOMING, GLOBALS, *DATA_NAMES.values())
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(directory)):
            if name not in ours and not name.startswith(f"{DATA_NAMES['plain']}."):
                continue
            path = f"{directory}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        fsync_directory(directory)


def unfinished(shelf: Shelf, alive: frozenset[str]) -> list[Dump]:
    """Those whose makers have died, and failed ones: their data is worth nothing. ``alive``: keys."""
    return [one for one in shelf.dumps if one.status in (RUNNING, FAILED) and one.key not in alive]


def never_begun(repository: Repository) -> list[str]:
    """Directories that somebody was killed in before a dump's entry was there: nobody's, and nothing is in them."""
    root = f"{repository.path}/dump"
    return [
        f"{root}/{encoded}/{label}"
        for encoded in _names(root)
        for label in _names(f"{root}/{encoded}")
        if _never_begun(f"{root}/{encoded}/{label}")
    ]


def clear_never_begun(repository: Repository) -> None:
    """Remove them. For who holds the lock ``dump`` only: a dump that is just beginning looks like one of them."""
    for directory in never_begun(repository):
        shutil.rmtree(directory)
        fsync_directory(os.path.dirname(directory))


def _never_begun(directory: str) -> bool:
    """Killed, or out of space, before the entry was there: nothing was written either."""
    try:
        return all(name.startswith(TEMPORARY_PREFIX) for name in os.listdir(directory))
    except OSError:
        return False


def _selection(value: dict[str, Any]) -> Selection:
    given: dict[str, Any] = {
        name: tuple(item) if isinstance(item, list) else item for name, item in value.items()
    }
    return Selection(**given)


def _names(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Failed(
            "repository-unreadable",
            attempted="list the dumps",
            happened=f"{directory}: {error.strerror}",
            remedy="Give the cluster's owner access to the repository, or mend its mount.",
        ) from error
    return [name for name in names if not name.startswith(".") and os.path.isdir(f"{directory}/{name}")]


def _damaged(key: str, happened: str) -> Failed:
    return Failed(
        "dump-entry-damaged",
        attempted=f"read the entry of {key}",
        happened=happened,
        remedy="Bring its directory back from a copy, or move it out of dump/ and take a new dump.",
        details={"key": key},
    )


_UNSAFE = re.compile(r"[^0-9A-Za-z_.-]")


def label_suffix(series: str) -> str:
    """A series as the end of a label."""
    return _UNSAFE.sub("-", series)[:40] or "dump"
