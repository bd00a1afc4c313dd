# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a dump finds: the database, the shelf, the disk. Asked once, changed by nobody."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.disks import FileSystem, file_system, nearest_existing
from ..cluster.instance import Instance
from ..cluster.psql import query
from ..core.clock import utc_now
from ..repository.catalog import FAILED, RUNNING
from ..repository.dumps import DUMP_ENTRY, Dump, Shelf, encode_name, read_shelf
from ..repository.layout import Repository

_DATABASES = """
SELECT json_build_object(
  'version', current_setting('server_version'),
  'in_recovery', pg_is_in_recovery(),
  'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  'system_id', (SELECT system_identifier::text FROM pg_control_system()),
  'databases', (SELECT json_agg(json_build_object(
      'name', datname, 'allows', datallowconn, 'encoding', pg_encoding_to_char(encoding),
      'bytes', CASE WHEN datname = :'database' THEN pg_database_size(oid) END)) FROM pg_database)
)
"""


@dataclass(frozen=True)
class DatabaseFacts:
    """What the server says of a database."""

    name: str
    allows_connections: bool
    encoding: str
    size_bytes: int


@dataclass(frozen=True)
class DumpState:
    """``database`` None: there is none of that name; ``known`` are the names that there are. ``server_running`` says
    whether anybody could be asked. ``discard`` are dumps that killed or failed runs left data of. ``processors``: how
    many this process may use."""

    now: datetime
    config: ClusterConfig
    shelf: Shelf
    disk: FileSystem
    repository_path: str
    repository_writable: bool
    server_running: bool
    reason: str = ""
    version: str = ""
    system_id: int = 0
    superuser: bool = True
    in_recovery: bool = False
    database: DatabaseFacts | None = None
    known: tuple[str, ...] = ()
    discard: tuple[Dump, ...] = ()
    processors: int = 1


def ask_state(config: ClusterConfig, repository: Repository, database: str, user: str | None) -> DumpState:
    """Look. Raises :class:`Refused` (``repository-missing``), :class:`Failed` what the questions raise.

    For a repository elsewhere a dump is made in the state directory first: there has to be room on both sides.
    """
    attempted = f"dump database {database} of cluster {config.cluster}"
    repository.require(attempted)
    shelf = read_shelf(repository)
    root = f"{config.state_directory}/incoming" if repository.elsewhere else repository.path
    place = f"{root}/dump/{encode_name(database)}"
    disk, writable = file_system(place), os.access(nearest_existing(place), os.W_OK | os.X_OK)
    if repository.elsewhere:
        there = repository.space()
        disk = replace(disk, free_bytes=min(disk.free_bytes, int(there["free_bytes"])))
        writable = writable and bool(there["writable"])
    status = Instance(config).status()
    facts: dict[str, Any] = {}
    if status.running and status.ready:
        rows = query(config, _DATABASES, values={"database": database}, user=user, timeout=600)
        facts = json.loads(str(rows[0][0]))
    found = [item for item in facts.get("databases", ()) if item["name"] == database]
    return DumpState(
        now=utc_now(),
        config=config,
        shelf=shelf,
        disk=disk,
        repository_path=root,
        repository_writable=writable,
        server_running=bool(facts),
        reason=status.reason,
        version=facts.get("version", ""),
        system_id=int(facts.get("system_id", 0)),
        superuser=bool(facts.get("superuser")),
        in_recovery=bool(facts.get("in_recovery")),
        database=_database(found[0]) if found else None,
        known=tuple(sorted(item["name"] for item in facts.get("databases", ()) if item["allows"])),
        discard=left_behind(repository, shelf.dumps),
        processors=len(os.sched_getaffinity(0)),
    )


def left_behind(repository: Repository, dumps: Sequence[Dump]) -> tuple[Dump, ...]:
    """Dumps whose makers have died before they said how it ended, and failed ones that still have data."""
    found = []
    for one in dumps:
        if one.status == RUNNING and not repository.owner_alive(one.owner):
            found.append(one)
        elif one.status == FAILED and not repository.elsewhere:
            try:
                names = set(os.listdir(one.directory(repository)))
            except FileNotFoundError:
                # Expired since it was listed.
                continue
            found += [one] if names - {DUMP_ENTRY} else []
    return tuple(found)


def _database(item: dict[str, Any]) -> DatabaseFacts:
    return DatabaseFacts(item["name"], bool(item["allows"]), item["encoding"], int(item["bytes"] or 0))
