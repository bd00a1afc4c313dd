# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Many plans, each recovered by the real server, on one staged copy for all that share backup and timeline.

The copy is fetched once by the engine; then, in the order of WAL, each plan's own configuration and segment list are
put under it, and the server goes on to that plan's target and pauses there to be looked at. So a target costs a
start of the server instead of a whole restore. Promotion, verification and swap are tried elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import psycopg

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.files import make_directory
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery import staging
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.plan import RestorePlan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.replay import StagedServer
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.engine import NativeEngine
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

from .cluster import Cluster
from .template import SUPERUSER
from .waiting import wait_for
from .workload import Key

#: For a server that is only looked at: it stands at the target, and writes no more than it must.
_STANDING = (
    "recovery_target_action = pause\nhot_standby = on\nshared_buffers = 32MB\nlog_min_messages = info\n"
)


class Sequence:
    """Recovers plans beside a cluster that stays as it is."""

    def __init__(self, cluster: Cluster) -> None:
        self._config = ClusterConfig.load(str(cluster.config_path))
        self._repository = Repository(self._config.repository, self._config.cluster)

    def rows(self, plans: Iterable[RestorePlan]) -> dict[str, set[Key]]:
        """What ``ledger_entries`` holds at each plan's target; by the plan's id."""
        found: dict[str, set[Key]] = {}
        order = sorted({plan.id: plan for plan in plans}.values(), key=_place)
        for _dummy, group in groupby(order, lambda plan: _place(plan)[:2]):
            last: RestorePlan | None = None
            try:
                for plan in group:
                    self._put_under(plan, last)
                    last = plan
                    found[plan.id] = self._look(plan)
            finally:
                if last:
                    staging.discard(last)
        return found

    def _put_under(self, plan: RestorePlan, last: RestorePlan | None) -> None:
        if last is None:
            staging.stage(plan, NativeEngine(self._repository), lambda done: None)
        else:
            make_directory(plan.work_directory, 0o700)
            os.rename(last.staging, plan.staging)
            staging.discard(last)
        staging.configure(plan, self._config, "a test")
        with open(f"{plan.work_directory}/staged.conf", "a") as handle:
            handle.write(_STANDING)

    def _look(self, plan: RestorePlan) -> set[Key]:
        with StagedServer(plan, self._config) as server:
            dsn = f"host={server.socket_directory} port={self._config.port} dbname=postgres user={SUPERUSER}"

            def standing() -> Any:
                assert server.ended() is None, _log(plan)
                try:
                    with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
                        state = connection.execute(
                            "SELECT pg_is_in_recovery(), pg_get_wal_replay_pause_state()"
                        ).fetchall()[0]
                        assert state[0], f"promoted instead of pausing\n{_log(plan)}"
                        return (_rows(connection),) if state[1] == "paused" else ()
                except psycopg.OperationalError:
                    return ()

            try:
                (rows,) = wait_for(standing, "recovery to stand at its target", timeout=240)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{_log(plan)}") from None
            server.stop()
        return rows


def _rows(connection: psycopg.Connection[Any]) -> set[Key]:
    return set(connection.execute("SELECT run, worker, seq, part FROM ledger_entries").fetchall())


def _log(plan: RestorePlan) -> str:
    try:
        with open(staging.log_path(plan), errors="replace") as handle:
            return handle.read()[-3000:]
    except FileNotFoundError:
        return "(no log)"


def _place(plan: RestorePlan) -> tuple[str, int, int, bool]:
    return plan.proof["backup"], plan.timeline, plan.lsn, plan.inclusive
