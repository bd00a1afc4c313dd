# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Rows of every table in a dump, counted (or digested as well) at its very snapshot while pg_dump works.

Which tables those are is taken from the dump itself: its table of contents is written before its rows are. A table that
was truncated, rewritten or dropped since the snapshot would be counted wrong (the manual, "Caveats" of MVCC): it has
another file then, which is asked after counting.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.errors import KeeperError
from .dump_listing import Listing, peek
from .rows import COUNT, TableRows, count_rows, split_key, to_record
from .session import Session

_PEEK_SECONDS = 0.2
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


class Snapshot:
    """A transaction that keeps a snapshot for pg_dump, and counts what pg_dump dumps. A context manager."""

    def __init__(
        self,
        config: ClusterConfig,
        database: str,
        *,
        attempted: str,
        user: str | None,
        lock_wait_seconds: int,
        level: str = COUNT,
    ) -> None:
        self._config = config
        self._database = database
        self._lock_wait_seconds = lock_wait_seconds
        self._level = level
        self._session = Session(config, database, attempted=attempted, user=user)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._fault: list[BaseException] = []
        self._counted_once = False
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
        except BaseException as error:
            self._session.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._stop.set()
        if kind is not None:
            # The statement that counts ends with its session.
            self._session.__exit__(kind, error, trace)
        if self._thread is not None:
            self._thread.join()
        if kind is None:
            self._session.__exit__(kind, error, trace)

    def count_while_dumping(self, path: str) -> None:
        """Begin as soon as the dump at ``path`` has its table of contents."""
        self._thread = threading.Thread(target=self._wait, args=(path,), name="rows", daemon=True)
        self._thread.start()

    def count(
        self, listed: Callable[[], Listing] | None, names: Iterable[str], *, large_objects: bool
    ) -> None:
        """Count what has not been counted yet: the tables that are ``listed``, or ``names`` as pg_dump says them."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
            if self._fault:
                raise self._fault[0]
        if not self._counted_once:
            listing = listed() if listed else None
            objects = listing.large_objects if listing else large_objects
            self._count(listing, list(names), large_objects=objects)

    def _wait(self, path: str) -> None:
        try:
            while not self._stop.wait(_PEEK_SECONDS):
                listing = peek(self._config, path)
                if listing is not None:
                    self._count(listing, [], large_objects=listing.large_objects)
                    return
        except BaseException as error:
            # Told by count(), or of no interest any more.
            self._fault.append(error)

    def _count(self, listing: Listing | None, names: list[str], *, large_objects: bool) -> None:
        self._counted_once = True
        wanted, lost = self._wanted(listing, names)
        try:
            found = self._counted(wanted, large_objects)
        except KeeperError as error:
            if error.code != "sql-failed":
                self.warnings.append(f"rows were not counted: {error.happened}")
                return
            gone = self._changed()
            try:
                found = self._counted(wanted - gone, large_objects)
            except KeeperError as again:
                self.warnings.append(f"rows were not counted: {again.happened}")
                return
        changed = self._changed() & wanted
        kept = {key: item for key, item in found.items() if split_key(key) not in changed}
        lost += [".".join(name) for name in sorted(changed)]
        if lost:
            what = ", ".join(lost[:5]) + (" and more" if len(lost) > 5 else "")
            self.warnings.append(f"rows not counted of {len(lost)} tables, changed meanwhile: {what}")
        self.rows = to_record(kept)

    def _counted(self, wanted: set[Name], large_objects: bool) -> dict[str, TableRows]:
        if not wanted and not large_objects:
            return {}
        return count_rows(
            self._config,
            self._database,
            snapshot=self.identity,
            wanted=lambda schema, table: (schema, table) in wanted,
            large_objects=large_objects,
            level=self._level,
            lock_timeout_seconds=self._lock_wait_seconds,
            report=self._report,
        )

    def _report(self, done: int, _total: int) -> None:
        self.done_bytes = done

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
