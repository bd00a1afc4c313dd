# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Write docs/tuning.md and docs/tuning.ja.md from the rules: python tools/tuning_pages.py

Names, units, sources, what takes effect when, and the examples come from the code; only the words of each
rule stand here. A unit test holds the pages against this.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = {"en": CHECKOUT / "docs/tuning.md", "ja": CHECKOUT / "docs/tuning.ja.md"}
GB = 1 << 30
#: As machines of 2, 32 and 512 GB say: the kernel keeps some for itself.
HOSTS = (
    ("2 GB, 2 CPU, SSD 40 GB", 2 * GB * 39 // 40, 2, "ssd", 40 * GB),
    ("32 GB, 8 CPU, SSD 500 GB", 32 * GB * 39 // 40, 8, "ssd", 500 * GB),
    ("512 GB, 64 CPU, NVMe 8 TB", 512 * GB * 39 // 40, 64, "nvme", 8192 * GB),
)

RULES: dict[str, tuple[str, str]] = {
    "max_connections": (
        "as asked; else 300 (oltp), 200 (web), 100 (mixed), 40 (dw), 20 (desktop), fewer where 4 MB each exceed"
        " the budget, in tens",
        "指定値。なければ oltp 300、web 200、mixed 100、dw 40、desktop 20。"
        "1 接続 4 MB で予算を超える場合は 10 単位で削減",
    ),
    "max_wal_senders": ("only where the primary has more than 10", "プライマリが 10 を超える場合のみ"),
    "max_prepared_transactions": ("only where the primary has some", "プライマリが 0 でない場合のみ"),
    "max_locks_per_transaction": (
        "only where the primary has more than 64",
        "プライマリが 64 を超える場合のみ",
    ),
    "shared_buffers": (
        "25 % of memory (desktop 1/16), at most 1.25 × the size of the data, at least 128 MB, never above 40 %",
        "メモリの 25 % (desktop は 1/16)。データ量の 1.25 倍まで、下限 128 MB、上限 40 %",
    ),
    "huge_pages": (
        "`try` from 2 GB of shared_buffers; the reason names about how many to reserve (15 and later, running:"
        " `SHOW shared_memory_size_in_huge_pages` is exact)",
        "shared_buffers が 2 GB 以上で `try`。理由欄に予約数の目安 (稼働中は `SHOW shared_memory_size_in_huge_pages`"
        " が正確)",
    ),
    "effective_cache_size": (
        "75 % of memory (desktop 1/4), never below shared_buffers",
        "メモリの 75 % (desktop は 1/4)。shared_buffers 以上",
    ),
    "work_mem": (
        "(0.8 × memory − shared_buffers − autovacuum) / (3 × (active + max_parallel_workers)), 4 MB to 256 MB, and"
        " within the budget; active = 1.25 × what was seen, else max_connections / 4, at least 20",
        "(0.8 × メモリ − shared_buffers − 自動バキューム) / (3 × (同時実行 + max_parallel_workers))、4〜256 MB、"
        "かつ予算内。同時実行 = 観測値の 1.25 倍、なければ max_connections / 4 (最低 20)",
    ),
    "maintenance_work_mem": (
        "1/16 of memory (dw 1/8), at least 16 MB, at most 1 GB before 17 (VACUUM used no more) and 8 GB since",
        "メモリの 1/16 (dw は 1/8)、16 MB 以上、16 以前は 1 GB まで (VACUUM の上限)、17 以降は 8 GB まで",
    ),
    "max_wal_size": (
        "8 GB (oltp), 4 GB (web, mixed), 16 GB (dw), 2 GB (desktop); at most a fifth of the file system, or half"
        " of the WAL's own; at least four segments",
        "oltp 8 GB、web・mixed 4 GB、dw 16 GB、desktop 2 GB。ファイルシステムの 1/5 (WAL 専用なら 1/2) まで、"
        "下限は 4 セグメント",
    ),
    "min_wal_size": (
        "a quarter of max_wal_size, at least two segments",
        "max_wal_size の 1/4 (2 セグメント以上)",
    ),
    "max_slot_wal_keep_size": (
        "30 % of the WAL's file system: a slot that nobody reads must not fill it",
        "WAL のファイルシステムの 30 % (読まれないスロットによる枯渇を防ぐ)",
    ),
    "checkpoint_timeout": ("15 min", "15 分"),
    "wal_compression": (
        "`lz4` where the build has it (15 and later), else pglz",
        "ビルドが対応していれば `lz4` (15 以降)、それ以外は pglz",
    ),
    "random_page_cost": (
        "1.1 where the data fits into memory; else 4 on spinning disks and for dw, 1.1 otherwise",
        "データがメモリに収まれば 1.1。それ以外は HDD と dw で 4、他は 1.1",
    ),
    "effective_io_concurrency": (
        "HDD 2, SSD 200, NVMe 256, SAN 300 up to 17; 18 keeps its own default of 16",
        "17 まで: HDD 2、SSD 200、NVMe 256、SAN 300。18 は既定値 16 のまま",
    ),
    "io_method": (
        "18: `worker`. io_uring by hand only: it is checked, and a warning says what stands against it",
        "18: `worker`。io_uring は手動指定のみ (使えない場合は理由を警告)",
    ),
    "io_workers": (
        "18, with worker: a quarter of the CPUs, 3 to 32",
        "18 で worker の場合: CPU の 1/4 (3〜32)",
    ),
    "default_statistics_target": ("dw: 500; else PostgreSQL's default", "dw: 500。それ以外は既定値"),
    "jit": ("off; dw: PostgreSQL's default", "off。dw は既定値"),
    "max_worker_processes": (
        "max_parallel_workers + 4 for logical replication, at least PostgreSQL's default of 8",
        "max_parallel_workers + 4 (論理レプリケーション用)、既定値 8 以上",
    ),
    "max_parallel_workers": ("one a CPU", "CPU 数"),
    "max_parallel_workers_per_gather": (
        "2; mixed 4; dw 16; at most half of the CPUs",
        "2、mixed は 4、dw は 16 (いずれも CPU の半分まで)",
    ),
    "max_parallel_maintenance_workers": ("4, at most half of the CPUs", "4 (CPU の半分まで)"),
    "autovacuum_max_workers": ("3; 4 from 16 CPUs, 5 from 32", "3。CPU 16 個以上で 4、32 個以上で 5"),
    "autovacuum_work_mem": (
        "as maintenance_work_mem, and all workers together an eighth of memory at most",
        "maintenance_work_mem と同じ。全ワーカー合計でメモリの 1/8 まで",
    ),
    "autovacuum_vacuum_scale_factor": (
        "0.1; large tables want storage parameters of their own",
        "0.1 (巨大な表は表ごとの設定を推奨)",
    ),
    "autovacuum_analyze_scale_factor": ("0.05", "0.05"),
    "autovacuum_vacuum_cost_limit": (
        "2000; on spinning disks PostgreSQL's default",
        "2000。HDD は既定値",
    ),
}

TEXT: dict[str, tuple[str, str]] = {
    "head": (
        """# How settings are chosen

Made by `python tools/tuning_pages.py` from the rules in `plugins/module_utils/_engine/tuning`; do not edit.

`pg_host_info` looks at the host, the filter `pg_tune` turns what it saw and an intent (`oltp`, `web`, `dw`,
`mixed`, `desktop`, `off`) into settings, each with its reason. `dbkeeper tune` shows the same on the host beside
what the server has now, and changes nothing.

* **Memory** is the smaller of the host's and the control group's limit, less what other clusters of the host have
  been promised; a quarter of it is always ours. On a desktop a quarter of it is PostgreSQL's.
* **The budget** holds always: shared_buffers + max_connections × work_mem + all of autovacuum is at most 120 % of
  that memory. More connections than that allows are refused with the number that would fit.
* **Given values win**, are shown as pinned, and the others are reckoned with them. Where they break the budget a
  warning says so.
* **At rest**: values are rounded down to three bits (… 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 …). What they were made
  from is kept in the settings file, and facts within 20 % of it count as it: the same host gives the same file.
* **Standbys** have at least the primary's max_connections, max_worker_processes, max_wal_senders,
  max_prepared_transactions and max_locks_per_transaction, also with the intent `off`.
* A setting that is not in the table, or has no value for an intent, is left to PostgreSQL.
""",
        """# 設定値の決め方

`plugins/module_utils/_engine/tuning` の規則から `python tools/tuning_pages.py` が生成します。直接編集しないでください。

`pg_host_info` がホストを調べ、フィルタ `pg_tune` がその結果と用途 (`oltp`、`web`、`dw`、`mixed`、`desktop`、`off`) から
設定値を理由とともに決めます。ホスト上の `dbkeeper tune` は同じ内容を現在値と並べて表示し、何も変更しません。

* **メモリ**: ホストのメモリとコントロールグループの上限の小さい方から、同じホストの他のクラスタの使用予定を引いた値
  (最低でも 1/4)。desktop ではその 1/4 だけを使います。
* **予算**: shared_buffers + max_connections × work_mem + 自動バキューム全体は、常にそのメモリの 120 % 以内です。
  収まらない接続数は、収まる数を示して拒否します。
* **手動指定が優先**: 手動指定として表示し、他の値の計算にも使います。予算を超える場合は警告します。
* **安定性**: 値は 3 ビットに切り捨てます (… 4、5、6、7、8、10、12、14、16、20 …)。計算の元になった値を
  設定ファイルに残し、20 % 以内の変化は同じとみなすため、同じホストのファイルは変わりません。
* **スタンバイ**: max_connections、max_worker_processes、max_wal_senders、max_prepared_transactions、
  max_locks_per_transaction はプライマリ以上にします (`off` でも同様)。
* 表にない設定、用途によって値のない設定は PostgreSQL の既定値のままです。
""",
    ),
    "rules": ("## The rules", "## 規則"),
    "columns": (
        "| setting | rule | takes effect | source |",
        "| 設定 | 規則 | 反映 | 出典 |",
    ),
    "reload": ("reload", "再読込"),
    "restart": ("restart", "再起動"),
    "until": ("restart, reload since {version}", "再起動 ({version} 以降は再読込)"),
    "examples": (
        "## Three hosts\n\nPostgreSQL 18, intent {intent}, first run.",
        "## 3 つのホストの例\n\nPostgreSQL 18、用途 {intent}、初回。",
    ),
    "setting": ("setting", "設定"),
    "budget": ("budget, share of memory", "予算 (メモリ比)"),
    "left out": (
        """## What is not done

* No value is taken from a load that was measured, but for the number of active connections, which is asked for:
  max_wal_size follows the disk and the intent, not the WAL that is written.
* effective_cache_size does not look at the page cache of the moment: it would differ from run to run.
* `work_mem` for reports belongs to their role (`ALTER ROLE … SET work_mem`), autovacuum of huge tables to their
  storage parameters.
""",
        """## 行わないこと

* 同時実行接続数 (指定による) を除き、負荷の実測値は使いません。max_wal_size はディスクと用途で決め、WAL の書き込み量は
  見ません。
* effective_cache_size はその時点のページキャッシュを見ません (実行のたびに変わるため)。
* レポート用の `work_mem` はロール単位 (`ALTER ROLE … SET work_mem`)、巨大な表の自動バキュームは表ごとの設定で
  指定してください。
""",
    ),
}


def engine(name: str) -> Any:
    """A module of the engine, from the checkout."""
    path = str(CHECKOUT / "plugins/module_utils")
    if path not in sys.path:
        sys.path.insert(0, path)
    return importlib.import_module(f"_engine.tuning.{name}")


def page(language: str) -> str:
    """One page as text."""

    def say(key: str, **about: Any) -> str:
        return TEXT[key][list(PAGES).index(language)].format(**about)

    lines = [say("head"), say("rules"), "", say("columns"), "|---|---|---|---|"]
    group = ""
    for rule in engine("rules").RULES:
        if rule.group != group:
            group = rule.group
            lines.append(f"| **{group}** | | | |")
        effect = say("restart" if rule.restart else "reload")
        if rule.reload_since:
            effect = say("until", version=rule.reload_since)
        words = RULES[rule.name][list(PAGES).index(language)]
        lines.append(f"| `{rule.name}` | {words} | {effect} | {rule.source} |")
    for intent in ("oltp", "dw"):
        lines += ["", *examples(intent, say)]
    return "\n".join([*lines, "", say("left out")])


def examples(intent: str, say: Any) -> Iterator[str]:
    """A table of values for the example hosts."""
    results = []
    for _name, memory, cpus, disk, size in HOSTS:
        facts = engine("facts").HostFacts(
            memory_bytes=memory,
            cpus=cpus,
            version=18,
            disk=disk,
            data_filesystem_bytes=size,
            wal_filesystem_bytes=size,
            wal_compression_methods=("lz4", "zstd"),
            huge_page_bytes=2 << 20,
        )
        results.append(engine("tune").tune(engine("request").Request.build(intent), facts))
    yield say("examples", intent=f"`{intent}`")
    yield ""
    yield f"| {say('setting')} | " + " | ".join(name for name, *_rest in HOSTS) + " |"
    yield "|---" * (len(HOSTS) + 1) + "|"
    values = [{item["name"]: item["value"] for item in result["settings"]} for result in results]
    for name in values[0]:
        yield f"| `{name}` | " + " | ".join(value[name] for value in values) + " |"
    shares = (f"{result['budget']['share'] * 100:.0f} %" for result in results)
    yield f"| {say('budget')} | " + " | ".join(shares) + " |"


def main() -> None:
    """Write both pages."""
    for language, path in PAGES.items():
        path.write_text(page(language), encoding="utf-8")
        print(path.relative_to(CHECKOUT))


if __name__ == "__main__":
    main()
