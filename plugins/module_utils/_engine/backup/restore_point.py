# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Restore points: a name for a moment. PostgreSQL keeps no list of them; a name used twice means nothing (A09).

So a name is an identity here: a point that is there is not made again. What is there is known from the WAL
index (all that has been archived, by whomever it was made) and from a list of those that were made here. What is
going to be made is written down before: where the list cannot be written nothing is made, and what a killed run has
left open is looked up in the archive, not made a second time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.home import repository_named_by
from ..cluster.sql import connect, rows
from ..core.clock import format_utc
from ..core.errors import Failed, Refused
from ..core.files import read_json, write_json
from ..core.locks import locked
from ..repository.engine import NativeEngine
from ..repository.layout import Repository
from ..wal.index import WalIndex
from ..wal.lsn import format_lsn
from ..wal.segment import parse_segment

_LIST = "restore_points.json"
_KEPT = 1000
_PATIENCE_SECONDS = 60.0


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
    ``restore-point-ambiguous``, ``restore-point-unsettled``, ``busy``; :class:`Failed`: ``sql-failed``,
    ``restore-point-list-unwritable``.
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
        if config is not None and there is None and not check:
            there = _settled(connection, config, request, int(system_id), attempted)
        if there is not None:
            said = f" of {there.made_at}" if there.made_at else ""
            warnings.append(
                f"the restore point{said} at {there.lsn} is kept; for a new moment choose a new name"
            )
            return _result(request, there, warnings, changed=False, executed=False)
        if check:
            return _result(request, None, warnings, changed=True, executed=False)
        if config is not None:
            _begin(config, str(system_id), request.name, attempted)
        made = _execute(connection, request, attempted)
        if config is not None:
            try:
                _remember(config, str(system_id), made)
            except OSError as error:
                warnings.append(
                    f"it is made, at {made.lsn}, but {config.state_directory}/{_LIST} could not be written "
                    f"({error.strerror}): before the name is used again the archive is asked for it"
                )
    return _result(request, made, warnings, changed=True, executed=True)


def _settled(
    connection: Any, config: ClusterConfig, request: RestorePointRequest, system_id: int, attempted: str
) -> KnownPoint | None:
    """What became of a point that somebody began to make and did not write down; None: nothing, or nobody did.

    All that was written until now has to be in the archive before anybody can tell. Raises :class:`Refused`
    (``restore-point-unsettled``).
    """
    if (str(system_id), request.name) not in _begun(config):
        return None
    repository = repository_named_by(config)
    [(segment,)] = rows(
        connection, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())", attempted=attempted
    )
    rows(connection, "SELECT pg_switch_wal()", attempted=attempted)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not repository.has_wal(system_id, [segment]):
        if time.monotonic() > deadline:
            raise Refused(
                "restore-point-unsettled",
                attempted=attempted,
                happened=f"an earlier run was interrupted while it made one of that name, and {segment}, which shows "
                "whether it is there, is not archived yet",
                remedy="See why nothing is archived (dbkeeper check), then run it again; or choose another name.",
            )
        time.sleep(0.2)
    return plan_restore_point(request, known_points(config, repository, system_id))


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


def _read(config: ClusterConfig) -> dict[str, Any]:
    try:
        return dict(
            read_json(f"{config.state_directory}/{_LIST}", attempted="read the list of restore points")
        )
    except FileNotFoundError:
        return {"points": []}


def _listed(config: ClusterConfig) -> list[dict[str, Any]]:
    return list(_read(config)["points"])


def _begun(config: ClusterConfig) -> list[tuple[str, str]]:
    """System and name of each point of which nobody knows whether it was made."""
    return [(str(one["system_id"]), str(one["name"])) for one in _read(config).get("begun", [])]


def _begin(config: ClusterConfig, system_id: str, name: str, attempted: str) -> None:
    """Raises :class:`Failed` (``restore-point-list-unwritable``)."""
    begun = [one for one in _begun(config) if one != (system_id, name)]
    try:
        _write(config, _listed(config), [*begun, (system_id, name)])
    except OSError as error:
        raise Failed(
            "restore-point-list-unwritable",
            attempted=attempted,
            happened=f"{error.filename or config.state_directory}: {error.strerror}; nothing was made",
            remedy=f"Let the cluster's owner write below {config.state_directory}, and see that it has space.",
        ) from error


def _remember(config: ClusterConfig, system_id: str, point: KnownPoint) -> None:
    points = [*_listed(config), {**point.__dict__, "system_id": system_id}]
    _write(config, points, [one for one in _begun(config) if one != (system_id, point.name)])


def _write(config: ClusterConfig, points: list[dict[str, Any]], begun: list[tuple[str, str]]) -> None:
    os.makedirs(config.state_directory, exist_ok=True)
    value = {
        "format": 1,
        "points": points[-_KEPT:],
        "begun": [{"system_id": system, "name": name} for system, name in begun[-_KEPT:]],
    }
    write_json(f"{config.state_directory}/{_LIST}", value)


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
