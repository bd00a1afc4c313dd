# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""From entries of a window to statements, rankings, shares and coverage. Pure.

A statement is all entries of one database, role and level whose texts have one fingerprint: a list of another length,
or another queryid after an upgrade, is no other statement.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import delta
from .delta import Change, Changes


@dataclass(frozen=True)
class Known:
    """What is known of a text: its fingerprint, as much of it as may be shown, and whether a report sent it."""

    fingerprint: str
    text: str | None
    ours: bool = False


@dataclass(frozen=True)
class Statement:
    """One statement with what it did. ``name`` identifies it by names, over hosts and versions."""

    database: str
    user: str
    toplevel: bool
    fingerprint: str | None
    queryids: tuple[str, ...]
    text: str | None
    change: Change
    ours: bool = False

    @property
    def name(self) -> str:
        """Database, role, level and fingerprint (where there is no text, the queryid)."""
        return json.dumps([self.database, self.user, self.toplevel, self.fingerprint or self.queryids[0]])

    @property
    def figures(self) -> delta.Counters:
        """What it did."""
        return self.change.figures


#: What statements are ranked by; what gives 0 or None is not in the list.
RANKINGS: dict[str, Callable[[delta.Counters], float | None]] = {
    "total": delta.total_ms,
    "mean": delta.mean_ms,
    "calls": lambda one: one.get("calls"),
    "rows_per_call": lambda one: one.get("rows", 0.0) / one["calls"] if one.get("calls") else None,
    "read": lambda one: one.get("read"),
    "dirtied": lambda one: one.get("dirtied"),
    "io": delta.io_ms,
    "temp": lambda one: one.get("temp_written", 0.0) + one.get("temp_read", 0.0),
    "wal": lambda one: one.get("wal_bytes"),
    "planning": lambda one: one.get("plan_ms"),
    "jit": lambda one: one.get("jit_ms"),
    "variance": lambda one: delta.variation(one) if one.get("calls", 0) >= 2 else None,
    "parallel": lambda one: max(0.0, one.get("workers_wanted", 0.0) - one.get("workers_got", 0.0)),
}


def statements(
    changes: Changes,
    texts: Mapping[str, Known],
    databases: Mapping[str, str],
    roles: Mapping[str, str],
) -> list[Statement]:
    """Entries as statements, by total time. ``texts``: by ``database:queryid``; the others: names by oid."""
    groups: dict[tuple[str, str, bool, str], list[tuple[str, Change]]] = {}
    for key, change in changes.entries.items():
        user, database, level, queryid = key.split(":")
        known = texts.get(f"{database}:{queryid}")
        mark = known.fingerprint if known else f"#{queryid}"
        groups.setdefault((database, user, level == "t", mark), []).append((queryid, change))
    made = []
    for (database, user, toplevel, mark), members in groups.items():
        queryids = tuple(sorted(queryid for queryid, _change in members))
        known = texts.get(f"{database}:{queryids[0]}")
        made.append(
            Statement(
                databases.get(database, f"({database})"),
                roles.get(user, f"({user})"),
                toplevel,
                None if mark.startswith("#") else mark,
                queryids,
                known.text if known else None,
                delta.together(change for _queryid, change in members),
                known is not None and known.ours,
            )
        )
    return sorted(made, key=lambda one: (-one.change.total_ms, one.name))


def ranked(all_of_them: list[Statement], count: int) -> dict[str, list[Statement]]:
    """The first of each ranking."""
    found: dict[str, list[Statement]] = {}
    for ranking, weigh in RANKINGS.items():
        weighed = [(weigh(one.figures) or 0.0, one) for one in all_of_them]
        weighed = [pair for pair in weighed if pair[0] > 0]
        weighed.sort(key=lambda pair: (-pair[0], pair[1].name))
        found[ranking] = [one for _weight, one in weighed[:count]]
    return found


def total(all_of_them: list[Statement]) -> float:
    """Milliseconds of all statements that clients sent; what functions ran is in those that called them."""
    return sum(one.change.total_ms for one in all_of_them if one.toplevel)


