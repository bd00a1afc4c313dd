# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""pg_amcheck on the staged server, where it is asked for: every table and every B-tree index, before the swap.

Checksums say that a page is as it was written; only this says that what was written makes sense (an index whose
order another collation broke, a page that was damaged before it had a checksum). Nobody else is connected, so
the thorough checks, which lock, disturb nobody.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.psql import query, session_options
from ..core.errors import Failed, Refused
from ..core.journal import Journal
from ..core.run import Completed, run

EXTENSION = "amcheck"
_WEEK_SECONDS = 7 * 86400.0
#: pg_amcheck's status when something was found (PostgreSQL source, pg_amcheck.c).
_FOUND = 2
_FINDING = re.compile(r"^(?:heap table|btree index) \"")
_SHOWN = 20
#: Event triggers that are not ENABLE ALWAYS let the extension come and go, as if it were replicated (from 17 on the
#: staged server runs none at all).
_SESSION = {"session_replication_role": "replica"}


def require_amcheck(config: ClusterConfig) -> None:
    """Program and extension are on this host. Raises :class:`Refused` ``amcheck-missing``."""
    program = config.program("pg_amcheck")
    missing = None if os.access(program, os.X_OK) else program
    places = extension_places(config.bin_directory, config.version)
    if missing is None and not any(os.path.exists(place) for place in places):
        missing = f"{EXTENSION}.control in {' or '.join(os.path.dirname(place) for place in places)}"
    if missing is not None:
        raise Refused(
            "amcheck-missing",
            attempted=f"plan a restore of cluster {config.cluster} that checks every table and index",
            happened=f"{missing} is not there",
            remedy=f"Install it (Debian: postgresql-{config.version}; Red Hat: postgresql{config.version}-contrib), or "
            "leave out verify_amcheck (--amcheck).",
        )


def extension_places(bin_directory: str, version: str) -> tuple[str, ...]:
    """Where the extension's control file is, by the way the packages are made."""
    above = os.path.dirname(os.path.realpath(bin_directory).rstrip("/"))
    shares = (f"{above}/share", f"{above}/share/postgresql", f"/usr/share/postgresql/{version}")
    return tuple(f"{share}/extension/{EXTENSION}.control" for share in shares)


def amcheck(config: ClusterConfig, socket_directory: str, journal: Journal) -> list[str]:
    """Check all databases of the server there; what was found, one finding a line, nothing when all is well.

    The extension is made where it is missing, and taken away again. Raises :class:`Failed` ``amcheck-failed``.
    """
    made = journal.data.get("amcheck_made")
    if made is None:
        made = _without(config, socket_directory)
        # Before they are made: a run that is killed leaves them for the next one to take away.
        journal.note(amcheck_made=made)
    done = _run(config, socket_directory)
    if done.status not in (0, _FOUND) or (done.status == _FOUND and not done.out.strip()):
        words = (done.err.strip() or done.out.strip())[-2000:]
        raise _failed(f"pg_amcheck ended with status {done.status}: {words}")
    for database in made:
        _take_away(config, socket_directory, database)
    return findings(done.out.splitlines()) if done.status else []


def _failed(happened: str) -> Failed:
    return Failed(
        "amcheck-failed",
        attempted="check every table and index of the restored copy",
        happened=f"{happened}; nothing was swapped",
        remedy="Mend what its words name, then run the same command again; or abandon the copy (dbkeeper undo) and "
        "restore without --amcheck (verify_amcheck).",
    )


def _take_away(config: ClusterConfig, socket_directory: str, database: str) -> None:
    try:
        query(
            config,
            f"DROP EXTENSION IF EXISTS {EXTENSION}",
            database=database,
            socket_directory=socket_directory,
            settings=_SESSION,
        )
    except Failed as error:
        raise _failed(
            f"the extension {EXTENSION} cannot be taken away again from {database}: {error.happened}"
        ) from error


def _without(config: ClusterConfig, socket_directory: str) -> list[str]:
    rows = query(
        config,
        "SELECT datname FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY datname",
        socket_directory=socket_directory,
    )
    asked = f"SELECT count(*) FROM pg_extension WHERE extname = '{EXTENSION}'"
    return [
        str(name)
        for (name,) in rows
        if query(config, asked, database=str(name), socket_directory=socket_directory)[0][0] == "0"
    ]


def _run(config: ClusterConfig, socket_directory: str) -> Completed:
    argv = [config.program("pg_amcheck"), "--all", "--install-missing", "--heapallindexed", "--parent-check"]
    argv += [f"--jobs={max(1, len(os.sched_getaffinity(0)))}", "--no-password"]
    argv += ["-h", socket_directory, "-p", str(config.port), "-U", config.superuser]
    return run(
        argv,
        attempted="check every table and index of the restored copy",
        env={"PGOPTIONS": session_options(_SESSION)},
        timeout=_WEEK_SECONDS,
        accept=range(256),
    )


def findings(lines: Sequence[str]) -> list[str]:
    """``btree index "db.public.i": ERROR:  item order invariant violated …``: each finding with its words."""
    found: list[str] = []
    for line in lines:
        if _FINDING.match(line):
            found.append(line.strip())
        elif found and line.strip():
            found[-1] += f" {line.strip()}"
    return found or [" ".join(line.strip() for line in lines if line.strip())]


def evidence(found: Sequence[str]) -> dict[str, Any]:
    """For the record: whether all is well, how much was found, the first of it."""
    return {"passed": not found, "findings": len(found), "first": list(found[:_SHOWN])}
