# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the report says about indexes, in both languages."""

from __future__ import annotations

from .entry import Blind, Entry, Pair

FINDINGS: dict[str, Entry] = {
    "IX02": Entry(
        Pair("Exact duplicate of another index", "別のインデックスと完全に重複"),
        Pair(
            "{index} on {table} has the same keys, operator classes, collations, order and predicate as {cover}.",
            "{table} の {index} は、キー、演算子クラス、照合順序、並び順、述語がすべて {cover} と同じです。",
        ),
        Pair(
            "Every write maintains both, every backup holds both, and no query needs the second: {size_bytes}.",
            "書き込みのたびに両方が更新され、バックアップにも両方が入ります。"
            "2 つ目を必要とする問い合わせはありません ({size_bytes})。",
        ),
        Pair(
            "Drop it concurrently; {cover} stays and answers everything that it answered.",
            "CONCURRENTLY を付けて削除してください。{cover} が残り、同じ検索をすべて処理できます。",
        ),
    ),
}

MISSING: dict[str, Pair] = {
    "size": Pair(
        "the size of {what} could not be read: {why}",
        "{what} のサイズを読み取れませんでした: {why}",
    ),
}

NOT_SEEN: dict[str, Blind] = {}
