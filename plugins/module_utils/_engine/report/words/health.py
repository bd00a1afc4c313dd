# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the report says about sessions, standbys and archiving (HC01 to HC16), in both languages."""

from __future__ import annotations

from .entry import Blind, Entry, Pair

FINDINGS: dict[str, Entry] = {
    "HC01": Entry(
        Pair("Connections are running out", "接続数が上限に近づいています"),
        Pair(
            "{used} of {usable} connections that ordinary roles may have [used:is|are] used ({used_share}); "
            "{idle} [idle:is|are] idle.",
            "一般ロールが使える {usable} 接続のうち {used} 接続を使用中です ({used_share})。うち {idle} は idle です。",
        ),
        Pair(
            "When none is left, applications are refused.",
            "上限に達すると、アプリケーションの接続が拒否されます。",
        ),
        Pair(
            "Put a pooler in front, or end idle sessions; raise max_connections only if memory allows it.",
            "コネクションプーラーを導入するか idle セッションを減らしてください。"
            "max_connections はメモリーに余裕がある場合に限り増やしてください。",
        ),
    ),
    "HC02": Entry(
        Pair("One session blocks others", "他のセッションをブロックしているセッション"),
        Pair(
            "Process {pid} of {user} ({application}, {state}) blocks {waiting} [waiting:session|sessions], "
            "{depth} deep, the longest for "
            "{waited_seconds}.",
            "{user} ({application}) のプロセス {pid} (状態: {state}) が {waiting} セッションをブロックしています "
            "(深さ {depth}、最長 {waited_seconds})。",
        ),
        Pair(
            "All of them wait for this one; those behind them will wait, too.",
            "すべてがこのセッションの終了を待っており、後続も待たされます。",
        ),
        Pair(
            "Have its owner end the transaction, or terminate it; a prepared transaction ends with ROLLBACK PREPARED.",
            "所有者にトランザクションを終了してもらうか、強制終了してください。"
            "プリペアドトランザクションは ROLLBACK PREPARED で終了します。",
        ),
    ),
    "HC03": Entry(
        Pair("Idle in an open transaction", "トランザクションを開いたまま idle"),
        Pair(
            "{sessions} [sessions:session|sessions] of {user} ({application}) in {database} "
            "[sessions:is|are] idle in a transaction, the longest for "
            "{idle_seconds} (process {pid}).",
            "{database} の {user} ({application}) の {sessions} セッションが、トランザクションを開いたまま idle です "
            "(最長 {idle_seconds}、プロセス {pid})。",
        ),
        Pair(
            "It keeps its locks, and vacuum from removing what died since it began.",
            "ロックを保持し続け、開始以降の不要行を VACUUM が回収できません。",
        ),
        Pair(
            "Correct the application, and set idle_in_transaction_session_timeout for its role.",
            "アプリケーションを修正し、ロールに idle_in_transaction_session_timeout を設定してください。",
        ),
    ),
    "HC04": Entry(
        Pair("A transaction runs very long", "長時間実行中のトランザクション"),
        Pair(
            "{sessions} [sessions:session|sessions] of {user} ({application}) in {database} "
            "[sessions:is|are] at work, the longest transaction for "
            "{transaction_seconds} (process {pid}, waits for {waits_for}).",
            "{database} の {user} ({application}) の {sessions} セッションが実行中で、最長のトランザクションは "
            "{transaction_seconds} です (プロセス {pid}、待機: {waits_for})。",
        ),
        Pair(
            "It keeps vacuum from removing what died since, and its locks are held until it ends.",
            "終了まで VACUUM が不要行を回収できず、ロックも保持されます。",
        ),
        Pair(
            "See what it does (pg_stat_activity); cancel it if nobody waits for it.",
            "pg_stat_activity で内容を確認し、不要であれば取り消してください。",
        ),
    ),
    "HC05": Entry(
        Pair("The lock table fills up", "ロックテーブルの使用率が高い"),
        Pair(
            "{held} of {places} places of the shared lock table [held:is|are] taken ({used_share}).",
            "共有ロックテーブルの {places} 個のうち {held} 個を使用中です ({used_share})。",
        ),
        Pair(
            "When it is full, statements fail with 'out of shared memory'.",
            "満杯になると、文が out of shared memory エラーで失敗します。",
        ),
        Pair(
            "See who locks so many objects (partitions, dumps); raise max_locks_per_transaction.",
            "多数のオブジェクトをロックする処理 (パーティション、ダンプなど) を確認し、"
            "max_locks_per_transaction を増やしてください。",
        ),
    ),
    "HC06": Entry(
        Pair("A prepared transaction is not ended", "終了していないプリペアドトランザクション"),
        Pair(
            "{name} of {user} in {database} was prepared {age_seconds} ago.",
            "{database} の {user} の {name} は、準備から {age_seconds} が経過しています。",
        ),
        Pair(
            "It keeps its locks and holds vacuum back, over restarts, too.",
            "再起動後もロックを保持し、VACUUM を妨げ続けます。",
        ),
        Pair(
            "Ask the transaction manager for its outcome; then COMMIT PREPARED or ROLLBACK PREPARED in {database}.",
            "トランザクションマネージャーで結果を確認し、{database} で COMMIT PREPARED または "
            "ROLLBACK PREPARED を実行してください。",
        ),
    ),
    "HC07": Entry(
        Pair("Deadlocks", "デッドロックの発生"),
        Pair(
            "{deadlocks} [deadlocks:deadlock|deadlocks] in {database} in {over_seconds}.",
            "{database} で {over_seconds}の間にデッドロックが {deadlocks} 回発生しました。",
        ),
        Pair("Each costs a transaction its work.", "発生のたびにトランザクションが 1 つ失敗します。"),
        Pair(
            "See the server's log for both statements; have all transactions lock in one order.",
            "サーバログで双方の文を確認し、ロックの取得順序を統一してください。",
        ),
    ),
    "HC08": Entry(
        Pair("Many transactions are rolled back", "ロールバックの割合が高い"),
        Pair(
            "{rollbacks} of {ended} transactions in {database} [rollbacks:was|were] rolled back ({rolled_back_share}).",
            "{database} の {ended} トランザクションのうち {rollbacks} がロールバックされました "
            "({rolled_back_share})。",
        ),
        Pair(
            "Errors that nobody sees, or a pool that ends each connection with a rollback.",
            "見落とされたエラーや、接続ごとに ROLLBACK を送るプールなどが考えられます。",
        ),
        Pair("See errors in the server's log.", "サーバログのエラーを確認してください。"),
    ),
    "HC10": Entry(
        Pair("Much is written to temporary files", "一時ファイルへの書き込みが多い"),
        Pair(
            "{database} wrote {temp_bytes} in {temp_files} temporary [temp_files:file|files] in {over_seconds}.",
            "{database} で {over_seconds}の間に一時ファイル {temp_files} 個、{temp_bytes} が書き込まれました。",
        ),
        Pair(
            "Sorts and hashes do not fit in work_mem; the disk is shared with everybody.",
            "ソートやハッシュが work_mem に収まっておらず、ディスクを他の処理と奪い合います。",
        ),
        Pair(
            "See the findings on statements for which ones; log_temp_files names them, too.",
            "文に関する指摘、または log_temp_files の記録で該当する文を特定してください。",
        ),
    ),
    "HC11": Entry(
        Pair("Checkpoints are forced by WAL", "WAL 量によるチェックポイントが多い"),
        Pair(
            "{forced} [forced:checkpoint was|checkpoints were] forced and {timed} came by the clock "
            "({forced_share}); max_wal_size is "
            "{max_wal_mb} MB.",
            "時間契機 {timed} 回に対し、強制チェックポイントが {forced} 回発生しました ({forced_share})。"
            "max_wal_size は {max_wal_mb} MB です。",
        ),
        Pair(
            "After each checkpoint whole pages are written again; often is much more WAL.",
            "チェックポイント直後はページ全体が WAL に書かれるため、頻発すると WAL 量が増えます。",
        ),
        Pair(
            "Raise max_wal_size, as far as the disk of the WAL allows.",
            "WAL のディスク容量が許す範囲で max_wal_size を増やしてください。",
        ),
    ),
    "HC12": Entry(
        Pair("A standby lags behind", "スタンバイの遅延"),
        Pair(
            "{name} ({state}) is {lag_bytes} behind, {lag_seconds}.",
            "{name} (状態: {state}) が {lag_bytes}、{lag_seconds} 遅れています。",
        ),
        Pair(
            "What it has not got would be lost with the primary; readers there see old rows.",
            "プライマリーを失うと未受信分も失われます。参照側では古いデータが見えます。",
        ),
        Pair(
            "See the network, the standby's disk, and long queries there that replay waits for.",
            "ネットワーク、スタンバイのディスク、リプレイを待たせている長い問い合わせを確認してください。",
        ),
    ),
    "HC14_lost": Entry(
        Pair("A replication slot is lost", "レプリケーションスロットが失効"),
        Pair("Slot {name} is of no more use ({reason}).", "スロット {name} は使用できません ({reason})。"),
        Pair(
            "Who used it can no longer follow.",
            "このスロットの利用者は追従できなくなっています。",
        ),
        Pair(
            "Make the standby or subscriber anew, or let it catch up from the archive; then drop the slot.",
            "スタンバイまたはサブスクライバーを再作成するかアーカイブから追い付かせ、スロットを削除してください。",
        ),
    ),
    "HC14_retained": Entry(
        Pair("A replication slot retains much WAL", "レプリケーションスロットが大量の WAL を保持"),
        Pair(
            "Slot {name} retains {retained_bytes} of WAL ({wal_status}); active: {active}.",
            "スロット {name} が {retained_bytes} の WAL を保持しています ({wal_status}、active: {active})。",
        ),
        Pair(
            "The disk of the WAL fills up, and a full one stops the server; beyond max_slot_wal_keep_size it is lost.",
            "WAL のディスクが満杯になるとサーバが停止します。max_slot_wal_keep_size を超えるとスロットが失効します。",
        ),
        Pair(
            "Bring back who uses it; if nobody does, drop it: SELECT pg_drop_replication_slot(...).",
            "利用者を復旧してください。不要であれば pg_drop_replication_slot で削除してください。",
        ),
    ),
    "HC14_inactive": Entry(
        Pair("Nobody uses a replication slot", "使われていないレプリケーションスロット"),
        Pair(
            "Slot {name} has had no user for {inactive_seconds}; it retains {retained_bytes}.",
            "スロット {name} は {inactive_seconds}の間使われておらず、{retained_bytes} を保持しています。",
        ),
        Pair(
            "It keeps WAL, and may hold vacuum back, for nobody.",
            "不要な WAL を保持し、VACUUM を妨げる場合もあります。",
        ),
        Pair(
            "Bring back who uses it, or drop it.",
            "利用者を復旧するか、スロットを削除してください。",
        ),
    ),
    "HC15": Entry(
        Pair("A subscription has errors", "サブスクリプションのエラー"),
        Pair(
            "{name}: {apply_errors} [apply_errors:error|errors] when applying, {sync_errors} when copying tables.",
            "{name}: 適用エラー {apply_errors} 件、初期同期エラー {sync_errors} 件。",
        ),
        Pair(
            "It tries the same again and again, and gets no further; its publisher keeps WAL meanwhile.",
            "同じ処理を繰り返して進まず、パブリッシャー側に WAL が溜まります。",
        ),
        Pair(
            "Read the server's log for the row in conflict; correct it, or skip it (ALTER SUBSCRIPTION ... SKIP).",
            "サーバログで競合した行を確認し、修正するか ALTER SUBSCRIPTION ... SKIP で読み飛ばしてください。",
        ),
    ),
    "HC16_failing": Entry(
        Pair("Archiving fails", "WAL アーカイブが失敗しています"),
        Pair(
            "{segment} could not be archived {failed_seconds} ago; {ready} [ready:segment waits|segments "
            "wait], the oldest for "
            "{oldest_seconds}.",
            "{failed_seconds}前に {segment} のアーカイブに失敗しました。待機中のセグメントは {ready} 個、"
            "最古は {oldest_seconds}前のものです。",
        ),
        Pair(
            "What is not archived cannot be restored, and stays in pg_wal until the disk is full.",
            "アーカイブされない分は復元できず、ディスクが満杯になるまで pg_wal に残ります。",
        ),
        Pair(
            "Read the server's log for the words of archive_command.",
            "サーバログで archive_command のメッセージを確認してください。",
        ),
    ),
    "HC16_behind": Entry(
        Pair("Archiving falls behind", "WAL アーカイブの遅れ"),
        Pair(
            "{ready} [ready:segment waits|segments wait] to be archived, the oldest for {oldest_seconds}.",
            "{ready} 個のセグメントがアーカイブ待ちです (最古 {oldest_seconds})。",
        ),
        Pair(
            "All of them would be lost with this host.",
            "このホストを失うと、待機中の分もすべて失われます。",
        ),
        Pair(
            "See how fast the archive takes a segment, and whether WAL is written faster than that.",
            "アーカイブ 1 個あたりの所要時間と、WAL の生成速度を比較してください。",
        ),
    ),
}

MISSING: dict[str, Pair] = {
    "nodes": Pair(
        "nodes that could not be asked: {nodes}",
        "確認できなかったノード: {nodes}",
    ),
}

NOT_SEEN: dict[str, Blind] = {
    "sequences": Blind(
        Pair(
            "the role may not read how far they have counted",
            "ロールが現在の値を参照できません",
        ),
        Pair(
            "Grant the role SELECT ON ALL SEQUENCES IN SCHEMA, or pg_read_all_data.",
            "ロールに SELECT ON ALL SEQUENCES IN SCHEMA、または pg_read_all_data を付与してください。",
        ),
    ),
}
