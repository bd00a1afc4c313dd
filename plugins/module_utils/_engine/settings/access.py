# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Groups of a database: who may read, who may write, who may change its structure.

For database ``shop``: ``shop_readonly`` reads every table, ``shop_readwrite`` is a member of it and writes, and
``shop_admin`` is a member of that, creates objects and owns the database where nobody else does. What is created
later is covered by default privileges of those who create. Nobody else may connect.
Source: manual 5.8 (privileges), ALTER DEFAULT PRIVILEGES.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from ..cluster.replication_role import quote_identifier
from ..core.errors import Refused

LEVELS = ("readonly", "readwrite", "admin")
_LONGEST_NAME_BYTES = 63


@dataclass(frozen=True)
class DatabaseAccess:
    """What is wanted for one database. ``creators`` make objects in it: their later objects are covered too.

    Raises :class:`Refused` ``group-name-too-long``.
    """

    name: str
    owner: str | None = None
    schemas: tuple[str, ...] = ("public",)
    creators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.group("readwrite").encode()) > _LONGEST_NAME_BYTES:
            raise Refused(
                "group-name-too-long",
                attempted=f"give database {self.name} its groups",
                happened=f"{self.group('readwrite')} is longer than {_LONGEST_NAME_BYTES} bytes",
                remedy="Give the database a shorter name, or say groups: false and grant what is needed yourself.",
            )

    def group(self, level: str) -> str:
        """The name of a group."""
        return f"{self.name}_{level}"

    @property
    def wanted_owner(self) -> str:
        """Who owns the database."""
        return self.owner or self.group("admin")

    @property
    def all_creators(self) -> list[str]:
        """Without repetition, in order."""
        return list(dict.fromkeys((self.wanted_owner, self.group("admin"), *self.creators)))


@dataclass(frozen=True, order=True)
class Grant:
    """One privilege for one role. ``kind``: database, schema, tables, sequences, later-tables, later-sequences.

    ``name`` is that of the database or the schema, ``creator`` whose later objects are meant.
    """

    kind: str
    name: str
    role: str
    privilege: str
    creator: str = ""


@dataclass(frozen=True)
class AccessState:
    """What is there. ``public``: (kind, name, privilege) that everybody has."""

    roles: frozenset[str] = frozenset()
    members: frozenset[tuple[str, str]] = frozenset()
    owner: str | None = None
    schemas: frozenset[str] = frozenset()
    grants: frozenset[Grant] = frozenset()
    public: frozenset[tuple[str, str, str]] = field(default_factory=frozenset)


def wanted_grants(access: DatabaseAccess) -> list[Grant]:
    """All privileges of the groups, in order. Pure."""
    reads, writes, admin = (access.group(level) for level in LEVELS)
    found = [
        Grant("database", access.name, reads, "CONNECT"),
        Grant("database", access.name, writes, "TEMPORARY"),
        Grant("database", access.name, admin, "CREATE"),
    ]
    for schema in access.schemas:
        found += [Grant("schema", schema, reads, "USAGE"), Grant("schema", schema, admin, "CREATE")]
        for creator in ("", *access.all_creators):
            later = "later-" if creator else ""
            found.append(Grant(f"{later}tables", schema, reads, "SELECT", creator))
            for privilege in ("DELETE", "INSERT", "UPDATE"):
                found.append(Grant(f"{later}tables", schema, writes, privilege, creator))
            found.append(Grant(f"{later}sequences", schema, reads, "SELECT", creator))
            for privilege in ("UPDATE", "USAGE"):
                found.append(Grant(f"{later}sequences", schema, writes, privilege, creator))
    return found


