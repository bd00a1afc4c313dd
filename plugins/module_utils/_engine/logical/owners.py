# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Owners and privileges of a load in which roles are others than in the dump. Pure: entries in, SQL out.

pg_restore leaves owners out or takes them as they are. So it is told to leave them out, and they are given afterwards:
what drops an entry names it in full, as pg_restore's own ``ALTER … OWNER TO`` does. Statements on privileges end with
the role's name, each on a line of its own (source: ``buildACLCommands`` of PostgreSQL's dumputils.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .contents import Entry

_OWNED = (
    *(
        "TABLE",
        "VIEW",
        "MATERIALIZED VIEW",
        "SEQUENCE",
        "FOREIGN TABLE",
        "FUNCTION",
        "PROCEDURE",
        "AGGREGATE",
    ),
    *("TYPE", "DOMAIN", "SCHEMA", "COLLATION", "CONVERSION", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY"),
    *("PROCEDURAL LANGUAGE", "SERVER", "FOREIGN DATA WRAPPER", "STATISTICS", "TEXT SEARCH CONFIGURATION"),
    *("TEXT SEARCH DICTIONARY", "EVENT TRIGGER", "PUBLICATION", "SUBSCRIPTION"),
)
_DROP = re.compile(r"DROP (.+?);\s*$", re.DOTALL)
_ROLE = r'"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*'
_END = re.compile(
    rf"( (?:TO|FROM) |SET SESSION AUTHORIZATION |FOR ROLE )({_ROLE})"
    r"(?=;| WITH GRANT OPTION;| IN | GRANT | REVOKE )"
)


def owner_sql(entries: Iterable[Entry], roles: Mapping[str, str]) -> str:
    """Gives every entry to its owner, or to whom the owner is mapped to."""
    lines = []
    for entry in entries:
        match = _DROP.match(entry.removal)
        if entry.kind in _OWNED and entry.owner and match:
            lines.append(f"ALTER {match[1]} OWNER TO {quoted(roles.get(entry.owner, entry.owner))};")
    return "\n".join(lines) + "\n" if lines else ""


def privilege_sql(entries: Iterable[Entry], roles: Mapping[str, str]) -> str:
    """The privileges of the entries, roles mapped; those of the database itself are left out."""
    text = "".join(
        entry.definition + "\n"
        for entry in entries
        if entry.kind in ("ACL", "DEFAULT ACL") and not entry.name.startswith("DATABASE ")
    )

    def other(match: re.Match[str]) -> str:
        name = match[2][1:-1].replace('""', '"') if match[2].startswith('"') else match[2]
        return match[1] + (quoted(roles[name]) if name in roles else match[2])

    return _END.sub(other, text)


def quoted(name: str) -> str:
    """An identifier, always in quotes."""
    return '"' + name.replace('"', '""') + '"'
