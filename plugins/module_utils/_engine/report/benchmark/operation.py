# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A workload test: a database made for it, pgbench against it, directly and through a pooler, and the history of runs.

Only a database with our own comment is ever dropped. One of the same name that is not ours is used when there is no
table in it (a pooler may have to know it before there can be a test); its tables go afterwards, the database stays.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
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
_TABLES = ("pgbench_accounts", "pgbench_branches", "pgbench_history", "pgbench_tellers")
#: What holds somebody's rows; extensions bring their own.
_STRANGE = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f', 'S') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND obj_description(c.oid, 'pg_class') IS DISTINCT FROM %s
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1 LIMIT 3
"""


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
        lent = _is_lent(connection, request)
        if request.check:
            return result
        about = {"scale": request.scale, "seconds": request.seconds, **_circumstances(connection)}
        with _lent(request) if lent else _own(connection, request):
            # The tables are marked before there is anything in them.
            _initialize(request, "dt")
            _mark_tables(request)
            _initialize(request, "gvp")
            made = [{**_measured(request, step), **about} for step in planned]
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


def _is_lent(connection: Any, request: BenchmarkRequest) -> bool:
    """Whether the database was made by somebody else, and is empty. Refused ``benchmark-database-taken``."""
    found = sql.rows(
        connection,
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        (request.database,),
        attempted="see whether the database is there",
    )
    if not found or found[0][0] == MARK:
        return False
    with _inside(request) as within:
        tables = [str(row[0]) for row in sql.rows(within, _STRANGE, (MARK,), attempted="see what is in it")]
    if tables:
        raise Refused(
            "benchmark-database-taken",
            attempted="make a database for a workload test",
            happened=f"the database {request.database} exists, and no workload test made {', '.join(tables)} in it",
            remedy="Choose another name, or an empty database (database).",
        )
    return True


@contextlib.contextmanager
def _inside(request: BenchmarkRequest) -> Iterator[Any]:
    connection = sql.connect({**request.login, "login_db": request.database}, statement_timeout_seconds=600)
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _own(connection: Any, request: BenchmarkRequest) -> Iterator[None]:
    """A database that is there for the test only."""
    name = _quoted(request.database)
    drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
    sql.rows(connection, drop, attempted="drop what an earlier workload test left")
    sql.rows(connection, f"CREATE DATABASE {name}", attempted="make the database")
    sql.rows(connection, f"COMMENT ON DATABASE {name} IS '{MARK}'", attempted="mark the database as ours")
    try:
        yield
    finally:
        sql.rows(connection, drop, attempted="drop the database of the workload test")


@contextlib.contextmanager
def _lent(request: BenchmarkRequest) -> Iterator[None]:
    """A database of somebody else, which gets nothing but tables."""
    try:
        yield
    finally:
        drop = f"DROP TABLE IF EXISTS {', '.join(_TABLES)}"
        with _inside(request) as within:
            sql.rows(within, drop, attempted="drop the tables of the workload test")


def _initialize(request: BenchmarkRequest, which: str) -> None:
    options = ("--initialize", "--init-steps", which, "--quiet", "--scale", str(request.scale))
    _pgbench(request, options, request.login, 3600.0)


def _mark_tables(request: BenchmarkRequest) -> None:
    with _inside(request) as within:
        for table in _TABLES:
            sql.rows(within, f"COMMENT ON TABLE {table} IS '{MARK}'", attempted="mark the tables as ours")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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
        return {**told, "error": error.happened, "error_code": error.code}


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
