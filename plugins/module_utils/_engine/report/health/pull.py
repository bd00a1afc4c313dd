# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the instance tells of itself: sessions, replication, archiving, ages, counters. Each question may fail alone."""

from __future__ import annotations

from typing import Any

from ..session import Look, Node

Row = dict[str, Any]

#: Without what the report has set for its own session. What the server works out by itself is usual, too.
_SETTINGS = """
SELECT name, reset_val AS setting, context, pending_restart,
       source = 'default' OR reset_val IS NOT DISTINCT FROM boot_val AS usual
FROM pg_settings WHERE source NOT IN ('client', 'database', 'user', 'database user')
"""
#: pg_blocking_pids takes the locks of the lock table for a moment: only those who wait are asked for.
_SESSIONS = """
SELECT pid, datname AS database, usename AS "user", application_name AS application, host(client_addr) AS client,
       state, backend_type AS kind, wait_event_type, wait_event, query_id::text AS queryid,
       extract(epoch FROM clock_timestamp() - backend_start)::float8 AS connected_seconds,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_seconds,
       extract(epoch FROM clock_timestamp() - query_start)::float8 AS query_seconds,
       extract(epoch FROM clock_timestamp() - state_change)::float8 AS state_seconds,
       age(backend_xmin) AS xmin_age, age(backend_xid) AS xid_age,
       CASE WHEN wait_event_type = 'Lock' THEN pg_blocking_pids(pid) END AS blocked_by
FROM pg_stat_activity WHERE pid <> pg_backend_pid()
"""
_WAITS = """
SELECT l.pid, l.locktype, l.mode, l.relation::bigint AS relation, d.datname AS database,
       extract(epoch FROM clock_timestamp() - l.waitstart)::float8 AS waited_seconds
FROM pg_locks l LEFT JOIN pg_database d ON d.oid = l.database WHERE NOT l.granted
"""
_LOCKS = """
SELECT count(*) FILTER (WHERE NOT fastpath AND locktype NOT IN ('virtualxid', 'transactionid')) AS held FROM pg_locks
"""
_STANDBYS = """
SELECT application_name, host(client_addr) AS client_addr, state, sync_state, age(backend_xmin) AS xmin_age,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       replay_lsn)::bigint AS lag_bytes,
       extract(epoch FROM replay_lag)::float8 AS lag_seconds,
       extract(epoch FROM clock_timestamp() - reply_time)::float8 AS silent_seconds
FROM pg_stat_replication
"""
_SLOTS = """
SELECT slot_name AS name, slot_type AS kind, database, temporary, active, wal_status, safe_wal_size,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       restart_lsn)::bigint AS retained_bytes,
       age(xmin) AS xmin_age, age(catalog_xmin) AS catalog_xmin_age{more}
FROM pg_replication_slots
"""
_DATABASES = """
SELECT d.datname AS name, age(d.datfrozenxid) AS xid_age, mxid_age(d.datminmxid) AS mxid_age, d.datallowconn AS open,
       s.xact_commit AS commits, s.xact_rollback AS rollbacks, s.temp_files, s.temp_bytes, s.deadlocks, s.conflicts,
       s.checksum_failures, extract(epoch FROM s.checksum_last_failure)::float8 AS checksum_last,
       extract(epoch FROM s.stats_reset)::float8 AS stats_reset, s.blks_hit, s.blks_read
FROM pg_database d LEFT JOIN pg_stat_database s ON s.datid = d.oid
"""
_PREPARED = """
SELECT gid, owner AS "user", database, extract(epoch FROM clock_timestamp() - prepared)::float8 AS age_seconds,
       age(transaction) AS xmin_age FROM pg_prepared_xacts
"""
_ARCHIVER = """
SELECT archived_count, failed_count, last_failed_wal, last_archived_wal,
       extract(epoch FROM clock_timestamp() - last_archived_time)::float8 AS archived_seconds,
       extract(epoch FROM clock_timestamp() - last_failed_time)::float8 AS failed_seconds,
       extract(epoch FROM stats_reset)::float8 AS stats_reset FROM pg_stat_archiver
"""
_READY = """
SELECT count(*) AS ready, extract(epoch FROM clock_timestamp() - min(modification))::float8 AS oldest_seconds
FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'
"""
_CHECKPOINTS = {
    False: "SELECT checkpoints_timed AS timed, checkpoints_req AS forced,"
    " extract(epoch FROM stats_reset)::float8 AS stats_reset FROM pg_stat_bgwriter",
    True: "SELECT num_timed AS timed, num_requested AS forced,"
    " extract(epoch FROM stats_reset)::float8 AS stats_reset FROM pg_stat_checkpointer",
}
_RECOVERY = """
SELECT pg_is_wal_replay_paused() AS paused, (SELECT status FROM pg_stat_wal_receiver) AS receiver,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS replayed_seconds,
       pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::bigint AS unreplayed_bytes,
       (SELECT extract(epoch FROM clock_timestamp() - last_msg_receipt_time)::float8 FROM pg_stat_wal_receiver)
         AS silent_seconds,
       (SELECT sender_host FROM pg_stat_wal_receiver) AS sender
"""
_SUBSCRIPTIONS = """
SELECT subname AS name, apply_error_count AS apply_errors, sync_error_count AS sync_errors,
       extract(epoch FROM stats_reset)::float8 AS stats_reset FROM pg_stat_subscription_stats
"""
_TABLESPACES = """
SELECT spcname AS name, nullif(pg_tablespace_location(oid), '') AS path FROM pg_tablespace
WHERE spcname NOT IN ('pg_default', 'pg_global')
"""
_WAL = "SELECT sum(size)::bigint AS bytes, count(*) AS files FROM pg_ls_waldir()"


