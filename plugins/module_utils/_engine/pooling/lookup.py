# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a server offers to a pooler: a role that may do one thing, and the function that is this thing.

PgBouncer cannot log in with a SCRAM verifier of its own choosing: it logs in with what a client has just proven
(pass-through, 1.14 and newer), and for that it needs the server's verifier of the client's role. Who looks it up
must get in without a password, since one would have to stand in clear text in a file: by certificate (TLS, any
host) or as the operating system's user (peer, on the same host).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from ..cluster.replication_role import quote_identifier
from ..core.errors import KeeperError, Refused
from .request import LOOKUP_SCHEMA

#: Never told: roles that are, may become or may act as a superuser, roles that replicate, expired passwords,
#: whatever is no SCRAM verifier. The search path is pinned and every name written out.
BODY = """
  SELECT a.rolname::pg_catalog.text, a.rolpassword
    FROM pg_catalog.pg_authid AS a
   WHERE a.rolname OPERATOR(pg_catalog.=) wanted
     AND a.rolcanlogin
     AND NOT a.rolreplication
     AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil OPERATOR(pg_catalog.>) pg_catalog.now())
     AND pg_catalog.starts_with(a.rolpassword, 'SCRAM-SHA-256$')
     AND NOT EXISTS (
           SELECT FROM pg_catalog.pg_authid AS s
            WHERE (s.rolsuper OR s.rolname IN ('pg_read_server_files', 'pg_write_server_files',
                                               'pg_execute_server_program'))
              AND pg_catalog.pg_has_role(a.oid, s.oid, 'MEMBER'))
"""
_FUNCTION = f"{LOOKUP_SCHEMA}.lookup"
_MARK = "made by dbkeeper.ops for PgBouncer"

_ROLE = """
SELECT rolcanlogin, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls, rolpassword IS NULL
  FROM pg_authid WHERE rolname = :'role'
"""
_STANDBY = "SELECT pg_is_in_recovery()"
#: One row: the schema's owner and privileges, then the function's facts; NULL for what is not there.
_OBJECTS = """
SELECT o.rolsuper, p.rolsuper,
       f.prosrc, f.prosecdef, f.provolatile, f.proparallel, f.proisstrict, array_to_string(f.proconfig, ';'),
       pg_get_function_identity_arguments(f.oid), pg_get_function_result(f.oid),
       has_schema_privilege(r.oid, n.oid, 'USAGE') AND has_function_privilege(r.oid, f.oid, 'EXECUTE')
         AND has_database_privilege(r.oid, current_database(), 'CONNECT'),
       (SELECT count(*) FROM aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS a
         WHERE a.grantee NOT IN (f.proowner, r.oid))
         + (SELECT count(*) FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
             WHERE a.grantee NOT IN (n.nspowner, r.oid) OR (a.grantee = r.oid AND a.privilege_type = 'CREATE'))
  FROM pg_namespace AS n
  JOIN pg_roles AS o ON o.oid = n.nspowner
  LEFT JOIN pg_proc AS f ON f.pronamespace = n.oid AND f.proname = 'lookup'
  LEFT JOIN pg_roles AS p ON p.oid = f.proowner
  LEFT JOIN pg_roles AS r ON r.rolname = :'role'
 WHERE n.nspname = :'schema'
"""
_RIGHT = (
    ["t", "t", BODY, "t", "s", "r", "t", "search_path=pg_catalog, pg_temp"]
    + ["wanted text, OUT role_name text, OUT verifier text"]
    + ["SETOF record", "t", "0"]
)


@dataclass(frozen=True)
class Found:
    """What a server has. ``role`` is (may log in, may do more than it should, has no password)."""

    role: tuple[bool, bool, bool] | None
    #: Database -> rows of the catalog query; None when there is no such database.
    databases: dict[str, list[list[str | None]] | None]
    #: A standby gets everything from its primary.
    standby: bool = False


