# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Why a setting has its value, in English and Japanese. One table, so that a missing translation is seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.sizes import format_bytes

LANGUAGES = ("en", "ja")
#: What sentences name in bytes.
_SIZES = ("memory", "data", "size", "most", "total", "others", "said")

REASONS: dict[str, tuple[str, str]] = {
    "pinned": ("given by hand", "手動指定"),
    "primary": ("as much as the primary has", "プライマリと同じ値が必要"),
    "connections_asked": ("as asked for", "指定どおり"),
    "connections_usual": ("usual for {intent}", "{intent} の標準"),
    "connections_cut": (
        "memory allows no more ({intent}: {usual})",
        "メモリの制約 ({intent} の標準は {usual})",
    ),
    "quarter": ("a quarter of {memory}", "メモリ {memory} の 1/4"),
    "sixteenth": (
        "a sixteenth of {memory}: a desktop has other work",
        "メモリ {memory} の 1/16 (デスクトップ用途)",
    ),
    "data_size": ("1.25 times the data, {data}", "データ量 {data} の 1.25 倍"),
    "shared_buffers_default": ("PostgreSQL's default, the least that serves", "PostgreSQL の既定値 (下限)"),
    "two_fifths": ("40 % of {memory}, the most that serves", "メモリ {memory} の 40 % (上限)"),
    "as_shared_buffers": ("as shared_buffers", "shared_buffers と同じ"),
    "three_quarters": (
        "three quarters of {memory}, system cache included",
        "メモリ {memory} の 3/4 (OS キャッシュ込み)",
    ),
    "huge_pages_off": ("shared_buffers is below 2 GB", "shared_buffers が 2 GB 未満"),
    "huge_pages_try": ("shared_buffers is 2 GB or more", "shared_buffers が 2 GB 以上"),
    "huge_pages_count": (
        "used if reserved: vm.nr_hugepages of about {count} ({page} each)",
        "予約があれば使用: vm.nr_hugepages は約 {count} ({page} 単位)",
    ),
    "work_mem_share": (
        "what is left, for {active} active connections and {parallel} workers with 3 nodes each",
        "残りを同時実行 {active} 接続と並列ワーカー {parallel} (各 3 ノード) で分配",
    ),
    "work_mem_least": ("PostgreSQL's default, the least that serves", "PostgreSQL の既定値 (下限)"),
    "work_mem_most": ("more is for single roles or sessions", "上限 (これ以上はロール単位で設定)"),
    "work_mem_limit": (
        "so that all {connections} connections at once stay within 120 % of memory",
        "全 {connections} 接続の合計をメモリの 120 % 以内に抑える",
    ),
    "part": ("1/{part} of {memory}", "メモリ {memory} の 1/{part}"),
    "maintenance_cap": ("VACUUM and index builds gain little beyond {most}", "{most} を超えても効果が小さい"),
    "maintenance_least": ("the least that serves", "下限"),
    "as_maintenance": ("as maintenance_work_mem", "maintenance_work_mem と同じ"),
    "eighth_of_all": (
        "{workers} workers together take an eighth of {memory} at most",
        "ワーカー {workers} 個の合計をメモリ {memory} の 1/8 以内に抑える",
    ),
    "wal_profile": ("usual for {intent}", "{intent} の標準"),
    "wal_own_disk": ("half of the WAL's own file system, {size}", "WAL 専用ファイルシステム {size} の 1/2"),
    "wal_shared_disk": ("a fifth of the file system, {size}", "ファイルシステム {size} の 1/5"),
    "wal_segments": ("four segments, the least that serves", "4 セグメント (下限)"),
    "quarter_of_max": ("a quarter of max_wal_size", "max_wal_size の 1/4"),
    "slots": (
        "30 % of the file system, {size}: a lost standby must not fill it",
        "ファイルシステム {size} の 30 % (停止したスタンバイによる枯渇を防ぐ)",
    ),
    "checkpoints": ("fewer full page images than every 5 min", "5 分間隔よりフルページ書き込みを減らす"),
    "lz4": ("less WAL for little CPU time", "わずかな CPU で WAL を削減"),
    "pglz": ("less WAL; this build is not known to have lz4", "WAL を削減 (lz4 の有無が不明または未対応)"),
    "data_in_cache": ("the data, {data}, fits into memory", "データ {data} がメモリに収まる"),
    "seeks": ("disks that seek", "シークのあるディスク"),
    "long_scans": ("long scans are what a warehouse does", "大きな走査が中心 (dw)"),
    "unknown_disk": (
        "the disk's kind cannot be seen: taken for an SSD",
        "ディスク種別が不明のため SSD とみなす",
    ),
    "no_seeks": ("the disk is {disk}: no seeks", "ディスクは {disk}: シークなし"),
    "io_default_18": ("18's default; raise it after a test", "18 の既定値 (増やすのは検証後)"),
    "io_depth": ("what a disk of kind {disk} takes at once", "ディスク種別 {disk} の同時要求数"),
    "io_worker": ("PostgreSQL's default, starts everywhere", "PostgreSQL の既定値 (どの環境でも起動可能)"),
    "quarter_of_cpus": ("a quarter of {cpus} CPUs, 3 to 32", "CPU {cpus} 個の 1/4 (3〜32)"),
    "dw_statistics": ("finer statistics for large tables", "大きな表のための詳細な統計"),
    "jit": ("compiling costs short queries more than it saves", "短い問い合わせではコンパイルが割に合わない"),
    "workers_default": ("PostgreSQL's default; fewer save nothing", "PostgreSQL の既定値 (減らす利点なし)"),
    "workers_sum": (
        "{parallel} parallel and 4 logical replication workers",
        "並列 {parallel} + 論理レプリケーション 4",
    ),
    "one_a_cpu": ("one a CPU", "CPU ごとに 1"),
    "within_processes": ("no more than max_worker_processes", "max_worker_processes 以内"),
    "not_parallel": (
        "one CPU, or no worker: nothing runs in parallel",
        "CPU が 1 個またはワーカーなしのため並列なし",
    ),
    "per_gather": ("usual for {intent} on {cpus} CPUs", "CPU {cpus} 個での {intent} の標準"),
    "index_builds": ("half of the CPUs, 4 at most", "CPU の半分 (最大 4)"),
    "autovacuum_workers": (
        "3; 4 from 16 CPUs, 5 from 32 (here: {cpus})",
        "3、CPU 16 個以上で 4、32 個以上で 5 (CPU {cpus} 個)",
    ),
    "vacuum_sooner": ("at 10 % dead rows instead of 20 %", "不要行 20 % ではなく 10 % で実行"),
    "analyze_sooner": ("at 5 % changed rows instead of 10 %", "変更行 10 % ではなく 5 % で実行"),
    "fast_disk": (
        "ten times the default, which is made for slow disks",
        "既定値 (低速ディスク向け) の 10 倍",
    ),
}

