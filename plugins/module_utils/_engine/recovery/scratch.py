# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A server for a while, made of the newest backup: for what is better tried anywhere but on the live one.

Planned, proven and replayed as any restore, up to the backup's own end, and never swapped. It lies beside the live data
directory, takes connections in a directory that only the owner enters, archives nothing, and is gone with the block;
what a killed run left goes when the next one begins.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.files import read_json, write_json
from ..core.locks import locked
from ..repository.engine import NativeEngine
from ..repository.layout import Repository
from ..repository.leases import release_lease, take_lease
from . import staging
from .combine import combine
from .plan import RestorePlan
from .proving import plan_restore
from .replay import NoRoomForPrepared, StagedServer, replay
from .request import RestoreRequest, target_from

_ATTEMPTED = "restore the newest backup beside the live cluster"
_RECORD = "scratch.json"


@dataclass(frozen=True)
class Scratch:
    """The copy: of which backup, as of when, and how it is reached."""

    backup: str
    stopped_at: str
    system_id: str
    login: dict[str, Any]


@contextmanager
def scratch(config: ClusterConfig) -> Iterator[Scratch]:
    """The newest backup as a running server of its own, for as long as the block lasts.

    Raises what :func:`plan_restore`, :func:`staging.stage` and :func:`replay` raise, and ``busy``.
    """
    repository = Repository(config.repository, config.cluster)
    with locked(f"{config.state_directory}/scratch.lock", "scratch", attempted=_ATTEMPTED):
        _remove_left(config, repository)
        target, asked = target_from(immediate=True)
        plan = plan_restore(config, repository, RestoreRequest(target, asked))
        write_json(_record(config), plan.to_dict(), 0o600)
        try:
            take_lease(
                repository,
                plan.id,
                purpose=f"copy of {plan.cluster} for a while",
                label=plan.backup,
                system_id=plan.system_id,
                first_segment=plan.segments[0][0],
            )
            staging.stage(plan, NativeEngine(repository), lambda done: None)
            combine(plan, config)
            # One number for all copies of a backup: what is promoted here goes, and nothing of it is archived.
            staging.configure(plan, config, "any copy")
            with ExitStack() as stack:
                server = _replayed(plan, config, stack)
                yield Scratch(
                    plan.backup,
                    plan.backup_stopped_at,
                    plan.system_id,
                    {
                        "login_unix_socket": server.socket_directory,
                        "login_port": config.port,
                        "login_user": config.superuser,
                    },
                )
        finally:
            _remove(config, repository, plan)


def _replayed(plan: RestorePlan, config: ClusterConfig, stack: ExitStack) -> StagedServer:
    stalled_after = float(config.restore.stalled_after_seconds)
    for last in (False, True):
        server = stack.enter_context(StagedServer(plan, config))
        try:
            replay(plan, server, lambda done, note: None, stalled_after=stalled_after)
        except NoRoomForPrepared:
            if last:
                raise
            staging.make_room(plan)
        else:
            break
    return server


def _record(config: ClusterConfig) -> str:
    return os.path.join(config.state_directory, _RECORD)


def _remove(config: ClusterConfig, repository: Repository, plan: RestorePlan) -> None:
    staging.discard(plan)
    release_lease(repository, plan.id)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_record(config))


def _remove_left(config: ClusterConfig, repository: Repository) -> None:
    """What a killed run left: its server, its directory, its lease."""
    try:
        left = read_json(_record(config), attempted=_ATTEMPTED)
    except FileNotFoundError:
        return
    _remove(config, repository, RestorePlan.from_dict(left))