def plan_lookup(role: str, found: Found) -> list[tuple[str, str]]:
    """(database, SQL) that is missing, in order. Pure. Databases that are not there get nothing."""
    name = quote_identifier(role)
    plan: list[tuple[str, str]] = []
    if found.standby:
        return plan
    attributes = "LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS PASSWORD NULL"
    if found.role is None:
        plan.append(("postgres", f"CREATE ROLE {name} {attributes} NOINHERIT"))
    elif found.role != (True, False, True):
        plan.append(("postgres", f"ALTER ROLE {name} {attributes}"))
    for database, rows in found.databases.items():
        if rows is not None and rows != [_RIGHT]:
            # In one transaction: nobody sees the function before it is locked.
            plan.append((database, _statements(name, quote_identifier(database), rows)))
    return plan


def _statements(role: str, database: str, rows: list[list[str | None]]) -> str:
    # A function of other arguments or another result cannot be replaced.
    dropped = "".join(
        f"DROP FUNCTION {_FUNCTION}({row[8]});\n"
        for row in rows
        if row[8] is not None and row[8:10] != _RIGHT[8:10]
    )
    return f"""BEGIN;
GRANT CONNECT ON DATABASE {database} TO {role};
{dropped}CREATE SCHEMA IF NOT EXISTS {LOOKUP_SCHEMA};
ALTER SCHEMA {LOOKUP_SCHEMA} OWNER TO CURRENT_USER;
REVOKE ALL ON SCHEMA {LOOKUP_SCHEMA} FROM PUBLIC, {role};
GRANT USAGE ON SCHEMA {LOOKUP_SCHEMA} TO {role};
CREATE OR REPLACE FUNCTION {_FUNCTION}(wanted text, OUT role_name text, OUT verifier text)
  RETURNS SETOF record LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $dbkeeper${BODY}$dbkeeper$;
ALTER FUNCTION {_FUNCTION}(text) OWNER TO CURRENT_USER;
COMMENT ON FUNCTION {_FUNCTION}(text) IS '{_MARK}';
REVOKE ALL ON FUNCTION {_FUNCTION}(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {_FUNCTION}(text) TO {role};
COMMIT"""


def ensure_lookup(config: ClusterConfig, role: str, databases: list[str], *, check: bool) -> dict[str, Any]:
    """Make role, schema and function where they are missing or not as they should be.

    In check mode a cluster that is still to be made counts as one without them; so does a database. Raises
    :class:`Refused` (``database-missing``), and what :func:`cluster.psql.query` raises.
    """
    there = os.path.isdir(config.data_directory) or not check
    found = _look(config, role, databases) if there else Found(None, {})
    missing = [name for name in databases if found.databases.get(name) is None and not found.standby]
    if missing and not check:
        raise Refused(
            "database-missing",
            attempted=f"let {role} look verifiers up in cluster {config.cluster}",
            happened=f"the server has no database {', '.join(missing)}",
            remedy="Make it first (postgresql_databases), or take it out of the pooled ones.",
            details={"databases": missing},
        )
    plan = plan_lookup(role, found)
    if not check:
        for database, statements in plan:
            query(config, statements, database=database)
    right = {name: rows == [_RIGHT] for name, rows in found.databases.items()}
    behind = [name for name in databases if found.standby and not (found.role and right[name])]
    return {
        "changed": bool(plan) or bool(missing),
        "executed": bool(plan) and not check,
        "plan": [f"{database}: {statements}" for database, statements in plan]
        + [f"{name}: the function, when the database is there" for name in missing],
        "warnings": [
            f"The primary lacks what lookups in {name} need, or has not sent it yet" for name in behind
        ],
        "diff": {
            "before": {"role": found.role is not None, "databases": right},
            "after": {"role": True, "databases": dict.fromkeys(databases, True)},
        },
    }


def _look(config: ClusterConfig, role: str, databases: list[str]) -> Found:
    values = {"role": role, "schema": LOOKUP_SCHEMA}
    rows = query(config, _ROLE, values=values)
    flags = [value == "t" for value in rows[0]] if rows else []
    found: dict[str, list[list[str | None]] | None] = {}
    for database in databases:
        try:
            found[database] = query(config, _OBJECTS, values=values, database=database)
        except KeeperError as error:
            if "does not exist" not in error.happened or f'"{database}"' not in error.happened:
                raise
            found[database] = None
    standby = query(config, _STANDBY)[0][0] == "t"
    return Found((flags[0], flags[1], flags[2]) if flags else None, found, standby)
