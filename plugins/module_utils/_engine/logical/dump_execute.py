# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Carries a plan out: entry, dump with its rows, globals, read back, seal. It is good when its last step is written.

A killed run leaves an entry ``running`` whose maker is dead; the next run finds it, ends what still writes for it,
removes its data and marks it as failed. Nothing is resumed: a snapshot dies with who held it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from ..backup.copy import stop_strangers
from ..core.clock import utc_now
from ..core.errors import Failed, KeeperError
from ..core.files import fsync_directory, fsync_file, make_directory, sync_filesystem, tree_size
from ..core.journal import Journal
from ..core.locks import owner_record
from ..core.progress import Progress
from ..core.run import start, stop_group
from ..repository.catalog import FAILED, RUNNING, VERIFIED
from ..repository.dumps import (
    GLOBALS,
    Dump,
    DumpFile,
    clear_never_begun,
    remove_dump_data,
    write_dump_entry,
)
from ..repository.layout import Repository
from . import dump_steps as steps
from .dump_copy import Talk, dump, failure, missing
from .dump_listing import Listing, list_back, read_to_end
from .dump_plan import DumpPlan
from .dump_request import DumpRequest
from .dump_rows import Snapshot
from .dump_state import DumpState
from .hashing import Hashing
from .rows import NONE
from .writeback import Writeback

PROGRAMS = ("pg_dump", "pg_dumpall", "zstd")
_FILE_MODE, _SECRET_MODE, _DIRECTORY_MODE = 0o640, 0o600, 0o750
_MANY_FILES = 16
_HASHED = 4


