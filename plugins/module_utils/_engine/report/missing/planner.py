# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Plans of statements in a session of its own: read-only but for ``build``, which writes on the copy."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...cluster import sql
from ...core.errors import Failed
from ..index.draft import Create
from ..index.facts import Database, Table, quoted
from ..index.limits import Limits
from ..session import STATEMENT_SECONDS, Look
from . import writing
from .candidates import Run, Statement, Use, candidates, uses
from .measuring import (
    STATISTICS,
    VOLATILE,
    bounds,
    called,
    columns_of,
    compared,
    figures,
    literal,
    parsed,
    reads_only,
    samples,
)
from .predicates import Sampled

_PARAMETER = re.compile(r"\$(\d+)")
#: GENERIC_PLAN, which needs no values at all, came with 16.
_GENERIC_PLAN = 160000


class Planner:
    """What statements look at, what they cost, and, on a copy, what they read."""

    def __init__(
        self,
        look: Look,
        database: Database,
        login: Mapping[str, Any],
        *,
        settings: Sequence[tuple[str, str]] = (),
        runs: bool = False,
    ) -> None:
        """``settings``: of the server that the copy is of, so that it plans alike. ``runs``: statements may be run."""
        self.look, self.database = look, database
        self.statements: dict[str, Statement] = {}
        self.uses: dict[str, dict[int, Use]] = {}
        self.base: dict[str, float] = {}
        self.sampled: dict[Create, Sampled] = {}
        self._settings, self._may_run = settings, runs
        self._values: dict[str, Mapping[str, tuple[str | None, ...]]] = {}
        self._changed: dict[str, Table] = {}
        self._inserts: dict[str, dict[int, int]] = {}
        self._distant = False
        self._read: dict[str, dict[str, Run]] = {}
        options = {name: value for name, value in login.items() if value is not None}
        self._options = {**options, "login_db": database.name}
        self.connection: Any = None

    def __enter__(self) -> Planner:
        self.connection = sql.connect(
            {**self._options, "connect_params": {"application_name": "dbkeeper report"}},
            statement_timeout_seconds=15,
            lock_timeout_seconds=0.1,
        )
        for name, value in self._settings:
            # One that this server does not know, or takes from nobody else, changes a plan less than no plan at all.
            with contextlib.suppress(Failed):
                self.run("SELECT set_config(%s, %s, false)", [name, value])
        for setting in (
            "default_transaction_read_only = on",
            "plan_cache_mode = force_generic_plan",
            "max_parallel_workers_per_gather = 0",
            "jit = off",
        ):
            self.run(f"SET {setting}")
        self._distant = bool(self.run(writing.DISTANT))
        return self

    def __exit__(self, *_unused: object) -> None:
        self.connection.close()

    def run(self, statement: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """One statement of ours. Raises :class:`Failed`."""
        return sql.rows(self.connection, statement, tuple(values), attempted="try an index")

    def learn(self, statement: Statement) -> None:
        """What a statement's plan looks at, its cost as things are and, where it may be run, what it reads."""
        plan = self.plan(statement)
        if plan is None:
            return
        self.statements[statement.queryid] = statement
        self.uses[statement.queryid] = uses(plan, self.database)
        self.base[statement.queryid] = float(plan["Total Cost"])
        if not self._may_run or writing.reaches_out(plan, distant=self._distant):
            return
        changed = writing.target(plan, self.database)
        if changed:
            if self.run(writing.UNFIT, [changed.oid]):
                return
            self._changed[statement.queryid] = changed
        elif not reads_only(statement.text):
            return
        if not self.run(VOLATILE, [sorted(called(plan))]):
            self._values[statement.queryid] = self._samples(statement, plan)
            self._read[statement.queryid] = self._runs(statement)

    def plan(self, statement: Statement) -> Mapping[str, Any] | None:
        """The generic plan; None for what cannot be planned, as a type that cannot be told, or a table that is gone."""
        try:
            if self.connection.info.server_version >= _GENERIC_PLAN:
                rows = self.run(f"EXPLAIN (FORMAT JSON, VERBOSE, GENERIC_PLAN) {statement.text}")
            else:
                count = _parameters(statement)
                nulls = f"({', '.join(['NULL'] * count)})" if count else ""
                rows = self._with_prepared(
                    statement, f"EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE dbkeeper_trial{nulls}"
                )
        except Failed:
            return None
        root: Mapping[str, Any] = parsed(rows[0][0])["Plan"]
        return root

    def of_table(self, table: int) -> list[str]:
        """The statements that look at a table."""
        return [key for key, tables in self.uses.items() if table in tables]

    def costs(self, table: int) -> dict[str, float]:
        """Statement -> cost now, of all that look at a table."""
        found = {}
        for key in self.of_table(table):
            plan = self.plan(self.statements[key])
            if plan is not None:
                found[key] = float(plan["Total Cost"])
        return found

    def runs(self, table: int) -> dict[str, dict[str, tuple[Run, Run]]]:
        """Statement -> sample -> what it read as things were, and reads now, of all that look at a table."""
        found = {}
        for key in self.of_table(table):
            before = self._read.get(key)
            after = self._runs(self.statements[key]) if before else {}
            pairs = {name: (run, after[name]) for name, run in (before or {}).items() if name in after}
            if pairs:
                found[key] = pairs
        return found

    def wishes(self, limits: Limits) -> list[Create]:
        """Candidates of all statements, those first that more time is spent on."""
        # Seen by a sample, and perhaps by no plan: it is tried last, unless a statement that is known asks for it.
        shares = {key: statement.load_share for key, statement in self.statements.items()}
        weights: dict[Create, float] = {
            wish: sum(shares.get(key, 0.0) for key in seen.queryids) for wish, seen in self.sampled.items()
        }
        for key, tables in self.uses.items():
            for oid, use in tables.items():
                if self.database.tables[oid].rows < limits.missing_rows:
                    continue
                for wish in candidates(self.database, oid, use):
                    if wish not in self.sampled or key not in self.sampled[wish].queryids:
                        weights[wish] = weights.get(wish, 0.0) + shares[key]
        return sorted(weights, key=lambda wish: (-weights[wish], wish.table, wish.columns))

    def _samples(self, statement: Statement, plan: Mapping[str, Any]) -> Mapping[str, tuple[str | None, ...]]:
        places = compared(plan, self.database)
        fixed = bounds(statement.text)
        changed = self._changed.get(statement.queryid)
        if changed:
            self._inserts[statement.queryid] = writing.inserted(plan)
            set_to = writing.assigned(statement.text, changed, self.database)
            places = {**{one: (changed.oid, number, "=") for one, number in set_to.items()}, **places}
            fixed = {**self._of_types(statement), **fixed}
        statistics: dict[tuple[int, int], tuple[Sequence[str] | None, Sequence[str] | None]] = {}
        for table, column in columns_of(places):
            about = self.database.tables[table]
            rows = self.run(STATISTICS, [about.schema, about.name, self.database.column_name(table, column)])
            if rows:
                statistics[table, column] = (rows[0][0], rows[0][1])
        return samples(_parameters(statement), places, fixed, statistics)

    def _of_types(self, statement: Statement) -> dict[int, str]:
        try:
            return writing.of_types(self._with_prepared(statement, writing.TYPES))
        except Failed:
            return {}

    def _runs(self, statement: Statement) -> dict[str, Run]:
        """Sample -> what is read now, and written; nothing of what takes too long."""
        found = {}
        changed = self._changed.get(statement.queryid)
        for name, values in self._values.get(statement.queryid, {}).items():
            if self.look.spent:
                break
            try:
                times = [
                    self._run(statement, values, changed) for _time in range(writing.TIMES if changed else 1)
                ]
            except Failed:
                # What was prepared in a transaction that failed is still there after it.
                with contextlib.suppress(Failed):
                    self.run("DEALLOCATE dbkeeper_trial")
                continue
            known = [one for one in times if one is not None]
            if known:
                found[name] = min(known, key=lambda one: one.wal_bytes or 0)
        if changed and found:
            # Rows that were rolled back would make the table longer for whatever is tried next.
            with contextlib.suppress(Failed):
                self.run(f"VACUUM {quoted(changed.schema, changed.name)}")
        return found

    def _run(self, statement: Statement, values: Sequence[str | None], changed: Table | None) -> Run | None:
        """Once, rolled back; None where more rows would be changed than are worth it. Raises :class:`Failed`."""
        self.run("BEGIN READ WRITE" if changed else "BEGIN READ ONLY")
        try:
            # The values decide the plan, as they do where an application sends them.
            self.run("SET LOCAL plan_cache_mode = force_custom_plan")
            self.run(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS:g}s'")
            if changed:
                self.run("SET LOCAL session_replication_role = replica")
                values = self._taken_out(statement, values, changed)
            given = f"({', '.join(map(literal, values))})" if values else ""
            execute = f"EXECUTE dbkeeper_trial{given}"
            if changed:
                (planned,) = self._with_prepared(statement, f"EXPLAIN (FORMAT JSON) {execute}")
                below = parsed(planned[0])["Plan"].get("Plans", ({"Plan Rows": 0},))
                if float(below[0]["Plan Rows"]) > writing.MOST_ROWS:
                    return None
            what = "ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON" + (", WAL" if changed else "")
            rows = self._with_prepared(statement, f"EXPLAIN ({what}) {execute}")
        finally:
            self.run("ROLLBACK")
        return figures(parsed(rows[0][0]))

    def _taken_out(
        self, statement: Statement, values: Sequence[str | None], table: Table
    ) -> Sequence[str | None]:
        """For an INSERT the values of a row that is there, and then is not: no key is in its way."""
        columns = self._inserts.get(statement.queryid)
        if not columns:
            return values
        name = quoted(table.schema, table.name)
        wanted = ", ".join(
            f"{quoted(self.database.column_name(table.oid, number))}::text" for number in columns.values()
        )
        rows = self.run(f"SELECT tableoid, ctid, {wanted} FROM {name} LIMIT 1")
        if not rows:
            return values
        part, place, *fields = rows[0]
        self.run(f"DELETE FROM {name} WHERE tableoid = %s AND ctid = %s::tid", [part, str(place)])
        taken = dict(zip(columns, fields))
        return [taken.get(number, value) for number, value in enumerate(values, 1)]

    def _with_prepared(self, statement: Statement, then: str) -> list[tuple[Any, ...]]:
        self.run(f"PREPARE dbkeeper_trial AS {statement.text}")
        try:
            return self.run(then)
        finally:
            # Not possible in a transaction that has failed.
            with contextlib.suppress(Failed):
                self.run("DEALLOCATE dbkeeper_trial")


def _parameters(statement: Statement) -> int:
    return max((int(number) for number in _PARAMETER.findall(statement.text)), default=0)
