# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A read-write workload that keeps its own book, outside of the database, of what was committed.

Restoring a database proves little unless somebody else knows what should be in it. Each worker runs
transactions like pgbench's (TPC-B) that also insert rows into the table ``ledger_entries``; when the
server has acknowledged the COMMIT, a line with the commit time told by the server goes into a file, forced
to disk. ``verify`` compares the two: everything committed before the target there, nothing after, and the
balances of accounts, tellers, branches and history equal to each other and to the book.

Needs Python 3.9, psycopg 3, and a server with ``track_commit_timestamp = on``.

    ledger_workload.py init   --dsn 'host=/run/postgresql dbname=app' --scale 1 --accounts 1000
    ledger_workload.py run    --dsn … --ledger FILE --workers 4 --seconds 20
    ledger_workload.py verify --dsn … --ledger FILE --target-time 2026-11-21T03:04:05.123456+00:00

Commits that run at the same time may enter the WAL in another order than their commit times, and recovery
to a time stops at the first later one in WAL order. What could have gone either way because of that is
counted as ``undetermined``, never as missing; the positions recorded around each commit keep it to the
few transactions that really overlapped (none when the target is a statement that locks out the others).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import psycopg
from ledger_verify import balances, connect, one_row, verify
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

_TABLES = """
CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
"""
_ENTRIES = """
CREATE TABLE IF NOT EXISTS ledger_entries (
    run text, worker int, seq bigint, part int, delta int NOT NULL, PRIMARY KEY (run, worker, seq, part))
"""
_DDL_TABLE = "ledger_made_{}_{}_{}"


