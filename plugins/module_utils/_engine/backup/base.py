# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Base backups: the one door to request, state, plan and execution."""

from __future__ import annotations

import time
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from ..core.errors import KeeperError, Refused
from ..core.journal import Journal
from ..core.locks import locked
from ..core.progress import Progress
from ..repository.layout import Repository
from .elsewhere import RemoteExecution
from .execute import Execution
from .plan import BackupPlan, make_plan
from .request import BackupRequest
from .state import BackupState, ask_server, ask_state

__all__ = ["BackupRequest", "backup", "take_backup"]

_NUDGE_SECONDS = 10.0
_PATIENCE_SECONDS = 60.0


def backup(
    config: ClusterConfig,
    repository: Repository,
    request: BackupRequest,
    *,
    check: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Take a base backup unless one satisfies the request.

    The result has ``changed``, ``executed``, ``plan`` and ``backup`` (the catalog's entry; empty when there is
    none yet). ``check``: the plan only. ``progress``: phases are told there, and its end is the caller's.

    Raises :class:`Refused` as :func:`.plan.make_plan` does, and ``busy`` when a backup or a restore of this cluster
    is running; :class:`Failed` with the catalog saying ``failed``: ``basebackup-failed``, ``repository-full``,
    ``page-checksum-failed``, ``archiving-failing``, ``archive-stuck``, ``wal-not-in-repository``.
    """
    if check:
        return _result(make_plan(request, ask_state(config, repository)), executed=False)
    attempted = f"take a base backup of cluster {config.cluster}"
    # Held for a moment only: a backup that begins during a restore would copy what is about to be put aside,
    # but a restore at night does not wait for a backup that takes hours (it fails when the server stops).
    with locked(f"{config.state_directory}/restore.lock", "base backup", attempted=attempted):
        pass
    return _alone(config, repository, request, progress, patience=0.0)


def take_backup(
    config: ClusterConfig, repository: Repository, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Take one, whatever is there, also at the end of a restore; see :func:`backup`."""
    return _alone(config, repository, BackupRequest(), progress, patience=_PATIENCE_SECONDS)


def _alone(
    config: ClusterConfig,
    repository: Repository,
    request: BackupRequest,
    progress: Progress | None,
    *,
    patience: float,
) -> dict[str, Any]:
    attempted = f"take a base backup of cluster {config.cluster}"
    repository.require(attempted)
    ours = f"{config.state_directory}/backup.lock"
    with locked(ours, "base backup", attempted=attempted, patience=patience):
        # The repository may be shared by hosts; the state directory is not.
        with locked(repository.lock("backup"), "base backup", attempted=attempted, patience=patience):
            return _backup(config, repository, request, progress)


def _backup(
    config: ClusterConfig, repository: Repository, request: BackupRequest, progress: Progress | None
) -> dict[str, Any]:
    plan, state = _plan(config, repository, request)
    if not plan.changes:
        return _result(plan, executed=False)
    journal = Journal.begin(
        f"{config.state_directory}/backup.journal.json", "backup", plan.label, plan.to_dict()
    )
    told = progress or Progress(f"{config.state_directory}/progress.json", "backup", identity=plan.label)
    kind = RemoteExecution if repository.elsewhere else Execution
    try:
        made = kind(plan, state, repository, journal, told).run()
    except BaseException as error:
        if progress is None:
            told.finish("failed", error.code if isinstance(error, KeeperError) else "interrupted")
        raise
    if progress is None:
        told.finish("done", plan.label)
    return {**_result(plan, executed=True), "backup": made.to_dict()}


def _plan(
    config: ClusterConfig, repository: Repository, request: BackupRequest
) -> tuple[BackupPlan, BackupState]:
    state = ask_state(config, repository)
    try:
        return make_plan(request, state), state
    except Refused as error:
        if error.code != "archiving-failing" or not _nudge(config):
            raise
    state = ask_state(config, repository)
    return make_plan(request, state), state


def _nudge(config: ClusterConfig) -> bool:
    """An archiver that failed sleeps for a minute, also when its command has been mended meanwhile: wake it.

    A new segment does that (source: PostgreSQL, pgarch.c, PGARCH_AUTOWAKE_INTERVAL). True when it has recovered.
    """
    query(config, "SELECT pg_logical_emit_message(false, 'dbkeeper', 'wake the archiver')")
    query(config, "SELECT pg_switch_wal()")
    deadline = time.monotonic() + _NUDGE_SECONDS
    while ask_server(config).archiver.failing:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _result(plan: BackupPlan, *, executed: bool) -> dict[str, Any]:
    return {
        "changed": plan.changes,
        "executed": executed,
        "plan": plan.to_dict(),
        "backup": plan.backup.to_dict() if plan.backup else {},
    }
