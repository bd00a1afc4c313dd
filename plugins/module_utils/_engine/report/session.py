# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Asking a server gently: read-only, 100 ms for a lock, a budget of time. What could not be seen is named.

One :class:`Look` is one run of a module against one instance: its connections one after the other, what it cost, and
the list ``not_seen``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from ..cluster import sql
from ..core.clock import format_utc, utc_now
from ..core.errors import Failed, KeeperError
from .finding import NotSeen, Says

#: What every statement of a report has in it, so that it is known among others.
MARK = "/* dbkeeper report */"
T = TypeVar("T")

LOCK_SECONDS = 0.1
STATEMENT_SECONDS = 15.0
#: SQLSTATE -> what kept us from seeing (manual, appendix A).
_REASONS = {
    "55P03": "locked",
    "57014": "timeout",
    "42501": "denied",
    "40001": "conflict",
    "40P01": "conflict",
    "57P01": "conflict",
    "42P01": "absent",
    "42883": "absent",
    "42704": "absent",
    "42703": "absent",
    "55000": "absent",
    "3D000": "gone",
    "53300": "full",
}
_SESSION = (
    "SET default_transaction_read_only = on",
    "SET jit = off",
    "SET max_parallel_workers_per_gather = 0",
    "SET work_mem = '32MB'",
    "SET search_path = pg_catalog",
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO'",
    "SET idle_in_transaction_session_timeout = '30s'",
)
_NODE = """
SELECT (SELECT system_identifier::text FROM pg_control_system()), current_setting('server_version_num')::int,
       pg_is_in_recovery(), (SELECT timeline_id FROM pg_control_checkpoint()),
       extract(epoch FROM pg_postmaster_start_time()), extract(epoch FROM clock_timestamp()),
       current_setting('port')::int, coalesce(nullif(current_setting('cluster_name'), ''), ''),
       current_setting('block_size')::int
"""
#: What the server has written into temporary files: the report's own part is the difference of two looks.
_TEMPORARY = "SELECT sum(temp_bytes)::bigint FROM pg_stat_database"
_DATABASES = """
SELECT datname, oid::bigint, datallowconn, has_database_privilege(datname, 'CONNECT'), datistemplate
FROM pg_database WHERE datname <> 'template0' ORDER BY datname
"""


@dataclass(frozen=True)
class Node:
    """The instance that was asked."""

    system_id: str
    server_version_num: int
    in_recovery: bool
    timeline: int
    started_at: float
    taken_at: float
    host: str | None
    port: int
    cluster_name: str
    block_bytes: int

    @property
    def name(self) -> str:
        """What it is called in the baseline of this host."""
        return f"{self.host or 'local'}:{self.port}"

    @property
    def major(self) -> int:
        """Its major version."""
        return self.server_version_num // 10000

    def to_dict(self) -> dict[str, Any]:
        """JSON, as in the module's result."""
        return {
            "system_id": self.system_id,
            "server_version_num": self.server_version_num,
            "in_recovery": self.in_recovery,
            "role": "standby" if self.in_recovery else "primary",
            "timeline": self.timeline,
            "host": self.host,
            "port": self.port,
            "cluster_name": self.cluster_name,
            "started_at": _moment(self.started_at),
            "taken_at": _moment(self.taken_at),
        }


