# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a person reads of copies, in English and Japanese."""

from __future__ import annotations

from typing import Any

from ..core.error_words import cause, japanese_of
from ..core.sayings import JAPANESE
from ..core.sizes import format_bytes

_WORDS = {
    "none": ("Nothing to do: the places are ready.", "処理はありません: コピー先は準備済みです。"),
    "prepared": ("{name}: ready", "{name}: 準備完了"),
    "sent": (
        "{name} → {to}: {objects} objects sent ({bytes}), verified: {checked}",
        "{name} → {to}: {objects} 個を送信 ({bytes})、検証: {checked}",
    ),
    "plan": (
        "{name} → {to}: {objects} objects would be sent ({bytes})",
        "{name} → {to}: {objects} 個を送信予定 ({bytes})",
    ),
    "same": ("{name} → {to}: has everything", "{name} → {to}: すべて揃っています"),
    "adopted": (
        "  {count} objects were there already, with the right digest",
        "  {count} 個は正しいダイジェストで既に存在",
    ),
    "group": ("  {group}", "  {group}"),
    "expired": (
        "  removed there: {groups} backups and dumps, {wal} WAL files ({bytes})",
        "  コピー先から削除: バックアップとダンプ {groups} 個、WAL {wal} 個 ({bytes})",
    ),
    "failed": ("{name} → {to}: FAILED, {why}", "{name} → {to}: 失敗: {why}"),
    "remedy": ("  {remedy}", "  {remedy}"),
    "more": ("  and {count} more failures (--json lists them)", "  ほかに {count} 件の失敗 (--json で一覧)"),
    "read-back": ("read back", "読み戻し"),
    "store": ("the store's checksum", "ストレージのチェックサム"),
    "door": ("the door's digest", "受付側のダイジェスト"),
    "back": (
        "{objects} objects brought back into {directory} ({bytes}), {present} were there already",
        "{directory} に {objects} 個を取り戻しました ({bytes})。{present} 個は既に存在",
    ),
    "back-plan": (
        "{objects} objects would be brought back into {directory} ({bytes})",
        "{directory} に {objects} 個を取り戻す予定 ({bytes})",
    ),
    "next": (
        "Next: dbkeeper plan --repository {directory} --target-time … (or with that directory as the repository)",
        "次: dbkeeper plan --repository {directory} --target-time … (またはそのディレクトリをリポジトリとして設定)",
    ),
    "copy": ("{name} → {to}: {bytes}", "{name} → {to}: {bytes}"),
    "backup": ("  {label}  ended {stopped_at}  {bytes}", "  {label}  終了 {stopped_at}  {bytes}"),
    "dump": ("  {name}  {bytes}", "  {name}  {bytes}"),
    "wal": ("  {archive}  {first} … {last}, {files} files", "  {archive}  {first} … {last}、{files} 個"),
    "nothing": ("nothing was sent", "送信なし"),
}


def word(key: str, language: str, **values: Any) -> str:
    """A line."""
    return _WORDS[key][language == "ja"].format(**values)


def prepared(result: dict[str, Any], language: str) -> list[str]:
    """Of ``--prepare``."""
    lines = [word("prepared", language, name=name) for name in result["prepared"]]
    return lines or [word("none", language)]


def copied(result: dict[str, Any], language: str) -> list[str]:
    """Of a run."""
    lines: list[str] = []
    for name, one in result["copies"].items():
        lines += _one(name, one, language)
    return lines


def _one(name: str, one: dict[str, Any], language: str) -> list[str]:
    lines = []
    place = {"name": name, "to": one["to"]}
    sent = one["sent"]
    if sent and (sent["objects"] or sent["adopted"]):
        checked = ", ".join(word(how, language) for how in sorted(sent["checked"]))
        lines.append(
            word(
                "sent",
                language,
                **place,
                objects=sent["objects"],
                bytes=format_bytes(sent["bytes"]),
                checked=checked or word("nothing", language),
            )
        )
        if sent["adopted"]:
            lines.append(word("adopted", language, count=sent["adopted"]))
        lines += [word("group", language, group=group) for group in sent["groups"]]
    elif one["plan"] and not sent and one["changed"]:
        plan = one["plan"]
        lines.append(
            word("plan", language, **place, objects=plan["send"], bytes=format_bytes(plan["send_bytes"]))
        )
        lines += [word("group", language, group=group) for group in plan["groups"]]
    elif not one["error"] and not one["failures"]:
        lines.append(word("same", language, **place))
    expired = one["expired"]
    if expired and expired["changed"]:
        lines.append(
            word(
                "expired",
                language,
                groups=len(expired["groups"]),
                wal=expired["wal"],
                bytes=format_bytes(expired["freed_bytes"]),
            )
        )
    errors = [one["error"]] if one["error"] else one["failures"]
    if errors:
        why = cause(errors[0], remedy=False).within(language)
        lines.append(word("failed", language, **place, why=why))
        remedies = japanese_of(errors[0]["code"])[1] if language == JAPANESE else [errors[0]["remedy"]]
        lines += [word("remedy", language, remedy=one) for one in remedies]
        if len(errors) > 1:
            lines.append(word("more", language, count=len(errors) - 1))
    return lines


def brought_back(result: dict[str, Any], language: str) -> list[str]:
    """Of ``--back``."""
    done, plan = result["fetched"], result["plan"]
    directory = result["directory"]
    if not done:
        size = format_bytes(plan["bytes"])
        return [word("back-plan", language, directory=directory, objects=plan["objects"], bytes=size)]
    values = {"objects": done["objects"], "bytes": format_bytes(done["bytes"]), "present": done["present"]}
    lines = [word("back", language, directory=directory, **values)]
    lines += [word("group", language, group=f"base/{label}") for label in done["backups"]]
    return [*lines, word("next", language, directory=directory)]


def listed(result: dict[str, Any], language: str) -> list[str]:
    """Of ``--list``."""
    lines: list[str] = []
    for name, one in result["copies"].items():
        place = {"name": name, "to": one["to"]}
        if "error" in one:
            error = one["error"]
            why = cause(error, remedy=False).within(language)
            lines.append(word("failed", language, **place, why=why))
            continue
        if "bytes" in one:
            lines.append(word("copy", language, **place, bytes=format_bytes(one["bytes"])))
        for backup in one.get("backups", ()):
            lines.append(word("backup", language, **backup, bytes=format_bytes(backup["stored_bytes"])))
        for dump in one.get("dumps", ()):
            lines.append(word("dump", language, name=dump["key"], bytes=format_bytes(dump["stored_bytes"])))
        lines += [word("wal", language, **wal) for wal in one.get("wal", ())]
    return lines
