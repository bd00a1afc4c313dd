# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Errors in Japanese, for messages: what happened, and what to do, by code.

Those that the catalogue of faults (``core/faults``) tells are told by it; here are all others that a run on a schedule
may end in. The program's own words stay beside them: names and numbers are only there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .faults.catalogue import by_code
from .sayings import Both

#: What is said of a code that nobody has put into words.
OTHER = (
    "処理がエラーで終了しました。詳細は下の「プログラムの出力」にあります。",
    "そこに示された原因を取り除いてから、同じコマンドをもう一度実行してください。",
)

_AGAIN = "原因を取り除いてから、同じコマンドをもう一度実行してください。"
_DESCRIPTION = "/etc/dbkeeper にあるクラスタの設定ファイルを修正するか、backup ロールを再実行してください。"
_SCHEDULE = "インベントリの変数またはコマンドのオプションの指定を修正してください。"
_DISK = "リポジトリのディスクを調べ (dmesg)、別のダンプかコピーを使ってください。"
_SERVER_LOG = "サーバのログで原因を確かめ、同じコマンドをもう一度実行してください。"
_NOTIFY_FILE = "通知設定のファイルを修正し、dbkeeper notify --test で確かめてください。"

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
        "復元したデータの検査 (amcheck) で、索引またはテーブルの破損が見つかりました。",
        "別のバックアップから復元し、リポジトリと元のホストのディスクを調べてください。",
    ),
    "backup-kind-unknown": ("バックアップの種類の指定が正しくありません。", _SCHEDULE),
    "basebackup-failed": ("pg_basebackup がエラーで終了しました。", _SERVER_LOG),
    "live-wal-not-archived": (
        "稼働中のクラスタに、まだアーカイブされていない WAL があります。",
        "アーカイブの失敗を解消してから、もう一度実行してください。",
    ),
    "max-age-malformed": ("許容する古さ (max_age) の指定が正しくありません。", _SCHEDULE),
    "receive-interrupted": (
        "WAL のストリーミング受信が中断しました。",
        "受信を再開してください (dbkeeper receive)。",
    ),
    "repository-elsewhere": (
        "リポジトリが別のホストにあるため、このホストではその操作を実行できません。",
        "リポジトリのあるホストで実行してください。",
    ),
    "restore-point-list-unwritable": (
        "リストアポイントの一覧に書き込めないため、作成しませんでした。",
        "状態ディレクトリの権限と空き容量を確認してください。",
    ),
    "restore-point-unsettled": (
        "同名のリストアポイントの作成が以前に中断され、作成されたかどうかをまだ確認できません。",
        "アーカイブの状態を確認して (dbkeeper check) 再実行するか、別の名前にしてください。",
    ),
    "restore-point-name-malformed": (
        "リストアポイント名の指定が正しくありません。",
        "別の名前にしてください。",
    ),
    "server-behind": (
        "サーバの WAL 位置が、同じタイムラインの受信済みの位置より前に戻っています。",
        "データが古い状態 (スナップショットなど) に戻された原因を調べ、dbkeeper で復元してください。",
    ),
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
        "作業ディレクトリに書き込めません。",
        "そのディレクトリの所有者、権限、空き容量を調べてください。",
    ),
    "wal-name-unknown": (
        "WAL ファイルの名前として認識できません。",
        "archive_command の指定を調べてください。",
    ),
    "segment-name-malformed": (
        "WAL セグメントの名前が正しくありません。",
        "リポジトリに置かれた余分なファイルを調べてください。",
    ),
    "segment-size-invalid": ("WAL セグメントのサイズの指定が正しくありません。", _DESCRIPTION),
    "waldump-not-understood": (
        "pg_waldump の出力を解釈できませんでした。",
        "bin_directory に、サーバと同じメジャーバージョンのプログラムがあるかを調べてください。",
    ),
    "verification-failed": (
        "検証で破損が見つかりました。破損したものは使用不可と記録され、復元には使われません。",
        "コピーからファイルを取り戻してもう一度検証するか、新しいバックアップを取得してください (dbkeeper backup)。",
    ),
    # -- dumps and loads
    "compression-unknown": ("その圧縮方式は、このバージョンまたはダンプ形式では使えません。", _SCHEDULE),
    "database-in-use": (
        "切断できない接続が残り、データベースを入れ替えられませんでした。元のデータベースはそのまま使えます。",
        "pg_stat_activity で接続を調べ、同じコマンドをもう一度実行してください (入れ替えだけが行われます)。",
    ),
    "database-name-unfit": ("そのデータベース名は使えません。", _SCHEDULE),
    "dump-cannot-be-chosen-from": (
        "プレーン形式のダンプからは一部だけを取り出せません。",
        "custom または directory 形式のダンプを使うか、新しいデータベースに全体をロードしてください。",
    ),
    "dump-connection-lost": (
        "ダンプの途中でサーバとの接続が切れました。以前のダンプは無事です。",
        _SERVER_LOG,
    ),
    "dump-contents-unreadable": ("ダンプの目次を読めません。", _DISK),
    "dump-entry-damaged": ("ダンプの記録 (dump.json) が破損しています。", _DISK),
    "dump-failed": (
        "pg_dump がエラーで終了しました。以前のダンプは無事です。",
        "原文が示す原因を取り除いてから、dbkeeper dump をもう一度実行してください。",
    ),
    "dump-file-damaged": ("ダンプのファイルが、書き込んだときの内容と異なります。", _DISK),
    "dump-file-missing": ("ダンプのファイルがありません。", _DISK),
    "dump-format-unknown": ("ダンプの形式の指定が正しくありません。", _SCHEDULE),
    "dump-from-newer-version": (
        "ダンプは、このサーバより新しいバージョンで取得したものです。",
        "ダンプ元と同じか、より新しいバージョンのサーバにロードしてください。",
    ),
    "dump-label-taken": (
        "同じラベルのダンプがすでにあります。完成したダンプは置き換えません。",
        "別のラベル (label) を指定してください。",
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
        "ダンプの開始中に、テーブルなどのオブジェクトが削除されました。以前のダンプは無事です。",
        "同じコマンドをもう一度実行してください。削除されたものを除いてダンプします。",
    ),
    "dump-rows-unknown": ("行の記録方法 (rows) の指定が正しくありません。", _SCHEDULE),
    "dump-unfit": (
        "そのダンプは使えません (未完了、失敗、または期限切れ処理中です)。",
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
        "ロード中にエラーが発生しました。ロードしたものは削除され、ほかは何も変わっていません。",
        "原因を取り除くか、その項目を除外して (--exclude)、もう一度ロードしてください。",
    ),
    "load-no-space": (
        "ロードに必要な空き容量がありません。",
        "データディレクトリのあるファイルシステムの空きを増やしてください。",
    ),
    "load-not-confirmed": ("置き換えの確認がありません。", "--confirm にデータベース名を指定してください。"),
    "load-rows-differ": (
        "ロードした行が、ダンプ時の行と一致しません。ロードしたものは削除されました。",
        "行を変えるトリガやルールがないかを調べるか、別のダンプを使ってください。",
    ),
    "load-target-exists": (
        "ロード先のデータベースはすでにあり、空ではありません。",
        "置き換える (--replace --confirm) か、別のデータベースを指定してください (--into)。",
    ),
    "load-target-missing": (
        "ロード先のデータベースがありません。",
        "既存のデータベースを指定してください (--into)。",
    ),
    "nothing-chosen": (
        "ダンプの中に、指定されたものがありません。",
        "dbkeeper load --list で内容を確かめてください。",
    ),
    "nothing-to-undo": ("取り消すものがありません。", "dbkeeper info で状態を確かめてください。"),
    "pattern-malformed": ("パターンの指定が正しくありません。", _SCHEDULE),
    "prepared-transactions": (
        "プリペアドトランザクションが残っているため、データベースの名前を変更できません。",
        "pg_prepared_xacts を調べ、COMMIT PREPARED または ROLLBACK PREPARED を実行してください。",
    ),
    "roles-missing": (
        "ダンプ内のオブジェクトの所有者であるロールが、サーバにありません。",
        "--globals で先にロールを作成するか、--owner で別のロールに対応付けてください。",
    ),
    "table-malformed": ("テーブル名の指定が正しくありません。", _SCHEDULE),
    "tables-there": (
        "ロードするテーブルがすでにあります。",
        "既存のテーブルの名前を変えるか削除するか、別のデータベースにロードしてください。",
    ),
    "tablespaces-missing": (
        "ダンプで使われているテーブル空間が、サーバにありません。",
        "テーブル空間を作成するか、--no-tablespaces を指定してください。",
    ),
    "trial-no-space": (
        "試験復元に必要な空き容量がありません。",
        "データディレクトリのあるファイルシステムの空きを増やしてください。",
    ),
    # -- copies, expiry, verification
    "copy-is-repository": ("コピー先がリポジトリ自身です。", _SCHEDULE),
    "copy-unknown": ("その名前のコピー先は設定されていません。", _DESCRIPTION),
    "expiry-unsafe": (
        "削除すると、保持方針の定める期間を復元できなくなるおそれがあるため、何も削除しませんでした。",
        "dbkeeper verify で残っているバックアップを調べ、新しいフルバックアップを取得してください。",
    ),
    "pin-malformed": ("設定値の固定 (--pin) の指定が正しくありません。", _SCHEDULE),
    "rate-malformed": ("読み取り速度の指定が正しくありません。", _SCHEDULE),
    "retention-invalid": ("保持方針の指定が正しくありません。", _SCHEDULE),
    "retention-not-set": ("保持方針が設定されていません。", _DESCRIPTION),
    # -- telling
    "metrics-not-writable": (
        "Prometheus 用のファイルを書けません。",
        "textfile ディレクトリの所有者と権限を調べてください。",
    ),
    "notify-ca-unreadable": ("通知先の検証に使う CA 証明書を読めません。", _NOTIFY_FILE),
    "notify-file-exposed": (
        "通知設定のファイルを他のユーザが読めます。",
        "モードを 0600 にし、読まれたおそれのあるパスワードやキーを変更してください。",
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
        "宛先を修正してください。この通知は再送しません。",
    ),
    "notify-webhook-failed": (
        "Webhook に送信できませんでした。自動的に再送します。",
        "URL とネットワークを調べ、dbkeeper notify --test で確かめてください。",
    ),
    # -- the host, the server, the repository
    "admission-malformed": ("別のホストにリポジトリの利用を許可する記述が正しくありません。", _DESCRIPTION),
    "cluster-missing": (
        "クラスタの設定を 1 つに特定できません。",
        "--cluster でクラスタ名を指定してください。",
    ),
    "config-malformed": ("設定ファイルの内容が正しくありません。", _DESCRIPTION),
    "config-missing": ("設定ファイルがありません。", _DESCRIPTION),
    "config-unreadable": ("設定ファイルを読めません。", _DESCRIPTION),
    "connection-malformed": ("接続文字列が正しくありません。", _DESCRIPTION),
    "connection-password": (
        "接続文字列にパスワードが含まれています。",
        "パスワードはパスワードファイルに置いてください。",
    ),
    "control-file-damaged": (
        "pg_control が破損しています。",
        "サーバのディスクを調べ、バックアップから復元してください。",
    ),
    "control-file-unreadable": ("pg_control を読めません。", "データディレクトリと権限を調べてください。"),
    "data-directory-missing": (
        "データディレクトリがありません。",
        "マウントと、設定の data_directory を調べてください。",
    ),
    "data-directory-not-renamable": (
        "データディレクトリの名前を変更できません。",
        "マウントと親ディレクトリの権限を調べてください。",
    ),
    "database-missing": ("そのデータベースはありません。", "名前を確かめ、指定を修正してください。"),
    "disk-unreadable": ("ファイルシステムの情報を取得できません。", "ディスクとマウントを調べてください。"),
    "duration-malformed": ("時間の指定が正しくありません。", _SCHEDULE),
    "engine-incomplete": (
        "dbkeeper のインストールが不完全です。",
        "コレクションをインストールし直し、ロール backup を適用してください。",
    ),
    "file-damaged": (
        "記録ファイルが破損しています。",
        "コピーから戻すか、別の場所へ移動してください (移動すれば作り直されます)。",
    ),
    "interrupted": ("処理が中断されました。", "もう一度実行してください。"),
    "label-malformed": ("ラベルの指定が正しくありません。", _SCHEDULE),
    "presence-ambiguous": ("存在を調べる対象は、1 つだけ指定してください。", _SCHEDULE),
    "program-failed": ("外部プログラムがエラーで終了しました。", _AGAIN),
    "program-missing": (
        "必要なプログラムを起動できません。",
        "パッケージをインストールするか、設定の bin_directory を修正してください。",
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
        "このバージョンの dbkeeper では扱えない形式のリポジトリです。",
        "リポジトリを作成したバージョンの dbkeeper を使うか、リポジトリのマーカーをコピーから戻してください。",
    ),
    "repository-not-described": ("このリポジトリの設定がありません。", _DESCRIPTION),
    "repository-other": ("別のクラスタのリポジトリです。", _DESCRIPTION),
    "repository-twice": (
        "同じリポジトリが複数のファイルで設定されています。",
        "/etc/dbkeeper の余分な設定ファイルを取り除いてください。",
    ),
    "request-contradictory": ("指定した内容が互いに矛盾しています。", _SCHEDULE),
    "role-mapping-malformed": ("ロールの対応付けの指定が正しくありません。", _SCHEDULE),
    "server-did-not-start": ("サーバが起動しませんでした。", _SERVER_LOG),
    "server-is-standby": ("サーバがスタンバイのため、書き込めません。", "プライマリで実行してください。"),
    "server-not-ready": ("サーバが接続を受け付けません。", _SERVER_LOG),
    "server-not-running": ("サーバが稼働していません。", "サーバを起動してから、もう一度実行してください。"),
    "server-unreachable": (
        "サーバに接続できません。",
        "サーバが稼働しているか、設定の socket_directory、port、superuser が正しいかを調べてください。",
    ),
    "sql-failed": ("SQL の実行でエラーが発生しました。", _SERVER_LOG),
    "system-error": (
        "オペレーティングシステムのエラーが発生しました。",
        "ディスク、権限、空き容量を調べ、もう一度実行してください。",
    ),
    "user-unknown": ("そのユーザはこのホストに存在しません。", _DESCRIPTION),
}


def japanese_of(code: str | None) -> tuple[str, list[str]]:
    """What happened, and what to do, as :data:`ERRORS` or else the catalogue of faults says it."""
    faults = by_code().get(code or "", ())
    if code in ERRORS or not faults:
        happened, remedy = ERRORS.get(code or "", OTHER)
        return happened, [remedy]
    # Several causes may end in one error; each is said with what to do.
    happened = "、または".join(dict.fromkeys(one.title[1] for one in faults))
    return happened, list(dict.fromkeys(one.remedy[1] for one in faults if one.remedy)) or [OTHER[1]]


def cause(error: Mapping[str, Any], *, remedy: bool = True) -> Both:
    """An error as a part of a sentence: its code, what happened, and (``remedy``) what to do.

    In Japanese the program's own words come last: names and numbers are only there.
    """
    own = f"{error['code']}: {str(error.get('happened') or '').rstrip('.')}"
    english = f"{own}. {error['remedy']}" if remedy and error.get("remedy") else own
    happened, remedies = japanese_of(str(error["code"]))
    if happened == OTHER[0]:
        return Both(english, english)
    japanese = [f"{happened.rstrip('。')}。", *(remedies if remedy else ())]
    return Both(english, f"{''.join(japanese)} ({own})")
