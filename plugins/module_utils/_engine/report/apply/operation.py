# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Acting on approved findings, one by one: looked at again, recorded with its undo, done with short lock waits,
watched, and undone by itself when the queries of the table get worse."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...cluster import sql
from ...core.errors import Failed, KeeperError, Refused
from ...core.locks import locked
from ..index.facts import quoted
from ..index.limits import Limits
from ..index.look import Request, look_at
from ..session import Look
from .plan import ATTEMPTED, Step, stale, steps, waits
from .record import BEGUN, DONE, UNDONE, Record, step_of
from .watch import Count, Regression, Rows, counts, place_of, regressions

_STATEMENT_SECONDS = 0  # building an index of a large table takes as long as it takes
_RETRY_SECONDS = 1.0
_POLL_SECONDS = 2.0
_LOCK_POLL_SECONDS = 0.1
_BUILD_SECONDS = 3600
_LOCK_NOT_HAD = "55P03"
#: Sessions that a concurrent drop would wait for; it begins only when there is none, so that it is not left half done.
_IN_THE_WAY = """
SELECT DISTINCT l.pid FROM pg_locks l WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.relation = to_regclass(%s)
"""
_VALID = """
SELECT i.indisvalid, c.relkind = 'I' FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indexrelid = to_regclass(%s)
"""
#: The name in a statement of our own making, and its table's schema, where an index is: an undo is written by the
#: server and by definitions.py.
_NAME = r'("(?:[^"]|"")+"|[^" .]+)'
_BUILDS = re.compile(r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY ")
_CREATE = re.compile(rf"CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?{_NAME} ON (?:ONLY )?{_NAME}\.")


@dataclass(frozen=True)
class ApplyRequest:
    """What the module was asked for. Times in seconds. ``undo``: take back what was done, by the same ids."""

    login: Mapping[str, Any]
    state_directory: str
    findings: Sequence[Mapping[str, Any]] = ()
    approved: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()
    undo: bool = False
    lock_seconds: float = 2.0
    attempts: int = 5
    watch_seconds: float = 300.0
    factor: float = 1.5
    calls: int = 20
    check: bool = False


def apply(request: ApplyRequest) -> dict[str, Any]:
    """The module's result. Raises what :func:`steps` raises, ``watch-impossible``, ``index-apply-failed``."""
    look = Look(request.login)
    with look.database():
        node = look.node()
    record = Record(request.state_directory, node.system_id)
    if request.undo:
        return _take_back(request, record)
    wanted = steps(
        request.findings,
        request.approved,
        request.forced,
        system_id=node.system_id,
        in_recovery=node.in_recovery,
    )
    done = record.entries()
    told: list[dict[str, Any]] = []
    todo: list[Step] = []
    for step in wanted:
        status = done.get(step.id, {}).get("status")
        if status in (DONE, BEGUN) and _gone(request, step):
            # Whoever was killed there had done it: the record is all that was missing.
            if status == BEGUN and not request.check:
                record.note(step, DONE)
            told.append({**step.to_dict(), "result": "already-done"})
        else:
            todo.append(step)
    halves = {step.id for step in todo if done.get(step.id, {}).get("status") == BEGUN}
    reasons = {key: why for key, why in _stale(request, todo).items() if key not in halves}
    for step in [step for step in todo if step.id in reasons]:
        # What was done and is no finding any more stays done; what came back since is done again.
        result = "already-done" if done.get(step.id, {}).get("status") == DONE else "stale"
        told.append({**step.to_dict(), "result": result, "why": reasons[step.id]})
    todo = [step for step in todo if step.id not in reasons]
    _prove_watching(request, todo)
    if request.check or not todo:
        planned = [{**step.to_dict(), "result": "would-be-done"} for step in todo]
        return {"changed": bool(todo), "executed": False, "steps": [*told, *planned], "record": record.file}
    with locked(f"{record.file}.lock", "index-apply", attempted=ATTEMPTED):
        for step in todo:
            told.append(_Actor(request, record, step, resumed=step.id in halves).act())
    return {"changed": True, "executed": True, "steps": told, "record": record.file}


def _gone(request: ApplyRequest, step: Step) -> bool:
    """Whether an index that was to be dropped is not there."""
    if not step.index or not step.drops:
        return False
    with _connected(request, step.database) as connection:
        return not sql.rows(connection, _VALID, [quoted(step.schema, step.index)], attempted=ATTEMPTED)


def _stale(request: ApplyRequest, todo: list[Step]) -> dict[str, str]:
    """Step id -> why it is no longer true: everything is looked at again, now, on this server."""
    if not todo:
        return {}
    result = look_at(
        Request(
            request.login,
            request.state_directory,
            tuple(sorted({step.database for step in todo})),
            limits=Limits(drop_bytes=0, kept_per_class=1_000_000),
            check=True,
        )
    )
    now = {finding["id"]: finding for finding in result["findings"]}
    reasons = {}
    for step in todo:
        facts = result["facts"]["databases"].get(step.database)
        if facts is None:
            reasons[step.id] = f"database {step.database} could not be looked at"
            continue
        why = stale(step, now, facts["unused"])
        if why:
            reasons[step.id] = why
    return reasons


def _prove_watching(request: ApplyRequest, todo: list[Step]) -> None:
    if not request.watch_seconds:
        return
    for database in sorted({step.database for step in todo}):
        with _watching(request, database) as watch:
            if watch is None:
                raise Refused(
                    "watch-impossible",
                    attempted=ATTEMPTED,
                    happened=f"database {database} has no extension pg_stat_statements to watch queries by, nor has "
                    "that of login_db",
                    remedy="Create it in one of them (its library must be preloaded), or act unwatched: "
                    "watch_seconds: 0.",
                    details={"database": database},
                )


@dataclass(frozen=True)
class _Watch:
    """Where the statements of a database are counted, and how that is asked."""

    rows: Rows
    place: str
    database: str

    def counts(self, table: str) -> dict[str, Count]:
        """Of all statements that speak of a table."""
        return counts(self.rows, self.place, self.database, table)


@contextlib.contextmanager
def _watching(request: ApplyRequest, database: str) -> Iterator[_Watch | None]:
    """By the view in the database itself, or by that in the database of the login: both show the whole server's."""
    for asked in dict.fromkeys((database, Look(request.login).login_database)):
        with _connected(request, asked) as connection:

            def rows(query: str, values: Sequence[Any] = (), at: Any = connection) -> list[tuple[Any, ...]]:
                return sql.rows(at, query, values, attempted=ATTEMPTED)

            place = place_of(rows)
            if place is not None:
                yield _Watch(rows, place, database)
                return
    yield None


def _connected(request: ApplyRequest, database: str) -> Any:
    options = {name: value for name, value in request.login.items() if value is not None}
    return sql.connect(
        {**options, "login_db": database, "connect_params": {"application_name": "dbkeeper index apply"}},
        statement_timeout_seconds=_STATEMENT_SECONDS,
        lock_timeout_seconds=request.lock_seconds,
    )


def _take_back(request: ApplyRequest, record: Record) -> dict[str, Any]:
    entries = record.entries()
    wanted = list(dict.fromkeys([*request.approved, *request.forced]))
    unknown = [one for one in wanted if one not in entries]
    if unknown:
        raise Refused(
            "finding-unknown",
            attempted="undo what was done to indexes",
            happened=f"nothing was recorded for {', '.join(unknown)} in {record.file}",
            remedy="Take ids from the record.",
            details={"ids": unknown},
        )
    todo = [step_of(one, entries[one]) for one in wanted if entries[one]["status"] != UNDONE]
    told = [
        {**step_of(one, entries[one]).to_dict(), "result": "already-undone"}
        for one in wanted
        if entries[one]["status"] == UNDONE
    ]
    if request.check:
        planned = [{**step.to_dict(), "result": "would-be-undone"} for step in todo]
        return {"changed": bool(todo), "executed": False, "steps": [*told, *planned], "record": record.file}
    with locked(f"{record.file}.lock", "index-apply", attempted=ATTEMPTED):
        for step in reversed(todo):
            actor = _Actor(request, record, step)
            with _connected(request, step.database) as connection:
                actor.undo(connection, "asked")
            told.append({**step.to_dict(), "result": "undone"})
    return {"changed": bool(todo), "executed": bool(todo), "steps": told, "record": record.file}


class _Actor:
    """One step, from its record to its end."""

    def __init__(self, request: ApplyRequest, record: Record, step: Step, *, resumed: bool = False) -> None:
        """``resumed``: an earlier run began it and was killed, and what it began may have been ended without it."""
        self._request, self._record, self._step, self._resumed = request, record, step, resumed

    def act(self) -> dict[str, Any]:
        """Do it, watch, perhaps undo it. Raises :class:`Failed` (``index-apply-failed``); the record says how far."""
        request, step = self._request, self._step
        with contextlib.ExitStack() as open_ones:
            connection = open_ones.enter_context(_connected(request, step.database))
            watch = (
                open_ones.enter_context(_watching(request, step.database)) if request.watch_seconds else None
            )
            began = watch.counts(step.table) if watch else {}
            # The way back is on disk before the first statement goes out.
            self._record.note(step, BEGUN)
            try:
                for statement in step.action:
                    if not (self._resumed and self._there_already(connection, statement)):
                        self._patiently(connection, statement)
            except Failed as error:
                self._leave_whole(connection, error)
            self._record.note(step, DONE)
            if watch is None:
                return {**step.to_dict(), "result": "done", "watched_seconds": 0}
            until = time.monotonic() + request.watch_seconds
            worse: list[Regression] = []
            while not worse and time.monotonic() < until:
                time.sleep(min(_POLL_SECONDS, max(0.0, until - time.monotonic())))
                now = watch.counts(step.table)
                worse = regressions(began, now, factor=request.factor, calls=request.calls)
            seen = [one.to_dict() for one in worse]
            if not worse:
                self._record.note(step, DONE, watched_seconds=request.watch_seconds)
                return {**step.to_dict(), "result": "done", "watched_seconds": request.watch_seconds}
            self.undo(connection, "regression", regressions=seen)
            return {**step.to_dict(), "result": "undone-by-itself", "regressions": seen}

    def undo(self, connection: Any, why: str, **more: Any) -> None:
        """Bring back what was there, and note why."""
        for statement in self._step.undo:
            if self._there_already(connection, statement):
                continue
            if _BUILDS.match(statement):
                self._build(connection, statement)
            else:
                self._patiently(connection, statement)
        self._record.note(self._step, UNDONE, why=why, **more)

    def _there_already(self, connection: Any, statement: str) -> bool:
        """Whether a run that was cut short has made this index already, and it is valid; half of one is removed."""
        match = _CREATE.match(statement)
        if match is None:
            return False
        name = f"{match[2]}.{match[1]}"
        found = sql.rows(connection, _VALID, [name], attempted=ATTEMPTED)
        if found and not found[0][0] and not found[0][1]:
            self._patiently(connection, f"DROP INDEX CONCURRENTLY {name};")
            return False
        return bool(found)

    def _build(self, connection: Any, statement: str) -> None:
        """Bring an index back while others use its table: they do all the time where its loss is what slows them down.

        It keeps no reader and no writer waiting, and waits for them as long as it has to (the manual, "Building
        Indexes Concurrently"); what it left by half when it waited in vain is removed.
        """
        wait = "SELECT set_config('lock_timeout', %s, false)"
        sql.rows(connection, wait, [f"{_BUILD_SECONDS}s"], attempted=ATTEMPTED)
        try:
            sql.rows(connection, statement, attempted=f"run {statement}")
        except Failed:
            with contextlib.suppress(KeeperError):
                self._there_already(connection, statement)
            raise
        finally:
            with contextlib.suppress(KeeperError):
                sql.rows(
                    connection, wait, [f"{int(self._request.lock_seconds * 1000)}ms"], attempted=ATTEMPTED
                )

    def _patiently(self, connection: Any, statement: str) -> None:
        """Run a statement; where a lock is not had in time, let others by and try again."""
        if waits(statement):
            return
        table = quoted(self._step.schema, self._step.table) if self._step.table else None
        for attempt in range(self._request.attempts):
            try:
                self._wait_for_others(connection, table)
                sql.rows(connection, statement, attempted=f"run {statement}")
                return
            except Failed as error:
                if error.details.get("sqlstate") != _LOCK_NOT_HAD or attempt + 1 == self._request.attempts:
                    raise
                time.sleep(_RETRY_SECONDS)

    def _wait_for_others(self, connection: Any, table: str | None) -> None:
        """A concurrent drop ends half done when it waits in vain: it is begun when nobody is in its way."""
        deadline = time.monotonic() + self._request.lock_seconds
        while table:
            others = sql.rows(connection, _IN_THE_WAY, [table], attempted=ATTEMPTED)
            if not others:
                return
            if time.monotonic() > deadline:
                raise Failed(
                    "index-apply-failed",
                    attempted=f"act on {self._step.id}",
                    happened=f"{table} is locked by the sessions {', '.join(str(row[0]) for row in others)}",
                    remedy="Wait for their transactions to end, or end them; then run it again.",
                    details={"sqlstate": _LOCK_NOT_HAD, "pids": [int(row[0]) for row in others]},
                )
            time.sleep(_LOCK_POLL_SECONDS)

    def _leave_whole(self, connection: Any, error: Failed) -> None:
        """Say what is there now. What was built by half is removed; a drop by half is ended by the next run."""
        step = self._step
        state, status = "nothing was changed", UNDONE
        try:
            if step.index:
                name = quoted(step.schema, step.index)
                found = sql.rows(connection, _VALID, [name], attempted=ATTEMPTED)
                if found and not found[0][0] and step.drops and step.name != "IX01":
                    state, status = f"{name} is not used any more, and the next run ends its drop", BEGUN
                for statement in step.action:
                    # Parts that were made whole stay; half of one goes.
                    self._there_already(connection, statement)
            else:
                for statement in step.undo:
                    sql.rows(connection, _if_exists(statement), attempted=ATTEMPTED)
        except KeeperError as second:
            state = f"an invalid index may have been left: {second.happened}"
        self._record.note(step, status, why="failed", error=error.happened, state=state)
        raise Failed(
            "index-apply-failed",
            attempted=f"act on {step.id}",
            happened=f"{error.happened}; {state}",
            remedy="See who holds the lock (pg_locks), then run it again.",
            details={"id": step.id, "sqlstate": error.details.get("sqlstate"), "state": state},
        ) from error


def _if_exists(statement: str) -> str:
    for start in ("DROP INDEX CONCURRENTLY ", "DROP INDEX "):
        if statement.startswith(start):
            return f"{start}IF EXISTS {statement[len(start) :]}"
    return statement
