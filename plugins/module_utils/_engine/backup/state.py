# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a base backup finds: the server and its archiver, the repository, the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.controldata import ControlData, read_control_data
from ..cluster.disks import FileSystem, file_system
from ..cluster.instance import Instance, InstanceStatus
from ..cluster.psql import query
from ..core.clock import utc_now
from ..repository.catalog import RUNNING, Backup, Catalog, read_catalog
from ..repository.fetch import stored_fault
from ..repository.layout import Repository
from .summaries import Summaries, ask_summaries

_SERVER = """
SELECT json_build_object(
  'version', current_setting('server_version'),
  'version_num', current_setting('server_version_num')::int,
  'data_directory', current_setting('data_directory'),
  'system_id', (SELECT system_identifier::text FROM pg_control_system()),
  'in_recovery', pg_is_in_recovery(),
  'timeline_name', CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_insert_lsn()) END,
  'archive_mode', current_setting('archive_mode'),
  'archive_command', current_setting('archive_command'),
  'archive_library', coalesce(current_setting('archive_library', true), ''),
  'wal_level', current_setting('wal_level'),
  'max_wal_senders', current_setting('max_wal_senders')::int,
  'archived_count', a.archived_count,
  'last_archived_wal', a.last_archived_wal,
  'last_archived_at', a.last_archived_time,
  'failed_count', a.failed_count,
  'last_failed_wal', a.last_failed_wal,
  'last_failed_at', a.last_failed_time,
  'failing', coalesce(a.last_failed_time > coalesce(a.last_archived_time, '-infinity'), false),
  'backup_role', (SELECT rolcanlogin AND rolreplication FROM pg_roles WHERE rolname = :'backup_user'),
  'tablespaces', (SELECT json_agg(json_build_object(
      'oid', oid::bigint, 'name', spcname, 'path', pg_tablespace_location(oid),
      'bytes', pg_tablespace_size(oid)) ORDER BY oid) FROM pg_tablespace)
) FROM pg_stat_archiver AS a
"""

#: What stands in archive_command while nobody archives: the role postgresql has "/bin/true" there.
_KEEPS_NOTHING = ("", "(disabled)", "/bin/true", "/usr/bin/true", "true", ":")


@dataclass(frozen=True)
class TablespaceFound:
    """A tablespace as the server knows it; ``path`` is empty for the two that every cluster has."""

    oid: int
    name: str
    path: str
    size_bytes: int


@dataclass(frozen=True)
class Archiver:
    """pg_stat_archiver. ``failing``: its last word was a failure, so the same segment is tried again and again."""

    archived_count: int = 0
    last_archived_wal: str | None = None
    last_archived_at: str | None = None
    failed_count: int = 0
    last_failed_wal: str | None = None
    last_failed_at: str | None = None
    failing: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class ServerFacts:
    """What the server says of itself. ``backup_role_fit`` None: there is no such role."""

    version: str
    version_num: int
    data_directory: str
    system_id: int
    in_recovery: bool
    archive_mode: str
    archive_command: str
    archive_library: str
    wal_level: str
    max_wal_senders: int
    archiver: Archiver
    backup_role_fit: bool | None
    tablespaces: tuple[TablespaceFound, ...]
    timeline: int | None = None

    @property
    def major(self) -> int:
        """The major version."""
        return self.version_num // 10000

    @property
    def size_bytes(self) -> int:
        """All tablespaces together."""
        return sum(tablespace.size_bytes for tablespace in self.tablespaces)

    @property
    def archiving(self) -> bool:
        """Whether it is told to archive at all."""
        told = self.archive_command not in _KEEPS_NOTHING or self.archive_library != ""
        return self.archive_mode in ("on", "always") and told


@dataclass(frozen=True)
class BackupState:
    """All that a plan needs to know; asked once, changed by nobody.

    ``server`` is None where no server runs; ``live_owners`` are the labels of unfinished backups whose makers
    are alive. ``ready_segments`` wait to be archived. ``summaries`` None: the server's version has none.
    """

    now: datetime
    config: ClusterConfig
    catalog: Catalog
    status: InstanceStatus
    control: ControlData
    server: ServerFacts | None
    disk: FileSystem
    repository_path: str
    repository_writable: bool
    #: Where on this host a backup is only passed on, when the repository is elsewhere; else empty.
    scratch: str = ""
    same_device: bool = False
    live_owners: frozenset[str] = frozenset()
    ready_segments: int = 0
    cpus: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    summaries: Summaries | None = None
    can_combine: bool = False
    #: What is wrong with the stored files of the backup that an incremental one would be built on.
    parent_fault: str | None = None