def plan_access(access: DatabaseAccess, state: AccessState) -> list[str]:
    """The SQL that is missing, in order. Pure."""
    reads, writes, admin = (access.group(level) for level in LEVELS)
    plan = [
        f"CREATE ROLE {quote_identifier(name)} NOLOGIN"
        for name in (reads, writes, admin)
        if name not in state.roles
    ]
    for group, member in ((reads, writes), (writes, admin)):
        if (group, member) not in state.members:
            plan.append(f"GRANT {quote_identifier(group)} TO {quote_identifier(member)}")
    if state.owner != access.wanted_owner:
        plan.append(
            f"ALTER DATABASE {quote_identifier(access.name)} OWNER TO {quote_identifier(access.wanted_owner)}"
        )
    for schema in access.schemas:
        if schema not in state.schemas:
            plan.append(f"CREATE SCHEMA {quote_identifier(schema)} AUTHORIZATION {quote_identifier(admin)}")
    closed = {("database", access.name, "CONNECT"), ("database", access.name, "TEMPORARY")}
    closed |= {("schema", schema, "CREATE") for schema in access.schemas}
    for kind, name in sorted({(kind, name) for kind, name, dummy in closed & state.public}):
        privileges = sorted(p for k, n, p in closed & state.public if (k, n) == (kind, name))
        plan.append(f"REVOKE {', '.join(privileges)} ON {kind.upper()} {quote_identifier(name)} FROM PUBLIC")
    return plan + _grants(grant for grant in wanted_grants(access) if grant not in state.grants)


def _grants(missing: Iterable[Grant]) -> list[str]:
    """One statement for all privileges of a role on one thing."""
    together: dict[tuple[str, str, str, str], list[str]] = {}
    for grant in missing:
        together.setdefault((grant.kind, grant.name, grant.role, grant.creator), []).append(grant.privilege)
    found = []
    for (kind, name, role, creator), privileges in together.items():
        verb, to = f"GRANT {', '.join(privileges)} ON", f"TO {quote_identifier(role)}"
        place = quote_identifier(name)
        if kind in ("database", "schema"):
            found.append(f"{verb} {kind.upper()} {place} {to}")
        elif creator:
            objects = kind.partition("-")[2].upper()
            whose = f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote_identifier(creator)} IN SCHEMA {place}"
            found.append(f"{whose} {verb} {objects} {to}")
        else:
            found.append(f"{verb} ALL {kind.upper()} IN SCHEMA {place} {to}")
    return found


def ensure_access(
    config: ClusterConfig, databases: Sequence[DatabaseAccess], *, check: bool
) -> dict[str, Any]:
    """Give every database its groups. In check mode a server or database that is still to come has nothing yet.

    Raises what :func:`cluster.psql.query` raises; what was done until then stays, and is found done next time.
    """
    plans: dict[str, list[str]] = {}
    there = os.path.isdir(config.data_directory) or not check
    for access in databases:
        state = look(config, access) if there else unmade(access)
        plan = plan_access(access, state)
        if not check:
            for statement in plan:
                # Roles and databases are of the cluster, but a connection is to a database.
                query(config, statement, database=access.name)
        if plan:
            plans[access.name] = plan
    statements = [statement for plan in plans.values() for statement in plan]
    return {
        "changed": bool(statements),
        "executed": bool(statements) and not check,
        "plan": statements,
        "diff": {"before": "", "after": "".join(f"{statement};\n" for statement in statements)},
    }


def look(config: ClusterConfig, access: DatabaseAccess) -> AccessState:
    """What is there; changes nothing."""
    rows = query(config, _CLUSTER, values={"name": access.name})
    found = [(kind or "", a or "", b or "") for kind, a, b in rows]
    roles = frozenset(a for kind, a, dummy in found if kind == "role")
    members = frozenset((a, b) for kind, a, b in found if kind == "member")
    owner = next((a for kind, a, dummy in found if kind == "owner"), None)
    if owner is None:
        return unmade(access, roles, members)
    answers = query(config, _DATABASE, values={"schemas": _array(access.schemas)}, database=access.name)
    held, public = set(), set()
    for row in answers:
        kind, name, role, privilege, creator = (value or "" for value in row)
        if role:
            held.add(Grant(kind, name, role, privilege, creator))
        else:
            public.add((kind, name, privilege))
    schemas = frozenset(grant.name for grant in held if grant.kind == "exists")
    return AccessState(roles, members, owner, schemas, frozenset(held), frozenset(public))


