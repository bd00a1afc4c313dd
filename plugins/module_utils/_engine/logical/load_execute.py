# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Carries a plan out. What goes into a new database is journalled step by step; what goes into one that stays is a
single transaction, with the proof of its rows and its record in it, and needs no journal.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from ..core.clock import format_utc, utc_now
from ..core.errors import Failed, KeeperError
from ..core.journal import Journal
from ..core.progress import Progress
from . import swap
from .dump_listing import plain_blocks
from .load_count import Meanwhile, taken_in
from .load_globals import load_globals
from .load_plan import TEMPORARY_PREFIX, LoadPlan
from .load_request import LoadRequest
from .load_run import Errors, deadlocked, restore_beside, run_script, script_blocks
from .load_state import SETTING, LoadState
from .owners import owner_sql, privilege_sql, quoted
from .rows import (
    COUNT,
    DIGEST,
    LARGE_OBJECTS,
    NONE,
    TableRows,
    compare,
    count_in,
    count_rows,
    from_record,
    table_key,
)
from .session import Session, connection_string
from .shelf import Soundness

GLOBALS, CREATE, RESTORE, ANALYZE, PROVE, RECORD = (
    "globals",
    "create",
    "restore",
    "analyze",
    "prove",
    "record",
)
CLOSE, SWAP, OPEN = ("close", "swap", "open")
UNDO = "load-undo"
STEPS = (GLOBALS, CREATE, RESTORE, ANALYZE, PROVE, RECORD, CLOSE, SWAP, OPEN)
_KEPT_RECORDS = 20


