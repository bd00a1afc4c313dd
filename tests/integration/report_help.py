# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the tests of the reports share: a role with pg_monitor and nothing else, and the reports as it sees them."""

from __future__ import annotations

from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.operation import query_report
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.request import (
    Limits,
    QueryRequest,
)

from .harness.cluster import Cluster

REPORTER = "reporter"


def reporter(cluster: Cluster) -> None:
    """Make the role that asks."""
    cluster.sql(f"CREATE ROLE {REPORTER} LOGIN IN ROLE pg_monitor")


def login(cluster: Cluster, user: str = REPORTER, **more: Any) -> dict[str, Any]:
    """The login_* options."""
    place = {"login_unix_socket": str(cluster.socket_directory), "login_port": cluster.port}
    return {**place, "login_user": user, "login_db": "postgres", **more}


def queries(
    cluster: Cluster, *, user: str = REPORTER, database: str = "postgres", **more: Any
) -> dict[str, Any]:
    """The report on statements; every run begins a new window."""
    quick = {"min_window_seconds": 0.0, "limits": Limits(least_ms=0)}
    request = QueryRequest(str(cluster.root / "report"), **{**quick, **more})
    return query_report(login(cluster, user, login_db=database), request)


def of_class(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Its findings of a class."""
    return [finding for finding in result["findings"] if finding["class"] == name]
