# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the report says about indexes, IX08 to IX16, in both languages."""

from __future__ import annotations

from .entry import Entry, Pair

MORE: dict[str, Entry] = {
    "IX06_exact": Entry(
        Pair("Bloated index, measured", "肥大化したインデックス (実測)"),
        Pair(
            "{index} on {table} is {size_bytes}; its leaf pages are "
            "{density_share} full, {wasted_bytes} are not needed.",
            "{table} の {index} は {size_bytes}、リーフページの充填率は "
            "{density_share} で、{wasted_bytes} は不要です。",
        ),
        Pair(
            "Scans read more pages, and memory holds less of what is used.",
            "走査で読むページが増え、メモリの利用効率が下がります。",
        ),
        Pair("Rebuild it concurrently.", "CONCURRENTLY で再作成してください。"),
    ),
    "IX08": Entry(
        Pair("Missing index", "不足しているインデックス"),
        Pair(
            "An index on {columns} of {table} makes {statements} "
            "[statements:statement|statements] cheaper; best: {cost_before} to {cost_after}.",
            "{table} の {columns} にインデックスがあれば {statements} 個の文が軽くなります "
            "(最良: コスト {cost_before} → {cost_after})。",
        ),
        Pair(
            "They take {load_share} of the time of all statements, and read {table} as a whole.",
            "これらの文は全体の実行時間の {load_share} を占め、{table} を全件走査しています。",
        ),
        Pair(
            "Build it concurrently. It will be about {size_bytes}; statements that get worse: {worse}.",
            "CONCURRENTLY で作成してください。大きさは約 {size_bytes}、悪化する文は {worse} 個です。",
        ),
    ),
    "IX08_written": Entry(
        Pair("Missing index", "不足しているインデックス"),
        Pair(
            "An index on {columns} of {table} makes {statements} "
            "[statements:statement|statements] cheaper; best: {cost_before} to {cost_after}.",
            "{table} の {columns} にインデックスがあれば {statements} 個の文が軽くなります "
            "(最良: コスト {cost_before} → {cost_after})。",
        ),
        Pair(
            "They take {load_share} of the time of all statements, and read {table} as a whole. Measured on a copy, a "
            "row that is written takes {row_after_bytes} of WAL with it, {row_before_bytes} without.",
            "これらの文は全体の実行時間の {load_share} を占め、{table} を全件走査しています。コピー上での実測では、"
            "1 行の書き込みに要する WAL は {row_before_bytes} から {row_after_bytes} になります。",
        ),
        Pair(
            "Build it concurrently. It will be about {size_bytes}; statements that get worse: {worse}.",
            "CONCURRENTLY で作成してください。大きさは約 {size_bytes}、悪化する文は {worse} 個です。",
        ),
    ),
    "IX08_unproven": Entry(
        Pair("Perhaps a missing index", "インデックス不足の可能性"),
        Pair(
            "{statements} [statements:statement looks|statements look] for rows of {table} by {columns}, and no index "
            "begins with them.",
            "{statements} 個の文が {table} を {columns} で検索していますが、対応するインデックスがありません。",
        ),
        Pair(
            "They take {load_share} of the time of all statements; what an index would save was not tried.",
            "これらの文は全体の実行時間の {load_share} を占めています。効果は検証していません。",
        ),
        Pair(
            "Try it with hypopg on a restored copy, and build it when plans get cheaper.",
            "復元したコピー上で hypopg を使って試し、実行計画が改善する場合に作成してください。",
        ),
    ),
    "IX08_sampled": Entry(
        Pair(
            "Perhaps a missing index, seen in a sample", "インデックス不足の可能性 (サンプリングによる観測)"
        ),
        Pair(
            "pg_qualstats saw {filtered} [filtered:row|rows] of {table} thrown away by comparisons of {columns}, "
            "in {occurrences} [occurrences:execution|executions]; no index begins with them.",
            "pg_qualstats の観測では、{table} の {columns} の比較により {occurrences} 回の実行で {filtered} 行が"
            "破棄されています。対応するインデックスはありません。",
        ),
        Pair(
            "It looks at {sample_share} of all executions, and none of the statements could be planned again: "
            "inside functions they are known to no other statistics.",
            "観測対象は実行の {sample_share} です。該当する文は関数内などにあり、実行計画の検証はできていません。",
        ),
        Pair(
            "Find the statement by its query id, and try the index on a restored copy before it is built.",
            "クエリー ID から文を特定し、復元したコピー上で効果を確認してから作成してください。",
        ),
    ),
    "IX09_nulls": Entry(
        Pair("Mostly nulls: a partial index would do", "大半が NULL (部分インデックスの候補)"),
        Pair(
            "{row_share} of {column} are null in {index} on {table}.",
            "{table} の {index} では、{column} の {row_share} が NULL です。",
        ),
        Pair(
            "With WHERE {column} IS NOT NULL it would be about {saved_bytes} smaller than {size_bytes}.",
            "WHERE {column} IS NOT NULL を付ければ、{size_bytes} から約 {saved_bytes} 小さくなります。",
        ),
        Pair(
            "If no query looks for nulls, build the partial index beside it, and drop this one.",
            "NULL を検索する問い合わせがなければ、部分インデックスを作成してからこれを削除してください。",
        ),
    ),
    "IX09_common": Entry(
        Pair("One value in nearly all rows", "ほぼすべての行が同じ値 (部分インデックスの候補)"),
        Pair(
            "{row_share} of the rows have the same value of {column} in {index} on {table}.",
            "{table} の {index} では、{column} の {row_share} が同じ値です。",
        ),
        Pair(
            "Nobody finds rows by a value that nearly all have; {saved_bytes} of {size_bytes} are kept for it.",
            "ほぼ全行が持つ値での検索には使われません。{size_bytes} のうち約 {saved_bytes} が無駄です。",
        ),
        Pair(
            "If no query looks for it, build an index WHERE {column} is another value, and drop this one.",
            "その値を検索する問い合わせがなければ、それ以外の {column} だけの部分インデックスに置き換えてください。",
        ),
    ),
    "IX09_nulls_free": Entry(
        Pair(
            "Mostly nulls, and no statement asks for them",
            "大半が NULL で、NULL を検索する SQL 文はない (部分インデックスの候補)",
        ),
        Pair(
            "{row_share} of {column} are null in {index} on {table}; {statements} [statements:statement|statements] "
            "with {calls} [calls:call|calls] [statements:speaks|speak] of it, and none asks for nulls or "
            "sorts by it ({ids}).",
            "{table} の {index} では、{column} の {row_share} が NULL です。この列を使う SQL 文は {statements} 個 "
            "(実行 {calls} 回) あり、NULL の検索やこの列での並べ替えはありません ({ids})。",
        ),
        Pair(
            "With WHERE {column} IS NOT NULL it would be about {saved_bytes} smaller than {size_bytes}.",
            "WHERE {column} IS NOT NULL を付ければ、{size_bytes} から約 {saved_bytes} 小さくなります。",
        ),
        Pair(
            "Try it on a restored copy; the action builds the partial index first and drops this one then. Statements "
            "that pg_stat_statements does not hold are not known.",
            "復元したコピーで確認してください。提示した SQL は、部分インデックスを作成した後でこれを削除します。"
            "pg_stat_statements に残っていない SQL 文は考慮されていません。",
        ),
    ),
    "IX09_nulls_asked": Entry(
        Pair("Mostly nulls, which statements ask for", "大半が NULL だが、NULL を検索する SQL 文がある"),
        Pair(
            "{row_share} of {column} are null in {index} on {table}; {statements} [statements:statement|statements] "
            "with {calls} [calls:call|calls] [statements:asks|ask] for nulls or [statements:sorts|sort] by it ({ids}).",
            "{table} の {index} では、{column} の {row_share} が NULL です。NULL の検索またはこの列での並べ替えを行う "
            "SQL 文が {statements} 個 (実行 {calls} 回) あります ({ids})。",
        ),
        Pair(
            "With WHERE {column} IS NOT NULL it would be about {saved_bytes} smaller than {size_bytes}, and these "
            "statements could not use it.",
            "WHERE {column} IS NOT NULL を付ければ、{size_bytes} から約 {saved_bytes} 小さくなりますが、"
            "これらの SQL 文では使えなくなります。",
        ),
        Pair(
            "See their plans: a search for most rows reads the whole table anyway, and then the index is not missed.",
            "これらの実行計画を確認してください。大半の行を検索する場合は通常は全件走査になり、"
            "インデックスは使われていません。",
        ),
    ),
    "IX09_common_asked": Entry(
        Pair("One value in nearly all rows", "ほぼすべての行が同じ値 (部分インデックスの候補)"),
        Pair(
            "{row_share} of the rows have the same value of {column} in {index} on {table}; {statements} "
            "[statements:statement|statements] with {calls} [calls:call|calls] [statements:speaks|speak] of "
            "it ({ids}).",
            "{table} の {index} では、{column} の {row_share} が同じ値です。この列を使う SQL 文は {statements} 個 "
            "(実行 {calls} 回) あります ({ids})。",
        ),
        Pair(
            "Nobody finds rows by a value that nearly all have; {saved_bytes} of {size_bytes} are kept for it. Which "
            "value a statement looks for is not kept.",
            "ほぼ全行が持つ値での検索には使われません。{size_bytes} のうち約 {saved_bytes} が無駄です。"
            "SQL 文がどの値を検索したかは記録されていません。",
        ),
        Pair(
            "Ask those who wrote these statements; if none looks for it, build an index WHERE {column} is another "
            "value, and drop this one.",
            "これらの SQL 文の担当者に確認し、その値の検索がなければ、それ以外の {column} だけの部分インデックスに"
            "置き換えてください。",
        ),
    ),
    "IX10": Entry(
        Pair("Column order that queries do not fit", "問い合わせに合わない列の順序"),
        Pair(
            "No statement compares {column}, the first column of {index} on {table}; {statements} compare {later}.",
            "{table} の {index} の先頭列 {column} を比較する文はなく、"
            "{later} を比較する文が {statements} 個あります。",
        ),
        Pair(
            "Without its first column an index is read from end to end.",
            "先頭列の条件がないと、インデックス全体を読むことになります。",
        ),
        Pair(
            "Try {later} as the first column on a restored copy.",
            "復元したコピー上で {later} を先頭列にして試してください。",
        ),
    ),
    "IX11": Entry(
        Pair("Writes cost more for indexes than for rows", "行よりインデックスの書き込みが多いテーブル"),
        Pair(
            "{table} has {count} [count:index|indexes] of {size_bytes}, {ratio} "
            "times its rows ({heap_bytes}), and had {writes} [writes:write|writes].",
            "{table} のインデックスは {count} 個で {size_bytes}、行データ ({heap_bytes}) の {ratio} 倍です"
            " (書き込み {writes} 行)。",
        ),
        Pair(
            "Each row that is written is written into all of them, and into WAL.",
            "1 行書き込むたびに、すべてのインデックスと WAL にも書き込まれます。",
        ),
        Pair(
            "See the findings on unused and redundant indexes of this table first.",
            "まず、このテーブルの未使用または重複インデックスの指摘に対処してください。",
        ),
    ),
    "IX11_hot": Entry(
        Pair("Updates that are not HOT", "HOT にならない更新"),
        Pair(
            "Of the updates of {table} only {hot_share} are HOT; {count} "
            "[count:index|indexes] of {size_bytes}, rows {heap_bytes}, ratio {ratio}.",
            "{table} の更新のうち HOT は {hot_share} だけです。"
            "インデックス {count} 個 {size_bytes}、行データ {heap_bytes} ({ratio} 倍)。",
        ),
        Pair(
            "An update of an indexed column, or a page without room, writes into all indexes "
            "({writes} [writes:write|writes]).",
            "インデックスのある列の更新や空きのないページでは、全インデックスに書き込みます (書き込み {writes} 行)。",
        ),
        Pair(
            "See which index holds a column that is updated often, and whether fillfactor leaves room.",
            "頻繁に更新される列を含むインデックスと、fillfactor を確認してください。",
        ),
    ),
    "IX11_hot_named": Entry(
        Pair("Indexes keep updates from being HOT", "インデックスが HOT 更新を妨げている"),
        Pair(
            "Of the updates of {table} only {hot_share} are HOT: {blockers} hold {columns}, "
            "which statements set ({calls} [calls:call|calls]).",
            "{table} の更新のうち HOT は {hot_share} だけです。更新対象の列 {columns} ({calls} 回) を"
            " {blockers} が含んでいます。",
        ),
        Pair(
            "Such an update writes into [count:the one index|all {count} indexes] of {size_bytes}, whichever column "
            "[count:it holds|they hold] ({writes} [writes:write|writes]).",
            "これらの列を更新すると、{count} 個のインデックス ({size_bytes}) すべてに書き込みます "
            "(書き込み {writes} 行)。",
        ),
        Pair(
            "See whether these indexes are worth it, or whether the column can leave them (INCLUDE, predicate, "
            "expression); then whether fillfactor leaves room.",
            "インデックスの必要性と、INCLUDE・述語・式からその列を外せないかを検討し、fillfactor も確認してください。",
        ),
    ),
    "IX12_boolean": Entry(
        Pair("Index on a boolean alone", "真偽値だけのインデックス"),
        Pair("{index} on {table} has two values.", "{table} の {index} は 2 種類の値しか持ちません。"),
        Pair(
            "It finds rows only where one of the two is rare.",
            "片方の値がごく少ない場合にしか役に立ちません。",
        ),
        Pair(
            "Make it partial: index another column WHERE the boolean has its rare value.",
            "少ない方の値を WHERE 条件にした、別の列の部分インデックスにしてください。",
        ),
    ),
    "IX12_array": Entry(
        Pair("B-tree on an array", "配列の B-tree インデックス"),
        Pair(
            "{index} on {table} compares whole arrays.",
            "{table} の {index} は配列全体を比較します。",
        ),
        Pair(
            "It does not find members of an array (@>, ANY).",
            "配列の要素の検索 (@>、ANY) には使えません。",
        ),
        Pair(
            "Use GIN if queries look for members.",
            "要素を検索する場合は GIN を使ってください。",
        ),
    ),
    "IX12_predicate": Entry(
        Pair("Predicate that is always true", "常に真の述語"),
        Pair(
            "{index} on {table} is for rows where {column} is not null, and it never is.",
            "{table} の {index} は {column} IS NOT NULL が条件ですが、この列は NOT NULL です。",
        ),
        Pair(
            "Queries must imply the predicate for nothing.",
            "条件に意味がなく、問い合わせ側の判定が増えるだけです。",
        ),
        Pair(
            "Leave the predicate out when it is built the next time.",
            "次に作り直すときに述語を外してください。",
        ),
    ),
    "IX13": Entry(
        Pair("Index differs between clusters of one role", "同じ役割のクラスター間で異なるインデックス"),
        Pair(
            "{index} is on {present} of {all} clusters in one form; different or missing on: {others}.",
            "{index} は {all} クラスター中 {present} で同じ定義です。異なる、または存在しないクラスター: {others}。",
        ),
        Pair(
            "The same query has another plan there.",
            "同じ問い合わせでも実行計画が変わります。",
        ),
        Pair(
            "Make it the same on all, or say why not (accepted).",
            "すべて同じにするか、異なる理由を accepted に記録してください。",
        ),
    ),
    "IX13_table": Entry(
        Pair(
            "Indexes of a table differ between clusters of one role",
            "同じ役割のクラスター間で異なるテーブルのインデックス",
        ),
        Pair(
            "The indexes of {table} are the same on {present} of {all} clusters; different on: {others}.",
            "{table} のインデックスは {all} クラスター中 {present} で同じです。異なるクラスター: {others}。",
        ),
        Pair(
            "The same query has another plan there. There are too many indexes to compare each by its name.",
            "同じ問い合わせでも実行計画が変わります。インデックスの数が多いため、名前ごとの比較は行っていません。",
        ),
        Pair(
            "Compare the indexes of this table (pg_indexes); make them the same on all, or say why not (accepted).",
            "このテーブルの pg_indexes を比較し、すべて同じにするか、異なる理由を accepted に記録してください。",
        ),
    ),
    "IX14_unread": Entry(
        Pair("Unique index that is never scanned", "走査されていない一意インデックス"),
        Pair(
            "{index} on {table} ({size_bytes}) has not been scanned here.",
            "{table} の {index} ({size_bytes}) は、このノードでは走査されていません。",
        ),
        Pair(
            "It refuses rows that are there twice, which counts as no scan: it works.",
            "重複する行の拒否は走査に数えられません。役目は果たしています。",
        ),
        Pair("Nothing; it is not one to drop.", "対応は不要です。削除の対象ではありません。"),
    ),
    "IX14_nullable": Entry(
        Pair("Unique index that lets nulls through", "NULL を許す一意インデックス"),
        Pair(
            "{index} on {table}: {columns} may be null.",
            "{table} の {index}: {columns} は NULL を許します。",
        ),
        Pair(
            "Rows with a null are never equal, so any number of them may be there.",
            "NULL を含む行は等しいとみなされず、いくつでも登録できます。",
        ),
        Pair(
            "If that is not meant: SET NOT NULL, or NULLS NOT DISTINCT (15 and later).",
            "意図しない場合は SET NOT NULL、または NULLS NOT DISTINCT (15 以降) を使ってください。",
        ),
    ),
    "IX15": Entry(
        Pair("Collation changed under its indexes", "照合順序のバージョン不一致"),
        Pair(
            "{collation} was {recorded} when {count} [count:index|indexes] "
            "({size_bytes}) [count:was|were] built, and is {actual} now: {indexes}.",
            "{collation} は {count} 個のインデックス ({size_bytes}) の作成時は {recorded}、"
            "現在は {actual} です: {indexes}。",
        ),
        Pair(
            "Text may be sorted differently now: rows are not found, and unique keys are there twice.",
            "文字列の並び順が変わると、行が見つからなくなり、一意キーが重複することがあります。",
        ),
        Pair(
            "REINDEX INDEX CONCURRENTLY each of them, then ALTER COLLATION ... REFRESH VERSION.",
            "それぞれ REINDEX INDEX CONCURRENTLY を実行し、その後 "
            "ALTER COLLATION ... REFRESH VERSION を実行してください。",
        ),
    ),
    "IX15_database": Entry(
        Pair(
            "Collation of the database changed under its indexes", "データベースの照合順序のバージョン不一致"
        ),
        Pair(
            "The library of {collation} was {recorded} when {count} [count:index|indexes] ({size_bytes}) "
            "[count:was|were] built, "
            "and is {actual} now: {indexes}.",
            "{collation} のライブラリは {count} 個のインデックス ({size_bytes}) の作成時は {recorded}、"
            "現在は {actual} です: {indexes}。",
        ),
        Pair(
            "Text may be sorted differently now: rows are not found, and unique keys are there twice.",
            "文字列の並び順が変わると、行が見つからなくなり、一意キーが重複することがあります。",
        ),
        Pair(
            "REINDEX DATABASE CONCURRENTLY, then ALTER DATABASE ... REFRESH COLLATION VERSION.",
            "REINDEX DATABASE CONCURRENTLY の後、ALTER DATABASE ... REFRESH COLLATION VERSION を実行してください。",
        ),
    ),
    "IX15_damaged": Entry(
        Pair("Damaged index", "破損したインデックス"),
        Pair(
            "amcheck refuses {index} on {table}: {fault}",
            "amcheck が {table} の {index} の異常を検出しました: {fault}",
        ),
        Pair(
            "Queries that use it miss rows or find wrong ones; a unique one lets rows in twice.",
            "このインデックスを使う問い合わせは行を見落とすか誤った行を返し、一意性も保証されません。",
        ),
        Pair(
            "Rebuild it concurrently, then look for what broke it: the collation, the disk, a restore.",
            "CONCURRENTLY で再作成し、原因 (照合順序、ディスク、復元手順) を調べてください。",
        ),
    ),
    "IX16_count": Entry(
        Pair("Many indexes on one table", "インデックスの多いテーブル"),
        Pair(
            "{table} has {count} [count:index|indexes] of {size_bytes}; its rows take {heap_bytes}.",
            "{table} には {count} 個のインデックス ({size_bytes}) があります。行データは {heap_bytes} です。",
        ),
        Pair(
            "Every write and every plan considers all of them.",
            "書き込みのたびに、また計画のたびに、すべてが対象になります。",
        ),
        Pair(
            "See which of them are unused or redundant.",
            "未使用や重複のものがないか確認してください。",
        ),
    ),
    "IX16_bytes": Entry(
        Pair("Indexes larger than their table", "テーブルより大きいインデックス"),
        Pair(
            "The {count} [count:index|indexes] of {table} [count:takes|take] {size_bytes}, its rows {heap_bytes}.",
            "{table} の {count} 個のインデックスは {size_bytes}、行データは {heap_bytes} です。",
        ),
        Pair(
            "Memory, WAL and backups hold more of indexes than of data.",
            "メモリ、WAL、バックアップの多くをインデックスが占めます。",
        ),
        Pair(
            "See which of them are unused, redundant or bloated.",
            "未使用、重複、肥大化しているものがないか確認してください。",
        ),
    ),
}