def unmade(
    access: DatabaseAccess, roles: Iterable[str] = (), members: Iterable[tuple[str, str]] = ()
) -> AccessState:
    """A database that is still to come, as the server will make it."""
    public = {("database", access.name, "CONNECT"), ("database", access.name, "TEMPORARY")}
    schemas = frozenset({"public"})
    return AccessState(
        roles=frozenset(roles), members=frozenset(members), schemas=schemas, public=frozenset(public)
    )


def _array(names: Sequence[str]) -> str:
    """As an array literal."""
    quoted = (name.replace("\\", "\\\\").replace('"', '\\"') for name in names)
    return "{" + ",".join(f'"{name}"' for name in quoted) + "}"


_CLUSTER = """
SELECT 'role', rolname::text, NULL FROM pg_roles
 WHERE rolname = ANY (ARRAY[:'name' || '_readonly', :'name' || '_readwrite', :'name' || '_admin'])
UNION ALL
SELECT 'member', g.rolname::text, m.rolname::text
  FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
UNION ALL
SELECT 'owner', pg_get_userbyid(datdba)::text, NULL FROM pg_database WHERE datname = :'name'
"""

# A privilege on all tables is there when no table lacks it; where there is no table nothing is lacking.
_DATABASE = """
WITH named AS (SELECT oid, nspname, nspacl, nspowner FROM pg_namespace WHERE nspname = ANY (:'schemas'::text[])),
things AS (
  SELECT n.nspname, CASE c.relkind WHEN 'S' THEN 'sequences' ELSE 'tables' END AS kind,
         coalesce(c.relacl, acldefault(
           CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner)) AS acl
    FROM pg_class c JOIN named n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')),
possible (kind, privilege) AS (VALUES
  ('tables', 'SELECT'), ('tables', 'INSERT'), ('tables', 'UPDATE'), ('tables', 'DELETE'),
  ('sequences', 'SELECT'), ('sequences', 'UPDATE'), ('sequences', 'USAGE'))
SELECT 'exists', nspname::text, 'x', '', '' FROM named
UNION ALL
SELECT 'database', d.datname::text, r.rolname::text, a.privilege_type, ''
  FROM pg_database d CROSS JOIN aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
  LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE d.datname = current_database()
UNION ALL
SELECT 'schema', n.nspname::text, r.rolname::text, a.privilege_type, ''
  FROM named n CROSS JOIN aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
  LEFT JOIN pg_roles r ON r.oid = a.grantee
UNION ALL
SELECT p.kind, n.nspname::text, r.rolname::text, p.privilege, ''
  FROM named n CROSS JOIN possible p CROSS JOIN pg_roles r
 WHERE r.rolname = ANY (ARRAY[current_database() || '_readonly', current_database() || '_readwrite'])
   AND NOT EXISTS (SELECT FROM things t WHERE t.nspname = n.nspname AND t.kind = p.kind AND NOT EXISTS (
     SELECT FROM aclexplode(t.acl) a WHERE a.grantee = r.oid AND a.privilege_type = p.privilege))
UNION ALL
SELECT CASE x.defaclobjtype WHEN 'r' THEN 'later-tables' ELSE 'later-sequences' END,
       n.nspname::text, r.rolname::text, a.privilege_type, c.rolname::text
  FROM pg_default_acl x JOIN named n ON n.oid = x.defaclnamespace JOIN pg_roles c ON c.oid = x.defaclrole
 CROSS JOIN aclexplode(x.defaclacl) a JOIN pg_roles r ON r.oid = a.grantee
 WHERE x.defaclobjtype IN ('r', 'S')
"""
