# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The fewest steps, by what was found; and what a running pooler lacks."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.console import (
    Seen,
    Setting,
    differences,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.plan import Plan, make_plan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.process import Process, telling
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.servers import Answers
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.state import Live, State, Text

from .requests import database, request

FILE = "/etc/pgbouncer/pgbouncer.ini"
PROCESS = Process(1, "1", 0, (("/run/pgbouncer", 6432),), frozenset({6432}))
PORT = {"listen_port": ("6432", "6433")}
PENDING = {"listen_port": "runs with '6432', '6433' is wanted"}
QUEUE = {"query_wait_timeout": ("99", "30")}


def seen(clients: int = 0) -> Seen:
    return Seen({}, {}, {}, clients)


def state(
    *, same: bool = True, live: Live | None = None, ours: bool = True, unfinished: bool = False
) -> State:
    return State(
        version=(1, 24, 1),
        owner=None,
        wanted={FILE: Text("new")},
        present={FILE: Text("new" if same else "old")},
        trial=seen(),
        here={},
        live=live,
        answers=Answers(),
        unfinished=unfinished,
        ours=ours,
    )


def live(clients: int = 0, reload: Any = None, restart: Any = None) -> Live:
    return Live(PROCESS, seen(clients), reload or {}, restart or {})


@pytest.mark.parametrize(
    ("found", "wish", "plan"),
    [
        (state(live=live()), {}, Plan((), {})),
        (state(), {}, Plan(("start",), {})),
        (state(same=False), {}, Plan(("place", "start"), {})),
        (state(same=False, live=live(9)), {}, Plan(("place", "reload"), {})),
        (state(live=live(9, reload=QUEUE)), {}, Plan(("reload",), {})),
        (state(live=live(9), unfinished=True), {}, Plan(("reload",), {})),
        # Waiting for a restart is no step.
        (state(live=live(0, restart=PORT)), {}, Plan((), PENDING)),
        (state(live=live(9, restart=PORT), same=False), {}, Plan(("place", "reload"), PENDING)),
        (state(live=live(9, restart=PORT)), {"restart": "when_idle"}, Plan((), PENDING)),
        (state(live=live(0, restart=PORT)), {"restart": "when_idle"}, Plan(("restart",), {})),
        (state(live=live(9, restart=PORT)), {"restart": "allowed"}, Plan(("restart",), {})),
        # Taking over.
        (state(live=live(0, restart=PORT), same=False, ours=False), {}, Plan(("place", "restart"), {})),
        (state(live=live(1, restart=PORT), same=False, ours=False), {}, Plan(("place", "reload"), PENDING)),
        # One that does not answer may have clients.
        (
            state(live=Live(PROCESS, None, {}, {"console": ("silent", "answers")}), same=False),
            {"restart": "when_idle"},
            Plan(("place",), {"console": "runs with 'silent', 'answers' is wanted"}),
        ),
        (
            state(live=Live(PROCESS, None, {}, {"console": ("silent", "answers")})),
            {"restart": "allowed"},
            Plan(("restart",), {}),
        ),
        (state(live=live(9)), {"state": "reloaded"}, Plan(("reload",), {})),
        (state(live=live(9)), {"state": "restarted"}, Plan(("restart",), {})),
        (state(), {"state": "restarted"}, Plan(("start",), {})),
        (state(same=False, live=live(9)), {"state": "stopped"}, Plan(("stop",), {})),
        (state(same=False), {"state": "stopped"}, Plan((), {})),
    ],
)
def test_steps(found: State, wish: dict[str, Any], plan: Plan) -> None:
    assert make_plan(request([database("app")], **wish), found) == plan


def settings(**values: str) -> dict[str, Setting]:
    return {name: Setting(value, name != "listen_port") for name, value in values.items()}


def test_what_is_different() -> None:
    running = Seen(
        settings(pool_mode="session", listen_port="6432", auth_file="/a", gone="1", same="x"),
        {"app": {"name": "app", "pool_size": "1"}, "old": {"name": "old"}},
        {"bob": {"name": "bob", "pool_mode": None}, "eve": {"name": "eve", "pool_mode": "session"}},
        0,
    )
    wanted = Seen(
        settings(pool_mode="transaction", listen_port="1", auth_file="/trial", same="x", new="1"),
        {"app": {"name": "app", "pool_size": "2"}, "shop": {"name": "shop"}},
        {"bob": {"name": "bob", "pool_mode": "session"}},
        0,
    )
    reload, restart = differences(running, wanted, {"listen_port": "6433", "auth_file": "/a"}, {"bob": {}})
    assert restart == {"listen_port": ("6432", "6433")}
    assert reload == {
        "pool_mode": ("session", "transaction"),
        "database app": ("pool_size=1", "pool_size=2"),
        "database shop": ("missing", "there"),
        "database old": ("there", "missing"),
        "user bob": ("", "pool_mode=session"),
    }
    assert differences(wanted, wanted, {}, {"bob": {}}) == ({}, {})


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("2026-11-21 07:31:10.688 UTC [1] LOG up\n2026-11-21 07:31:10.688 UTC [1] FATAL no\n", "FATAL no"),
        ("2026-11-21 07:31:10.688 UTC [1] LOG up\n", "LOG up"),
        ("a\n\na\nb\n", "a; b"),
        ("", ""),
    ],
)
def test_words(said: str, told: str) -> None:
    assert telling(said) == told
    assert telling(said, complaints_only=True) == (told if "FATAL" in told else "")
