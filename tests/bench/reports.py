# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What reading a large server costs it: processor seconds and temporary files of each report."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at
from tests.integration.harness.cluster import Cluster
from tests.integration.harness.sandbox import Sandbox
from tests.integration.report_help import login_options
from tests.integration.report_scale import REPORTS, cost_of, large
from tests.integration.test_index_scale import MOST_SERVER_SECONDS, MOST_TEMPORARY_BYTES, TABLES

from .record import Row, say


def measure(sandbox: Sandbox, *, repeat: int) -> list[Row]:
    """A row for each report; the first run, which has no baseline and fetches all texts, and later ones."""
    say(f"a server with {TABLES} tables, {10 * TABLES} indexes and as many sequences as tables")
    cluster = large(sandbox)
    rows = []
    for name, report in {"index": _indexes, **REPORTS}.items():
        seconds, spilled = [], []
        for _number in range(repeat + 1):
            spent, result = cost_of(cluster, report)
            seconds.append(round(spent, 2))
            spilled.append(int(result["cost"]["temp_bytes"] or 0))
        say(f"pg_{name}_info: {seconds} s of the server's processors, {spilled} bytes of temporary files")
        met = max(seconds) <= MOST_SERVER_SECONDS and max(spilled) <= MOST_TEMPORARY_BYTES
        rows.append(
            Row(
                f"pg_{name}_info over {TABLES} tables, {10 * TABLES} indexes (server's processor seconds)",
                statistics.median(seconds),
                "",
                None,
                None,
                f"<= {MOST_SERVER_SECONDS:g} s, <= {MOST_TEMPORARY_BYTES >> 20} MB temporary",
                met,
                {"ours": seconds},
                {"temp_bytes": max(spilled)},
            )
        )
    return rows


def _indexes(cluster: Cluster, *, budget_seconds: float) -> dict[str, Any]:
    directory = str(Path(cluster.root) / "report")
    return look_at(Request(login_options(cluster), directory, ("postgres",), budget_seconds=budget_seconds))
