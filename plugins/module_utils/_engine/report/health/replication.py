# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Checks of standbys, slots, subscriptions, recovery and archiving. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..finding import CRITICAL, HIGH, MEDIUM, Finding
from .frame import Facts, Row, severity_of, tell


def lag(facts: Facts) -> Iterator[Finding]:
    """HC12: standbys that stay behind. Time counts only while there is something to replay."""
    for row in facts.rows("standbys"):
        levels = []
        for name, value in (("lag_bytes", row["lag_bytes"]), ("lag_seconds", row["lag_seconds"])):
            if name == "lag_seconds" and not (row["lag_bytes"] or 0) > 0:
                continue
            level = facts.limits[name].level(value)
            if level:
                levels.append((level, name))
        if levels:
            level, name = min(levels)
            thing = {"kind": "standby", "name": str(row["application_name"] or row["client_addr"] or "-")}
            value = {"lag_bytes": row["lag_bytes"], "lag_seconds": row["lag_seconds"], "state": row["state"]}
            yield tell(facts, "HC12", severity_of(level), thing, value, limit=facts.limits[name])


def slots(facts: Facts) -> Iterator[Finding]:
    """HC14: slots that were lost, that keep too much WAL, or that nobody uses."""
    for row in facts.rows("slots"):
        if row["temporary"]:
            continue
        thing = {"kind": "slot", "name": row["name"]}
        value = {
            "retained_bytes": row["retained_bytes"],
            "wal_status": row["wal_status"],
            "active": row["active"],
            "inactive_seconds": _inactive(facts, row),
        }
        drop = ("SELECT pg_drop_replication_slot('" + str(row["name"]).replace("'", "''") + "')",)
        database = str(row["database"] or "")
        if row["wal_status"] == "lost" or row.get("conflicting") or row.get("invalidation_reason"):
            reason = row.get("invalidation_reason") or (
                "conflict" if row.get("conflicting") else "wal_removed"
            )
            told = {**value, "reason": reason}
            yield tell(facts, "HC14", CRITICAL, thing, told, key="HC14_lost", database=database, action=drop)
            continue
        share, limit = _retained(facts, row)
        level = limit.level(share)
        if level or row["wal_status"] == "unreserved":
            severity = CRITICAL if row["wal_status"] == "unreserved" else severity_of(str(level), urgent=True)
            yield tell(
                facts, "HC14", severity, thing, value, limit=limit, key="HC14_retained", database=database
            )
            continue
        limit = facts.limits["slot_inactive_seconds"]
        level = limit.level(value["inactive_seconds"])
        if level and not row["active"]:
            yield tell(
                facts,
                "HC14",
                severity_of(level),
                thing,
                value,
                limit=limit,
                key="HC14_inactive",
                database=database,
                action=drop,
            )


def _inactive(facts: Facts, row: Row) -> float | None:
    """How long nobody used it: by the server's word from 17 on, else by the first run that saw it so."""
    if row["active"]:
        return None
    if row.get("inactive_seconds") is not None:
        return float(row["inactive_seconds"])
    since = facts.before.get("idle_slots", {}).get(row["name"])
    now = facts.before.get("now")
    return max(0.0, now - since) if since is not None and now is not None else None


def _retained(facts: Facts, row: Row) -> tuple[float | None, Any]:
    """Of what is allowed (max_slot_wal_keep_size, in MB), of the file system, or bytes where neither is known."""
    kept = row["retained_bytes"]
    most = facts.number("max_slot_wal_keep_size")
    size = most << 20 if most > 0 else _wal_disk(facts)
    if kept is None or not size:
        return kept, facts.limits["slot_retained_bytes"]
    return kept / size, facts.limits["slot_retained_share"]


def _wal_disk(facts: Facts) -> int:
    return next((int(disk["total_bytes"]) for disk in facts.disks if "wal" in disk["holds"]), 0)


def subscriptions(facts: Facts) -> Iterator[Finding]:
    """HC15: errors of subscriptions since the last run."""
    old = {row["name"]: row for row in facts.before.get("subscriptions", [])}
    for row in facts.rows("subscriptions"):
        then = old.get(row["name"]) or {"apply_errors": 0, "sync_errors": 0, "stats_reset": None}
        same = then["stats_reset"] == row["stats_reset"]
        errors = {
            name: row[name] - (then[name] if same and row[name] >= then[name] else 0)
            for name in ("apply_errors", "sync_errors")
        }
        if any(errors.values()):
            yield tell(
                facts,
                "HC15",
                HIGH,
                {"kind": "subscription", "name": row["name"]},
                errors,
                window=facts.window,
            )


def recovery(facts: Facts) -> Iterator[Finding]:
    """HC37: a standby that replays nothing: paused, or without anybody to receive from."""
    row = facts.instance.get("recovery")
    if not row:
        return
    value = {"unreplayed_bytes": row["unreplayed_bytes"], "replayed_seconds": row["replayed_seconds"]}
    thing = {"kind": "standby"}
    if row["paused"]:
        resume = ("SELECT pg_wal_replay_resume()",)
        yield tell(facts, "HC37", HIGH, thing, value, key="HC37_paused", action=resume)
    elif row["receiver"] != "streaming":
        told = {**value, "receiver": row["receiver"] or "none"}
        yield tell(facts, "HC37", MEDIUM, thing, told, key="HC37_receiver")


def archiver(facts: Facts) -> Iterator[Finding]:
    """HC16: archiving that fails now, or falls behind."""
    row = facts.instance["archiver"]
    if row is None or facts.setting("archive_mode") not in ("on", "always"):
        return
    if facts.in_recovery and facts.setting("archive_mode") != "always":
        return
    thing = {"kind": "archiver"}
    ready = facts.instance["ready"] or {}
    value = {
        "ready": ready.get("ready"),
        "oldest_seconds": ready.get("oldest_seconds"),
        "archived_seconds": row["archived_seconds"],
        "failed_seconds": row["failed_seconds"],
        "segment": row["last_failed_wal"],
        "failures": row["failed_count"],
    }
    failed, archived = row["failed_seconds"], row["archived_seconds"]
    if failed is not None and (archived is None or failed < archived):
        yield tell(facts, "HC16", CRITICAL, thing, value, key="HC16_failing")
        return
    limit = facts.limits["archive_ready"]
    level = limit.level(ready.get("ready"))
    if level:
        yield tell(facts, "HC16", severity_of(level), thing, value, limit=limit, key="HC16_behind")


CHECKS = (lag, slots, subscriptions, recovery, archiver)
