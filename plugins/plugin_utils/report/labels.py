# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The words of the page and of the Markdown themselves, in both languages; findings bring their own."""

from __future__ import annotations

from ...module_utils._engine.report.words.say import TERMS
from .fields import FIELDS, HEALTH_SOURCES_JA, PROFILES_JA, SOURCES_JA

#: key: (English, Japanese). ``{name}`` is filled in.
LABELS: dict[str, tuple[str, str]] = {
    "report": ("PostgreSQL report", "PostgreSQL レポート"),
    "made": ("Made {when}", "作成日時: {when}"),
    "language": ("Language", "言語"),
    "theme": ("Colours", "配色"),
    "theme_auto": ("as the system", "システムに合わせる"),
    "theme_light": ("light", "ライト"),
    "theme_dark": ("dark", "ダーク"),
    "print": ("Print", "印刷"),
    "skip": ("Skip to the findings", "指摘事項へ移動"),
    "fleet": ("Fleet", "全体"),
    "cluster": ("Cluster", "クラスター"),
    "clusters": ("Clusters", "クラスター"),
    "node": ("Node", "ノード"),
    "nodes": ("Nodes", "ノード"),
    "scope": ("What is shown", "表示範囲"),
    "summary": ("At a glance", "概要"),
    "open_findings": ("open findings", "未対応の指摘事項"),
    "new_since": ("new since the last run", "前回以降の新規"),
    "reclaimable": ("can be reclaimed by dropping indexes", "インデックスの削除で解放できる容量"),
    "nodes_seen": ("nodes seen", "確認できたノード"),
    "of": ("{part} of {whole}", "{part} / {whole}"),
    "count_open": ("Open findings: {count}", "未対応の指摘事項: {count} 件"),
    "count_new": ("New since the last run: {count}", "前回以降の新規: {count} 件"),
    "count_seen": ("Nodes seen: {part} of {whole}", "確認できたノード: {part} / {whole}"),
    "count_freed": (
        "Reclaimable by dropping indexes: {bytes}",
        "インデックスの削除で解放できる容量: {bytes}",
    ),
    "gate": ("Gate", "ゲート"),
    "gate_passed": (
        "The gate is open: nothing breaks {rules}.",
        "ゲートは通過です。{rules} に該当する項目はありません。",
    ),
    "gate_failed": (
        "The gate is closed. Findings and gaps that break its rules: {count}.",
        "ゲートは不通過です。規則に該当する項目が {count} 件あります。",
    ),
    "gate_none": ("No gate is set (report_fail_on).", "ゲートは設定されていません (report_fail_on)。"),
    "rule": ("Rule", "規則"),
    "heat": ("Where it hurts", "ヒートマップ"),
    "heat_caption": (
        "Open findings by node and area. A cell shows how many and the worst of them; choose one to see them.",
        "ノードと分野ごとの未対応の指摘事項。セルには件数と最も高い重大度を表示します。選択すると一覧を絞り込みます。",
    ),
    "nothing": ("nothing", "なし"),
    "area": ("Area", "分野"),
    "area_indexes": ("Indexes", "インデックス"),
    "area_queries": ("Queries", "クエリー"),
    "area_connections": ("Connections", "接続とロック"),
    "area_replication": ("Replication", "レプリケーション"),
    "area_vacuum": ("Vacuum", "VACUUM"),
    "area_storage": ("Storage", "ストレージ"),
    "area_backup": ("Backup", "バックアップ"),
    "area_settings": ("Settings", "設定"),
    "area_objects": ("Objects", "オブジェクト"),
    "area_health": ("Health", "稼働状態"),
    "load": ("Where the time goes", "負荷の内訳"),
    "load_share": ("Share of the load", "負荷の割合"),
    "load_caption": (
        "The statements that took the most time, as a share of all execution time in the window.",
        "対象期間の総実行時間に占める割合が大きい SQL 文。",
    ),
    "scatter": ("Mean time by calls", "平均時間と実行回数"),
    "scatter_caption": (
        "Each point is a statement: more calls to the right, longer ones higher up. Both axes are logarithmic.",
        "各点が 1 つの SQL 文です。右ほど実行回数が多く、上ほど時間がかかります。両軸とも対数目盛です。",
    ),
    "split": ("Time split", "時間の内訳"),
    "split_caption": (
        "What each node's statements spent their time on.",
        "各ノードの SQL 文が時間を費やした内容。",
    ),
    "split_cpu": ("execution", "実行"),
    "split_read": ("reading", "読み込み"),
    "split_write": ("writing", "書き込み"),
    "split_plan": ("planning", "プラン作成"),
    "split_jit": ("JIT", "JIT"),
    "calls": ("Calls", "実行回数"),
    "mean": ("Mean", "平均"),
    "total": ("Total", "合計"),
    "no_statements": (
        "No statements were read here: see what could not be seen.",
        "ここでは SQL 文の統計を取得できませんでした。「確認できなかった項目」を参照してください。",
    ),
    "history_caption": ("Kept runs, oldest at the left.", "保存された実行の推移 (左が古い)。"),
    "over_time": ("Over time", "推移"),
    "sessions_over_time": ("Sessions over time", "セッション数の推移"),
    "calls_over_time": ("Calls per second over time", "毎秒実行回数の推移"),
    "mean_over_time": ("Mean over time", "平均時間の推移"),
    "all_statements": ("The statements as a table ({count})", "SQL 文の表 ({count} 件)"),
    "absent": ("not there", "なし"),
    "runs": ("Seen", "検出回数"),
    "runs_of": ("in {seen} of the last {of} runs", "直近 {of} 回中 {seen} 回"),
    "sessions": ("average active sessions", "平均アクティブセッション数"),
    "findings": ("Findings", "指摘事項"),
    "search": ("Search", "検索"),
    "search_hint": ("name, statement, text …", "名前、SQL 文、本文など"),
    "all": ("all", "すべて"),
    "severity": ("Severity", "重大度"),
    "grade": ("Evidence", "根拠"),
    "state": ("State", "状態"),
    "state_open": ("open", "未対応"),
    "class": ("Class", "分類"),
    "finding": ("Finding", "指摘事項"),
    "object": ("Object", "対象"),
    "database": ("Database", "データベース"),
    "impact": ("Impact", "影響"),
    "clear": ("Clear", "条件を解除"),
    "shown": ("{shown} of {total} shown", "{total} 件中 {shown} 件を表示"),
    "more": ("Show {count} more", "さらに {count} 件表示"),
    "none_found": (
        "Nothing matches. Clear the filters to see everything.",
        "該当する項目はありません。条件を解除するとすべて表示されます。",
    ),
    "all_well": ("Nothing was found. That is good news.", "指摘事項はありません。良好な状態です。"),
    "sort_by": ("Sort by {column}", "{column} で並べ替え"),
    "details": ("Details", "詳細"),
    "seen": ("What was seen", "確認された内容"),
    "why": ("Why it matters", "問題となる理由"),
    "remedy": ("What to do", "対処"),
    "missing": ("What evidence is missing", "不足している根拠"),
    "window": ("Window", "対象期間"),
    "window_of": ("{since} to {until} ({length})", "{since} から {until} まで ({length})"),
    "why_first-run": ("since the first run", "初回実行から"),
    "why_stored": ("since the run before", "前回の実行から"),
    "why_watched": ("since it is watched", "監視の開始から"),
    "why_server": ("since its last scan, as the server tells it", "サーバが記録した最終スキャンから"),
    "why_restart": ("since the restart", "再起動から"),
    "why_system": ("since the system identifier changed", "システム識別子の変更から"),
    "why_promotion": ("since the promotion", "昇格から"),
    "why_reset": ("since statistics were reset", "統計情報のリセットから"),
    "why_crash": ("since the crash", "クラッシュから"),
    "why_upgrade": ("since the upgrade", "アップグレードから"),
    "why_counters": ("since counters went down", "カウンターの減少から"),
    "why_clock": ("since the clock was set back", "時計が戻された時点から"),
    "window_none": ("now, not over time", "現時点の値 (期間ではない)"),
    "value": ("Value", "値"),
    "threshold": ("Threshold", "しきい値"),
    "source": ("source", "出典"),
    "action": ("Action", "実行する SQL"),
    "undo": ("Undo", "元に戻す SQL"),
    "no_action": (
        "Nothing to run: this one needs a person.",
        "自動で実行できる SQL はありません。人の判断が必要です。",
    ),
    "no_action_yet": (
        "Nothing is proposed before the evidence is complete.",
        "根拠がそろうまで SQL は提案しません。",
    ),
    "copy": ("Copy", "コピー"),
    "copied": ("Copied", "コピーしました"),
    "copy_failed": ("Press Ctrl+C", "Ctrl+C を押してください"),
    "first_seen": ("First seen", "初回検出"),
    "accepted_by": ("Accepted by {owner} until {until}: {reason}", "{owner} が {until} まで許容: {reason}"),
    "accepted_ones": ("Accepted findings", "許容されている指摘事項"),
    "accepted_forever": ("Accepted by {owner}: {reason}", "{owner} が許容: {reason}"),
    "was_accepted": (
        "It was accepted, and the time of that is over.",
        "許容期限が過ぎたため、再び未対応になりました。",
    ),
    "plan": ("The whole plan", "実行計画"),
    "plan_caption": (
        "Every action of the findings shown whose evidence is good enough, in an order that is safe as a set.",
        "表示中の指摘事項のうち、根拠が十分なものの SQL を、まとめて実行しても安全な順に並べています。",
    ),
    "plan_undo": ("Undo of the whole plan", "実行計画を元に戻す SQL"),
    "not_seen": ("What could not be seen", "確認できなかった項目"),
    "not_seen_caption": (
        "No finding here does not mean that all is well here.",
        "ここに挙げた範囲は、指摘事項がなくても問題がないとは限りません。",
    ),
    "everything_seen": ("Everything that was asked was seen.", "対象はすべて確認できました。"),
    "what": ("What", "対象"),
    "reason": ("Why", "理由"),
    "node_state_seen": ("seen", "確認済み"),
    "node_state_partly": ("partly seen", "一部のみ確認"),
    "node_state_unreachable": ("unreachable", "到達不能"),
    "node_state_failed": ("failed", "失敗"),
    "role": ("Role", "役割"),
    "version": ("Version", "バージョン"),
    "started": ("Started", "起動日時"),
    "cost": ("Cost of this report", "レポート取得の負荷"),
    "cost_of": (
        "{seconds} on the server, {bytes} of temporary files",
        "サーバ処理 {seconds}、一時ファイル {bytes}",
    ),
    "benchmarks": ("Workload tests", "負荷試験"),
    "benchmarks_caption": (
        "pgbench against a database of its own, newest first. The curve is of runs that can be compared:"
        " same kind, way, scale and clients.",
        "専用データベースに対する pgbench の結果 (新しい順)。"
        "推移は、種類・経路・スケール・クライアント数が同じもの同士の比較です。",
    ),
    "workload": ("Workload", "負荷の種類"),
    "way": ("Way", "経路"),
    "made_at": ("When", "日時"),
    "statement": ("Statement", "SQL 文"),
    "scale": ("Scale", "スケール"),
    "circumstances": ("Circumstances", "条件"),
    "on_host": (
        "PostgreSQL {version}, CPUs: {cpus}, memory: {memory}",
        "PostgreSQL {version}、CPU {cpus} 個、メモリー {memory}",
    ),
    "settings_of": ("Settings", "設定値"),
    "clients": ("Clients", "クライアント数"),
    "tps": ("TPS", "TPS"),
    "latency": ("Latency", "レイテンシー"),
    "failed": ("Failed", "失敗数"),
    "noscript": (
        "This page draws itself with its own script. Allow it, or read report.md beside it.",
        "このページは内蔵スクリプトで描画されます。スクリプトを許可するか、同じ場所の report.md をご覧ください。",
    ),
    "writes_saved": ("{figure} writes/s", "{figure} 書き込み/秒"),
    "load_part": ("{share} of the load", "負荷の {share}"),
}


def catalogue(language: str) -> dict[str, str]:
    """Every word of one language, with the single words of findings."""
    place = 1 if language == "ja" else 0
    terms = {f"term_{key}": pair.of(language) for key, pair in TERMS.items()}
    fields = {f"key_{key}": texts[place] for key, texts in FIELDS.items()}
    sources = {f"source:{text}": japanese if place else text for text, japanese in _sources().items()}
    return {**terms, **fields, **sources, **{key: texts[place] for key, texts in LABELS.items()}}


def _sources() -> dict[str, str]:
    """Every source of a threshold as it is in findings, and in Japanese."""
    of_health = {
        f"{source} ({profile})": f"{japanese} ({named})"
        for source, japanese in HEALTH_SOURCES_JA.items()
        for profile, named in PROFILES_JA.items()
    }
    return {**SOURCES_JA, **of_health, "option thresholds": "オプション thresholds で指定"}
