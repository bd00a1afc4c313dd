# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A schema with an object of every kind, for round trips; what this build of the server lacks is left out and said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg

ROLES = ("owner one", "reader")

EVERY_KIND = Path(__file__).with_suffix(".sql")

#: What not every build has: its name, and the statement.
OPTIONAL = (
    (
        "postgres_fdw",
        "CREATE EXTENSION postgres_fdw;"
        "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'far.example.org', dbname 'a b');"
        "CREATE USER MAPPING FOR reader SERVER far OPTIONS (user 'me');"
        "CREATE FOREIGN TABLE far_one (id int OPTIONS (column_name 'the id')) SERVER far",
    ),
    (
        "plperl",
        "CREATE EXTENSION plperl; CREATE FUNCTION in_perl() RETURNS int LANGUAGE plperl AS 'return 1;'",
    ),
    (
        "plpython3u",
        "CREATE EXTENSION plpython3u; CREATE FUNCTION in_python() RETURNS int LANGUAGE plpython3u AS 'return 1'",
    ),
    ("ICU", "CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"),
    (
        "security labels",
        "LOAD 'dummy_seclabel'; SECURITY LABEL FOR dummy ON TABLE customers IS 'classified'",
    ),
)


def lacking(dsn: str) -> list[str]:
    """What a server cannot have, whatever its build claims: extensions that do not load, collations of ICU."""
    missing = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in ("postgres_fdw", "plperl", "plpython3u"):
            try:
                connection.execute(f"CREATE EXTENSION {name}".encode())
                connection.execute(f"DROP EXTENSION {name}".encode())
            except psycopg.Error:
                missing.append(name)
        try:
            connection.execute("CREATE COLLATION tried (provider = icu, locale = 'und')")
            connection.execute("DROP COLLATION tried")
        except psycopg.Error:
            missing.append("ICU")
    return missing


def make_every_kind(dsn: str, without: Sequence[str] = ()) -> list[str]:
    """Make it all; returns what this build does not have, or what it was to do without."""
    missing = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for role in ROLES:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchall():
                connection.execute(f'CREATE ROLE "{role}"'.encode())
        connection.execute(EVERY_KIND.read_bytes())
        for name, statement in OPTIONAL:
            try:
                if name not in without:
                    connection.execute(statement.encode())
                    continue
            except psycopg.Error:
                connection.execute(b"SELECT 1")
            missing.append(name)
    return missing
