# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the tests of the reports share: a role with pg_monitor and nothing else, and the reports as it sees them."""

from __future__ import annotations

import shutil
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.operation import (
    health_report,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.request import HealthRequest
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.operation import query_report
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.request import (
    Limits,
    QueryRequest,
)

from .harness.cluster import Cluster
from .harness.template import SUPERUSER

REPORTER = "reporter"


def reporter(cluster: Cluster) -> None:
    """Make the role that asks."""
    cluster.sql(f"CREATE ROLE {REPORTER} LOGIN IN ROLE pg_monitor")


def login_options(cluster: Cluster, user: str = REPORTER, **more: Any) -> dict[str, Any]:
    """The login_* options."""
    place = {"login_unix_socket": str(cluster.socket_directory), "login_port": cluster.port}
    return {**place, "login_user": user, "login_db": "postgres", **more}


def queries(
    cluster: Cluster, *, user: str = REPORTER, database: str = "postgres", **more: Any
) -> dict[str, Any]:
    """The report on statements; every run begins a new window."""
    quick = {"min_window_seconds": 0.0, "limits": Limits(least_ms=0)}
    request = QueryRequest(str(cluster.root / "report"), **{**quick, **more})
    return query_report(login_options(cluster, user, login_db=database), request)


def of_class(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Its findings of a class."""
    return [finding for finding in result["findings"] if finding["class"] == name]


def health(
    cluster: Cluster,
    *,
    user: str = REPORTER,
    config: ClusterConfig | None = None,
    login: Any = None,
    **more: Any,
) -> dict[str, Any]:
    """The report on health; every run begins a new window."""
    request = HealthRequest(str(cluster.root / "report"), **{"min_window_seconds": 0.0, **more})
    return health_report(login or login_options(cluster, user), request, config)


def standby_of(primary: Cluster, name: str = "second", **settings: str) -> Cluster:
    """A standby that streams from it, with a slot of its name."""
    standby = Cluster(
        primary.sandbox, name, installation=primary.installation, archiving=False, settings=settings
    )
    shutil.rmtree(standby.data_directory)
    primary.sql("SELECT pg_create_physical_replication_slot(%s)", name)
    primary.program(
        "pg_basebackup",
        *("-D", str(standby.data_directory), "-d", primary.dsn(), "-S", name),
        *("-c", "fast", "--no-sync", "-X", "stream"),
    )
    # Not by -R: the options of a newer program would be unknown to the library that the server finds.
    place = f"host={primary.socket_directory} port={primary.port} user={SUPERUSER} application_name={name}"
    standby.set(primary_conninfo=place, primary_slot_name=name)
    (standby.data_directory / "standby.signal").touch()
    return standby.start()