def split(all_of_them: list[Statement], seconds: float | None) -> dict[str, Any]:
    """Where the time went, and how many sessions worked on average."""
    sent = [one.figures for one in all_of_them if one.toplevel]

    def sums(name: str) -> float:
        return sum(one.get(name, 0.0) for one in sent)

    whole = sum(map(delta.total_ms, sent))
    other = sums("read_ms") + sums("write_ms") + sums("plan_ms") + sums("jit_ms")
    return {
        "total_ms": round(whole, 3),
        "cpu_ms": round(max(0.0, whole - other), 3),
        "read_ms": round(sums("read_ms"), 3),
        "write_ms": round(sums("write_ms"), 3),
        "plan_ms": round(sums("plan_ms"), 3),
        "jit_ms": round(sums("jit_ms"), 3),
        "calls": int(sums("calls")),
        "sessions": round(whole / 1000 / seconds, 4) if seconds and seconds > 0 else None,
    }


def shares(all_of_them: list[Statement], of: Callable[[Statement], str]) -> list[dict[str, Any]]:
    """Load by database or role, largest first."""
    whole = total(all_of_them)
    sums: dict[str, list[float]] = {}
    for one in all_of_them:
        if one.toplevel:
            kept = sums.setdefault(of(one), [0.0, 0.0])
            kept[0] += one.change.total_ms
            kept[1] += one.change.calls
    return [
        {"name": name, "total_ms": round(spent, 3), "calls": int(calls), "load_share": _share(spent, whole)}
        for name, (spent, calls) in sorted(sums.items(), key=lambda item: (-item[1][0], item[0]))
    ]


def coverage(all_of_them: list[Statement], before: Mapping[str, Any], now: Mapping[str, Any]) -> float | None:
    """How much of the time that the server worked is in these statements; None where that cannot be told.

    ``before`` and ``now``: ``active_ms`` and ``stats_reset`` by database (pg_stat_database).
    """
    worked = 0.0
    for oid, new in now.items():
        old = before.get(oid)
        if new["active_ms"] is None or old is None or old.get("stats_reset") != new["stats_reset"]:
            return None
        worked += new["active_ms"] - old["active_ms"]
    return min(1.0, total(all_of_them) / worked) if worked > 0 else None


def shown(one: Statement, whole: float, block_bytes: int) -> dict[str, Any]:
    """A statement as JSON, with units in the names."""
    figures = one.figures
    calls = figures.get("calls", 0.0)
    variance = delta.variance_ms2(figures)

    def size(*names: str) -> int:
        return int(sum(figures.get(name, 0.0) for name in names) * block_bytes)

    return {
        "id": one.fingerprint or f"#{one.queryids[0]}",
        "queryid": one.queryids[0],
        "queryids": list(one.queryids),
        "database": one.database,
        "user": one.user,
        "toplevel": one.toplevel,
        "text": one.text,
        "ours": one.ours,
        "how": one.change.how,
        "certainty": one.change.certainty,
        "calls": int(calls),
        "total_ms": round(one.change.total_ms, 3),
        "mean_ms": _rounded(delta.mean_ms(figures)),
        "deviation_ms": _rounded(variance**0.5 if variance is not None else None),
        "plan_ms": round(figures.get("plan_ms", 0.0), 3),
        "read_ms": round(figures.get("read_ms", 0.0), 3),
        "write_ms": round(figures.get("write_ms", 0.0), 3),
        "jit_ms": round(figures.get("jit_ms", 0.0), 3),
        "rows": int(figures.get("rows", 0.0)),
        "hit_bytes": size("hit"),
        "read_bytes": size("read"),
        "dirtied_bytes": size("dirtied"),
        "temp_bytes": size("temp_read", "temp_written"),
        "wal_bytes": int(figures.get("wal_bytes", 0.0)),
        "workers_wanted": int(figures.get("workers_wanted", 0.0)),
        "workers_got": int(figures.get("workers_got", 0.0)),
        "load_share": _share(one.change.total_ms, whole),
    }


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole > 0 else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
