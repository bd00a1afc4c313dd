# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a load will do, or why it will not. Pure.

``beside``: a new database under a temporary name, proven, then given its name (and the old one another). ``into``: one
transaction in a database that stays. ``none``: the very load is recorded there already.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..core.clock import label_time
from ..core.errors import Refused
from ..core.sizes import format_bytes
from .contents import Entry, tables_with_rows
from .load_again import identity_of, recorded
from .load_request import LoadRequest
from .load_state import LoadState
from .rows import COUNT, DIGEST, NONE, from_record, known_level, table_key

TEMPORARY_PREFIX = "dbkeeper_load_"
_LONGEST_NAME = 63
_CREATE = re.compile(r"CREATE DATABASE (.+?) WITH (TEMPLATE = template0.*?);\s*$", re.DOTALL)
_LOCALE = re.compile(r"(?:LOCALE|LC_COLLATE|LC_CTYPE) = '((?:[^']|'')*)'")
_TABLESPACE = re.compile(r" TABLESPACE = (\"(?:[^\"]|\"\")+\"|\w+)")
_NO_OBJECT = ("DATABASE", "DATABASE PROPERTIES", "ENCODING", "STDSTRINGS", "SEARCHPATH")


@dataclass(frozen=True)
class LoadPlan:
    """``entries``: numbers of the contents, None for all. ``tables``: whose rows are proven, by key. ``properties``:
    SQL for a new database, with ``\\0`` where its quoted name goes."""

    action: str
    reason: str
    identity: str
    dump: str
    target: str
    temporary: str
    kept: str | None
    entries: tuple[int, ...] | None
    count: int
    tables: tuple[str, ...]
    create: str
    properties: str
    owner: str | None
    program: tuple[str, ...]
    #: How rows are proven: none, count, digest (where one table has no digest, that one is counted, and it is said).
    proof: str
    warnings: tuple[str, ...]

    def named(self, kept: str | None) -> LoadPlan:
        """The same plan with the name that an interrupted run chose for the old database."""
        return replace(self, kept=kept)

    @property
    def steps(self) -> list[str]:
        """In words, for check mode."""
        if self.action == "none":
            return []
        what = " ".join(self.program) or "psql"
        how = {DIGEST: "by number and digest", COUNT: "by number"}.get(self.proof, "not at all")
        rows = f"prove the rows of {len(self.tables)} tables against the dump's record, {how}"
        if self.action == "into":
            return [
                f"begin a transaction in database {self.target}",
                f"{what}: {self.count} entries",
                rows,
                "record the load and commit",
            ]
        steps = [
            f"create database {self.temporary}",
            f"{what}: {self.count} entries",
            rows,
            "record the load",
        ]
        if self.kept:
            steps += [
                f"end the connections to {self.target}",
                f"rename {self.target} to {self.kept}, {self.temporary} to {self.target}",
            ]
        else:
            steps += [f"rename {self.temporary} to {self.target}"]
        return steps

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "action": self.action,
            "reason": self.reason,
            "identity": self.identity,
            "dump": self.dump,
            "target": self.target,
            "kept": self.kept,
            "entries": self.count,
            "tables": list(self.tables),
            "proof": self.proof,
            "steps": self.steps,
        }