class LoadExecution:
    """One load. ``facts`` gathers what the result tells."""

    def __init__(
        self,
        config: ClusterConfig,
        request: LoadRequest,
        state: LoadState,
        plan: LoadPlan,
        progress: Progress,
        files: Soundness,
    ) -> None:
        self.config = config
        self.request = request
        self.state = state
        self.plan = plan
        self.progress = progress
        self.files = files
        self.meanwhile: Meanwhile | None = None
        self.attempted = f"load {plan.dump} into database {plan.target!r}"
        self.facts: dict[str, Any] = {
            "accepted_errors": [],
            "roles": [],
            "connections_ended": 0,
            "proven": False,
            "proof": NONE,
        }
        self.expected = {
            name: item for name, item in from_record(state.dump.rows).items() if name in set(plan.tables)
        }

    # -- beside ----------------------------------------------------------------------------------------

    def beside(self, journal: Journal) -> None:
        """A new database, proven, then named. Raises :class:`Failed`: ``load-failed``, ``load-rows-differ``,
        ``database-in-use``, ``sql-failed``; what was there is as it was, and lets people in."""
        if not journal.is_done(RESTORE):
            journal.reset(CREATE, RESTORE)
        name = self.plan.temporary
        steps: list[tuple[str, Callable[[], None]]] = [
            (GLOBALS, self._globals),
            (CREATE, self._create),
            (RESTORE, self._restore),
            (ANALYZE, self._analyze),
            (PROVE, self._prove),
            (RECORD, lambda: self._record(name)),
        ]
        # What an interrupted run has found out is true still.
        self.facts.update(journal.data.get("facts", {}))
        try:
            for step, action in steps:
                self.progress.phase(step)
                journal.step(step, self._noted(journal, action))
            self.files.require()
            self._swap(journal)
        except Exception as error:
            # Where the server is gone, too, the journal stays for the next load.
            with contextlib.suppress(KeeperError):
                if isinstance(error, KeeperError) and error.code == "database-in-use":
                    stand_back(self.config, journal)
                else:
                    go_back(self.config, journal)
            raise
        journal.note(facts=self.facts)
        journal.finish("done")

    def _noted(self, journal: Journal, action: Callable[[], None]) -> Callable[[], None]:
        def act() -> None:
            action()
            journal.note(facts=self.facts)

        return act

    def _globals(self) -> None:
        if self.request.globals and self.state.globals_path:
            self.facts["roles"] = load_globals(self.config, self.state.globals_path, attempted=self.attempted)

    def _create(self) -> None:
        swap.drop(self.config, self.plan.temporary, prefix=TEMPORARY_PREFIX)
        # Until it has its name, nobody but superusers comes in.
        create = f'CREATE DATABASE :"name" WITH {self.plan.create} CONNECTION LIMIT = 0'
        query(self.config, create, values={"name": self.plan.temporary}, timeout=3600)

    def _restore(self) -> None:
        if self.state.contents is None:
            with Session(self.config, self.plan.temporary, attempted=self.attempted) as session:
                session.do("BEGIN")
                run_script(session, self.config, self._plain(), attempted=self.attempted)
                session.do("COMMIT")
            return
        try:
            errors = self._restore_archive()
        except KeeperError as error:
            # A file that is not what was written is the reason for whatever pg_restore says.
            self.files.require()
            if not deadlocked(error):
                raise
            self.facts["deadlocks"] = 1
            self.progress.phase(RESTORE, note="anew, by one process: those of pg_restore had a deadlock")
            self._create()
            errors = self._restore_archive(jobs=1)
        self.facts["accepted_errors"] = errors.accepted
        script = self._mapped()
        if script:
            with Session(self.config, self.plan.temporary, attempted=self.attempted) as session:
                run_script(session, self.config, iter([script.encode()]), attempted=self.attempted)

    def _restore_archive(self, jobs: int | None = None) -> Errors:
        with Meanwhile(
            self.config,
            self.plan.temporary,
            # What is held against numbers only need not be read.
            entries=self._chosen() if self._level == DIGEST else (),
            expected=self.expected,
            level=self._level,
            jobs=jobs or self.request.jobs,
        ) as meanwhile:
            errors = restore_beside(
                self.config,
                [*self._argv(), *([f"--jobs={jobs}"] if jobs else [])],
                self.state.path,
                self.plan.temporary,
                entries=self.plan.entries,
                accept=self.request.accept_errors,
                progress=self.progress,
                total=self.plan.count,
                meanwhile=meanwhile,
                look=self.files.look,
                attempted=self.attempted,
            )
        self.files.require()
        self.meanwhile = meanwhile
        return errors

    def _argv(self) -> list[str]:
        extra = ["--no-owner", "--no-privileges"] if self.request.owners == "map" else []
        return [*self.plan.program, *(one for one in extra if one not in self.plan.program)]

    def _plain(self) -> Iterator[bytes]:
        return plain_blocks(self.state.path, attempted=self.attempted)

    def _chosen(self) -> list[Any]:
        contents = self.state.contents
        wanted = None if self.plan.entries is None else set(self.plan.entries)
        return [one for one in contents.entries if wanted is None or one.number in wanted] if contents else []

    def _mapped(self) -> str:
        """Owners and privileges in the roles that were asked for; they are left out before."""
        if self.request.owners != "map":
            return ""
        entries, roles = self._chosen(), self.request.owner_map
        text = owner_sql(entries, roles)
        return text + (privilege_sql(entries, roles) if self.request.privileges == "keep" else "")

    def _analyze(self) -> None:
        if self.request.analyze and self.request.content != "schema":
            query(
                self.config,
                "ANALYZE",
                database=connection_string(self.plan.temporary),
                timeout=86400,
            )

    def _prove(self) -> None:
        if not self.expected:
            return
        done = self._known()
        wanted = set(self.plan.tables) - set(done)
        found = done | count_rows(
            self.config,
            self.plan.temporary,
            wanted=lambda schema, table: table_key(schema, table) in wanted,
            large_objects=LARGE_OBJECTS in wanted,
            level=self._level,
            jobs=self.request.jobs,
            report=lambda done, total: self.progress.update(done, total=total),
        )
        self._compare(found)

    def _known(self) -> dict[str, TableRows]:
        """What need not be read any more. An interrupted run's digests are gone with it."""
        if self._level == DIGEST:
            return self.meanwhile.counted() if self.meanwhile else {}
        # A table that comes to another number is read, so that an error tells what is really there.
        found = taken_in(self.config, self.plan.temporary)
        return {
            key: rows
            for key, rows in found.items()
            if key in self.expected and rows.agrees(self.expected[key])
        }

    @property
    def _level(self) -> str:
        """Digests where one of the tables has one; those without are held against numbers."""
        digested = any(item.comparable for item in self.expected.values())
        return DIGEST if digested and self.request.proof != COUNT else COUNT

    def _compare(self, found: dict[str, TableRows]) -> None:
        differences = compare(self.expected, found)
        if differences:
            names = ", ".join(one.table for one in differences[:5])
            raise Failed(
                "load-rows-differ",
                attempted=self.attempted,
                happened=f"{len(differences)} of {len(self.expected)} tables do not hold the rows that were dumped: "
                f"{names}; what was loaded has been removed, everything else is as it was",
                remedy="Look for what changes rows while they are loaded (triggers, rules); else use another dump.",
                details={"differences": [one.to_dict() for one in differences[:50]]},
            )
        self.facts["proven"] = True
        self.facts["proof"] = self.plan.proof
        self.facts["rows"] = sum(item.rows for item in self.expected.values())

    def _record(self, name: str) -> None:
        query(
            self.config,
            f"ALTER DATABASE :\"name\" SET {SETTING} = :'value'",
            values={"name": name, "value": self._records()},
        )
        existing = self.state.existing
        if self.plan.kept and existing:
            swap.make_like(self.config, self.plan.target, name)
        elif self.plan.owner:
            query(
                self.config,
                'ALTER DATABASE :"name" OWNER TO :"owner"',
                values={"name": name, "owner": self.plan.owner},
            )
        if self.plan.properties:
            query(self.config, self.plan.properties.replace("\0", quoted(name)))

    def _records(self) -> str:
        existing = self.state.existing
        old = list(existing.loads) if existing and self.plan.action == "into" else []
        one = {
            "identity": self.plan.identity,
            "dump": self.plan.dump,
            "at": format_utc(utc_now()),
            "replaced": self.plan.kept,
            "tables": len(self.plan.tables),
            "rows": self.facts.get("rows"),
            "proof": self.facts["proof"],
        }
        return json.dumps([*old, one][-_KEPT_RECORDS:], ensure_ascii=False)

    def _swap(self, journal: Journal) -> None:
        plan, config = self.plan, self.config
        self.progress.phase(SWAP, note=plan.target)
        if plan.kept is None:
            journal.step(SWAP, lambda: swap.rename(config, plan.temporary, plan.target))
            journal.step(OPEN, lambda: swap.open_to(config, plan.target, limit=limit_of(plan.properties)))
            return
        kept, limit = plan.kept, self.state.existing.limit if self.state.existing else -1
        before = time.monotonic()
        journal.step(CLOSE, lambda: swap.close(config, plan.target))
        journal.step(SWAP, lambda: self._change_places(kept))
        journal.step(OPEN, lambda: _let_in(config, plan.target, kept, limit))
        self.facts["downtime_seconds"] = round(time.monotonic() - before, 3)

    def _change_places(self, kept: str) -> None:
        if not swap.exists(self.config, kept):
            self.facts["connections_ended"] = swap.drain(
                self.config, self.plan.target, seconds=self.request.drain_seconds, progress=self.progress
            )
        swap.swap(self.config, self.plan.temporary, self.plan.target, kept)

    # -- into ------------------------------------------------------------------------------------------

    def into(self) -> None:
        """One transaction. Raises :class:`Failed`: ``load-failed``, ``load-rows-differ``; nothing is changed then."""
        self.progress.phase(GLOBALS)
        self._globals()
        self.progress.phase(RESTORE, total=self.plan.count, unit="entries")
        wanted = set(self.plan.tables)
        with Session(self.config, self.plan.target, attempted=self.attempted) as session:
            session.do("BEGIN")
            if self.state.contents is None:
                blocks = self._plain()
            else:
                blocks = script_blocks(
                    self.config,
                    self._argv(),
                    self.state.path,
                    entries=self.plan.entries,
                    attempted=self.attempted,
                )
            run_script(session, self.config, blocks, attempted=self.attempted)
            script = self._mapped()
            if script:
                run_script(session, self.config, iter([script.encode()]), attempted=self.attempted)
            self.progress.phase(PROVE)
            if self.expected:
                found = count_in(
                    session,
                    wanted=lambda schema, table: table_key(schema, table) in wanted,
                    large_objects=LARGE_OBJECTS in wanted,
                    level=self._level,
                    report=lambda done, total: self.progress.update(done, total=total),
                )
                self._compare(found)
            value = self._records().replace("'", "''")
            session.do(f"ALTER DATABASE {quoted(self.plan.target)} SET {SETTING} = '{value}'")
            session.do("COMMIT")


