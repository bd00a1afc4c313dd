# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The decision card's words, in English and Japanese. One table, so that a missing translation is seen at once."""

from __future__ import annotations

LANGUAGES = ("en", "ja")

WORDS: dict[str, tuple[str, str]] = {
    "title": (
        "RESTORE PLAN · cluster {cluster} · plan {id}",
        "リストア計画 · クラスタ {cluster} · 計画 {id}",
    ),
    "title_resume": (
        "RESTORE TO BE FINISHED · cluster {cluster} · plan {id}",
        "未完了リストアの続行 · クラスタ {cluster} · 計画 {id}",
    ),
    "title_done": (
        "RESTORE DONE · cluster {cluster} · plan {id}",
        "リストア完了 · クラスタ {cluster} · 計画 {id}",
    ),
    "title_nothing": (
        "NOTHING TO DO · this restore was done before · cluster {cluster} · plan {id}",
        "実行不要 · 同じリストアは完了済み · クラスタ {cluster} · 計画 {id}",
    ),
    "asked": ("Asked for", "指定された目標"),
    "resolved": ("Resolved to", "確定した復旧点"),
    "resolved_value": (
        "{side} LSN {lsn}, timeline {timeline}",
        "タイムライン {timeline} の LSN {lsn} {side}",
    ),
    "before": ("just before", "の直前"),
    "after": ("just after", "の直後"),
    "consistency": ("as soon as backup {backup} is consistent", "バックアップ {backup} が整合した時点"),
    "in_utc": ("Target in UTC", "目標時刻 (UTC)"),
    "last_commit": ("Last commit that will be there", "復旧後に残る最後のコミット"),
    "next_commit": ("First commit that will NOT be there", "復旧後に失われる最初のコミット"),
    "none": ("none", "なし"),
    "commit_value": ("{time} (xid {xid}, LSN {lsn})", "{time} (xid {xid}, LSN {lsn})"),
    "backup": ("Base backup", "ベースバックアップ"),
    "backup_value": (
        "{label}, the newest verified one that ends before the target ({stopped})",
        "{label} (目標より前に完了した最新の検証済みバックアップ、{stopped})",
    ),
    "backup_pinned": ("{label}, as asked ({stopped})", "{label} (指定による、{stopped})"),
    "chain": ("Combined from", "結合元"),
    "chain_value": (
        "{full} and {count} incremental on it, {size} in all",
        "{full} とその増分 {count} 個、計 {size}",
    ),
    "wal": ("WAL, every segment proven", "WAL (全セグメント検証済み)"),
    "wal_value": ("{count} segments, {size}, {first} … {last}", "{count} 個、{size}、{first} … {last}"),
    "reachable": ("Reachable now", "現在到達可能な範囲"),
    "reachable_value": ("{oldest} … {newest}", "{oldest} 〜 {newest}"),
    "disk": ("Disk", "ディスク"),
    "disk_value": ("{path}: {needed} needed, {free} free", "{path}: 必要 {needed}、空き {free}"),
    "time": ("Expected time", "予想所要時間"),
    "time_value": (
        "{total}, of which downtime {downtime} ({source})",
        "{total}、うち停止時間 {downtime} ({source})",
    ),
    "source_measured": ("from restore {name} on this host", "このホストでの実績 {name} による"),
    "source_default": ("default figures: no restore measured here yet", "既定値: このホストでの実績なし"),
    "kept": ("Will be kept", "保存されるもの"),
    "kept_value": ("the live data directory, as {path}", "現在のデータディレクトリ ({path})"),
    "kept_nothing": (
        "nothing: there is no live data directory",
        "なし: 現在のデータディレクトリがありません",
    ),
    "lost": ("Will be lost", "失われるもの"),
    "lost_value": (
        "commits from {start} until {end} ({size} of archived WAL)",
        "{start} から {end} までのコミット (アーカイブ済み WAL {size})",
    ),
    "lost_nothing": ("no archived commit", "アーカイブ済みのコミットは失われません"),
    "lost_unarchived": (
        "{count} finished segments that were never archived (they stay in the kept directory)",
        "未アーカイブのセグメント {count} 個 (保存されるディレクトリに残ります)",
    ),
    "lost_since": (
        "and whatever is committed from now until the swap",
        "および現在から切り替えまでにコミットされるもの",
    ),
    "stop_first": (
        "The cluster is stopped FIRST, so that its last WAL is archived; downtime is the whole restore.",
        "最後の WAL をアーカイブするため、最初にクラスタを停止します。停止時間はリストア全体です。",
    ),
    "warning": ("Mind", "注意"),
    "note_one_disk": (
        "The repository and the data directory are on one file system: one disk can take both.",
        "リポジトリとデータディレクトリが同じファイルシステムにあります。1 台のディスク障害で両方を失います。",
    ),
    "note_read_only": (
        "The key to the repository may only read. What is restored cannot archive or be backed up; the restore ends "
        "with archiving-not-proven until there is a key that may add.",
        "リポジトリへの鍵は読み取り専用です。リストア後のクラスタはアーカイブもバックアップもできず、追加を許された鍵に替えるまで、"
        "リストアは archiving-not-proven で終わります。",
    ),
    "note_no_live": (
        "There is no live data directory at {path}; nothing will be kept.",
        "{path} に現在のデータディレクトリがありません。保存されるものはありません。",
    ),
    "note_stranger": (
        "{path} holds something else ({found}): it is put aside with the swap, and not removed.",
        "{path} には別のもの ({found}) があります。切り替え時に退避し、削除はしません。",
    ),
    "note_damaged": (
        "Backups whose entries cannot be read are passed over: {labels}. See dbkeeper check.",
        "登録情報を読めないバックアップは使いません: {labels}。dbkeeper check で確認してください。",
    ),
    "note_unfinished": (
        "The unfinished segment {name} is used, as asked: it adds {commits} commits, up to {newest_commit}, and ends "
        "at LSN {end_lsn}. What was written after that is not known.",
        "指定により未完了のセグメント {name} を使用します: コミット {commits} 件 ({newest_commit} まで) が加わり、LSN "
        "{end_lsn} で終わります。それ以降に書かれた内容は不明です。",
    ),
    "note_ragged": (
        "What follows LSN {end_lsn} in {name} is neither a sound record nor zeros: what is left of an older segment, "
        "or damage. Look for another copy of it first.",
        "{name} の LSN {end_lsn} 以降は正常なレコードでもゼロでもありません (古いセグメントの残り、または破損)。"
        "先に別の複製を探してください。",
    ),
    "note_not_recorded": (
        "This backup was taken before the host was recorded with it: machine, libraries and collations could not be "
        "compared.",
        "このバックアップにはホストの記録がないため、機種、ライブラリ、照合順序を比較できません。",
    ),
    "note_libraries_unknown": (
        "Where the server's libraries are is not known: those of extensions were not compared.",
        "サーバのライブラリの場所が不明なため、拡張のライブラリを照合していません。",
    ),
    "note_libraries_missing": (
        "Missing here, as accepted: {libraries}. What calls them fails until their packages are installed.",
        "このホストにないライブラリ (許可済み): {libraries}。パッケージを導入するまで、それらの呼び出しは失敗します。",
    ),
    "note_reindex": (
        "REINDEX after the restore: database {database}, collation {collation} ({locale}), version {recorded} then, "
        "{found} here; {count} indexes ({examples}). Check with bt_index_check (amcheck).",
        "復旧後に REINDEX が必要: データベース {database}、照合順序 {collation} ({locale})、当時の版 {recorded}、"
        "このホスト {found}、インデックス {count} 個 ({examples})。bt_index_check (amcheck) で確認できます。",
    ),
    "note_subscriptions": (
        "After the swap subscriptions fetch from elsewhere again: {names}. While staged they do not.",
        "切り替え後、サブスクリプションは再び外部から取得します: {names}。展開中は動作しません。",
    ),
    "note_foreign_servers": (
        "Foreign servers that queries may reach after the swap: {names}.",
        "切り替え後、問い合わせから接続され得る外部サーバ: {names}。",
    ),
    "note_jobs": (
        "After the swap pg_cron runs {count} jobs again.",
        "切り替え後、pg_cron のジョブ {count} 件が再び実行されます。",
    ),
    "note_tablespace": (
        "Tablespace {oid} moves from {source} to {target}.",
        "テーブル空間 {oid} は {source} から {target} へ移ります。",
    ),
    "note_passed_over": (
        "Backup {label} is newer and not used: {why}.",
        "より新しいバックアップ {label} は使いません: {why}。",
    ),
    "note_passed_over_pages": (
        "Backup {label} is newer and not used: it has damaged pages.",
        "より新しいバックアップ {label} はページ破損があるため使いません。",
    ),
    "note_page_faults": (
        "Backup {label} has {faults}; this was accepted, and what lies on them is lost.",
        "バックアップ {label} にはページ破損があります ({faults})。承諾済みで、該当ページの内容は失われます。",
    ),
    "was_kept": ("Old data", "元のデータ"),
    "was_lost": ("Lost", "失われたもの"),
    "was_lost_wal": (
        "{size} of WAL that the old cluster had written after the target",
        "元のクラスタが目標以降に書いた WAL {size}",
    ),
    "reached": ("Reached", "到達した復旧点"),
    "rto": ("Open again", "再開まで"),
    "rto_value": ("{time} after the first command", "最初のコマンドから {time}"),
    "downtime": ("Downtime", "停止時間"),
    "seconds": ("Seconds by step", "工程別の秒数"),
    "archived": ("Archiving proven by", "アーカイブの確認"),
    "removed": ("Old recovery settings removed", "取り除いた古いリカバリ設定"),
    "amcheck": ("Checked by pg_amcheck", "pg_amcheck による検査"),
    "amcheck_value": (
        "every table and index, nothing found, {seconds:g} s",
        "すべてのテーブルとインデックス、問題なし、{seconds:g} 秒",
    ),
    "new_backup": ("New base backup", "新しいベースバックアップ"),
    "evidence": ("Evidence", "証跡"),
    "undo": ("To undo", "元に戻すには"),
    "failed_title": ("NOT FINISHED · {code}", "未完了 · {code}"),
    "refused_title": ("REFUSED, NOTHING WAS TOUCHED · {code}", "拒否 · 何も変更していません · {code}"),
    "attempted": ("Attempted", "試みたこと"),
    "happened": ("Happened", "起きたこと"),
    "remedy": ("What to do", "対処"),
    "details": ("In its own words", "プログラムの出力"),
    "state": ("State now", "現在の状態"),
    "state_running": ("the cluster is running", "クラスタは稼働中"),
    "state_stopped": ("the cluster is stopped", "クラスタは停止中"),
    "state_old": ("with its old data: nothing was swapped", "データは元のまま (切り替え前)"),
    "state_new": ("with the restored data; the old data is in {kept}", "データは復旧後 (元のデータ: {kept})"),
    "next": ("Safe next commands", "安全な次の手順"),
    "next_repeat": (
        "nothing was restored now: what was done to the data since then is still there; --again restores once more",
        "今回は何も復旧していません: その後のデータの変更は残っています。再度復旧するには --again を指定",
    ),
    "next_again": ("run the same command again: it continues", "同じコマンドを再実行 (続きから実行されます)"),
}


def say(key: str, language: str, **values: object) -> str:
    """A text in the language asked for; English where another one is asked for than we have."""
    position = LANGUAGES.index(language) if language in LANGUAGES else 0
    return WORDS[key][position].format(**values)
