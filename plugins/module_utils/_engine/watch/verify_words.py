# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A verification in words, in English and Japanese. One table, so that a missing translation is seen at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.sayings import span
from ..core.sizes import format_bytes

WORDS: dict[str, tuple[str, str]] = {
    "good": ("good", "正常"),
    "bad": ("BAD", "異常"),
    "gone": ("expired meanwhile", "検証中に期限切れで削除"),
    "unknown": ("NOT JUDGED", "判定不能"),
    "look": ("names and sizes", "名前と大きさ"),
    "digest": ("stored bytes", "格納バイト"),
    "full": ("every file in it", "内部の全ファイル"),
    "listed": ("digests and listing", "ダイジェストと一覧"),
    "asked": ("asked for", "指定"),
    "new": ("new", "新規"),
    "was-bad": ("was bad before", "前回異常"),
    "changed": ("its files were touched", "ファイルに変更あり"),
    "thorough": ("thorough", "全検証"),
    "read-before": ("read before the interruption", "中断前に読み取り済み"),
    "turn": ("its turn", "巡回"),
    "known": ("read lately", "最近読み取り済み"),
    "backup": ("backup {name}: {result} ({depth}; {why})", "バックアップ {name}: {result} ({depth}、{why})"),
    "dump": ("dump {name}: {result} ({depth}; {why})", "ダンプ {name}: {result} ({depth}、{why})"),
    "reaches": ("  every moment until {until}", "  {until} までの全時点に到達可能"),
    "ends": ("  reaches {until}; then {code}: {text}", "  {until} まで到達可能。以降 {code}: {text}"),
    "fault": ("  {code}: {text}", "  {code}: {text}"),
    "marked": (
        "  marked: no restore uses it, and expiry does not count it",
        "  使用不可と記録: 復元に使わず、保持世代に数えません",
    ),
    "cleared": ("  cleared: it may be used again", "  記録を解除: 再び使用できます"),
    "wal": (
        "WAL of system {system}: {result}, {segments} segments, {read} of them read again",
        "システム {system} の WAL: {result}、{segments} セグメント中 {read} を再読",
    ),
    "damaged": ("entry {name}: BAD, it cannot be read", "登録情報 {name}: 異常、読み取れません"),
    "sum": (
        "{verdict}: {bytes} read in {seconds}",
        "{verdict}: {bytes} を {seconds} で読み取り",
    ),
    "trial": (
        "{dump} was loaded and all {rows} rows of its {tables} tables were proven by digest, in {seconds}",
        "{dump} を読み込み、{tables} 表の全 {rows} 行を内容 (ダイジェスト) まで照合しました ({seconds})",
    ),
    "trial-count": (
        "{dump} was loaded and its {tables} tables hold {rows} rows as recorded, contents not digested, in {seconds}",
        "{dump} を読み込み、{tables} 表の行数 ({rows} 行) を照合しました。内容は照合していません ({seconds})",
    ),
    "trial-none": (
        "{dump} was loaded without an error; it recorded nothing to prove its rows by, in {seconds}",
        "{dump} をエラーなく読み込みました。行を照合する記録はありません ({seconds})",
    ),
    "trial-would": (
        "would load {dump} into {scratch} ({bytes}), prove its rows, and drop it",
        "{dump} を {scratch} に読み込み ({bytes})、行を照合して削除する予定",
    ),
    "trial-early": (
        "nothing to do: no dump of {database} has waited that long for its first trial",
        "実行不要: {database} のダンプに、初回の試験復元の期限を過ぎたものはありません",
    ),
    "recent": ("nothing to do: the last one ended {at}", "実行不要: 前回の検証は {at} に完了"),
    "would": ("would read {bytes}", "{bytes} を読み取る予定"),
    "all-good": ("everything is good", "すべて正常"),
    "not-good": ("{count} BAD: {names}", "異常 {count} 件: {names}"),
    "step": ("  {name}: {depth} ({why}), {bytes}", "  {name}: {depth} ({why})、{bytes}"),
}


def word(key: str, language: str, **about: Any) -> str:
    """One phrase."""
    return WORDS[key][1 if language == "ja" else 0].format(**about)


def lines(result: Mapping[str, Any], language: str) -> list[str]:
    """For a terminal."""
    if not result["executed"]:
        return _planned(result["plan"], language)
    done = result["verification"]
    found: list[str] = []
    for kind, key in (("backup", "label"), ("dump", "name")):
        for one in done[f"{kind}s"]:
            depth = "listed" if kind == "dump" and one["depth"] == "full" else one["depth"]
            found.append(
                word(
                    kind,
                    language,
                    name=one[key],
                    result=word(one["result"], language),
                    depth=word(depth, language),
                    why=word(one["why"], language),
                )
            )
            found += _details(one, language)
    for one in done["wal"]:
        found.append(
            word(
                "wal",
                language,
                system=one["system_id"],
                result=word(one["result"], language),
                segments=one["segments"],
                read=one["read_segments"],
            )
        )
        found += [word("fault", language, code=gap["code"], text=gap["text"]) for gap in one["gaps"]]
        found += [
            word("fault", language, code=item["code"], text=f"{item['name']}: {item['text']}")
            for item in one["faulty"]
        ]
    found += [word("damaged", language, name=name) for name in done["damaged"]]
    verdict = (
        word("all-good", language)
        if done["good"]
        else word("not-good", language, count=len(done["bad"]), names=", ".join(done["bad"]))
    )
    size, seconds = format_bytes(done["bytes"]), span(done["seconds"]).within(language)
    return [*found, word("sum", language, verdict=verdict, bytes=size, seconds=seconds)]


def _details(one: Mapping[str, Any], language: str) -> list[str]:
    found = []
    wal = one.get("wal")
    if one["fault"]:
        found.append(word("fault", language, **one["fault"]))
    if wal and wal.get("until"):
        key = "ends" if wal.get("code") else "reaches"
        about = {name: wal.get(name) for name in ("until", "code", "text")}
        found.append(word(key, language, **about))
    if one.get("mark") in ("marked", "cleared"):
        found.append(word(one["mark"], language))
    return found


def trial_lines(result: Mapping[str, Any], language: str) -> list[str]:
    """What a trial did, or would do."""
    if not result["executed"]:
        plan = result["plan"]
        if "reason" in plan:
            key = "recent" if plan["reason"] else "trial-early"
            return [word(key, language, at=plan["reason"], database=plan["database"])]
        size = format_bytes(plan["database_bytes"])
        return [word("trial-would", language, dump=plan["dump"], scratch=plan["scratch"], bytes=size)]
    done = result["trial"]
    seconds = span(done["seconds"]).within(language)
    about = {name: done[name] for name in ("dump", "rows", "tables")}
    key = {"digest": "trial"}.get(done["proof"], f"trial-{done['proof']}")
    return [word(key, language, seconds=seconds, **about)]


def _planned(plan: Mapping[str, Any], language: str) -> list[str]:
    if plan.get("reason"):
        return [word("recent", language, at=plan["reason"])]
    found = [word("would", language, bytes=format_bytes(plan["read_bytes"]))]
    for one in (*plan["backups"], *plan["dumps"]):
        found.append(
            word(
                "step",
                language,
                name=one.get("label") or one.get("name"),
                depth=word(one["depth"], language),
                why=word(one["why"], language),
                bytes=format_bytes(one["stored_bytes"]),
            )
        )
    return found
