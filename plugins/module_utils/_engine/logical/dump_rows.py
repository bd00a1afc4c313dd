# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Rows of every table in a dump, counted (or digested as well) at its very snapshot while pg_dump works.

Numbers of rows are those that the server counted as it gave them to pg_dump (:mod:`.dump_counters`). What it does not
know beyond doubt is read: tables that somebody else touches while pg_dump works, and the rest when it is done, with as
many processes as pg_dump had.

Which tables those are is taken from the dump itself. Of a whole database they are all of them, so that reading begins
at once, while pg_dump reads definitions with one processor; else it waits for the dump's table of contents, which is
written before its rows are. It takes time that pg_dump leaves.

A table that was truncated, rewritten or dropped since the snapshot would be counted wrong (the manual, "Caveats" of
MVCC): it has another file then, which is asked when pg_dump is done, whose locks keep others from changing it any more.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.errors import KeeperError
from .dump_counters import ScanCounters
from .dump_listing import Listing, peek
from .giving_way import give_way
from .rows import (
    COUNT,
    DIGEST,
    LARGE_OBJECTS,
    TableRows,
    count_large_objects,
    count_rows,
    split_key,
    table_key,
    to_record,
)
from .session import Session

_PEEK_SECONDS, _LOOK_SECONDS, _LOOK_MOST_SECONDS = 0.2, 5.0, 60.0
# A table is counted in a tenth of the time of its COPY, and may be begun again; digests are waited for, also where
# others keep the processors busy.
_NICE = {COUNT: 19, DIGEST: 10}
_NO_LIMITS = """
SELECT to_json(set_config(name, '0', false)) FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout',
  'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')
"""
_SNAPSHOT = """
SELECT json_build_array(pg_export_snapshot(), (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
  ELSE pg_current_wal_lsn() END)::text)
"""
_TABLES = """
SELECT json_build_array(c.oid::bigint, n.nspname, c.relname) FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'r'
"""
# pg_class is read at the snapshot, pg_relation_filenode() tells what is there now.
_CHANGED = """
SELECT json_build_array(n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relfilenode <> 0 AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)
"""

Name = tuple[str, str]


class GivenUp(Exception):
    """The dump has failed, and nobody wants to know the rest; or it is done, and the rest is counted otherwise."""


