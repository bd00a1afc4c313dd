# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Faults D: what happens on the way."""

from __future__ import annotations

from .fault import Fault, Words

_AGAIN: Words = (
    "Run the same command again: it continues.",
    "同じコマンドを再実行してください (続きから再開)。",
)

FAULTS: tuple[Fault, ...] = (
    Fault(
        "D01",
        "handled",
        (),
        title=("Killed while the backup is copied", "展開中の強制終了"),
        cause=("Half a cluster lies in the staging directory.", "展開先に不完全なクラスタが残ります。"),
        answer=(
            "`pg_control` gets its name last, so that no server starts; the next run removes our staging only, and "
            "begins it anew.",
            "`pg_control` は最後に命名するため、サーバは起動しません。次の実行で展開先だけを削除し、展開し直します。",
        ),
        remedy=_AGAIN,
    ),
    Fault(
        "D02",
        "handled",
        ("staged-server-stuck",),
        title=("Killed during replay", "再生中の強制終了"),
        cause=(
            "The command or the staged server ended before the target.",
            "目標に達する前にコマンドまたは展開先のサーバが終了しました。",
        ),
        answer=(
            "The next run ends a server that was left behind, and goes on with the same plan; a promotion cut short is "
            "staged again.",
            "次の実行で残ったサーバを終了し、同じ計画を続けます。途中で切れた昇格は展開し直します。",
        ),
        remedy=_AGAIN,
    ),
    Fault(
        "D03",
        "handled",
        ("plan-unreadable", "file-not-planned", "archive-get-failed"),
        title=("restore_command fails", "restore_command の失敗"),
        cause=(
            "PostgreSQL takes 1 to 125 for the end of the archive, and promotes.",
            "PostgreSQL は 1〜125 をアーカイブの末尾とみなし、昇格します。",
        ),
        answer=(
            "`archive-get` answers 1 only where the plan proves the end, 255 for everything else; the cause is told, "
            "nothing is swapped.",
            "`archive-get` は計画で末尾と証明できる場合のみ 1、それ以外は 255 を返します。原因を示し、"
            "切り替えは行いません。",
        ),
        remedy=(
            "Run `dbkeeper plan`: it names the last commit that can still be reached.",
            "`dbkeeper plan` を実行してください。到達可能な最後のコミットを示します。",
        ),
    ),
    Fault(
        "D04",
        "stopped",
        ("archive-get-failed", "replay-server-died"),
        title=("restore_command killed by a signal", "シグナルによる restore_command の終了"),
        cause=(
            "Somebody ended it, or the host shuts down. After SIGTERM PostgreSQL ends with status 1 and without a "
            "FATAL line, after other signals with one (seen on 15).",
            "誰かが終了させたか、ホストが停止中です。SIGTERM の場合 PostgreSQL は FATAL 行なしにステータス 1 で、"
            "他のシグナルでは FATAL 行とともに終了します (15 で確認)。",
        ),
        answer=(
            "A signal is answered with 255; that the staged server ended is reported with its last words.",
            "シグナルには 255 を返し、展開先のサーバの終了を最後の出力とともに報告します。",
        ),
        remedy=_AGAIN,
    ),
    Fault(
        "D05",
        "stopped",
        ("segment-changed", "archive-changed", "history-changed", "segment-missing", "history-missing"),
        title=("Archive changes while it is restored from", "復旧中のアーカイブの変化"),
        cause=(
            "A segment or a history was replaced or removed after the plan.",
            "計画後にセグメントや履歴が置換または削除されました。",
        ),
        answer=(
            "Backup and WAL are leased until the restore is done or given up, and expiry respects that; every segment "
            "and history must have the bytes that were proven. The same WAL packed otherwise than it was is not "
            "believed either, where the proof knew it by its packed bytes: a new plan reads it again.",
            "復旧の完了または中止までバックアップと WAL をリースで保護し、期限切れ削除はそれに従います。"
            "すべてのセグメントと履歴を証明時の内容と照合します。圧縮後のバイトで照合するセグメントは、"
            "同じ WAL でも圧縮し直されていれば受け付けません。新しい計画が読み直します。",
        ),
        remedy=(
            "Bring the proven file back, or plan again.",
            "証明時のファイルを戻すか、計画し直してください。",
        ),
    ),
    Fault(
        "D06",
        "handled",
        ("replay-server-died",),
        title=("Pause at the target without hot standby", "ホットスタンバイなしの一時停止"),
        cause=(
            "The server would shut down instead, with status 0 as if all were well (seen on 15).",
            "サーバは一時停止せずに、正常時と同じステータス 0 で終了します (15 で確認)。",
        ),
        answer=(
            "recovery_target_action is `promote`, whatever the backup's configuration says; nothing pauses. A staged "
            "server that ends before it is promoted is a failure.",
            "バックアップの設定にかかわらず recovery_target_action は `promote` で、一時停止しません。"
            "昇格前に終了した場合は失敗とします。",
        ),
    ),
    Fault(
        "D07",
        "handled",
        (),
        title=("Pause with hot standby never active", "ホットスタンバイが有効にならない一時停止"),
        cause=(
            "The server would promote instead, and say nothing of it (seen on 15 with an overflowed snapshot).",
            "サーバは一時停止せず、何も示さずに昇格します (15 でスナップショットの溢れにより確認)。",
        ),
        answer=(
            "As D06; where recovery stopped is read from the new timeline's history and held against the plan.",
            "D06 と同じです。停止位置は新しいタイムラインの履歴から読み、計画と照合します。",
        ),
    ),
    Fault(
        "D08",
        "handled",
        ("replay-server-died",),
        title=("Shutdown at the target", "目標での停止"),
        cause=(
            "The signal file stays, and the next start stops again.",
            "シグナルファイルが残り、次の起動でも停止します。",
        ),
        answer=(
            "recovery_target_action is `promote`; the server removes the signal itself.",
            "recovery_target_action は `promote` で、シグナルはサーバが削除します。",
        ),
    ),
    Fault(
        "D09",
        "stopped",
        ("replay-stalled",),
        title=("Recovery does not go on", "再生の停滞"),
        cause=(
            "A segment does not come, or the server hangs.",
            "セグメントが届かないか、サーバが応答しません。",
        ),
        answer=(
            "Judged by progress, not by the time it takes: `restore.stalled_after_seconds` (900) in which the server "
            "neither reads nor writes.",
            "所要時間ではなく進捗で判定します (サーバが読み書きしない状態が `restore.stalled_after_seconds` 秒、"
            "既定 900)。",
        ),
        remedy=(
            "Look at the staged server's log, then run the same command again.",
            "展開先のサーバのログを確認し、同じコマンドを再実行してください。",
        ),
    ),
    Fault(
        "D10",
        "stopped",
        ("disk-full", "staging-full", "segment-write-failed"),
        title=("Reboot or full disk in the middle", "途中での再起動、ディスク満杯"),
        cause=(
            "The host restarted, or the staging file system has no space.",
            "ホストが再起動したか、展開先のファイルシステムが満杯です。",
        ),
        answer=(
            "After a reboot the copy is staged again unless it was made durable already.",
            "再起動後は、永続化済みでなければ展開し直します。",
        ),
        remedy=(
            "Free space, then run the same command again.",
            "空き容量を確保し、同じコマンドを再実行してください。",
        ),
    ),
    Fault(
        "D11",
        "stopped",
        ("target-not-reached", "restored-copy-unfit"),
        title=("Promoted, but the copy is not what was planned", "昇格後の検査で計画と不一致"),
        cause=(
            "Recovery stopped elsewhere, or system, timeline or control data are not right.",
            "停止位置、システム、タイムライン、制御データのいずれかが計画と異なります。",
        ),
        answer=("Nothing is swapped, the copy is kept.", "切り替えは行わず、複製を残します。"),
        remedy=(
            "Keep a copy of the work directory with its server.log for inquiry, abandon the restore (`dbkeeper undo`), "
            "and plan again.",
            "調査のため作業ディレクトリと server.log を保存し、復旧を中止して (`dbkeeper undo`) 計画し直してください。",
        ),
    ),
    Fault(
        "D12",
        "handled",
        ("swap-blocked", "new-cluster-did-not-start", "kept-directory-missing", "live-wal-not-archived"),
        title=("Swap interrupted", "切り替えの中断"),
        cause=(
            "Killed between the two renames, or something lies where a directory is to go.",
            "二回の名前変更の間で終了したか、移動先に別のものがあります。",
        ),
        answer=(
            "Each step is in the journal: the same command finishes, `dbkeeper undo` goes back. A cluster that does "
            "not start is put back by itself; nothing is renamed onto anything. A server that somebody has started "
            "meanwhile is stopped again first; where `latest` was asked for, its new commits are not in the copy, and "
            "nothing is swapped.",
            "各手順を記録しているため、同じコマンドで完了、`dbkeeper undo` で取り消しができます。"
            "起動できない場合は自動的に元に戻し、既存のものへの上書きは行いません。その間に起動されたサーバは、"
            "先に再び停止します。`latest` の場合、新しいコミットは複製に含まれないため、切り替えは行いません。",
        ),
        remedy=(
            "Run the same command again, or `dbkeeper undo`.",
            "同じコマンドを再実行するか、`dbkeeper undo` を実行してください。",
        ),
    ),
    Fault(
        "D13",
        "handled",
        ("timeline-taken", "archive-conflict"),
        title=("New timeline's number used by another host", "新しいタイムライン番号の重複"),
        cause=(
            "PostgreSQL takes the first number of which its own view of the archive has no history: two recoveries at "
            "one time take the same, and one whose history was lost is taken again.",
            "PostgreSQL は、自身から見えるアーカイブに履歴がない最初の番号を選びます。同時に行う二つの復旧は同じ番号を"
            "選び、履歴を失った番号は再び使われます。",
        ),
        answer=(
            "A promotion gets a number above all that the repository knows by history, by WAL or by reservation, and "
            "it is reserved in that moment. Before the swap the archive is asked again; history files are never "
            "overwritten.",
            "昇格には、履歴・WAL・予約のいずれかでリポジトリが知るすべての番号より大きい番号を与え、"
            "その場で予約します。"
            "切り替え前にアーカイブを再確認し、履歴ファイルは上書きしません。",
        ),
        remedy=(
            "Find out which server was promoted beside the restore, and stop it archiving; then run the same command "
            "again.",
            "復旧とは別に昇格したサーバを確認してアーカイブを止め、同じコマンドを再実行してください。",
        ),
    ),
)
