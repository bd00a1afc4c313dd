# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What there is and what can be restored. Needs the repository only; :mod:`watch.check` judges it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.controldata import read_control_data
from ..cluster.instance import Instance
from ..cluster.psql import query
from ..core.clock import format_utc, utc_now
from ..core.errors import KeeperError
from ..core.progress import read_progress
from ..repository.archive import conflicts
from ..repository.catalog import Backup, Catalog, read_catalog
from ..repository.dumps import read_shelf
from ..repository.engine import NativeEngine
from ..repository.evidence import list_evidence
from ..repository.layout import Repository
from ..repository.leftovers import leftovers
from ..wal.archive import Archive
from ..wal.index import WalIndex
from .health import Facts
from .kept import promised_since, retention_facts
from .pages import describe
from .state import ask_server, ready_segments, repository_disk
from .streaming import ask_streaming
from .windows import Window, gaps, windows


def information(config: ClusterConfig, repository: Repository) -> dict[str, Any]:
    """Everything that is known, as JSON values.

    ``backups`` (oldest first), ``damaged`` (entries that cannot be read), ``dumps`` (logical ones, by database and in
    the order in which they were begun), ``damaged_dumps``, ``broken_chains``, ``unsound`` (a later
    verification found their files damaged) and ``page_faults`` (backups that no restore takes by itself, and why),
    ``system_id`` (whose ``windows``,
    ``gaps`` and ``archive`` these are), ``conflicts`` (files kept aside because their name was archived with
    other content), ``leftovers`` (files that nobody uses, with their age, B16; None: nobody could look, because the
    door of the repository is older), ``newest_commit`` (last archived),
    ``freshness``, ``server``, ``archiver`` (None when no server answers), ``streaming`` (None where WAL is not to
    be streamed), ``disk``, ``retention``, ``progress``, ``last_restore``,
    ``last_measured`` (the last restore that was finished), ``objectives``.
    Brings the WAL index up to date. Raises :class:`Refused` (``repository-missing``), :class:`Failed`
    (``repository-unreadable``).
    """
    repository.require(f"say what is in the repository of cluster {config.cluster}")
    now = utc_now()
    catalog = read_catalog(repository)
    shelf = read_shelf(repository)
    system_id = _system_id(config, catalog, repository)
    archive, archive_error = _archive(config, repository, system_id)
    mine = [backup for backup in catalog.usable() if backup.system_id == system_id]
    copies = [one for one in catalog.backups if one.system_id == system_id and one.verified]
    found = windows([backup.facts() for backup in mine], archive) if archive else []
    server, archiver = _server(config)
    streaming = _streaming(config, server)
    evidence = list_evidence(repository)
    return {
        "cluster": config.cluster,
        "repository": repository.path,
        "at": format_utc(now),
        "system_id": str(system_id) if system_id else None,
        "backups": [summary(backup) for backup in catalog.backups],
        "damaged": [{"label": entry.label, "error": entry.error.to_dict()} for entry in catalog.damaged],
        "dumps": [one.summary() for one in shelf.dumps] if shelf else [],
        "damaged_dumps": [
            {"key": one.key, "error": one.error.to_dict()} for one in (shelf.damaged if shelf else ())
        ],
        "broken_chains": _broken_chains(catalog),
        "unsound": [
            {"label": one.label, **one.unsound} for one in catalog.backups if one.unsound is not None
        ],
        "page_faults": [
            {"label": one.label, "faults": describe(one.page_faults)}
            for one in copies
            if one.page_faults is not None
        ],
        "windows": [window.to_dict() for window in found],
        "gaps": _gaps(config, repository, catalog, archive, mine, found),
        "newest_commit": _newest_commit(found),
        "archive": archive.to_dict() if archive else {"error": archive_error},
        "conflicts": conflicts(repository, system_id) if system_id else [],
        "leftovers": leftovers(repository, system_id, now.timestamp()),
        "freshness": {
            "newest_backup": mine[-1].label if mine else None,
            "newest_copy": copies[-1].label if copies else None,
            "newest_backup_age_seconds": _age(now, mine[-1]) if mine else None,
            "unarchived_seconds": _unarchived_seconds(config),
        },
        "server": server,
        "archiver": archiver,
        "streaming": streaming,
        "disk": repository_disk(repository).to_dict(),
        "retention": retention_facts(config, repository, catalog, found),
        "progress": read_progress(f"{config.state_directory}/progress.json"),
        "last_restore": max(evidence, key=lambda item: str(item.get("ended", "")), default=None),
        "last_measured": max(
            (item for item in evidence if item.get("result") == "restored"),
            key=lambda item: str(item.get("ended", "")),
            default=None,
        ),
        "objectives": config.objectives.to_dict(),
    }


def _gaps(
    config: ClusterConfig,
    repository: Repository,
    catalog: Catalog,
    archive: Archive | None,
    mine: list[Backup],
    found: list[Window],
) -> list[dict[str, Any]]:
    """Of what is promised: without a break nobody has to ask what that is."""
    if archive is None or not any(window.broken for window in found):
        return []
    return gaps(found, promised_since(config, repository, catalog, archive, mine))


def summary(backup: Backup) -> dict[str, Any]:
    """A backup's entry without what only a restore needs."""
    entry = backup.to_dict()
    for name in ("files", "settings", "format"):
        entry.pop(name)
    return entry


