# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""SQL over any connection, with psycopg from the distribution. The only place that imports it.

What must work in a disaster goes through psql.py; this is for modules that take ``login_*`` options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ..core.errors import Failed, Refused

if TYPE_CHECKING:
    import psycopg

_CONNECT_SECONDS = 10
#: Option of community.postgresql -> parameter of libpq.
_PARAMETERS = {
    "login_unix_socket": "host",
    "login_host": "host",
    "login_port": "port",
    "login_user": "user",
    "login_password": "password",
    "login_db": "dbname",
    "ssl_mode": "sslmode",
    "ca_cert": "sslrootcert",
    "ssl_cert": "sslcert",
    "ssl_key": "sslkey",
    "connect_timeout": "connect_timeout",
}


def connection_parameters(options: Mapping[str, Any]) -> dict[str, str]:
    """libpq's parameters from ``login_*`` options; empty options are left out, ``connect_params`` win."""
    found = {
        parameter: str(options[option])
        for option, parameter in _PARAMETERS.items()
        if options.get(option) not in (None, "")
    }
    found.update({name: str(value) for name, value in (options.get("connect_params") or {}).items()})
    return {
        "dbname": "postgres",
        "application_name": "dbkeeper",
        "connect_timeout": str(_CONNECT_SECONDS),
        **found,
    }


def connect(
    options: Mapping[str, Any], *, statement_timeout_seconds: float = 60, lock_timeout_seconds: float = 10
) -> psycopg.Connection[Any]:
    """A connection in autocommit mode, whose statements and lock waits end by themselves.

    Raises :class:`Refused` (``psycopg-missing``, ``psycopg-too-old``, ``server-unreachable``); the
    password is in none of them.
    """
    parameters = connection_parameters(options)
    place = f"{parameters.get('host', 'the local socket')}, port {parameters.get('port', 5432)}"
    attempted = f"connect to the server at {place}"
    driver = _driver(attempted)
    limits = {
        "statement_timeout": int(statement_timeout_seconds * 1000),
        "lock_timeout": int(lock_timeout_seconds * 1000),
    }
    words = " ".join(f"-c {name}={value}" for name, value in limits.items())
    parameters["options"] = f"{parameters.get('options', '')} {words}".strip()
    try:
        return cast("psycopg.Connection[Any]", driver.connect(autocommit=True, **parameters))
    except driver.Error as error:
        raise Refused(
            "server-unreachable",
            attempted=attempted,
            happened=" ".join(str(error).split()),
            remedy="See that the server runs, that login_* options are right and that pg_hba.conf lets them in.",
            details={
                "host": parameters.get("host"),
                "port": parameters.get("port"),
                "user": parameters.get("user"),
            },
        ) from error


def rows(
    connection: psycopg.Connection[Any], statement: str, values: Sequence[Any] = (), *, attempted: str
) -> list[tuple[Any, ...]]:
    """Run one statement, values as ``%s``. Raises :class:`Failed` (``sql-failed``, details with ``sqlstate``)."""
    driver = _driver(attempted)
    try:
        # psycopg takes texts only that stand in the program; ours do, they come through this function.
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []
    except driver.Error as error:
        raise _failed(error, statement, attempted) from error


def _failed(error: psycopg.Error, statement: str, attempted: str) -> Failed:
    return Failed(
        "sql-failed",
        attempted=attempted,
        happened=f"{' '.join(str(error).split())} (SQLSTATE {error.sqlstate or 'unknown'})",
        remedy="Read the server's words; the role may lack a right.",
        details={"sqlstate": error.sqlstate, "statement": statement},
    )


def copied(connection: psycopg.Connection[Any], statement: str, *, attempted: str) -> str:
    """What ``COPY (...) TO STDOUT`` says, for :func:`copied_rows`. Raises :class:`Failed` (``sql-failed``).

    For many rows it is several times faster than :func:`rows`, and twenty times where the driver is without its C part.
    """
    driver = _driver(attempted)
    try:
        with connection.cursor() as cursor, cursor.copy(statement.encode()) as stream:
            data = b"".join(bytes(block) for block in stream)
    except driver.Error as error:
        raise _failed(error, statement, attempted) from error
    encoding = connection.info.encoding
    return data.decode("utf-8" if encoding == "ascii" else encoding, "backslashreplace")


def copied_rows(text: str) -> list[list[str | None]]:
    """The rows of COPY's text format."""
    return [
        [
            None if field == "\\N" else field if "\\" not in field else _plain(field)
            for field in line.split("\t")
        ]
        for line in text.split("\n")[:-1]
    ]


_ESCAPED = re.compile(r"\\(.)")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _plain(field: str) -> str:
    """A field of COPY's text format, with its escapes undone."""
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match[1], match[1]), field)


def _driver(attempted: str) -> Any:
    remedy = (
        "Install it: apt-get install python3-psycopg (Debian 12 and later), or pip install 'psycopg>=3.1'."
    )
    try:
        import psycopg as driver
    except ImportError as error:
        raise Refused(
            "psycopg-missing", attempted=attempted, happened=f"Python has no psycopg: {error}", remedy=remedy
        ) from error
    version = tuple(int(part) for part in driver.__version__.split(".")[:2])
    if version < (3, 1):
        raise Refused(
            "psycopg-too-old",
            attempted=attempted,
            happened=f"psycopg is {driver.__version__}, 3.1 is needed",
            remedy=remedy,
        )
    return driver