class Snapshot:
    """A transaction that keeps a snapshot for pg_dump, and counts what pg_dump dumps. A context manager.

    ``jobs``: how many processes count what is not known when pg_dump is done. ``crowded``: pg_dump keeps all processors
    busy, so that nothing would be left for digests.
    """

    def __init__(
        self,
        config: ClusterConfig,
        database: str,
        *,
        attempted: str,
        user: str | None,
        lock_wait_seconds: int,
        level: str = COUNT,
        jobs: int = 1,
        crowded: bool = False,
    ) -> None:
        self._config = config
        self._database = database
        self._lock_wait_seconds = lock_wait_seconds
        self._level = level
        self._jobs = jobs
        self._gently = level == COUNT or not crowded
        self._session = Session(config, database, attempted=attempted, user=user)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._fault: list[BaseException] = []
        self._early: dict[str, TableRows] = {}
        self._complete = False
        self._objects_known = False
        self._counters: ScanCounters | None = None
        self._counting: Session | None = None
        self._given_up = False
        self.identity = ""
        self.lsn = ""
        self.rows: dict[str, dict[str, Any]] = {}
        self.warnings: list[str] = []
        self.done_bytes = 0

    def __enter__(self) -> Snapshot:
        session = self._session.__enter__()
        try:
            session.ask(_NO_LIMITS)
            session.do("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self.identity, self.lsn = session.ask(_SNAPSHOT)[0]
            self._use_counters()
        except BaseException as error:
            self._session.__exit__(type(error), error, None)
            raise
        return self

    @property
    def name(self) -> str:
        """The application_name that pg_dump's sessions have to have, so that their end is seen."""
        return f"dbkeeper dump {self.identity}"

    def _use_counters(self) -> None:
        counters = ScanCounters(self._config, self._database, self.name)
        if self._level == COUNT and counters.usable:
            # Without them everything is read, where an error is told.
            with contextlib.suppress(KeeperError):
                counters.begin()
                self._counters = counters

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._stop.set()
        if kind is not None:
            self._give_up()
            self._session.__exit__(kind, error, trace)
        if self._thread is not None:
            self._thread.join()
        if kind is None:
            self._session.__exit__(kind, error, trace)

    def count_all(self) -> None:
        """Begin at once with all tables that a dump of the whole database can have."""
        self._start(lambda: self._count_early(None, True))

    def count_while_dumping(self, path: str) -> None:
        """Begin as soon as the dump at ``path`` has its table of contents."""
        self._start(lambda: self._wait(path))

    def _start(self, work: Callable[[], None]) -> None:
        def quietly() -> None:
            try:
                work()
            except (KeeperError, GivenUp):
                # Something was dropped since the snapshot, or stayed locked, or pg_dump is done: count() sees to the
                # rest, when it is known what the dump has.
                return
            except BaseException as error:
                self._fault.append(error)

        self._thread = threading.Thread(target=quietly, name="rows", daemon=True)
        self._thread.start()

    def count(
        self, listed: Callable[[], Listing] | None, names: Iterable[str], *, large_objects: bool
    ) -> None:
        """Count what has not been counted yet: the tables that are ``listed``, or ``names`` as pg_dump says them."""
        if self._thread is not None:
            self._stop.set()
            if self._level == COUNT:
                self._give_up()
            self._thread.join()
            self._thread, self._given_up = None, False
            if self._fault:
                raise self._fault[0]
        listing = listed() if listed else None
        self._count(listing, list(names), listing.large_objects if listing else large_objects)

    def _give_up(self) -> None:
        """End the session that counts, between two tables or in the middle of one."""
        self._given_up = True
        if self._counting is not None:
            self._counting.cancel()

    def _wait(self, path: str) -> None:
        while not self._stop.wait(_PEEK_SECONDS):
            listing = peek(self._config, path)
            if listing is not None:
                self._count_early(self._wanted(listing, [])[0], listing.large_objects)
                return

    def _count_early(self, wanted: set[Name] | None, large_objects: bool) -> None:
        if self._counters is not None:
            self._count_touched(self._counters, wanted, large_objects)
            return
        self._counted(wanted, large_objects, into=self._early)
        self._complete = True

    def _count_touched(self, counters: ScanCounters, wanted: set[Name] | None, large_objects: bool) -> None:
        """What the server will not know; of a quiet database that is nothing."""
        names = self._names()
        if large_objects:
            self._early |= count_large_objects(self._session, self._level)
            self._objects_known = True
        pause = _LOOK_SECONDS
        while True:
            touched = {names[oid] for oid in counters.touched() if oid in names}
            left = touched - {split_key(key) for key in self._early}
            self._counted(left if wanted is None else left & wanted, False, into=self._early)
            if self._stop.wait(pause):
                return
            pause = min(2 * pause, _LOOK_MOST_SECONDS)

    def _count(self, listing: Listing | None, names: list[str], large_objects: bool) -> None:
        wanted, lost = self._wanted(listing, names)
        known = {key: one for key, one in self._early.items() if split_key(key) in wanted}
        if large_objects and LARGE_OBJECTS in self._early:
            known[LARGE_OBJECTS] = self._early[LARGE_OBJECTS]
        known |= self._returned(wanted - {split_key(key) for key in known})
        if not self._complete:
            rest = wanted - {split_key(key) for key in known}
            objects = large_objects and not self._objects_known
            try:
                known |= self._counted(rest, objects)
            except KeeperError as error:
                if error.code != "sql-failed":
                    self.warnings.append(f"rows were not counted: {error.happened}")
                    return
                gone = self._changed()
                try:
                    known |= self._counted(rest - gone, objects)
                except KeeperError as again:
                    self.warnings.append(f"rows were not counted: {again.happened}")
                    return
        self._keep(known, wanted, lost)

    def _returned(self, wanted: set[Name]) -> dict[str, TableRows]:
        """What pg_dump was given of these, as far as the server knows."""
        if self._counters is None or not wanted:
            return {}
        try:
            rows = self._counters.rows()
        except KeeperError:
            # Read then, where an error is told.
            return {}
        names = self._names()
        return {
            table_key(*names[oid]): TableRows(number)
            for oid, number in rows.items()
            if names.get(oid) in wanted
        }

    def _names(self) -> dict[int, Name]:
        return {int(oid): (schema, table) for oid, schema, table in self._session.ask(_TABLES)}

    def _keep(self, found: dict[str, TableRows], wanted: set[Name], lost: list[str]) -> None:
        """Record them, but those that somebody has changed meanwhile."""
        changed = self._changed() & wanted
        kept = {key: item for key, item in found.items() if split_key(key) not in changed}
        lost += [".".join(name) for name in sorted(changed)]
        if lost:
            what = ", ".join(lost[:5]) + (" and more" if len(lost) > 5 else "")
            self.warnings.append(f"rows not counted of {len(lost)} tables, changed meanwhile: {what}")
        self.rows = to_record(kept)

    def _counted(
        self, wanted: set[Name] | None, large_objects: bool, into: dict[str, TableRows] | None = None
    ) -> dict[str, TableRows]:
        """Of these, or (None) of all."""
        if wanted is not None and not wanted and not large_objects:
            return {}
        return count_rows(
            self._config,
            self._database,
            snapshot=self.identity,
            wanted=None if wanted is None else lambda schema, table: (schema, table) in wanted,
            large_objects=large_objects,
            level=self._level,
            jobs=self._jobs if into is None else 1,
            into=into,
            lock_timeout_seconds=self._lock_wait_seconds,
            report=self._report,
            opened=self._opened,
        )

    def _opened(self, session: Session) -> None:
        self._counting = session
        if self._gently and self._thread is not None:
            give_way(session, _NICE[self._level])
        self._report(0, 0)

    def _report(self, done: int, _total: int) -> None:
        self.done_bytes = done
        if self._given_up:
            raise GivenUp

    def _wanted(self, listing: Listing | None, names: list[str]) -> tuple[set[Name], list[str]]:
        """Schema and table of each, and what nobody could name."""
        tables = self._session.ask(_TABLES)
        if listing is not None:
            oids = set(listing.tables)
            return {(schema, table) for oid, schema, table in tables if oid in oids}, []
        by_text: dict[str, list[Name]] = {}
        for _oid, schema, table in tables:
            by_text.setdefault(f"{schema}.{table}", []).append((schema, table))
        said = dict.fromkeys(names)
        wanted = {by_text[name][0] for name in said if len(by_text.get(name, ())) == 1}
        return wanted, [json.dumps(name) for name in said if len(by_text.get(name, ())) != 1]

    def _changed(self) -> set[Name]:
        return {(row[0], row[1]) for row in self._session.ask(_CHANGED)}
