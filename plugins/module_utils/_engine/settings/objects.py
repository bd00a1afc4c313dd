# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Roles, databases and what is in them: what differs from what is declared. Looks only.

The modules of community.postgresql make what is declared, one call for each object. This tells in one call whether
there is anything to make, so that a run that changes nothing costs one task. In doubt something differs: then they
look themselves.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from .access import DatabaseAccess, look, plan_access

#: Attributes of a role that is declared with nothing but a name.
ATTRIBUTES = {
    "login": True,
    "superuser": False,
    "createdb": False,
    "createrole": False,
    "replication": False,
    "bypassrls": False,
    "inherit": True,
}
Object = Mapping[str, Any]


@dataclass(frozen=True)
class Declared:
    """What is wanted, in the words of the role's variables; passwords only as ``verifiers`` by role."""

    roles: Sequence[Object] = ()
    verifiers: Mapping[str, str] = field(default_factory=dict)
    databases: Sequence[Object] = ()
    extensions: Sequence[Object] = ()
    indexes: Sequence[Object] = ()
    access: Sequence[DatabaseAccess] = ()


@dataclass(frozen=True)
class Difference:
    """One object that is not as declared, and in what."""

    kind: str
    name: str
    database: str | None
    what: str

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {"kind": self.kind, "name": self.name, "database": self.database, "what": self.what}


def differences(config: ClusterConfig, declared: Declared, *, check: bool) -> list[Difference]:
    """What is not as declared, in the order of the declaration.

    In check mode a cluster that is still to be made has nothing of it. Raises what
    :func:`cluster.psql.query` raises.
    """
    if check and not os.path.isdir(config.data_directory):
        return judge(declared, {"roles": [], "members": [], "databases": []}, {}, {}, {})
    found = _ask(config, _CLUSTER)
    there = {item["name"] for item in found["databases"]}
    names = dict.fromkeys(str(item["database"]) for item in (*declared.extensions, *declared.indexes))
    inside = {name: _ask(config, _DATABASE, database=name) for name in names if name in there}
    groups = {access.name: plan_access(access, look(config, access)) for access in declared.access}
    return judge(declared, found, inside, groups, _instants(config, declared.roles))


def judge(
    declared: Declared,
    found: Mapping[str, Any],
    inside: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    instants: Mapping[str, str],
) -> list[Difference]:
    """The same from what was found in the cluster, inside of databases, and lacks for access. Pure.

    ``instants``: what the server makes of each text of a ``valid_until``.
    """
    roles = {item["name"]: item for item in found["roles"]}
    members: dict[str, set[str]] = {}
    for group, member in found["members"]:
        members.setdefault(member, set()).add(group)
    databases = {item["name"]: item for item in found["databases"]}
    said: list[Difference] = []
    for wanted in declared.roles:
        name = wanted["name"]
        what = _role(
            wanted, roles.get(name), declared.verifiers.get(name), members.get(name, set()), instants
        )
        said += [Difference("role", name, None, text) for text in what]
    for wanted in declared.databases:
        what = _database(wanted, databases.get(wanted["name"]))
        said += [Difference("database", wanted["name"], None, text) for text in what]
    for name, plan in groups.items():
        said += [Difference("access", name, name, statement) for statement in plan]
    said += [
        Difference("access", access.name, access.name, "missing")
        for access in declared.access
        if access.name not in groups
    ]
    for kind, items, compare in (
        ("extension", declared.extensions, _extension),
        ("index", declared.indexes, _index),
    ):
        for wanted in items:
            place = wanted["database"]
            what = compare(wanted, inside.get(place))
            said += [Difference(kind, wanted["name"], place, text) for text in what]
    return said


def _role(
    wanted: Object, found: Object | None, verifier: str | None, groups: set[str], instants: Mapping[str, str]
) -> Iterable[str]:
    if _absent(wanted):
        return [] if found is None else ["present"]
    if found is None:
        return ["missing"]
    said = [name for name, usual in ATTRIBUTES.items() if bool(wanted.get(name, usual)) != found[name]]
    if int(wanted.get("connection_limit", -1)) != found["connection_limit"]:
        said.append("connection_limit")
    if verifier != found["verifier"]:
        said.append("password")
    until = wanted.get("valid_until")
    if until is not None and instants.get(str(until)) != found["valid_until"]:
        said.append("valid_until")
    if wanted.get("settings") is not None and _settings(wanted["settings"]) != _stored(found["settings"]):
        said.append("settings")
    if wanted.get("member_of") is not None and set(wanted["member_of"]) != groups:
        said.append("member_of")
    return said + _comment(wanted, found)


