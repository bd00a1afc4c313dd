# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How many rows pg_dump's own scan of a table returned, as the server counted them; so that nobody reads them again.

The server counts for each table the sequential scans, the rows they returned and the pages that were fetched, and a
session adds all three at once, in the end of its transaction at the earliest (the manual, "The Cumulative Statistics
System"; pgstat_relation.c). pg_dump reads each table by one sequential scan. Where, over the time of the dump, one scan
was counted and just as many pages as the table has, nobody but pg_dump can have added anything: who returns a row has
fetched its page. The rows are then those that the COPY returned, at the dump's own snapshot. (Scans of a sample or of a
range of ctid return rows without being counted as scans; pages tell them.)

Of every other table they say nothing, and it is read: one that somebody else has touched, one of an extension, which
may be dumped with a condition, and all up to version 14 (:mod:`.counters`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from .counters import COUNTERS_SINCE, have_left
from .session import connection_string

_COUNTERS = """
SELECT json_build_array(c.oid::bigint, pg_stat_get_numscans(c.oid), pg_stat_get_tuples_returned(c.oid),
  pg_stat_get_blocks_fetched(c.oid)) FROM pg_class AS c WHERE c.relkind = 'r' AND c.oid >= 16384
"""
_AT_THE_END = """
SELECT json_build_array(c.oid::bigint, pg_stat_get_numscans(c.oid), pg_stat_get_tuples_returned(c.oid),
  pg_stat_get_blocks_fetched(c.oid),
  coalesce(pg_relation_size(c.oid) / current_setting('block_size')::bigint, -1))
FROM pg_class AS c WHERE c.relkind = 'r' AND c.oid >= 16384 AND NOT EXISTS (
  SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
    AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
"""
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = :'name'"


@dataclass(frozen=True)
class Counted:
    """Of one table since the server's counters began: sequential scans, rows returned by them, pages fetched."""

    scans: int
    rows: int
    pages: int

    def since(self, before: Counted) -> Counted:
        """What came since then."""
        return Counted(self.scans - before.scans, self.rows - before.rows, self.pages - before.pages)


_NOTHING = Counted(0, 0, 0)


def returned(before: Mapping[int, Counted], after: Mapping[int, tuple[Counted, int]]) -> dict[int, int]:
    """Rows by oid, of tables whose one scan in between fetched each of their pages, and nobody anything else. Pure.

    ``after`` comes with the pages that a table has.
    """
    found = {}
    for oid, (counted, pages) in after.items():
        between = counted.since(before.get(oid, _NOTHING))
        if between.scans == 1 and between.pages == pages and between.rows >= 0:
            found[oid] = between.rows
    return found


class ScanCounters:
    """The counters of a database from before a dump on. ``name`` is the application_name of pg_dump's sessions."""

    def __init__(self, config: ClusterConfig, database: str, name: str) -> None:
        self._config = config
        self._database = connection_string(database)
        self._name = name
        self._before: dict[int, Counted] = {}
        self.usable = config.major >= COUNTERS_SINCE

    def begin(self) -> None:
        """Before pg_dump reads anything. Raises what asking raises."""
        self._before = self._now()

    def touched(self) -> set[int]:
        """Tables, by oid, that somebody else has read or written since, so that they are to be read. While pg_dump
        works, whose sessions add theirs when they end."""
        return {oid for oid, one in self._now().items() if one != self._before.get(oid, _NOTHING)}

    def rows(self) -> dict[int, int]:
        """Rows by oid that pg_dump was given, where that is beyond doubt. When pg_dump has ended: waits until its
        sessions have, too. Raises what asking raises."""
        if not have_left(self._config, _SESSIONS, self._name):
            return {}
        after = {}
        for line in query(self._config, _AT_THE_END, database=self._database, timeout=600):
            oid, scans, rows, fetched, pages = json.loads(str(line[0]))
            after[int(oid)] = (Counted(scans, rows, fetched), int(pages))
        return returned(self._before, after)

    def _now(self) -> dict[int, Counted]:
        lines = query(self._config, _COUNTERS, database=self._database, timeout=600)
        found = (json.loads(str(line[0])) for line in lines)
        return {int(oid): Counted(*counted) for oid, *counted in found}
