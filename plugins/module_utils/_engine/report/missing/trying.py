# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Missing indexes (IX08) and wrong column orders (IX10): plans of the statements that take the time, and with an index.

``plans`` only plans what is there; ``hypopg`` plans with hypothetical indexes, which exist in one session and nowhere
else; ``build`` builds each on a restored copy, for real, runs the statements that only read, and drops it again;
``copy`` does that on a copy that is restored for it. Only what is asked for is done, and a database that nobody called
a copy is never built on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...core.errors import Failed, Refused
from ..finding import HEURISTIC, HIGH, LOW, MEASURED, MEDIUM, VALIDATED
from ..index.creating import create_sql
from ..index.draft import CREATE, Create, Draft, draft, lack, write_rate
from ..index.facts import Database, dotted, quoted
from ..index.limits import SOURCES, Limits
from ..query import text
from ..session import Look
from .candidates import Run, Statement, Trial, candidates
from .planner import Planner
from .predicates import Sampled, sampled

NONE, PLANS, HYPOPG, BUILD, COPY = "none", "plans", "hypopg", "build", "copy"
MODES = (NONE, PLANS, HYPOPG, BUILD, COPY)
_STATEMENTS_WORTH = 50
_TRIALS_MOST = 60
_LOAD_HIGH = 0.1
_PLACE = """
SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = %s
"""
_TOP = """
SELECT queryid::text, query, sum(calls)::bigint, sum(total_exec_time + total_plan_time)::float8 FROM {place}
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid IS NOT NULL
GROUP BY queryid, query ORDER BY 4 DESC
"""


def missing(
    look: Look,
    database: Database,
    mode: str,
    limits: Limits,
    *,
    login: Mapping[str, Any],
    is_copy: bool,
    settings: Sequence[tuple[str, str]] = (),
) -> list[Draft]:
    """Findings IX08 and IX10. ``login`` is where it is planned; the statements are those of the server looked at.

    Raises :class:`Refused` (``not-a-copy``): real indexes are built on a copy only.
    """
    if mode == NONE:
        return []
    if mode == BUILD and not is_copy:
        raise Refused(
            "not-a-copy",
            attempted="build candidates for missing indexes",
            happened=f"nobody said that the server of database {database.name} is a restored copy",
            remedy="Have one restored for it with missing_indexes: copy, or run it against a restored copy with "
            "is_copy: true.",
            details={"database": database.name},
        )
    statements = _statements(look)
    place = _place(look, "hypopg") if mode == HYPOPG else None
    if mode == HYPOPG and place is None:
        look.miss("hypopg", "absent", f"CREATE EXTENSION hypopg in {database.name}, on a copy")
    planner = Planner(look, database, login, settings=settings, runs=mode == BUILD)
    with planner:
        for statement in statements:
            planner.learn(statement)
        planner.sampled = sampled(look, database, _place(look, "pg_qualstats"), limits.missing_rows)
        tried = list(_trials(planner, limits, mode, place)) if place or mode == BUILD else []
    proven = list(_proven(database, planner, tried, limits))
    # What was tried and saved nothing is not told of as if it might; what no statement that is known asks for was not.
    unproven = [] if place or mode == BUILD else list(_unproven(database, planner, limits))
    told = {one.create for one in (*proven, *unproven)}
    only_seen = [one for one in _only_sampled(database, planner) if one.create not in told]
    return [*proven, *unproven, *only_seen, *_orders(database, planner)]


def _statements(look: Look) -> list[Statement]:
    place = _place(look, "pg_stat_statements")
    if place is None:
        look.miss("pg_stat_statements", "absent", "CREATE EXTENSION pg_stat_statements")
        return []
    rows = look.ask(_TOP.format(place=f"{place}.pg_stat_statements"), what="statements") or []
    total = sum(float(row[3]) for row in rows) or 1.0
    plain = [
        Statement(str(queryid), str(body), int(calls), float(ms), float(ms) / total)
        for queryid, body, calls, ms in rows
        if body and not text.is_utility(text.tokens(str(body))) and text.is_single(str(body))
    ]
    return plain[:_STATEMENTS_WORTH]


def _place(look: Look, extension: str) -> str | None:
    found = look.ask(_PLACE, [extension], what=f"extension {extension}")
    return str(found[0][0]) if found else None