class Book:
    """The file of JSON lines; a line of an outcome is on disk before the next transaction begins."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._lock = threading.Lock()

    def write(self, record: dict[str, Any], *, durable: bool = True) -> None:
        """Add a line."""
        line = (json.dumps(record, separators=(",", ":")) + "\n").encode()
        with self._lock:
            os.write(self._descriptor, line)
        if durable:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """No more lines."""
        os.close(self._descriptor)


@dataclass
class Mix:
    """What kinds of transactions there are, each as a share of 1; the rest are plain commits."""

    rollbacks: float = 0.0
    savepoints: float = 0.0
    prepared: float = 0.0
    ddl: float = 0.0


@dataclass
class Shape:
    """How many rows the pgbench tables have, asked once."""

    branches: int
    tellers: int
    accounts: int


@dataclass
class Attempt:
    """One transaction on its way."""

    seq: int
    delta: int
    parts: list[int] = field(default_factory=lambda: [0])
    made: str | None = None
    dropped: str | None = None
    xid: int | None = None
    lsn_before: str | None = None
    sent_at: str | None = None
    at_commit: bool = False


class Worker(threading.Thread):
    """One client that runs transactions until told to stop."""

    def __init__(
        self, number: int, run: str, options: argparse.Namespace, mix: Mix, book: Book, stop: Stop
    ) -> None:
        super().__init__(name=f"worker {number}", daemon=True)
        self.number = number
        self.run_id = run
        self.options = options
        self.mix = mix
        self.book = book
        self.stop = stop
        self.random = random.Random(f"{options.seed}/{number}")
        self.made: list[str] = []
        self.counts = {"committed": 0, "rolled_back": 0, "in_doubt": 0}
        self.errors: dict[str, int] = {}
        self.failure: BaseException | None = None

    def run(self) -> None:
        """The loop; a lost connection is made again until the end."""
        try:
            self._loop()
        except BaseException as error:
            self.failure = error
            self.stop.set()

    def _loop(self) -> None:
        seq = 0
        session: tuple[psycopg.Connection[Any], Shape] | None = None
        while not self.stop.reached(seq):
            if session is None or session[0].closed:
                try:
                    connection = connect(self.options.dsn)
                    session = connection, _shape(connection)
                except psycopg.OperationalError as error:
                    self._count(error)
                    self.stop.wait(0.1)
                    continue
            seq += 1
            if not self._transaction(*session, seq):
                self.stop.wait(0.05)
        if session is not None:
            session[0].close()

    def _transaction(self, connection: psycopg.Connection[Any], shape: Shape, seq: int) -> bool:
        """One transaction; False when it ended with an error."""
        attempt = Attempt(seq, self.random.randint(-5000, 5000))
        try:
            self._work(connection, shape, attempt)
            if self.random.random() < self.mix.rollbacks:
                connection.execute("ROLLBACK")
                self._outcome(attempt, "rolled_back")
                return True
            self._commit(connection, attempt)
        except psycopg.Error as error:
            self._count(error)
            lost = connection.closed or isinstance(error, psycopg.OperationalError)
            self._outcome(attempt, "in_doubt" if attempt.at_commit and lost else "rolled_back")
            if lost:
                connection.close()
            else:
                connection.execute("ROLLBACK")
            return False
        return True

    def _work(self, connection: psycopg.Connection[Any], shape: Shape, attempt: Attempt) -> None:
        chance = self.random
        aid, bid = chance.randint(1, shape.accounts), chance.randint(1, shape.branches)
        tid, delta = chance.randint(1, shape.tellers), attempt.delta
        connection.execute("BEGIN")
        connection.execute(
            "UPDATE pgbench_accounts SET abalance = abalance + %s WHERE aid = %s", (delta, aid)
        )
        connection.execute("SELECT abalance FROM pgbench_accounts WHERE aid = %s", (aid,))
        connection.execute("UPDATE pgbench_tellers SET tbalance = tbalance + %s WHERE tid = %s", (delta, tid))
        connection.execute(
            "UPDATE pgbench_branches SET bbalance = bbalance + %s WHERE bid = %s", (delta, bid)
        )
        connection.execute(
            "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (%s, %s, %s, %s, now())",
            (tid, bid, aid, delta),
        )
        self._enter(connection, attempt, 0)
        if chance.random() < self.mix.savepoints:
            for part in range(1, chance.randint(2, 5)):
                connection.execute("SAVEPOINT part")
                self._enter(connection, attempt, part)
                if chance.random() < 0.5:
                    connection.execute("ROLLBACK TO SAVEPOINT part")
                else:
                    attempt.parts.append(part)
                    connection.execute("RELEASE SAVEPOINT part")
        if chance.random() < self.mix.ddl:
            self._ddl(connection, attempt)

    def _enter(self, connection: psycopg.Connection[Any], attempt: Attempt, part: int) -> None:
        connection.execute(
            "INSERT INTO ledger_entries VALUES (%s, %s, %s, %s, %s)",
            (self.run_id, self.number, attempt.seq, part, attempt.delta if part == 0 else 0),
        )

    def _ddl(self, connection: psycopg.Connection[Any], attempt: Attempt) -> None:
        if self.made and self.random.random() < 0.5:
            attempt.dropped = self.made[-1]
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(attempt.dropped)))
        else:
            attempt.made = _DDL_TABLE.format(self.run_id, self.number, attempt.seq)
            statement = sql.SQL("CREATE TABLE {} AS SELECT {} AS seq")
            connection.execute(statement.format(sql.Identifier(attempt.made), attempt.seq))

    def _commit(self, connection: psycopg.Connection[Any], attempt: Attempt) -> None:
        row = one_row(connection, "SELECT pg_current_xact_id()::text, pg_current_wal_insert_lsn()::text")
        attempt.xid, attempt.lsn_before = int(row[0]), row[1]
        prepared = self.random.random() < self.mix.prepared and not attempt.made and not attempt.dropped
        # Whoever is killed from here on leaves a transaction whose end nobody can know.
        attempt.sent_at = datetime.now(timezone.utc).isoformat()
        self.book.write(self._record(attempt, "sent"), durable=False)
        attempt.at_commit = True
        if prepared:
            gid = f"{self.run_id}-{self.number}-{attempt.seq}"
            connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(sql.Literal(gid)))
            connection.execute(sql.SQL("COMMIT PREPARED {}").format(sql.Literal(gid)))
        else:
            connection.execute("COMMIT")
        attempt.at_commit = False
        told = self._ask(connection, attempt.xid)
        self._outcome(attempt, "committed", **told)
        if attempt.made:
            self.made.append(attempt.made)
        if attempt.dropped:
            self.made.remove(attempt.dropped)

    def _ask(self, connection: psycopg.Connection[Any], xid: int) -> dict[str, Any]:
        """When it was committed; unknown when the server goes away between COMMIT and the question."""
        try:
            row = one_row(
                connection,
                "SELECT pg_xact_commit_timestamp(%s::text::xid)::text, pg_current_wal_insert_lsn()::text",
                str(xid & 0xFFFFFFFF),
            )
        except psycopg.OperationalError as error:
            self._count(error)
            connection.close()
            return {"committed_at": None, "lsn_after": None}
        return {"committed_at": row[0], "lsn_after": row[1]}

    def _outcome(self, attempt: Attempt, state: str, **told: Any) -> None:
        self.counts[state] += 1
        self.book.write({**self._record(attempt, state), **told})

    def _record(self, attempt: Attempt, state: str) -> dict[str, Any]:
        return {
            "kind": "transaction",
            "state": state,
            "run": self.run_id,
            "worker": self.number,
            "seq": attempt.seq,
            "xid": attempt.xid,
            "delta": attempt.delta,
            "parts": attempt.parts,
            "made": attempt.made,
            "dropped": attempt.dropped,
            "lsn_before": attempt.lsn_before,
            "sent_at": attempt.sent_at,
        }

    def _count(self, error: psycopg.Error) -> None:
        name = error.sqlstate or type(error).__name__
        self.errors[name] = self.errors.get(name, 0) + 1


class Stop:
    """When to end: after so many seconds or transactions, when a file appears, or on a signal."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._event = threading.Event()
        self._deadline = time.monotonic() + options.seconds if options.seconds else None
        self._file = options.until_file
        self._transactions = options.transactions

    def set(self) -> None:
        """End now."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Pause, but not beyond the end."""
        self._event.wait(seconds)

    def reached(self, seq: int) -> bool:
        """Whether a worker that has run ``seq`` transactions is done."""
        if self._deadline and time.monotonic() > self._deadline:
            self.set()
        if self._file and os.path.exists(self._file):
            self.set()
        return self._event.is_set() or bool(self._transactions and seq >= self._transactions)