class Look:
    """One gentle look at one instance."""

    def __init__(self, options: Mapping[str, Any], *, budget_seconds: float = 60.0) -> None:
        self.options = {name: value for name, value in options.items() if value is not None}
        self.options.setdefault("connect_params", {"application_name": "dbkeeper report"})
        self.not_seen: list[NotSeen] = []
        self.server_seconds = 0.0
        self.budget_seconds = budget_seconds
        self._begun = time.monotonic()
        self._connection: Any = None
        self._database: str | None = None

    # -- connections -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def database(self, name: str | None = None) -> Iterator[Look]:
        """Be connected to a database (that of the options, when not named) within the block.

        Raises what :func:`cluster.sql.connect` raises.
        """
        options = {**self.options, **({"login_db": name} if name else {})}
        connection = sql.connect(
            options, statement_timeout_seconds=STATEMENT_SECONDS, lock_timeout_seconds=LOCK_SECONDS
        )
        outer = self._connection, self._database
        self._connection, self._database = connection, name
        try:
            for statement in _SESSION:
                sql.rows(connection, statement, attempted="prepare the session")
            yield self
        finally:
            self._connection, self._database = outer
            connection.close()

    @contextlib.contextmanager
    def try_database(self, name: str) -> Iterator[Look | None]:
        """The same; None where the database cannot be entered, which is then in ``not_seen``."""
        with contextlib.ExitStack() as stack:
            try:
                entered: Look | None = stack.enter_context(self.database(name))
            except KeeperError as error:
                self.miss(f"database {name}", "refused", error.happened)
                entered = None
            yield entered

    def node(self) -> Node:
        """Who is asked. Raises :class:`Failed` (``sql-failed``)."""
        row = sql.rows(self._connection, _NODE, attempted="ask the server who it is")[0]
        host = self.options.get("login_host") or self.options.get("login_unix_socket")
        return Node(
            str(row[0]),
            int(row[1]),
            bool(row[2]),
            int(row[3]),
            float(row[4]),
            float(row[5]),
            str(host) if host else None,
            int(self.options.get("login_port") or row[6]),
            str(row[7]),
            int(row[8]),
        )

    def databases(self, wanted: Sequence[str] = ()) -> list[str]:
        """Names of the databases that can be entered (of ``wanted``, if given); the others are in ``not_seen``."""
        found = self.ask(_DATABASES, what="the list of databases") or []
        there = {str(row[0]): row for row in found}
        for name in wanted:
            if name not in there:
                self.miss(f"database {name}", "gone")
        names = []
        for name, row in there.items():
            if wanted and name not in wanted:
                continue
            if row[2] and row[3]:
                names.append(name)
            elif row[2] or name in wanted:
                refused = not row[2]
                why = "it allows no connections" if refused else "CONNECT on it is missing"
                self.miss(f"database {name}", "refused" if refused else "denied", why)
        return names

    @property
    def login_database(self) -> str:
        """The database that the options name."""
        return str(sql.connection_parameters(self.options)["dbname"])

    @property
    def database_name(self) -> str:
        """The database that is connected."""
        return self._database or self.login_database

    # -- asking ----------------------------------------------------------------------------------------

    def ask(self, statement: str, values: Sequence[Any] = (), *, what: str) -> list[tuple[Any, ...]] | None:
        """The rows; None where they cannot be had, and then ``what`` is in ``not_seen``, with the reason."""
        return self._asked(
            lambda: sql.rows(self._connection, marked(statement), values, attempted=f"look at {what}"),
            what,
        )

    def read(self, statement: str, values: Sequence[Any] = (), *, what: str) -> list[tuple[Any, ...]]:
        """The rows, for whom the error itself is the answer. Raises :class:`Failed` (``sql-failed``)."""
        if self.spent:
            self.miss(self._named(what), "budget")
            return []
        begun = time.monotonic()
        try:
            return sql.rows(self._connection, f"{MARK} {statement}", values, attempted=f"look at {what}")
        finally:
            self.server_seconds += time.monotonic() - begun

    def copy(self, query: str, *, what: str) -> list[list[str | None]] | None:
        """The same for many rows, as texts; ``query`` takes no values."""
        statement = marked(f"COPY ({query}) TO STDOUT")
        said = self._asked(
            lambda: [sql.copied(self._connection, statement, attempted=f"look at {what}")], what
        )
        # Reading it is our time, not the server's.
        return None if said is None else sql.copied_rows(said[0])

    def _asked(self, question: Callable[[], list[T]], what: str) -> list[T] | None:
        if self.spent:
            self.miss(self._named(what), "budget")
            return None
        begun = time.monotonic()
        try:
            return question()
        except Failed as error:
            state = str(error.details.get("sqlstate") or "")
            reason = _REASONS.get(state, "lost" if self._connection.closed else "error")
            if reason == "lost" and "conflict with recovery" in error.happened:
                # The server says so and goes; the driver then knows of a lost connection only.
                reason = "conflict"
            self.miss(self._named(what), reason, error.happened)
            return None
        finally:
            self.server_seconds += time.monotonic() - begun

    def miss(self, what: str, reason: str, detail: str = "") -> None:
        """Say that something was not seen. ``reason`` is a key of NOT_SEEN in ``words/``."""
        told = NotSeen(Says(reason, {"what": what, "detail": detail}))
        if told not in self.not_seen:
            self.not_seen.append(told)

    @property
    def spent(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() - self._begun > self.budget_seconds

    def temporary(self) -> int | None:
        """Bytes that the server has written into temporary files by now; None where it does not say."""
        found = self.ask(_TEMPORARY, what="temporary files")
        return int(found[0][0]) if found and found[0][0] is not None else None

    def temporary_since(self, before: int | None) -> int | None:
        """Bytes since then, asked in a session of its own: a session's figures come with its end.

        What others spilled meanwhile is in it: never less than the report's own.
        """
        with self.try_database(self.login_database) as inside:
            now = inside.temporary() if inside else None
        return None if before is None or now is None else max(0, now - before)

    def cost(self, temp_bytes: int | None = None) -> dict[str, Any]:
        """What the look has cost, as in the module's result."""
        return {
            "server_seconds": round(self.server_seconds, 3),
            "temp_bytes": temp_bytes,
            "seconds": round(time.monotonic() - self._begun, 3),
        }

    def _named(self, what: str) -> str:
        return f"{what} in database {self._database}" if self._database else what


def marked(statement: str) -> str:
    """With the mark behind its first word: a comment before it is not kept by every version's statistics."""
    first, rest = statement.split(maxsplit=1)
    return f"{first} {MARK} {rest}"


def moment(seconds: float) -> datetime:
    """Seconds since 1970, as the server tells times, as a time in UTC."""
    return datetime.fromtimestamp(float(seconds), utc_now().tzinfo)


def _moment(seconds: float) -> str:
    return format_utc(moment(seconds))
