# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The runbook's paragraphs, in English and Japanese. Commands are not among them: they are the same in both."""

from __future__ import annotations

LANGUAGES = ("en", "ja")

WORDS: dict[str, tuple[str, str]] = {
    "title": (
        "Restoring cluster {cluster} by hand",
        "クラスタ {cluster} の手作業による復旧手順",
    ),
    "intro": (
        "Made on {host} at {made_at} from {config_path} and the repository. Every command is complete and is pasted as "
        "it stands, as root unless said otherwise. Nothing is downloaded. Print this, or keep it where it survives the "
        "host{copy}.",
        "{host} で {made_at} に {config_path} とリポジトリから作成。コマンドはそのまま貼り付けて実行できます "
        "(特記のない限り root)。何もダウンロードしません。印刷するか、"
        "ホストを失っても残る場所に保管してください{copy}。",
    ),
    "copy": (": a copy is in `{rescue}`", " (写しは `{rescue}` にあります)"),
    "fact": ("What", "項目"),
    "value": ("Where", "値"),
    "facts_title": ("Where everything is", "場所の一覧"),
    "fact_data": ("Data directory", "データディレクトリ"),
    "fact_configuration": ("Server configuration", "サーバの設定"),
    "fact_programs": ("Programs", "プログラム"),
    "fact_owner": ("Operating system user", "OS ユーザ"),
    "fact_service": ("Service", "サービス"),
    "fact_socket": ("Socket, port", "ソケット、ポート"),
    "fact_repository": ("Repository", "リポジトリ"),
    "fact_keeper": ("dbkeeper, its configuration", "dbkeeper とその設定"),
    "fact_state": ("Journals and locks", "ジャーナルとロック"),
    "fact_system": ("System identifier", "システム識別子"),
    "fact_key": ("Key file", "鍵ファイル"),
    "fact_backup": ("Backup", "バックアップ"),
    "fact_window": ("Can be restored", "復旧可能な範囲"),
    "facts_keep": (
        "Backups and windows grow older with this page; `info` shows them as they are.",
        "バックアップと復旧可能な範囲は作成時点のものです。現在の値は `info` で確認します。",
    ),
    "look_title": ("First look", "最初の確認"),
    "look": (
        "What can be restored, and what runs now. It changes nothing, and works while the server is down.",
        "復旧できる範囲と現在の稼働状況。何も変更せず、サーバの停止中でも動作します。",
    ),
    "here_title": ("Restore on this host", "このホストでの復旧"),
    "target": (
        "Choose one target. `--latest` stops a running server first; every other target leaves it running until the "
        "swap. A time needs an offset or the name of a zone.",
        "目標を一つ選びます。`--latest` は稼働中のサーバを最初に停止します。それ以外は切り替えまで稼働を続けます。"
        "時刻にはオフセットまたはタイムゾーン名が必要です。",
    ),
    "plan": (
        "Prove it first: the card says which commit will be the last, what is lost, how long it takes. Nothing is "
        "touched.",
        "まず検証します。最後に残るコミット、失われるもの、所要時間がカードに表示されます。何も変更しません。",
    ),
    "restore": (
        "Do it. The live data directory is kept under another name; the cluster is down only while directories are "
        "renamed.",
        "実行します。現在のデータディレクトリは別名で残り、停止は名前の変更の間だけです。",
    ),
    "restore_again": (
        "If it was interrupted: the same command again goes on from where it was.",
        "中断した場合は同じコマンドを再実行してください。続きから実行されます。",
    ),
    "check_title": ("What to check afterwards", "復旧後の確認"),
    "check": (
        "It must not be in recovery, be on a new timeline, and archive: `last_failed_wal` is empty or older than "
        "`last_archived_wal`.",
        "リカバリ中でないこと、新しいタイムラインであること、アーカイブが進むこと (`last_failed_wal` が空、または "
        "`last_archived_wal` より古い) を確認します。",
    ),
    "check_objectives": (
        "Whether the objectives are met (exit status 3: not all of them):",
        "目標を満たしているか (終了コード 3 は未達あり):",
    ),
    "check_rows": (
        "Then look at data that you know: the newest rows of a busy table. What was asked, planned and reached is kept "
        "as evidence in `{repository_path}/evidence`.",
        "続いて、よく知っているデータ (更新の多いテーブルの最新行など) を確認します。指定・計画・到達点の記録は "
        "`{repository_path}/evidence` に残ります。",
    ),
    "undo_title": ("Undo", "取り消し"),
    "undo": ("What would be put back, and what would be put aside:", "戻すものと退避するものの確認:"),
    "undo_do": (
        "The old data directory returns, the restored one is put aside. On a host that had none, the restored one is "
        "put aside and nothing runs.",
        "元のデータディレクトリに戻し、復旧したものは退避します。元のデータがなかったホストでは退避のみ行い、"
        "何も起動しません。",
    ),
    "undo_remove": (
        "Nothing is removed by itself. What is no longer needed is removed by its name: the directories beside "
        "`{data_directory}` that end in `.before-…` and `.undone-…`.",
        "自動では何も削除しません。不要になったものは名前を指定して削除します: `{data_directory}` と並ぶ "
        "`.before-…` と `.undone-…` のディレクトリ。",
    ),
    "elsewhere_title": ("Restore on another host", "別のホストでの復旧"),
    "elsewhere_packages": (
        "The host needs PostgreSQL {version} (the same major), zstd, Python 3.9 or newer, the user {owner}, and the "
        "packages of these extensions: {extensions}. If the old host may still be alive, stop it for good first: two "
        "primaries must not archive into one repository.",
        "必要なもの: PostgreSQL {version} (同じメジャー版)、zstd、Python 3.9 以降、ユーザ {owner}、"
        "次の拡張のパッケージ: {extensions}。"
        "元のホストが動いている可能性がある場合は先に完全に停止します。二つのプライマリが同じ"
        "リポジトリにアーカイブしてはなりません。",
    ),
    "elsewhere_repository": (
        "The repository must be at `{repository_path}`, readable and writable for {owner}: mount its disk, or bring a "
        "copy.",
        "リポジトリを `{repository_path}` に置きます ({owner} が読み書き可能)。ディスクをマウントするか、複製します。",
    ),
    "elsewhere_repository_ssh": (
        "The repository is reached as {repository}. The host needs a key of its own that is let in there: run the role "
        "backup against it, or on the repository's host add its public key as the role's line shows.",
        "リポジトリは {repository} で接続します。このホスト専用の鍵を登録してください (role backup を実行するか、"
        "リポジトリのホストで公開鍵を追加)。",
    ),
    "elsewhere_directories": ("Directories:", "ディレクトリ:"),
    "elsewhere_configuration": ("The configuration of dbkeeper:", "dbkeeper の設定:"),
    "elsewhere_program": (
        "The program itself, from the repository:",
        "プログラム本体をリポジトリから配置します:",
    ),
    "elsewhere_server_file": (
        "The server's configuration is not part of the data here: `{config_file}` must be there (the roles make it, or "
        "`pg_createcluster {version} {cluster}`), with archive_mode on and "
        "`archive_command = '{archive_command}'`. The empty cluster that comes with it is put aside.",
        "サーバの設定はデータに含まれません。`{config_file}` を用意してください (role または "
        "`pg_createcluster {version} {cluster}`)。archive_mode を on、"
        "`archive_command = '{archive_command}'` とします。同時に作られる空のクラスタは退避されます。",
    ),
    "elsewhere_server_inside": (
        "The server's configuration lies in the data directory and comes with the backup; the host must have what it "
        "names (paths, certificates, libraries).",
        "サーバの設定はデータディレクトリ内にあり、バックアップと共に復元されます。設定が参照するもの "
        "(パス、証明書、ライブラリ) がホストに必要です。",
    ),
    "elsewhere_restore": (
        "Prove, then restore. If WAL was streamed (`dbkeeper receive`), add `--use-partial` to both to have the last, "
        "unfinished segment as well.",
        "検証してから復旧します。WAL をストリーミング受信 (`dbkeeper receive`) していた場合は、両方に "
        "`--use-partial` を付けると最後の未完のセグメントも使います。",
    ),
    "elsewhere_after": (
        "Then check as above, lead the clients here, and start the schedules (role backup, or cron: "
        "`{command} backup`).",
        "上記の確認を行い、クライアントの接続先を変更し、定期実行 (role backup または cron の "
        "`{command} backup`) を開始します。",
    ),
    "program_title": ("When the dbkeeper program is gone", "dbkeeper のプログラムがない場合"),
    "program": (
        "Every backup leaves the program, the configuration and this text in the repository. It is one file, and needs "
        "Python only.",
        "バックアップのたびにプログラム、設定、この文書をリポジトリに保存します。一つのファイルで、"
        "Python だけで動作します。",
    ),
    "program_elsewhere": (
        "The program is one file and needs Python only: bring it with your own account from any host that has it, such "
        "as the repository's, to `{command}` (mode 0755).",
        "プログラムは一つのファイルで、Python だけで動作します。リポジトリのホストなど、導入済みのホストから"
        "自分のアカウントで `{command}` (モード 0755) に複製してください。",
    ),
    "plain_title": ("With PostgreSQL's own programs only", "PostgreSQL のプログラムだけを使う場合"),
    "plain_nothing": (
        "There is no full backup in the repository yet.",
        "リポジトリにまだフルバックアップがありません。",
    ),
    "plain": (
        "When nothing of dbkeeper runs any more. These are done as {owner} (`su - {owner} -s /bin/sh`), in one shell; "
        "nothing proves the archive beforehand, but the recovery stops where a segment is missing or damaged, and "
        "does not promote a shorter past.",
        "dbkeeper がまったく使えない場合の手順です。{owner} として (`su - {owner} -s /bin/sh`) 一つのシェルで"
        "実行します。"
        "アーカイブの事前検証は行いませんが、セグメントの欠落や破損があれば途中で停止し、"
        "短い履歴のまま昇格することはありません。",
    ),
    "plain_bring": (
        "The repository is elsewhere: bring its directory `{repository_path}` here with your own account, under the "
        "same path.",
        "リポジトリは別のホストにあります。`{repository_path}` を自分のアカウントで同じパスに複製してください。",
    ),
    "plain_places": ("Places:", "場所:"),
    "plain_unpack": (
        "Unpack the newest full backup beside the data directory, and have every file checked against its manifest:",
        "最新のフルバックアップをデータディレクトリの隣に展開し、全ファイルをマニフェストと照合します:",
    ),
    "plain_wal": (
        "The program that hands out WAL. It says that there is no more only behind the last archived segment:",
        "WAL を渡すプログラム。最後のセグメントより後だけを「終わり」と答えます:",
    ),
    "plain_configure": (
        "A configuration of its own: nothing listens, nothing is archived yet. For an earlier target take the comment "
        "sign away and write the time, with its offset.",
        "専用の設定。接続は受け付けず、アーカイブもまだ行いません。途中の時点に戻す場合はコメントを外し、"
        "オフセット付きの時刻を書きます。",
    ),
    "plain_start": (
        "Replay, and see where it ended: not in recovery any more, on a new timeline.",
        "再生し、到達点を確認します。リカバリ中でなく、新しいタイムラインであること。",
    ),
    "plain_look": (
        "Look at the data now, in the directory `socket` below WORK. If the server ended with FATAL, its log names the "
        "segment; nothing has been replaced.",
        "ここでデータを確認します (WORK の下の `socket`)。サーバが FATAL で終了した場合はログにセグメント名が出ます。"
        "まだ何も置き換えていません。",
    ),
    "plain_stop": ("Stop it:", "停止します:"),
    "plain_swap": (
        "Stop the old server if it still runs (service {service}, as root). Then swap; the old directory is kept.",
        "元のサーバが稼働中であれば停止します (サービス {service}、root)。その後切り替えます。"
        "元のディレクトリは残ります。",
    ),
    "plain_service": (
        "Start the service (systemd: as root). What the new timeline has written is archived now.",
        "サービスを起動します (systemd の場合は root)。新しいタイムラインの WAL はここでアーカイブされます。",
    ),
    "plain_after": (
        "Check as above, and take a new base backup as soon as dbkeeper is back. To undo: stop, rename both "
        "directories back, start.",
        "上記の確認を行い、dbkeeper が使えるようになり次第ベースバックアップを取得します。取り消すには停止し、"
        "両方のディレクトリ名を戻して起動します。",
    ),
}


def text(key: str, language: str) -> str:
    """A paragraph, with places for values; English where another language is asked for than we have."""
    return WORDS[key][LANGUAGES.index(language) if language in LANGUAGES else 0]
