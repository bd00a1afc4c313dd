# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the report says about indexes, in both languages."""

from __future__ import annotations

from .entry import Blind, Entry, Pair
from .indexes_more import MORE

_STATISTICS = Entry(
    Pair(
        "Redundant, but sampled in a way of its own", "重複しているが、統計情報の精度が個別に設定されている"
    ),
    Pair(
        "{index} on {table} does nothing that {cover} does not, but its expression is sampled as ALTER INDEX ... "
        "SET STATISTICS says, and that of {cover} is not.",
        "{table} の {index} の役割は {cover} と同じですが、式の統計情報の精度が ALTER INDEX ... SET STATISTICS で"
        "設定されており、{cover} には設定されていません。",
    ),
    Pair(
        "The planner takes its estimates from these statistics even where the index is never scanned "
        "({scans} [scans:scan|scans]).",
        "インデックスが走査されなくても ({scans} 回)、プランナはこの統計情報を行数の見積もりに使います。",
    ),
    Pair(
        "Give {cover} the same statistics target and run ANALYZE; then it is an ordinary duplicate.",
        "{cover} に同じ統計対象値を設定して ANALYZE を実行してください。その後は通常の重複として扱えます。",
    ),
)
_PLAIN: dict[str, Entry] = {
    "IX02_statistics": _STATISTICS,
    "IX03_statistics": _STATISTICS,
    "IX01": Entry(
        Pair("Invalid index", "無効なインデックス"),
        Pair(
            "{index} on {table} is invalid; {cover} is the same index and is valid.",
            "{table} の {index} は無効です。同じ定義の {cover} は有効です。",
        ),
        Pair(
            "A build that did not end left it: every write maintains it, and no query reads it.",
            "途中で終わった作成処理の残りです。書き込みのたびに更新されますが、問い合わせには使われません。",
        ),
        Pair("Drop it concurrently.", "CONCURRENTLY を付けて削除してください。"),
    ),
    "IX01_leftover": Entry(
        Pair("Invalid index, left over by REINDEX", "REINDEX が残した無効なインデックス"),
        Pair(
            "{index} on {table} is invalid, and its name says that REINDEX CONCURRENTLY made it for a while.",
            "{table} の {index} は無効です。名前から REINDEX CONCURRENTLY の一時的な残りとわかります。",
        ),
        Pair(
            "Every write maintains it, and no query reads it.",
            "書き込みのたびに更新されますが、問い合わせには使われません。",
        ),
        Pair(
            "Drop it concurrently, and run the REINDEX again when it is quiet.",
            "CONCURRENTLY を付けて削除し、負荷の低い時間帯に REINDEX を再実行してください。",
        ),
    ),
    "IX01_rebuild": Entry(
        Pair("Invalid index without a valid twin", "代わりのない無効なインデックス"),
        Pair(
            "{index} on {table} is invalid, and no other index does its work.",
            "{table} の {index} は無効で、代わりになるインデックスもありません。",
        ),
        Pair(
            "Whoever made it wanted it: queries go without it, while every write maintains it.",
            "必要とされて作られたものですが、問い合わせには使われず、書き込みの負担だけが残っています。",
        ),
        Pair(
            "Build it again concurrently; drop it instead if nobody misses it.",
            "CONCURRENTLY で再作成してください。不要であれば削除してください。",
        ),
    ),
    "IX01_partitioned": Entry(
        Pair("Partitioned index that is not complete", "未完成のパーティションインデックス"),
        Pair(
            "{index} on {table} is invalid: a partition has no index attached to it.",
            "{table} の {index} は無効です。インデックスがアタッチされていないパーティションがあります。",
        ),
        Pair(
            "A new partition gets its index, the one that lacks it is read as a whole.",
            "新しいパーティションには作られますが、欠けているパーティションは全件走査されます。",
        ),
        Pair(
            "Build what is missing on each partition concurrently and attach it (ALTER INDEX ... ATTACH PARTITION); "
            "with the last one {index} becomes valid by itself. If nobody misses it, drop it instead.",
            "足りないインデックスをパーティションごとに CONCURRENTLY で作成し、ALTER INDEX ... ATTACH PARTITION で"
            "アタッチしてください。最後の 1 つをアタッチした時点で {index} は自動的に有効になります。"
            "不要であれば、代わりに削除してください。",
        ),
    ),
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
    "IX03": Entry(
        Pair("Another index begins with the same keys", "先頭のキーが別のインデックスと重複"),
        Pair(
            "All keys of {index} on {table} are the first keys of {cover}, compared and ordered in the same way.",
            "{table} の {index} のキーはすべて {cover} の先頭にあり、比較方法も並び順も同じです。",
        ),
        Pair(
            "{cover} ({cover_bytes}) answers all that it answers; {size_bytes} are written and kept twice.",
            "{cover} ({cover_bytes}) で同じ検索を処理できます。{size_bytes} が二重に書き込まれ、保持されています。",
        ),
        Pair(
            "Drop it concurrently; {cover} must stay.",
            "CONCURRENTLY を付けて削除してください。{cover} は残す必要があります。",
        ),
    ),
    "IX03_larger": Entry(
        Pair("Redundant, but its cover is much larger", "重複しているが、代わりのインデックスがかなり大きい"),
        Pair(
            "All keys of {index} on {table} are the first keys of "
            "{cover}, which is {cover_bytes} instead of {size_bytes}.",
            "{table} の {index} のキーは {cover} の先頭と同じですが、"
            "大きさは {size_bytes} に対して {cover_bytes} あります。",
        ),
        Pair(
            "It was scanned {scans} [scans:time|times]; the larger one answers the same, and reads more for it.",
            "{scans} 回走査されています。大きい方でも同じ結果を得られますが、読み取り量は増えます。",
        ),
        Pair(
            "Try it on a restored copy: drop it there, and compare the plans of its queries.",
            "復元したコピー上で削除し、関係する問い合わせの実行計画を比較してください。",
        ),
    ),
    "IX03_ordered": Entry(
        Pair(
            "Redundant, but its table lies in its order", "重複しているが、表が並び順どおりに格納されている"
        ),
        Pair(
            "All keys of {index} on {table} are the first keys of {cover}; "
            "the rows lie in the order of its only column.",
            "{table} の {index} のキーは {cover} の先頭と同じですが、行はこの唯一の列の順に格納されています。",
        ),
        Pair(
            "It was scanned {scans} [scans:time|times]. The planner counts only three quarters of that "
            "order for an index with "
            "more columns: {cover} looks dearer to it than it is, and it may read the whole table instead.",
            "{scans} 回走査されています。プランナは複数列のインデックスでは相関を 4 分の 3 に割り引くため、"
            "{cover} のコストを高く見積もり、全件走査を選ぶことがあります。",
        ),
        Pair(
            "Try it on a restored copy: drop it there, and compare the plans of its queries.",
            "復元したコピー上で削除し、関係する問い合わせの実行計画を比較してください。",
        ),
    ),
    "IX04": Entry(
        Pair("Unused on every node", "どのノードでも使われていない"),
        Pair(
            "{index} on {table} was not scanned for {window_seconds} on any node: {nodes} ({size_bytes}).",
            "{table} の {index} は、どのノードでも {window_seconds}の間走査されていません "
            "(ノード: {nodes}、サイズ: {size_bytes})。",
        ),
        Pair(
            "Every write to the table maintains it; it fills memory, WAL and backups.",
            "テーブルへの書き込みのたびに更新され、メモリ、WAL、バックアップを消費します。",
        ),
        Pair(
            "Drop it concurrently, and keep the undo at hand until the next end of a quarter.",
            "CONCURRENTLY を付けて削除し、次の四半期末までは元に戻す SQL を手元に残してください。",
        ),
    ),
    "IX04_review": Entry(
        Pair("Unused index on an expression", "使われていない式インデックス"),
        Pair(
            "{index} on {table} was not scanned for {window_seconds} on any node: {nodes} ({size_bytes}).",
            "{table} の {index} は、どのノードでも {window_seconds}の間走査されていません "
            "(ノード: {nodes}、サイズ: {size_bytes})。",
        ),
        Pair(
            "The planner may still use the statistics that it brings for its expression.",
            "ただし、式の統計情報がプランナーに使われている可能性があります。",
        ),
        Pair(
            "Make CREATE STATISTICS for the expression first, analyze, compare plans, and drop it then.",
            "先に式に対する CREATE STATISTICS と ANALYZE を行い、実行計画を比べてから削除してください。",
        ),
    ),
    "IX04_probes": Entry(
        Pair("Perhaps scanned by the planner only", "プランナーの参照だけの可能性"),
        Pair(
            "{index} on {table} has {scans} [scans:scan|scans], each of which read one entry at most ({nodes}).",
            "{table} の {index} は {scans} 回走査されていますが、1 回の読み取りは 1 件以下です ({nodes})。",
        ),
        Pair(
            "The planner looks at an index's ends to estimate, and "
            "that counts as a scan; so does a lookup of one row.",
            "プランナーは見積もりのために端の値を参照し、それも走査に数えられます。1 行の検索と区別できません。",
        ),
        Pair(
            "See whether a query needs it; the index stays until {window_seconds} without a scan are proven.",
            "使用する問い合わせがあるか確認してください。{window_seconds}の間の未使用が証明されるまでは残します。",
        ),
    ),
    "IX05": Entry(
        Pair("Seldom scanned, paid for by every write", "走査は稀で、書き込みのたびに負担"),
        Pair(
            "{index} on {table}: {scans} [scans:scan|scans] ({scan_share} of the "
            "table's) against {writes} [writes:write|writes] in {window_seconds}.",
            "{table} の {index}: {window_seconds}の間に走査 {scans} "
            "回 (全体の {scan_share})、書き込み {writes} 行です。",
        ),
        Pair(
            "{size_bytes} are maintained for a query that may do without it.",
            "なくても済むかもしれない問い合わせのために {size_bytes} を維持しています。",
        ),
        Pair(
            "Find the query that scans it, and see its plan without the index on a restored copy.",
            "使っている問い合わせを特定し、復元したコピー上でインデックスなしの実行計画を確認してください。",
        ),
    ),
    "IX06": Entry(
        Pair("Bloated index", "肥大化したインデックス"),
        Pair(
            "{index} on {table} is {size_bytes}; about {bloat_share} "
            "of it, {wasted_bytes}, is not needed for its entries.",
            "{table} の {index} は {size_bytes} あり、約 {bloat_share} ({wasted_bytes}) は不要な領域と推定されます。",
        ),
        Pair(
            "Scans read more pages, and memory holds less of what is used.",
            "走査で読むページが増え、メモリの利用効率が下がります。",
        ),
        Pair(
            "Confirm with pgstatindex on a restored copy, then rebuild it concurrently.",
            "復元したコピー上で pgstatindex で確認し、CONCURRENTLY で再作成してください。",
        ),
    ),
    "IX06_growth": Entry(
        Pair("Index far larger than it was", "以前より大幅に大きいインデックス"),
        Pair(
            "{index} on {table} is {size_bytes}: {growth} times as many bytes for a row as at its best.",
            "{table} の {index} は {size_bytes} で、1 行あたりの大きさが最小時の {growth} 倍です。",
        ),
        Pair(
            "{wasted_bytes} came by updates and deletes, not by rows.",
            "{wasted_bytes} は行数ではなく、更新と削除によって増えたものです。",
        ),
        Pair(
            "Confirm with pgstatindex on a restored copy, then rebuild it concurrently.",
            "復元したコピー上で pgstatindex で確認し、CONCURRENTLY で再作成してください。",
        ),
    ),
    "IX07": Entry(
        Pair("Foreign key without an index", "インデックスのない外部キー"),
        Pair(
            "No index finds the rows of {table} by {columns} "
            "({constraint}); the parent {parent} had {parent_writes} [parent_writes:write|writes].",
            "{table} の {columns} ({constraint}) を検索できるインデックスがありません。"
            "親 {parent} への書き込みは {parent_writes} 件です。",
        ),
        Pair(
            "Each row that is deleted from {parent}, or gets another "
            "key, reads all of {table}: {size_bytes}, {rows} [rows:row|rows].",
            "{parent} の行を削除するかキーを変更するたびに、{table} 全体 ({size_bytes}、{rows} 行) が読まれます。",
        ),
        Pair("Build the index concurrently.", "CONCURRENTLY でインデックスを作成してください。"),
    ),
    "IX07_small": Entry(
        Pair("Foreign key without an index, on a small table", "インデックスのない外部キー (小さなテーブル)"),
        Pair(
            "No index finds the rows of {table} by {columns} "
            "({constraint}); the parent {parent} had {parent_writes} [parent_writes:write|writes].",
            "{table} の {columns} ({constraint}) を検索できるインデックスがありません。"
            "親 {parent} への書き込みは {parent_writes} 件です。",
        ),
        Pair(
            "It costs little as long as {table} is small: {size_bytes}, {rows} [rows:row|rows].",
            "{table} が小さい間 ({size_bytes}、{rows} 行) は、負担はわずかです。",
        ),
        Pair(
            "Build it before the table grows.",
            "テーブルが大きくなる前に作成してください。",
        ),
    ),
    **MORE,
}
#: What holds of a partitioned index instead.
_AT_ONCE = Pair(
    "A partitioned index cannot be dropped concurrently: DROP INDEX locks its table and all partitions exclusively for "
    "a moment, in which it waits for their queries and all others wait for it. Do it when it is quiet, with a short "
    "lock_timeout as shown, and again if the lock is not had.",
    "パーティションインデックスは CONCURRENTLY を付けて削除できません。DROP INDEX は親テーブルと全パーティションに"
    " ACCESS EXCLUSIVE ロックを一瞬取得するため、実行中の問い合わせの終了を待つ間、後続の処理もすべて待たされます。"
    "負荷の低い時間帯に、表示のとおり短い lock_timeout を設定して実行し、ロックを取得できなければやり直してください。",
)
_STAYS = Pair("{cover} must stay.", "{cover} は残す必要があります。")
_AT_HAND = Pair(
    "Keep the undo at hand until the next end of a quarter: it builds one partition after the other concurrently.",
    "次の四半期末までは、元に戻す SQL (パーティションごとに CONCURRENTLY で再作成) を手元に残してください。",
)


