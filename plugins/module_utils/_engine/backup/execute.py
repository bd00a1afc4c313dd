# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Carries a plan out: catalog entry, copy, WAL, seal. A backup is good when its last step has been written.

A killed run leaves an entry ``running`` whose maker is dead; the next run finds it, removes its data and
marks it as failed. Nothing is resumed: half a base backup is worth nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.clock import utc_now
from ..core.errors import Failed, KeeperError
from ..core.files import digest, fsync_directory, fsync_file, make_directory
from ..core.journal import Journal
from ..core.locks import owner_record
from ..core.progress import Progress
from ..core.run import run
from ..repository.catalog import (
    FAILED,
    MANIFEST,
    RUNNING,
    VERIFIED,
    Backup,
    StoredFile,
    Tablespace,
    read_backup,
    write_backup,
)
from ..repository.layout import Repository
from ..repository.manifest import Manifest, combined_bytes, read_manifest, stored_manifest
from ..repository.parts import INCOMING, SUFFIX, remove_data
from . import steps
from .copy import Follower, copy, full, stop_strangers
from .facts import restore_facts
from .funnel import Funnel
from .pages import UNFINISHED_MANIFEST, describe, page_faults
from .plan import BackupPlan
from .state import BackupState
from .wal import ArchiveWatch, await_wal, needed_segments, stop_time


