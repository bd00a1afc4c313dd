# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Checks of sessions and locks: connections, blocked chains by their root, what is idle or runs too long. Pure.

A finding's object is a role, an application and a database, never a process: the next run must know it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..finding import Finding
from .frame import Facts, Row, severity_of, tell


def connections(facts: Facts) -> Iterator[Finding]:
    """HC01: connections that are used of those that ordinary roles may have."""
    sessions = facts.instance["sessions"]
    most = facts.number("max_connections")
    if sessions is None or not most:
        return
    usable = most - facts.number("superuser_reserved_connections") - facts.number("reserved_connections")
    # Ours is not in the list, and the autovacuum's and other processes have places of their own.
    used = 1 + sum(1 for row in sessions if row["kind"] == "client backend")
    limit = facts.limits["connections_share"]
    level = limit.level(used / max(1, usable))
    if level:
        idle = sum(1 for row in sessions if row["kind"] == "client backend" and row["state"] == "idle")
        value = {"used": used, "usable": usable, "used_share": used / max(1, usable), "idle": idle}
        yield tell(facts, "HC01", severity_of(level, urgent=True), {"kind": "instance"}, value, limit=limit)


def blocked(facts: Facts) -> Iterator[Finding]:
    """HC02: who blocks others, itself blocked by nobody, with all that wait behind it."""
    by_pid = {row["pid"]: row for row in facts.rows("sessions")}
    waits = {row["pid"]: row for row in facts.rows("waits")}
    behind: dict[int, dict[int, int]] = {}
    for pid, row in by_pid.items():
        for root, depth in roots(
            pid, {one: list(it.get("blocked_by") or ()) for one, it in by_pid.items()}
        ).items():
            if root != pid and row.get("blocked_by"):
                behind.setdefault(root, {})[pid] = depth
    limit = facts.limits["blocked_seconds"]
    for root, waiting in behind.items():
        longest = max(float((waits.get(pid) or {}).get("waited_seconds") or 0.0) for pid in waiting)
        level = limit.level(longest)
        if not level:
            continue
        blocker = by_pid.get(root, {})
        value = {
            "waiting": len(waiting),
            "depth": max(waiting.values()),
            "waited_seconds": longest,
            "pid": root,
            "state": blocker.get("state") or "prepared transaction",
            "transaction_seconds": blocker.get("transaction_seconds"),
        }
        yield tell(
            facts,
            "HC02",
            severity_of(level, urgent=True),
            {"kind": "session", **_who(blocker)},
            value,
            limit=limit,
            database=str(blocker.get("database") or ""),
            action=(f"SELECT pg_terminate_backend({root})",) if root in by_pid else (),
        )


def roots(pid: int, blocked_by: dict[int, list[int]]) -> dict[int, int]:
    """Who is at the end of the chains that a process waits in, and over how many steps. Pure.

    A blocker that is not in the list (0: a prepared transaction) is an end. In a ring (a deadlock that is about to be
    broken) everybody is visited once, and nobody is an end.
    """
    found: dict[int, int] = {}
    seen, front, depth = {pid}, [pid], 0
    while front:
        following = []
        for one in front:
            blockers = blocked_by.get(one) or []
            if not blockers:
                found[one] = depth
            following += [other for other in dict.fromkeys(blockers) if other not in seen]
            seen.update(blockers)
        front, depth = list(dict.fromkeys(following)), depth + 1
    return found


def idle(facts: Facts) -> Iterator[Finding]:
    """HC03: sessions that hold a transaction open and do nothing."""
    limit = facts.limits["idle_in_transaction_seconds"]
    for row, count in _longest(
        facts, "state_seconds", lambda row: str(row["state"]).startswith("idle in transaction")
    ):
        level = limit.level(row["state_seconds"])
        if level:
            value = {
                "idle_seconds": row["state_seconds"],
                "transaction_seconds": row["transaction_seconds"],
                "sessions": count,
                "xmin_age": row["xmin_age"],
                "pid": row["pid"],
            }
            yield tell(
                facts,
                "HC03",
                severity_of(level),
                {"kind": "session", **_who(row)},
                value,
                limit=limit,
                database=str(row["database"] or ""),
                action=(f"SELECT pg_terminate_backend({row['pid']})",),
            )


def long_running(facts: Facts) -> Iterator[Finding]:
    """HC04: transactions that are at work for too long; those that hold back nothing count, too."""
    limit = facts.limits["transaction_seconds"]

    def working(row: Row) -> bool:
        return row["kind"] == "client backend" and row["state"] in ("active", "fastpath function call")

    for row, count in _longest(facts, "transaction_seconds", working):
        level = limit.level(row["transaction_seconds"])
        if level:
            value = {
                "transaction_seconds": row["transaction_seconds"],
                "query_seconds": row["query_seconds"],
                "sessions": count,
                "waits_for": row["wait_event"] or "-",
                "queryid": row["queryid"],
                "pid": row["pid"],
            }
            yield tell(
                facts,
                "HC04",
                severity_of(level),
                {"kind": "session", **_who(row)},
                value,
                limit=limit,
                database=str(row["database"] or ""),
                action=(f"SELECT pg_cancel_backend({row['pid']})",),
            )


