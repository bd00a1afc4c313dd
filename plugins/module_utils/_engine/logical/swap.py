# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One database put in another's place by renaming both in one transaction, its connections ended before.

Whoever is killed on the way leaves either both names as they were (and at worst a database that lets nobody in, which
the journal knows), or both changed.
"""

from __future__ import annotations

import json
import time

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from ..core.errors import Failed, KeeperError
from ..core.progress import Progress
from .session import connection_string

_POLL_SECONDS = 0.2
_ATTEMPTS = 5
_IN_USE = ("55006", "57014")

_END_IDLE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = :'name' AND pid <> pg_backend_pid()
  AND (state = 'idle' OR :'all' = 'yes' OR backend_type <> 'client backend')
"""
_LEFT = "SELECT count(*) FROM pg_stat_activity WHERE datname = :'name' AND pid <> pg_backend_pid()"
_UNSUBSCRIBE = r"""
SELECT format('ALTER SUBSCRIPTION %1$I DISABLE; ALTER SUBSCRIPTION %1$I SET (slot_name = NONE); DROP SUBSCRIPTION %1$I',
              subname)
FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
\gexec
"""
_RENAME = """
BEGIN;
ALTER DATABASE :"target" RENAME TO :"kept";
ALTER DATABASE :"source" RENAME TO :"target";
COMMIT
"""
# What a database has besides its content: copied to the one that takes its place. Lists are stored as SET takes them.
_LIKE = r"""
SELECT format('ALTER DATABASE %I OWNER TO %I', :'to', pg_get_userbyid(datdba)) FROM pg_database WHERE datname = :'name'
UNION ALL
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC, %I', :'to', pg_get_userbyid(datdba))
FROM pg_database WHERE datname = :'name' AND datacl IS NOT NULL
UNION ALL
SELECT format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, :'to',
              CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
              CASE WHEN a.is_grantable AND a.grantee <> d.datdba THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_database AS d, aclexplode(d.datacl) AS a WHERE d.datname = :'name'
UNION ALL
SELECT format('COMMENT ON DATABASE %I IS %L', :'to', shobj_description(oid, 'pg_database'))
FROM pg_database WHERE datname = :'name'
UNION ALL
SELECT format('ALTER %s SET %I TO %s',
              CASE WHEN s.setrole = 0 THEN format('DATABASE %I', :'to')
                   ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(s.setrole), :'to') END,
              v.name,
              CASE WHEN v.name IN ('search_path', 'temp_tablespaces', 'local_preload_libraries',
                                   'session_preload_libraries') AND v.value NOT IN ('', '""')
                   THEN v.value ELSE quote_literal(v.value) END)
FROM pg_database AS d JOIN pg_db_role_setting AS s ON s.setdatabase = d.oid
CROSS JOIN LATERAL (SELECT split_part(c, '=', 1) AS name, substr(c, strpos(c, '=') + 1) AS value
                    FROM unnest(s.setconfig) AS c) AS v
WHERE d.datname = :'name' AND v.name <> 'dbkeeper.loads'
\gexec
"""


def exists(config: ClusterConfig, name: str) -> bool:
    """Whether there is a database of that name."""
    return bool(query(config, "SELECT 1 FROM pg_database WHERE datname = :'name'", values={"name": name}))


def make_like(config: ClusterConfig, name: str, to: str) -> None:
    """Owner, privileges, comment and settings of ``name`` for ``to``. Raises :class:`Failed` ``sql-failed``."""
    query(config, _LIKE, values={"name": name, "to": to})


def close(config: ClusterConfig, name: str) -> None:
    """Nobody gets in any more."""
    query(config, 'ALTER DATABASE :"name" ALLOW_CONNECTIONS false', values={"name": name})


def open_to(config: ClusterConfig, name: str, *, limit: int | None = None) -> None:
    """Let in whom the server lets in; ``limit`` of connections, where it is to be set."""
    query(config, 'ALTER DATABASE :"name" ALLOW_CONNECTIONS true', values={"name": name})
    if limit is not None:
        query(config, f'ALTER DATABASE :"name" CONNECTION LIMIT {limit}', values={"name": name})


def drop(config: ClusterConfig, name: str, *, prefix: str) -> None:
    """Remove a database of our making, whoever is in it. Its name has to begin with ``prefix``."""
    if not name.startswith(prefix):
        raise ValueError(f"{name} does not begin with {prefix}")
    if exists(config, name):
        # A database with subscriptions is not dropped; ours have never been at work, and own no slot elsewhere.
        query(config, _UNSUBSCRIBE, database=connection_string(name))
    query(config, 'DROP DATABASE IF EXISTS :"name" WITH (FORCE)', values={"name": name}, timeout=600)


def drain(config: ClusterConfig, name: str, *, seconds: float, progress: Progress) -> int:
    """End the connections to a closed database: idle ones at once, others when their transaction has ended, and after
    ``seconds`` all the same. Returns how many were ended. Raises :class:`Failed` ``database-in-use``."""
    ended, deadline = 0, time.monotonic() + seconds
    while True:
        late = time.monotonic() >= deadline
        ended += _number(query(config, _END_IDLE, values={"name": name, "all": "yes" if late else "no"}))
        left = _number(query(config, _LEFT, values={"name": name}))
        if not left:
            return ended
        progress.update(ended, note=f"{left} connections to {name} are left")
        if time.monotonic() > deadline + 30:
            raise Failed(
                "database-in-use",
                attempted=f"end the connections to database {name}",
                happened=f"{left} connections did not end within 30 s; the database has its name still, lets people "
                "in, and what was to take its place is kept",
                remedy="See who it is: SELECT * FROM pg_stat_activity; then run the same command again, which only "
                "swaps. Or give it up: dbkeeper load --undo.",
                details={"connections": left},
            )
        time.sleep(_POLL_SECONDS)


def swap(config: ClusterConfig, source: str, target: str, kept: str) -> None:
    """``target`` becomes ``kept``, ``source`` becomes ``target``; done already: no effect.

    Raises :class:`Failed`: ``sql-failed``.
    """
    if not exists(config, source) and exists(config, kept):
        return
    for attempt in range(_ATTEMPTS):
        try:
            query(config, _RENAME, values={"source": source, "target": target, "kept": kept})
        except KeeperError as error:
            if attempt == _ATTEMPTS - 1 or error.details.get("sqlstate") not in _IN_USE:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def rename(config: ClusterConfig, source: str, target: str) -> None:
    """Where there is no old one; done already: no effect."""
    if exists(config, source):
        query(
            config,
            'ALTER DATABASE :"source" RENAME TO :"target"',
            values={"source": source, "target": target},
        )


def _number(rows: list[list[str | None]]) -> int:
    return int(json.loads(str(rows[0][0])))
