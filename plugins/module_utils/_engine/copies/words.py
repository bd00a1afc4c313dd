# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a person reads of copies, in English and Japanese."""

from __future__ import annotations

from typing import Any

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
    "failed": ("{name} → {to}: FAILED, {code}: {happened}", "{name} → {to}: 失敗 {code}: {happened}"),
    "remedy": ("  {remedy}", "  {remedy}"),
    "more": ("  and {count} more failures (--json lists them)", "  ほかに {count} 件の失敗 (--json で一覧)"),
    "read-back": ("read back", "読み戻し"),
    "store": ("the store's checksum", "ストレージのチェックサム"),
    "door": ("the door's digest", "受付側のダイジェスト"),
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
        lines.append(
            word("failed", language, **place, code=errors[0]["code"], happened=errors[0]["happened"])
        )
        lines.append(word("remedy", language, remedy=errors[0]["remedy"]))
        if len(errors) > 1:
            lines.append(word("more", language, count=len(errors) - 1))
    return lines
