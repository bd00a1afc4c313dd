# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""An expiry in words, in English and Japanese. One table, so that a missing translation is seen at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.sizes import format_bytes

_WORDS: dict[str, tuple[str, str]] = {
    "count": ("one of the newest full backups", "最新の保持世代に含まれる"),
    "window": ("within the window", "保持期間内"),
    "anchor": ("the window begins in it", "保持期間の始点を復元するために必要"),
    "few": ("there are fewer backups than are to be kept", "保持世代数に達していない"),
    "chain": ("{by} is built on it", "{by} の基になっている"),
    "pinned": ("pinned", "固定 (pin) されている"),
    "leased": ("in use: {by}", "使用中: {by}"),
    "leased_by_some": ("in use", "使用中"),
    "lease-unread": (
        "a lease cannot be read, and it may need it: dbkeeper check says which",
        "読めないリースが必要とする可能性がある (dbkeeper check で確認)",
    ),
    "running": ("still being taken", "取得中"),
    "held": (
        "its archive cannot be judged",
        "アーカイブを判定できない",
    ),
    "backup": ("a kept backup needs it to become consistent", "保持するバックアップの整合に必要"),
    "damaged": (
        "an entry of the catalog cannot be read, and it may need it",
        "読めないカタログ項目が必要とする可能性がある",
    ),
    "no-backup": ("there is no verified backup to count from", "起点となる検証済みバックアップがない"),
    "outside": ("older than what is to be kept", "保持対象より古い"),
    "newest": ("one of the newest", "最新のものとして保持"),
    "age": ("young enough", "保持期間内"),
    "daily": ("the newest of its day", "日次の世代"),
    "weekly": ("the newest of its week", "週次の世代"),
    "monthly": ("the newest of its month", "月次の世代"),
    "yearly": ("the newest of its year", "年次の世代"),
    "no-policy": ("nobody has said which dumps are to be kept", "ダンプの保持方針が指定されていない"),
    "record": ("no good one has followed it yet", "正常なものがまだ続いていない"),
    "unsound": (
        "its files were found damaged, and a good one has followed",
        "破損が見つかり、後続の正常なものがある",
    ),
    "failed": ("it never was finished, and is older than what is to be kept", "未完了のまま保持対象より古い"),
    "unfinished": ("an earlier expiry began with it", "以前の期限切れ処理が途中で終わっている"),
    "keep": ("keep", "保持"),
    "expire": ("expire", "削除"),
    "nothing": ("nothing to do: all of it is to be kept", "実行不要: すべて保持対象です"),
    "would": ("would free {size}", "削除すると {size} 空きます"),
    "did": (
        "deleted {backups} backups, {dumps} dumps and {segments} WAL files: {size} freed",
        "バックアップ {backups} 個、ダンプ {dumps} 個、WAL ファイル {segments} 個を削除し、{size} 空きました",
    ),
    "since": (
        "every moment since {since} stays restorable",
        "{since} 以降のすべての時点を復元できます",
    ),
    "since_wal": (
        "every moment since {since} stays restorable; older backups as they ended",
        "{since} 以降のすべての時点を復元できます。それより古いバックアップは取得完了時点のみ復元できます",
    ),
    "all": (
        "every moment since the oldest backup stays restorable",
        "最も古いバックアップ以降のすべての時点を復元できます",
    ),
    "given_up": (
        "timeline {timeline} was given up by the undo of {at}: what is within the window stays",
        "タイムライン {timeline} は {at} の取り消し (undo) で破棄されました。保持期間内のものは残ります",
    ),
    "segments": ("{segments} segments, {size}", "{segments} 個、{size}"),
    "spared": ("spared, as somebody began to use it: {label}", "使用が始まったため残しました: {label}"),
    "error": (
        "the archive of system {system} cannot be judged: {text}",
        "システム {system} のアーカイブを判定できません: {text}",
    ),
    "pin": (
        "backup {label} is pinned: it stays until it is unpinned",
        "バックアップ {label} を固定しました。解除 (unpin) するまで残ります",
    ),
    "oldest": ("can be restored from {oldest} on", "復元できる最も古い時点: {oldest}"),
    "last": ("last expiry: {at}", "前回の期限切れ処理: {at}"),
    "blocked": ("kept beyond the policy: {what} ({why})", "保持方針を超えて残っているもの: {what} ({why})"),
    "lease": ("in use by {purpose}, lease {id}", "{purpose} が使用中 (リース {id})"),
    "unpin": ("backup {label} is not pinned", "バックアップ {label} の固定を解除しました"),
}


def word(name: str, language: str, **values: Any) -> str:
    """One text."""
    return _WORDS[name][1 if language == "ja" else 0].format(**values)


def why(name: str, by: list[str], language: str) -> str:
    """Why something stays or goes."""
    return word("leased_by_some" if name == "leased" and not by else name, language, by=", ".join(by))


def lines(result: Mapping[str, Any], language: str) -> list[str]:
    """What an expiry did, or would do, object by object."""
    plan, deleted = result["plan"], result["deleted"]
    found = [_promise(plan, language)] if plan["policy"] else []
    for one in plan["backups"]:
        size = format_bytes(one["stored_bytes"])
        reason = why(one["why"], one["by"], language)
        found.append(f"  {word(one['action'], language)}  {one['label']}  {size}  ({reason})")
    for one in plan["dumps"]:
        size = format_bytes(one["stored_bytes"])
        reason = why(one["why"], one["by"], language)
        found.append(f"  {word(one['action'], language)}  {one['key']}  {size}  ({reason})")
    for one in plan["damaged_dumps"]:
        found.append(f"  {word('keep', language)}  {one['key']}  ({one['error']['happened']})")
    for one in plan["wal"]:
        amount = word("segments", language, segments=one["segments"], size=format_bytes(one["stored_bytes"]))
        reason = why(one["why"], [], language)
        found.append(
            f"  {word(one['action'], language)}  {one['first']} … {one['last']}  {amount}  ({reason})"
        )
    for one in plan["given_up"]:
        found.append(word("given_up", language, timeline=one["timeline"], at=one["at"]))
    for one in plan["held"]:
        found.append(word("error", language, system=one["system_id"], text=one["error"]["happened"]))
    found += [word("spared", language, label=label) for label in deleted.get("spared", [])]
    if not result["changed"]:
        found.append(word("nothing", language))
    elif not result["executed"]:
        found.append(word("would", language, size=format_bytes(plan["freed_bytes"])))
    else:
        size = format_bytes(deleted["freed_bytes"])
        backups, segments = len(deleted["backups"]), deleted["segments"]
        dumps = len(deleted["dumps"])
        found.append(word("did", language, backups=backups, dumps=dumps, segments=segments, size=size))
    return found


def _promise(plan: Mapping[str, Any], language: str) -> str:
    if plan["wal_since"] is None:
        return word("all", language)
    if plan["wal_since"] != plan["since"]:
        return word("since_wal", language, since=plan["wal_since"])
    return word("since", language, since=plan["since"])