def _database(wanted: Object, found: Object | None) -> Iterable[str]:
    if _absent(wanted):
        return [] if found is None else ["present"]
    if found is None:
        return ["missing"]
    said = [
        name
        for name in ("owner", "tablespace", "connection_limit")
        if wanted.get(name) is not None and str(wanted[name]) != str(found[name])
    ]
    if wanted.get("encoding") is not None and _letters(wanted["encoding"]) != _letters(found["encoding"]):
        said.append("encoding")
    if wanted.get("locale") is not None and {wanted["locale"]} != {found["collate"], found["ctype"]}:
        said.append("locale")
    return said + _comment(wanted, found)


def _extension(wanted: Object, database: Mapping[str, Any] | None) -> Iterable[str]:
    found = {item["name"]: item for item in (database or {}).get("extensions", [])}.get(wanted["name"])
    if _absent(wanted):
        return [] if found is None else ["present"]
    if found is None:
        return ["missing"]
    version = found["latest"] if wanted.get("version") == "latest" else wanted.get("version")
    return [
        name
        for name, value in (("version", version), ("schema", wanted.get("schema")))
        if value is not None and str(value) != found[name]
    ]


def _index(wanted: Object, database: Mapping[str, Any] | None) -> Iterable[str]:
    key = [wanted.get("schema", "public"), wanted["name"]]
    found = [item for item in (database or {}).get("indexes", []) if [item["schema"], item["name"]] == key]
    if _absent(wanted):
        return ["present"] if found else []
    if not found:
        return ["missing"]
    return [] if found[0]["valid"] else ["invalid"]


def _absent(wanted: Object) -> bool:
    return bool(wanted.get("state", "present") == "absent")


def _comment(wanted: Object, found: Object) -> list[str]:
    given = wanted.get("comment")
    return ["comment"] if given is not None and given != (found["comment"] or "") else []


def _settings(given: Mapping[str, Any]) -> dict[str, str]:
    words = {True: "on", False: "off"}
    return {
        name.lower(): words[value] if isinstance(value, bool) else str(value) for name, value in given.items()
    }


def _stored(items: Sequence[str] | None) -> dict[str, str]:
    pairs = (item.partition("=") for item in items or ())
    return {name.lower(): value for name, dummy, value in pairs}


def _letters(encoding: str) -> str:
    """UTF8, utf-8 and UTF_8 are one name to the server."""
    return "".join(letter for letter in encoding.lower() if letter.isalnum())


def _ask(config: ClusterConfig, sql: str, *, database: str = "postgres") -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(query(config, sql, database=database)[0][0] or "{}")
    return answer


def _instants(config: ClusterConfig, roles: Sequence[Object]) -> dict[str, str]:
    given = sorted({str(item["valid_until"]) for item in roles if item.get("valid_until") is not None})
    if not given:
        return {}
    names = [f"until_{number}" for number in range(len(given))]
    columns = ", ".join(f":'{name}'::timestamptz::text" for name in names)
    answer = query(config, f"SELECT {columns}", values=dict(zip(names, given)))
    return {text: str(value) for text, value in zip(given, answer[0])}


_CLUSTER = """
SELECT json_build_object(
  'roles', (SELECT coalesce(json_agg(json_build_object(
      'name', r.rolname, 'login', r.rolcanlogin, 'superuser', r.rolsuper, 'createdb', r.rolcreatedb,
      'createrole', r.rolcreaterole, 'replication', r.rolreplication, 'bypassrls', r.rolbypassrls,
      'inherit', r.rolinherit, 'connection_limit', r.rolconnlimit, 'verifier', r.rolpassword,
      'valid_until', r.rolvaliduntil::text, 'comment', shobj_description(r.oid, 'pg_authid'),
      'settings', (SELECT s.setconfig FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0)
    )), '[]') FROM pg_authid r),
  'members', (SELECT coalesce(json_agg(json_build_array(g.rolname, m.rolname)), '[]')
    FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member),
  'databases', (SELECT coalesce(json_agg(json_build_object(
      'name', d.datname, 'owner', pg_get_userbyid(d.datdba), 'encoding', pg_encoding_to_char(d.encoding),
      'collate', d.datcollate, 'ctype', d.datctype, 'connection_limit', d.datconnlimit,
      'tablespace', t.spcname, 'comment', shobj_description(d.oid, 'pg_database')
    )), '[]') FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace))
"""

_DATABASE = """
SELECT json_build_object(
  'extensions', (SELECT coalesce(json_agg(json_build_object(
      'name', e.extname, 'version', e.extversion, 'schema', n.nspname,
      'latest', (SELECT a.default_version FROM pg_available_extensions a WHERE a.name = e.extname)
    )), '[]') FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace),
  'indexes', (SELECT coalesce(json_agg(json_build_object(
      'name', c.relname, 'schema', n.nspname, 'valid', i.indisvalid
    )), '[]') FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast')))
"""