class DumpExecution:
    """One dump being taken. ``progress`` belongs to the caller, who says how it ended."""

    def __init__(
        self,
        request: DumpRequest,
        plan: DumpPlan,
        state: DumpState,
        repository: Repository,
        journal: Journal,
        progress: Progress,
    ) -> None:
        self.request = request
        self.plan = plan
        self.state = state
        self.config = state.config
        self.repository = repository
        self.journal = journal
        self.progress = progress
        self.attempted = f"take dump {plan.label} of database {request.database}"
        self.entry = _first_entry(request, plan, state)
        self._seconds: dict[str, float] = {}
        self._roles: Future[None] | None = None
        self._listed: Listing | None = None
        self._hashing = Hashing(self._path)

    def run(self) -> Dump:
        """Do the steps. Raises :class:`Failed`; the entry says ``failed`` and why, its data is gone."""
        self.journal.step(steps.DISCARD, self._discard)
        self._step(steps.REGISTER, self._register)
        try:
            with self._full_is_said():
                self._step(steps.DUMP, self._dump)
                self._step(steps.GLOBALS, self._globals)
                self._step(steps.LIST, self._list)
                self._step(steps.SEAL, self._seal)
        except BaseException as error:
            self._give_up(error)
            raise
        self.journal.finish("done")
        return self.entry

    def _step(self, name: str, action: Callable[[], None]) -> None:
        begun = time.monotonic()
        self.journal.step(name, action)
        self._seconds[name] = round(time.monotonic() - begun, 3)

    @property
    def _path(self) -> str:
        return f"{self.plan.incoming}/{self.plan.data}"

    def _register(self) -> None:
        write_dump_entry(self.repository, self.entry)

    def _discard(self) -> None:
        clear_never_begun(self.repository)
        for one in self.state.discard:
            directory = one.directory(self.repository)
            stop_strangers(directory, PROGRAMS)
            if one.status == RUNNING:
                one = one.changed(
                    status=FAILED, failure="it was interrupted; a later run removed its data", data=""
                )
            remove_dump_data(directory)
            write_dump_entry(self.repository, one)

    def _dump(self) -> None:
        make_directory(self.plan.incoming)
        self.progress.phase("dump", total=self.plan.expected_bytes, note=self.plan.label)
        listed = self.request.format != "plain"
        argv, pipe = self.plan.argv, self.plan.pipe
        counting = self.plan.rows != NONE
        with self._snapshot() as snapshot:
            if pipe:
                pipe = (*pipe, "-f", "-o", self._path)
            if counting and self.request.selection.whole:
                snapshot.count_all()
            elif counting and listed:
                snapshot.count_while_dumping(self._path)
            with ThreadPoolExecutor(max_workers=1) as beside, Writeback(self.plan.incoming), self._hashing:
                # While pg_dump reads definitions, another processor has nothing to do.
                roles = beside.submit(self._write_globals) if self.plan.globals_argv else None
                talk = dump(
                    (*argv[:-1], f"--snapshot={snapshot.identity}", argv[-1]),
                    pipe,
                    attempted=self.attempted,
                    tick=self._tick,
                    superuser=self.request.user is None,
                    name=snapshot.name,
                )
            self._roles = roles
            if counting:
                self.progress.phase("rows", note=f"{talk.tables} tables")
                listing = self._listing if listed else None
                snapshot.count(listing, talk.names, large_objects=self.request.selection.whole)
            self.entry = replace(
                self.entry,
                lsn=snapshot.lsn,
                rows=snapshot.rows,
                contents=talk.tables,
                warnings=(*self.plan.warnings, *snapshot.warnings, *talk.warnings()),
            )

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            self.config,
            self.request.database,
            attempted=self.attempted,
            user=self.request.user,
            lock_wait_seconds=self.request.lock_wait_seconds,
            level=self.plan.rows,
            jobs=self.request.jobs,
            crowded=self.state.processors < 2 * self.request.jobs,
        )

    def _tick(self, talk: Talk) -> None:
        path = self._path
        try:
            done = tree_size(path) if os.path.isdir(path) else os.stat(path).st_size
        except FileNotFoundError:
            done = 0
        self.progress.update(done, note=f"{self.plan.label}, {talk.tables} tables")

    def _listing(self) -> Listing:
        """Of what is whole, so that it is read once."""
        if self._listed is None:
            self._listed = list_back(self.config, self._path, attempted=self.attempted)
        return self._listed

    def _globals(self) -> None:
        if self._roles is not None:
            self._roles.result()

    def _write_globals(self) -> None:
        path = f"{self.plan.incoming}/{GLOBALS}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _SECRET_MODE)
        try:
            process = start(self.plan.globals_argv, stdout=descriptor, env={"PGAPPNAME": "dbkeeper"})
        except FileNotFoundError as error:
            raise missing(self.plan.globals_argv[0], self.attempted, error) from error
        finally:
            os.close(descriptor)
        try:
            _none, words = process.communicate(timeout=3600)
        except BaseException:
            stop_group(process)
            raise
        if process.returncode != 0:
            said = words.decode(errors="replace").splitlines()
            raise failure(self.plan.globals_argv[0], [process.returncode], said[-20:], self.attempted)

    def _list(self) -> None:
        self.progress.phase("list", note="read it back")
        if self.request.format == "plain":
            read_to_end(self._path, attempted=self.attempted)
        else:
            self.entry = replace(self.entry, contents=self._listing().entries)

    def _seal(self) -> None:
        self.progress.phase("seal", note="make it durable")
        incoming = self.plan.incoming
        names = sorted(_below(incoming))
        paths = [f"{incoming}/{name}" for name in names]
        for name, path in zip(names, paths):
            os.chmod(path, _SECRET_MODE if name == GLOBALS else _FILE_MODE)
        files = []
        with ThreadPoolExecutor(max_workers=1) as disk, ThreadPoolExecutor(max_workers=_HASHED) as pool:
            # The disk works while the processors hash.
            durable = disk.submit(self._make_durable, paths)
            for number, (name, found) in enumerate(zip(names, pool.map(self._hashing.digest, paths))):
                files.append(DumpFile(name, os.stat(paths[number]).st_size, found))
                self.progress.update(number + 1, total=len(names))
            durable.result()
        self.entry = replace(
            self.entry,
            status=VERIFIED,
            stopped_at=utc_now(),
            data=self.plan.data,
            files=tuple(files),
            stored_bytes=sum(file.stored_bytes for file in files),
            seconds=dict(self._seconds),
        )
        self._place()

    def _place(self) -> None:
        """It gets its name. From here on it is a dump."""
        incoming, directory = self.plan.incoming, self.plan.directory
        for name in sorted(os.listdir(incoming)):
            os.rename(f"{incoming}/{name}", f"{directory}/{name}")
        os.rmdir(incoming)
        fsync_directory(directory)
        fsync_directory(os.path.dirname(directory))
        write_dump_entry(self.repository, self.entry)

    def _make_durable(self, paths: list[str]) -> None:
        if os.path.isdir(self._path):
            os.chmod(self._path, _DIRECTORY_MODE)
            fsync_directory(self._path)
        if len(paths) > _MANY_FILES:
            sync_filesystem(self.plan.incoming)
        else:
            for path in paths:
                fsync_file(path)

    @contextlib.contextmanager
    def _full_is_said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Failed(
                "repository-full" if error.errno in (28, 122) else "repository-not-writable",
                attempted=self.attempted,
                happened=f"{error.filename or self.plan.directory}: {error.strerror}; older dumps are as they were",
                remedy="See that the repository belongs to the cluster's owner and has space, then run it again.",
            ) from error

    def _note_failure(self, failed: Dump, error: BaseException) -> None:
        remove_dump_data(self.plan.directory)
        with contextlib.suppress(KeeperError):
            # An entry that still says "running" is recognised by its dead maker as well.
            write_dump_entry(self.repository, failed)

    def _give_up(self, error: BaseException) -> None:
        """Data first: on a full disk its removal is what makes the entry writable again."""
        why = f"{error.code}: {error.happened}" if isinstance(error, KeeperError) else "interrupted"
        stop_strangers(self.plan.directory, PROGRAMS)
        failed = self.entry.changed(
            status=FAILED, failure=why, data="", files=(), rows={}, seconds=dict(self._seconds)
        )
        self._note_failure(failed, error)
        with contextlib.suppress(OSError):
            self.journal.finish("failed")


def _below(directory: str) -> Iterator[str]:
    for parent, _dummy, names in os.walk(directory):
        for name in names:
            yield os.path.relpath(f"{parent}/{name}", directory)


def _first_entry(request: DumpRequest, plan: DumpPlan, state: DumpState) -> Dump:
    database = state.database
    return Dump(
        database=request.database,
        label=plan.label,
        series=plan.series,
        sequence=plan.sequence,
        status=RUNNING,
        started_at=utc_now(),
        format=request.format,
        selection=request.selection,
        compression=plan.compression,
        jobs=request.jobs,
        globals=request.globals,
        system_id=state.system_id,
        major=state.config.major,
        version=state.version,
        encoding=database.encoding if database else "",
        database_bytes=database.size_bytes if database else 0,
        owner=owner_record(f"dump {plan.key}"),
    )
