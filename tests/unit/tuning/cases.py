# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Hosts for the tests of tuning."""

from __future__ import annotations

from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.facts import HostFacts

KB, MB, GB, TB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

#: From pg_settings of 14 to 18 (min_val), in bytes where it is a size; the integration tests ask the servers.
LEAST = {
    "max_connections": 1,
    "shared_buffers": 128 * KB,
    "effective_cache_size": 8 * KB,
    "work_mem": 64 * KB,
    "maintenance_work_mem": 1 * MB,
    "autovacuum_work_mem": 1 * MB,
    "autovacuum_max_workers": 1,
    "max_worker_processes": 8,
    "io_workers": 1,
}


def host(memory_bytes: int = 32 * GB, cpus: int = 8, version: int = 17, **facts: Any) -> HostFacts:
    """A host with a 500 GB SSD and a server built with lz4; facts given by name win."""
    known = {
        "disk": "ssd",
        "data_filesystem_bytes": 500 * GB,
        "wal_filesystem_bytes": 500 * GB,
        "wal_compression_methods": ("lz4", "zstd"),
        "huge_page_bytes": 2 * MB,
    }
    return HostFacts(memory_bytes=memory_bytes, cpus=cpus, version=version, **{**known, **facts})
