# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The WAL index: what each archived segment holds, kept up as segments arrive and rebuilt when lost.

Only what is new, changed or not yet joined to its neighbour is read, so a proof over thousands of segments
takes the time of listing them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from time import monotonic
from typing import Optional

from ..core.errors import KeeperError, Refused
from ..core.files import digest as file_digest
from ..core.locks import locked
from .archive import Archive, Branches, partial_names, predecessors, read_timelines
from .content import kind_of
from .entry import Entry
from .history import Timelines
from .identity import ArchiveFacts, facts_of_file, identify
from .reader import Reader
from .scratch import workspace
from .segment import SIZES_BYTES, Segment, is_segment_name, next_segment, parse_segment, segment_name
from .source import StoredWal, WalSource
from .store import Store
from .waldump import WalDump

_BATCH_SEGMENTS = 32
_BATCH_BYTES = 512 << 20
_PATIENCE_SECONDS = 900.0

Work = list[tuple[Segment, StoredWal]]
Reason = tuple[str, str, Optional[str]]


class WalIndex:
    """The index of the archive of one system identifier.

    ``directory`` holds the index file, its lock and, while reading, plain segments (64 MB or one, and what comes
    before them, twice). It carries the system identifier as its name.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._path = os.path.join(directory, "index.jsonl")
        self._store: Store | None = None

    def refresh(
        self,
        source: WalSource,
        bin_directory: str,
        *,
        facts: ArchiveFacts | None = None,
        progress: Callable[[int, int], None] | None = None,
        anew: bool = False,
    ) -> Archive:
        """Bring the index up to what the archive holds, and tell it.

        ``facts`` come from a backup; without one they are read from the archive. ``progress`` is called with
        bytes done and bytes in all, both plain. ``anew`` reads everything again. Raises :class:`Refused`
        (``busy``) when another process is still at it after 15 minutes, (``version-mismatch``, A16) when
        pg_waldump is of another major, (``segment-unreadable``) when neither ``facts`` nor an index nor any of its
        segments tell whose archive it is, and :class:`Failed` when pg_waldump cannot be run.
        """
        begun = monotonic()
        attempted = "bring the WAL index up to date"
        with locked(self._lock_path, "index refresh", attempted=attempted, patience=_PATIENCE_SECONDS):
            facts = facts or self._facts(source)
            if facts is None:
                return Archive({}, Timelines({}), SIZES_BYTES[4], report=_report({}, 0, 0, begun))
            size = facts.segment_bytes
            store = self._open(facts)
            if anew or not store.is_ours():
                store.replace({})
            files, doubles = _listing(source, size)
            seen = frozenset(int(name[:8], 16) for name in files if is_segment_name(name))
            timelines = read_timelines(source, files, seen)
            segments = {name: stored for name, stored in files.items() if is_segment_name(name)}
            entries = store.load()
            gone = [name for name in entries if name not in segments]
            for name in gone:
                del entries[name]
            twice = [_double(name, doubles[name]) for name in doubles]
            changed = [entry for entry in twice if entries.get(entry.name) != entry]
            store.append(changed, gone)
            entries.update((entry.name, entry) for entry in changed)
            for name in doubles:
                segments.pop(name, None)
            count = 0
            tried: set[Reason] = set()
            while True:
                # What is read may let a neighbour be joined that could not be before.
                stale = _stale(segments, entries, timelines, size)
                todo = [name for name, reason in stale.items() if reason not in tried]
                if not todo:
                    break
                tried.update(stale.values())
                count += len(todo)
                reader = self._reader(facts, bin_directory, source, entries)
                self._index(reader, store, todo, segments, timelines, entries, progress)
            if count or gone or changed:
                store.settle(entries)
        report = _report(entries, count, len(gone), begun)
        return Archive(entries, timelines, size, partial_names(files), report)

    def rebuild(
        self, source: WalSource, bin_directory: str, *, progress: Callable[[int, int], None] | None = None
    ) -> Archive:
        """Read the whole archive again, as if nothing were known."""
        return self.refresh(source, bin_directory, progress=progress, anew=True)

    def doubt(self, name: str) -> None:
        """Forget what is known of a segment, so that the next refresh reads it again.

        For one that turned out to be other than its entry says although nothing about its file had changed: a disk
        that rots tells nobody (B06, B08). Raises :class:`Refused` (``busy``).
        """
        attempted = f"have {name} read again"
        with locked(self._lock_path, "index doubt", attempted=attempted, patience=_PATIENCE_SECONDS):
            facts = Store.facts_in(self._path)
            if facts is not None:
                self._open(facts).append([], [name])

    def add_from_push(
        self,
        plain_path: str,
        stored: StoredWal,
        digest: str,
        bin_directory: str,
        *,
        patience_seconds: float = 5.0,
    ) -> bool:
        """Take in a segment that has just been archived, from the file that the server still has.

        ``digest`` is the SHA-256 of the plain bytes: an identity that holds for every form. Best effort: returns False,
        and leaves the segment to :meth:`refresh`, when the index is busy or anything at all is odd; never raises for
        that.
        """
        with contextlib.suppress(KeeperError, OSError, ValueError):
            attempted = "index an archived segment"
            with locked(self._lock_path, "archive push", attempted=attempted, patience=patience_seconds):
                return self._add_from_push(plain_path, stored, digest, bin_directory)
        return False

    def _add_from_push(self, plain_path: str, stored: StoredWal, digest: str, bin_directory: str) -> bool:
        facts = facts_of_file(plain_path)
        size = facts.segment_bytes
        store = self._open(facts)
        if not store.is_ours():
            return False
        segment = parse_segment(stored.name, size)
        directory = os.path.dirname(os.path.abspath(plain_path))
        dump = WalDump(bin_directory, facts.major, size)

        def before() -> Iterator[tuple[Segment, StoredWal]]:
            for number in range(segment.number - 1, -1, -1):
                earlier = Segment(segment.timeline, number)
                name = segment_name(earlier, size)
                if not os.path.exists(os.path.join(directory, name)):
                    return
                yield earlier, StoredWal(name, 0, "")

        def link(wanted: StoredWal, path: str) -> str:
            if wanted.name == stored.name:
                os.symlink(os.path.abspath(plain_path), path)
                return digest
            origin = os.path.join(directory, wanted.name)
            os.symlink(origin, path)
            known = store.find(wanted.name)
            return known.digest if known and known.digest else file_digest(origin)

        reader = Reader(dump, facts.system_id, link)
        with workspace(self.directory) as space:
            (entry,) = reader.read_batch([(segment, stored)], before(), space)
        # The server may have recycled the predecessor meanwhile: only what is sound is believed here.
        if entry.fault is not None:
            return False
        store.append([entry])
        return True

    def _index(
        self,
        reader: Reader,
        store: Store,
        todo: list[str],
        files: Mapping[str, StoredWal],
        timelines: Timelines,
        entries: dict[str, Entry],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        size = reader.size
        batches = list(_batches(todo, files, size))
        done, total = 0, len(todo) * size
        workers = min(2, len(batches))
        with workspace(self.directory) as space, ThreadPoolExecutor(workers) as pool:
            recycling = Recycling(reader, os.path.join(space, "spare"))

            def read(number: int, batch: Work) -> list[Entry]:
                place = os.path.join(space, str(number))
                os.mkdir(place)
                try:
                    before = predecessors(batch[0][0], timelines, files, size)
                    return recycling.reader.read_batch(batch, before, place)
                finally:
                    shutil.rmtree(place, ignore_errors=True)

            running = [pool.submit(read, number, batch) for number, batch in enumerate(batches)]
            try:
                for future in as_completed(running):
                    found = future.result()
                    store.append(found)
                    entries.update((entry.name, entry) for entry in found)
                    done += len(found) * size
                    if progress:
                        progress(done, total)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _reader(
        self, facts: ArchiveFacts, bin_directory: str, source: WalSource, entries: Mapping[str, Entry]
    ) -> Reader:
        dump = WalDump(bin_directory, facts.major, facts.segment_bytes)
        dump.check_version()

        def obtain(stored: StoredWal, path: str) -> str:
            # In the kind in which its neighbour knows it: else reading one again would unjoin all that follow.
            known = entries.get(stored.name)
            return source.fetch(stored.name, path, kind_of(known.digest if known else None))

        return Reader(dump, facts.system_id, obtain)

    def _facts(self, source: WalSource) -> ArchiveFacts | None:
        known = Store.facts_in(self._path)
        if known:
            return known
        with workspace(self.directory) as space:
            return identify(source, os.path.basename(self.directory), space)

    def _open(self, facts: ArchiveFacts) -> Store:
        if self._store is None or not self._store.is_of(facts):
            self._store = Store(self._path, facts)
        return self._store

    @property
    def _lock_path(self) -> str:
        return os.path.join(self.directory, "lock")


class Recycling:
    """A reader that writes the next segment over one that was read: new pages cost more than hashing them."""

    def __init__(self, reader: Reader, stem: str) -> None:
        self._obtain = reader.obtain
        self._stem = stem
        self._numbers = itertools.count()
        self._spare: list[str] = []
        self.reader = replace(reader, obtain=self._onto, release=self._keep)

    def _onto(self, stored: StoredWal, path: str) -> str:
        with contextlib.suppress(IndexError):
            # Taken from the list in one step: the other thread gets another one.
            os.rename(self._spare.pop(), path)
        try:
            return self._obtain(stored, path)
        except BaseException:
            # What was read before must not lie under the name of what could not be.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            raise

    def _keep(self, path: str) -> None:
        spare = f"{self._stem}.{next(self._numbers)}"
        os.rename(path, spare)
        self._spare.append(spare)


def _report(entries: Mapping[str, Entry], indexed: int, removed: int, begun: float) -> dict[str, object]:
    return {
        "segments": len(entries),
        "indexed": indexed,
        "removed": removed,
        "faults": sum(entry.fault is not None for entry in entries.values()),
        "seconds": round(monotonic() - begun, 3),
    }


def _listing(source: WalSource, size: int) -> tuple[dict[str, StoredWal], dict[str, list[StoredWal]]]:
    """The stored files by name, and those names that are there more than once (fault B14)."""
    files: dict[str, StoredWal] = {}
    doubles: dict[str, list[StoredWal]] = {}
    for stored in source.list_files():
        if is_segment_name(stored.name):
            with contextlib.suppress(Refused):
                parse_segment(stored.name, size)
                if stored.name in files:
                    doubles.setdefault(stored.name, [files[stored.name]]).append(stored)
                files[stored.name] = stored
            continue
        files[stored.name] = stored
    return files, doubles


def _double(name: str, stored: list[StoredWal]) -> Entry:
    places = " and ".join(sorted(item.location or item.signature for item in stored))
    return Entry(
        name,
        "|".join(sorted(item.signature for item in stored)),
        sum(item.stored_bytes for item in stored),
        fault=("segment-duplicate", f"it is stored more than once: {places}"),
    )


def _stale(
    files: Mapping[str, StoredWal], entries: Mapping[str, Entry], timelines: Timelines, size: int
) -> dict[str, Reason]:
    """The names whose entries are missing, out of date, or not joined to the neighbour that is there now."""
    found: dict[str, Reason] = {}
    branches = Branches(timelines, size)
    for name, stored in files.items():
        entry = entries.get(name)
        if entry is None or entry.signature != stored.signature or entry.is_unreadable:
            found[name] = (name, stored.signature, None)
        elif entry.is_joinable:
            before = branches.before(parse_segment(name, size))
            neighbour = entries.get(segment_name(before, size))
            if neighbour and neighbour.tail_lsn is not None and neighbour.digest != entry.joined:
                found[name] = (name, stored.signature, neighbour.digest)
    return found


def _batches(names: Iterable[str], files: Mapping[str, StoredWal], size: int) -> Iterator[Work]:
    """Neighbours of one timeline together, as many as there is space for."""
    most = max(1, min(_BATCH_SEGMENTS, _BATCH_BYTES // size))
    batch: Work = []
    for segment in sorted(parse_segment(name, size) for name in names):
        if batch and (len(batch) >= most or next_segment(batch[-1][0]) != segment):
            yield batch
            batch = []
        batch.append((segment, files[segment_name(segment, size)]))
    if batch:
        yield batch