def _joined(one: Pair, other: Pair) -> Pair:
    return Pair(f"{one.en} {other.en}", f"{one.ja}{other.ja}")


FINDINGS: dict[str, Entry] = {
    **_PLAIN,
    "IX02_partitioned": _PLAIN["IX02"]._replace(remedy=_joined(_AT_ONCE, _STAYS)),
    "IX03_partitioned": _PLAIN["IX03"]._replace(remedy=_joined(_AT_ONCE, _STAYS)),
    "IX04_partitioned": _PLAIN["IX04"]._replace(remedy=_joined(_AT_ONCE, _AT_HAND)),
}

MISSING: dict[str, Pair] = {
    "second-run": Pair(
        "a second run that finds {what} invalid, too: a build may have failed just now",
        "{what} が無効であることの 2 回目の確認 (直前に作成が失敗しただけの可能性があります)",
    ),
    "definition": Pair(
        "the definition of {what} could not be read, so there is no exact undo: it is locked or gone",
        "{what} の定義を読み取れず、元に戻す SQL を作れません (ロック中、または削除済み)",
    ),
    "exact-bloat": Pair(
        "pgstatindex of {what} on a restored copy: this is an estimate",
        "復元したコピー上での {what} の pgstatindex による実測 (この値は推定です)",
    ),
    "no-statement-sets": Pair(
        "which columns of {what} are updated: pg_stat_statements shows no statement that sets an indexed one",
        "{what} で更新される列の確認 (インデックスのある列を更新する文が pg_stat_statements にありません)",
    ),
    "no-query-asks": Pair(
        "that no query looks for the common value of {column} by this index",
        "{column} の頻出値をこのインデックスで検索する問い合わせがないことの確認",
    ),
    "window": Pair(
        "{node} has been watched without a scan for {seen_seconds} only, {needed_seconds} are needed ({why})",
        "{node} で未使用と確認できた期間は {seen_seconds}だけです (必要: {needed_seconds}、理由: {why})",
    ),
    "node": Pair(
        "what {node} says: {why}",
        "{node} の情報: {why}",
    ),
    "nodes-unknown": Pair(
        "a list of the nodes: neither an inventory nor a primary told of them",
        "ノードの一覧 (インベントリからもプライマリーからも得られません)",
    ),
    "proof-of-plan": Pair(
        "a plan of {what} with the index: hypopg is not there, and no copy was given",
        "{what} の、インデックスがある場合の実行計画 (hypopg もコピーもありません)",
    ),
}

NOT_SEEN: dict[str, Blind] = {
    "bounded": Blind(
        Pair(
            "only the worst are shown, {detail} more are left out",
            "重要なものだけを表示し、残り {detail} 件は省略しました",
        ),
        Pair(
            "Act on those that are shown first, or raise limits.kept_per_class.",
            "表示されているものから対処するか、limits.kept_per_class を大きくしてください。",
        ),
    ),
    "statistics": Blind(
        Pair(
            "the role may not read pg_stats of the tables, so bloat and partial indexes are not judged",
            "ロールが対象テーブルの pg_stats を参照できないため、肥大化と部分インデックスは判定していません",
        ),
        Pair(
            "Grant the role pg_read_all_data, if it may see values of columns.",
            "列の値を参照させてよければ、ロールに pg_read_all_data を付与してください。",
        ),
    ),
}
