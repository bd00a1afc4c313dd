# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Comparing a restored database with the workload's book: ``verify`` of ledger_workload.py."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import psycopg

Key = tuple[str, int, int, int]

_SUMS = {
    "accounts": "SELECT coalesce(sum(abalance), 0)::bigint FROM pgbench_accounts",
    "tellers": "SELECT coalesce(sum(tbalance), 0)::bigint FROM pgbench_tellers",
    "branches": "SELECT coalesce(sum(bbalance), 0)::bigint FROM pgbench_branches",
    "history": "SELECT coalesce(sum(delta), 0)::bigint FROM pgbench_history",
}


def connect(dsn: str) -> psycopg.Connection[Any]:
    """A connection that leaves transactions to us."""
    connection = psycopg.connect(dsn, autocommit=True, connect_timeout=5, application_name="ledger_workload")
    connection.execute("SET timezone = 'UTC'; SET client_min_messages = warning; SET DateStyle = ISO")
    return connection


def balances(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """The sums that must all be equal: each transaction adds the same delta to all of them."""
    return {name: int(one_row(connection, query)[0]) for name, query in _SUMS.items()}


def one_row(connection: psycopg.Connection[Any], query: str, *values: Any) -> tuple[Any, ...]:
    """The only row of a query that always has one."""
    row: tuple[Any, ...] = connection.execute(query.encode(), values or None).fetchall()[0]
    return row


@dataclass
class Recorded:
    """One transaction as the book knows it."""

    state: str
    keys: list[Key]
    delta: int
    sent_at: datetime | None
    committed_at: datetime | None
    lsn_before: int | None
    lsn_after: int | None
    made: str | None
    dropped: str | None


def read_book(path: str) -> tuple[dict[str, int], list[Recorded]]:
    """The balances at the beginning, and all transactions; the last line may be torn by a crash."""
    baseline: dict[str, int] | None = None
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for record in _lines(path):
        if record["kind"] == "run":
            baseline = baseline if baseline is not None else record["baseline"]
        else:
            found[(record["run"], record["worker"], record["seq"])] = record
    if baseline is None:
        raise SystemExit(f"{path} holds no run of this workload")
    return baseline, [_recorded(record) for record in found.values()]


def _lines(path: str) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            if line.endswith("\n"):
                yield json.loads(line)
            else:
                print(f"{path}: line {number} is cut off and left out", file=sys.stderr)


def _recorded(record: dict[str, Any]) -> Recorded:
    told = record.get("committed_at")
    # "sent" without an outcome: the workload itself was killed.
    state = "in_doubt" if record["state"] == "sent" else record["state"]
    return Recorded(
        state=state,
        keys=[(record["run"], record["worker"], record["seq"], part) for part in record["parts"]],
        delta=record["delta"],
        sent_at=_moment(record["sent_at"]) if record["sent_at"] else None,
        committed_at=_moment(told) if told else None,
        lsn_before=_lsn(record.get("lsn_before")),
        lsn_after=_lsn(record.get("lsn_after")),
        made=record["made"],
        dropped=record["dropped"],
    )


def _moment(text: str) -> datetime:
    text = text.strip().replace("Z", "+00:00")
    if len(text) > 3 and text[-3] in "+-":
        text += ":00"  # PostgreSQL writes +00, Python 3.9 wants +00:00
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise SystemExit(f"{text!r} has no time zone")
    return moment.astimezone(timezone.utc)


def _lsn(text: str | None) -> int | None:
    if not text:
        return None
    high, _dummy, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


@dataclass
class Expected:
    """What the book says must be there, and what could be either way."""

    sure: list[Recorded]
    open: list[Recorded]


def expect_time(transactions: Iterable[Recorded], target: datetime, inclusive: bool) -> Expected:
    """PostgreSQL's rule: everything before, in WAL order, the first commit later than the target."""
    expected = Expected([], [])
    early: list[Recorded] = []
    first_late: int | None = None
    for item in transactions:
        if item.state == "rolled_back":
            continue
        moment = item.committed_at
        if item.state == "in_doubt" or moment is None:
            if item.sent_at is None or item.sent_at <= target:
                expected.open.append(item)
        elif moment < target or (inclusive and moment == target):
            early.append(item)
        elif item.lsn_before is not None:
            first_late = item.lsn_before if first_late is None else min(first_late, item.lsn_before)
    for item in early:
        surely = first_late is None or (item.lsn_after is not None and item.lsn_after <= first_late)
        (expected.sure if surely else expected.open).append(item)
    return expected


def verify(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """Compare the book with the database; True when they agree."""
    baseline, transactions = read_book(options.ledger)
    target = (
        _moment(options.target_time) if options.target_time else datetime.max.replace(tzinfo=timezone.utc)
    )
    expected = expect_time(transactions, target, options.inclusive)
    with connect(options.dsn) as connection:
        rows = connection.execute("SELECT run, worker, seq, part, delta FROM ledger_entries").fetchall()
        sums = balances(connection)
        made = {
            row[0]
            for row in connection.execute(
                "SELECT tablename FROM pg_tables WHERE tablename LIKE 'ledger_made_%%'"
            )
        }
    recovered = {(run_id, worker, seq, part): delta for run_id, worker, seq, part, delta in rows}
    sure = {key for item in expected.sure for key in item.keys}
    possible = {key for item in expected.open for key in item.keys}
    missing, unexpected = sorted(sure - recovered.keys()), sorted(recovered.keys() - sure - possible)
    torn = [
        item.keys for item in expected.open if 0 < len(recovered.keys() & set(item.keys)) < len(item.keys)
    ]
    changes = {name: value - baseline[name] for name, value in sums.items()}
    changes["ledger"] = sum(recovered.values())
    changes["book"] = sum(item.delta for item in transactions if item.keys[0] in recovered)
    tables_wrong = sorted(_wrong_tables(expected, recovered, made))
    report = {
        "rows_expected": len(sure),
        "rows_recovered": len(recovered),
        "rows_undetermined": len(possible),
        "rows_undetermined_recovered": len(possible & recovered.keys()),
        "missing": len(missing),
        "unexpected": len(unexpected),
        "torn": len(torn),
        "missing_examples": [list(key) for key in missing[:10]],
        "unexpected_examples": [list(key) for key in unexpected[:10]],
        "tables_wrong": tables_wrong,
        "balances": changes,
        "balances_equal": len(set(changes.values())) == 1,
        "target_time": options.target_time,
        "inclusive": options.inclusive,
    }
    exact = (
        not missing and not unexpected and not torn and not tables_wrong and bool(report["balances_equal"])
    )
    return {**report, "exact": exact}, exact


def _wrong_tables(expected: Expected, recovered: dict[Key, int], found: set[str]) -> set[str]:
    present = expected.sure + [item for item in expected.open if item.keys[0] in recovered]
    made = {item.made for item in present if item.made}
    dropped = {item.dropped for item in present if item.dropped}
    return (made - dropped) ^ found
