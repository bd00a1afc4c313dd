# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Thresholds of the findings about indexes, each with where it comes from; the options of the module change them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

MB = 1 << 20
DAY = 86400


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, spans in seconds, shares of one."""

    unused_seconds: float = 35 * DAY
    drop_bytes: int = 10 * MB
    rare_seconds: float = 7 * DAY
    bloat_share: float = 0.5
    bloat_bytes: int = 256 * MB
    growth_factor: float = 2.0
    null_share: float = 0.5
    common_share: float = 0.9
    partial_rows: int = 100_000
    amplification: float = 1.5
    hot_share: float = 0.5
    index_count: int = 15
    index_heap_ratio: float = 2.0
    small_table_bytes: int = 9 * MB
    ratio_table_bytes: int = 10 * MB
    missing_rows: int = 10_000
    missing_saving: float = 0.5
    kept_per_class: int = 500

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> Limits:
        """With what the caller gave; names that do not exist are refused by the module's documentation."""
        known = {field.name for field in fields(cls)}
        return cls(
            **{name: value for name, value in (given or {}).items() if name in known and value is not None}
        )


#: Where the figures come from: the reports that use them, or our own reason.
SOURCES = {
    "unused_seconds": "35 days hold every weekday five times and one end of a month (pganalyze's window)",
    "drop_bytes": "10 MB, as pg-index-health and PgHero show them",
    "rare_seconds": "7 days, as pgdoctor's window",
    "bloat_share": "50 %, as check_pgactivity's users and pghero alert",
    "growth_factor": "twice its own best, as index_pilot",
    "common_share": "0.9 of all rows",
    "null_share": "0.5 of all rows",
    "amplification": "index bytes written for each byte of a row",
    "hot_share": "half of the updates",
    "index_count": "15 indexes on a table",
    "index_heap_ratio": "indexes twice as large as their table",
    "small_table_bytes": "9 MB, as pgx_scripts ranks foreign keys",
    "missing_saving": "50 % of the cost, as Dexter",
    "ordered": "0.5: a scan by an index of more columns is counted with three quarters of the order (btcostestimate)",
    "size_ratio": "3: a cover that is larger is read instead",
}
