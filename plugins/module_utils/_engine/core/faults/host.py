# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Faults C: the host and the directories that a restore goes to."""

from __future__ import annotations

from .fault import Fault, Words

_MEND: Words = (
    "Mend what the server's words name, then run the same command again.",
    "サーバの出力が示す問題を修正し、同じコマンドを再実行してください。",
)

FAULTS: tuple[Fault, ...] = (
    Fault(
        "C01",
        "handled",
        ("directory-not-empty", "system-mismatch", "swap-blocked"),
        title=("Directory not empty", "空でないディレクトリ"),
        cause=(
            "A restore over existing files would mix two clusters.",
            "既存のファイルに上書きすると二つのクラスタが混在します。",
        ),
        answer=(
            "Staged in a new directory beside the live one, swapped by rename; the old directory is kept. Another "
            "cluster in the place (on a new host, say) is refused, or put aside with `accept_other_system`.",
            "稼働中のものと並ぶ新しいディレクトリに展開し、名前の変更で切り替えます。元のディレクトリは残します。"
            "別のクラスタがある場合は拒否し、`accept_other_system` の指定があれば退避します。",
        ),
        remedy=(
            "Move away what lies in the way, or accept that it is put aside, then run the same command again.",
            "妨げとなるものを移動するか退避を許可し、同じコマンドを再実行してください。",
        ),
    ),
    Fault(
        "C02",
        "stopped",
        (
            "tablespace-target-forbidden",
            "tablespace-shared",
            "tablespace-overlap",
            "tablespace-unknown",
            "directory-not-empty",
        ),
        title=("Tablespace put where something lives", "使用中の場所へのテーブル空間の割り当て"),
        cause=(
            "A map names the live directory, the data directory, one place twice, or a directory in which something "
            "lies, such as another cluster's or that of an earlier restore.",
            "稼働中のディレクトリ、データディレクトリ内、同じ場所への重複、"
            "または何かが置かれている場所 (他のクラスタや以前のリストアのデータなど) が指定されています。",
        ),
        answer=(
            "Without a map every tablespace goes into a new sibling of its directory.",
            "指定がなければ、各テーブル空間は元のディレクトリの隣の新しい場所に置きます。",
        ),
        remedy=(
            "Map only to directories that are new or empty.",
            "新規または空のディレクトリだけを指定してください。",
        ),
    ),
    Fault(
        "C03",
        "handled",
        ("confirmation-missing", "pid-file-unreadable", "server-processes-left", "server-did-not-stop"),
        title=("Server running on the data directory", "データディレクトリでサーバが稼働中"),
        cause=("The restore replaces a live cluster.", "リストアは稼働中のクラスタを置き換えます。"),
        answer=(
            "Pid file, process and its working directory are looked at. The server serves until the copy is proven, "
            "and is stopped only when the restore was confirmed by the cluster's name.",
            "PID ファイル、プロセス、作業ディレクトリを確認します。複製の検証が終わるまで稼働を続け、"
            "クラスタ名による確認がある場合のみ停止します。",
        ),
        remedy=(
            "Confirm by the cluster's name; end leftover processes by the numbers that are named.",
            "クラスタ名で確認してください。残ったプロセスは表示された番号で終了してください。",
        ),
    ),
    Fault(
        "C04",
        "handled",
        (),
        title=("Pid file of a dead server", "終了したサーバの PID ファイル"),
        cause=("The server was killed.", "サーバが強制終了されました。"),
        answer=(
            "It is proven dead, then the file and its socket's lock are removed.",
            "終了を確認したうえで、PID ファイルとソケットのロックを削除します。",
        ),
    ),
    Fault(
        "C05",
        "handled",
        (),
        title=(
            "Pid file that names another program, or a zombie",
            "別のプログラムまたはゾンビを指す PID ファイル",
        ),
        cause=("The number was given to somebody else since.", "番号が別のプロセスに再利用されています。"),
        answer=(
            "Only PostgreSQL's program that works in this very directory counts as its server.",
            "そのディレクトリで動作する PostgreSQL のプログラムだけをサーバとみなします。",
        ),
    ),
    Fault(
        "C06",
        "handled",
        ("new-cluster-did-not-start",),
        title=("Port or socket in use", "ポートまたはソケットが使用中"),
        cause=(
            "Another server took the live cluster's port.",
            "別のサーバが稼働中のクラスタのポートを使っています。",
        ),
        answer=(
            "The staged server has a private socket and no port. When the restored cluster cannot start, the old one "
            "is put back.",
            "展開先のサーバは専用のソケットのみを使います。復旧したクラスタが起動できない場合は元に戻します。",
        ),
        remedy=(
            "Stop the other server, then run the same command again.",
            "別のサーバを停止し、同じコマンドを再実行してください。",
        ),
    ),
    Fault(
        "C07",
        "stopped",
        ("wrong-owner", "parent-not-writable", "needs-root"),
        title=("Wrong owner, or no permission", "所有者の不一致、権限不足"),
        cause=(
            "Only the owner of the data directory can make one in its place.",
            "置き換えはデータディレクトリの所有者しか行えません。",
        ),
        answer=(
            "Started as root, the owner's identity is taken; the staged copy has mode 0700.",
            "root で起動した場合は所有者の権限に切り替えます。展開先のモードは 0700 です。",
        ),
        remedy=(
            "Run as root or as the owner; give the directory above to the owner.",
            "root または所有者で実行し、親ディレクトリへの書き込みを許可してください。",
        ),
    ),
    Fault(
        "C08",
        "stopped",
        (
            "disk-too-small",
            "inodes-too-few",
            "staging-full",
            "disk-full",
            "space-too-little",
            "repository-full",
        ),
        title=("Not enough space or inodes", "容量または inode の不足"),
        cause=(
            "The copy, its tablespaces and WAL need room beside the live data.",
            "稼働中のデータと並べて複製、テーブル空間、WAL を置く容量が必要です。",
        ),
        answer=(
            "Bytes and inodes are counted for each file system with 10 % to spare, before anything is touched; a disk "
            "that fills up later stops the work.",
            "着手前にファイルシステムごとにバイト数と inode 数を 10 % の余裕を含めて計算します。"
            "途中で満杯になった場合は停止します。",
        ),
        remedy=(
            "Free space there, then run the same command again: it continues.",
            "空き容量を確保し、同じコマンドを再実行してください (続きから再開)。",
        ),
    ),
    Fault(
        "C09",
        "handled",
        (),
        title=("Repository and data on one disk", "リポジトリとデータが同じディスク"),
        cause=("One lost disk loses both.", "ディスクの故障で両方を失います。"),
        answer=("The plans of backup and restore say so.", "バックアップと復旧の計画で警告します。"),
        remedy=("Put the repository on another disk.", "リポジトリを別のディスクに置いてください。"),
    ),
    Fault(
        "C10",
        "handled",
        ("server-configuration-missing", "new-cluster-did-not-start"),
        title=("Include file of the configuration missing", "設定のインクルードファイルの欠落"),
        cause=(
            "The copied configuration names files that are not on this host.",
            "複製された設定がこのホストにないファイルを参照しています。",
        ),
        answer=(
            "The staged server has a complete configuration of our own; after the swap the host's own one counts. "
            "When that does not start, the old cluster is put back.",
            "展開先のサーバには専用の完全な設定を使い、切り替え後はホスト自身の設定を使います。"
            "起動できない場合は元に戻します。",
        ),
        remedy=_MEND,
    ),
    Fault(
        "C11",
        "stopped",
        (
            "library-missing",
            "server-configuration-unfit",
            "restored-configuration-unfit",
            "new-cluster-did-not-start",
        ),
        title=("Preload library or extension not installed", "プリロードライブラリや拡張の未導入"),
        cause=(
            "The host lacks a package that the configuration or the data needs.",
            "設定やデータに必要なパッケージがホストにありません。",
        ),
        answer=(
            "The libraries that functions use are recorded with each backup; the plan compares them, "
            "and those that the "
            "host's configuration preloads, with what is installed. The staged server preloads nothing. Libraries of "
            "extensions may be missing with `accept_missing_libraries`, preloaded ones never.",
            "関数が使うライブラリはバックアップに記録され、計画時に設定のプリロード分と合わせて導入状況を照合します。"
            "展開先のサーバは何もプリロードしません。拡張のライブラリは `accept_missing_libraries` で許可できますが、"
            "プリロード分は許可できません。",
        ),
        remedy=(
            "Install the package, then run the same command again.",
            "パッケージを導入し、同じコマンドを再実行してください。",
        ),
    ),
    Fault(
        "C12",
        "handled",
        ("restored-configuration-unfit",),
        title=("Limits below those of the primary", "プライマリより小さい上限値"),
        cause=(
            "max_connections and its like are smaller than when the WAL was written.",
            "max_connections などが WAL の生成時より小さくなっています。",
        ),
        answer=(
            "The staged server has the values from the backup's pg_control, room for prepared transactions whatever it "
            "said, and no hot standby. Prepared transactions that the host's own configuration has "
            "no room for stop the "
            "restore before the swap.",
            "展開先のサーバにはバックアップ時の pg_control の値を使い、準備済みトランザクションの枠は常に確保し、"
            "ホットスタンバイにはしません。ホストの設定に収まらない準備済みトランザクションがある場合は切り替え前に"
            "停止します。",
        ),
        remedy=(
            "Raise max_prepared_transactions in the host's configuration, then run the same command again.",
            "ホストの設定で max_prepared_transactions を増やし、同じコマンドを再実行してください。",
        ),
    ),
    Fault(
        "C13",
        "handled",
        (),
        title=("Settings that point into production's paths", "本番のパスを指す設定"),
        cause=(
            "The copied configuration names log, SSL or pid files of the live server.",
            "複製された設定が稼働中のサーバのログ、SSL、PID ファイルを指しています。",
        ),
        answer=(
            "Nothing of it is believed while staged: files, sockets, SSL and logging are our own.",
            "展開中は使用せず、ファイル、ソケット、SSL、ログはすべて専用のものを使います。",
        ),
    ),
    Fault(
        "C14",
        "handled",
        ("restored-copy-unfit",),
        title=("Copy that archives", "複製からのアーカイブ"),
        cause=(
            "A copy's new timeline in the archive would mislead the next restore.",
            "複製の新しいタイムラインがアーカイブに入ると、次の復旧を誤らせます。",
        ),
        answer=(
            "The staged server's archive_command is empty, and that it archived nothing is verified before the swap; "
            "its files wait until the restored cluster has taken its place.",
            "展開先の archive_command は空とし、何もアーカイブしていないことを切り替え前に確認します。"
            "ファイルは復旧したクラスタへの切り替え後にアーカイブされます。",
        ),
    ),
    Fault(
        "C15",
        "handled",
        (),
        title=("Copy that talks to production", "複製からの本番への接続"),
        cause=(
            "Replication, subscriptions, scheduled jobs and foreign servers are part of the data and "
            "the configuration.",
            "レプリケーション、サブスクリプション、定期ジョブ、外部サーバはデータと設定に含まれます。",
        ),
        answer=(
            "Staged: no preloaded libraries, no logical replication workers, no network, no hot standby, no event "
            "triggers (17 and later; before, none fires at login); primary_conninfo is stripped. The plan says which "
            "subscriptions, foreign servers and jobs of pg_cron are at work again after the swap. A trigger at login "
            "that raises hinders neither the verification nor what follows the swap: dbkeeper's own sessions are then "
            "opened without event triggers. Connections that a user's own query makes are not blocked.",
            "展開中はプリロード、論理レプリケーション、ネットワーク、ホットスタンバイ、イベントトリガ (17 以降。"
            "それより前にログイン時のものはない) を使わず、primary_conninfo を取り除きます。切り替え後に再び動作する"
            "サブスクリプション、外部サーバ、pg_cron のジョブは計画に示します。"
            "ログイン時に例外を発するトリガがあっても、検証と切り替え後の処理は妨げられません。その場合、dbkeeper は"
            "イベントトリガなしで接続します。"
            "利用者の問い合わせによる接続は遮断しません。",
        ),
    ),
    Fault(
        "C16",
        "handled",
        (),
        title=("Old recovery settings left in the copy", "複製に残った古いリカバリ設定"),
        cause=(
            "`recovery.conf`, or recovery_target settings in `postgresql.auto.conf`.",
            "`recovery.conf` や `postgresql.auto.conf` の recovery_target 設定。",
        ),
        answer=(
            "Not there during replay, and removed from the `postgresql.auto.conf` that the restored cluster gets; "
            "the card and the evidence name them.",
            "再生中は使わず、復旧したクラスタの `postgresql.auto.conf` からも取り除き、"
            "カードと証跡に名前を残します。",
        ),
    ),
    Fault(
        "C17",
        "handled",
        (),
        title=("Both signal files", "両方のシグナルファイル"),
        cause=(
            "`standby.signal` wins over `recovery.signal`.",
            "`standby.signal` が `recovery.signal` より優先されます。",
        ),
        answer=(
            "Exactly one, `recovery.signal`, is there when replay begins, whatever the copy held.",
            "再生の開始時には `recovery.signal` だけを置きます。",
        ),
    ),
    Fault(
        "C18",
        "stopped",
        ("collation-changed", "locale-missing"),
        title=(
            "Encoding, locale or collation versions of the host differ",
            "エンコーディング、ロケール、照合順序のバージョンの相違",
        ),
        cause=(
            "Indexes on text are in the order of the old host's library.",
            "文字列のインデックスは元のホストのライブラリの順序で作られています。",
        ),
        answer=(
            "Versions of libc and ICU collations, and which indexes use them, are recorded with each "
            "backup and compared "
            "with the host. With `accept_collation_change` the card names databases and indexes that need REINDEX. A "
            "backup without the record is refused on a new host, unless its order is that of bytes (C, POSIX).",
            "libc と ICU の照合順序のバージョンと、それを使うインデックスをバックアップに記録し、ホストと比較します。"
            "`accept_collation_change` を指定すると、REINDEX が必要なデータベースとインデックスを表示します。"
            "記録のないバックアップは、バイト順 (C、POSIX) を除き、新しいホストでは拒否します。",
        ),
        remedy=(
            "Restore on a host with the same version of the operating system, make the locales, or "
            "accept the change and "
            "REINDEX what the card names.",
            "同じ版の OS のホストで復旧するか、ロケールを作成するか、変更を許可して表示されたものを REINDEX "
            "してください。",
        ),
    ),
    Fault(
        "C19",
        "stopped",
        (
            "memory-too-small",
            "huge-pages-too-few",
            "restored-configuration-unfit",
            "replay-server-died",
            "new-cluster-did-not-start",
        ),
        title=("Huge pages, shared memory or limits too small", "Huge Pages、共有メモリ、上限値の不足"),
        cause=("The host does not give what the settings ask for.", "設定の要求をホストが満たしていません。"),
        answer=(
            "Where no server runs with them already, the settings are held against the host's memory and huge pages in "
            "the plan; before the swap the server's own program says what it needs (15 and later). "
            "Limits of the service "
            "manager (ulimit) show at the start: then the old cluster is put back. The staged server takes little "
            "memory and no huge pages.",
            "その設定で稼働中のサーバがない場合、計画時に設定とホストのメモリ、Huge Pages を照合し、切り替え前に"
            "サーバのプログラム自身に必要量を確認します (15 以降)。サービスの上限 (ulimit) は起動時に判明し、"
            "その場合は元に戻します。展開先のサーバは少ないメモリで動作し、Huge Pages を使いません。",
        ),
        remedy=_MEND,
    ),
    Fault(
        "C20",
        "stopped",
        ("busy", "restore-unfinished", "undo-unfinished"),
        title=("Two at the same work", "同じ作業の同時実行"),
        cause=(
            "Another restore, undo or backup runs, or was begun and not finished.",
            "別のリストア、取り消し、バックアップが実行中か、未完了です。",
        ),
        answer=(
            "The holder is named with process, host and time. A restore does not wait for a backup: the backup fails.",
            "実行中のプロセス、ホスト、時刻を示します。リストアはバックアップを待たず、バックアップは失敗します。",
        ),
        remedy=(
            "Wait for it to end, or finish or undo what was begun.",
            "終了を待つか、未完了の作業を完了または取り消してください。",
        ),
    ),
)
