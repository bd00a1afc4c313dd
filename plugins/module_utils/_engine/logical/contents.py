# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The table of contents of a dump, and what is chosen from it.

It is read from the archive itself, because the text of ``pg_restore --list`` leaves out what a choice needs: which
entry depends on which, and where a name with blanks or newlines in it ends. Source: ``ReadHead``, ``ReadToc`` of
PostgreSQL's pg_backup_archiver.c, archive versions 1.14 (14, 15), 1.15 (16) and 1.16 (17, 18).
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ..core.errors import Failed
from .rows import LARGE_OBJECTS, table_key

MAGIC = b"PGDMP"
_OLDEST, _ALGORITHM, _RELKIND, _NEWEST = (1, 14), (1, 15), (1, 16), (1, 16)
_CUSTOM, _DIRECTORY, _TAR = 1, 5, 3
_RELATIONS = ("TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE")
#: What belongs to a table and comes with it.
_PARTS = (
    *("TABLE DATA", "INDEX", "CONSTRAINT", "CHECK CONSTRAINT", "DEFAULT", "TRIGGER", "RULE", "POLICY"),
    *("ROW SECURITY", "ACL", "COMMENT", "SECURITY LABEL", "SEQUENCE", "SEQUENCE SET", "SEQUENCE OWNED BY"),
    *("STATISTICS", "STATISTICS DATA", "MATERIALIZED VIEW DATA"),
)
#: What ties relations together: comes with the last of them.
_TIES = ("TABLE ATTACH", "INDEX ATTACH")
_PROPERTIES = ("ACL", "COMMENT", "SECURITY LABEL", "STATISTICS DATA")


@dataclass(frozen=True)
class Entry:
    """One thing in a dump. ``kind`` is PostgreSQL's word (``TABLE``, ``FK CONSTRAINT``, ...); ``definition`` its SQL,
    ``removal`` that which drops it, and so names it in full."""

    number: int
    kind: str
    schema: str
    name: str
    owner: str
    definition: str
    removal: str
    needs: frozenset[int]
    tablespace: str = ""

    @property
    def words(self) -> str:
        """As filters see it: ``TRIGGER public orders audit``."""
        return f"{self.kind} {self.schema or '-'} {self.name}"


