# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The WAL index: what each archived segment holds, kept up as segments arrive and rebuilt when lost.

Only what is new, changed or not yet joined to its neighbour is read, so a proof over thousands of segments
takes the time of listing them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from time import monotonic

from ..core.errors import KeeperError, Refused
from ..core.files import digest as file_digest
from ..core.locks import locked
from ..core.privilege import real_owner
from .archive import Archive, Branches, partial_names, predecessors, read_timelines
from .entry import Entry
from .history import Timelines
from .reader import Reader
from .scratch import workspace
from .segment import Segment, check_size, is_segment_name, next_segment, parse_segment, segment_name
from .source import StoredWal, WalSource
from .store import Store
from .waldump import WalDump

_BATCH_SEGMENTS = 32
_BATCH_BYTES = 512 << 20
_PASSES = 3
_PATIENCE_SECONDS = 900.0

Work = list[tuple[Segment, StoredWal]]


class WalIndex:
    """The index of the archive of one system identifier.

    ``directory`` holds the index file, its lock and, while reading, plain segments (at most two batches of
    32 segments or 512 MB). ``bin_directory`` is that of the cluster's own ``major``.
    """

    def __init__(
        self, directory: str, *, system_id: int, segment_bytes: int, major: int, bin_directory: str
    ) -> None:
        self.directory = directory
        self.system_id = system_id
        self.segment_bytes = check_size(segment_bytes)
        self.dump = WalDump(bin_directory, major, segment_bytes)
        self._store = Store(
            os.path.join(directory, "index.jsonl"),
            system_id=system_id,
            segment_bytes=segment_bytes,
            major=major,
        )

    def refresh(
        self, source: WalSource, *, progress: Callable[[int, int], None] | None = None, anew: bool = False
    ) -> Archive:
        """Bring the index up to what the archive holds, and tell it.

        ``progress`` is called with bytes done and bytes in all, both plain. ``anew`` reads everything again.
        Raises :class:`Refused` (``busy``) when another process is still at it after 15 minutes, and
        :class:`Failed` when pg_waldump cannot be run.
        """
        begun = monotonic()
        attempted = "bring the WAL index up to date"
        with locked(self._lock_path, "index refresh", attempted=attempted, patience=_PATIENCE_SECONDS):
            if anew or not self._store.is_ours():
                self._store.replace({})
            files, doubles = _listing(source, self.segment_bytes)
            seen = frozenset(int(name[:8], 16) for name in files if is_segment_name(name))
            timelines = read_timelines(source, files, seen)
            segments = {name: stored for name, stored in files.items() if is_segment_name(name)}
            entries = self._store.load()
            gone = [name for name in entries if name not in segments]
            for name in gone:
                del entries[name]
            twice = [_double(name, doubles[name]) for name in doubles]
            changed = [entry for entry in twice if entries.get(entry.name) != entry]
            self._store.append(changed, gone)
            entries.update((entry.name, entry) for entry in changed)
            for name in doubles:
                segments.pop(name, None)
            count = 0
            tried: set[str] = set()
            for _ in range(_PASSES):
                stale = _stale(segments, entries, timelines, self.segment_bytes)
                todo = [name for name in stale if name not in tried or entries[name].fault is None]
                if not todo:
                    break
                tried.update(todo)
                count += len(todo)
                self._index(todo, segments, timelines, entries, source, progress)
            if count or gone or changed:
                self._store.settle(entries)
        report = {
            "segments": len(entries),
            "indexed": count,
            "removed": len(gone),
            "faults": sum(entry.fault is not None for entry in entries.values()),
            "seconds": round(monotonic() - begun, 3),
        }
        return Archive(entries, timelines, self.segment_bytes, partial_names(files), report)

    def rebuild(self, source: WalSource, *, progress: Callable[[int, int], None] | None = None) -> Archive:
        """Read the whole archive again, as if nothing were known."""
        return self.refresh(source, progress=progress, anew=True)

    def add_from_push(self, plain_path: str, stored: StoredWal, digest: str) -> bool:
        """Take in a segment that has just been archived, from the file that the server still has.

        ``digest`` is the SHA-256 of the plain bytes. Best effort: returns False, and leaves the segment to
        :meth:`refresh`, when the index is busy or anything at all is odd; never raises for that.
        """
        with contextlib.suppress(KeeperError, OSError, ValueError):
            with locked(self._lock_path, "archive push", attempted="index an archived segment"):
                return self._add_from_push(plain_path, stored, digest)
        return False

    def _add_from_push(self, plain_path: str, stored: StoredWal, digest: str) -> bool:
        segment = parse_segment(stored.name, self.segment_bytes)
        if not self._store.is_ours():
            return False
        directory = os.path.dirname(plain_path)
        before_name = segment_name(Segment(segment.timeline, segment.number - 1), self.segment_bytes)
        before_path = os.path.join(directory, before_name)
        before: Work = []
        if segment.number and os.path.exists(before_path):
            before.append((Segment(segment.timeline, segment.number - 1), StoredWal(before_name, 0, "")))
        known = self._store.find(before_name)

        def link(wanted: StoredWal, path: str) -> str:
            origin = plain_path if wanted.name == stored.name else before_path
            os.symlink(os.path.abspath(origin), path)
            if wanted.name == stored.name:
                return digest
            return known.digest if known and known.digest else file_digest(before_path)

        reader = Reader(self.dump, self.system_id, link)
        with workspace(self.directory) as space:
            (entry,) = reader.read_batch([(segment, stored)], before, space)
        # The server may have recycled the predecessor meanwhile: only what is sound is believed here.
        if entry.fault is not None:
            return False
        self._store.append([entry])
        return True

    def _index(
        self,
        todo: list[str],
        files: Mapping[str, StoredWal],
        timelines: Timelines,
        entries: dict[str, Entry],
        source: WalSource,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        size = self.segment_bytes
        reader = Reader(self.dump, self.system_id, lambda stored, path: source.fetch(stored.name, path))
        batches = list(_batches(todo, files, size))
        done, total = 0, len(todo) * size
        # With an assumed identity programs are started as root for a moment, which all threads would share.
        workers = 1 if real_owner() else min(2, len(batches))
        with workspace(self.directory) as space, ThreadPoolExecutor(workers) as pool:

            def read(number: int, batch: Work) -> list[Entry]:
                place = os.path.join(space, str(number))
                os.mkdir(place)
                try:
                    return reader.read_batch(batch, predecessors(batch[0][0], timelines, files, size), place)
                finally:
                    shutil.rmtree(place, ignore_errors=True)

            running = [pool.submit(read, number, batch) for number, batch in enumerate(batches)]
            try:
                for future in as_completed(running):
                    found = future.result()
                    self._store.append(found)
                    entries.update((entry.name, entry) for entry in found)
                    done += len(found) * size
                    if progress:
                        progress(done, total)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    @property
    def _lock_path(self) -> str:
        return os.path.join(self.directory, "lock")


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
) -> list[str]:
    """The names whose entries are missing, out of date, or not joined to the neighbour that is there now."""
    found = []
    branches = Branches(timelines, size)
    for name, stored in files.items():
        entry = entries.get(name)
        if entry is None or entry.signature != stored.signature or entry.is_unreadable:
            found.append(name)
        elif entry.tail_lsn is not None:
            before = branches.before(parse_segment(name, size))
            neighbour = entries.get(segment_name(before, size))
            if neighbour and neighbour.tail_lsn is not None and neighbour.digest != entry.joined:
                found.append(name)
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
