# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is known of the rows when pg_restore is done, so that the proof costs little time at the end.

Numbers: the server counts itself what it takes into each table (``n_tup_ins``; the manual, "The Cumulative Statistics
System"). In a database that nobody else is in and that has rolled nothing back, a table of which nothing was updated or
deleted and that was not emptied holds just those rows. A session's counters are complete when it has ended, which is
waited for. A crash or a reset leaves fewer rows on them: a table of which they do not say the number that was dumped is
read at the end. So are all up to version 14, where counters travelled in messages that could get lost.

Digests: large tables are read while others are still being loaded, when their rows are in and their keys are made, as
ALTER TABLE would have to wait for who reads. What comes after (triggers, materialised views, functions of event
triggers) could still change rows: the same counters are held against what was read, and a table of which they do not
say that it was filled once and left alone is read again at the end.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from ..core.errors import KeeperError
from .contents import Entry
from .counters import COUNTERS_SINCE, have_left
from .rows import TableRows, count_rows, split_key, table_key
from .session import Session, connection_string

_LARGE_ROWS = 100_000
_KINDS = {"TABLE DATA": "processing data for table", "CONSTRAINT": "creating CONSTRAINT"}
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = :'name' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
# TRUNCATE is in no counter: what is empty was emptied.
_COUNTERS = """
SELECT json_build_array(s.schemaname, s.relname, s.n_tup_ins, d.xact_rollback)
FROM pg_stat_user_tables AS s JOIN pg_stat_database AS d ON d.datname = current_database()
WHERE s.n_tup_upd = 0 AND s.n_tup_del = 0 AND s.n_tup_ins > 0 AND pg_relation_size(s.relid) > 0
"""


def taken_in(config: ClusterConfig, database: str) -> dict[str, TableRows]:
    """How many rows the server took into each table, where its counters leave no doubt that they are all there; the
    rest is to be read. The database has been filled, and nobody else is in it. Raises what asking raises."""
    counters = _counters(config, database)
    return {key: TableRows(rows) for key, (rows, rolled_back) in counters.items() if not rolled_back}


class Meanwhile:
    """Reads tables of a database that pg_restore fills, for the length of a ``with`` block.

    An error in here is none of the load: what was not read is read at the end.
    """

    def __init__(
        self,
        config: ClusterConfig,
        database: str,
        *,
        entries: Iterable[Entry],
        expected: Mapping[str, TableRows],
        level: str,
        jobs: int,
    ) -> None:
        self._config = config
        self._database = database
        self._level = level
        self._jobs = jobs
        self._left = _awaited(entries, expected)
        self._texts = _said(self._left)
        self._ready: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stopped = False
        self._session: Session | None = None
        self._thread = threading.Thread(target=self._work, name="rows", daemon=True)
        self._counted: dict[str, TableRows] = {}

    def __enter__(self) -> Meanwhile:
        if self._left:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._ready.put(None)
        if kind is not None and self._session is not None:
            self._session.cancel()
        if self._thread.is_alive():
            self._thread.join()

    def finished(self, number: int) -> None:
        """An entry of the dump is in."""
        for table, awaited in list(self._left.items()):
            awaited.pop(number, None)
            if not awaited:
                del self._left[table]
                self._ready.put(table)

    def said(self, text: str) -> None:
        """What pg_restore was doing, in its words, is done, where there is one job. With several ones others go on; a
        table that is asked too early is locked, and counted without the rows that were waited for."""
        if self._jobs == 1 and text in self._texts:
            self.finished(self._texts[text])

    def counted(self) -> dict[str, TableRows]:
        """After the block: tables that are as they were counted. Raises what asking raises."""
        if not self._counted:
            return {}
        counters = _counters(self._config, self._database)
        return {
            key: item
            for key, item in self._counted.items()
            if key in counters and counters[key][0] == item.rows
        }

    def _work(self) -> None:
        while (table := self._ready.get()) is not None and not self._stopped:
            try:
                self._counted |= self._count(*split_key(table))
            except KeeperError:
                # Counted at the end, where it is told.
                return

    def _count(self, *wanted: str) -> dict[str, TableRows]:
        return count_rows(
            self._config,
            self._database,
            wanted=lambda *name: name == wanted,
            large_objects=False,
            level=self._level,
            jobs=self._jobs,
            opened=self._opened,
        )

    def _opened(self, session: Session) -> None:
        self._session = session


def _counters(config: ClusterConfig, database: str) -> dict[str, tuple[int, int]]:
    """Of tables that were filled and left alone: rows, and how many transactions the database has rolled back."""
    if config.major < COUNTERS_SINCE or not have_left(config, _OTHERS, database):
        return {}
    rows = query(config, _COUNTERS, database=connection_string(database), timeout=600)
    found = (json.loads(str(row[0])) for row in rows)
    return {
        table_key(schema, table): (int(taken), int(rolled_back))
        for schema, table, taken, rolled_back in found
    }


def _awaited(entries: Iterable[Entry], expected: Mapping[str, TableRows]) -> dict[str, dict[int, Entry]]:
    """By table what has to be in before it is read; of large ones only."""
    entries = list(entries)
    large = {key for key, item in expected.items() if item.rows >= _LARGE_ROWS}
    tables = {one.number: table_key(one.schema, one.name) for one in entries if one.kind == "TABLE"}
    left: dict[str, dict[int, Entry]] = {}
    for one in entries:
        for key in {tables[number] for number in one.needs if number in tables} & large:
            if one.kind in _KINDS:
                left.setdefault(key, {})[one.number] = one
    return {
        key: awaited
        for key, awaited in left.items()
        if any(one.kind == "TABLE DATA" for one in awaited.values())
    }


def _said(left: Mapping[str, Mapping[int, Entry]]) -> dict[str, int]:
    """Numbers by what pg_restore says of an entry; texts that stand for several ones mean none."""
    texts: dict[str, list[int]] = {}
    for awaited in left.values():
        for number, one in awaited.items():
            texts.setdefault(f'{_KINDS[one.kind]} "{one.schema}.{one.name}"', []).append(number)
    return {text: numbers[0] for text, numbers in texts.items() if len(numbers) == 1}
