# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a person reads of backups, of an undo and of the repository, in both languages."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli import show

JAPANESE = re.compile("[぀-ヿ一-鿿]")
MADE = {
    "label": "20261121T031500Z-full",
    "plain_bytes": 3 << 20,
    "stored_bytes": 1 << 20,
    "start_lsn": "0/2000028",
    "stop_lsn": "0/2000100",
    "seconds": {"copy": 90.0, "verify": 5.0},
}
BACKUPS: list[tuple[dict[str, Any], str, str]] = [
    (
        {"changed": False, "plan": {"reason": "one is 2 h old"}, "backup": {"label": "b1"}},
        "nothing to do: one is 2 h old",
        "処理はありません: 検証済みのバックアップ b1 があります",
    ),
    (
        {"changed": True, "executed": False, "plan": {"steps": ["pg_basebackup -D -"]}},
        "would take a base backup:\n  pg_basebackup -D -",
        "ベースバックアップを取得する予定です:\n  pg_basebackup -D -",
    ),
    (
        {"changed": True, "executed": True, "plan": {}, "backup": MADE},
        "backup 20261121T031500Z-full is verified: 3.0 MB in 1.0 MB, WAL 0/2000028 … 0/2000100, 1 min 35 s",
        "バックアップ 20261121T031500Z-full は検証済みです: 3.0 MB を 1.0 MB で保存、WAL 0/2000028 … 0/2000100、"
        "所要時間 1分35秒",
    ),
]


@pytest.mark.parametrize(("result", "english", "japanese"), BACKUPS)
def test_a_backup(result: dict[str, Any], english: str, japanese: str) -> None:
    assert "\n".join(show.backup(result, "en")) == english
    assert "\n".join(show.backup(result, "ja")) == japanese


@pytest.mark.parametrize("executed", [True, False])
def test_an_undo(executed: bool) -> None:
    plan = {"put_aside": "/d.undone", "put_back": "/d", "remove": "/d.staged"}
    result: dict[str, Any] = {"changed": True, "executed": executed, "plan": plan, "given_up": None}
    english = show.undo(result, "en")
    assert [line.startswith("would be ") for line in english] == [not executed] * 3
    japanese = show.undo(result, "ja")
    assert [line.endswith("予定です: " + path) for line, path in zip(japanese, plan.values())] == [
        not executed
    ] * 3
    assert all(JAPANESE.search(line) for line in japanese) and not any(map(JAPANESE.search, english))
    told = {**result, "given_up": {"timeline": 2}}
    assert show.undo(told, "en")[3].startswith("given up: timeline 2;")
    assert "タイムライン 2 を破棄" in show.undo(told, "ja")[3]
    nothing = {"changed": False}
    assert show.undo(nothing, "en") == ["nothing to do: the last restore was undone before"]
    assert show.undo(nothing, "ja") == ["処理はありません: 前回のリストアは取り消し済みです"]


def test_an_index() -> None:
    report = {"segments": 9, "indexed": 3, "removed": 0, "faults": 0, "seconds": 0.5, "unheard": 1}
    result = {"archives": {7: report}}
    assert show.index(result, "en") == [
        "system 7: faults 0, indexed 3, removed 0, seconds 0.5, segments 9, unheard 1"
    ]
    assert show.index(result, "ja") == [
        "システム 7: 問題 0、索引に追加 3、索引から削除 0、所要 0.5 秒、セグメント 9、unheard 1"
    ]
    assert show.index({"archives": {}}, "ja") == ["アーカイブはまだありません"]


def test_everything_that_a_repository_can_have() -> None:
    at = "2026-11-21T03:15:00Z"
    backup = {"label": "b1", "status": "verified", "stored_bytes": 5, "stopped_at": at}
    dump = {
        "key": "dump/app/d1",
        "status": "failed",
        "stored_bytes": 5,
        "rows": {"tables": 1, "rows": 2},
        "stopped_at": None,
        "failure": "it was interrupted",
    }
    result = {
        "cluster": "main",
        "repository": "/srv/backups",
        "backups": [backup, {**backup, "status": "of a newer version", "stored_bytes": 0}],
        "dumps": [dump, {**dump, "rows": {"tables": 0, "rows": 0}, "status": "verified", "failure": None}],
        "damaged_dumps": [{"key": "dump/app/d2", "error": {"happened": "no JSON"}}],
        "broken_chains": [{"label": "b2", "text": "b0 is gone"}],
        "unsound": [{"label": "b3", "text": "base.tar.zst", "at": at}],
        "page_faults": [{"label": "b4", "faults": "2 pages"}],
        "windows": [{"timeline": 1, "from": at, "until": at}],
        "gaps": ["000000010000000000000003"],
        "conflicts": ["000000010000000000000004"],
        "archive": {"partial": ["000000010000000000000005.partial"]},
        "leftovers": [{"path": "/srv/x", "age_seconds": 7200}],
    }
    english, japanese = show.information(result, "en"), show.information(result, "ja")
    assert len(english) == len(japanese) == 14
    assert not any(map(JAPANESE.search, english)) and all(map(JAPANESE.search, japanese))
    assert english[1] == f"  backup b1  verified  5 B  ended {at}"
    assert japanese[1] == f"  バックアップ b1  検証済み  5 B  終了 {at}"
    assert japanese[2] == f"  バックアップ b1  of a newer version  -  終了 {at}"
    assert english[3] == "  dump/app/d1  failed  5 B, 2 rows  ended -  (it was interrupted)"
    assert english[4] == "  dump/app/d1  verified  5 B, rows not counted  ended -"
    assert japanese[3] == "  dump/app/d1  失敗  5 B、2 行  終了 -  (it was interrupted)"
    assert english[-1] == "  LEFT OVER: /srv/x, 2 h 0 min old, used by nobody"
    assert japanese[-1] == "  【残骸】/srv/x: 2時間前のもので、どこからも使われていません"
    # That nobody could look is no "there are none".
    english, japanese = (show.information({**result, "leftovers": None}, lang) for lang in ("en", "ja"))
    assert "not looked for" in english[-1] and "調べていません" in japanese[-1]
