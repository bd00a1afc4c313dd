# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""An extension in one database, for what the collection itself wants to see; without psycopg."""

from __future__ import annotations

import os
from typing import Any

from .config import ClusterConfig
from .instance import Instance
from .psql import query
from .replication_role import quote_identifier


def plan_extension(name: str, found: bool, *, in_recovery: bool) -> list[str]:
    """SQL that is missing. A standby receives the extension from its primary. Pure."""
    if found or in_recovery:
        return []
    return [f"CREATE EXTENSION {quote_identifier(name)} SCHEMA public"]


def ensure_extension(config: ClusterConfig, name: str, database: str, *, check: bool) -> dict[str, Any]:
    """Make the extension where it is missing; its version is left alone.

    In check mode a cluster that is still to be made counts as one without it, and of one that is stopped nothing is
    foretold. Raises what :func:`cluster.psql.query` raises.
    """
    found = in_recovery = False
    made = os.path.isdir(config.data_directory)
    if check and made and not Instance(config).status().running:
        found = True
    elif made or not check:
        rows = query(
            config,
            "SELECT pg_is_in_recovery(), EXISTS (SELECT FROM pg_extension WHERE extname = :'name')",
            values={"name": name},
            database=database,
        )
        in_recovery, found = rows[0][0] == "t", rows[0][1] == "t"
    plan = plan_extension(name, found, in_recovery=in_recovery)
    if not check:
        for statement in plan:
            query(config, statement, database=database)
    return {
        "changed": bool(plan),
        "executed": bool(plan) and not check,
        "plan": plan,
        "diff": {"before": {name: found}, "after": {name: found or bool(plan)}},
    }
