# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Results as plain text in English and Japanese, for those who did not ask for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.progress import describe
from ..core.sayings import span
from ..core.sizes import format_bytes

_WORDS = {
    "backup_none": ("nothing to do: {reason}", "処理はありません: 検証済みのバックアップ {label} があります"),
    "backup_there": ("a verified backup is there", "-"),
    "backup_plan": ("would take a base backup:", "ベースバックアップを取得する予定です:"),
    "backup_made": (
        "backup {label} is verified: {plain} in {stored}, WAL {start} … {stop}, {lasted}",
        "バックアップ {label} は検証済みです: {plain} を {stored} で保存、WAL {start} … {stop}、所要時間 {lasted}",
    ),
    "undo_none": (
        "nothing to do: the last restore was undone before",
        "処理はありません: 前回のリストアは取り消し済みです",
    ),
    "undo_aside": (
        "put aside: the restored data directory, as {path}",
        "リストアしたデータディレクトリを退避しました: {path}",
    ),
    "undo_aside_plan": (
        "would be put aside: the restored data directory, as {path}",
        "リストアしたデータディレクトリを退避する予定です: {path}",
    ),
    "undo_back": ("put back: {path}", "元に戻しました: {path}"),
    "undo_back_plan": ("would be put back: {path}", "元に戻す予定です: {path}"),
    "undo_removed": ("removed: {path}", "削除しました: {path}"),
    "undo_removed_plan": ("would be removed: {path}", "削除する予定です: {path}"),
    "undo_given_up": (
        "given up: timeline {timeline}; what is stored of it goes when the retention window has passed",
        "タイムライン {timeline} を破棄しました。保存済みの分は保持期間が過ぎると削除されます",
    ),
    "index_none": ("nothing is archived yet", "アーカイブはまだありません"),
    "index": ("system {system}: {facts}", "システム {system}: {facts}"),
    "indexed": ("indexed {value}", "索引に追加 {value}"),
    "removed": ("removed {value}", "索引から削除 {value}"),
    "segments": ("segments {value}", "セグメント {value}"),
    "faults": ("faults {value}", "問題 {value}"),
    "seconds": ("seconds {value}", "所要 {value} 秒"),
    "cluster": ("cluster {cluster}, repository {repository}", "クラスタ {cluster}、リポジトリ {repository}"),
    "backup": (
        "  backup {label}  {status}  {size}  ended {stopped}",
        "  バックアップ {label}  {status}  {size}  終了 {stopped}",
    ),
    "dump": ("  {name}  {status}  {size}  ended {stopped}", "  {name}  {status}  {size}  終了 {stopped}"),
    "dump_size": ("{size}, {rows} rows", "{size}、{rows} 行"),
    "dump_uncounted": ("{size}, rows not counted", "{size}、行数の記録なし"),
    "verified": ("verified", "検証済み"),
    "running": ("running", "実行中"),
    "failed": ("failed", "失敗"),
    "expired": ("expired", "期限切れ"),
    "damaged_dump": ("  DAMAGED ENTRY: {name}: {happened}", "  【記録の破損】{name}: {happened}"),
    "broken_chain": ("  BROKEN CHAIN: {label}: {text}", "  【増分の連鎖が不完全】{label}: {text}"),
    "unsound": (
        "  DAMAGED FILES: {label}: {text} (since {at})",
        "  【ファイルの破損】{label}: {text} ({at} から)",
    ),
    "page_faults": ("  DAMAGED PAGES: {label} has {faults}", "  【ページの破損】{label}: {faults}"),
    "window": ("  timeline {timeline}: {begin} … {until}", "  タイムライン {timeline}: {begin} … {until}"),
    "gap": ("  GAP: {item}", "  【WAL の欠落】{item}"),
    "conflict": (
        "  CONFLICT: {item} was archived before with other content",
        "  【内容の不一致】{item} は異なる内容で既にアーカイブされています",
    ),
    "unfinished": (
        "  UNFINISHED: {item}, used by a restore only with --use-partial",
        "  【書きかけ】{item}: リストアでは --use-partial を付けたときだけ使います",
    ),
    "leftover_unknown": (
        "  not looked for files that nobody uses: dbkeeper on the repository's host is too old to tell",
        "  使われていないファイルは調べていません (リポジトリのホストの dbkeeper が古いため)",
    ),
    "leftover": (
        "  LEFT OVER: {path}, {age} old, used by nobody",
        "  【残骸】{path}: {age}前のもので、どこからも使われていません",
    ),
}


