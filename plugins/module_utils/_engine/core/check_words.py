# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the checks of ``dbkeeper check`` say that are made where their facts are: of the server, the repository and the
configuration. Those that need the history are in :mod:`..watch.words`, which takes these in: one catalogue.
"""

from __future__ import annotations

from typing import Any

from .sayings import ENGLISH, JAPANESE, fill

CHECK_WORDS: dict[str, tuple[str, str]] = {
    "unknown_server": ("not known, as no server answers", "サーバが応答しないため不明です"),
    "unknown_why": ("not known: {why}", "不明: {why}"),
    "caused": ("{cause}", "エラー: {cause}"),
    # -- the server and its archiver -------------------------------------------------------------------
    "server_runs": ("{version}, {reason}", "稼働中: {version}、{reason}"),
    "server_not": ("{why}", "稼働していません: {why}"),
    "server_unknown": ("it is not known", "状態が分かりません"),
    "archiving_off": (
        "archive_mode or archive_command is not set: run the backup role",
        "archive_mode または archive_command が設定されていません。backup ロールを実行してください",
    ),
    "archiving_fails": (
        "fails at {name} ({count} wait): see the server's log",
        "{name} のアーカイブに失敗しています ({count} 個が待機中)。サーバのログを確認してください",
    ),
    "archiving_ok": ("last archived {name}", "最後にアーカイブした WAL: {name}"),
    "archiving_first": ("nothing is archived yet", "まだ何もアーカイブされていません"),
    "rpo_waits": (
        "WAL has been waiting for the archiver for {age}, the objective is {goal}",
        "WAL がアーカイブを {age}待っています (目標 {goal})",
    ),
    "rpo_unknown": (
        "not known: pg_wal/archive_status cannot be read, so nobody can say what waits for the archiver",
        "不明: pg_wal/archive_status を読めないため、アーカイブ待ちの WAL があるか判断できません",
    ),
    "rpo_timeout": (
        "archive_timeout is {timeout} s, so a quiet hour may be lost: set {wanted} s or less",
        "archive_timeout が {timeout} 秒のため、更新の少ない時間帯の作業を失うおそれがあります。{wanted} "
        "秒以下にしてください",
    ),
    "rpo_ok": (
        "a segment leaves the server after {age} at most, the objective is {goal}",
        "WAL セグメントは遅くとも {age}でサーバ外に送られます (目標 {goal})",
    ),
    # -- what is in the repository ---------------------------------------------------------------------
    "backup_none": (
        "there is no verified backup of this system: dbkeeper backup",
        "このシステムの検証済みバックアップがありません: dbkeeper backup",
    ),
    "backup_future": (
        "{label} ended in the future: this host's clock is wrong",
        "{label} の終了時刻が未来です。このホストの時計がずれています",
    ),
    "backup_old": (
        "{label} is {age} old, the objective is {goal}: see why the schedule does not run",
        "{label} は {age}前のものです (目標 {goal})。スケジュールが動かない理由を確認してください",
    ),
    "backup_ok": (
        "{label} is {age} old, the objective is {goal}",
        "{label} は {age}前のものです (目標 {goal})",
    ),
    "catalog_damaged": ("entries that cannot be read: {what}", "読めない項目: {what}"),
    "catalog_unsound": (
        "{count} [count:backup is|backups are] damaged, {label} first: {text}. Bring the files back from a "
        "copy and run dbkeeper verify "
        "{label}, or take a new backup",
        "{count} 個のバックアップが破損しています (最初は {label}: {text})。コピーからファイルを取り戻して "
        "dbkeeper verify {label} を実行するか、新しいバックアップを取得してください",
    ),
    "catalog_chain": (
        "{count} incremental [count:backup is|backups are] worth nothing, {label} first: {text}",
        "{count} 個の増分バックアップが使えません (最初は {label}): {text}",
    ),
    "catalog_ok": (
        "every entry can be read, every chain is whole",
        "すべての項目を読むことができ、増分の連鎖も完全です",
    ),
    "pages_ok": ("no backup has damaged pages", "破損ページを含むバックアップはありません"),
    "pages_live": (
        "backup {label} has {faults}: the live cluster is damaged. Look at its disk, and plan a restore",
        "バックアップ {label} に {faults} があります。稼働中のクラスタが破損しています。ディスクを調べ、"
        "復元を計画してください",
    ),
    "pages_old": (
        "backup {label} has {faults}; newer ones have none",
        "バックアップ {label} に {faults} がありますが、より新しいものにはありません",
    ),
    "archive_gap": (
        "{code} from {first} to {last}: nothing after it can be restored from before it",
        "{first} から {last} まで {code} です。それより前のバックアップからは、それ以降を復元できません",
    ),
    "archive_conflicts": (
        "{count} [count:file was|files were] kept aside, {first} first: [count:its name was|their names were] archived "
        "with other content, so two servers may write to this archive. See which one is alive, then remove them",
        "{count} 個のファイルを別に残しました (最初は {first})。同じ名前で内容の異なるものがアーカイブされました。"
        "2 台のサーバがこのアーカイブに書いているおそれがあります。どちらが正しいかを確かめてから削除してください",
    ),
    "archive_faulty": (
        "{count} damaged [count:segment|segments], {first} first",
        "破損したセグメントが {count} 個あります (最初は {first})",
    ),
    "archive_ok": ("no gap and no damaged segment", "欠落も破損セグメントもありません"),
    "leftovers_unknown": (
        "not looked for: dbkeeper on the host of the repository is too old to tell; the backup role updates it there",
        "調べていません。リポジトリのホストの dbkeeper が古いためです。そのホストで backup ロールを実行してください",
    ),
    "leftovers_ok": ("no file that nobody uses", "使われていないファイルはありません"),
    "leftovers": (
        "{count} [count:file|files] that nobody uses, {size}: {first} is {age} old. [count:It is|They are] ignored; "
        "remove [count:it|them] by name when no work is going on",
        "使われていないファイルが {count} 個あります ({size})。{first} は {age}前のものです。無視されますが、"
        "処理が動いていないときに名前を指定して削除してください",
    ),
    "window_none": ("nothing can be restored", "何も復元できません"),
    "window_ok": (
        "timeline {timeline}: {begin} to {end}",
        "タイムライン {timeline}: {begin} から {end} まで",
    ),
    "disk_small": (
        "{free} free in the repository, the largest backup has {need}",
        "リポジトリの空きは {free} ですが、最大のバックアップは {need} です",
    ),
    "disk_one": (
        "{free} free in the repository: room for one more backup",
        "リポジトリの空きは {free} で、あと 1 回分のバックアップしか入りません",
    ),
    "disk_ok": ("{free} free in the repository", "リポジトリの空き {free}"),
    # -- how long a restore takes ----------------------------------------------------------------------
    "rto_never": (
        "how long a restore takes is a promise that nobody has tried: none was measured here, the objective is {goal}. "
        "What counts: a restore (also on a spare host), a drill, or a trial of a dump: dbkeeper verify --trial "
        "DATABASE",
        "復元の所要時間はまだ一度も実測されていません (目標 {goal})。実測になるもの: 復元 (予備ホストでも可)、"
        "訓練、またはダンプの試験復元 (dbkeeper verify --trial データベース名)",
    ),
    "rto_restore": (
        "a restore of {at} took {age}, the objective is {goal}",
        "{at} の復元に {age}かかりました (目標 {goal})",
    ),
    "rto_restore_late": (
        "a restore of {at} took {age}, longer than the objective of {goal}: take full backups more often, or give the "
        "host faster disks",
        "{at} の復元に {age}かかり、目標 {goal}を超えました。フルバックアップの間隔を短くするか、"
        "ディスクを高速にしてください",
    ),
    "rto_trial": (
        "no restore of the whole cluster was measured; the trial of {at} loaded the dump of {what} in {age}, the "
        "objective is {goal}",
        "クラスタ全体の復元は実測されていません。{at} の試験復元では {what} のダンプのロードに {age} "
        "かかりました (目標 {goal})",
    ),
    "rto_trial_late": (
        "no restore of the whole cluster was measured; the trial of {at} needed {age} for the dump of {what} alone, "
        "longer than the objective of {goal}",
        "クラスタ全体の復元は実測されていません。{at} の試験復元では {what} のダンプだけで {age}かかり、目標 "
        "{goal}を超えました",
    ),
    # -- expiry ----------------------------------------------------------------------------------------
    "expiry_lease": (
        "lease {id} cannot be read, and so nothing expires: see whose it was, then remove its file",
        "リース {id} が読めないため、何も期限切れになりません。誰のものかを確かめてからファイルを削除してください",
    ),
    "expiry_no_policy": (
        "no policy is set, nothing ever expires",
        "保持方針がないため、何も期限切れになりません",
    ),
    "expiry_first": (
        "nothing has been expired from here yet",
        "ここからの期限切れ処理はまだ行われていません",
    ),
    "expiry_held": (
        "the archive cannot be judged ({what}): dbkeeper expire --dry-run",
        "アーカイブを判定できません ({what}): dbkeeper expire --dry-run",
    ),
    "expiry_interrupted": (
        "the last one was interrupted: run dbkeeper expire again",
        "前回の処理が中断されました。dbkeeper expire を再実行してください",
    ),
    "expiry_old": (
        "the last one was {age} ago: see why the schedule does not run",
        "前回は {age}前です。スケジュールが動かない理由を確認してください",
    ),
    "expiry_blocked": (
        "more is kept than is wanted: {what}",
        "保持方針を超えて残っているものがあります: {what}",
    ),
    "expiry_ok": (
        "last {at}; restorable since {oldest}",
        "前回 {at}。{oldest} 以降を復元できます",
    ),
    "expiry_last": ("last {at}", "前回 {at}"),
    "expiry_ok_never": ("last {at}; nothing can be restored", "前回 {at}。復元できるものはありません"),
    # -- streaming -------------------------------------------------------------------------------------
    "receive_no_slot": (
        "there is no replication slot {slot}: start dbkeeper receive on the host of the repository (it makes the slot)",
        "レプリケーションスロット {slot} がありません。リポジトリのホストで dbkeeper receive を起動してください "
        "(スロットは自動で作られます)",
    ),
    "receive_lost": (
        "slot {slot} fell too far behind and keeps nothing any more: start dbkeeper receive on the host of the "
        "repository, it begins anew",
        "スロット {slot} は遅れすぎて WAL を保持していません。リポジトリのホストで dbkeeper receive を起動すると、"
        "新しく始まります",
    ),
    "receive_idle": (
        "nobody streams; slot {slot} holds {held} of WAL back{limit}: start dbkeeper receive on the host of the "
        "repository",
        "誰も受信していません。スロット {slot} が WAL を {held} 引き留めています{limit}。"
        "リポジトリのホストで dbkeeper receive を起動してください",
    ),
    "receive_unlimited": (
        ", without a limit (max_slot_wal_keep_size is -1)",
        " (max_slot_wal_keep_size が -1 のため上限なし)",
    ),
    "receive_unreserved": (
        "slot {slot} is about to be lost ({held} behind): raise max_slot_wal_keep_size or mend the network",
        "スロット {slot} がまもなく失われます (遅れ {held})。max_slot_wal_keep_size を増やすか、"
        "ネットワークを直してください",
    ),
    "receive_unguarded": (
        "streams; but max_slot_wal_keep_size is -1: if it stops, pg_wal grows until the disk is full",
        "受信中ですが、max_slot_wal_keep_size が -1 です。止まると pg_wal がディスクを満たすまで増えます",
    ),
    "receive_sync": ("streams, synchronous, {behind} behind", "同期で受信中、遅れ {behind}"),
    "receive_async": ("streams, asynchronous, {behind} behind", "非同期で受信中、遅れ {behind}"),
    # -- the configuration -----------------------------------------------------------------------------
    "settings_no_start": (
        "the server would not start again: {what}",
        "このままではサーバは再起動できません: {what}",
    ),
    "place_fault": ("{path}, line {number}: {text}", "{path} の {number} 行目: {text}"),
    "settings_refused": (
        "the server will not take over {what}",
        "サーバが次の設定を受け付けません: {what}",
    ),
    "settings_gone": (
        "gone: {what}; run the role again",
        "ファイルがなくなっています: {what}。ロールを再実行してください",
    ),
    "settings_interrupted": (
        "a change was interrupted: run the role again, which undoes or ends it",
        "変更が中断されました。ロールを再実行すると、元に戻すか完了させます",
    ),
    "settings_drifted": (
        "changed by somebody else: {what}; put it into the inventory, or run the role again",
        "ほかの誰かが変更しました: {what}。インベントリに反映するか、ロールを再実行してください",
    ),
    "settings_unread": (
        "changed since the server has read it: {what}; see what a reload would do",
        "サーバが読み込んだ後に変更されています: {what}。再読み込みで何が変わるかを確認してください",
    ),
    "settings_foreign": (
        "the server's program reads them; none of them are kept by dbkeeper",
        "サーバのプログラムで読めます。dbkeeper が管理する設定ファイルはありません",
    ),
    "settings_ok": (
        "as they were written, and as the server has read them",
        "書き込んだとおりで、サーバが読み込んだものと一致しています",
    ),
    "restart_needed": ("a restart is needed for {what}", "次の設定には再起動が必要です: {what}"),
    "restart_until": ("{name} ({value} until then)", "{name} (それまでは {value})"),
    "restart_ok": ("nothing waits for a restart", "再起動待ちの設定はありません"),
    "access_idle": ("without effect: {what}", "効果のない規則: {what}"),
    "access_ok": (
        "every rule of pg_hba.conf and pg_ident.conf is understood",
        "pg_hba.conf と pg_ident.conf のすべての規則が解釈できます",
    ),
    "overridden": (
        "{name} is {effective} and not {wanted}, because of {path}, line {number}",
        "{path} の {number} 行目により、{name} は {wanted} ではなく {effective} になっています",
    ),
    "overridden_command": (
        "{name} is {value}, as the server's command line says",
        "サーバのコマンドラインにより、{name} は {value} になっています",
    ),
    "overrides_ok": ("no setting of ours is overridden", "上書きされた設定はありません"),
    # -- the certificate -------------------------------------------------------------------------------
    "tls_off_wide": (
        "TLS is off, and the server listens to other machines: set postgresql_tls",
        "TLS が無効のまま、ほかのホストからの接続を受け付けています。postgresql_tls を設定してください",
    ),
    "tls_off": (
        "TLS is off, and the server listens on loopback only",
        "TLS は無効ですが、ループバックでのみ待ち受けています",
    ),
    "certificate_none": ("there is none at {path}", "{path} に証明書がありません"),
    "certificate_over": (
        "{what} until {until}, which has passed: run the role postgresql, or renew {path}",
        "{what} の有効期限 {until} が過ぎています。postgresql ロールを実行するか、{path} を更新してください",
    ),
    "certificate_early": (
        "not before {since}: see whether this host's clock is right",
        "{since} より前には有効になりません。このホストの時計を確認してください",
    ),
    "certificate_unread": (
        "{what} until {until}, but the server has not read it yet: reload it",
        "{what} の有効期限は {until} ですが、サーバがまだ読み込んでいません。再読み込みしてください",
    ),
    "certificate_soon": (
        "{what} until {until}, in {days} [days:day|days]: run the role postgresql, or renew {path}",
        "{what} の有効期限 {until} まであと {days} 日です。postgresql ロールを実行するか、{path} を更新してください",
    ),
    "certificate_ok": (
        "{what} until {until}, in {days} [days:day|days]",
        "{what} の有効期限 {until} まであと {days} 日です",
    ),
    "pooler_at": ("port {port}: {what}", "ポート {port}: {what}"),
    "pooler_tls_off_wide": (
        "TLS is off, and the pooler listens to other machines: set pgbouncer_tls",
        "TLS が無効のまま、ほかのホストからの接続を受け付けています。pgbouncer_tls を設定してください",
    ),
    "pooler_tls_off": (
        "TLS is off, and the pooler listens on loopback only",
        "TLS は無効ですが、ループバックでのみ待ち受けています",
    ),
    "pooler_over": (
        "{what} until {until}, which has passed: run the role pgbouncer, or renew its client_tls_cert_file",
        "{what} の有効期限 {until} が過ぎています。pgbouncer ロールを実行するか、client_tls_cert_file のファイルを"
        "更新してください",
    ),
    "pooler_soon": (
        "{what} until {until}, in {days} days: run the role pgbouncer, or renew its client_tls_cert_file",
        "{what} の有効期限 {until} まであと {days} 日です。pgbouncer ロールを実行するか、client_tls_cert_file の"
        "ファイルを更新してください",
    ),
}


def told(check: str, state: str, word: str, /, **values: Any) -> dict[str, str]:
    """A check as JSON values: name, state, and its sentence in both languages."""
    return {
        "name": check,
        "state": state,
        "text": fill(CHECK_WORDS[word], ENGLISH, values),
        "text_ja": fill(CHECK_WORDS[word], JAPANESE, values),
    }