@dataclass(frozen=True)
class Contents:
    """All entries of an archive, in its order."""

    entries: tuple[Entry, ...]

    def of(self, kind: str) -> list[Entry]:
        """Entries of one kind."""
        return [entry for entry in self.entries if entry.kind == kind]

    def choose(
        self, schemas: Sequence[str] = (), tables: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> list[Entry]:
        """Entries of whole schemas, or of tables (by :func:`~.rows.table_key`) with all that belongs to them.

        Partitions come with their table, sequences with the columns that own them; a foreign key comes with the table
        that has it. ``exclude``: shell patterns of :attr:`Entry.words`.
        """
        chosen = {entry.number for entry in self.entries}
        if schemas or tables:
            chosen = self._in_schemas(set(schemas)) | self._of_tables(set(tables))
        return [
            entry
            for entry in self.entries
            if entry.number in chosen
            and not any(fnmatch.fnmatchcase(entry.words, pattern) for pattern in exclude)
        ]

    def _in_schemas(self, schemas: set[str]) -> set[int]:
        chosen = {
            entry.number
            for entry in self.entries
            if entry.schema in schemas or (entry.kind == "SCHEMA" and entry.name in schemas)
        }
        return self._grow(chosen, _PROPERTIES)

    def _of_tables(self, keys: set[str]) -> set[int]:
        chosen = {
            entry.number
            for entry in self.entries
            if entry.kind in _RELATIONS and table_key(entry.schema, entry.name) in keys
        }
        by_number = {entry.number: entry for entry in self.entries}
        relations = {entry.number for entry in self.entries if entry.kind in _RELATIONS}
        for _round in self.entries:
            before = len(chosen)
            for entry in self.entries:
                others = entry.needs & relations
                if entry.kind == "SEQUENCE OWNED BY" and others & chosen:
                    # Its need is the sequence or the table: both belong together.
                    chosen |= others
                if entry.kind == "TABLE ATTACH" and any(
                    by_number[number].name != entry.name and number in chosen for number in others
                ):
                    chosen |= others
            chosen = self._grow(chosen, _PARTS)
            if len(chosen) == before:
                break
        owned = {(by_number[number].schema, by_number[number].name) for number in chosen & relations}
        for entry in self.entries:
            keys_of = any(
                entry.schema == schema and entry.name.startswith(f"{name} ") for schema, name in owned
            )
            whole = entry.kind in _TIES and bool(entry.needs) and entry.needs & set(by_number) <= chosen
            if whole or (entry.kind == "FK CONSTRAINT" and keys_of and entry.needs & chosen):
                chosen.add(entry.number)
        return chosen

    def _grow(self, chosen: set[int], kinds: Iterable[str]) -> set[int]:
        """With everything of these kinds that needs what is chosen, and so on."""
        wanted, found = set(kinds), set(chosen)
        while True:
            more = {
                entry.number
                for entry in self.entries
                if entry.number not in found and entry.kind in wanted and entry.needs & found
            }
            if not more:
                return found
            found |= more


def tables_with_rows(entries: Iterable[Entry]) -> list[str]:
    """Whose rows are in these entries, by key; large objects as one table."""
    keys = [table_key(entry.schema, entry.name) for entry in entries if entry.kind == "TABLE DATA"]
    # One entry for all of them up to 16; from 17 on as many as there are groups of a thousand.
    large = any(entry.kind in ("BLOBS", "BLOB DATA", "BLOB", "BLOB METADATA") for entry in entries)
    return [*keys, *([LARGE_OBJECTS] if large else [])]


def read_contents(path: str) -> Contents:
    """Of a custom or directory archive. Raises :class:`Failed` ``dump-contents-unreadable``."""
    file = os.path.join(path, "toc.dat") if os.path.isdir(path) else path
    try:
        with open(file, "rb") as handle:
            return _Archive(handle.read()).contents() if os.path.isdir(path) else _from_custom(handle)
    except (OSError, ValueError, IndexError) as error:
        raise Failed(
            "dump-contents-unreadable",
            attempted=f"read the table of contents of {path}",
            happened=str(error),
            remedy="See what pg_restore --list says of it; take another dump or a copy of this one.",
            details={"path": path},
        ) from error


def _from_custom(handle: BinaryIO) -> Contents:
    """The contents stand at its beginning; more is read until they are whole."""
    data, size = b"", 1 << 20
    while True:
        block = handle.read(size)
        data += block
        try:
            return _Archive(data).contents()
        except IndexError:
            if not block:
                raise ValueError("it ends in the middle of its table of contents") from None
        size *= 2


class _Archive:
    """Reads numbers and texts as pg_dump writes them. IndexError: the bytes end; ValueError: nonsense."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def contents(self) -> Contents:
        if self._bytes(5) != MAGIC:
            raise ValueError("it is no archive of pg_dump")
        version = (self._byte(), self._byte())
        self._byte()
        if not _OLDEST <= version <= _NEWEST:
            raise ValueError(f"its format {version[0]}.{version[1]} is not known here")
        self._int_size, self._offset_size, kind = self._byte(), self._byte(), self._byte()
        if version >= _ALGORITHM:
            self._byte()
        else:
            self._int()
        for _part in range(7):
            self._int()
        for _name in ("database", "server", "pg_dump"):
            self._text()
        return Contents(tuple(self._entry(version, kind) for _number in range(self._int())))

    def _entry(self, version: tuple[int, int], kind: int) -> Entry:
        number = self._int()
        self._int()
        self._text()
        self._text()
        name, what = self._text(), self._text()
        self._int()
        definition, removal = self._text(), self._text()
        self._text()
        schema, tablespace = self._text(), self._text()
        self._text()
        if version >= _RELKIND:
            self._int()
        owner = self._text()
        self._text()
        needs = set()
        while (one := self._text_or_none()) is not None:
            needs.add(int(one))
        if kind == _CUSTOM:
            self._bytes(1 + self._offset_size)
        elif kind in (_DIRECTORY, _TAR):
            self._text()
        else:
            raise ValueError(f"an archive of kind {kind} is not known here")
        return Entry(number, what, schema, name, owner, definition, removal, frozenset(needs), tablespace)

    def _bytes(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise IndexError("the table of contents ends too early")
        self._at += count
        return found

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _int(self) -> int:
        sign = self._byte()
        value = int.from_bytes(self._bytes(self._int_size), "little")
        return -value if sign else value

    def _text_or_none(self) -> str | None:
        length = self._int()
        return None if length < 0 else self._bytes(length).decode("utf-8", "surrogateescape")

    def _text(self) -> str:
        return self._text_or_none() or ""
