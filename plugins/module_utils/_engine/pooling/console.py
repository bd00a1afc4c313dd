# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The admin console of a running pooler: what it is doing, and telling it to read its files again.

RELOAD answers with success whatever the files hold (tried on 1.18 and 1.24.1: an unknown parameter only shows in
the log), so nothing is believed before SHOW CONFIG has been read back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..core.errors import Failed
from .wire import Rejected, Row, Session

#: Columns that say what goes on at this moment.
_OF_THE_MOMENT = ("current_", "paused", "disabled")
CONSOLE = "pgbouncer"


@dataclass(frozen=True)
class Setting:
    """A setting as the pooler has it, and whether a reload can change it."""

    value: str
    changeable: bool


@dataclass(frozen=True)
class Seen:
    """What a pooler says of itself. ``databases`` and ``users`` leave out what changes from moment to moment."""

    settings: Mapping[str, Setting]
    databases: Mapping[str, Row]
    users: Mapping[str, Row]
    clients: int


@contextlib.contextmanager
def console(directory: str, port: int, *, attempted: str, timeout: float = 10.0) -> Iterator[Session]:
    """The console over its socket: whoever runs the pooler is let in without a password.

    Raises :class:`Failed`: ``pooler-unreachable``, ``pooler-refused`` (it answered, and said no).
    """
    try:
        with Session(directory, port, user=CONSOLE, database=CONSOLE, timeout=timeout) as session:
            yield session
    except OSError as error:
        raise Failed(
            "pooler-unreachable",
            attempted=attempted,
            happened=f"the console at {directory}/.s.PGSQL.{port} does not answer: {error.strerror or error}",
            remedy="See whether the pooler runs and what its log says; then run the same again.",
            details={"socket_directory": directory, "port": port},
        ) from error
    except Rejected as error:
        raise Failed(
            "pooler-refused",
            attempted=attempted,
            happened=f"the console at {directory}/.s.PGSQL.{port} says: {error.message}",
            remedy="Read the pooler's log, correct what it names, then run the same again.",
            details={"socket_directory": directory, "port": port},
        ) from error


def look(session: Session) -> Seen:
    """SHOW CONFIG, DATABASES, USERS and CLIENTS. Raises what :class:`Session` raises."""
    settings = {
        str(row["key"]): Setting(str(row["value"] or ""), row["changeable"] == "yes")
        for row in session.query("SHOW CONFIG")
    }
    databases = {str(row["name"]): _lasting(row) for row in session.query("SHOW DATABASES")}
    databases.pop(CONSOLE, None)
    users = {str(row["name"]): _lasting(row) for row in session.query("SHOW USERS")}
    clients = sum(1 for row in session.query("SHOW CLIENTS") if row["database"] != CONSOLE)
    return Seen(settings, databases, users, clients)


def differences(
    running: Seen, wanted: Seen, here: Mapping[str, str], users: Mapping[str, object]
) -> tuple[dict[str, tuple[str, str]], dict[str, tuple[str, str]]]:
    """What a reload can mend and what only a restart can: name -> (as it runs, as wanted). Pure.

    ``wanted`` is what a trial run of the candidate said, so that values are compared as PgBouncer writes them;
    ``here`` are the settings that had other values in the trial, ``users`` those that have settings.
    """
    reload: dict[str, tuple[str, str]] = {}
    restart: dict[str, tuple[str, str]] = {}
    for name, setting in running.settings.items():
        if name in here:
            value = here[name]
        elif name in wanted.settings:
            value = wanted.settings[name].value
        else:
            continue
        if setting.value != value:
            (reload if setting.changeable else restart)[name] = (setting.value, value)
    for kind, found, expected in (
        ("database", running.databases, wanted.databases),
        ("user", running.users, {name: row for name, row in wanted.users.items() if name in users}),
    ):
        for name in expected:
            if name not in found:
                reload[f"{kind} {name}"] = ("missing", "there")
            elif found[name] != expected[name]:
                reload[f"{kind} {name}"] = (_text(found[name]), _text(expected[name]))
    for name in running.databases:
        if name not in wanted.databases:
            reload[f"database {name}"] = ("there", "missing")
    return reload, restart


def _lasting(row: Row) -> Row:
    return {name: value for name, value in row.items() if not name.startswith(_OF_THE_MOMENT)}


def _text(row: Row) -> str:
    return " ".join(f"{name}={value}" for name, value in row.items() if value and name != "name")