class Execution:
    """One backup being taken. ``progress`` belongs to the caller, who says how it ended."""

    def __init__(
        self,
        plan: BackupPlan,
        state: BackupState,
        repository: Repository,
        journal: Journal,
        progress: Progress,
    ) -> None:
        self.plan = plan
        self.state = state
        self.config: ClusterConfig = state.config
        self.repository = repository
        self.journal = journal
        self.progress = progress
        self.attempted = f"take base backup {plan.label} of cluster {state.config.cluster}"
        self.seconds: dict[str, float] = {}
        self.digests: dict[str, tuple[int, str]] = {}
        self.manifest = Manifest({}, (), None)
        self.entry = _first_entry(plan, state)

    def run(self) -> Backup:
        """Do the steps. Raises :class:`Failed`; the entry says ``failed`` and why, its data is gone.

        But for ``page-checksum-failed`` (fault B19): such a backup is kept, and no restore takes it by itself.
        """
        self.journal.step(steps.DISCARD, self._discard)
        self.journal.step(steps.REGISTER, self._register)
        try:
            self._step(steps.COPY, self._copy)
            self._step(steps.WAL, self._wal)
            self._step(steps.SEAL, self._seal)
        except BaseException as error:
            self._give_up(error)
            raise
        self.journal.finish("done")
        if self.entry.page_faults:
            raise self._damaged_pages(self.entry.page_faults)
        return self.entry

    def _damaged_pages(self, faults: dict[str, Any]) -> Failed:
        return Failed(
            "page-checksum-failed",
            attempted=self.attempted,
            happened=f"the server read {describe(faults)}: the live cluster is damaged",
            remedy=(
                f"Look at its disk, find out what the pages belong to (pg_amcheck), and plan a restore from an older "
                f"backup: dbkeeper plan. {self.entry.label} is kept, and restored from only with --accept-page-faults."
            ),
            details={"page_faults": faults, "label": self.entry.label},
        )

    def _step(self, name: str, action: Any) -> None:
        begun = time.monotonic()
        self.journal.step(name, action)
        self.seconds[name] = round(time.monotonic() - begun, 3)

    @property
    def _incoming(self) -> str:
        return self.plan.incoming or f"{self.plan.directory}/{INCOMING}"

    def _discard(self) -> None:
        for label in self.plan.discard:
            stop_strangers(self.repository.backup(label))
            entry = read_backup(self.repository, label)
            if entry.status == RUNNING:
                entry = entry.changed(
                    status=FAILED, failure="it was interrupted; a later run removed its data"
                )
            remove_data(self.repository.backup(label))
            write_backup(self.repository, entry)

    def _register(self) -> None:
        write_backup(self.repository, self.entry)

    def _copy(self) -> None:
        self.progress.phase("backup", total=self.plan.plain_bytes or None, note=self.plan.label)
        archiver = ArchiveWatch(self.config, self.attempted)
        with self._receiver() as receiver, self._full_is_said():
            words = copy(
                self.plan.argv,
                attempted=self.attempted,
                progress=lambda done, total: self.progress.update(done, total=total),
                watch=archiver.watch,
                environment=receiver.environment,
            )
            ended_at = utc_now()
            faults = page_faults(words)
            if os.path.exists(f"{self._incoming}/{UNFINISHED_MANIFEST}"):
                os.rename(f"{self._incoming}/{UNFINISHED_MANIFEST}", f"{self._incoming}/{MANIFEST}")
            if self.plan.compress_after:
                self._compress()
            receiver.finish()
            self.digests = receiver.digests
            self.manifest = read_manifest(f"{self._incoming}/{MANIFEST}", attempted=self.attempted)
        ranges = self.manifest.wal_ranges
        last = ranges[-1]
        self.entry = replace(
            self.entry,
            timeline=last.timeline,
            page_faults=faults,
            start_lsn=min(item.start_lsn for item in ranges),
            stop_lsn=last.end_lsn,
            stopped_at=stop_time(self.config.data_directory, ranges[0], self.entry, ended_at),
        )

    def _receiver(self) -> Follower | Funnel:
        """What becomes of the files while pg_basebackup writes them."""
        make_directory(self._incoming)
        return Follower(self._incoming, SUFFIX)

    def _compress(self) -> None:
        names = sorted(name for name in os.listdir(self._incoming) if name.endswith(".tar"))
        self.progress.phase("compress", total=len(names), unit="archives")
        for number, name in enumerate(names):
            path = f"{self._incoming}/{name}"
            argv = ["zstd", "-q", f"-{self.plan.compression_level}", "-T0", "--rm", path, "-o", f"{path}.zst"]
            run(
                argv,
                attempted=self.attempted,
                remedy="Look at the disk of the repository.",
                timeout=7 * 86400,
            )
            self.progress.update(number + 1)

    def _wal(self) -> None:
        last = self.manifest.wal_ranges[-1]
        first_lsn = min(item.start_lsn for item in self.manifest.wal_ranges)
        size = self.entry.wal_segment_size
        names = needed_segments(last.timeline, first_lsn, last.end_lsn, size)
        self.progress.phase(
            "archive", total=len(names), unit="segments", note="the WAL that the backup needs"
        )
        await_wal(
            names,
            self.repository,
            self.entry.system_id,
            self.config,
            attempted=self.attempted,
            report=self.progress.update,
        )

    def _seal(self) -> None:
        self.progress.phase("seal", note="make it durable")
        begun = time.monotonic()
        entry, manifest = self.entry, self.manifest
        with self._full_is_said():
            files = self._place()
        facts = restore_facts(self.config)
        sizes = combined_bytes([*self._parents(), manifest])
        self.entry = replace(
            entry,
            status=VERIFIED,
            tablespaces=self._tablespaces(manifest, {file.name for file in files}, sizes),
            files=files,
            plain_bytes=manifest.plain_bytes,
            restored_bytes=sum(size for size, _dummy in sizes.values()),
            rebuilt_bytes=sum(rebuilt for _dummy, rebuilt in sizes.values()),
            stored_bytes=sum(file.stored_bytes for file in files),
            seconds={**self.seconds, "seal": round(time.monotonic() - begun, 3)},
            manifest={"files": len(manifest.files), "checksums": "SHA256"},
            settings={**entry.settings, **facts},
        )
        self._record()

    def _place(self) -> tuple[StoredFile, ...]:
        """Give the files their names."""
        names = sorted(os.listdir(self._incoming))
        for name in names:
            if name not in self.digests:
                fsync_file(f"{self._incoming}/{name}")
            os.rename(f"{self._incoming}/{name}", f"{self.plan.directory}/{name}")
        os.rmdir(self._incoming)
        fsync_directory(self.plan.directory)
        return tuple(self._stored(name) for name in names)

    def _record(self) -> None:
        """From here on it is a backup."""
        write_backup(self.repository, self.entry)

    def _stored(self, name: str) -> StoredFile:
        path = f"{self.plan.directory}/{name}"
        length, found = self.digests.get(name) or (os.stat(path).st_size, digest(path))
        if length != os.stat(path).st_size:
            raise Failed(
                "backup-file-damaged",
                attempted=self.attempted,
                happened=f"{path} has {os.stat(path).st_size} bytes, {length} were written",
                remedy="Something else writes into the repository: find it, then run the same command again.",
            )
        return StoredFile(name, length, found)

    def _parents(self) -> list[Manifest]:
        return [
            stored_manifest(self.repository, label, attempted=self.attempted) for label in self.plan.chain
        ]

    def _tablespaces(
        self, manifest: Manifest, names: set[str], combined: dict[int, tuple[int, int]]
    ) -> tuple[Tablespace, ...]:
        """Those that have an archive of their own."""
        server = self.state.server
        known = {found.oid: found for found in server.tablespaces} if server else {}
        oids = sorted(int(name[: -len(SUFFIX)]) for name in names if name[: -len(SUFFIX)].isdigit())
        sizes = dict.fromkeys(oids, 0)
        for path, file in manifest.files.items():
            parts = path.split("/", 2)
            if parts[0] == "pg_tblspc" and len(parts) == 3 and int(parts[1]) in sizes:
                sizes[int(parts[1])] += file.size_bytes
        missing = [oid for oid in oids if oid not in known]
        if missing:
            raise Failed(
                "tablespace-changed",
                attempted=self.attempted,
                happened=f"tablespace {missing[0]} was made while the backup began, so where it lies is not known",
                remedy="Run the same command again.",
            )
        return tuple(
            Tablespace(
                oid, known[oid].path, known[oid].name, sizes[oid], combined.get(oid, (sizes[oid], 0))[0]
            )
            for oid in oids
        )

    @contextlib.contextmanager
    def _full_is_said(self) -> Any:
        try:
            yield
        except OSError as error:
            raise full(
                self.attempted, f"{error.filename or self.plan.directory}: {error.strerror}"
            ) from error

    def _give_up(self, error: BaseException) -> None:
        """Data first: on a full disk its removal is what makes the entry writable again."""
        why = f"{error.code}: {error.happened}" if isinstance(error, KeeperError) else "interrupted"
        self._clean(why)
        self.journal.finish("failed")

    def _clean(self, why: str) -> None:
        stop_strangers(self.plan.directory)
        remove_data(self.plan.directory)
        with contextlib.suppress(KeeperError):
            # An entry that still says "running" is recognised by its dead maker as well.
            write_backup(
                self.repository, self.entry.changed(status=FAILED, failure=why, seconds=dict(self.seconds))
            )


def _first_entry(plan: BackupPlan, state: BackupState) -> Backup:
    """What is known before the copy begins: enough to tell later who was at it, and on what."""
    return Backup(
        label=plan.label,
        kind=plan.kind,
        parent=plan.parent.label if plan.parent else None,
        parent_manifest=plan.parent.stored_digest(MANIFEST) if plan.parent else None,
        data_checksums=state.control.data_checksums,
        status=RUNNING,
        started_at=utc_now(),
        system_id=state.control.system_id,
        major=state.config.major,
        version=state.server.version if state.server else "",
        wal_segment_size=state.control.wal_segment_size,
        # Not yet its start, but nothing before it is needed: expiry respects that while the copy runs.
        timeline=state.control.timeline,
        start_lsn=state.control.redo_lsn,
        owner=owner_record(f"base backup {plan.label}"),
        settings=dict(state.control.settings),
    )