def make_plan(request: LoadRequest, state: LoadState, *, now: datetime, locales: Any) -> LoadPlan:
    """Decide. ``locales(name)`` says whether the host has a locale.

    Raises :class:`Refused`: ``server-is-standby``, ``dump-from-newer-version``, ``dump-cannot-be-chosen-from``,
    ``nothing-chosen``, ``roles-missing``, ``extensions-missing``, ``tablespaces-missing``, ``locale-missing``,
    ``load-not-confirmed``, ``load-target-exists``, ``load-target-missing``, ``tables-there``,
    ``prepared-transactions``, ``load-no-space``, ``dump-without-digests``.
    """
    attempted = f"load {state.dump.key} into database {state.target!r}"
    identity = identity_of(request, state.dump, state.target)
    _fit(request, state, attempted)
    entries = _entries(request, state, attempted)
    existing = state.existing
    found = recorded(existing, identity)
    action, reason = "beside", f"there is no database {state.target!r} yet"
    if found and not request.again:
        action, reason = "none", f"it was loaded from this dump at {found.get('at')}"
    elif existing is not None and request.replace:
        reason = f"database {state.target!r} is replaced"
        _may_replace(request, state, attempted)
    elif existing is not None:
        action, reason = "into", f"database {state.target!r} stays, this is added"
        _may_add(request, state, entries, attempted)
    elif request.partial and request.content == "data":
        raise _refused(
            "load-target-missing",
            attempted,
            "there is no such database, and only rows are to be loaded",
            "Name a database that has the tables (--into NAME).",
        )
    if action != "none":
        _needs(request, state, entries, action, attempted)
    create, properties, owner = "", "", None
    if action == "beside":
        create, properties, owner = _database(request, state, attempted, locales)
        need = state.dump.database_bytes if state.dump.selection.whole and not request.partial else 0
        if need > state.free_bytes:
            raise _refused(
                "load-no-space",
                attempted,
                f"the database had {format_bytes(need)}, and {format_bytes(state.free_bytes)} are free",
                "Make room where the data directory lies, or load only some schemas or tables.",
            )
    listed = None if entries is None or state.contents is None else tuple(one.number for one in entries)
    if state.contents is not None and listed is not None and len(listed) == len(state.contents.entries):
        listed = None
    tables = _proven(request, state, entries)
    warnings: tuple[str, ...] = (
        () if tables or request.proof == NONE or request.content == "schema" else ("no rows to prove it by",)
    )
    proof = _proof(request, state, tables, attempted)
    if action == "into" and request.jobs > 1:
        warnings += ("one transaction is one job: the number of jobs is of no effect",)
    replaced = action == "beside" and existing is not None
    return LoadPlan(
        action=action,
        reason=reason,
        identity=identity,
        dump=state.dump.key,
        target=state.target,
        temporary=f"{TEMPORARY_PREFIX}{identity}",
        kept=name_after(state.target, "before", now) if replaced else None,
        entries=listed,
        count=len(_objects(entries)) if entries is not None else 0,
        tables=tables,
        create=create,
        properties=properties,
        owner=owner,
        program=() if state.contents is None else _program(request, action),
        proof=proof,
        warnings=warnings,
    )


def name_after(name: str, word: str, now: datetime) -> str:
    """``app_before_20261121T031500Z``, the name shortened so that it fits into PostgreSQL's 63 bytes."""
    tail = f"_{word}_{label_time(now)}"
    head = name.encode()[: _LONGEST_NAME - len(tail)].decode(errors="ignore")
    return head + tail


def _fit(request: LoadRequest, state: LoadState, attempted: str) -> None:
    if state.recovery:
        raise _refused(
            "server-is-standby",
            attempted,
            "the server is a standby and takes no writes",
            "Load on the primary.",
        )
    if state.dump.major > state.major:
        raise _refused(
            "dump-from-newer-version",
            attempted,
            f"the dump is from version {state.dump.major}, the server is of version {state.major}",
            "Load into a server of at least the dump's version.",
        )
    if state.contents is None and (
        request.partial
        or request.exclude
        or request.content != "all"
        or request.owners != "keep"
        or request.privileges != "keep"
        or not request.tablespaces
    ):
        raise _refused(
            "dump-cannot-be-chosen-from",
            attempted,
            "it is plain SQL: it is loaded as a whole and as it is",
            "Use a dump in format custom or directory, or load it whole into a new database and take from there.",
        )


