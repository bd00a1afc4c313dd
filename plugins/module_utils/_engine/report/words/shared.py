# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Why something was not seen, whatever it was, and what to do about it; in both languages."""

from __future__ import annotations

from .entry import Blind, Pair

NOT_SEEN: dict[str, Blind] = {
    "locked": Blind(
        Pair(
            "another session holds or awaits an exclusive lock on it",
            "別のセッションが排他ロックを保持または待機しています",
        ),
        Pair(
            "Nothing: the next run sees it. If it stays, see who holds the lock (pg_locks).",
            "対応は不要です。次回の実行で確認されます。続く場合は pg_locks でロックの保持者を確認してください。",
        ),
    ),
    "timeout": Blind(
        Pair(
            "it took longer than a statement of the report may take",
            "レポートの文に許された時間を超えました",
        ),
        Pair(
            "Run it at a quieter hour, or on a standby.",
            "負荷の低い時間帯に、またはスタンバイで実行してください。",
        ),
    ),
    "budget": Blind(
        Pair("the time of the report was used up", "レポートの制限時間に達しました"),
        Pair(
            "Raise the option time_budget, or name fewer databases.",
            "time_budget を大きくするか、対象のデータベースを減らしてください。",
        ),
    ),
    "denied": Blind(
        Pair("the role may not see it: {detail}", "ロールに参照権限がありません: {detail}"),
        Pair(
            "Grant the role pg_monitor, and CONNECT on the database.",
            "ロールに pg_monitor と、データベースへの CONNECT 権限を付与してください。",
        ),
    ),
    "refused": Blind(
        Pair("the database does not let us in: {detail}", "データベースに接続できません: {detail}"),
        Pair(
            "See pg_hba.conf, ALLOW_CONNECTIONS and CONNECTION LIMIT of the database, and the options login_*.",
            "pg_hba.conf、データベースの ALLOW_CONNECTIONS と CONNECTION LIMIT、login_* オプションを確認してください。",
        ),
    ),
    "conflict": Blind(
        Pair("recovery on the standby cancelled it", "スタンバイのリカバリと競合し、取り消されました"),
        Pair(
            "Run it again; if it comes often, raise max_standby_streaming_delay, or ask the primary.",
            "再実行してください。頻発する場合は max_standby_streaming_delay を大きくするか、"
            "プライマリーで実行してください。",
        ),
    ),
    "absent": Blind(
        Pair("it is not there, or not loaded: {detail}", "存在しないか、ロードされていません: {detail}"),
        Pair(
            "Create the extension (CREATE EXTENSION; the module pg_extension), and preload its library "
            "where it needs that.",
            "拡張を作成し (CREATE EXTENSION、モジュール pg_extension)、"
            "必要であればライブラリを shared_preload_libraries に加えてください。",
        ),
    ),
    "gone": Blind(
        Pair("there is no such database", "そのデータベースは存在しません"),
        Pair("See the option databases.", "databases オプションを確認してください。"),
    ),
    "full": Blind(
        Pair("the server has no connection left", "接続数の上限に達しています"),
        Pair(
            "See the finding on connections, and end sessions that are not needed.",
            "接続数に関する指摘を参照し、不要なセッションを終了してください。",
        ),
    ),
    "lost": Blind(
        Pair("the connection was lost: {detail}", "接続が切れました: {detail}"),
        Pair(
            "See the server's log for why it ended the session, and run the report again.",
            "セッションが終了した理由をサーバログで確認し、再実行してください。",
        ),
    ),
    "error": Blind(
        Pair("the server answered: {detail}", "サーバの応答: {detail}"),
        Pair(
            "Read the server's words; its log may say more.",
            "サーバのメッセージとログを確認してください。",
        ),
    ),
    "unavailable": Blind(
        Pair("it cannot be had here: {detail}", "ここからは取得できません: {detail}"),
        Pair("Do what the reason says.", "理由に従って対処してください。"),
    ),
    "standby": Blind(
        Pair("a standby does not know it", "スタンバイではわかりません"),
        Pair("Run the report on the primary, too.", "プライマリーでも実行してください。"),
    ),
    "baseline-damaged": Blind(
        Pair(
            "what earlier runs knew could not be read and was begun anew: {detail}",
            "これまでの実行の記録を読み取れないため、新しく作り直しました: {detail}",
        ),
        Pair(
            "Nothing; the unreadable file stays beside the new one, its name ends in .damaged.",
            "対応は不要です。読み取れなかったファイルは、末尾に .damaged を付けて残してあります。",
        ),
    ),
    "baseline-not-stored": Blind(
        Pair(
            "it could not be stored, so the next run knows nothing of this one: {detail}",
            "保存できないため、次回の実行では今回と比較できません: {detail}",
        ),
        Pair(
            "Let the user that runs the module write below state_directory.",
            "実行するユーザーが state_directory に書き込めるようにしてください。",
        ),
    ),
}
