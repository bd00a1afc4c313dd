# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a load did, for people, in English and Japanese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.sizes import format_duration

_WORDS = {
    "nothing": ("nothing to do: {reason}", "何もしません: このダンプは適用済みです ({target})"),
    "would": (
        "would load {dump} into database {target}:",
        "{dump} をデータベース {target} に適用する予定です:",
    ),
    "done": ("{dump} is loaded into database {target}", "{dump} をデータベース {target} に適用しました"),
    "digest": (
        "rows proven: {rows} in {tables} tables are those that were dumped, by number and digest",
        "行の照合: {tables} 表の {rows} 行が、行数と内容 (ダイジェスト) ともダンプの記録と一致しました",
    ),
    "count": (
        "numbers of rows proven: {rows} in {tables} tables; their contents were not digested",
        "行数の照合: {tables} 表の {rows} 行がダンプの記録と一致しました (内容のダイジェストは照合していません)",
    ),
    "unproven": (
        "rows NOT proven: nothing to hold them against, or not asked for",
        "行は照合していません (記録がないか、照合しない指定です)",
    ),
    "kept": (
        "the old database is kept as {kept}; back: dbkeeper load --undo --into {target} --confirm {target}",
        "元のデータベースは {kept} として残しました。戻すには: dbkeeper load --undo --into {target} --confirm {target}",
    ),
    "downtime": (
        "closed for {seconds}, {count} connections were ended",
        "接続できなかった時間は {seconds}、切断した接続は {count} 件です",
    ),
    "roles": ("roles made: {roles}", "作成したロール: {roles}"),
    "accepted": ("accepted errors: {count}", "許容したエラー: {count} 件"),
    "deadlocks": (
        "filled anew by one process: those of pg_restore had locked each other out (a deadlock)",
        "1 つのプロセスで最初からやり直しました: pg_restore のプロセスが互いにロックを待ち合いました (デッドロック)",
    ),
    "abandoned": (
        "{verb}the half-done load of {target} is given up",
        "{verb}{target} への途中の適用を取り消しました",
    ),
    "finished": (
        "the load of {target} had come to its end, and is finished; to undo it, name the database: --confirm {target}",
        "{target} への適用は終わっていたため完了とします。元に戻すには --confirm {target} を指定してください",
    ),
    "undone": (
        "{verb}database {target} has its old content back; what was loaded is kept as {aside}",
        "{verb}データベース {target} を元に戻しました。適用した内容は {aside} として残しました",
    ),
    "undone-before": (
        "nothing to do: database {target} has its old content back already; what was loaded is kept as {aside}",
        "何もしません: データベース {target} は既に元に戻っています。適用した内容は {aside} として残っています",
    ),
    "would-be": ("in check mode, not done: ", "確認のみ (未実行): "),
}


def word(key: str, language: str, **values: object) -> str:
    """One line."""
    return _WORDS[key][1 if language == "ja" else 0].format(**values)


def load_lines(result: Mapping[str, Any], language: str) -> list[str]:
    """What a load did, or would do."""
    plan, done = result["plan"], result["load"]
    about = {"dump": plan["dump"], "target": plan["target"], "reason": plan["reason"]}
    if not result["changed"]:
        return [word("nothing", language, **about)]
    if not result["executed"]:
        return [word("would", language, **about), *(f"  {step}" for step in plan["steps"])]
    lines = [word("done", language, **about)]
    if done.get("proven"):
        lines.append("  " + word(done["proof"], language, rows=done["rows"], tables=len(plan["tables"])))
    else:
        lines.append("  " + word("unproven", language))
    if done.get("roles"):
        lines.append("  " + word("roles", language, roles=", ".join(done["roles"])))
    if done.get("accepted_errors"):
        lines.append("  " + word("accepted", language, count=len(done["accepted_errors"])))
    if done.get("deadlocks"):
        lines.append("  " + word("deadlocks", language))
    if done.get("kept"):
        lines.append("  " + word("kept", language, kept=done["kept"], target=plan["target"]))
        seconds = format_duration(done.get("downtime_seconds", 0.0))
        lines.append("  " + word("downtime", language, seconds=seconds, count=done["connections_ended"]))
    return lines


def undo_lines(result: Mapping[str, Any], language: str) -> list[str]:
    """What an undo did, or would do."""
    plan = result["plan"]
    verb = "" if result["executed"] else word("would-be", language)
    if not result["changed"]:
        return [word("undone-before", language, target=plan["target"], aside=plan["put_aside"])]
    key = {"abandon": "abandoned", "finish": "finished"}.get(plan["action"], "undone")
    return [word(key, language, verb=verb, target=plan["target"], aside=plan["put_aside"])]
