# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whether WAL is being streamed out of this server, and what it costs when it is not. Asked of the server itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from ..core.check_words import CHECK_WORDS
from ..core.sayings import Both, both
from ..core.sizes import format_bytes
from .health import FAILED, OK, WARNING, Check

#: How far a receiver may be behind before that is worth a word.
_LAG_BYTES = 64 << 20

_SLOT = """
WITH here AS (
  SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END AS lsn
)
SELECT s.active, s.wal_status, s.safe_wal_size, pg_wal_lsn_diff(here.lsn, s.restart_lsn)::bigint,
  pg_wal_lsn_diff(here.lsn, r.flush_lsn)::bigint, extract(epoch FROM r.flush_lag), r.sync_state,
  current_setting('max_slot_wal_keep_size')
FROM here, pg_replication_slots AS s LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid
WHERE s.slot_name = :'slot'
"""


def ask_streaming(config: ClusterConfig) -> dict[str, Any] | None:
    """The receiver's slot as the server sees it; None where nothing is to be streamed.

    ``retained_bytes``: WAL that the slot holds back on the server; ``behind_bytes``, ``behind_seconds``: written there
    and not yet durable at the receiver. Raises what :func:`cluster.psql.query` raises.
    """
    if config.receive is None:
        return None
    rows = query(config, _SLOT, values={"slot": config.receive.slot})
    if not rows:
        return {"slot": config.receive.slot, "exists": False}
    active, status, safe, retained, behind, lag, sync, limit = rows[0]
    return {
        "slot": config.receive.slot,
        "exists": True,
        "active": active == "t",
        "wal_status": status,
        "safe_wal_bytes": int(safe) if safe else None,
        "retained_bytes": int(retained) if retained else None,
        "behind_bytes": max(0, int(behind)) if behind else None,
        "behind_seconds": round(float(lag), 3) if lag else None,
        "synchronous": sync in ("sync", "quorum"),
        "guarded": limit != "-1",
    }


def streaming_check(found: Mapping[str, Any]) -> Check:
    """Pure: what that means, and what to do."""
    slot = found["slot"]
    if "unknown" in found:
        return Check.told("receive", WARNING, "unknown_why", why=str(found["unknown"]))
    if not found["exists"]:
        return Check.told("receive", FAILED, "receive_no_slot", slot=slot)
    if found["wal_status"] == "lost":
        return Check.told("receive", FAILED, "receive_lost", slot=slot)
    held = format_bytes(found["retained_bytes"] or 0)
    if not found["active"]:
        limit = Both("", "") if found["guarded"] else both(CHECK_WORDS, "receive_unlimited")
        return Check.told("receive", FAILED, "receive_idle", slot=slot, held=held, limit=limit)
    if found["wal_status"] == "unreserved":
        return Check.told("receive", FAILED, "receive_unreserved", slot=slot, held=held)
    if not found["guarded"]:
        return Check.told("receive", WARNING, "receive_unguarded")
    behind = found["behind_bytes"] or 0
    state = WARNING if behind > _LAG_BYTES else OK
    word = "receive_sync" if found["synchronous"] else "receive_async"
    return Check.told("receive", state, word, behind=format_bytes(behind))
