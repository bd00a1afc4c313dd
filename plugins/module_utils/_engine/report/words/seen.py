# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Why something was not seen, and what to do about it, in both languages."""

from __future__ import annotations

from typing import Any

#: Reason -> ((why, remedy) in English, (why, remedy) in Japanese).
REASONS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "locked": (
        (
            "it is locked by another session",
            "Run the report again when the DDL that holds the lock has ended.",
        ),
        (
            "別のセッションがロックを保持しています",
            "ロックを保持している DDL の完了後に、もう一度実行してください。",
        ),
    ),
    "timeout": (
        ("it took longer than the statement timeout", "Run it at a quieter hour, or on a standby."),
        (
            "文のタイムアウトまでに終わりませんでした",
            "負荷の低い時間帯に、またはスタンバイで実行してください。",
        ),
    ),
    "budget": (
        ("the time budget was used up", "Raise the option time_budget, or name fewer databases."),
        ("時間の上限に達しました", "time_budget を大きくするか、対象のデータベースを減らしてください。"),
    ),
    "denied": (
        (
            "the role may not see it",
            "Grant pg_monitor to the role, and CONNECT on the database: GRANT pg_monitor TO <role>.",
        ),
        (
            "ロールに参照権限がありません",
            "ロールに pg_monitor とデータベースの CONNECT 権限を付与してください (GRANT pg_monitor TO <ロール>)。",
        ),
    ),
    "refused": (
        ("the database does not let us in", "See pg_hba.conf, datallowconn and the options login_*."),
        ("データベースに接続できません", "pg_hba.conf、datallowconn、login_* オプションを確認してください。"),
    ),
    "conflict": (
        (
            "recovery on the standby cancelled it",
            "Run it again; if it comes often, raise max_standby_streaming_delay or ask the primary.",
        ),
        (
            "スタンバイのリカバリと競合し、取り消されました",
            "再実行してください。頻発する場合は max_standby_streaming_delay を大きくするか、"
            "プライマリで実行してください。",
        ),
    ),
    "absent": (
        ("it is not installed here, or not loaded", "Install the extension, and preload its library."),
        (
            "インストールされていないか、ロードされていません",
            "拡張をインストールし、ライブラリを shared_preload_libraries に加えてください。",
        ),
    ),
    "gone": (
        ("there is no such database", "See the option databases."),
        ("そのデータベースは存在しません", "databases オプションを確認してください。"),
    ),
    "full": (
        (
            "the server has no connection left",
            "See the finding on connections; free some, or raise reserved ones.",
        ),
        (
            "接続数の上限に達しています",
            "接続数に関する検出結果を参照し、不要な接続を終了するか、予約接続を増やしてください。",
        ),
    ),
    "error": (
        ("the server answered with an error", "Read the server's words in the detail."),
        ("サーバーがエラーを返しました", "detail にあるサーバーのメッセージを確認してください。"),
    ),
    "unavailable": (
        ("this host does not tell it", "See the detail."),
        ("このホストからは取得できません", "detail を確認してください。"),
    ),
    "standby": (
        ("a standby does not know it", "Run the report on the primary, too."),
        ("スタンバイでは取得できません", "プライマリでも実行してください。"),
    ),
    "damaged": (
        (
            "the stored baseline could not be read and was begun anew",
            "Nothing is to be done; the unreadable file is kept beside it with the suffix .damaged.",
        ),
        (
            "保存済みのベースラインを読み取れないため、新しく作り直しました",
            "対処は不要です。読み取れなかったファイルは、末尾に .damaged を付けて残してあります。",
        ),
    ),
    "not-stored": (
        (
            "the baseline could not be stored, the next run will know nothing of this one",
            "Let the user that runs the module write below state_directory.",
        ),
        (
            "ベースラインを保存できないため、次回の実行で今回との比較ができません",
            "実行ユーザーが state_directory に書き込めるようにしてください。",
        ),
    ),
}


def unseen(what: str, reason: str, detail: str = "") -> dict[str, Any]:
    """One entry of ``not_seen``: what, why and remedy in English, and the same in Japanese with ``_ja``."""
    (why, remedy), (why_ja, remedy_ja) = REASONS[reason]
    return {
        "what": what,
        "reason": reason,
        "why": f"{why}: {detail}" if detail else why,
        "why_ja": f"{why_ja}: {detail}" if detail else why_ja,
        "remedy": remedy,
        "remedy_ja": remedy_ja,
    }
