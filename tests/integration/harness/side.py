# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The engine's own plan, staging and replay, without the swap: many targets can be tried on one cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery import staging
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.plan import RestorePlan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.proving import plan_restore
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.replay import StagedServer, replay
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.request import (
    RestoreRequest,
    target_from,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.engine import NativeEngine
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

from .cluster import Cluster
from .template import SUPERUSER
from .workload import Key


@dataclass(frozen=True)
class Recovered:
    """What a restored copy holds."""

    plan: RestorePlan
    rows: set[Key]
    balances: tuple[int, ...]

    @property
    def balances_equal(self) -> bool:
        """Accounts, tellers, branches, history and ledger agree."""
        return len(set(self.balances)) == 1


_BALANCES = """
SELECT (SELECT coalesce(sum(abalance), 0) FROM pgbench_accounts),
       (SELECT coalesce(sum(tbalance), 0) FROM pgbench_tellers),
       (SELECT coalesce(sum(bbalance), 0) FROM pgbench_branches),
       (SELECT coalesce(sum(delta), 0) FROM pgbench_history),
       (SELECT coalesce(sum(delta), 0) FROM ledger_entries)
"""


class Beside:
    """Restores beside a cluster that stays as it is."""

    def __init__(self, cluster: Cluster) -> None:
        self._config = ClusterConfig.load(str(cluster.config_path))
        self._repository = Repository(self._config.repository, self._config.cluster)

    def plan(self, *, backup: str | None = None, **target: Any) -> RestorePlan:
        """The plan for a target as :func:`target_from` takes it."""
        chosen, asked = target_from(**target)
        return plan_restore(self._config, self._repository, RestoreRequest(chosen, asked, backup=backup))

    def restore(self, plan: RestorePlan) -> Recovered:
        """Stage, replay, promote, look, and remove."""
        with self.server(plan) as dsn, psycopg.connect(dsn, connect_timeout=60) as connection:
            rows = set(connection.execute("SELECT run, worker, seq, part FROM ledger_entries").fetchall())
            balances = tuple(int(value) for value in connection.execute(_BALANCES).fetchall()[0])
        return Recovered(plan, rows, balances)

    @contextmanager
    def server(self, plan: RestorePlan) -> Iterator[str]:
        """The connection string of the recovered and promoted copy."""
        try:
            staging.stage(plan, NativeEngine(self._repository), lambda done: None)
            staging.configure(plan, self._config, "a test")
            with StagedServer(plan, self._config) as server:
                replay(plan, server, lambda done, note: None, stalled_after=900.0)
                yield f"host={server.socket_directory} port={self._config.port} dbname=postgres user={SUPERUSER}"
        finally:
            staging.discard(plan)
