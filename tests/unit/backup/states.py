# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""States of a healthy host, to be made unhealthy one fact at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.state import (
    Archiver,
    BackupState,
    ServerFacts,
    TablespaceFound,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.controldata import ControlData
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.disks import FileSystem
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.postmaster import InstanceStatus
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import Backup, Catalog

NOW = datetime(2026, 11, 21, 5, 0, tzinfo=timezone.utc)
SYSTEM = 7710488911203086354
GB = 1 << 30


def config(**more: Any) -> ClusterConfig:
    return ClusterConfig.from_dict(
        {
            "format": 1,
            "cluster": "main",
            "version": "15",
            "data_directory": "/d/main",
            "bin_directory": "/b",
            "socket_directory": "/run/s",
            "service": {"manager": "pg_ctl"},
            **more,
        },
        source="a test",
    )


CONTROL = ControlData(
    system_id=SYSTEM,
    state="in production",
    timeline=1,
    checkpoint_lsn=0x9000060,
    redo_lsn=0x9000028,
    min_recovery_end_lsn=0,
    min_recovery_end_timeline=0,
    backup_start_lsn=0,
    wal_segment_size=16 << 20,
    block_size=8192,
    data_checksums=True,
    pg_control_version=1300,
    catalog_version=202209061,
    settings={"max_connections": "100"},
)
SERVER = ServerFacts(
    version="15.18",
    version_num=150018,
    data_directory="/d/main",
    system_id=SYSTEM,
    in_recovery=False,
    archive_mode="on",
    archive_command="/usr/local/bin/dbkeeper archive-push %p",
    archive_library="",
    wal_level="replica",
    max_wal_senders=10,
    archiver=Archiver(archived_count=5, last_archived_wal="000000010000000000000008"),
    backup_role_fit=True,
    tablespaces=(
        TablespaceFound(1663, "pg_default", "", 3 * GB),
        TablespaceFound(1664, "pg_global", "", 0),
        TablespaceFound(16385, "fast", "/t/fast", 1 * GB),
    ),
)


def backup(label: str, age_hours: float, **more: Any) -> Backup:
    """A verified backup that ended so many hours ago, a quarter of its plain size."""
    stopped = NOW - timedelta(hours=age_hours)
    facts: dict[str, Any] = {
        "label": label,
        "status": "verified",
        "started_at": stopped - timedelta(minutes=5),
        "stopped_at": stopped,
        "system_id": SYSTEM,
        "major": 15,
        "wal_segment_size": 16 << 20,
        "timeline": 1,
        "start_lsn": 0x2000028,
        "stop_lsn": 0x2000100,
        "plain_bytes": 4 * GB,
        "stored_bytes": 1 * GB,
    }
    return Backup(**{**facts, **more})


def state(*backups: Backup, **more: Any) -> BackupState:
    healthy = BackupState(
        now=NOW,
        config=config(),
        catalog=Catalog(tuple(backups), ()),
        status=InstanceStatus(running=True, pid=42, ready=True, reason="process 42 serves /d/main"),
        control=CONTROL,
        server=SERVER,
        disk=FileSystem("/r", 1, 100 * GB, 200 * GB, 1000000),
        repository_path="/r/main",
        repository_writable=True,
        cpus=2,
    )
    return replace(healthy, **more)
