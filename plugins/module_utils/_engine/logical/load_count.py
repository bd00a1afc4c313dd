# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Rows of large tables counted while others are still being loaded, so that the proof costs little time at the end.

A table is counted when its rows are in and its keys are made: ALTER TABLE would have to wait for who counts. What comes
after (triggers, materialised views, functions of event triggers) could still change rows: the server's own statistics
are held against what was counted, and a table of which they do not say that it was filled once and left alone is
counted again at the end.
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
from .rows import TableRows, count_rows, split_key, table_key
from .session import Session, connection_string

_LARGE_ROWS = 100_000
_KINDS = {"TABLE DATA": "processing data for table", "CONSTRAINT": "creating CONSTRAINT"}
_STATISTICS = """
SELECT json_build_array(schemaname, relname, n_tup_ins) FROM pg_stat_all_tables
WHERE n_tup_upd = 0 AND n_tup_del = 0 AND n_tup_ins > 0
"""


class Meanwhile:
    """Counts tables of a database that pg_restore fills, for the length of a ``with`` block.

    An error in here is none of the load: what was not counted is counted at the end.
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
        rows = query(self._config, _STATISTICS, database=connection_string(self._database), timeout=600)
        filled = {
            table_key(item[0], item[1]): int(item[2]) for item in (json.loads(str(row[0])) for row in rows)
        }
        return {key: item for key, item in self._counted.items() if filled.get(key) == item.rows}

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


def _awaited(entries: Iterable[Entry], expected: Mapping[str, TableRows]) -> dict[str, dict[int, Entry]]:
    """By table what has to be in before it is counted; of large ones only."""
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
