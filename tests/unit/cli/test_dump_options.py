# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Options of ``dbkeeper dump`` beside dumps that are described: what is given counts, or is refused."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli import dump
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.wishes_dumps import DumpWish
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

DESCRIBED: Any = SimpleNamespace(
    cluster="main",
    dumps=(DumpWish("nightly", "app"), DumpWish("definitions", "app", max_age_seconds=3600)),
)


def asked(*words: str) -> dict[str | None, int | None]:
    """Series and age of all that would be dumped."""
    parser = argparse.ArgumentParser()
    dump.add_dump(parser)
    requests = dump._requests(parser.parse_args(words), DESCRIBED)
    return {one.series or one.label: one.max_age_seconds for one in requests}


def test_an_age_goes_for_described_dumps_too() -> None:
    assert asked() == {"nightly": None, "definitions": 3600}
    assert asked("--max-age", "1d") == {"nightly": 86400, "definitions": 86400}
    assert asked("nightly", "--max-age", "2h") == {"nightly": 7200}
    assert asked("--database", "app", "--label", "x") == {"x": None}


@pytest.mark.parametrize(
    "words", [("--label", "x"), ("nightly", "--label", "x"), ("nightly", "--database", "app")]
)
def test_what_is_meant_for_one_database_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refused:
        asked(*words)
    assert refused.value.code == "request-contradictory"


MADE: dict[str, Any] = {
    "key": "dump/app/d1",
    "stored_bytes": 2048,
    "contents": 7,
    "rows": {"rows": 9, "tables": 2, "digested": 2},
    "seconds": {"dump": 60.0, "list": 5.0},
    "warnings": ["odd"],
}
PLAN = {"key": "dump/app/d1", "reason": "d1 is 2 h old", "steps": ["pg_dump app"]}
SAID: list[tuple[dict[str, Any], str, str]] = [
    (
        {"series": "nightly", "database": "app", "error": {"code": "server-behind", "happened": "0/3 < 0/4"}},
        "dump nightly of app failed: server-behind: 0/3 < 0/4",
        "app のダンプ nightly は失敗しました: サーバの WAL 位置が、同じタイムラインの受信済みの位置より前に戻って"
        "います。 (server-behind: 0/3 < 0/4)",
    ),
    (
        {"changed": False, "plan": PLAN},
        "nothing to do: d1 is 2 h old",
        "処理はありません: 求められた条件を満たすダンプがあります (dump/app/d1)",
    ),
    (
        {"changed": True, "executed": False, "plan": PLAN},
        "would take dump/app/d1:\n  pg_dump app",
        "次のダンプを取得する予定です: dump/app/d1\n  pg_dump app",
    ),
    (
        {"changed": True, "executed": True, "plan": PLAN, "dump": MADE},
        "dump/app/d1 is verified: 2.0 kB, 7 entries, 9 rows in 2 tables (counted and digested), 1 min 5 s\n"
        "  warning: odd",
        "dump/app/d1 は検証済みです: 2.0 kB、7 項目、2 表の 9 行 (行数と内容のダイジェストを記録)、所要時間 1分5秒\n"
        "  警告: odd",
    ),
]


@pytest.mark.parametrize(("result", "english", "japanese"), SAID)
def test_what_a_dump_did_in_both_languages(result: dict[str, Any], english: str, japanese: str) -> None:
    assert "\n".join(dump.lines(result, "en")) == english
    assert "\n".join(dump.lines(result, "ja")) == japanese