def lock_table(facts: Facts) -> Iterator[Finding]:
    """HC05: how full the shared lock table is."""
    held = facts.instance["locks"]
    each = facts.number("max_locks_per_transaction")
    places = each * (facts.number("max_connections") + facts.number("max_prepared_transactions"))
    if held is None or not places:
        return
    limit = facts.limits["lock_table_share"]
    share = held["held"] / places
    level = limit.level(share)
    if level:
        value = {"held": held["held"], "places": places, "used_share": share}
        yield tell(facts, "HC05", severity_of(level), {"kind": "instance"}, value, limit=limit)


def prepared(facts: Facts) -> Iterator[Finding]:
    """HC06: prepared transactions that nobody ends."""
    limit = facts.limits["prepared_seconds"]
    for row in facts.rows("prepared"):
        level = limit.level(row["age_seconds"])
        if level:
            thing = {"kind": "prepared transaction", "name": row["gid"], "user": row["user"]}
            value = {"age_seconds": row["age_seconds"], "xmin_age": row["xmin_age"]}
            gid = str(row["gid"]).replace("'", "''")
            yield tell(
                facts,
                "HC06",
                severity_of(level),
                thing,
                value,
                limit=limit,
                database=row["database"],
                action=(f"ROLLBACK PREPARED '{gid}'",),
            )


def deadlocks(facts: Facts) -> Iterator[Finding]:
    """HC07: deadlocks in the window."""
    for row, grown in _grown(facts):
        hours = (facts.seconds or 0.0) / 3600
        rate = grown["deadlocks"] / max(hours, 1.0)
        limit = facts.limits["deadlocks_per_hour"]
        level = limit.level(rate)
        if level:
            value = {"deadlocks": grown["deadlocks"], "over_seconds": facts.seconds}
            yield _of_database(facts, "HC07", severity_of(level), row, value, limit)


def rollbacks(facts: Facts) -> Iterator[Finding]:
    """HC08: how many transactions are rolled back, where enough of them end."""
    for row, grown in _grown(facts):
        ended = grown["commits"] + grown["rollbacks"]
        limit = facts.limits["rollback_share"]
        level = limit.level(grown["rollbacks"] / ended) if ended >= 1000 else None
        if level:
            share = grown["rollbacks"] / ended
            value = {"rollbacks": grown["rollbacks"], "ended": ended, "rolled_back_share": share}
            yield _of_database(facts, "HC08", severity_of(level), row, value, limit)


def temporary(facts: Facts) -> Iterator[Finding]:
    """HC10: temporary files in the window."""
    for row, grown in _grown(facts):
        hours = (facts.seconds or 0.0) / 3600
        limit = facts.limits["temp_bytes_per_hour"]
        # An hour at least: one large sort in a short window is no trend.
        level = limit.level(grown["temp_bytes"] / max(hours, 1.0))
        if level:
            value = {
                "temp_bytes": grown["temp_bytes"],
                "temp_files": grown["temp_files"],
                "over_seconds": facts.seconds,
            }
            yield _of_database(facts, "HC10", severity_of(level), row, value, limit)


def _of_database(facts: Facts, name: str, severity: str, row: Row, value: Row, limit: Any) -> Finding:
    thing = {"kind": "database", "name": row["name"]}
    return tell(
        facts, name, severity, thing, value, limit=limit, database=str(row["name"]), window=facts.window
    )


def _grown(facts: Facts) -> Iterator[tuple[Row, dict[str, int]]]:
    """Each database with what its counters grew by in the window; not those that were reset meanwhile."""
    old = {row["name"]: row for row in facts.before.get("databases", [])}
    names = ("commits", "rollbacks", "temp_files", "temp_bytes", "deadlocks")
    for row in facts.rows("databases"):
        then = old.get(row["name"])
        if then is None or then["stats_reset"] != row["stats_reset"] or row["commits"] is None:
            continue
        grown = {name: int(row[name]) - int(then[name] or 0) for name in names}
        if min(grown.values()) >= 0:
            yield row, grown


def _longest(facts: Facts, measure: str, wanted: Any) -> Iterator[tuple[Row, int]]:
    """The worst session of each role, application and database, and how many of them there are."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in facts.rows("sessions"):
        if row.get(measure) is not None and wanted(row):
            groups.setdefault((row["database"], row["user"], row["application"]), []).append(row)
    for members in groups.values():
        yield max(members, key=lambda row: float(row[measure])), len(members)


def _who(row: Row) -> dict[str, str]:
    return {"user": str(row.get("user") or "-"), "application": str(row.get("application") or "-")}


CHECKS = (connections, blocked, idle, long_running, lock_table, prepared, deadlocks, rollbacks, temporary)
