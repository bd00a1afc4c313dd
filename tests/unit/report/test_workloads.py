# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What came out of workload tests, in a line each and in both languages."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.workloads import workload_lines

RUNS = [
    {
        "workload": "read_only",
        "way": "direct",
        "clients": 1,
        "tps": 12345.6,
        "latency_seconds": 0.0003241,
        "failed": 0,
    },
    {
        "workload": "read_write",
        "way": "pgbouncer",
        "clients": 4,
        "error": "pgbench: error: {no} such database",
        "error_code": "program-failed",
    },
    {"workload": "odd", "way": "direct", "clients": 2, "error": "as it was said", "error_code": "of-later"},
]
ENGLISH = [
    "read only, direct, clients: 1: 12,346 transactions per second, 0.324 ms each, failed: 0",
    "read and write, through PgBouncer, clients: 4: A program ended with an error: pgbench: error: {no} such database "
    "Read what it said; the server, or the pooler, must let login_user into that database.",
    "odd, direct, clients: 2: as it was said",
]
JAPANESE = [
    "読み取りのみ、直接、クライアント数 1: 毎秒 12,346 トランザクション、1 件あたり 0.324 ms、失敗 0 件",
    "読み書き、PgBouncer 経由、クライアント数 4: プログラムがエラーで終了しました: pgbench: error: {no} such database "
    "メッセージを確認してください。サーバ (PgBouncer 経由の場合は PgBouncer) で、login_user がそのデータベースに"
    "接続できる必要があります。",
    "odd、直接、クライアント数 2: as it was said",
]


@pytest.mark.parametrize(("language", "expected"), [("en", ENGLISH), ("ja", JAPANESE), ("auto", ENGLISH)])
def test_each_run_has_its_line(language: str, expected: list[str]) -> None:
    assert workload_lines(RUNS, language) == expected


def test_no_runs_have_no_lines() -> None:
    assert workload_lines([]) == []
