# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""SQL on this host without a driver: PostgreSQL's own psql, over the socket.

Archiving, backing up and restoring must work where psycopg is not installed. Values never become part of the
SQL text by our hand: psql quotes them (``:'name'`` a literal, ``:"name"`` an identifier).
"""

from __future__ import annotations

import csv
import io
import re
import secrets
from collections.abc import Mapping

from ..core.errors import Failed, KeeperError
from ..core.run import Completed, run
from .config import ClusterConfig

_ERROR = re.compile(r"(?:ERROR|FATAL|PANIC):\s+(?:([0-9A-Z]{5}): )?(.*)")
_LARGEST_FIELD = 1 << 28
#: From this major version on there are event triggers at login, and a setting that turns all of them off.
_LOGIN_TRIGGERS = 17
#: libpq's words when a session never began: what it was meant to do has not been done.
_NO_SESSION = re.compile(r"psql: error: connection to server .* failed: ")


def query(
    config: ClusterConfig,
    sql: str,
    *,
    values: Mapping[str, str] | None = None,
    database: str = "postgres",
    user: str | None = None,
    socket_directory: str | None = None,
    port: int | None = None,
    timeout: float = 60.0,
    search_path: str = "pg_catalog",
    settings: Mapping[str, str] | None = None,
) -> list[list[str | None]]:
    """Run one statement as the superuser and return its rows, each value a text, NULL as None.

    ``values`` stand in the statement as ``:'name'`` or ``:"name"``. ``timeout`` is in seconds and is the
    server's statement_timeout too. Times come in UTC and ISO 8601, so that they mean one thing. ``settings`` are more
    of the session. A trigger at login that raises (17 and later) does not keep the superuser out (fault C15).

    Raises :class:`Failed`: ``server-unreachable`` (no connection), ``sql-failed`` (details hold ``sqlstate``).
    """
    marker = f"NULL-{secrets.token_hex(8)}"
    argv = [config.program("psql"), "-X", "-q", "-w", "-t", "--csv", "-P", f"null={marker}"]
    argv += ["-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]
    for name, value in (values or {}).items():
        argv += ["-v", f"{name}={value}"]
    argv += ["-h", socket_directory or config.socket_directory, "-p", str(port or config.port)]
    argv += ["-U", user or config.superuser, "-d", database]
    attempted = f"ask the server of cluster {config.cluster}"

    def ask(more: Mapping[str, str]) -> Completed:
        return run(
            argv,
            attempted=attempted,
            remedy="See whether the server is overloaded or a lock is waited for (pg_stat_activity).",
            stdin=f"{sql.rstrip().rstrip(';')}\n;\n".encode(),
            env=environment(timeout, search_path, {**(settings or {}), **more}),
            timeout=timeout + 15,
            accept=(0, 1, 2, 3),
        )

    done = ask({})
    if done.status == 2 and _may_be_a_trigger(config, user) and _NO_SESSION.match(done.err):
        done = ask({"event_triggers": "off"})
    if done.status == 0:
        return _rows(done.out, marker)
    raise server_error(done.status, done.err, sql, attempted, argv[argv.index("-h") + 1], port or config.port)


def answers(config: ClusterConfig, *, socket_directory: str | None = None, port: int | None = None) -> bool:
    """Whether a server takes connections at the socket: a question, so no error (source: pg_isready, status 0)."""
    argv = [config.program("pg_isready"), "-q", "-t", "3"]
    argv += ["-h", socket_directory or config.socket_directory, "-p", str(port or config.port)]
    argv += ["-U", config.superuser, "-d", "postgres"]
    done = run(argv, attempted="ask whether the server takes connections", accept=(0, 1, 2, 3), timeout=10)
    return done.status == 0


def _may_be_a_trigger(config: ClusterConfig, user: str | None) -> bool:
    """Whether one at login may have kept us out, and we may turn it off for ourselves: only a superuser may."""
    return user is None and int(config.version) >= _LOGIN_TRIGGERS


def environment(
    timeout: float, search_path: str, settings: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What psql is started with, so that values come in one form; ``timeout`` in seconds, 0: none."""
    options = {
        "statement_timeout": str(int(timeout * 1000)),
        "search_path": search_path,
        **(settings or {}),
        "timezone": "UTC",
        "datestyle": "ISO",
        "intervalstyle": "iso_8601",
        "bytea_output": "hex",
        "client_min_messages": "warning",
    }
    return {
        "PGAPPNAME": "dbkeeper",
        "PGCONNECT_TIMEOUT": "10",
        "PGCLIENTENCODING": "UTF8",
        "PGOPTIONS": session_options(options),
    }


def session_options(settings: Mapping[str, str]) -> str:
    """libpq's PGOPTIONS for settings of a session."""
    return " ".join(f"-c {name}={_escape(value)}" for name, value in settings.items())


def _escape(value: str) -> str:
    """As the server splits PGOPTIONS: blanks and backslashes want a backslash."""
    return re.sub(r"([\\\s])", r"\\\1", value)


def _rows(text: str, marker: str) -> list[list[str | None]]:
    csv.field_size_limit(_LARGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    return [[None if value == marker else value for value in row] for row in reader]


def server_error(
    status: int, words: str, sql: str, attempted: str, socket_directory: str, port: int
) -> KeeperError:
    """What psql's exit status (1 or 3: SQL, 2: connection) and its words come to."""
    found = list(_ERROR.finditer(words))
    if status == 2:
        # A connection that breaks in the middle of a statement ends with 2 as well.
        happened = " ".join(words.split()) or "psql gave no reason"
        return Failed(
            "server-unreachable",
            attempted=attempted,
            happened=f"no connection at {socket_directory}, port {port}: {happened}",
            remedy="Start the server, or correct socket_directory, port and superuser in the cluster's description.",
            details={"socket_directory": socket_directory, "port": port},
        )
    sqlstate, message = (found[-1][1], found[-1][2]) if found else (None, " ".join(words.split()))
    return Failed(
        "sql-failed",
        attempted=attempted,
        happened=f"{message} (SQLSTATE {sqlstate or 'unknown'})",
        remedy="Read the server's words; the statement is in the details.",
        details={"sqlstate": sqlstate, "statement": sql.strip()},
    )