def rows(look: Look, statement: str, what: str) -> list[Row] | None:
    """Rows with their names; None where they cannot be had."""
    found = look.ask(f"SELECT to_jsonb(q) FROM ({statement}) q", what=what)
    return None if found is None else [dict(row[0]) for row in found]


def instance(look: Look, node: Node) -> dict[str, Any]:
    """All that is asked once. What could not be had is None."""
    more = ""
    if node.major >= 16:
        more += ", conflicting"
    if node.major >= 17:
        more += ", invalidation_reason"
        more += ", extract(epoch FROM clock_timestamp() - inactive_since)::float8 AS inactive_seconds"
    found: dict[str, Any] = {
        "settings": rows(look, _SETTINGS, "settings"),
        "sessions": rows(look, _SESSIONS, "sessions"),
        "waits": rows(look, _WAITS, "waits for locks"),
        "locks": _first(rows(look, _LOCKS, "locks")),
        "standbys": rows(look, _STANDBYS, "standbys"),
        "slots": rows(look, _SLOTS.format(more=more), "replication slots"),
        "databases": rows(look, _DATABASES, "databases"),
        "prepared": rows(look, _PREPARED, "prepared transactions"),
        "archiver": _first(rows(look, _ARCHIVER, "the archiver")),
        "checkpoints": _first(rows(look, _CHECKPOINTS[node.major >= 17], "checkpoints")),
        "tablespaces": rows(look, _TABLESPACES, "tablespaces"),
        "wal": _first(rows(look, _WAL, "the WAL directory")),
        "ready": None,
        "recovery": None,
        "subscriptions": [],
    }
    if _setting(found, "archive_mode") in ("on", "always"):
        found["ready"] = _first(rows(look, _READY, "segments that wait for the archiver"))
    if node.in_recovery:
        found["recovery"] = _first(rows(look, _RECOVERY, "recovery"))
    if node.major >= 15:
        found["subscriptions"] = rows(look, _SUBSCRIPTIONS, "subscriptions")
    return found


def _setting(found: dict[str, Any], name: str) -> str | None:
    return next((str(row["setting"]) for row in found["settings"] or [] if row["name"] == name), None)


def _first(found: list[Row] | None) -> Row | None:
    return found[0] if found else None
