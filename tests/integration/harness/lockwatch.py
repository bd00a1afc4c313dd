# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Who waits for whom while a report looks at a server: objects that somebody holds meanwhile, and all locks of ours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psycopg

from .cluster import Cluster
from .waiting import wait_for

_OURS = "application_name LIKE 'dbkeeper%report%'"
#: Locks that keep nobody away but who holds the whole table; a sequence's value is read under one of them more.
_WEAK = "l.mode = 'AccessShareLock' OR c.relkind = 'S' AND l.mode = 'RowExclusiveLock'"
_LOCKS = f"""
SELECT NOT l.granted, coalesce(c.relname, l.locktype) || ' ' || l.mode || ': ' || left(a.query, 200)
FROM pg_locks l JOIN pg_stat_activity a USING (pid) LEFT JOIN pg_class c ON c.oid = l.relation
WHERE a.{_OURS} AND (NOT l.granted OR l.locktype = 'relation' AND NOT ({_WEAK}))
"""
_BEHIND = f"""
SELECT a.query FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock' AND NOT a.{_OURS} AND EXISTS (
  SELECT FROM pg_stat_activity o WHERE o.pid = ANY (pg_blocking_pids(a.pid)) AND o.{_OURS})
"""


@dataclass
class Seen:
    """What was seen, each once: that we waited for, who waited behind us, locks that keep others away."""

    waits: set[str] = field(default_factory=set)
    behind: set[str] = field(default_factory=set)
    strong: set[str] = field(default_factory=set)
    looks: int = 0

    @property
    def nothing(self) -> bool:
        """Whether we were in nobody's way, and nobody in ours, by a watch that did look."""
        return self.looks > 0 and not (self.waits or self.behind or self.strong)


@contextmanager
def watched(cluster: Cluster) -> Iterator[Seen]:
    """Locks of reports are looked at over and over within the block."""
    seen = Seen()

    def look(connection: psycopg.Connection[object]) -> None:
        for waits, what in connection.execute(_LOCKS.encode()).fetchall():
            (seen.waits if waits else seen.strong).add(str(what))
        seen.behind.update(str(row[0]) for row in connection.execute(_BEHIND.encode()).fetchall())
        seen.looks += 1

    with cluster.connect() as connection, _meanwhile(lambda: look(connection)):
        wait_for(lambda: seen.looks > 0, "the watch to begin")
        yield seen


@contextmanager
def held(
    cluster: Cluster, *, table: str, awaited: str | None = None, sequence: str | None = None
) -> Iterator[None]:
    """One table is held by somebody, another waited for by somebody, a sequence altered and not committed."""
    with ExitStack() as stack:
        holder = stack.enter_context(psycopg.connect(cluster.dsn()))
        holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        if sequence:
            holder.execute(f"ALTER SEQUENCE {sequence} CYCLE".encode())
        if awaited:
            reader = stack.enter_context(psycopg.connect(cluster.dsn()))
            reader.execute(f"SELECT count(*) FROM {awaited}".encode())
            waiter = threading.Thread(target=_lock, args=(cluster, awaited))
            waiter.start()
            stack.callback(waiter.join)
            stack.callback(reader.rollback)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
            wait_for(lambda: cluster.value(waiting, awaited) == 1, f"somebody waits for {awaited}")
        yield


@contextmanager
def changed_meanwhile(cluster: Cluster, statements: Sequence[str]) -> Iterator[list[float]]:
    """Somebody changes one object after the other, each in a transaction of its own; how long each took, in seconds.

    The server's own word: from when it got the statement until it was done.
    """
    took: list[float] = []
    timed = "SELECT extract(epoch FROM clock_timestamp() - statement_timestamp())::float8"

    def change(connection: psycopg.Connection[object]) -> None:
        statement = statements[len(took) % len(statements)]
        # One message, so that both have the same statement_timestamp().
        result = connection.execute(f"BEGIN; {statement}; {timed}; COMMIT".encode())
        while not result.description:
            assert result.nextset()
        row = result.fetchone()
        assert row
        took.append(float(str(row[0])))

    with cluster.connect() as connection, _meanwhile(lambda: change(connection)):
        yield took


@contextmanager
def _meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Done over and over in a thread until the block ends; what it raises is raised."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            work()
            over.wait(0.002)

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(run)
        try:
            yield
        finally:
            over.set()
            working.result()


def _lock(cluster: Cluster, table: str) -> None:
    with psycopg.connect(cluster.dsn()) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
