# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a load has to know: the dump and its contents, the server, the database that it goes into. Changes nothing.

What was loaded from which dump stands in the database itself, as its setting ``dbkeeper.loads``: it goes with the
database through a rename, comes and goes with a transaction, and is in no schema and no dump of the database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.disks import file_system
from ..cluster.instance import Instance
from ..cluster.psql import query
from ..core.errors import Refused
from ..repository.dumps import Dump, read_shelf
from ..repository.layout import Repository
from .contents import Contents, read_contents
from .load_request import LATEST, LoadRequest
from .session import connection_string

SETTING = "dbkeeper.loads"

_SERVER = """
SELECT json_build_object(
  'recovery', pg_is_in_recovery(),
  'major', current_setting('server_version_num')::int / 10000,
  'roles', (SELECT json_agg(rolname) FROM pg_roles),
  'extensions', (SELECT json_agg(name) FROM pg_available_extensions),
  'tablespaces', (SELECT json_agg(spcname) FROM pg_tablespace),
  'prepared', (SELECT count(*) FROM pg_prepared_xacts WHERE database = :'target'),
  'databases', (SELECT json_agg(json_build_object('name', datname, 'allows', datallowconn, 'limit', datconnlimit,
     'loads', (SELECT substr(c, length('dbkeeper.loads=') + 1) FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c
               WHERE s.setdatabase = d.oid AND s.setrole = 0 AND c LIKE 'dbkeeper.loads=%')))
   FROM pg_database AS d))
"""
_TABLES = """
SELECT json_build_array(n.nspname, c.relname, c.relkind) FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend AS x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid
                  AND x.deptype = 'e')
"""


@dataclass(frozen=True)
class DatabaseState:
    """A database as it is; ``loads``: what was loaded into it, oldest first."""

    name: str
    allows: bool
    limit: int
    loads: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class LoadState:
    """``contents`` is None of a plain dump. ``relations``: what the target holds already."""

    dump: Dump
    path: str
    globals_path: str
    contents: Contents | None
    target: str
    databases: Mapping[str, DatabaseState]
    relations: tuple[tuple[str, str, str], ...]
    roles: frozenset[str]
    extensions: frozenset[str]
    tablespaces: frozenset[str]
    major: int
    recovery: bool
    prepared: int
    free_bytes: int

    @property
    def existing(self) -> DatabaseState | None:
        """The target, where it is there."""
        return self.databases.get(self.target)


def ask_state(config: ClusterConfig, repository: Repository, request: LoadRequest) -> LoadState:
    """Look, in a repository on this host. Raises :class:`Refused`: ``dump-unknown``, ``dump-unfit``,
    ``server-not-running``; :class:`Failed`: ``dump-contents-unreadable``, what reading and asking raise."""
    attempted = f"load dump {request.dump}"
    dump = choose_dump(repository, request, attempted)
    target = request.target or dump.database
    status = Instance(config).status()
    if not (status.running and status.ready):
        raise Refused(
            "server-not-running",
            attempted=attempted,
            happened=f"the server of cluster {config.cluster} takes no connections: {status.reason}",
            remedy="Start it, then run the same command again.",
        )
    path = dump.path(repository)
    databases, facts = ask_server(config, target)
    existing = databases.get(target)
    relations: tuple[tuple[str, str, str], ...] = ()
    if existing is not None and existing.allows:
        relations = tuple(
            _relation(row[0]) for row in query(config, _TABLES, database=connection_string(target))
        )
    return LoadState(
        dump=dump,
        path=path,
        globals_path=f"{dump.directory(repository)}/globals.sql" if dump.globals else "",
        contents=None if dump.format == "plain" else read_contents(path),
        target=target,
        databases=databases,
        relations=relations,
        roles=frozenset(facts["roles"]),
        extensions=frozenset(facts["extensions"]),
        tablespaces=frozenset(facts["tablespaces"]),
        major=int(facts["major"]),
        recovery=bool(facts["recovery"]),
        prepared=int(facts["prepared"]),
        free_bytes=file_system(config.data_directory).free_bytes,
    )


def ask_server(config: ClusterConfig, target: str) -> tuple[dict[str, DatabaseState], dict[str, Any]]:
    """All databases by name, and what else the server knows."""
    facts = json.loads(str(query(config, _SERVER, values={"target": target})[0][0]))
    return {
        item["name"]: DatabaseState(
            item["name"], bool(item["allows"]), int(item["limit"]), _loads(item["loads"])
        )
        for item in facts["databases"]
    }, facts


def _relation(text: str | None) -> tuple[str, str, str]:
    schema, name, kind = json.loads(str(text))
    return str(schema), str(name), str(kind)


def _loads(text: str | None) -> tuple[dict[str, Any], ...]:
    """What a person has written there by hand is no record."""
    try:
        value = json.loads(text or "[]")
    except ValueError:
        return ()
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def choose_dump(repository: Repository, request: LoadRequest, attempted: str) -> Dump:
    """The one that is asked for. Raises :class:`Refused` ``dump-unknown``, ``dump-unfit``."""
    repository.require(attempted)
    shelf = read_shelf(repository)
    if request.dump != LATEST:
        dump = shelf.find(request.dump, request.database)
    else:
        fit = [
            one
            for one in shelf.of(request.database or "")
            if one.verified and one.selection.content in ("all", request.content)
        ]
        whole = [one for one in fit if one.selection.whole]
        if not fit:
            raise Refused(
                "dump-unknown",
                attempted=attempted,
                happened=f"there is no verified dump of database {request.database!r}",
                remedy="See which there are: dbkeeper info; or take one: dbkeeper dump.",
            )
        dump = (whole or fit)[-1]
    if not dump.verified:
        raise Refused(
            "dump-unfit",
            attempted=attempted,
            happened=f"{dump.key} is {dump.status}: {dump.failure or 'it was not finished'}",
            remedy="Choose a verified one: dbkeeper info lists them.",
            details={"key": dump.key, "status": dump.status},
        )
    return dump
