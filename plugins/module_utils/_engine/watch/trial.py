# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A trial: the newest dump of a database loaded into a scratch database, its rows held against the dump's record.

Whatever becomes of it the scratch database goes: at the end, or, after a kill, at the beginning of whatever verifies
next. Its name says whose it is, and nobody else's is ever dropped.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from time import monotonic
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.disks import file_system
from ..cluster.home import repository_named_by
from ..cluster.psql import answers, query
from ..core.clock import format_utc, parse_utc, utc_now
from ..core.errors import KeeperError, Refused
from ..core.journal import Journal
from ..core.locks import locked
from ..core.sizes import format_bytes
from ..logical.load import load
from ..logical.load_execute import go_back
from ..logical.load_request import LoadRequest
from ..logical.shelf import Dump, newest_dump, read_shelf
from ..repository.layout import Repository
from .gentle import stand_back
from .verify_record import Records, ended_run

PREFIX = "dbkeeper_trial_"
#: Loaded, a database needs about as much as it had; indexes are built anew beside their sorts.
_ROOM = 1.2
_DROP_SECONDS = 600.0


def scratch_name(database: str) -> str:
    """Of letters and digits, whatever the database is called; the same each time."""
    return f"{PREFIX}{hashlib.sha256(database.encode()).hexdigest()[:12]}"


def trial(
    config: ClusterConfig, database: str, *, check: bool = False, max_age_seconds: int | None = None
) -> dict[str, Any]:
    """Load and prove. The result has ``changed`` (False: nothing stays), ``executed``, ``plan`` and ``trial``.

    ``max_age_seconds``: nothing is done while the last one, good or bad, ended less than that ago, or while no dump has
    waited so long for its first (None: always).

    Raises :class:`Refused`: ``dump-unknown`` (none that is good and whole), ``trial-no-space``, ``server-down``,
    ``busy``; :class:`Failed`: what a load raises, ``load-rows-differ`` above all. Both are written down.
    """
    attempted = f"try whether the newest dump of database {database} can be loaded"
    repository = repository_named_by(config)
    repository.require(attempted)
    if max_age_seconds is not None:
        early = _not_due(repository, database, max_age_seconds, utc_now())
        if early is not None:
            return {"changed": False, "executed": False, "plan": early, "trial": {}}
    dump = newest_dump(repository, database)
    if dump is None:
        raise Refused(
            "dump-unknown",
            attempted=attempted,
            happened="there is no good dump of the whole database",
            remedy=f"Take one: dbkeeper dump --database {database}.",
        )
    scratch = scratch_name(database)
    plan = {"dump": dump.key, "scratch": scratch, "database_bytes": dump.database_bytes}
    if check:
        return {"changed": False, "executed": False, "plan": plan, "trial": {}}
    with locked(f"{config.state_directory}/trial.lock", "trial", attempted=attempted):
        stand_back()
        sweep_scratch(config)
        _require_room(config, dump, attempted)
        return {
            "changed": False,
            "executed": True,
            "plan": plan,
            "trial": _try(config, repository, dump, scratch),
        }


def _not_due(repository: Repository, database: str, most: int, now: datetime) -> dict[str, Any] | None:
    """Why nothing is to be made up for: ``reason``, the end of the last one (None: there was none yet)."""
    last = Records.read(repository).runs.get("trial") or {}
    told = None
    if last.get("database") == database:
        told = last.get("ended_at")
        if told is None:
            # It was killed.
            return None
        since = [parse_utc(str(told))]
    else:
        since = [one.ended_at for one in read_shelf(repository).of(database) if one.verified and one.ended_at]
    if since and not 0 <= (now - min(since)).total_seconds() < most:
        return None
    return {"reason": told, "database": database}


def sweep_scratch(config: ClusterConfig) -> list[str]:
    """Drop what a killed trial left; the names. The caller holds the lock, so none of them is in use."""
    if not answers(config):
        return []
    attempted = "drop what a killed trial left"
    journal = Journal.load(f"{config.state_directory}/load.journal.json", attempted=attempted)
    ours = journal is not None and str(journal.data.get("target", "")).startswith(PREFIX)
    if journal is not None and ours and journal.state == "running":
        # Killed in the middle of its load, which has a database of its own until it is whole.
        with locked(f"{config.state_directory}/load.lock", "trial", attempted=attempted):
            go_back(config, journal)
    rows = query(
        config,
        "SELECT datname FROM pg_database WHERE starts_with(datname, :'prefix')",
        values={"prefix": PREFIX},
    )
    names = [str(row[0]) for row in rows]
    for name in names:
        query(
            config,
            'DROP DATABASE IF EXISTS :"name" WITH (FORCE)',
            values={"name": name},
            timeout=_DROP_SECONDS,
        )
    return names


def sweep_if_idle(config: ClusterConfig) -> list[str]:
    """The same, unless a trial is going on."""
    attempted = "drop what a killed trial left"
    try:
        with locked(f"{config.state_directory}/trial.lock", "sweep", attempted=attempted):
            return sweep_scratch(config)
    except KeeperError:
        # Busy, or the server will not: the next one tries again, and a trial says why.
        return []


def _try(config: ClusterConfig, repository: Repository, dump: Dump, scratch: str) -> dict[str, Any]:
    records = Records.read(repository)
    began, clock = utc_now(), monotonic()
    note: dict[str, Any] = {
        "began_at": format_utc(began),
        "ended_at": None,
        "good": None,
        "database": dump.database,
        "dump": dump.key,
    }
    # While it runs, and should it be killed, the one before is still the last that came to its end.
    records.note_run("trial", {**note, "before": ended_run(records.runs.get("trial"))})
    request = LoadRequest(
        dump=dump.key,
        target=scratch,
        owners="drop",
        privileges="drop",
        tablespaces=False,
        # One would keep the scratch database from being dropped, and could reach out to its publisher.
        exclude=("SUBSCRIPTION *",),
        analyze=False,
        again=True,
    )
    try:
        done = load(config, repository, request)
    except KeeperError as error:
        fault = {"code": error.code, "text": error.happened}
        records.note_run("trial", {**note, "ended_at": format_utc(utc_now()), "good": False, "fault": fault})
        raise
    finally:
        sweep_scratch(config)
    facts = done["load"]
    seconds = round(monotonic() - clock, 3)
    ended = {**note, "ended_at": format_utc(utc_now()), "good": True, "seconds_taken": seconds}
    records.note_run("trial", ended)
    return {
        "database": dump.database,
        "dump": dump.key,
        "label": dump.label,
        "rows": sum(int(one.get("rows") or 0) for one in dump.rows.values()),
        "tables": len(dump.rows),
        "proof": facts["proof"],
        "proven": facts,
        "seconds": seconds,
    }


def _require_room(config: ClusterConfig, dump: Dump, attempted: str) -> None:
    free = file_system(config.data_directory).free_bytes
    need = int(dump.database_bytes * _ROOM)
    if free < need:
        raise Refused(
            "trial-no-space",
            attempted=attempted,
            happened=f"{format_bytes(free)} are free below {config.data_directory}, {format_bytes(need)} are needed",
            remedy="Make space, or try the dump on another host: dbkeeper load.",
            details={"free_bytes": free, "needed_bytes": need},
        )
