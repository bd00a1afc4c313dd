# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the report says of a finding or of what it could not see, in both languages. Controller only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...module_utils._engine.report.finding import INSUFFICIENT
from ...module_utils._engine.report.words import plain, say

LANGUAGES = say.LANGUAGES
#: Why a host, or a report of one, is missing; ``{why}`` is what Ansible or the host said.
_UNSEEN: dict[str, dict[str, tuple[str, str]]] = {
    "unreachable": {
        "en": (
            "the whole host",
            "Run the report again when the host is back; `ansible HOST -m ping` tries the way.",
        ),
        "ja": (
            "ホスト全体",
            "ホストが復旧したらレポートを再実行してください。`ansible HOST -m ping` で接続を確認できます。",
        ),
    },
    "failed": {
        "en": (
            "the whole host",
            "Read what was said; the server must run and let login_user in (pg_monitor is enough).",
        ),
        "ja": (
            "ホスト全体",
            "メッセージを確認してください。サーバが稼働し、login_user で接続できる必要があります。",
        ),
    },
    "no_index": {
        "en": ("its indexes", "Read what was said and run the report again."),
        "ja": ("インデックス", "メッセージを確認し、レポートを再実行してください。"),
    },
    "no_query": {
        "en": (
            "its statements",
            "Read what was said; the extension pg_stat_statements must be there (pg_extension).",
        ),
        "ja": (
            "SQL 文の統計",
            "メッセージを確認してください。拡張 pg_stat_statements が必要です (モジュール pg_extension)。",
        ),
    },
    "no_health": {
        "en": ("its health", "Read what was said and run the report again."),
        "ja": ("稼働状態", "メッセージを確認し、レポートを再実行してください。"),
    },
    "no_benchmark": {
        "en": ("earlier workload tests", "Read what was said and run the report again."),
        "ja": ("過去の負荷試験の結果", "メッセージを確認し、レポートを再実行してください。"),
    },
    "stranger": {
        "en": (
            "the whole host",
            "Add the host to the inventory, or stop its replication if nobody knows it.",
        ),
        "ja": (
            "ホスト全体",
            "ホストをインベントリーに追加してください。心当たりがなければレプリケーションを停止してください。",
        ),
    },
}
_STRANGER = {
    "en": "A standby streams from the primary under the name {why}, and no host of the inventory is called so.",
    "ja": "{why} という名前のスタンバイがプライマリーに接続していますが、該当するホストがインベントリーにありません。",
}

#: What is advised is right only when the evidence is there.
_NOT_YET = {
    "en": "Nothing yet: the evidence that is missing comes first. If it bears this out: {remedy}",
    "ja": "まだ対処しないでください。不足している根拠がそろい、裏付けられた場合の対処: {remedy}",
}


def written(finding: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Title, what, why and remedy of a finding, and what evidence is missing, by language."""
    says = finding["says"]
    texts = {}
    for language in LANGUAGES:
        text = dict(_finding(finding, says, language))
        gaps = [_missing(gap, language) for gap in finding.get("missing") or []]
        if gaps:
            text["missing"] = "\n".join(gaps)
        if finding["grade"] == INSUFFICIENT and text["remedy"]:
            text["remedy"] = _NOT_YET[language].format(remedy=text["remedy"])
        texts[language] = text
    return texts


def _finding(finding: Mapping[str, Any], says: Mapping[str, Any], language: str) -> dict[str, str]:
    """A key that this controller has no words for is shown as it is: an older controller, a newer host."""
    if says["key"] not in say.FINDINGS:
        values = json.dumps(says.get("values") or {}, ensure_ascii=False, sort_keys=True)
        return {"title": str(finding["class"]), "what": f"{says['key']} {values}", "why": "", "remedy": ""}
    return say.finding(says["key"], says.get("values") or {}, language)


def _missing(gap: Mapping[str, Any], language: str) -> str:
    if gap["key"] not in say.MISSING:
        return f"{gap['key']} {json.dumps(gap.get('values') or {}, ensure_ascii=False, sort_keys=True)}"
    return say.missing(gap["key"], gap.get("values") or {}, language)


def blind(gap: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What a module could not see, by language; in English where only English came."""
    says = gap.get("says") or {}
    if says.get("key") in say.NOT_SEEN:
        return {
            language: say.not_seen(says["key"], says.get("values") or {}, language) for language in LANGUAGES
        }
    plain = {part: str(gap.get(part) or "") for part in ("what", "why", "remedy")}
    return dict.fromkeys(LANGUAGES, plain)


def unseen(kind: str, why: str, error: Mapping[str, Any] | None = None) -> dict[str, dict[str, str]]:
    """Why a host or one of its reports is missing, by language; of an error of the engine with its own remedy."""
    texts = {}
    for language in LANGUAGES:
        what, remedy = _UNSEEN[kind][language]
        said = _STRANGER[language].format(why=why) if kind == "stranger" else plain.reason(why, language)
        if error:
            known = plain.error(str(error["code"]), str(error.get("happened") or ""), language)
            said, remedy = known or (said, remedy)
        texts[language] = {"what": what, "why": said, "remedy": remedy}
    return texts


def failed(code: str, happened: str) -> dict[str, dict[str, str]]:
    """Why a workload could not be tested, by language. Earlier versions kept no code: what was said is quoted then."""
    texts = {}
    for language in LANGUAGES:
        why, remedy = plain.error(code, happened, language) or (happened, "")
        texts[language] = {"why": why, "remedy": remedy}
    return texts
