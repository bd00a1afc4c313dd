# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper history`` as a person reads it, in both languages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli.history import lines
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.history import read_runs
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.pushes import timeline_begun
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.record import OPERATIONS

JAPANESE = re.compile("[぀-ヿ一-鿿]")
WHO = {"user": "postgres", "door": "schedule"}
TREND = {
    "backup/full": {
        "seconds": {"newest": 130.0, "median": 65.0, "factor": 2.0},
        "bytes": {"newest": 10, "median": 20, "factor": 0.5},
    }
}


def run(operation: str, result: str = "ok", **more: Any) -> dict[str, Any]:
    return {
        "operation": operation,
        "result": result,
        "began_at": "2026-11-21T03:15:00.000000Z",
        "who": WHO,
        **more,
    }


@pytest.mark.parametrize("operation", [*OPERATIONS, "archive-push", "timeline", "notify"])
@pytest.mark.parametrize("result", ["ok", "unchanged", "refused", "failed", "interrupted", "running"])
def test_a_line_of_every_operation(operation: str, result: str) -> None:
    facts = {
        "label": "20261121T031500Z-full",
        "plain_bytes": 2048,
        "start_lsn": "0/2000028",
        "stop_lsn": "0/2000100",
    }
    error = {"happened": "no space\nleft"}
    known = {"runs": [run(operation, result, seconds=95.0, facts=facts, code="x", error=error)], "trends": {}}
    (english,), (japanese,) = lines(known, "en"), lines(known, "ja")
    assert operation in english.split() and result in english.split() and not JAPANESE.search(english)
    assert len(JAPANESE.findall(japanese)) > 4 and "1分35秒" in japanese and "1 min 35 s" in english
    for line in (english, japanese):
        assert "0/2000028…0/2000100" in line and "20261121T031500Z-full" in line and "2.0 kB" in line
        assert "(postgres, schedule)" in line and line.endswith("x: no space left")


def test_what_is_usual_and_nothing() -> None:
    known = {"runs": [run("backup", facts={})], "trends": TREND}
    assert (
        lines(known, "en")[1] == "usual  backup/full: 1 min 5 s, 20 B; newest: duration × 2.00, size × 0.50"
    )
    assert "実行時間 × 2.00" in lines(known, "ja")[1] and "1分5秒" in lines(known, "ja")[1]
    assert JAPANESE.search(lines({"runs": [], "trends": {}}, "ja")[0])


def test_a_new_timeline_is_on_record_and_nonsense_is_not(tmp_path: Path) -> None:
    history = tmp_path / "00000003.history"
    history.write_text(
        "1\t0/3000060\tno recovery target specified\n\n2\t0/5000080\tbefore 2026-11-21 03:04:05+09\n"
    )
    timeline_begun(str(tmp_path), str(history))
    (found,) = read_runs(str(tmp_path))
    assert (found["operation"], found["result"], found["changed"]) == ("timeline", "ok", True)
    assert found["facts"] == {
        "timeline": 3,
        "parent": "2",
        "lsn": "0/5000080",
        "name": "before 2026-11-21 03:04:05+09",
    }
    history.write_text("x")
    timeline_begun(str(tmp_path), str(history))
    timeline_begun(str(tmp_path / "none"), str(tmp_path / "00000004.history"))
    assert len(read_runs(str(tmp_path))) == 1