def _entries(request: LoadRequest, state: LoadState, attempted: str) -> list[Entry] | None:
    if state.contents is None:
        return None
    entries = state.contents.choose(request.schemas, request.tables, request.exclude)
    missing = [
        name
        for name in request.schemas
        if not any(one.name == name for one in state.contents.of("SCHEMA"))
        and not any(one.schema == name for one in entries)
    ] + [
        key
        for key in request.tables
        if key not in {table_key(one.schema, one.name) for one in entries if one.schema}
    ]
    if missing or not _objects(entries):
        raise Refused(
            "nothing-chosen",
            attempted=attempted,
            happened=f"the dump does not hold {', '.join(missing)}" if missing else "nothing is left to load",
            remedy=f"See what it holds: dbkeeper load {state.dump.label} --list.",
            details={"missing": missing},
        )
    return entries


def _objects(entries: Sequence[Entry] | None) -> list[Entry]:
    return [one for one in entries or () if one.kind not in _NO_OBJECT]


def _proven(request: LoadRequest, state: LoadState, entries: list[Entry] | None) -> tuple[str, ...]:
    if request.content == "schema" or request.proof == NONE:
        return ()
    held = state.dump.rows if entries is None else tables_with_rows(entries)
    return tuple(sorted(set(held) & set(state.dump.rows)))


def _proof(request: LoadRequest, state: LoadState, tables: Sequence[str], attempted: str) -> str:
    """The least that is known of any of the tables that count."""
    recorded = from_record({name: state.dump.rows[name] for name in tables})
    known = known_level(recorded.values())
    if request.proof == DIGEST and request.content != "schema" and known != DIGEST:
        lacking = sorted(name for name, item in recorded.items() if not item.comparable)
        raise Refused(
            "dump-without-digests",
            attempted=attempted,
            happened=f"rows are to be proven by digest, and the dump recorded none of {', '.join(lacking[:5])}"
            if lacking
            else "rows are to be proven by digest, and the dump recorded none",
            remedy="Prove them by number (--proof count), or use a dump that was taken with --rows digest.",
            details={"tables": lacking},
        )
    return COUNT if request.proof == COUNT and known == DIGEST else known


def _may_replace(request: LoadRequest, state: LoadState, attempted: str) -> None:
    if request.confirm != state.target:
        raise _refused(
            "load-not-confirmed",
            attempted,
            f"database {state.target!r} is there and would be put aside under another name",
            "Repeat with the name of the database as confirmation (--confirm), if that is meant.",
        )
    if not (state.dump.selection.whole and state.dump.selection.content == "all"):
        raise _refused(
            "request-contradictory",
            attempted,
            "the dump holds only a part of its database",
            "Choose a dump of the whole database, or load without --replace.",
        )
    if state.prepared:
        raise _refused(
            "prepared-transactions",
            attempted,
            f"{state.prepared} prepared transactions in database {state.target!r} keep it from being renamed",
            "COMMIT PREPARED or ROLLBACK PREPARED them: SELECT gid FROM pg_prepared_xacts.",
        )


def _may_add(request: LoadRequest, state: LoadState, entries: list[Entry] | None, attempted: str) -> None:
    if not state.relations:
        return
    if not request.partial and request.content != "data":
        raise _refused(
            "load-target-exists",
            attempted,
            f"the database is there and holds {len(state.relations)} relations",
            "Replace it (--replace --confirm NAME), choose schemas or tables, or load into another one (--into).",
        )
    there = {table_key(schema, name) for schema, name, _kind in state.relations}
    kinds = ("TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE")
    both = [
        table_key(one.schema, one.name)
        for one in entries or ()
        if one.kind in kinds and table_key(one.schema, one.name) in there
    ]
    if both and request.content != "data":
        raise Refused(
            "tables-there",
            attempted=attempted,
            happened=f"the database has these already: {', '.join(both[:10])}",
            remedy="Rename or drop them, load only the rows into empty tables (--content data), or load into "
            "another database (--into).",
            details={"relations": both},
        )


