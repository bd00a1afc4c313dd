# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The role that base backups connect as: LOGIN and REPLICATION, no password, no other power."""

from __future__ import annotations

import os
from typing import Any

from .config import ClusterConfig
from .psql import query


def quote_identifier(name: str) -> str:
    """A name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def plan_role(name: str, found: tuple[bool, bool] | None) -> list[str]:
    """SQL that is missing. ``found`` is (may log in, may replicate), None when there is no such role.
    Pure."""
    if found is None:
        return [f"CREATE ROLE {quote_identifier(name)} LOGIN REPLICATION"]
    if all(found):
        return []
    return [f"ALTER ROLE {quote_identifier(name)} LOGIN REPLICATION"]


def ensure_role(config: ClusterConfig, name: str, *, check: bool) -> dict[str, Any]:
    """Make the role where it is missing or lacks an attribute.

    In check mode a cluster that is still to be made counts as one without the role. Raises what
    :func:`cluster.psql.query` raises.
    """
    there = os.path.isdir(config.data_directory)
    rows = (
        query(
            config,
            "SELECT rolcanlogin, rolreplication FROM pg_roles WHERE rolname = :'name'",
            values={"name": name},
        )
        if there or not check
        else []
    )
    found = (rows[0][0] == "t", rows[0][1] == "t") if rows else None
    plan = plan_role(name, found)
    if not check:
        for statement in plan:
            query(config, statement)
    before = {} if found is None else {"login": found[0], "replication": found[1]}
    return {
        "changed": bool(plan),
        "executed": bool(plan) and not check,
        "plan": plan,
        "diff": {"before": {name: before}, "after": {name: {"login": True, "replication": True}}},
    }
