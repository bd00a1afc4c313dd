# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A change takes effect with the least that it needs; a mistake changes nothing and is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.playbook_runs import playbook
from tests.server_hosts import servers, site

CONFIGURE = "dbkeeper.ops.postgresql : Configure | Give the cluster its settings and access rules"
RESTART = "dbkeeper.ops.postgresql : Restart PostgreSQL"


def started() -> list[str]:
    return [server.started() for server in servers()]


def show(setting: str) -> set[str]:
    return {server.show(setting) for server in servers()}


def everywhere(*tasks: str) -> set[tuple[str, str]]:
    return {(server.name, task) for server in servers() for task in tasks}


def test_a_reload_is_enough() -> None:
    before = started()
    run = site({"work_mem": "7MB"})
    assert run.status == 0, run.out
    assert run.changed == everywhere(CONFIGURE)
    assert show("work_mem") == {"7MB"} and started() == before


def test_a_restart_is_reported_and_done_only_when_allowed() -> None:
    before = started()
    run = site({"max_connections": 120})
    assert run.status == 0, run.out
    assert run.changed == everywhere(CONFIGURE)
    assert "max_connections" in run.out.partition("[WARNING]")[2]
    assert show("max_connections") == {"100"} and started() == before
    for server in servers():
        pending = server.check()["restart"]
        assert pending["state"] == "warning" and "max_connections" in pending["text"]
    run = site({"max_connections": 120}, postgresql_restart="allowed")
    assert run.status == 0, run.out
    assert run.changed == everywhere(CONFIGURE, RESTART)
    assert show("max_connections") == {"120"} and all(a != b for a, b in zip(started(), before))
    run = site(postgresql_restart="allowed")
    assert run.status == 0 and show("max_connections") == {"100"}, run.out


HBA: list[dict[str, Any]] = [{"method": "peer"}, {"address": "127.0.0.1/32"}]


@pytest.mark.parametrize(
    ("settings", "variables", "culprit"),
    [
        ({"work_men": "4MB"}, {}, "work_men"),
        ({"work_mem": "1 lightyear"}, {}, "work_mem"),
        (None, {"postgresql_hba": [*HBA, {"user": "web", "address": "300.1.2.3/8"}]}, "300.1.2.3"),
        # It parses, and no server starts with it: seen by the trial, before anything is stopped.
        ({"shared_buffers": "8191GB"}, {"postgresql_restart": "allowed"}, "shared_buffers"),
        (
            {"shared_preload_libraries": "no_such_library"},
            {"postgresql_restart": "allowed"},
            "no_such_library",
        ),
    ],
    ids=["unknown", "value", "address", "memory", "library"],
)
def test_a_mistake_changes_nothing_and_is_named(
    settings: dict[str, Any] | None, variables: dict[str, Any], culprit: str
) -> None:
    before = [(server.started(), server.configuration()) for server in servers()]
    run = site(settings, **variables)
    assert run.status != 0, run.out
    for server in servers():
        told = run.out.partition(f"fatal: [{server.name}]")[2]
        assert culprit in told, run.out
    assert [(server.started(), server.configuration()) for server in servers()] == before
    assert show("work_mem") == {"5MB"}


def test_what_only_the_real_start_shows_is_taken_back() -> None:
    """The trial has no network; an address that the host does not have keeps the real server from starting."""
    before = [server.configuration() for server in servers()]
    run = site({"listen_addresses": "192.0.2.1"}, postgresql_restart="allowed")
    assert run.status != 0, run.out
    for server in servers():
        assert "listen_addresses" in run.out.partition(f"fatal: [{server.name}]")[2], run.out
    assert [server.configuration() for server in servers()] == before
    assert show("listen_addresses") == {"*"}


def test_what_somebody_changed_by_hand_is_seen_and_put_back() -> None:
    for server in servers():
        server.sql("ALTER SYSTEM SET work_mem = '9MB'")
        server.host.check_output(f"sed -i 's/^work_mem = .*/work_mem = 11MB/' {server.settings_file}")
        server.sql("SELECT pg_reload_conf()")
    for server in servers():
        checks = server.check()
        assert checks["settings"]["state"] != "ok" and server.settings_file in checks["settings"]["text"]
        assert checks["overrides"]["state"] != "ok" and "work_mem" in checks["overrides"]["text"]
    run = site()
    assert run.status == 0 and run.changed == everywhere(CONFIGURE), run.out
    assert "work_mem" in run.out.partition("[WARNING]")[2]
    for server in servers():
        server.sql("ALTER SYSTEM RESET work_mem")
        server.sql("SELECT pg_reload_conf()")
    run = playbook("site", "--check", "--diff", "-e", json.dumps({}))
    assert run.status == 0 and run.changed == set(), run.out
    assert show("work_mem") == {"5MB"}