def _needs(
    request: LoadRequest, state: LoadState, entries: list[Entry] | None, action: str, attempted: str
) -> None:
    objects = [one for one in entries or () if one.kind != "DATABASE"]
    lost = sorted({one.name for one in objects if one.kind == "EXTENSION"} - state.extensions)
    if lost:
        raise Refused(
            "extensions-missing",
            attempted=attempted,
            happened=f"the server does not have the extensions {', '.join(lost)}",
            remedy=f"Install the packages that hold them, or leave them out: --exclude 'EXTENSION * {lost[0]}'.",
            details={"extensions": lost},
        )
    spaces = {one.tablespace for one in objects if request.tablespaces} - {""}
    whole = next((one for one in entries or () if one.kind == "DATABASE"), None)
    if action == "beside" and whole and request.tablespaces:
        space = _TABLESPACE.search(whole.definition)
        spaces |= {space[1].strip('"').replace('""', '"')} if space else set()
    none = sorted(spaces - state.tablespaces)
    if none:
        raise Refused(
            "tablespaces-missing",
            attempted=attempted,
            happened=f"the server does not have the tablespaces {', '.join(none)}",
            remedy="Create them, or load everything into the default one (--no-tablespaces).",
            details={"tablespaces": none},
        )
    if request.owners != "drop" and not request.globals:
        owners = {request.owner_map.get(one.owner, one.owner) for one in objects} - {""}
        missing = sorted(owners - state.roles)
        if missing:
            raise Refused(
                "roles-missing",
                attempted=attempted,
                happened=f"owners in the dump are no roles here: {', '.join(missing)}",
                remedy="Load the roles first (--globals), map them (--owner OLD=NEW), or drop owners (--owners drop).",
                details={"roles": missing},
            )


def _database(
    request: LoadRequest, state: LoadState, attempted: str, locales: Any
) -> tuple[str, str, str | None]:
    """The rest of CREATE DATABASE, more SQL for it, its owner."""
    encoding = f"TEMPLATE = template0 ENCODING = '{state.dump.encoding}'" if state.dump.encoding else ""
    if state.contents is None:
        return encoding or "TEMPLATE = template0", "", None
    entry = next(iter(state.contents.of("DATABASE")), None)
    match = _CREATE.search(entry.definition) if entry else None
    if entry is None or match is None:
        return encoding or "TEMPLATE = template0", "", None
    create = match[2] if request.tablespaces else _TABLESPACE.sub("", match[2])
    if "LOCALE_PROVIDER = builtin" not in create:
        for name in dict.fromkeys(found.replace("''", "'") for found in _LOCALE.findall(create)):
            if not locales(name):
                raise _refused(
                    "locale-missing",
                    attempted,
                    f"the host does not have the locale {name}",
                    "Install it (locale-gen, package locales), or make the database yourself and load into it.",
                )
    keep = request.owners == "keep"
    properties = "".join(one.definition for one in state.contents.of("DATABASE PROPERTIES")) if keep else ""
    for kind in ("ACL", "COMMENT"):
        if keep and (kind == "COMMENT" or request.privileges == "keep"):
            properties += "".join(
                one.definition for one in state.contents.of(kind) if one.name == f"DATABASE {match[1]}"
            )
    owner = request.owner_map.get(entry.owner, entry.owner) if request.owners != "drop" else None
    return create, properties.replace(f"DATABASE {match[1]} ", "DATABASE \0 "), owner


def _program(request: LoadRequest, action: str) -> tuple[str, ...]:
    argv = ["pg_restore", "-v"]
    argv += ["--jobs", str(request.jobs)] if request.jobs > 1 and action == "beside" else []
    argv += ["--no-owner"] if request.owners == "drop" else []
    argv += ["--no-privileges"] if request.privileges == "drop" else []
    argv += ["--no-tablespaces"] if not request.tablespaces else []
    argv += {"schema": ["--schema-only"], "data": ["--data-only"]}.get(request.content, [])
    return tuple(argv)


def _refused(code: str, attempted: str, happened: str, remedy: str) -> Refused:
    return Refused(code, attempted=attempted, happened=happened, remedy=remedy)
