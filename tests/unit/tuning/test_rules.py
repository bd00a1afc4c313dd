# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Every rule by examples, each value reckoned by hand from the rule's words; and no branch without an example."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.case import Case
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.facts import HostFacts
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.request import Request
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.rules import BY_NAME
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.tune import tune
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.words import REASONS
from tests.unit.tuning.cases import GB, MB, TB, host


@dataclass(frozen=True)
class Row:
    """A setting, its expected text (None: left to PostgreSQL) and reason, on a host, for a request."""

    name: str
    value: str | None
    reason: str | None
    intent: str = "oltp"
    facts: HostFacts = field(default_factory=host)
    asked: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}-{self.value}-{self.reason}"


def row(name: str, value: str | None, reason: str | None = None, intent: str = "oltp", **given: Any) -> Row:
    """Keywords that :meth:`Request.build` knows are asked, the others are the host's."""
    words = ("connections", "data_size", "active_connections", "pinned", "minima")
    asked = {key: given.pop(key) for key in words if key in given}
    return Row(name, value, reason, intent, host(**given), asked)


CONNECTIONS = [
    row("max_connections", "300", "connections_usual"),
    row("max_connections", "200", "connections_usual", "web"),
    row("max_connections", "40", "connections_usual", "dw"),
    row("max_connections", "100", "connections_usual", "mixed"),
    row("max_connections", "20", "connections_usual", "desktop"),
    row("max_connections", "77", "connections_asked", connections=77),
    # 1.2 x 512 - 128 (shared) - 64 (autovacuum: 3 x 512/8/3) = 422.4 MB: 105 with 4 MB each, in tens.
    row("max_connections", "100", "connections_cut", memory_bytes=512 * MB),
    # 1.2 x 2048 - 512 - 256 = 1689.6 MB: 26 with 64 MB each.
    row(
        "max_connections", "20", "connections_cut", "mixed", memory_bytes=2 * GB, pinned={"work_mem": "64MB"}
    ),
    # Not even ten fit; fewer serve nobody.
    row("max_connections", "10", "connections_cut", memory_bytes=512 * MB, pinned={"work_mem": "1GB"}),
    row("max_connections", "500", "primary", minima={"max_connections": 500}),
    row("max_connections", "300", "connections_usual", minima={"max_connections": 299}),
    row("max_connections", "50", "pinned", minima={"max_connections": 500}, pinned={"max_connections": 50}),
    row("max_wal_senders", None),
    row("max_wal_senders", None, minima={"max_wal_senders": 10}),
    row("max_wal_senders", "11", "primary", minima={"max_wal_senders": 11}),
    row("max_prepared_transactions", None, minima={"max_prepared_transactions": 0}),
    row("max_prepared_transactions", "5", "primary", minima={"max_prepared_transactions": 5}),
    row("max_locks_per_transaction", None, minima={"max_locks_per_transaction": 64}),
    row("max_locks_per_transaction", "256", "primary", minima={"max_locks_per_transaction": 256}),
]