def ask_state(config: ClusterConfig, repository: Repository) -> BackupState:
    """Look. Raises :class:`Refused` ``repository-missing``; :class:`Failed` what the questions raise."""
    repository.require(f"take a base backup of cluster {config.cluster}")
    catalog = read_catalog(repository)
    status = Instance(config).status()
    disk = repository_disk(repository)
    control = read_control_data(config.bin_directory, config.data_directory)
    server = ask_server(config) if status.running and status.ready else None
    return BackupState(
        now=utc_now(),
        config=config,
        catalog=catalog,
        status=status,
        control=control,
        server=server,
        disk=disk,
        repository_path=repository.path,
        repository_writable=repository.writable(),
        scratch=f"{config.state_directory}/incoming" if repository.elsewhere else "",
        same_device=file_system(config.data_directory).device == disk.device,
        live_owners=frozenset(
            backup.label
            for backup in catalog.backups
            if backup.status == RUNNING
            and repository.owner_alive(backup.owner)
            and backup.owner.get("pid") != os.getpid()
        ),
        ready_segments=len(ready_segments(config.data_directory)),
        cpus=len(os.sched_getaffinity(0)),
        summaries=ask_summaries(config, server.version_num) if server else None,
        can_combine=os.access(config.program("pg_combinebackup"), os.X_OK),
        parent_fault=_parent_fault(repository, catalog, control.system_id),
    )


def repository_disk(repository: Repository) -> FileSystem:
    """The file system of a repository, also of one elsewhere (it has no device here then: -1)."""
    if not repository.elsewhere:
        return file_system(repository.path)
    facts = repository.space()
    return FileSystem(
        repository.path, -1, int(facts["free_bytes"]), int(facts["total_bytes"]), facts["free_inodes"]
    )


def newest_parent(catalog: Catalog, system_id: int) -> Backup | None:
    """The backup that an incremental one would be built on: the newest of this system that is fit for a restore."""
    fit = [b for b in catalog.usable() if b.system_id == system_id and b.start_lsn is not None]
    return fit[-1] if fit else None


def _parent_fault(repository: Repository, catalog: Catalog, system_id: int) -> str | None:
    """Of the newest chain: nothing is built on a backup that has lost a file."""
    parent = newest_parent(catalog, system_id)
    for link in catalog.chain(parent) if parent else ():
        fault = stored_fault(repository, link)
        if fault is not None:
            return f"backup {link.label} is not whole: {fault}"
    return None


def ask_server(config: ClusterConfig) -> ServerFacts:
    """Ask the server itself. Raises :class:`Failed` (``server-unreachable``, ``sql-failed``)."""
    rows = query(config, _SERVER, values={"backup_user": config.backup_user}, timeout=600)
    return server_facts(json.loads(str(rows[0][0])))


def server_facts(value: Mapping[str, Any]) -> ServerFacts:
    """From the answer to the question above."""
    names = ("version", "version_num", "data_directory", "in_recovery", "archive_mode", "archive_command")
    more = ("archive_library", "wal_level", "max_wal_senders")
    return ServerFacts(
        **{name: value[name] for name in (*names, *more)},
        system_id=int(value["system_id"]),
        backup_role_fit=value["backup_role"],
        timeline=int(value["timeline_name"][:8], 16) if value.get("timeline_name") else None,
        archiver=Archiver(**{name: value[name] for name in Archiver.__dataclass_fields__}),
        tablespaces=tuple(
            TablespaceFound(int(item["oid"]), item["name"], item["path"], int(item["bytes"] or 0))
            for item in value["tablespaces"]
        ),
    )


def ready_segments(data_directory: str) -> tuple[str, ...]:
    """Finished WAL that waits to be archived, oldest first; nothing where the directory cannot be read."""
    try:
        names = os.listdir(f"{data_directory}/pg_wal/archive_status")
    except OSError:
        return ()
    return tuple(sorted(name[: -len(".ready")] for name in names if name.endswith(".ready")))
