# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the report says about what fills up, runs out or was forgotten (HC17 and on), in both languages."""

from __future__ import annotations

from .entry import Entry, Pair

FINDINGS: dict[str, Entry] = {
    "HC17": Entry(
        Pair("Transaction numbers run out", "トランザクション ID の周回が近づいています"),
        Pair(
            "The oldest transaction of {database} is {age} old: {used_share} of the way to where the server stops, "
            "{freeze_share} of autovacuum_freeze_max_age. Oldest tables: {tables}.",
            "{database} の最古のトランザクションの年齢は {age} です。停止点までの {used_share}、"
            "autovacuum_freeze_max_age の {freeze_share} に達しています。最古のテーブル: {tables}。",
        ),
        Pair(
            "At the end the server takes no more writes until it is vacuumed.",
            "停止点に達すると、VACUUM が完了するまで書き込みを受け付けません。",
        ),
        Pair(
            "Remove what holds the horizon back (see the finding on it), then vacuum the oldest tables.",
            "xmin を保持しているもの (該当する指摘を参照) を取り除き、最古のテーブルを VACUUM してください。",
        ),
    ),
    "HC18": Entry(
        Pair("MultiXact numbers run out", "MultiXact ID の周回が近づいています"),
        Pair(
            "The oldest MultiXact of {database} is {age} old: {used_share} of the way to where the server stops, "
            "{freeze_share} of autovacuum_multixact_freeze_max_age. Oldest tables: {tables}.",
            "{database} の最古の MultiXact の年齢は {age} です。停止点までの {used_share}、"
            "autovacuum_multixact_freeze_max_age の {freeze_share} に達しています。最古のテーブル: {tables}。",
        ),
        Pair(
            "At the end no row can be locked by two transactions any more.",
            "停止点に達すると、複数トランザクションによる行ロックができなくなります。",
        ),
        Pair(
            "Vacuum the oldest tables; see what locks rows together (foreign keys, FOR SHARE).",
            "最古のテーブルを VACUUM し、行を共有ロックする処理 (外部キー、FOR SHARE) を確認してください。",
        ),
    ),
    "HC19": Entry(
        Pair("Something holds back the removal of dead rows", "不要行の回収を妨げているもの"),
        Pair(
            "The {kind} {name} may still see what was true {age} [age:transaction|transactions] ago.",
            "{name} ({kind}) が {age} トランザクション前の状態を参照し続けています。",
        ),
        Pair(
            "Vacuum removes nothing that died since, in any table of the database.",
            "それ以降の不要行は、どのテーブルでも VACUUM で回収できません。",
        ),
        Pair(
            "End the session or prepared transaction, drop the slot, or see to the standby's long query.",
            "セッションやプリペアドトランザクションの終了、スロットの削除、"
            "スタンバイの長い問い合わせの解消を検討してください。",
        ),
    ),
    "HC20": Entry(
        Pair("Many dead rows", "不要行が多いテーブル"),
        Pair(
            "{schema}.{name} has {dead} dead [dead:row|rows] ({dead_share}, {waste_bytes}); autovacuum takes it from "
            "{threshold_rows} on. Vacuumed last {vacuumed_seconds} ago.",
            "{schema}.{name} に不要行が {dead} 行あります ({dead_share}、{waste_bytes})。autovacuum は "
            "{threshold_rows} 行から対象にします。最後の VACUUM は {vacuumed_seconds}前です。",
        ),
        Pair(
            "They are read with every scan, and the table grows instead of using their room.",
            "走査のたびに読み込まれ、空き領域として再利用されないためテーブルが増大します。",
        ),
        Pair(
            "Vacuum it; if it comes back, lower its autovacuum_vacuum_scale_factor, and see what holds vacuum back.",
            "VACUUM を実行してください。再発する場合は autovacuum_vacuum_scale_factor を下げ、"
            "VACUUM を妨げているものがないか確認してください。",
        ),
    ),
    "HC21_estimate": Entry(
        Pair("Probably far larger than its rows", "肥大化の可能性があるテーブル"),
        Pair(
            "{schema}.{name} is {size_bytes}; by the widths of its columns {waste_bytes} of it are empty "
            "({waste_share}).",
            "{schema}.{name} は {size_bytes} です。列の幅からの推定では、そのうち {waste_bytes} が空きです "
            "({waste_share})。",
        ),
        Pair(
            "Every full scan and every backup reads the empty pages, too.",
            "全件走査やバックアップのたびに、空きページも読み込まれます。",
        ),
        Pair(
            "Measure first (exact_bloat with pgstattuple); then VACUUM FULL in a maintenance window, or pg_repack.",
            "まず pgstattuple で実測し (exact_bloat)、メンテナンス時間に VACUUM FULL または pg_repack を"
            "実行してください。",
        ),
    ),
    "HC21_exact": Entry(
        Pair("Far larger than its rows", "肥大化したテーブル"),
        Pair(
            "{schema}.{name} is {size_bytes}; {waste_bytes} of it are empty or dead ({waste_share}), as measured.",
            "{schema}.{name} は {size_bytes} です。実測では、そのうち {waste_bytes} が空きまたは不要行です "
            "({waste_share})。",
        ),
        Pair(
            "Every full scan and every backup reads the empty pages, too.",
            "全件走査やバックアップのたびに、空きページも読み込まれます。",
        ),
        Pair(
            "VACUUM FULL in a maintenance window (it locks the table), or pg_repack.",
            "メンテナンス時間に VACUUM FULL (テーブルをロックします) または pg_repack を実行してください。",
        ),
    ),
    "HC22": Entry(
        Pair("A sequence is near its end", "シーケンスの上限が近づいています"),
        Pair(
            "{schema}.{name} is at {last} of {end} ({used_share}); {left} [left:value is|values are] left. "
            "Its column: {column}.",
            "{schema}.{name} は {end} のうち {last} まで進んでいます ({used_share})。残りは {left} 個です "
            "(列: {column})。",
        ),
        Pair(
            "At the end every insert fails.",
            "上限に達すると、INSERT がすべて失敗します。",
        ),
        Pair(
            "Make the column bigint in good time (and those that refer to it), then ALTER SEQUENCE ... AS bigint.",
            "早めに列 (および参照している列) を bigint に変更し、ALTER SEQUENCE ... AS bigint を実行してください。",
        ),
    ),
    "HC23": Entry(
        Pair("An index is not valid", "無効なインデックス"),
        Pair(
            "{schema}.{name} on {table} is left over from a build that failed.",
            "{table} の {schema}.{name} は、作成に失敗したまま残っています。",
        ),
        Pair(
            "No query uses it, and every write maintains it.",
            "検索には使われず、書き込みのたびに更新だけが行われます。",
        ),
        Pair(
            "Rebuild it concurrently, or drop it if another does its work.",
            "CONCURRENTLY で再作成するか、代わりがあれば削除してください。",
        ),
    ),
    "HC24": Entry(
        Pair("A constraint is not validated", "検証されていない制約"),
        Pair(
            "{name} on {table} was made NOT VALID and never validated.",
            "{table} の {name} は NOT VALID で作成されたまま検証されていません。",
        ),
        Pair(
            "Older rows may violate it; the planner does not rely on it.",
            "既存の行が違反している可能性があり、プランナーも利用できません。",
        ),
        Pair(
            "Validate it; that reads the table and blocks no writes.",
            "検証してください。テーブルを読みますが、書き込みはブロックしません。",
        ),
    ),
    "HC25": Entry(
        Pair("Data checksums are off", "データチェックサムが無効"),
        Pair("data_checksums is {data_checksums}.", "data_checksums が {data_checksums} です。"),
        Pair(
            "A page that the disk damaged is read as if it were good, and backed up, too.",
            "ディスク障害で壊れたページが、正常なものとして読み込まれ、バックアップもされます。",
        ),
        Pair(
            "pg_checksums --enable on the stopped cluster; with standbys one after the other.",
            "停止中に pg_checksums --enable を実行してください。スタンバイがある場合は 1 台ずつ行います。",
        ),
    ),
    "HC26": Entry(
        Pair("Pages with wrong checksums", "チェックサムエラーの発生"),
        Pair(
            "{failures} [failures:page of {name} did not match its checksum|pages of {name} did not match "
            "their checksums].",
            "{name} の {failures} ページでチェックサムが一致しませんでした。",
        ),
        Pair(
            "The storage gives back other bytes than were written.",
            "ストレージが書き込んだ内容と異なるデータを返しています。",
        ),
        Pair(
            "Find the table in the server's log, restore it from a backup that was verified, and replace the storage.",
            "サーバログで対象テーブルを特定し、検証済みバックアップから復元して、ストレージを交換してください。",
        ),
    ),
    "HC27": Entry(
        Pair("Settings wait for a restart", "再起動待ちの設定"),
        Pair(
            "{settings} were changed and are not in effect.",
            "{settings} が変更されましたが、まだ有効ではありません。",
        ),
        Pair(
            "The next restart, planned or not, starts with other settings than those that run.",
            "次の再起動 (計画外を含む) で、現在と異なる設定になります。",
        ),
        Pair("Restart at a time of your choice.", "都合のよい時間に再起動してください。"),
    ),
    "HC28": Entry(
        Pair("An extension waits for its update", "更新待ちの拡張"),
        Pair(
            "{name} in {database} is {version}, {available} is installed.",
            "{database} の {name} は {version} ですが、{available} がインストールされています。",
        ),
        Pair(
            "The library is newer than the functions in the database; corrections are not in effect.",
            "ライブラリがデータベース内の関数より新しく、修正が反映されていません。",
        ),
        Pair(
            "Read its release notes, then update it.",
            "リリースノートを確認してから更新してください。",
        ),
    ),
    "HC29": Entry(
        Pair("A disk is nearly full", "ディスクの空きが不足"),
        Pair(
            "{name} (holds {holds}) is {used_share} full; {free_bytes} of {total_bytes} are free.",
            "{name} ({holds}) の使用率は {used_share} です ({total_bytes} のうち空き {free_bytes})。",
        ),
        Pair(
            "A full disk of the WAL stops the server.",
            "WAL のディスクが満杯になると、サーバは停止します。",
        ),
        Pair(
            "See slots and archiving first (they keep WAL), then logs and temporary files; then make room.",
            "まず WAL を保持するスロットとアーカイブ、次にログと一時ファイルを確認し、容量を確保してください。",
        ),
    ),
    "HC29_soon": Entry(
        Pair("A disk will be full", "ディスクが満杯になる見込み"),
        Pair(
            "{name} (holds {holds}) is {used_share} full; at the present pace nothing is free in {full_in_seconds}.",
            "{name} ({holds}) の使用率は {used_share} で、現在のペースでは {full_in_seconds} で満杯になります。",
        ),
        Pair(
            "A full disk of the WAL stops the server.",
            "WAL のディスクが満杯になると、サーバは停止します。",
        ),
        Pair(
            "See what grows, and make room before then.",
            "増加の原因を確認し、それまでに容量を確保してください。",
        ),
    ),
    "HC30": Entry(
        Pair("The certificate ends", "証明書の期限切れ"),
        Pair(
            "{name} is good until {not_after}, for {left_seconds} more.",
            "{name} の有効期限は {not_after} です (残り {left_seconds})。",
        ),
        Pair(
            "From then on clients that verify it refuse the server.",
            "期限を過ぎると、検証するクライアントは接続を拒否します。",
        ),
        Pair(
            "Renew {path} and reload the server.",
            "{path} を更新し、サーバに再読み込みさせてください。",
        ),
    ),
    "HC31": Entry(
        Pair("A setting differs between the nodes", "ノード間で設定が異なります"),
        Pair("{name} is not the same everywhere: {values}.", "{name} がノードによって異なります: {values}。"),
        Pair(
            "After a switchover the new primary behaves otherwise than the old one.",
            "切り替え後のプライマリーが、以前と異なる動作をします。",
        ),
        Pair(
            "Set it alike on all nodes, or accept the difference with a reason.",
            "全ノードで統一するか、理由を付けて差異を許容してください。",
        ),
    ),
    "HC32": Entry(
        Pair("A standby has less than its primary", "スタンバイの設定値がプライマリーより小さい"),
        Pair(
            "{name} is {here} on {node}, and {primary} on the primary.",
            "{node} の {name} は {here}、プライマリーは {primary} です。",
        ),
        Pair(
            "The standby pauses replay, or does not start.",
            "スタンバイのリプレイが停止するか、起動できなくなります。",
        ),
        Pair(
            "Raise it on the standby first; lower it on the primary first.",
            "増やすときはスタンバイから、減らすときはプライマリーから変更してください。",
        ),
    ),
    "HC33_none": Entry(
        Pair("No primary", "プライマリーが存在しません"),
        Pair("None of {nodes} takes writes.", "{nodes} のいずれも書き込みを受け付けません。"),
        Pair("Nothing can be written.", "書き込みができない状態です。"),
        Pair(
            "See which standby is furthest, and promote that one only.",
            "最も進んでいるスタンバイを確認し、その 1 台だけを昇格させてください。",
        ),
    ),
    "HC33_two": Entry(
        Pair("More than one primary", "プライマリーが複数存在します"),
        Pair("{nodes} take writes, all of them.", "{nodes} がいずれも書き込みを受け付けています。"),
        Pair(
            "Their data go apart, and only one of them can be kept.",
            "データが分岐しており、残せるのは 1 台だけです。",
        ),
        Pair(
            "Stop writes at once; decide which one stays, and rewind or rebuild the others.",
            "直ちに書き込みを止め、残す 1 台を決めて、他は pg_rewind または再構築してください。",
        ),
    ),
    "HC34": Entry(
        Pair("A standby is missing", "スタンバイが接続していません"),
        Pair("{name} is expected, and does not stream.", "{name} がストリーミングしていません。"),
        Pair(
            "There is one copy less than everybody believes.",
            "想定より冗長性が 1 台分低下しています。",
        ),
        Pair(
            "See whether its server runs, and what its log says of the connection.",
            "サーバの稼働状況と、接続に関するログを確認してください。",
        ),
    ),
    "HC35": Entry(
        Pair("The keeper's check", "keeper の検査"),
        Pair("The check {name} says: {told}", "検査 {name} の結果: {told}"),
        Pair(
            "What can be restored, and how soon, depends on it.",
            "復元できる範囲と所要時間に影響します。",
        ),
        Pair(
            "See dbkeeper check on the host.",
            "ホストで dbkeeper check を確認してください。",
        ),
    ),
    "HC37_paused": Entry(
        Pair("Replay is paused", "リプレイが一時停止中"),
        Pair(
            "This standby replays nothing; {unreplayed_bytes} wait.",
            "このスタンバイのリプレイは停止中です。未リプレイは {unreplayed_bytes} です。",
        ),
        Pair(
            "It falls behind, and its disk fills with WAL.",
            "遅延が広がり、ディスクに WAL が溜まります。",
        ),
        Pair(
            "Resume it: SELECT pg_wal_replay_resume().",
            "SELECT pg_wal_replay_resume() で再開してください。",
        ),
    ),
    "HC37_receiver": Entry(
        Pair("A standby receives nothing", "スタンバイが WAL を受信していません"),
        Pair(
            "This standby's receiver: {receiver}; its newest transaction is {replayed_seconds} old.",
            "WAL レシーバーの状態: {receiver}。最新のトランザクションは {replayed_seconds}前のものです。",
        ),
        Pair(
            "It follows by the archive only, or not at all.",
            "アーカイブ経由でしか追従できないか、まったく追従していません。",
        ),
        Pair(
            "See primary_conninfo, the primary's pg_hba.conf and slots, and this server's log.",
            "primary_conninfo、プライマリーの pg_hba.conf とスロット、このサーバのログを確認してください。",
        ),
    ),
    "HC38": Entry(
        Pair("A trigger is switched off", "無効化されたトリガー"),
        Pair("{name} on {table} is disabled.", "{table} の {name} が無効になっています。"),
        Pair(
            "What it checks or writes does not happen.",
            "トリガーによる検査や書き込みが行われていません。",
        ),
        Pair(
            "Enable it, if it was forgotten after a load; foreign keys are triggers, too.",
            "データ投入後の戻し忘れであれば有効化してください。外部キーもトリガーで実現されています。",
        ),
    ),
}
