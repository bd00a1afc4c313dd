# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whether the queries of a table got worse after a change: by differences, never by a look at life-time figures alone.

A statement regressed when it was called often enough, takes more time for a call than noise explains, and reads more
blocks for a call: time alone moves with the load of the host, blocks move with the plan.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

_INSTALLED = """
SELECT quote_ident(n.nspname) || '.pg_stat_statements' FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
"""
_STATEMENTS = """
SELECT queryid::text, query, sum(calls)::bigint, sum(total_exec_time)::float8,
    sum(shared_blks_hit + shared_blks_read)::bigint
FROM {place} WHERE dbid = (SELECT oid FROM pg_database WHERE datname = %s) AND queryid IS NOT NULL
GROUP BY queryid, query
"""
_WORD = re.compile(r"\w+")
_READS = re.compile(
    r"^\s*(?:/\*.*?\*/\s*)*(?:select|with|insert|update|delete|merge|table|values)\b", re.I | re.S
)

Rows = Callable[..., list[tuple[Any, ...]]]


class Count(NamedTuple):
    """One statement's counters."""

    text: str
    calls: int
    ms: float
    blocks: int


@dataclass(frozen=True)
class Regression:
    """A statement that got worse, with what it was held against."""

    queryid: str
    text: str
    calls: int
    mean_ms_before: float
    mean_ms_after: float
    blocks_before: float
    blocks_after: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values; the text is the normalised one, cut."""
        return {**self.__dict__, "text": " ".join(self.text.split())[:300]}


def place_of(rows: Rows) -> str | None:
    """Where the view of pg_stat_statements is in this database, or None."""
    found = rows(_INSTALLED)
    return str(found[0][0]) if found else None


def counts(rows: Rows, place: str, database: str, table: str) -> dict[str, Count]:
    """The counters of all statements of a database that speak of a table, by their query ids.

    The view shows those of every database, in whichever one it is.
    """
    wanted = _WORD.findall(table.lower())
    return {
        str(queryid): Count(str(text), int(calls), float(ms), int(blocks))
        for queryid, text, calls, ms, blocks in rows(_STATEMENTS.format(place=place), [database])
        if _READS.match(str(text)) and speaks_of(str(text), wanted)
    }


def speaks_of(text: str, words: Iterable[str]) -> bool:
    """Whether all words of a name are in a statement's text. Too many rather than too few."""
    there = set(_WORD.findall(text.lower()))
    return all(word in there for word in words)


def regressions(
    began: Mapping[str, Count], now: Mapping[str, Count], *, factor: float, calls: int
) -> list[Regression]:
    """Statements that are worse since ``began`` (just before the change) than they were up to it."""
    found = []
    for queryid, last in now.items():
        base = began.get(queryid)
        if base is None or not base.calls or last.calls - base.calls < calls:
            continue
        since = last.calls - base.calls
        mean, mean_base = (last.ms - base.ms) / since, base.ms / base.calls
        blocks, blocks_base = (last.blocks - base.blocks) / since, base.blocks / base.calls
        if mean > factor * mean_base and blocks > factor * max(blocks_base, 1.0):
            found.append(
                Regression(
                    queryid,
                    last.text,
                    since,
                    round(mean_base, 4),
                    round(mean, 4),
                    round(blocks_base, 1),
                    round(blocks, 1),
                )
            )
    return sorted(found, key=lambda one: -(one.mean_ms_after - one.mean_ms_before) * one.calls)
