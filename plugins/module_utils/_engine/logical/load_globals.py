# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Roles from a dump's globals: those that are missing are made, with their passwords, settings and memberships; those
that are there stay as they are. Tablespaces are places on another host, and are nobody's to make by a dump.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from .load_run import run_script
from .session import Session

_ROLE = r'("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)'
_CREATE = re.compile(rf"CREATE ROLE {_ROLE}$")
_ABOUT = (
    re.compile(rf"(?:CREATE|ALTER) ROLE {_ROLE}(?=\s|$)", re.DOTALL),
    re.compile(rf"COMMENT ON ROLE {_ROLE} IS ", re.DOTALL),
    re.compile(rf"GRANT (?:{_ROLE[1:-1]}) TO {_ROLE}", re.DOTALL),
)
_TOKEN = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|;|\\[^\n]*|[^;'\"\\-]+|.", re.DOTALL)


def load_globals(config: ClusterConfig, path: str, *, attempted: str) -> list[str]:
    """Make the missing roles, in one transaction; returns their names. Raises :class:`Failed` ``load-failed``."""
    with open(path, encoding="utf-8", errors="surrogateescape") as handle:
        text = handle.read()
    there = {str(row[0]) for row in query(config, "SELECT rolname FROM pg_roles")}
    made, script = missing_roles(text, there)
    if made:
        with Session(config, "postgres", attempted=attempted) as session:
            session.do("BEGIN")
            run_script(session, config, iter([script.encode(errors="surrogateescape")]), attempted=attempted)
            session.do("COMMIT")
    return made


def missing_roles(text: str, there: set[str]) -> tuple[list[str], str]:
    """Names of roles that the globals make and nobody has yet, and the statements about them. Pure."""
    found = list(statements(text))
    made = [name for one in found if (match := _CREATE.match(one)) and (name := _name(match[1])) not in there]
    chosen = [one for one in found if _about(one) in made]
    # A membership needs both roles.
    known = there | set(made)
    kept = [one for one in chosen if not one.startswith("GRANT ") or _granted(one) <= known]
    return made, "".join(f"{one};\n" for one in kept)


def statements(text: str) -> Iterator[str]:
    """The statements of a script without comments and psql's own commands. Pure."""
    current: list[str] = []
    for token in _TOKEN.findall(text):
        if token == ";":
            if one := "".join(current).strip():
                yield one
            current = []
        elif not token.startswith(("--", "\\")):
            current.append(token)
    if one := "".join(current).strip():
        yield one


def _about(statement: str) -> str | None:
    for pattern in _ABOUT:
        if match := pattern.match(statement):
            return _name(match[match.lastindex or 1])
    return None


def _granted(statement: str) -> set[str]:
    match = re.match(rf"GRANT {_ROLE} TO {_ROLE}(?:.* GRANTED BY {_ROLE})?", statement, re.DOTALL)
    return {_name(one) for one in match.groups() if one} if match else set()


def _name(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text
