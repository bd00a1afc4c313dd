# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What pg_qualstats has seen, where it is installed: which columns filter away most rows that are read.

It samples: a statement in sample_rate is looked at (one in max_connections, unless that was set), so what it tells is
never a proof, and what it does not tell of may be there all the same. Its constants are values of people's data and
are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..index.draft import Create
from ..index.facts import Database
from ..session import Look
from .candidates import Use, candidates

#: PoWA's wizard: 1,000 rows filtered by an execution, and three rows in ten of those that were looked at.
ROWS_FILTERED, SHARE_FILTERED = 1000, 0.3
_EQUAL = 3
#: The B-tree strategy of an operator, by the default operator class of the type on its left.
_SEEN = """
SELECT q.queryid::text, coalesce(q.qualid, q.qualnodeid)::text, q.lrelid::bigint, q.lattnum::int, s.amopstrategy::int,
    sum(q.occurences)::bigint, sum(q.execution_count)::bigint, sum(q.nbfiltered)::bigint
FROM {place}.pg_qualstats q CROSS JOIN LATERAL (
    SELECT min(o.amopstrategy) AS amopstrategy FROM pg_amop o JOIN pg_opclass c ON c.opcfamily = o.amopfamily
    WHERE o.amopopr = q.opno AND c.opcdefault AND c.opcmethod = (SELECT oid FROM pg_am WHERE amname = 'btree')) s
WHERE q.eval_type = 'f' AND q.lrelid IS NOT NULL AND q.rrelid IS NULL AND s.amopstrategy IS NOT NULL
  AND q.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY 1, 2, 3, 4, 5
"""
_RATE = """
SELECT current_setting('pg_qualstats.sample_rate', true)::float8, current_setting('max_connections')::float8
"""


class Seen(NamedTuple):
    """One comparison of one statement. ``read`` rows were compared, ``filtered`` of them were thrown away."""

    queryid: str
    group: str
    table: int
    column: int
    strategy: int
    occurrences: int
    read: int
    filtered: int


@dataclass(frozen=True)
class Sampled:
    """The evidence for one candidate: statements, how often they were seen, rows thrown away, and how few were seen."""

    queryids: tuple[str, ...]
    occurrences: int
    filtered: int
    sample_share: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**self.__dict__, "queryids": list(self.queryids)}


def sampled(look: Look, database: Database, place: str | None, rows: int) -> dict[Create, Sampled]:
    """Candidate -> what was seen of it; nothing where the extension is not there or shows nothing."""
    if place is None:
        return {}
    found = look.ask(_SEEN.format(place=place), what="predicates of pg_qualstats") or []
    rate, connections = (look.ask(_RATE, what="the sample rate of pg_qualstats") or [(None, 1.0)])[0]
    share = 1.0 / float(connections) if rate is None or float(rate) < 0 else float(rate)
    return judged(
        database, [Seen(str(row[0]), str(row[1]), *map(int, row[2:])) for row in found], share, rows
    )


def judged(database: Database, seen: Iterable[Seen], share: float, rows: int) -> dict[Create, Sampled]:
    """Candidates of the comparisons that throw most of what they read away. Pure."""
    groups: dict[tuple[str, str, int], list[Seen]] = {}
    for one in seen:
        groups.setdefault((one.queryid, one.group, one.table), []).append(one)
    found: dict[Create, Sampled] = {}
    for (queryid, _group, oid), members in groups.items():
        table = database.tables.get(oid)
        if table is None or table.rows < rows or not _worth(members):
            continue
        for wish in _wishes(database, oid, members):
            before = found.get(wish)
            found[wish] = Sampled(
                tuple(sorted({queryid, *(before.queryids if before else ())})),
                (before.occurrences if before else 0) + max(one.occurrences for one in members),
                (before.filtered if before else 0) + max(one.filtered for one in members),
                share,
            )
    return found


def _worth(members: list[Seen]) -> bool:
    """By the comparison of the group that throws most away: the others see what it has left over."""
    most = max(members, key=lambda one: one.filtered)
    return most.filtered >= ROWS_FILTERED * max(
        1, most.occurrences
    ) and most.filtered >= SHARE_FILTERED * max(1, most.read)


def _wishes(database: Database, table: int, members: list[Seen]) -> Iterator[Create]:
    equal = {one.column for one in members if one.strategy == _EQUAL}
    ranges = {one.column for one in members if one.strategy != _EQUAL}
    yield from candidates(database, table, Use(equal, ranges - equal, (), whole=True))
