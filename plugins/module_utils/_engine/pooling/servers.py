# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The servers behind the pooler, asked in the very way that the pooler will: as the lookup role.

So what would make every login fail is found before anything is changed, and the pools are counted against what
the server really takes.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import Refused
from .pools import Limits, Server, place
from .request import ATTEMPTED, LOOKUP_SCHEMA, PoolerRequest
from .wire import Rejected, Session

_QUESTION = f"""
SELECT current_setting('max_connections') AS max_connections,
       current_setting('superuser_reserved_connections') AS superuser_reserved,
       coalesce(current_setting('reserved_connections', true), '0') AS reserved,
       (SELECT count(*) FROM {LOOKUP_SCHEMA}.lookup('')) AS found
"""
#: Not a mistake in what is configured: the server is starting, stopping, full, or the database is still to come.
_FOR_NOW = ("57P0", "53", "3D000")


@dataclass(frozen=True)
class Answers:
    """``limits`` of servers that could be asked or are told; ``refused`` and ``silent`` are texts for people."""

    limits: Mapping[Server, Limits] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


def ask(request: PoolerRequest, settings: Mapping[str, str], *, timeout: float = 5.0) -> Answers:
    """Ask every server of every database; what is told (``server_max_connections``) wins."""
    limits: dict[Server, Limits] = {}
    refused: list[str] = []
    silent: list[str] = []
    for database in request.databases:
        for server in database.servers:
            if database.server_max_connections is not None:
                limits[server] = Limits(database.server_max_connections)
            if request.lookup_role is None:
                continue
            what = f"{place(server)}, database {database.dbname}, role {request.lookup_role}"
            try:
                row = _ask_one(server, database.dbname, request.lookup_role, settings, timeout)
            except ssl.SSLError as error:
                refused.append(f"{what}: {error.reason or error}")
            except OSError as error:
                silent.append(f"{what}: {error.strerror or error}")
            except Rejected as error:
                (silent if error.sqlstate.startswith(_FOR_NOW) else refused).append(
                    f"{what}: {error.message}"
                )
            else:
                numbers = (
                    int(str(row[name])) for name in ("max_connections", "superuser_reserved", "reserved")
                )
                limits.setdefault(server, Limits(*numbers))
    unknown = [
        f"{place(server)}: its max_connections is not known"
        for server in sorted({server for database in request.databases for server in database.servers})
        if request.lookup_role is None and server not in limits
    ]
    return Answers(limits, tuple(refused), tuple(silent + unknown))


def check_lookups(answers: Answers) -> None:
    """Raises :class:`Refused` (``lookup-refused``) where a server would not let the lookup role do its work."""
    if answers.refused:
        raise Refused(
            "lookup-refused",
            attempted=ATTEMPTED,
            happened=f"verifiers could not be looked up, so nobody could log in: {'; '.join(answers.refused)}",
            remedy="Run the play on the database hosts as well (it makes role and function, and lets the pooler in), "
            "or see pg_hba.conf and the certificate there.",
            details={"servers": list(answers.refused)},
        )


def _ask_one(
    server: Server, database: str, role: str, settings: Mapping[str, str], timeout: float
) -> dict[str, Any]:
    host, port = server
    mode = settings.get("server_tls_sslmode", "prefer")
    with Session(
        host,
        port,
        user=role,
        database=database,
        tls=_context(settings, mode),
        tls_optional=mode in ("prefer", "allow"),
        timeout=timeout,
    ) as session:
        return dict(session.query(_QUESTION)[0])


def _context(settings: Mapping[str, str], mode: str) -> ssl.SSLContext | None:
    """TLS as PgBouncer does it with the same settings."""
    if mode in ("disable", "allow"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if mode.startswith("verify-") else ssl.CERT_NONE
    if mode.startswith("verify-") and settings.get("server_tls_ca_file"):
        context.load_verify_locations(settings["server_tls_ca_file"])
    if settings.get("server_tls_cert_file"):
        context.load_cert_chain(settings["server_tls_cert_file"], settings.get("server_tls_key_file") or None)
    return context
