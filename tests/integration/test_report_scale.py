# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The reports on health and on statements where there is very much: what they cost, and that they wait for nobody."""

from __future__ import annotations

from typing import Any

import pytest

from .harness.lockwatch import changed_meanwhile, held, watched
from .harness.sandbox import Sandbox
from .report_scale import REPORTS, STATEMENTS, cost_of, large
from .test_index_scale import MOST_SERVER_SECONDS, MOST_TEMPORARY_BYTES, TABLES

#: How long somebody may be kept from a table or a sequence, on a machine that is busy.
MOST_KEPT_SECONDS = 0.5


@pytest.mark.matrix
def test_what_reports_on_health_and_statements_cost(
    sandbox: Sandbox, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = large(sandbox)
    for name, report in REPORTS.items():
        for number, which in enumerate(("first", "again")):
            spent, result = cost_of(cluster, report)
            with capsys.disabled():
                print(f"\n{name}, {which}: {spent:.2f} s of the server's processors, {result['cost']}")
            record_property(f"{name}-{number}", {"server_seconds": round(spent, 2), **result["cost"]})
            assert spent <= MOST_SERVER_SECONDS, (name, which)
            assert 0 <= result["cost"]["temp_bytes"] <= MOST_TEMPORARY_BYTES, (name, which)
            assert result["not_seen"] == []
    assert result["facts"]["extension"]["entries"] > STATEMENTS
    with held(cluster, table="t1", awaited="t2", sequence="s3"), watched(cluster) as seen:
        found = {name: report(cluster, budget_seconds=600.0) for name, report in REPORTS.items()}
    assert seen.nothing, seen
    blind = {gap["what"] for gap in found["health"]["not_seen"] if gap["says"]["key"] == "locked"}
    assert {f"public.{name} in database postgres" for name in ("t1", "t2", "s3")} <= blind
    assert found["query"]["not_seen"] == []
    assert found["query"]["facts"]["extension"]["entries"] >= min(TABLES, STATEMENTS)
    changes = [
        statement.format(n=n)
        for n in range(7, TABLES, 97)
        for statement in ("LOCK TABLE t{n} IN ACCESS EXCLUSIVE MODE", "ALTER SEQUENCE s{n} CACHE 7")
    ]
    with changed_meanwhile(cluster, changes) as took:
        for report in REPORTS.values():
            report(cluster, budget_seconds=600.0)
    with capsys.disabled():
        print(f"\n{len(took)} changes of tables and sequences meanwhile, the longest {max(took):.3f} s")
    record_property("kept", {"changes": len(took), "longest_seconds": round(max(took), 3)})
    assert max(took) <= MOST_KEPT_SECONDS