def _broken_chains(catalog: Catalog) -> list[dict[str, Any]]:
    """Verified incremental backups whose chain is not whole (fault A17)."""
    faults = [(one.label, catalog.fault(one)) for one in catalog.backups if one.verified]
    return [
        {"label": label, "code": fault.code, "text": fault.happened}
        for label, fault in faults
        if fault is not None
    ]


def facts_of(known: Mapping[str, Any], *, backup_age_seconds: int) -> Facts:
    """What :func:`.health.judge` holds against the objectives."""
    return Facts(
        backup_age_seconds=backup_age_seconds,
        rpo_seconds=known["objectives"]["rpo_seconds"],
        rto_seconds=known["objectives"]["rto_seconds"],
        newest_backup=known["freshness"]["newest_backup"],
        newest_backup_age_seconds=known["freshness"]["newest_backup_age_seconds"],
        unarchived_seconds=known["freshness"]["unarchived_seconds"],
        windows=tuple(known["windows"]),
        gaps=tuple(known["gaps"]),
        faulty=tuple(known["archive"].get("faulty", ())),
        conflicts=tuple(known["conflicts"]),
        leftovers=None if known["leftovers"] is None else tuple(known["leftovers"]),
        archive_error=known["archive"].get("error"),
        damaged=tuple(item["label"] for item in known["damaged"]),
        broken_chains=tuple(known["broken_chains"]),
        unsound=tuple(known["unsound"]),
        page_faults=tuple(known["page_faults"]),
        newest_copy=known["freshness"]["newest_copy"],
        server=known["server"],
        archiver=known["archiver"],
        free_bytes=known["disk"]["free_bytes"],
        largest_backup_bytes=max((item["stored_bytes"] for item in known["backups"]), default=0),
        measured=_measured(known["last_measured"]),
    )


def _measured(evidence: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the last restore took, until the cluster was open again; None: there was none that tells."""
    record = evidence or {}
    spent = record.get("rto_seconds")
    if spent is None:
        steps = record.get("seconds")
        spent = sum(steps.values()) if isinstance(steps, dict) and steps else None
    if spent is None:
        return None
    return {"seconds": float(spent), "at": str(record.get("ended") or record.get("id")), "trial": None}


def _system_id(config: ClusterConfig, catalog: Catalog, repository: Repository) -> int | None:
    """That of the live cluster; when there is none, of the newest backup; else the only archive's."""
    try:
        return read_control_data(config.bin_directory, config.data_directory).system_id
    except KeeperError:
        # No data directory, or a damaged one: just when somebody asks what can be restored.
        usable = catalog.usable()
    if usable:
        return usable[-1].system_id
    known = repository.system_ids()
    return known[0] if len(known) == 1 else None


def _archive(
    config: ClusterConfig, repository: Repository, system_id: int | None
) -> tuple[Archive | None, dict[str, Any] | None]:
    if system_id is None or system_id not in repository.system_ids():
        return None, None
    source = NativeEngine(repository).wal_source(system_id)
    try:
        return WalIndex(repository.index(system_id)).refresh(source, config.bin_directory), None
    except KeeperError as error:
        return None, error.to_dict()


def _server(config: ClusterConfig) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The server's state, and its archiver when it answers."""
    try:
        status = Instance(config).status()
        if not status.ready:
            return status.to_dict(), None
        server = ask_server(config)
        timeout = query(config, "SELECT setting FROM pg_settings WHERE name = 'archive_timeout'")[0][0]
    except KeeperError as error:
        return {"running": None, "error": error.to_dict()}, None
    archiver = {
        **server.archiver.to_dict(),
        "on": server.archiving,
        "archive_timeout_seconds": int(timeout or 0),
        "ready_segments": len(ready_segments(config.data_directory)),
    }
    return {**status.to_dict(), "version": server.version, "in_recovery": server.in_recovery}, archiver


def _streaming(config: ClusterConfig, server: dict[str, Any]) -> dict[str, Any] | None:
    """None, too, where no server answers: it is said already, and a dead server's slot holds nobody up."""
    if not server.get("ready"):
        return None
    try:
        return ask_streaming(config)
    except KeeperError as error:
        # It stopped while it was asked, or the slot may not be looked at: not known is not "nothing to stream".
        slot = config.receive.slot if config.receive else None
        return {"slot": slot, "unknown": error.happened} if slot else None


def _unarchived_seconds(config: ClusterConfig) -> float | None:
    """How long the oldest finished segment has been waiting for the archiver; 0 when none waits, None: nobody knows."""
    directory = f"{config.data_directory}/pg_wal/archive_status"
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".ready"))
    except OSError:
        return None
    if not names:
        return 0.0
    try:
        return max(0.0, round(utc_now().timestamp() - os.stat(f"{directory}/{names[0]}").st_mtime, 1))
    except FileNotFoundError:
        # Archived while we were looking.
        return 0.0


def _age(now: datetime, backup: Backup) -> float:
    return round((now - (backup.stopped_at or backup.started_at)).total_seconds(), 1)


def _newest_commit(found: list[Window]) -> dict[str, Any] | None:
    known = [window for window in found if window.until is not None]
    newest = max(known, key=lambda window: (window.timeline, window.until), default=None)
    if newest is None or newest.until is None:
        return None
    return {"timeline": newest.timeline, "time": format_utc(newest.until)}