def _trials(planner: Planner, limits: Limits, mode: str, place: str | None) -> Iterable[Trial]:
    """The best index of each round, and after it the others again: none is told of that another makes idle."""
    wishes = planner.wishes(limits)[:_TRIALS_MOST]
    shares = {key: statement.load_share for key, statement in planner.statements.items()}
    before = dict(planner.base)
    while wishes and not planner.look.spent:
        tried = [_try(planner, wish, before, limits, mode, place) for wish in wishes]
        worth = [trial for trial in tried if trial and trial.better(limits.missing_saving)]
        if not worth:
            return
        # Of equally good ones the narrower: every write pays for each column.
        best = max(worth, key=lambda trial: (round(trial.saved(shares), 3), -len(trial.create.columns)))
        yield best
        # A second one is judged against the costs that the first one leaves.
        before.update({key: after for key, (_before, after) in best.costs.items()})
        wishes = [wish for wish in wishes if wish != best.create and wish.table != best.create.table]


def _try(
    planner: Planner,
    wish: Create,
    before: Mapping[str, float],
    limits: Limits,
    mode: str,
    place: str | None,
) -> Trial | None:
    action, undo = create_sql(planner.database, wish)
    table = planner.database.tables[wish.table]
    columns = ", ".join(quoted(planner.database.column_name(wish.table, one)) for one in wish.columns)
    runs: Mapping[str, Mapping[str, tuple[Run, Run]]] = {}
    try:
        if mode == HYPOPG:
            statement = f"CREATE INDEX ON {quoted(table.schema, table.name)} ({columns})"
            oid = int(
                planner.run(f"SELECT indexrelid::bigint FROM {place}.hypopg_create_index(%s)", [statement])[
                    0
                ][0]
            )
            size = int(planner.run(f"SELECT {place}.hypopg_relation_size(%s::oid)", [oid])[0][0])
            after = planner.costs(wish.table)
            planner.run(f"SELECT {place}.hypopg_drop_index(%s::oid)", [oid])
        else:
            planner.run("SET default_transaction_read_only = off")
            planner.run("SET statement_timeout = 0")
            try:
                for one in action:
                    planner.run(one)
                name = undo[0].rpartition("INDEX ")[2].replace("CONCURRENTLY ", "").rstrip(";")
                size = int(planner.run("SELECT pg_relation_size(to_regclass(%s))", [name])[0][0] or 0)
                after = planner.costs(wish.table)
                runs = planner.runs(wish.table) if _promising(before, after, limits) else {}
            finally:
                for one in undo:
                    planner.run(one.replace("INDEX CONCURRENTLY ", "INDEX CONCURRENTLY IF EXISTS "))
                planner.run("SET default_transaction_read_only = on")
    except Failed as error:
        planner.look.miss(f"index on {dotted(table.schema, table.name)}", "error", error.happened)
        return None
    return Trial(wish, size, {key: (before[key], cost) for key, cost in after.items()}, runs)


def _promising(before: Mapping[str, float], after: Mapping[str, float], limits: Limits) -> bool:
    """Whether the planner's costs make it worth running statements."""
    return any(cost <= (1 - limits.missing_saving) * before[key] for key, cost in after.items())


def _proven(database: Database, planner: Planner, tried: Iterable[Trial], limits: Limits) -> Iterable[Draft]:
    for trial in tried:
        table = database.tables[trial.create.table]
        better, worse = trial.better(limits.missing_saving), trial.worse()
        rate = write_rate(database, table)
        per_row = trial.size_bytes / table.rows if table.rows > 0 else None
        share = sum(planner.statements[key].load_share for key in better)
        best = min(better, key=lambda key: trial.costs[key][1] / trial.costs[key][0])
        columns = [database.column_name(table.oid, number) for number in trial.create.columns]
        written = trial.written()
        yield draft(
            database,
            "IX08",
            table,
            severity=HIGH if share >= _LOAD_HIGH else MEDIUM,
            grade=MEASURED if trial.measured else VALIDATED,
            key="IX08_written" if written else None,
            values={
                **({"row_before_bytes": written[0], "row_after_bytes": written[1]} if written else {}),
                "columns": columns,
                "statements": len(better),
                "cost_before": trial.costs[best][0],
                "cost_after": trial.costs[best][1],
                "load_share": share,
                "size_bytes": trial.size_bytes,
                "worse": len(worse),
            },
            value={
                "size_bytes": trial.size_bytes,
                "cost_before": trial.costs[best][0],
                "cost_after": trial.costs[best][1],
                "write_bytes_per_row": round(per_row, 1) if per_row else None,
                "write_bytes_per_second": round(per_row * rate, 1) if per_row and rate else None,
                "row_wal_bytes_before": round(written[0], 1) if written else None,
                "row_wal_bytes_after": round(written[1], 1) if written else None,
                "writes": [_about(planner, trial, key) for key in trial.writing()],
                "sampled": _evidence(planner.sampled.get(trial.create)),
                "better": [_about(planner, trial, key) for key in better],
                "worse": [_about(planner, trial, key) for key in worse],
            },
            threshold={"value": limits.missing_saving, "source": SOURCES["missing_saving"]},
            impact={
                "bytes": trial.size_bytes,
                "load_share": round(share, 6),
                "writes_per_second": rate,
            },
            more={"columns": columns},
            deed=CREATE,
            create=trial.create,
        )


