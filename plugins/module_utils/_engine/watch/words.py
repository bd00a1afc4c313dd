# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Checks and notifications in words, English and Japanese. One table, so that a missing translation is seen at once."""

from __future__ import annotations

from typing import Any

from ..core.check_words import CHECK_WORDS
from ..core.sayings import fill

WORDS: dict[str, tuple[str, str]] = {
    **CHECK_WORDS,
    # -- what is looked at -----------------------------------------------------------------------------
    "check_server": ("server", "サーバ"),
    "check_archiving": ("archiving", "WAL アーカイブ"),
    "check_rpo": ("recovery point objective", "目標復旧時点 (RPO)"),
    "check_backup": ("newest base backup", "最新のベースバックアップ"),
    "check_full-backup": ("newest full backup", "最新のフルバックアップ"),
    "check_catalog": ("catalog of backups", "バックアップのカタログ"),
    "check_pages": ("damaged pages", "破損ページ"),
    "check_archive": ("archived WAL", "アーカイブ済み WAL"),
    "check_leftovers": ("files left over", "使われていないファイル"),
    "check_window": ("what can be restored", "復元できる範囲"),
    "check_rto": ("recovery time objective", "目標復旧時間 (RTO)"),
    "check_disk": ("room for a backup", "バックアップ用の空き容量"),
    "check_expiry": ("expiry", "期限切れ処理"),
    "check_receive": ("streaming of WAL", "WAL のストリーミング"),
    "check_settings": ("settings", "設定"),
    "check_restart": ("pending restart", "再起動待ち"),
    "check_access": ("access rules", "接続規則"),
    "check_overrides": ("overridden settings", "上書きされた設定"),
    "check_certificate": ("certificate", "証明書"),
    "check_pooler-certificate": ("certificate of PgBouncer", "PgBouncer の証明書"),
    "check_repository": ("repository", "リポジトリ"),
    "check_rpo-now": ("work that would be lost now", "いま失われる作業"),
    "check_received": ("WAL that came in", "届いた WAL"),
    "check_arrival": ("arrival of WAL", "WAL の到着"),
    "check_backlog": ("WAL waiting to be archived", "アーカイブ待ちの WAL"),
    "check_space": ("days until the disk is full", "ディスクが満杯になるまでの日数"),
    "check_size": ("size of backups", "バックアップのサイズ"),
    "check_duration": ("duration of runs", "実行時間"),
    "check_dumps": ("logical dumps", "論理ダンプ"),
    "check_copies": ("copies", "コピー"),
    "check_verification": ("verification", "検証"),
    "check_trial": ("trial restore", "試験復元"),
    "check_runs": ("last runs", "直近の実行"),
    "check_stuck": ("running operations", "実行中の処理"),
    "check_metrics": ("figures for Prometheus", "Prometheus 用の数値"),
    "check_notification": ("notification", "通知"),
    # -- what is found ---------------------------------------------------------------------------------
    "full_none": (
        "there is no verified full backup: dbkeeper backup --kind full",
        "検証済みのフルバックアップがありません: dbkeeper backup --kind full",
    ),
    "full_old": (
        "{label} is {age} old, the objective is {goal}: see why the schedule does not run",
        "{label} は {age}前のものです (目標 {goal})。スケジュールが動かない理由を確認してください",
    ),
    "full_ok": (
        "{label} is {age} old, the objective is {goal}",
        "{label} は {age}前のものです (目標 {goal})",
    ),
    "received_none": ("no WAL has ever come in", "WAL はまだ一度も届いていません"),
    "received_ok": (
        "newest WAL: {name}, {age} ago (objective {goal})",
        "最新の WAL: {name} ({age}前、目標 {goal})",
    ),
    "received_old": (
        "newest WAL: {name}, {age} ago, the objective of a backup is {goal}: is the host of the database alive?",
        "最新の WAL は {name} で、{age}前に届いたものです (バックアップの目標 {goal})。"
        "データベースのホストが稼働しているかを確認してください",
    ),
    "repository_ok": ("{path} can be read", "{path} を読むことができます"),
    "repository_bad": ("{cause}", "リポジトリを読めません。{cause}"),
    "metrics_bad": ("{cause}", "Prometheus 用の数値を書けません。{cause}"),
    "now_standby": (
        "this server is in recovery; its primary archives",
        "このサーバはリカバリ中です。アーカイブはプライマリが行います",
    ),
    "now_none": (
        "every commit has left the server; newest archived commit: {newest}",
        "すべてのコミットがサーバ外に保存済みです。アーカイブ済みの最新コミット: {newest}",
    ),
    "now_some": (
        "commits since {since} exist on this server only: {age} would be lost now, the objective is {goal}; "
        "newest archived commit: {newest}",
        "{since} 以降のコミットはこのサーバにしかありません。いま失われるのは {age}分です (目標 {goal})。"
        "アーカイブ済みの最新コミット: {newest}",
    ),
    "now_behind": (
        "streamed, {age} behind; the objective is {goal}",
        "ストリーミング中、遅れ {age} (目標 {goal})",
    ),
    "never": ("none", "なし"),
    "arrival_none": ("the server has not archived anything yet", "サーバはまだ何もアーカイブしていません"),
    "arrival_ok": ("{name} is in the repository", "{name} はリポジトリにあります"),
    "arrival_missing": (
        "the server says that {name} is archived, and the repository does not have it: see what archive_command is",
        "サーバは {name} をアーカイブ済みとしていますが、リポジトリにありません。archive_command を確認してください",
    ),
    "backlog_ok": (
        "{count} [count:file waits|files wait] ({size})",
        "{count} 個のファイルが待っています ({size})",
    ),
    "backlog_many": (
        "{count} [count:file waits|files wait] ({size}): they come in faster than they are archived",
        "{count} 個のファイルが待っています ({size})。アーカイブより速く増えています",
    ),
    "backlog_full": (
        "{count} [count:file waits|files wait] ({size}) and pg_wal's disk has {free} left: the server stops "
        "when it is full",
        "{count} 個のファイルが待っており ({size})、pg_wal の空きは {free} です。満杯になるとサーバは停止します",
    ),
    "space_unknown": (
        "{free} of {total} free; too few days on record to say more",
        "空き {free} / {total}。記録された日数が少なく、傾向はまだ分かりません",
    ),
    "space_steady": (
        "{free} of {total} free, and it does not fill up",
        "空き {free} / {total}、減っていません",
    ),
    "space_ok": (
        "{free} of {total} free: full in {days} [days:day|days] at the pace of the last days, the objective is {goal}",
        "空き {free} / {total}。最近の増え方では {days} 日で満杯になります (目標 {goal}日以上)",
    ),
    "size_ok": ("as usual", "通常どおり"),
    "size_first": ("nothing to compare with yet", "比較できる記録がまだありません"),
    "size_small": (
        "{what} has {newest}, usual are {usual} (× {factor}): is data missing?",
        "{what} は {newest} です。通常は {usual} です (× {factor})。データが欠けていませんか",
    ),
    "size_large": (
        "{what} has {newest}, usual are {usual} (× {factor}): is there room for such ones?",
        "{what} は {newest} です。通常は {usual} です (× {factor})。この大きさで容量は足りますか",
    ),
    "duration_ok": ("as usual", "通常どおり"),
    "duration_long": (
        "{what} took {newest}, usual are {usual} (× {factor})",
        "{what} に {newest} かかりました。通常は {usual} です (× {factor})",
    ),
    "dumps_none": ("no dump is asked for", "ダンプは求められていません"),
    "dumps_ok": (
        "{count} [count:dump|dumps], the oldest is {age} old, the objective is {goal}",
        "ダンプ {count} 件、最も古いものは {age}前 (目標 {goal})",
    ),
    "dump_missing": ("{what}: there is no verified dump", "{what}: 検証済みのダンプがありません"),
    "dump_old": (
        "{what}: the newest verified dump is {age} old, the objective is {goal}",
        "{what}: 最新の検証済みダンプは {age}前のものです (目標 {goal})",
    ),
    "dump_unreadable": ("entries that cannot be read: {what}", "読めない項目: {what}"),
    "copies_none": ("no copy is asked for", "コピーは求められていません"),
    "copy_ok": ("{name} is {age} behind (objective {goal})", "{name} の遅れ {age} (目標 {goal})"),
    "copy_behind": (
        "{name} is {age} behind, the objective is {goal}: dbkeeper copy",
        "{name} が {age}遅れています (目標 {goal}): dbkeeper copy",
    ),
    "copy_never": (
        "{name} has never been made: dbkeeper copy",
        "{name} は一度も作られていません: dbkeeper copy",
    ),
    "copy_left_out": (
        "{name} has none of {count} [count:dump, for it is|dumps, for they are] not sound: see dbkeeper "
        "info, and take [count:another|others]",
        "{name} には {count} 件のダンプが含まれていません (破損しています): dbkeeper info で確認し、取り直してください",
    ),
    "copy_failing": ("{name} fails: {why}", "{name} が失敗しています: {why}"),
    "verify_bad": ("found damaged: {what}", "破損が見つかりました: {what}"),
    "verify_never": (
        "nothing has ever been verified, the objective is {goal}: dbkeeper verify",
        "一度も検証されていません (目標 {goal}): dbkeeper verify",
    ),
    "verify_early": ("not due yet, the objective is {goal}", "まだ期限前です (目標 {goal})"),
    "verify_old": (
        "last good {age} ago, the objective is {goal}: dbkeeper verify",
        "最後の成功は {age}前です (目標 {goal}): dbkeeper verify",
    ),
    "verify_ok": ("last good {age} ago, the objective is {goal}", "最後の成功は {age}前です (目標 {goal})"),
    "trial_none": ("no trial restore is asked for", "試験復元の目標は設定されていません"),
    "trial_never": (
        "none has ever been made, the objective is {goal}: dbkeeper verify --trial DATABASE",
        "一度も行われていません (目標 {goal}): dbkeeper verify --trial データベース名",
    ),
    "trial_old": (
        "last good {age} ago, the objective is {goal}: dbkeeper verify --trial DATABASE",
        "最後の成功は {age}前です (目標 {goal}): dbkeeper verify --trial データベース名",
    ),
    "trial_bad": ("the last one failed, {age} ago: {why}", "{age}前の試験復元が失敗しました: {why}"),
    "runs_ok": ("none has failed since it last worked", "最後の成功以降に失敗した処理はありません"),
    "runs_bad": (
        "{what} failed at {at} ({cause})",
        "{at} に {what} が失敗しました。{cause}",
    ),
    "stuck_none": ("nothing runs too long", "長く続いている処理はありません"),
    "stuck_still": (
        "{what} (pid {pid}) has shown no progress for {age}, {limit} is the limit",
        "{what} (pid {pid}) は {age}進んでいません (限度 {limit})",
    ),
    "stuck_long": (
        "{what} (pid {pid}) has run for {age}, {limit} is the limit",
        "{what} (pid {pid}) が {age}実行中です (限度 {limit})",
    ),
    "stuck_interrupted": (
        "{what} was interrupted: run the same command again",
        "{what} は中断されました。同じコマンドを再実行してください",
    ),
    "notify_none": ("nobody is to be told", "通知先はありません"),
    "notify_ok": ("everything was delivered", "すべて届いています"),
    "notify_waiting": (
        "{count} [count:message waits|messages wait] for {channels}: {why}",
        "{count} 件の通知が {channels} で待っています: {why}",
    ),
    "notify_broken": ("nobody can be told: {why}", "通知できません: {why}"),
    # -- who is told, and what ---------------------------------------------------------------------------
    "subject_failure": (
        "[dbkeeper] FAILED: {what} on {host} ({cluster})",
        "[dbkeeper] 異常: {what} ({host} / {cluster})",
    ),
    "subject_still": (
        "[dbkeeper] STILL FAILING: {what} on {host} ({cluster}), for {age}",
        "[dbkeeper] 異常継続中: {what} ({host} / {cluster})、{age}経過",
    ),
    "subject_recovery": (
        "[dbkeeper] works again: {what} on {host} ({cluster})",
        "[dbkeeper] 復旧: {what} ({host} / {cluster})",
    ),
    "subject_summary_good": (
        "[dbkeeper] all is well on {host} ({cluster}), {day}",
        "[dbkeeper] 正常: {host} / {cluster} ({day})",
    ),
    "subject_summary_bad": (
        "[dbkeeper] {count} [count:problem|problems] on {host} ({cluster}), {day}",
        "[dbkeeper] 問題 {count} 件: {host} / {cluster} ({day})",
    ),
    "subject_test": (
        "[dbkeeper] test of notification from {host} ({cluster})",
        "[dbkeeper] 通知の試験: {host} / {cluster}",
    ),
    "body_test": (
        "This is a test. Whoever reads it will be told when a backup fails.",
        "これは試験です。これが読めれば、バックアップの異常時に通知が届きます。",
    ),
    "result_running": ("running", "実行中"),
    "result_ok": ("ok", "成功"),
    "result_unchanged": ("unchanged", "変更なし"),
    "result_refused": ("refused", "拒否"),
    "result_failed": ("failed", "失敗"),
    "result_interrupted": ("interrupted", "中断"),
    "history_none": ("no run is on record", "記録された実行はありません"),
    "history_usual": ("usual  {what}: {usual}; newest: {newest}", "通常  {what}: {usual}。最新: {newest}"),
    "history_duration": ("duration × {factor}", "実行時間 × {factor}"),
    "history_size": ("size × {factor}", "サイズ × {factor}"),
    "sent": ("sent", "送信しました"),
    "sent_waiting": ("{count} wait", "{count} 件が待機中"),
    "summary_sent": ("sent", "送信しました"),
    "summary_before": ("there was one at {at}", "{at} に送信済みです"),
    "standing_open": ("open since {since}: {what} ({code})", "{since} から継続中: {what} ({code})"),
    "standing_waits": ("waits: {kind} {what} for {channels}", "待機中: {kind} {what} → {channels}"),
    "standing_none": ("nothing is open, nothing waits", "継続中の問題も、待機中の通知もありません"),
    "kind_failure": ("failure", "異常"),
    "kind_still": ("still failing", "異常継続"),
    "kind_recovery": ("recovery", "復旧"),
    "kind_summary": ("summary", "日次まとめ"),
    "kind_test": ("test", "試験"),
    "operation_timeline": ("switch of timeline", "タイムラインの切り替え"),
    "operation_backup": ("base backup", "ベースバックアップ"),
    "operation_dump": ("logical dump", "論理ダンプ"),
    "operation_load": ("loading a dump", "ダンプのロード"),
    "operation_copy": ("copy", "コピー"),
    "operation_verify": ("verification", "検証"),
    "operation_trial": ("trial restore", "試験復元"),
    "operation_expire": ("expiry", "期限切れ処理"),
    "operation_restore": ("restore", "復元"),
    "operation_undo": ("undo of a restore", "復元の取り消し"),
    "operation_check": ("check", "点検"),
    "operation_archive-push": ("archiving of WAL", "WAL のアーカイブ"),
    "operation_notify": ("notification", "通知"),
    "label_cluster": ("Cluster", "クラスタ"),
    "label_host": ("Host", "ホスト"),
    "label_at": ("At", "日時"),
    "label_since": ("Since", "発生"),
    "label_lasted": ("Lasted", "継続時間"),
    "label_count": ("Seen", "検出回数"),
    "label_code": ("Error", "エラー"),
    "label_attempted": ("Attempted", "行おうとしたこと"),
    "label_happened": ("Happened", "起きたこと"),
    "label_remedy": ("Remedy", "対処"),
    "label_details": ("In the words of the program", "プログラムの出力"),
    "label_problems": ("Problems", "問題"),
    "label_warnings": ("Warnings", "警告"),
    "label_runs": ("Runs of the last 24 hours", "過去 24 時間の実行"),
    "label_backup": ("Newest backup", "最新のバックアップ"),
    "label_window": ("Can be restored", "復元できる範囲"),
    "label_space": ("Repository", "リポジトリ"),
    "line_run": ("{what}: {ok} good, {bad} failed", "{what}: 成功 {ok} 回、失敗 {bad} 回"),
    "line_none": ("none", "なし"),
    "times": ("{count} [count:time|times]", "{count} 回"),
    "line_again": (
        "The same problem is told again once a day at most, and its end at once.",
        "同じ問題の通知は 1 日 1 回までです。解消した場合はすぐに通知します。",
    ),
    "line_look": (
        "To see how things stand: dbkeeper check --cluster {cluster}",
        "現在の状態の確認: dbkeeper check --cluster {cluster}",
    ),
}


def say(name: str, language: str, /, **values: Any) -> str:
    """One text."""
    return fill(WORDS[name], language, values)


def title_of(check: str, language: str) -> str:
    """What a check is called; by its own name where nobody has thought of another."""
    name = f"check_{check}"
    return say(name, language) if name in WORDS else check


def operation_name(operation: str, language: str) -> str:
    """What a command does, in words."""
    name = f"operation_{operation}"
    return say(name, language) if name in WORDS else operation
