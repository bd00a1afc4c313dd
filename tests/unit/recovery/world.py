# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A host on which everything is well, for tests that make one thing wrong."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.controldata import ControlData
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.disks import FileSystem
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.postmaster import InstanceStatus
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.request import (
    RestoreRequest,
    target_from,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.state import (
    HostState,
    LiveCluster,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import (
    Backup,
    Catalog,
    Tablespace,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import (
    Commit,
    PlannedSegment,
    Proof,
)

NOW = datetime(2026, 11, 21, 3, 30, tzinfo=timezone.utc)
SYSTEM = 7400000000000000001
SEGMENT = 16 << 20
DATA = "/var/lib/postgresql/15/main"
SETTINGS = {
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
    "wal_level": "replica",
}


def config(**changes: Any) -> ClusterConfig:
    value: dict[str, Any] = {
        "format": 1,
        "cluster": "main",
        "version": "15",
        "data_directory": DATA,
        "bin_directory": "/usr/lib/postgresql/15/bin",
        "config_file": None,
        "socket_directory": "/var/run/postgresql",
        "port": 5432,
        "superuser": "postgres",
        "backup_user": "dbkeeper",
        "service": {"manager": "systemd", "unit": "postgresql@15-main.service"},
        "repository": "/var/lib/dbkeeper/repository",
        "state_directory": "/var/lib/dbkeeper/state/main",
        "objectives": {"rpo_seconds": 900, "rto_seconds": 1800},
        "backup": {"compression_level": 1, "max_rate_kbytes": None},
        "command": "/usr/local/bin/dbkeeper",
        "language": "en",
    }
    return ClusterConfig.from_dict({**value, **changes}, source="test")


def backup(**changes: Any) -> Backup:
    base = Backup(
        label="20261121T030000Z-full",
        status="verified",
        started_at=NOW - timedelta(minutes=31),
        system_id=SYSTEM,
        major=15,
        wal_segment_size=SEGMENT,
        version="15.4",
        timeline=1,
        start_lsn=2 * SEGMENT + 40,
        stop_lsn=2 * SEGMENT + 0x100,
        stopped_at=NOW - timedelta(minutes=30),
        plain_bytes=3_000_000_000,
        stored_bytes=400_000_000,
        settings=dict(SETTINGS),
    )
    return replace(base, **changes)


def with_tablespace(path: str = "/mnt/fast/space", size: int = 1_000_000_000) -> Backup:
    return backup(tablespaces=(Tablespace(oid=16400, path=path, name="fast", plain_bytes=size),))


def request(**options: Any) -> RestoreRequest:
    extra = {
        name: options.pop(name) for name in ("backup", "tablespace_map", "skip_backup") if name in options
    }
    target, asked = target_from(**(options or {"time": "2026-11-21 12:20:00 Asia/Tokyo"}))
    return RestoreRequest(target, asked, **extra)


def commit(minutes: float, lsn: int) -> Commit:
    return Commit(1, lsn, NOW - timedelta(minutes=minutes), 1000 + int(minutes))


def proof(**changes: Any) -> Proof:
    base = Proof(
        backup="20261121T030000Z-full",
        timeline=1,
        lsn=5 * SEGMENT + 0x200,
        inclusive=False,
        end_lsn=5 * SEGMENT + 0x200,
        segments=tuple(
            PlannedSegment(f"00000001000000000000000{number}", f"{number:064x}", 4_000_000, SEGMENT)
            for number in (2, 3, 4, 5)
        ),
        histories=(),
        first_commit=commit(29, 3 * SEGMENT),
        last_commit=commit(11, 5 * SEGMENT),
        next_commit=commit(9, 5 * SEGMENT + 0x200),
        newest_reachable=commit(1, 9 * SEGMENT),
        wal_bytes=4 * SEGMENT,
        target=request().target,
        branch=1,
    )
    return replace(base, **changes)


def control(**changes: Any) -> ControlData:
    base = ControlData(
        system_id=SYSTEM,
        state="in production",
        timeline=1,
        checkpoint_lsn=9 * SEGMENT,
        redo_lsn=9 * SEGMENT,
        min_recovery_end_lsn=0,
        min_recovery_end_timeline=0,
        backup_start_lsn=0,
        wal_segment_size=SEGMENT,
        block_size=8192,
        data_checksums=True,
        pg_control_version=1300,
        catalog_version=202209061,
        settings={name: str(value) for name, value in SETTINGS.items()},
    )
    return replace(base, **changes)


def disk(path: str, *, device: int = 1, free: int = 100_000_000_000) -> FileSystem:
    return FileSystem(path=path, device=device, free_bytes=free, total_bytes=2 * free, free_inodes=1_000_000)


def state(taken: Backup | None = None, **changes: Any) -> HostState:
    taken = taken or backup()
    paths = {os.path.dirname(path) for path in [DATA, *(item.path for item in taken.tablespaces)]}
    base = HostState(
        now=NOW,
        config=config(),
        catalog=Catalog((taken,), ()),
        live=LiveCluster(True, InstanceStatus(running=True, pid=4711, ready=True), control()),
        owner="postgres",
        running_as="postgres",
        may_control_service=True,
        parent_writable=True,
        disks={path: disk(path) for path in paths},
        repository_device=2,
    )
    return replace(base, **changes)
