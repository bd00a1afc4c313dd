# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Requests with everything that a test does not care about."""

from __future__ import annotations

from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.request import PoolerRequest


def database(name: str, **options: Any) -> dict[str, Any]:
    """An entry."""
    return {"name": name, "host": "192.0.2.1", **options}


def request(databases: list[dict[str, Any]], **options: Any) -> PoolerRequest:
    """A request as the module would make it."""
    defaults: dict[str, Any] = {
        "databases": databases,
        "settings": {},
        "user_settings": {},
        "lookup_role": "pgbouncer",
        "userlist": {},
        "kept_connections": 10,
        "restart": "first_install",
        "state": "started",
        "manager": "daemon",
        "unit": "pgbouncer.service",
        "program": "/usr/sbin/pgbouncer",
        "config_file": "/etc/pgbouncer/pgbouncer.ini",
        "auth_file": "/etc/pgbouncer/userlist.txt",
        "log_file": "/var/log/pgbouncer/pgbouncer.log",
        "user": "pgbouncer",
        "timeout_seconds": 30,
    }
    return PoolerRequest.from_dict({**defaults, **options})