MEMORY = [
    row("shared_buffers", "8GB", "quarter"),
    # 31.2 GB, as a machine of 32 GB says: 7.8 GB, down to three bits.
    row("shared_buffers", "7GB", "quarter", memory_bytes=33_500_744_909),
    row("shared_buffers", "128MB", "quarter", memory_bytes=512 * MB),
    row("shared_buffers", "128MB", "shared_buffers_default", memory_bytes=400 * MB),
    # 40 % of 256 MB are 102.4 MB, down to three bits.
    row("shared_buffers", "96MB", "two_fifths", memory_bytes=256 * MB),
    row("shared_buffers", "1GB", "sixteenth", "desktop", memory_bytes=16 * GB),
    row("shared_buffers", "128MB", "shared_buffers_default", "desktop", memory_bytes=1 * GB),
    row("shared_buffers", "5GB", "data_size", data_size="4GB"),
    row("shared_buffers", "8GB", "quarter", data_size="8GB"),
    row("shared_buffers", "128MB", "shared_buffers_default", data_size="100MB"),
    row("shared_buffers", "6GB", "quarter", other_clusters_memory_bytes=8 * GB),
    # A quarter of the memory is always ours, whatever others were promised.
    row("shared_buffers", "2GB", "quarter", other_clusters_memory_bytes=31 * GB),
    row("huge_pages", "off", "huge_pages_off", memory_bytes=7 * GB),
    # 2 GB x 1.03 + 48 MB + 300 x 64 kB = 2176.19 MB: 1089 pages of 2 MB.
    row("huge_pages", "try", "huge_pages_count", memory_bytes=8 * GB),
    row("huge_pages", "try", "huge_pages_try", huge_page_bytes=None),
    row("effective_cache_size", "24GB", "three_quarters"),
    row("effective_cache_size", "4GB", "quarter", "desktop", memory_bytes=16 * GB),
    row("effective_cache_size", "30GB", "as_shared_buffers", pinned={"shared_buffers": "30GB"}),
    # (25.6 - 8 - 4) GB / 3 / (75 + 8) = 55.9 MB.
    row("work_mem", "48MB", "work_mem_share"),
    # 50 active ones: (25.6 - 8 - 4) GB / 3 / (50 + 8) = 80.04 MB.
    row("work_mem", "80MB", "work_mem_share", active_connections=40),
    # Never more than there are: (25.6 - 8 - 4) GB / 3 / (10 + 8) = 257.9 MB.
    row("work_mem", "256MB", "work_mem_most", active_connections=400, connections=10),
    row("work_mem", "256MB", "work_mem_most", memory_bytes=512 * GB),
    row("work_mem", "4MB", "work_mem_least", memory_bytes=2 * GB),
    # 1689.6 MB are left for 1000.
    row("work_mem", "1MB", "work_mem_limit", memory_bytes=2 * GB, connections=1000),
    # 346 kB for each of 5000, in steps of 64 kB.
    row("work_mem", "320kB", "work_mem_limit", memory_bytes=2 * GB, minima={"max_connections": 5000}),
    # What is pinned is reckoned with: (25.6 - 20 - 4) GB / 3 / 83 = 6.58 MB.
    row("work_mem", "6MB", "work_mem_share", pinned={"shared_buffers": "20GB"}),
    # ... in blocks of 8 kB where no unit stands: the same 20 GB.
    row("work_mem", "6MB", "work_mem_share", pinned={"shared_buffers": 2621440}),
    # (25.6 - 8 - 3 x 2) GB / 3 / 83 = 47.7 MB: -1 is maintenance_work_mem, 2 GB here.
    row("work_mem", "40MB", "work_mem_share", pinned={"autovacuum_work_mem": -1}),
    # (25.6 - 8 - 3 x 0.0625) GB / 3 / 83 = 71.6 MB.
    row(
        "work_mem",
        "64MB",
        "work_mem_share",
        pinned={"autovacuum_work_mem": -1, "maintenance_work_mem": "64MB"},
    ),
    row("work_mem", "12MB", "pinned", pinned={"WORK_MEM": "12MB"}),
    row("maintenance_work_mem", "2GB", "part"),
    row("maintenance_work_mem", "4GB", "part", "dw"),
    row("maintenance_work_mem", "1GB", "maintenance_cap", version=16),
    row("maintenance_work_mem", "8GB", "maintenance_cap", memory_bytes=512 * GB),
    row("maintenance_work_mem", "16MB", "part", "desktop", memory_bytes=1 * GB),
    row("maintenance_work_mem", "16MB", "maintenance_least", "desktop", memory_bytes=512 * MB),
]

