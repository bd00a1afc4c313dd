# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is wanted of a pooler; refuses what cannot be meant before anything is looked at."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import Refused

MANAGERS = ("systemd", "daemon")
RESTARTS = ("first_install", "when_idle", "allowed")
STATES = ("started", "stopped", "reloaded", "restarted")
POOL_MODES = ("session", "transaction", "statement")
LOOKUP_SCHEMA = "dbkeeper_pooler"

_VERIFIER = re.compile(r"SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]{44}:[A-Za-z0-9+/=]{44}")
#: What PgBouncer's parser takes as a key. Quoting, which its manual describes, is a syntax error (tried on 1.18
#: and 1.24.1).
_KEY = re.compile(r"[A-Za-z0-9_.-]+")
_SETTING = re.compile(r"[a-z][a-z0-9_]*")
#: What follows from other options, so it cannot be a setting as well.
_OWNED = {"auth_file", "auth_query", "auth_user", "conffile", "user", "logfile"}
_OWNED_HERE = {"host", "port", "dbname", "pool_size", "reserve_pool", "reserve_pool_size", "pool_mode"} | {
    "max_db_connections",
    "password",
    "auth_user",
    "auth_query",
}
ATTEMPTED = "configure the pooler"


@dataclass(frozen=True)
class PooledDatabase:
    """One name that clients may connect to.

    ``users`` is how many roles use it at the same time: PgBouncer keeps one pool for each of them.
    ``max_connections`` caps all its pools together; None means that it follows from the pools.
    ``server_max_connections`` is what the server takes, where it cannot be asked. ``poolers`` like this one
    reach the same server.
    """

    name: str
    host: str
    port: int = 5432
    dbname: str = ""
    pool_size: int | None = None
    reserve_pool_size: int | None = None
    users: int = 1
    max_connections: int | None = None
    pool_mode: str | None = None
    server_max_connections: int | None = None
    poolers: int = 1
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """Which servers take its connections: several where ``host`` is a list."""
        return tuple((host.strip(), self.port) for host in self.host.split(","))