def go_back(config: ClusterConfig, journal: Journal) -> None:
    """Undo a load that has not swapped yet; one that has is finished instead. Safe to do again.

    Raises :class:`Failed` ``sql-failed``, ``server-unreachable``: the journal stays, and the next load goes on from it.
    """
    data = journal.data
    target, temporary, kept = str(data["target"]), str(data["temporary"]), data["kept"]
    if journal.status(SWAP) and not swap.exists(config, temporary):
        swap.open_to(config, target, limit=int(data["limit"]))
        if kept:
            swap.open_to(config, str(kept))
        journal.finish("done")
        return
    if journal.status(CLOSE):
        for name in (target, *([temporary] if journal.record["operation"] == UNDO else [])):
            if swap.exists(config, name):
                swap.open_to(config, name)
    if journal.status(CREATE):
        swap.drop(config, temporary, prefix=TEMPORARY_PREFIX)
    journal.finish("undone")


def stand_back(config: ClusterConfig, journal: Journal) -> None:
    """Let people in again where their database could not be had; what was loaded stays, and the next run only swaps.

    It is not dropped: that waits for every process of the server, also for the one that did not end.
    """
    swap.open_to(config, str(journal.data["target"]))
    journal.reset(CLOSE, SWAP)


def _let_in(config: ClusterConfig, target: str, kept: str, limit: int) -> None:
    swap.open_to(config, target, limit=limit)
    swap.open_to(config, kept)


def limit_of(properties: str) -> int:
    """The limit of connections that the dump's own properties set; -1: none."""
    with contextlib.suppress(ValueError, IndexError):
        return int(properties.split(" CONNECTION LIMIT = ")[1].split(";")[0])
    return -1
