# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A workload test: a database made for it, pgbench against it, directly and through a pooler, and the history of runs.

Only a database with our own comment is ever dropped; one of the same name that is not ours is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...cluster import sql
from ...core.clock import format_utc, utc_now
from ...core.errors import KeeperError, Refused
from ...core.files import make_directory, read_json, write_json
from ...core.run import run
from ..session import Look
from .plan import KEPT, MARK, BenchmarkRequest, Step, figures, steps

_SETTINGS = (
    "shared_buffers",
    "effective_cache_size",
    "work_mem",
    "max_connections",
    "max_wal_size",
    "checkpoint_timeout",
    "synchronous_commit",
    "fsync",
    "full_page_writes",
    "wal_compression",
    "random_page_cost",
    "jit",
    "io_method",
)
_SPARE_SECONDS = 120.0


def benchmark(request: BenchmarkRequest) -> dict[str, Any]:
    """Run what is planned, keep it in the history. Refused ``benchmark-database-taken``, ``benchmark-on-standby``.

    A way that cannot be gone (a pooler that does not know the database) is in the result with its error.
    """
    look = Look({**request.login, "login_db": request.login.get("login_db") or "postgres"})
    with look.database():
        node = look.node()
    history = os.path.join(request.state_directory, node.system_id, "benchmark.json")
    kept = _history(history)
    planned = steps(request)
    result: dict[str, Any] = {
        "changed": bool(planned),
        "node": node.to_dict(),
        "plan": [f"{step.workload} {step.way} {step.clients}" for step in planned],
        "facts": {"runs": kept},
        "findings": [],
        "not_seen": [],
    }
    if not planned:
        return result
    if node.in_recovery:
        raise Refused(
            "benchmark-on-standby",
            attempted="test a workload",
            happened="the server is a standby, where no database can be made",
            remedy="Run it against the primary.",
        )
    connection = sql.connect(request.login, statement_timeout_seconds=600)
    try:
        _refuse_a_stranger(connection, request)
        if request.check:
            return result
        about = {"scale": request.scale, "seconds": request.seconds, **_circumstances(connection)}
        _drop(connection, request)
        _make(connection, request)
        try:
            _pgbench(
                request, ("--initialize", "--quiet", "--scale", str(request.scale)), request.login, 3600.0
            )
            made = [{**_measured(request, step), **about} for step in planned]
        finally:
            _drop(connection, request)
    finally:
        connection.close()
    result["facts"] = {"runs": [*made, *kept][:KEPT]}
    make_directory(os.path.dirname(history), 0o700)
    write_json(history, {"format": 1, "runs": result["facts"]["runs"]}, 0o600)
    return result


def _history(path: str) -> list[Any]:
    if not os.path.exists(path):
        return []
    return list(read_json(path, attempted="read earlier workload tests")["runs"])


def _refuse_a_stranger(connection: Any, request: BenchmarkRequest) -> None:
    found = sql.rows(
        connection,
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        (request.database,),
        attempted="see whether the database is there",
    )
    if found and found[0][0] != MARK:
        raise Refused(
            "benchmark-database-taken",
            attempted="make a database for a workload test",
            happened=f"the database {request.database} exists, and no workload test made it",
            remedy="Choose another name (database).",
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _make(connection: Any, request: BenchmarkRequest) -> None:
    name = _quoted(request.database)
    sql.rows(connection, f"CREATE DATABASE {name}", attempted="make the database")
    sql.rows(connection, f"COMMENT ON DATABASE {name} IS '{MARK}'", attempted="mark the database as ours")


def _drop(connection: Any, request: BenchmarkRequest) -> None:
    _refuse_a_stranger(connection, request)
    statement = f"DROP DATABASE IF EXISTS {_quoted(request.database)} WITH (FORCE)"
    sql.rows(connection, statement, attempted="drop the database of the workload test")


def _circumstances(connection: Any) -> dict[str, Any]:
    """What a result depends on: the server's settings, its version, and the host that pgbench ran on."""
    settings = sql.rows(
        connection,
        "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name",
        (list(_SETTINGS),),
        attempted="read the settings",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    version = sql.rows(connection, "SHOW server_version", attempted="read the version")
    return {
        "settings": {str(name): str(value) for name, value in settings},
        "server_version": str(version[0][0]),
        "host": {"cpus": len(os.sched_getaffinity(0)), "memory_bytes": memory},
    }


def _measured(request: BenchmarkRequest, step: Step) -> dict[str, Any]:
    login = {**request.login, **(request.pooler if step.way != "direct" else {})}
    told: dict[str, Any] = {
        "made_at": format_utc(utc_now()),
        "workload": step.workload,
        "way": step.way,
        "clients": step.clients,
    }
    try:
        return {**told, **figures(_pgbench(request, step.options, login, request.seconds + _SPARE_SECONDS))}
    except KeeperError as error:
        return {**told, "error": error.happened}


def _pgbench(
    request: BenchmarkRequest, options: tuple[str, ...], login: Mapping[str, Any], timeout: float
) -> str:
    parameters = sql.connection_parameters({**login, "login_db": request.database})
    names = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
        "sslmode": "PGSSLMODE",
        "sslrootcert": "PGSSLROOTCERT",
        "sslcert": "PGSSLCERT",
        "sslkey": "PGSSLKEY",
        "connect_timeout": "PGCONNECT_TIMEOUT",
    }
    env = {names[name]: value for name, value in parameters.items() if name in names}
    program = os.path.join(request.bin_directory, "pgbench")
    return run([program, *options], attempted="run pgbench", timeout=timeout, env=env).out
