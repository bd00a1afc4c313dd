# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Errors in Japanese, for messages: what happened, and what to do, by code.

Those that the catalogue of faults (``core/faults``) tells are told by it; here are all others that a run on a schedule
may end in. The program's own words stay beside them: names and numbers are only there.
"""

from __future__ import annotations

#: What is said of a code that nobody has put into words.
OTHER = (
    "処理がエラーで終了しました。内容は下の原文にあります。",
    "原文の内容を解消してから、同じコマンドをもう一度実行してください。",
)

_AGAIN = "原因を取り除いてから、同じコマンドをもう一度実行してください。"
_DESCRIPTION = "クラスタの設定ファイル (/etc/dbkeeper) を直すか、ロール backup を適用し直してください。"
_SCHEDULE = "指定 (インベントリの変数またはコマンドのオプション) を直してください。"
_SPACE = "古いバックアップやダンプを期限切れにする (dbkeeper expire) か、容量を増やしてください。"
_DISK = "リポジトリのディスクを調べ (dmesg)、別のダンプまたはコピーを使ってください。"
_SERVER_LOG = "サーバのログで原因を確かめ、同じコマンドをもう一度実行してください。"
_NOTIFY_FILE = "通知設定のファイルを直し、dbkeeper notify --test で確かめてください。"

ERRORS: dict[str, tuple[str, str]] = {
    # -- base backups and WAL
    "archive-stuck": (
        "バックアップに必要な WAL がアーカイブされませんでした。",
        "pg_stat_archiver とサーバのログで archive_command の失敗を調べてください。",
    ),
    "archiving-failing": (
        "WAL のアーカイブが失敗し続けています。",
        "pg_stat_archiver とサーバのログで archive_command の失敗を調べてください。",
    ),
    "archiving-not-proven": (
        "新しいタイムラインの WAL がアーカイブに届いたことを確認できませんでした。",
        "archive_command の状態を調べ、dbkeeper check で確かめてください。",
    ),
    "amcheck-failed": (
        "復元したデータの索引検査 (amcheck) で破損が見つかりました。",
        "別のバックアップから復元し、リポジトリと元のホストのディスクを調べてください。",
    ),
    "backup-kind-unknown": ("バックアップの種類の指定が正しくありません。", _SCHEDULE),
    "basebackup-failed": ("pg_basebackup がエラーで終了しました。", _SERVER_LOG),
    "live-wal-not-archived": (
        "稼働中のクラスタの WAL にアーカイブ済みでないものがあります。",
        "アーカイブを動くようにしてから、もう一度実行してください。",
    ),
    "max-age-malformed": ("経過時間 (max_age) の指定が正しくありません。", _SCHEDULE),
    "receive-interrupted": (
        "WAL のストリーミング受信が中断しました。",
        "受信を再開してください (dbkeeper receive)。",
    ),
    "repository-elsewhere": (
        "このリポジトリは別のホストにあり、ここではその操作はできません。",
        "リポジトリのあるホストで実行してください。",
    ),
    "restore-point-name-malformed": (
        "リストアポイントの名前が正しくありません。",
        "別の名前にしてください。",
    ),
    "server-behind": ("サーバの WAL 位置が、受信済みの位置より後ろにあります。", _SERVER_LOG),
    "server-in-recovery": ("サーバはリカバリ中です。", "プライマリで実行してください。"),
    "tablespace-changed": (
        "バックアップ中にテーブル空間が追加または削除されました。",
        "バックアップをもう一度取得してください。",
    ),
    "tablespace-unreadable": ("テーブル空間を読めません。", "ディスクとマウント、権限を調べてください。"),
    "wal-file-changed": (
        "アーカイブ中に WAL ファイルの内容が変わりました。",
        "サーバのディスクを調べてください。",
    ),
    "wal-file-missing": ("アーカイブする WAL ファイルがありません。", _SERVER_LOG),
    "wal-file-unreadable": ("WAL ファイルを読めません。", "サーバのディスクと権限を調べてください。"),
    "staging-not-writable": (
        "一時的な作業場所に書き込めません。",
        "作業ディレクトリの所有者、権限、空き容量を調べてください。",
    ),
    "wal-name-unknown": ("WAL ファイルの名前ではありません。", "archive_command の指定を調べてください。"),
    "segment-name-malformed": (
        "WAL セグメントの名前が正しくありません。",
        "リポジトリに置かれた余分なファイルを調べてください。",
    ),
    "segment-size-invalid": ("WAL セグメントの大きさが正しくありません。", _DESCRIPTION),
    "waldump-not-understood": (
        "pg_waldump の出力を解釈できませんでした。",
        "サーバと同じメジャーバージョンのプログラムがあるか、bin_directory を調べてください。",
    ),
    # -- dumps and loads
    "compression-unknown": ("この圧縮方式はこのバージョンまたは形式では使えません。", _SCHEDULE),
    "database-in-use": (
        "データベースへの接続が終わらず、入れ替えられませんでした。元のデータベースはそのまま使えます。",
        "pg_stat_activity で接続を調べ、同じコマンドをもう一度実行してください (入れ替えだけが行われます)。",
    ),
    "database-name-unfit": ("データベースの名前が正しくありません。", _SCHEDULE),
    "dump-cannot-be-chosen-from": (
        "プレーン形式のダンプからは一部だけを取り出せません。",
        "custom または directory 形式のダンプを使うか、新しいデータベースに全体を読み込んでください。",
    ),
    "dump-connection-lost": (
        "ダンプの途中でサーバとの接続が切れました。以前のダンプは無事です。",
        _SERVER_LOG,
    ),
    "dump-contents-unreadable": ("ダンプの目次を読めません。", _DISK),
    "dump-entry-damaged": ("ダンプの記録 (dump.json) が壊れています。", _DISK),
    "dump-failed": (
        "pg_dump がエラーで終了しました。以前のダンプは無事です。",
        "原文が示す原因を取り除いてから、dbkeeper dump をもう一度実行してください。",
    ),
    "dump-file-damaged": ("ダンプのファイルが、書き込んだときの内容と異なります。", _DISK),
    "dump-file-missing": ("ダンプのファイルがありません。", _DISK),
    "dump-format-unknown": ("ダンプの形式の指定が正しくありません。", _SCHEDULE),
    "dump-from-newer-version": (
        "ダンプは、このサーバより新しいバージョンのものです。",
        "ダンプ元と同じか、より新しいバージョンのサーバに読み込んでください。",
    ),
    "dump-label-taken": (
        "その名前の、内容の異なるダンプがすでにあります。",
        "別の名前 (label) を指定してください。",
    ),
    "dump-lock-timeout": (
        "他のセッションがテーブルをロックし続けたため、ダンプできませんでした。以前のダンプは無事です。",
        "pg_locks と pg_stat_activity でロックの保持者を調べるか、待ち時間 (lock_wait_seconds) を延ばしてください。",
    ),
    "dump-not-listed": (
        "書き込んだダンプを読み戻せませんでした。以前のダンプは無事です。",
        "リポジトリのディスクを調べてから (dmesg)、もう一度実行してください。",
    ),
    "dump-object-gone": (
        "ダンプの開始と同時に、テーブルなどが削除されました。以前のダンプは無事です。",
        "もう一度実行してください。次のダンプには含まれません。",
    ),
    "dump-rows-unknown": ("行の記録方法 (rows) の指定が正しくありません。", _SCHEDULE),
    "dump-unfit": (
        "そのダンプは使えません (未完了、失敗、または期限切れの処理中です)。",
        "dbkeeper info で検証済みのダンプを選んでください。",
    ),
    "dump-unknown": ("そのダンプはありません。", "dbkeeper info で一覧を確かめてください。"),
    "dump-without-digests": (
        "ダンプに行のダイジェストが記録されていません。",
        "行数で照合する (--proof count) か、--rows digest で取得したダンプを使ってください。",
    ),
    "extensions-missing": (
        "ダンプに必要な拡張がサーバにありません。",
        "拡張のパッケージをインストールしてください。",
    ),
    "load-failed": (
        "読み込み中にエラーが発生しました。読み込んだものは取り除かれ、他はそのままです。",
        "原因を取り除くか、その項目を除いて (--exclude) もう一度読み込んでください。",
    ),
    "load-no-space": (
        "読み込むための空き容量が足りません。",
        "データディレクトリのある場所に空きを作ってください。",
    ),
    "load-not-confirmed": ("置き換えの確認がありません。", "データベース名を --confirm で指定してください。"),
    "load-rows-differ": (
        "読み込んだ行が、ダンプしたときの行と一致しません。読み込んだものは取り除かれました。",
        "行を変えるもの (トリガー、ルール) を調べるか、別のダンプを使ってください。",
    ),
    "load-target-exists": (
        "読み込み先のデータベースはすでにあり、空ではありません。",
        "置き換える (--replace --confirm) か、別のデータベースを指定してください (--into)。",
    ),
    "load-target-missing": (
        "読み込み先のデータベースがありません。",
        "テーブルのあるデータベースを指定してください (--into)。",
    ),
    "nothing-chosen": (
        "ダンプの中に、指定されたものがありません。",
        "dbkeeper load --list で内容を確かめてください。",
    ),
    "nothing-to-undo": ("取り消すものがありません。", "dbkeeper info で状態を確かめてください。"),
    "pattern-malformed": ("パターンの指定が正しくありません。", _SCHEDULE),
    "prepared-transactions": (
        "プリペアドトランザクションが残っており、データベースの名前を変えられません。",
        "pg_prepared_xacts を調べ、COMMIT PREPARED または ROLLBACK PREPARED を実行してください。",
    ),
    "roles-missing": (
        "ダンプの所有者のロールがサーバにありません。",
        "--globals で先にロールを作るか、--owner で対応付けてください。",
    ),
    "table-malformed": ("テーブル名の指定が正しくありません。", _SCHEDULE),
    "tables-there": (
        "読み込むテーブルがすでにあります。",
        "名前を変えるか削除するか、別のデータベースに読み込んでください。",
    ),
    "tablespaces-missing": (
        "ダンプのテーブル空間がサーバにありません。",
        "作成するか、--no-tablespaces を指定してください。",
    ),
    "trial-no-space": (
        "試験復元のための空き容量が足りません。",
        "データディレクトリのある場所に空きを作ってください。",
    ),
    # -- copies, expiry, verification
    "copy-is-repository": ("コピー先がリポジトリ自身です。", _SCHEDULE),
    "copy-unknown": ("その名前のコピー先は設定されていません。", _DESCRIPTION),
    "expiry-unsafe": (
        "削除すると約束した復元期間が守れなくなるため、何も削除しませんでした。",
        "dbkeeper verify で残すバックアップを調べ、新しいフルバックアップを取得してください。",
    ),
    "pin-malformed": ("固定 (pin) の指定が正しくありません。", _SCHEDULE),
    "rate-malformed": ("読み取り速度の指定が正しくありません。", _SCHEDULE),
    "retention-invalid": ("保持ポリシーの指定が正しくありません。", _SCHEDULE),
    "retention-not-set": ("保持ポリシーが設定されていません。", _DESCRIPTION),
    # -- telling
    "metrics-not-writable": (
        "Prometheus 用のファイルを書けません。",
        "textfile ディレクトリの所有者と権限を調べてください。",
    ),
    "notify-ca-unreadable": ("通知先を確かめる CA 証明書を読めません。", _NOTIFY_FILE),
    "notify-file-exposed": (
        "通知設定のファイルを他のユーザが読めます。",
        "モードを 0600 にし、読まれた可能性のある秘密情報を交換してください。",
    ),
    "notify-file-malformed": ("通知設定のファイルの内容が正しくありません。", _NOTIFY_FILE),
    "notify-file-missing": ("通知設定のファイルがありません。", _NOTIFY_FILE),
    "notify-file-unreadable": ("通知設定のファイルを読めません。", _NOTIFY_FILE),
    "notify-mail-failed": (
        "メールを送信できませんでした。自動的に再送します。",
        "SMTP サーバと認証情報を調べ、dbkeeper notify --test で確かめてください。",
    ),
    "notify-not-set": ("通知先が設定されていません。", _NOTIFY_FILE),
    "notify-partly-refused": (
        "一部の宛先が受け取りを拒否しました。",
        "宛先を調べ、dbkeeper notify --test で確かめてください。",
    ),
    "notify-webhook-failed": (
        "Webhook に送信できませんでした。自動的に再送します。",
        "URL と通信経路を調べ、dbkeeper notify --test で確かめてください。",
    ),
    # -- the host, the server, the repository
    "admission-malformed": ("別のホストからの接続許可の記述が正しくありません。", _DESCRIPTION),
    "cluster-missing": ("クラスタの設定が見つかりません。", "--cluster で名前を指定してください。"),
    "config-malformed": ("設定ファイルの内容が正しくありません。", _DESCRIPTION),
    "config-missing": ("設定ファイルがありません。", _DESCRIPTION),
    "config-unreadable": ("設定ファイルを読めません。", _DESCRIPTION),
    "connection-malformed": ("接続文字列が正しくありません。", _DESCRIPTION),
    "connection-password": (
        "接続文字列にパスワードが含まれています。",
        "パスワードはパスワードファイルに置いてください。",
    ),
    "control-file-damaged": (
        "pg_control が壊れています。",
        "サーバのディスクを調べ、バックアップから復元してください。",
    ),
    "control-file-unreadable": ("pg_control を読めません。", "データディレクトリと権限を調べてください。"),
    "data-directory-missing": (
        "データディレクトリがありません。",
        "マウントと、設定の data_directory を調べてください。",
    ),
    "data-directory-not-renamable": (
        "データディレクトリの名前を変えられません。",
        "マウントと親ディレクトリの権限を調べてください。",
    ),
    "database-missing": ("そのデータベースはありません。", "名前を確かめ、指定を直してください。"),
    "disk-unreadable": ("ファイルシステムの情報を取得できません。", "ディスクとマウントを調べてください。"),
    "duration-malformed": ("時間の指定が正しくありません。", _SCHEDULE),
    "engine-incomplete": (
        "dbkeeper のインストールが不完全です。",
        "コレクションをインストールし直し、ロール backup を適用してください。",
    ),
    "file-damaged": (
        "記録のファイルが壊れています。",
        "コピーから戻すか、別の場所へ移して作り直させてください。",
    ),
    "interrupted": ("処理が中断されました。", "もう一度実行してください。"),
    "label-malformed": ("ラベルの指定が正しくありません。", _SCHEDULE),
    "presence-ambiguous": ("存在の有無を判定できません。", _AGAIN),
    "program-failed": ("外部プログラムがエラーで終了しました。", _AGAIN),
    "program-missing": (
        "必要なプログラムを起動できません。",
        "パッケージをインストールするか、設定の bin_directory を直してください。",
    ),
    "program-timeout": (
        "外部プログラムが時間内に終わりませんでした。",
        "サーバの負荷やロック待ちを調べ、もう一度実行してください。",
    ),
    "psycopg-missing": ("Python の psycopg がありません。", "psycopg をインストールしてください。"),
    "psycopg-too-old": ("Python の psycopg が古すぎます。", "psycopg を更新してください。"),
    "reload-not-seen": ("設定の再読み込みを確認できませんでした。", _SERVER_LOG),
    "replication-command-failed": ("レプリケーション接続でのコマンドが失敗しました。", _SERVER_LOG),
    "repository-format": (
        "リポジトリの形式が、この dbkeeper では扱えないものです。",
        "dbkeeper のバージョンを合わせてください。",
    ),
    "repository-not-described": ("このリポジトリの設定がありません。", _DESCRIPTION),
    "repository-other": ("別のクラスタのリポジトリです。", _DESCRIPTION),
    "repository-twice": ("同じリポジトリが二重に設定されています。", _DESCRIPTION),
    "request-contradictory": ("指定が互いに矛盾しています。", _SCHEDULE),
    "role-mapping-malformed": ("ロールの対応付けの指定が正しくありません。", _SCHEDULE),
    "server-did-not-start": ("サーバが起動しませんでした。", _SERVER_LOG),
    "server-is-standby": ("サーバはスタンバイで、書き込めません。", "プライマリで実行してください。"),
    "server-not-ready": ("サーバが接続を受け付けません。", _SERVER_LOG),
    "server-not-running": ("サーバが動いていません。", "サーバを起動してから、もう一度実行してください。"),
    "server-unreachable": (
        "サーバに接続できません。",
        "サーバが動いているか、設定の socket_directory、port、superuser が正しいかを調べてください。",
    ),
    "sql-failed": ("SQL がエラーになりました。", _SERVER_LOG),
    "system-error": (
        "オペレーティングシステムのエラーが発生しました。",
        "ディスク、権限、空き容量を調べ、もう一度実行してください。",
    ),
    "user-unknown": ("そのユーザはこのホストにいません。", _DESCRIPTION),
}
