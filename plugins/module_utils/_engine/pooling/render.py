# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The pooler's two files as texts, whole. Pure: the same request gives the same bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .pools import pool_of
from .request import PooledDatabase, PoolerRequest
from .settings import GROUPS, Setting

MARK = "# Made by dbkeeper.ops; changes by hand are lost at its next run."
_LISTED = re.compile(r'^("(?:[^"]|"")*")[ \t]+"(?:[^"]|"")*"', re.MULTILINE)
_CONNECT_PASSWORD = re.compile(r"(\bpassword\s*=\s*)(?:'(?:[^']|'')*'|\S+)", re.IGNORECASE)
_BARE_VALUE = re.compile(r"[A-Za-z0-9_./:,@*+-]+")


def render_config(request: PoolerRequest, settings: list[Setting], fingerprints: Mapping[str, str]) -> str:
    """pgbouncer.ini.

    ``fingerprints`` of the certificates stand in it as comments, so that a renewed certificate is a changed
    file, and is brought into effect by the same reload.
    """
    lines = [MARK, "", "[databases]"]
    lines += [_database(database, request) for database in request.databases]
    if request.user_settings:
        lines += ["", "[users]"]
        lines += [f"{name} = {_pairs(values)}" for name, values in sorted(request.user_settings.items())]
    lines += ["", "[pgbouncer]"]
    for group in GROUPS:
        members = [setting for setting in settings if setting.group == group]
        if members:
            lines += ["", f"; {group}"]
        for setting in members:
            remark = "pinned" if setting.pinned else setting.reason
            if remark:
                lines.append(f"; {setting.name}: {remark}")
            if setting.name in fingerprints:
                lines.append(f"; sha256 {fingerprints[setting.name]}")
            lines.append(f"{setting.name} = {setting.value}".rstrip())
    return "\n".join(lines) + "\n"


def with_settings(text: str, changes: Mapping[str, str]) -> str:
    """The same configuration with other values in [pgbouncer]: the last of several lines counts."""
    return text + "".join(f"{name} = {value}\n" for name, value in changes.items())


def render_userlist(request: PoolerRequest) -> str:
    """userlist.txt: SCRAM verifiers, nothing else."""
    return "".join(f"{_quoted(name)} {_quoted(value)}\n" for name, value in sorted(request.userlist.items()))


def without_secrets(text: str) -> str:
    """The same for people's eyes, whoever wrote it: roles and settings, no password, hash or verifier."""
    return _CONNECT_PASSWORD.sub(r"\1...", _LISTED.sub(r'\1 "..."', text))


def _database(database: PooledDatabase, request: PoolerRequest) -> str:
    pool = pool_of(database, request)
    pairs = {
        "host": database.host,
        "port": str(database.port),
        "dbname": database.dbname,
        "pool_size": str(pool.size),
        # Known as reserve_pool_size from 1.24 on, which still takes this name.
        "reserve_pool": str(pool.reserve),
        "max_db_connections": str(pool.cap),
    }
    if request.lookup_role is not None:
        # Not for all: with a global auth_user anybody who connects to the console's name over TCP ends 1.18
        # ("put_in_order: found existing elem", tried).
        pairs["auth_user"] = request.lookup_role
    if database.pool_mode:
        pairs["pool_mode"] = database.pool_mode
    return f"{database.name} = {_pairs({**pairs, **database.options})}"


def _pairs(values: Mapping[str, str]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: str) -> str:
    return value if _BARE_VALUE.fullmatch(value) else "'" + value.replace("'", "''") + "'"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