WAL = [
    row("max_wal_size", "8GB", "wal_profile"),
    row("max_wal_size", "4GB", "wal_profile", "web"),
    row("max_wal_size", "16GB", "wal_profile", "dw"),
    row("max_wal_size", "4GB", "wal_profile", "mixed"),
    row("max_wal_size", "2GB", "wal_profile", "desktop"),
    row("max_wal_size", "8GB", "wal_profile", data_filesystem_bytes=None, wal_filesystem_bytes=None),
    row("max_wal_size", "4GB", "wal_shared_disk", data_filesystem_bytes=20 * GB),
    row("max_wal_size", "5GB", "wal_own_disk", wal_filesystem_bytes=10 * GB, wal_separate=True),
    row("max_wal_size", "8GB", "wal_profile", wal_filesystem_bytes=16 * GB, wal_separate=True),
    row("max_wal_size", "64MB", "wal_segments", data_filesystem_bytes=200 * MB),
    row("max_wal_size", "4GB", "wal_segments", data_filesystem_bytes=8 * GB, wal_segment_bytes=GB),
    row("min_wal_size", "2GB", "quarter_of_max"),
    row("min_wal_size", "1GB", "quarter_of_max", pinned={"max_wal_size": 4096}),
    row("min_wal_size", "2GB", "quarter_of_max", data_filesystem_bytes=8 * GB, wal_segment_bytes=GB),
    row("max_slot_wal_keep_size", "128GB", "slots"),
    row("max_slot_wal_keep_size", "3GB", "slots", wal_filesystem_bytes=10 * GB, wal_separate=True),
    row("max_slot_wal_keep_size", None, data_filesystem_bytes=None, wal_filesystem_bytes=None),
    row("checkpoint_timeout", "15min", "checkpoints"),
    row("wal_compression", "lz4", "lz4"),
    row("wal_compression", "lz4", "lz4", version=15),
    row("wal_compression", "on", "pglz", version=14),
    row("wal_compression", "pglz", "pglz", wal_compression_methods=("zstd",)),
    row("wal_compression", "pglz", "pglz", wal_compression_methods=()),
]

DISKS = [
    row("random_page_cost", "1.1", "no_seeks"),
    row("random_page_cost", "1.1", "unknown_disk", disk="unknown"),
    row("random_page_cost", "4", "seeks", disk="hdd"),
    row("random_page_cost", "4", "long_scans", "dw"),
    row("random_page_cost", "1.1", "data_in_cache", data_size="24GB", disk="hdd"),
    row("random_page_cost", "4", "seeks", data_size="25GB", disk="hdd"),
    row("effective_io_concurrency", "2", "io_depth", disk="hdd"),
    row("effective_io_concurrency", "200", "io_depth", disk="ssd"),
    row("effective_io_concurrency", "256", "io_depth", disk="nvme"),
    row("effective_io_concurrency", "300", "io_depth", disk="san"),
    row("effective_io_concurrency", "200", "unknown_disk", disk="unknown"),
    row("effective_io_concurrency", "16", "io_default_18", version=18, disk="nvme"),
    row("io_method", None),
    row("io_method", "worker", "io_worker", version=18, io_methods=("worker", "sync", "io_uring")),
    row("io_method", "io_uring", "pinned", version=18, pinned={"io_method": "io_uring"}),
    row("io_workers", None),
    row("io_workers", "3", "quarter_of_cpus", version=18, cpus=2),
    row("io_workers", "16", "quarter_of_cpus", version=18, cpus=64),
    row("io_workers", "32", "quarter_of_cpus", version=18, cpus=256),
    row("io_workers", None, version=18, pinned={"io_method": "sync"}),
    row("default_statistics_target", None),
    row("default_statistics_target", "500", "dw_statistics", "dw"),
    row("jit", "off", "jit"),
    row("jit", None, None, "dw"),
]

