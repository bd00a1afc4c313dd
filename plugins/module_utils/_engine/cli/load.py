# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper load``: a dump into a new database, in the place of one, or into one that stays; and the way back."""

from __future__ import annotations

import argparse
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.home import repository_named_by
from ..core.errors import Refused
from ..logical.load import LoadRequest, contents, load, undo_load
from ..logical.load_request import LATEST, OWNERS, PRIVILEGES, PROOFS
from ..logical.load_words import load_lines, undo_lines
from ..repository.selection import CONTENTS

Outcome = tuple[dict[str, Any], list[str]]


def add_load(parser: argparse.ArgumentParser) -> None:
    """Options of ``load``."""
    add = parser.add_argument
    add("dump", nargs="?", default=LATEST, metavar="DUMP", help="label or key of a dump; else the newest one")
    add("--database", metavar="NAME", help="whose dump")
    add("--into", metavar="NAME", help="the database to load into; else the one that was dumped")
    add("--replace", action="store_true", help="put the loaded one in its place, the old one is kept aside")
    add("--confirm", metavar="NAME", help="the name of the database, to say that you mean it")
    add("--schema", action="append", default=[], metavar="NAME", help="only this schema; may be repeated")
    add("--table", action="append", default=[], metavar="S.T", help="only this table with what belongs to it")
    add(
        "--exclude", action="append", default=[], metavar="PATTERN", help="leave out entries: 'TRIGGER app *'"
    )
    add("--content", choices=CONTENTS, default="all", help="everything, definitions or rows")
    add("--jobs", type=int, default=1, metavar="N", help="how many at once (a new database only)")
    add(
        "--owners",
        choices=OWNERS[:2],
        default="keep",
        help="keep the owners, or let the superuser own it all",
    )
    add("--owner", action="append", default=[], metavar="OLD=NEW", help="another role in a role's place")
    add("--privileges", choices=PRIVILEGES, default="keep", help="keep or drop what is granted")
    add("--no-tablespaces", action="store_true", help="everything into the default tablespace")
    add("--globals", action="store_true", help="make roles that are missing first")
    add("--accept-error", action="append", default=[], metavar="REGEX", help="an error that may happen")
    add("--no-analyze", action="store_true", help="leave statistics to autovacuum")
    add(
        "--proof",
        choices=PROOFS,
        default="auto",
        help="hold rows against all that the dump recorded, or less",
    )
    add("--again", action="store_true", help="load although it is recorded as loaded")
    add(
        "--drain-seconds", type=int, default=10, metavar="N", help="how long transactions may go on at a swap"
    )
    add("--list", action="store_true", help="show the entries that would be loaded")
    add("--undo", action="store_true", help="give a replaced database its name back")
    add("--check", action="store_true", help="show the plan only")


def load_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """On the cluster's host."""
    if options.undo:
        target = options.into or options.database
        result = undo_load(config, target, confirm=options.confirm, check=options.check)
        return result, undo_lines(result, language)
    repository = repository_named_by(config)
    request = _request(options)
    if options.list:
        result = contents(config, repository, request)
        return result, [one["entry"] for one in result["entries"]]
    result = load(config, repository, request, check=options.check)
    return result, load_lines(result, language)


def _request(options: argparse.Namespace) -> LoadRequest:
    mapping = dict(item.split("=", 1) for item in options.owner if "=" in item)
    if len(mapping) != len(options.owner):
        raise Refused(
            "role-mapping-malformed",
            attempted="understand --owner",
            happened="a mapping is not of the form OLD=NEW, or a role is mapped twice",
            remedy="Write --owner old_role=new_role.",
        )
    return LoadRequest(
        dump=options.dump,
        database=options.database,
        target=options.into or "",
        replace=options.replace,
        confirm=options.confirm,
        schemas=tuple(options.schema),
        tables=tuple(options.table),
        exclude=tuple(options.exclude),
        content=options.content,
        jobs=options.jobs,
        owners="map" if mapping else options.owners,
        owner_map=mapping,
        privileges=options.privileges,
        tablespaces=not options.no_tablespaces,
        globals=options.globals,
        accept_errors=tuple(options.accept_error),
        analyze=not options.no_analyze,
        proof=options.proof,
        again=options.again,
        drain_seconds=options.drain_seconds,
    )
