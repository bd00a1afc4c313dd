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
    "index": Pair("index", "インデックス"),
    "table": Pair("table", "テーブル"),
    "constraint": Pair("constraint", "制約"),
    "primary": Pair("primary", "プライマリー"),
    "standby": Pair("standby", "スタンバイ"),
}
