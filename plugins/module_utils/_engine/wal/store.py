# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The index on disk: one line of JSON for each change, appended; the last line about a name counts.

It is a cache of what the archive says. A torn line, a lost file or a stale entry costs time, never truth:
each entry carries the signature of the stored file that it was read from.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from typing import Any

from ..core.files import fsync_directory, fsync_file, make_directory, write_durable
from .entry import Entry, entry_from_json
from .identity import ArchiveFacts

# 3: digests may be of packed bytes. Who knows 2 only takes this one for none, and reads the archive anew; so do we.
_FORMAT = 3
_TAIL_BYTES = 1 << 16


class Store:
    """The file of one index; entries are kept in memory as long as the file stays the same."""

    def __init__(self, path: str, facts: ArchiveFacts) -> None:
        self.path = path
        self.facts = facts
        self._head = {
            "format": _FORMAT,
            "system_id": str(facts.system_id),
            "wal_segment_size": facts.segment_bytes,
            "major": facts.major,
        }
        self._lines = 0
        self._loaded: tuple[tuple[int, int, int], dict[str, Entry]] | None = None

    def load(self) -> dict[str, Entry]:
        """All entries by name; none when the file is missing or of another archive."""
        stamp = self._stamp()
        if stamp is None:
            return {}
        if self._loaded and self._loaded[0] == stamp:
            return dict(self._loaded[1])
        with open(self.path, "rb") as handle:
            lines = handle.read().splitlines()
        records = _parse(lines)
        self._lines = len(lines)
        entries: dict[str, Entry] = {}
        if records and records[0] == self._head:
            for record in records[1:]:
                _apply(record, entries)
        self._loaded = (stamp, entries)
        return dict(entries)

    def find(self, name: str) -> Entry | None:
        """The newest entry of a name if it is among the last ones written: cheap at any size of the index."""
        with contextlib.suppress(FileNotFoundError), open(self.path, "rb") as handle:
            handle.seek(max(0, os.fstat(handle.fileno()).st_size - _TAIL_BYTES))
            mark = json.dumps(name).encode()
            for line in reversed(handle.read().splitlines()):
                if mark in line:
                    entries: dict[str, Entry] = {}
                    for record in _parse([line]):
                        _apply(record, entries)
                    return entries.get(name)
        return None

    def append(self, entries: Iterable[Entry], gone: Iterable[str] = ()) -> None:
        """Add changes; not yet durable."""
        records: list[dict[str, Any]] = [{"gone": name} for name in gone]
        records += [entry.to_json() for entry in entries]
        if not records:
            return
        make_directory(os.path.dirname(self.path))
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(descriptor).st_size
            if size == 0:
                records.insert(0, self._head)
            text = "".join(_line(record) for record in records)
            # A line torn by a crash must not swallow the next one.
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                text = "\n" + text
            data = text.encode()
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)
        self._lines += len(records)

    def settle(self, entries: dict[str, Entry]) -> None:
        """Make the file durable, and write it anew when most of its lines are out of date."""
        if self._stamp() is None:
            return
        if self._lines > 2 * len(entries) + 1000:
            self.replace(entries)
            return
        fsync_file(self.path)
        fsync_directory(os.path.dirname(self.path))

    def replace(self, entries: dict[str, Entry]) -> None:
        """Write the whole index anew."""
        make_directory(os.path.dirname(self.path))
        records = [self._head, *(entry.to_json() for entry in entries.values())]
        write_durable(self.path, "".join(map(_line, records)).encode())
        self._lines = len(records)
        self._loaded = None

    def is_of(self, facts: ArchiveFacts) -> bool:
        """Whether this store was opened for these facts."""
        return self.facts == facts

    def is_ours(self) -> bool:
        """Whether the file can be appended to: it is missing, or of this archive and format."""
        try:
            with open(self.path, "rb") as handle:
                head = handle.readline()
        except FileNotFoundError:
            return True
        return _parse([head]) == [self._head]

    @staticmethod
    def facts_in(path: str) -> ArchiveFacts | None:
        """What the head of an index says of its archive, None when there is no index of this format."""
        with contextlib.suppress(FileNotFoundError, KeyError, ValueError, TypeError, IndexError):
            with open(path, "rb") as handle:
                head = _parse([handle.readline()])[0]
            if head["format"] == _FORMAT:
                return ArchiveFacts(int(head["system_id"]), int(head["wal_segment_size"]), int(head["major"]))
        return None

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"


def _parse(lines: list[bytes]) -> list[dict[str, Any]]:
    try:
        found = json.loads(b"[" + b",".join(line for line in lines if line) + b"]")
    except ValueError:
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return [record for record in found if isinstance(record, dict)]


def _apply(record: dict[str, Any], entries: dict[str, Entry]) -> None:
    if "gone" in record:
        entries.pop(record["gone"], None)
        return
    # A line that is JSON but no entry is torn all the same.
    with contextlib.suppress(TypeError, KeyError, ValueError):
        entry = entry_from_json(record)
        entries[entry.name] = entry
