# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Restore points: a name for a moment. PostgreSQL keeps no list of them; a name used twice means nothing (A09).

So a name is an identity here: a point that is there is not made again. What is there is known from the WAL
index (all that has been archived, by whomever it was made) and from a list of those that were made here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.home import repository_named_by
from ..cluster.sql import connect, rows
from ..core.clock import format_utc
from ..core.errors import Refused
from ..core.files import read_json, write_json
from ..core.locks import locked
from ..repository.engine import NativeEngine
from ..repository.layout import Repository
from ..wal.index import WalIndex
from ..wal.lsn import format_lsn
from ..wal.segment import parse_segment

_LIST = "restore_points.json"
_KEPT = 1000


@dataclass(frozen=True)
class RestorePointRequest:
    """A point of that name. ``archive``: finish the segment, so that the point can be restored at once.

    Raises :class:`Refused` (``restore-point-name-malformed``).
    """

    name: str
    archive: bool = True

    def __post_init__(self) -> None:
        size = len(self.name.encode())
        if not 1 <= size <= 63 or not self.name.isprintable():
            raise Refused(
                "restore-point-name-malformed",
                attempted=f"make the restore point {self.name!r}",
                happened=f"the name has {size} bytes; it must have 1 to 63, and none that cannot be printed",
                remedy="Choose a shorter name, such as before-migration-42.",
            )


@dataclass(frozen=True)
class KnownPoint:
    """A restore point that is there. ``made_at`` is known for those of the list only."""

    name: str
    lsn: str
    timeline: int | None = None
    made_at: str | None = None


def known_points(config: ClusterConfig, repository: Repository, system_id: int) -> list[KnownPoint]:
    """All that the archive of a system and the list of this host know. Brings the WAL index up to date."""
    source = NativeEngine(repository).wal_source(system_id)
    archive = WalIndex(repository.index(system_id)).refresh(source, config.bin_directory)
    found = [
        KnownPoint(name, format_lsn(lsn), parse_segment(entry.name, archive.segment_bytes).timeline)
        for entry in archive.entries.values()
        for name, lsn, _dummy in entry.restore_points
    ]
    listed = [item for item in _listed(config) if item.get("system_id") == str(system_id)]
    return found + [
        KnownPoint(item["name"], item["lsn"], item["timeline"], item["made_at"]) for item in listed
    ]


def plan_restore_point(request: RestorePointRequest, known: Iterable[KnownPoint]) -> KnownPoint | None:
    """The point that satisfies the request already, else None. Pure.

    Raises :class:`Refused` (``restore-point-ambiguous``) when there are several of that name.
    """
    # The list and the index tell of the same point: the index has where its record begins, the list where it ends.
    mine = [point for point in known if point.name == request.name]
    indexed = [point for point in mine if point.made_at is None]
    if len(indexed) > 1:
        raise Refused(
            "restore-point-ambiguous",
            attempted=f"make the restore point {request.name!r}",
            happened=f"the archive holds {len(indexed)} of that name, at {', '.join(p.lsn for p in indexed)}",
            remedy="Choose another name: this one cannot be told apart any more (restore by LSN instead).",
            details={"lsns": [point.lsn for point in indexed]},
        )
    listed = [point for point in mine if point.made_at is not None]
    first = [*listed, *indexed]
    return first[0] if first else None


def statements(request: RestorePointRequest) -> list[str]:
    """The SQL, for people; the name is quoted as PostgreSQL does."""
    name = request.name.replace("'", "''")
    made = [f"SELECT pg_create_restore_point('{name}')"]
    return [*made, "SELECT pg_switch_wal()"] if request.archive else made


def create_restore_point(
    options: Mapping[str, Any],
    request: RestorePointRequest,
    *,
    config: ClusterConfig | None = None,
    check: bool = False,
) -> dict[str, Any]:
    """Make the point unless it is there.

    ``options`` are ``login_*`` options. With ``config`` the name is compared with the repository and the list;
    without, nothing is known of earlier points, and a warning says so. The result has ``changed``,
    ``executed``, ``name``, ``lsn``, ``timeline``, ``made_at``, ``plan`` (SQL) and ``warnings``.

    Raises :class:`Refused`: ``psycopg-missing``, ``server-unreachable``, ``server-in-recovery``,
    ``restore-point-ambiguous``, ``busy``; :class:`Failed`: ``sql-failed``.
    """
    attempted = f"make the restore point {request.name!r}"
    if config is None:
        return _create(options, request, None, attempted, check)
    if check:
        return _create(options, request, config, attempted, check)
    with locked(f"{config.state_directory}/restore_point.lock", attempted, attempted=attempted, patience=60):
        return _create(options, request, config, attempted, check)


def _create(
    options: Mapping[str, Any],
    request: RestorePointRequest,
    config: ClusterConfig | None,
    attempted: str,
    check: bool,
) -> dict[str, Any]:
    warnings = []
    with connect(options) as connection:
        system_id, recovering = rows(
            connection,
            "SELECT system_identifier, pg_is_in_recovery() FROM pg_control_system()",
            attempted=attempted,
        )[0]
        if recovering:
            raise Refused(
                "server-in-recovery",
                attempted=attempted,
                happened="the server is a standby or still recovering; a restore point is written to the WAL",
                remedy="Connect to the primary.",
            )
        known: list[KnownPoint] = []
        if config is not None:
            known = known_points(config, repository_named_by(config), int(system_id))
        else:
            warnings.append("no cluster was named, so nobody looked whether the name is there already")
        there = plan_restore_point(request, known)
        if there is not None:
            said = f" of {there.made_at}" if there.made_at else ""
            warnings.append(
                f"the restore point{said} at {there.lsn} is kept; for a new moment choose a new name"
            )
            return _result(request, there, warnings, changed=False, executed=False)
        if check:
            return _result(request, None, warnings, changed=True, executed=False)
        made = _execute(connection, request, attempted)
        if config is not None:
            _remember(config, str(system_id), made)
    return _result(request, made, warnings, changed=True, executed=True)


def _execute(connection: Any, request: RestorePointRequest, attempted: str) -> KnownPoint:
    lsn, name, at = rows(
        connection,
        "SELECT lsn::text, pg_walfile_name(lsn), clock_timestamp() FROM pg_create_restore_point(%s) AS lsn",
        (request.name,),
        attempted=attempted,
    )[0]
    if request.archive:
        rows(connection, "SELECT pg_switch_wal()", attempted=attempted)
    moment: datetime = at
    return KnownPoint(request.name, str(lsn), int(name[:8], 16), format_utc(moment))


def _listed(config: ClusterConfig) -> list[dict[str, Any]]:
    try:
        value = read_json(f"{config.state_directory}/{_LIST}", attempted="read the list of restore points")
    except FileNotFoundError:
        return []
    return list(value["points"])


def _remember(config: ClusterConfig, system_id: str, point: KnownPoint) -> None:
    os.makedirs(config.state_directory, exist_ok=True)
    points = [*_listed(config), {**point.__dict__, "system_id": system_id}]
    write_json(f"{config.state_directory}/{_LIST}", {"format": 1, "points": points[-_KEPT:]})


def _result(
    request: RestorePointRequest,
    point: KnownPoint | None,
    warnings: list[str],
    *,
    changed: bool,
    executed: bool,
) -> dict[str, Any]:
    return {
        "changed": changed,
        "executed": executed,
        "name": request.name,
        "lsn": point.lsn if point else None,
        "timeline": point.timeline if point else None,
        "made_at": point.made_at if point else None,
        "plan": statements(request) if changed else [],
        "warnings": warnings,
    }