def _about(planner: Planner, trial: Trial, key: str) -> dict[str, Any]:
    before, after = trial.costs[key]
    return {
        "queryid": key,
        "cost_before": before,
        "cost_after": after,
        "calls": planner.statements[key].calls,
        "runs": {
            name: {
                "blocks_before": first.blocks,
                "blocks_after": last.blocks,
                "ms_before": first.ms,
                "ms_after": last.ms,
                **(
                    {
                        "wal_bytes_before": first.wal_bytes,
                        "wal_bytes_after": last.wal_bytes,
                        "rows": last.rows,
                    }
                    if last.writes
                    else {}
                ),
            }
            for name, (first, last) in trial.runs.get(key, {}).items()
        },
    }


def _unproven(database: Database, planner: Planner, limits: Limits) -> Iterable[Draft]:
    told: set[int] = set()
    for wish in planner.wishes(limits):
        if wish.table in told:
            continue
        keys = [
            key
            for key in planner.of_table(wish.table)
            if wish in candidates(database, wish.table, planner.uses[key][wish.table])
        ]
        if not keys:
            continue
        told.add(wish.table)
        table = database.tables[wish.table]
        share = sum(planner.statements[key].load_share for key in keys)
        columns = [database.column_name(wish.table, number) for number in wish.columns]
        yield draft(
            database,
            "IX08",
            table,
            severity=LOW,
            grade=HEURISTIC,
            key="IX08_unproven",
            values={"columns": columns, "statements": len(keys), "load_share": share},
            value={"statements": keys, "sampled": _evidence(planner.sampled.get(wish))},
            impact={"load_share": round(share, 6), "writes_per_second": write_rate(database, table)},
            missing=(lack("proof-of-plan", what=", ".join(keys)),),
            more={"columns": columns},
            deed=CREATE,
            create=wish,
        )


def _only_sampled(database: Database, planner: Planner) -> Iterable[Draft]:
    """What pg_qualstats saw, and no statement that could be planned asks for: a sample, and no proof."""
    best: dict[int, tuple[Create, Sampled]] = {}
    for wish, seen in planner.sampled.items():
        if set(seen.queryids) & set(planner.statements):
            continue
        known = best.get(wish.table)
        if known is None or (seen.filtered, -len(wish.columns)) > (known[1].filtered, -len(known[0].columns)):
            best[wish.table] = (wish, seen)
    for wish, seen in best.values():
        table = database.tables[wish.table]
        columns = [database.column_name(wish.table, number) for number in wish.columns]
        yield draft(
            database,
            "IX08",
            table,
            severity=LOW,
            grade=HEURISTIC,
            key="IX08_sampled",
            values={
                "columns": columns,
                "filtered": seen.filtered,
                "occurrences": seen.occurrences,
                "sample_share": seen.sample_share,
            },
            value={"sampled": _evidence(seen)},
            impact={"writes_per_second": write_rate(database, table)},
            missing=(lack("proof-of-plan", what=", ".join(seen.queryids)),),
            more={"columns": columns},
            deed=CREATE,
            create=wish,
        )


def _evidence(seen: Sampled | None) -> dict[str, Any] | None:
    return seen.to_dict() if seen else None


def _orders(database: Database, planner: Planner) -> Iterable[Draft]:
    """IX10: of the columns of an index only later ones are compared, by all statements that were planned."""
    equal: dict[int, dict[int, int]] = {}
    touched: dict[int, set[int]] = {}
    for tables in planner.uses.values():
        for oid, use in tables.items():
            touched.setdefault(oid, set()).update(use.equal | use.ranges | set(use.sorts))
            for number in use.equal:
                counts = equal.setdefault(oid, {})
                counts[number] = counts.get(number, 0) + 1
    for index in database.indexes:
        seen = equal.get(index.table, {})
        later = [key.column for key in index.keys[1:] if seen.get(key.column)]
        first = index.keys[0]
        if (
            index.method != "btree"
            or index.unique
            or index.parent
            or not first.column
            or not later
            or first.column in touched.get(index.table, set())
        ):
            continue
        yield draft(
            database,
            "IX10",
            index,
            severity=LOW,
            grade=HEURISTIC,
            values={
                "column": database.column_name(index.table, first.column),
                "later": [database.column_name(index.table, number) for number in later],
                "statements": max(seen[number] for number in later),
            },
            value={"statements": max(seen[number] for number in later)},
        )