def _shape(connection: psycopg.Connection[Any]) -> Shape:
    return Shape(
        *one_row(
            connection,
            "SELECT (SELECT max(bid) FROM pgbench_branches), (SELECT max(tid) FROM pgbench_tellers),"
            " (SELECT max(aid) FROM pgbench_accounts)",
        )
    )


def initialise(options: argparse.Namespace) -> dict[str, Any]:
    """pgbench's tables, with as few accounts as wanted."""
    with connect(options.dsn) as connection, connection.transaction():
        connection.execute(_TABLES)
        scale, accounts = options.scale, options.accounts
        connection.execute("INSERT INTO pgbench_branches SELECT g, 0 FROM generate_series(1, %s) g", (scale,))
        connection.execute(
            "INSERT INTO pgbench_tellers SELECT g, (g - 1) / 10 + 1, 0 FROM generate_series(1, %s) g",
            (10 * scale,),
        )
        connection.execute(
            "INSERT INTO pgbench_accounts SELECT g, (g - 1) / %s + 1, 0, '' FROM generate_series(1, %s) g",
            (accounts, accounts * scale),
        )
        connection.execute(_ENTRIES)
    return {"scale": scale, "accounts": accounts * scale}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the workload and return how many transactions ended how."""
    with connect(options.dsn) as connection:
        if one_row(connection, "SHOW track_commit_timestamp") != ("on",):
            raise SystemExit(
                "track_commit_timestamp is off: nobody could tell when a transaction was committed"
            )
        connection.execute(_ENTRIES)
        baseline = balances(connection)
    book, run_id = Book(options.ledger), uuid.uuid4().hex[:8]
    book.write({"kind": "run", "run": run_id, "baseline": baseline, "seed": options.seed})
    stop = Stop(options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_dummy: stop.set())
    mix = Mix(options.rollbacks, options.savepoints, options.prepared, options.ddl)
    workers = [Worker(number, run_id, options, mix, book, stop) for number in range(options.workers)]
    begun = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        while worker.is_alive():
            worker.join(0.2)
    book.close()
    for worker in workers:
        if worker.failure:
            raise worker.failure
    seconds = time.monotonic() - begun
    counts = {name: sum(worker.counts[name] for worker in workers) for name in workers[0].counts}
    errors: dict[str, int] = {}
    for worker in workers:
        for name, count in worker.errors.items():
            errors[name] = errors.get(name, 0) + count
    return {"run": run_id, **counts, "errors": errors, "seconds": round(seconds, 3)}


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.OperationalError as error:
        raise SystemExit(f"the server cannot be reached: {str(error).strip()}") from error


def main(arguments: list[str] | None = None) -> int:
    """The command line. Prints JSON; status 0 when done and, for ``verify``, exact; 1 when not exact."""
    parser = argparse.ArgumentParser(description="A workload that keeps its own book of what was committed")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (("init", "make pgbench's tables"), ("run", "run"), ("verify", "compare")):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("--dsn", required=True, help="connection string without a password")
        if name == "init":
            command.add_argument("--scale", type=int, default=1)
            command.add_argument("--accounts", type=int, default=100_000, help="per branch")
            continue
        command.add_argument("--ledger", required=True, help="the book: a file outside the database")
        if name == "verify":
            command.add_argument("--target-time", help="with its zone; without it everything is expected")
            command.add_argument("--inclusive", action="store_true", help="commits exactly at the target too")
            continue
        command.add_argument("--workers", type=int, default=4)
        command.add_argument("--seconds", type=float)
        command.add_argument("--until-file", help="stop when this file is there")
        command.add_argument("--transactions", type=int, help="for each worker")
        command.add_argument("--seed", type=int, default=1)
        for share in ("rollbacks", "savepoints", "prepared", "ddl"):
            command.add_argument(f"--{share}", type=float, default=0.0, metavar="SHARE", help="0 to 1")
    options = parser.parse_args(arguments)
    if conninfo_to_dict(options.dsn).get("password"):
        parser.error("no passwords on a command line: use a password file or the local socket")
    good = True
    with _one_line_errors():
        if options.command == "init":
            result = initialise(options)
        elif options.command == "run":
            if not (options.seconds or options.until_file or options.transactions):
                parser.error("say when to stop: --seconds, --until-file or --transactions")
            result = run(options)
        else:
            result, good = verify(options)
    print(json.dumps(result, indent=2))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
