# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Single words of the report in both languages: severities, grades, states, kinds of objects."""

from __future__ import annotations

from .entry import Pair

TERMS: dict[str, Pair] = {
    "critical": Pair("critical", "緊急"),
    "high": Pair("high", "高"),
    "medium": Pair("medium", "中"),
    "low": Pair("low", "低"),
    "info": Pair("information", "情報"),
    "measured": Pair("measured", "実測"),
    "validated": Pair("validated", "検証済み"),
    "heuristic": Pair("heuristic", "推定"),
    "insufficient": Pair("insufficient evidence", "根拠不足"),
    "new": Pair("new", "新規"),
    "known": Pair("known", "既知"),
    "accepted": Pair("accepted", "許容済み"),
    "yes": Pair("yes", "はい"),
    "no": Pair("no", "いいえ"),
    "archiver": Pair("archiver", "アーカイバー"),
    "certificate": Pair("certificate", "証明書"),
    "collation": Pair("collation", "照合順序"),
    "database": Pair("database", "データベース"),
    "disk": Pair("disk", "ディスク"),
    "extension": Pair("extension", "拡張"),
    "instance": Pair("instance", "インスタンス"),
    "keeper": Pair("keeper", "keeper の検査"),
    "prepared transaction": Pair("prepared transaction", "プリペアドトランザクション"),
    "sequence": Pair("sequence", "シーケンス"),
    "session": Pair("session", "セッション"),
    "setting": Pair("setting", "設定"),
    "slot": Pair("replication slot", "レプリケーションスロット"),
    "statement": Pair("statement", "SQL 文"),
    "subscription": Pair("subscription", "サブスクリプション"),
    "trigger": Pair("trigger", "トリガー"),
    "index": Pair("index", "インデックス"),
    "table": Pair("table", "テーブル"),
    "constraint": Pair("constraint", "制約"),
    "primary": Pair("primary", "プライマリー"),
    "standby": Pair("standby", "スタンバイ"),
    # What got worse, as a regression says it.
    "plan": Pair("reads more for as many rows", "同じ行数に対する読み込みの増加"),
    "data-growth": Pair("more rows", "行数の増加"),
    "contention": Pair("waits", "待ち"),
}

#: Why a window begins where it does, as a reason why it is short.
WHY: dict[str, Pair] = {
    "first-run": Pair("this is the first run", "初回の実行のため"),
    "watched": Pair("watched since then", "それ以前は監視していないため"),
    "stored": Pair("watched since then", "それ以前は監視していないため"),
    "server": Pair("its last scan", "最後に走査された時点からのため"),
    "reset": Pair("statistics were reset", "統計情報がリセットされたため"),
    "counters": Pair("counters went down", "カウンターが減少したため"),
    "promotion": Pair("the server was promoted", "サーバが昇格したため"),
    "system": Pair("another system", "別のシステムになったため"),
    "upgrade": Pair("another major version", "メジャーバージョンが変わったため"),
    "clock": Pair("the clock was set back", "時計が戻されたため"),
}
