# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which columns pg_stat_statements has, by the version of the *extension*: it stays behind the server's until somebody
says ``ALTER EXTENSION ... UPDATE`` (manual, appendix F, release notes of 14 to 18)."""

from __future__ import annotations

import re
from collections.abc import Collection

#: The oldest version whose columns are known (PostgreSQL 13).
OLDEST = (1, 8)
#: Our name -> the column, or columns that are summed up, from a version on. The last that fits is taken.
_SINCE: dict[str, tuple[tuple[tuple[int, int], str], ...]] = {
    "plans": (((1, 8), "plans"),),
    "plan_ms": (((1, 8), "total_plan_time"),),
    "calls": (((1, 8), "calls"),),
    "exec_ms": (((1, 8), "total_exec_time"),),
    "mean_ms": (((1, 8), "mean_exec_time"),),
    "stddev_ms": (((1, 8), "stddev_exec_time"),),
    "rows": (((1, 8), "rows"),),
    "hit": (((1, 8), "shared_blks_hit"),),
    "read": (((1, 8), "shared_blks_read"),),
    "dirtied": (((1, 8), "shared_blks_dirtied"),),
    "written": (((1, 8), "shared_blks_written"),),
    "local": (((1, 8), "local_blks_hit + local_blks_read"),),
    "temp_read": (((1, 8), "temp_blks_read"),),
    "temp_written": (((1, 8), "temp_blks_written"),),
    "read_ms": (
        ((1, 8), "blk_read_time"),
        ((1, 10), "blk_read_time + temp_blk_read_time"),
        ((1, 11), "shared_blk_read_time + local_blk_read_time + temp_blk_read_time"),
    ),
    "write_ms": (
        ((1, 8), "blk_write_time"),
        ((1, 10), "blk_write_time + temp_blk_write_time"),
        ((1, 11), "shared_blk_write_time + local_blk_write_time + temp_blk_write_time"),
    ),
    "wal_bytes": (((1, 8), "wal_bytes"),),
    "wal_fpi": (((1, 8), "wal_fpi"),),
    "jit_ms": (
        (
            (1, 10),
            "jit_generation_time + jit_inlining_time + jit_optimization_time + jit_emission_time",
        ),
        (
            (1, 11),
            "jit_generation_time + jit_inlining_time + jit_optimization_time + jit_emission_time"
            " + jit_deform_time",
        ),
    ),
    "wal_full": (((1, 12), "wal_buffers_full"),),
    "workers_wanted": (((1, 12), "parallel_workers_to_launch"),),
    "workers_got": (((1, 12), "parallel_workers_launched"),),
}
#: What never goes down while an entry lives. The mean and the deviation are made into sums (see :mod:`.delta`).
COUNTERS = tuple(name for name in _SINCE if name not in ("mean_ms", "stddev_ms"))


def version(text: str) -> tuple[int, int]:
    """``1.10`` as numbers: it is newer than 1.9."""
    parts = re.findall(r"\d+", text)
    return int(parts[0]), int(parts[1]) if len(parts) > 1 else 0


def expressions(extension: tuple[int, int], there: Collection[str]) -> dict[str, str]:
    """Our names -> SQL, for an extension of this version whose function returns the columns ``there``. Pure.

    A version that we don't know yet is read as the newest known, as far as it has the columns.
    """
    chosen = {}
    for name, forms in _SINCE.items():
        fitting = [form for since, form in forms if since <= extension]
        if fitting and set(re.findall(r"\w+", fitting[-1])) <= set(there):
            chosen[name] = fitting[-1]
    return chosen


def statement(extension: tuple[int, int], there: Collection[str], function: str) -> tuple[list[str], str]:
    """The names in order and the statement that reads all counters, and no text (that costs a hundred times more).

    Before the names come user, database, queryid, toplevel and the epoch of ``stats_since``, the last two null where
    the version does not have them. ``function`` is the quoted and qualified name.
    """
    chosen = expressions(extension, there)
    toplevel = "toplevel" if extension >= (1, 9) and "toplevel" in there else "NULL::boolean"
    since = (
        "extract(epoch FROM stats_since)::float8"
        if extension >= (1, 11) and "stats_since" in there
        else "NULL"
    )
    cast = ", ".join(f"({form})::float8" for form in chosen.values())
    return list(
        chosen
    ), f"SELECT userid::bigint, dbid::bigint, queryid, {toplevel}, {since}, {cast} FROM {function}(false)"