@dataclass(frozen=True)
class PoolerRequest:
    """One pooler on this host. Paths are absolute.

    ``settings`` are PgBouncer's own, as texts, and win over ours. ``lookup_role`` looks verifiers up in the
    servers; None means that only ``userlist`` (name to SCRAM verifier) lets anybody in. ``kept_connections``
    are left to others on each server.
    """

    databases: tuple[PooledDatabase, ...]
    program: str = "/usr/sbin/pgbouncer"
    config_file: str = "/etc/pgbouncer/pgbouncer.ini"
    auth_file: str = "/etc/pgbouncer/userlist.txt"
    log_file: str = "/var/log/pgbouncer/pgbouncer.log"
    user: str = "pgbouncer"
    manager: str = "systemd"
    unit: str = "pgbouncer.service"
    settings: Mapping[str, str] = field(default_factory=dict)
    user_settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lookup_role: str | None = "pgbouncer"
    userlist: Mapping[str, str] = field(default_factory=dict)
    kept_connections: int = 10
    restart: str = "first_install"
    state: str = "started"
    timeout_seconds: float = 30.0

    @classmethod
    def from_dict(cls, params: Mapping[str, Any]) -> PoolerRequest:
        """Options of the module. Raises :class:`Refused`: ``pooler-option-wrong``, ``verifier-malformed``."""
        for name in ("program", "config_file", "auth_file", "log_file"):
            if not os.path.isabs(params[name]):
                raise _wrong(f"{name} is {params[name]!r}, which is not an absolute path")
        request = cls(
            databases=tuple(_database(item) for item in params["databases"] or []),
            settings=_settings(params["settings"] or {}, "settings", _OWNED),
            user_settings={
                _user(str(name)): _settings(values or {}, f"user_settings.{name}", {"password"})
                for name, values in (params["user_settings"] or {}).items()
            },
            lookup_role=params["lookup_role"] or None,
            userlist=_userlist(params["userlist"] or {}),
            timeout_seconds=float(params["timeout_seconds"]),
            **{name: params[name] for name in _PLAIN},
        )
        request.check()
        return request

    def check(self) -> None:
        """What several options together must hold. Raises :class:`Refused` (``pooler-option-wrong``)."""
        names = [database.name for database in self.databases]
        if not names and self.state != "stopped":
            raise _wrong("no database is given", "Name what clients may connect to in databases.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise _wrong(f"{', '.join(twice)} is given twice in databases")
        if self.lookup_role is None and not self.userlist and self.state != "stopped":
            raise _wrong(
                "nobody could log in: there is neither a lookup_role nor anybody in userlist",
                "Give lookup_role, or SCRAM verifiers in userlist.",
            )
        if self.lookup_role is not None and self.lookup_role in self.userlist:
            raise _wrong(
                f"{self.lookup_role} looks verifiers up and is in userlist as well",
                "Take it out of userlist: it needs no password, and a verifier cannot be used to log in.",
            )
        if not self.setting("unix_socket_dir").startswith("/"):
            raise _wrong(
                f"unix_socket_dir is {self.setting('unix_socket_dir')!r}",
                "Give a directory: the admin console is reached through it.",
            )
        if not re.fullmatch(r"[1-9]\d{0,4}", self.setting("listen_port")) or self.port > 65535:
            raise _wrong(f"listen_port is {self.setting('listen_port')!r}")
        if self.kept_connections < 0:
            raise _wrong("kept_connections must not be negative")

    def setting(self, name: str) -> str:
        """A setting that the engine itself needs, given or ours."""
        return str(self.settings.get(name, PLACE[name]))

    @property
    def port(self) -> int:
        """The port, also in the name of the socket."""
        return int(self.setting("listen_port"))


#: Where it listens when nothing is said; settings.py has the rest.
PLACE = {"listen_addr": "localhost", "listen_port": "6432", "unix_socket_dir": "/run/pgbouncer"}
_PLAIN = (
    "program",
    "config_file",
    "auth_file",
    "log_file",
    "user",
    "manager",
    "unit",
    "kept_connections",
    "restart",
    "state",
)


def _database(item: Mapping[str, Any]) -> PooledDatabase:
    name = str(item["name"])
    where = f"databases.{name}"
    if name == "*":
        raise _wrong(
            "databases holds *, which would make every database of the server reachable and its pools countless",
            "Name the databases one by one.",
        )
    if name == "pgbouncer" or not _KEY.fullmatch(name):
        raise _wrong(
            f"a pooled database cannot be called {name!r}",
            "Letters, digits, dots, dashes and underscores; pgbouncer is the console. dbname may hold any name.",
        )
    host = str(item["host"])
    if not host or not _one_line(host):
        raise _wrong(f"{where}.host is {host!r}")
    for key, least, most in (
        ("port", 1, 65535),
        ("pool_size", 1, None),
        ("reserve_pool_size", 0, None),
        ("users", 1, None),
        ("max_connections", 1, None),
        ("server_max_connections", 1, None),
        ("poolers", 1, None),
    ):
        value = item.get(key)
        if value is not None and (value < least or (most and value > most)):
            raise _wrong(
                f"{where}.{key} is {value}; it must be at least {least}"
                + (f", at most {most}" if most else "")
            )
    return PooledDatabase(
        name=name,
        host=host.rstrip("/") if host.startswith("/") else host,
        port=item.get("port") or 5432,
        dbname=str(item.get("dbname") or name),
        pool_size=item.get("pool_size"),
        reserve_pool_size=item.get("reserve_pool_size"),
        users=item.get("users") or 1,
        max_connections=item.get("max_connections"),
        pool_mode=item.get("pool_mode"),
        server_max_connections=item.get("server_max_connections"),
        poolers=item.get("poolers") or 1,
        options=_settings(item.get("options") or {}, f"{where}.options", _OWNED_HERE),
    )


def _settings(given: Mapping[str, Any], where: str, owned: set[str]) -> dict[str, str]:
    found = {}
    for name, value in given.items():
        if not _SETTING.fullmatch(str(name)):
            raise _wrong(f"{where} holds {name!r}, which is no setting's name")
        if name in owned:
            raise _wrong(
                f"{where} holds {name}, which follows from other options",
                "Take it out; the module's documentation says which option decides it.",
            )
        text = ("1" if value else "0") if isinstance(value, bool) else str(value).strip()
        if not _one_line(text):
            raise _wrong(f"{where}.{name} holds a line break")
        found[str(name)] = text
    return found


def _user(name: str) -> str:
    if not _KEY.fullmatch(name):
        raise _wrong(
            f"PgBouncer can hold no settings for the role {name!r}",
            "Only for names of letters, digits, dots, dashes and underscores.",
        )
    return name


def _userlist(given: Mapping[str, Any]) -> dict[str, str]:
    for name, value in given.items():
        if not name or not _one_line(str(name)):
            raise _wrong(f"userlist holds {name!r}, which is no role's name")
        if not isinstance(value, str) or not _VERIFIER.fullmatch(value):
            raise Refused(
                "verifier-malformed",
                attempted=ATTEMPTED,
                happened=f"what userlist holds for {name} is not a SCRAM verifier (SCRAM-SHA-256$...)",
                remedy="Give the very verifier that the server holds (pg_authid.rolpassword). "
                "Clear text and MD5 are never written.",
                details={"role": str(name)},
            )
    return {str(name): str(value) for name, value in given.items()}


def _one_line(text: str) -> bool:
    return not any(ord(character) < 32 or ord(character) == 127 for character in text)


def _wrong(happened: str, remedy: str = "Correct it, then run the same again.") -> Refused:
    return Refused("pooler-option-wrong", attempted=ATTEMPTED, happened=happened, remedy=remedy)