def word(key: str, language: str, **values: Any) -> str:
    """A line, or a part of one."""
    return _WORDS[key][language == "ja"].format(**values)


def backup(result: Mapping[str, Any], language: str) -> list[str]:
    """What a backup did, or would do."""
    if not result["changed"]:
        reason = result["plan"].get("reason") or word("backup_there", "en")
        return [word("backup_none", language, reason=reason, label=result["backup"].get("label", ""))]
    if not result["executed"]:
        return [word("backup_plan", language), *(f"  {step}" for step in result["plan"].get("steps", []))]
    made = result["backup"]
    return [
        word(
            "backup_made",
            language,
            label=made["label"],
            plain=format_bytes(made["plain_bytes"]),
            stored=format_bytes(made["stored_bytes"]),
            start=made["start_lsn"],
            stop=made["stop_lsn"],
            lasted=span(sum(made["seconds"].values())).within(language),
        )
    ]


def undo(result: Mapping[str, Any], language: str) -> list[str]:
    """What an undo did, or would do."""
    if not result["changed"]:
        return [word("undo_none", language)]
    plan = result["plan"]
    which = "" if result["executed"] else "_plan"
    done = (
        ("undo_aside", plan["put_aside"]),
        ("undo_back", plan["put_back"]),
        ("undo_removed", plan["remove"]),
    )
    lines = [word(key + which, language, path=path) for key, path in done if path]
    if result["given_up"]:
        lines.append(word("undo_given_up", language, timeline=result["given_up"]["timeline"]))
    return lines


def index(result: Mapping[str, Any], language: str) -> list[str]:
    """How far the WAL index is."""
    lines = []
    for system, facts in result["archives"].items():
        told = [
            word(name, language, value=value) if name in _WORDS else f"{name} {value}"
            for name, value in sorted(facts.items())
        ]
        lines.append(
            word("index", language, system=system, facts=("、" if language == "ja" else ", ").join(told))
        )
    return lines or [word("index_none", language)]


def _status(status: str, language: str) -> str:
    return word(status, language) if status in _WORDS else status


def information(result: Mapping[str, Any], language: str) -> list[str]:
    """Backups, windows, gaps, what runs now."""
    lines = [word("cluster", language, cluster=result["cluster"], repository=result["repository"])]

    def add(key: str, **values: Any) -> None:
        lines.append(word(key, language, **values))

    for item in result["backups"]:
        size = format_bytes(item["stored_bytes"]) if item["stored_bytes"] else "-"
        status = _status(item["status"], language)
        add("backup", label=item["label"], status=status, size=size, stopped=item["stopped_at"] or "-")
    for item in result["dumps"]:
        size = "-"
        if item["stored_bytes"]:
            counted, stored = item["rows"], format_bytes(item["stored_bytes"])
            key = "dump_size" if counted["tables"] else "dump_uncounted"
            size = word(key, language, size=stored, rows=counted["rows"])
        status = _status(item["status"], language)
        add("dump", name=item["key"], status=status, size=size, stopped=item["stopped_at"] or "-")
        if item["failure"]:
            lines[-1] += f"  ({item['failure']})"
    for item in result["damaged_dumps"]:
        add("damaged_dump", name=item["key"], happened=item["error"]["happened"])
    for item in result["broken_chains"]:
        add("broken_chain", label=item["label"], text=item["text"])
    for item in result["unsound"]:
        add("unsound", label=item["label"], text=item["text"], at=item["at"])
    for item in result["page_faults"]:
        add("page_faults", label=item["label"], faults=item["faults"])
    for item in result["windows"]:
        add("window", timeline=item["timeline"], begin=item["from"], until=item["until"])
    for item in result["gaps"]:
        add("gap", item=item)
    for item in result["conflicts"]:
        add("conflict", item=item)
    for item in result["archive"].get("partial", ()):
        add("unfinished", item=item)
    if result["leftovers"] is None:
        add("leftover_unknown")
    for item in result["leftovers"] or ():
        add("leftover", path=item["path"], age=span(item["age_seconds"]).within(language))
    if result.get("progress"):
        lines.append(f"  {describe(result['progress'])}")
    return lines