PARALLEL = [
    row("max_parallel_workers", "8", "one_a_cpu"),
    row("max_parallel_workers", "4", "within_processes", pinned={"max_worker_processes": 4}),
    row("max_worker_processes", "8", "workers_default", cpus=1),
    row("max_worker_processes", "8", "workers_default", cpus=4),
    row("max_worker_processes", "9", "workers_sum", cpus=5),
    row("max_worker_processes", "68", "workers_sum", cpus=64),
    row("max_worker_processes", "20", "primary", minima={"max_worker_processes": 20}),
    row("max_parallel_workers_per_gather", "0", "not_parallel", cpus=1),
    row("max_parallel_workers_per_gather", "1", "per_gather", cpus=2),
    row("max_parallel_workers_per_gather", "2", "per_gather", cpus=64),
    row("max_parallel_workers_per_gather", "2", "per_gather", "web"),
    row("max_parallel_workers_per_gather", "2", "per_gather", "desktop"),
    row("max_parallel_workers_per_gather", "2", "per_gather", "mixed", cpus=4),
    row("max_parallel_workers_per_gather", "4", "per_gather", "mixed", cpus=64),
    row("max_parallel_workers_per_gather", "4", "per_gather", "dw"),
    row("max_parallel_workers_per_gather", "16", "per_gather", "dw", cpus=64),
    row("max_parallel_workers_per_gather", "0", "not_parallel", pinned={"max_parallel_workers": 0}),
    row("max_parallel_maintenance_workers", "4", "index_builds"),
    row("max_parallel_maintenance_workers", "1", "index_builds", cpus=3),
    row("max_parallel_maintenance_workers", "0", "not_parallel", cpus=1),
]

AUTOVACUUM = [
    row("autovacuum_max_workers", "3", "autovacuum_workers", cpus=15),
    row("autovacuum_max_workers", "4", "autovacuum_workers", cpus=16),
    row("autovacuum_max_workers", "5", "autovacuum_workers", cpus=32),
    # 32 GB / 8 / 3 = 1365 MB.
    row("autovacuum_work_mem", "1280MB", "eighth_of_all"),
    row("autovacuum_work_mem", "1GB", "as_maintenance", version=16),
    row("autovacuum_work_mem", "64MB", "as_maintenance", pinned={"maintenance_work_mem": "64MB"}),
    # 32 GB / 8 / 8 = 512 MB.
    row("autovacuum_work_mem", "512MB", "eighth_of_all", pinned={"autovacuum_max_workers": "8"}),
    row("autovacuum_vacuum_scale_factor", "0.1", "vacuum_sooner"),
    row("autovacuum_analyze_scale_factor", "0.05", "analyze_sooner"),
    row("autovacuum_vacuum_cost_limit", "2000", "fast_disk"),
    row("autovacuum_vacuum_cost_limit", "2000", "fast_disk", disk="unknown"),
    row("autovacuum_vacuum_cost_limit", None, disk="hdd"),
]

TABLE = CONNECTIONS + MEMORY + WAL + DISKS + PARALLEL + AUTOVACUUM


@pytest.mark.parametrize("example", TABLE, ids=str)
def test_rule(example: Row) -> None:
    request = Request.build(example.intent, **example.asked)
    settings = {item["name"]: item for item in tune(request, example.facts)["settings"]}
    choice = Case(request, example.facts, BY_NAME).choice(example.name)
    assert settings.get(example.name, {}).get("value") == example.value
    assert (choice.reason if choice else None) == example.reason


def test_the_table_has_every_rule_and_every_reason() -> None:
    assert {example.name for example in TABLE} == set(BY_NAME)
    assert {example.reason for example in TABLE if example.reason} == set(REASONS)


def test_the_count_of_huge_pages_is_named() -> None:
    settings = tune(Request.build("oltp"), host(8 * GB))["settings"]
    (found,) = [item["reason"] for item in settings if item["name"] == "huge_pages"]
    assert "about 1089 (2MB each)" in found


def test_a_large_host_is_written_in_large_units() -> None:
    settings = tune(Request.build("dw"), host(2 * TB, 256, data_filesystem_bytes=100 * TB))["settings"]
    values = {item["name"]: item["value"] for item in settings}
    assert (values["shared_buffers"], values["effective_cache_size"]) == ("512GB", "1536GB")
    assert values["max_slot_wal_keep_size"] == "28TB"