WARNINGS: dict[str, tuple[str, str]] = {
    "below_primary": (
        "{name} is given as {value}, and the primary has {least}: this standby would stop replaying",
        "{name} の手動指定 {value} はプライマリの {least} 未満: このスタンバイは再生を停止します",
    ),
    "over_budget": (
        "what was given by hand adds up to {total} of memory, more than 120 % of {memory}",
        "手動指定の合計が {total} となり、メモリ {memory} の 120 % を超えています",
    ),
    "crowded": (
        "other clusters of this host have been promised {others}: only a quarter of the memory is reckoned with",
        "このホストの他のクラスタが {others} を使用予定: メモリの 1/4 のみで計算しています",
    ),
    "little_work_mem": (
        "work_mem is {size} with {connections} connections: put PgBouncer in front and ask for fewer",
        "{connections} 接続では work_mem が {size} になります: PgBouncer を使い接続数を減らしてください",
    ),
    "io_uring": (
        "io_method is given as io_uring, and a server may not start with it here: {obstacle}",
        "io_method に io_uring が指定されていますが、この環境では起動できない恐れがあります: {obstacle}",
    ),
    "data_outgrown": (
        "the databases take {data}, more than the {said} that were reckoned with: correct the size of the data",
        "データベースは {data} で、想定の {said} を超えています: データ量の指定を見直してください",
    ),
}


def reason(key: str, about: Mapping[str, Any], language: str) -> str:
    """One of :data:`REASONS` as a sentence."""
    return _said(REASONS[key], about, language)


def warning(key: str, about: Mapping[str, Any], language: str) -> str:
    """One of :data:`WARNINGS` as a sentence."""
    return _said(WARNINGS[key], about, language)


def _said(texts: tuple[str, str], about: Mapping[str, Any], language: str) -> str:
    named = {name: format_bytes(value) if name in _SIZES else value for name, value in about.items()}
    return texts[LANGUAGES.index(language)].format(**named)
