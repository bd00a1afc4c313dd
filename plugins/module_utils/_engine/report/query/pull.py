# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What pg_stat_statements knows, in one cheap pull: all counters without texts, then texts of statements never met."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..session import Look
from . import columns, delta
from .text import LONGEST

_EXTENSION = """
SELECT quote_ident(n.nspname) || '.pg_stat_statements', e.extversion,
       (SELECT default_version FROM pg_available_extensions WHERE name = 'pg_stat_statements'),
       (SELECT p.proargnames FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass
        WHERE d.refobjid = e.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
          AND p.proname = 'pg_stat_statements' LIMIT 1)
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'
"""
_SETTINGS = """
SELECT name, setting FROM pg_settings
WHERE name LIKE 'pg\\_stat\\_statements.%' OR name IN ('track_io_timing', 'compute_query_id', 'track_activities',
      'shared_preload_libraries', 'jit', 'server_version', 'is_superuser')
"""
_DATABASES = """
SELECT d.oid::bigint, d.datname, s.active_time::float8, extract(epoch FROM s.stats_reset)::float8
FROM pg_database d LEFT JOIN pg_stat_database s ON s.datid = d.oid
"""
_TEXTS = """
SELECT dbid::bigint, queryid, left(query, {length}), CASE WHEN length(query) > {length} THEN md5(query) ELSE '' END
FROM {function}(true) WHERE queryid = ANY(%s)
"""


@dataclass(frozen=True)
class Reading:
    """One reading. ``entries``: key (``user:database:toplevel:queryid``) -> counters, see :mod:`.delta`."""

    extension: str
    default_version: str | None
    place: str
    entries: dict[str, dict[str, float]]
    hidden: int
    info: Mapping[str, Any]
    settings: Mapping[str, str]
    databases: Mapping[str, Mapping[str, Any]]
    roles: Mapping[str, str]
    at: float
    function: str = ""
    names: list[str] = field(default_factory=list)


def key(user: int, database: int, toplevel: bool | None, queryid: int) -> str:
    """The key of an entry. Before 1.9 everything counts as sent by a client."""
    return f"{user}:{database}:{'f' if toplevel is False else 't'}:{queryid}"


def pull(look: Look, taken_at: float) -> Reading | None:
    """All but texts, from the database that is connected; None where the extension cannot be read (``not_seen``)."""
    found = look.ask(_EXTENSION, what="pg_stat_statements")
    if not found:
        return None
    function, text, default, arguments = found[0]
    version = columns.version(text)
    if version < columns.OLDEST:
        look.miss(
            "pg_stat_statements", "absent", f"version {text}: ALTER EXTENSION pg_stat_statements UPDATE"
        )
        return None
    names, statement = columns.statement(version, arguments or (), function)
    rows = look.ask(statement, what="statements of pg_stat_statements")
    if rows is None:
        return None
    entries: dict[str, dict[str, float]] = {}
    hidden = 0
    for user, database, queryid, toplevel, since, *figures in rows:
        if queryid is None:
            hidden += 1
            continue
        entry = {name: value for name, value in zip(names, figures) if value is not None}
        entry["square"] = delta.square(entry["calls"], entry.pop("mean_ms", 0.0), entry.pop("stddev_ms", 0.0))
        if since is not None:
            entry["since"] = float(since)
        entries[key(user, database, toplevel, queryid)] = entry
    if hidden:
        look.miss(f"statements of other users ({hidden})", "denied", "their queryid is hidden")
    return Reading(
        text,
        default,
        look.database_name,
        entries,
        hidden,
        _info(look, version, function),
        {str(row[0]): str(row[1]) for row in look.ask(_SETTINGS, what="settings") or []},
        _databases(look),
        {
            str(row[0]): str(row[1])
            for row in look.ask("SELECT oid::bigint, rolname FROM pg_roles", what="roles") or []
        },
        taken_at,
        function,
        names,
    )


def texts(look: Look, reading: Reading, queryids: Collection[int]) -> dict[str, tuple[str, str]]:
    """``database:queryid`` -> (text, digest of what was cut off) of these; what has no text is not in it.

    The server reads the whole file of texts for one of them as for all, so this is called once, with all.
    """
    if not queryids:
        return {}
    # That file would go through a temporary file otherwise, and is seldom larger.
    look.ask("SET work_mem = '128MB'", what="memory for the texts of statements")
    rows = look.ask(
        _TEXTS.format(function=reading.function, length=LONGEST),
        (list(queryids),),
        what="texts of statements",
    )
    look.ask("SET work_mem = '32MB'", what="memory for the texts of statements")
    return {f"{row[0]}:{row[1]}": (str(row[2]), str(row[3])) for row in rows or [] if row[2] is not None}


def _info(look: Look, version: tuple[int, int], function: str) -> dict[str, Any]:
    if version < (1, 9):
        return {"dealloc": None, "stats_reset": None}
    rows = look.ask(
        f"SELECT dealloc, extract(epoch FROM stats_reset)::float8 FROM {function}_info()",
        what="pg_stat_statements_info",
    )
    return (
        {"dealloc": rows[0][0], "stats_reset": rows[0][1]} if rows else {"dealloc": None, "stats_reset": None}
    )


def _databases(look: Look) -> dict[str, dict[str, Any]]:
    rows = look.ask(_DATABASES, what="databases") or []
    return {
        str(oid): {"name": str(name), "active_ms": active, "stats_reset": reset}
        for oid, name, active, reset in rows
    }
