# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the role postgresql makes of a primary and its standby: rendered by Ansible, nothing is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLE = Path(__file__).resolve().parents[3] / "roles/postgresql"
LOADER = DataLoader()
FIVE = {"max_connections", "max_worker_processes", "max_wal_senders"}

PRIMARY = {
    "postgresql_tuning": "oltp",
    "postgresql_connections": 250,
    "postgresql_settings": {"max_wal_senders": 30},
    "__postgresql_host": {
        "facts": {"memory_bytes": 64 << 30, "cpus": 16, "version": 17},
        "previous": None,
    },
}
STANDBY = {
    "postgresql_primary": "p",
    "postgresql_tuning": "mixed",
    "__postgresql_host": {"facts": {"memory_bytes": 8 << 30, "cpus": 2, "version": 17}, "previous": None},
    "__postgresql_configuration": {"pending_restart": [{"name": "max_connections"}, {"name": "port"}]},
}


def load(path: str) -> dict[str, Any]:
    found: dict[str, Any] = LOADER.load_from_file(str(ROLE / path), trusted_as_template=True)
    return found


def render(name: str, variable: str, **hosts: dict[str, Any]) -> Any:
    """A variable of the role on one of the hosts."""
    variables = {
        **load("defaults/main.yml"),
        **load("vars/main.yml"),
        **hosts[name],
        "hostvars": hosts,
        "inventory_hostname": name,
        "ansible_play_hosts": list(hosts),
    }
    return Templar(loader=LOADER, variables=variables).template(variables[variable])


def values(tuned: dict[str, Any]) -> dict[str, int]:
    return {item["name"]: int(item["value"]) for item in tuned["settings"] if item["name"] in FIVE}


def test_a_standby_has_at_least_what_its_primary_will_have() -> None:
    primary = values(render("p", "__postgresql_tuned", p=PRIMARY, s=STANDBY))
    assert primary == {"max_connections": 250, "max_wal_senders": 30, "max_worker_processes": 20}
    minima = render("s", "__postgresql_minima", p=PRIMARY, s=STANDBY)
    assert {name: int(value) for name, value in minima.items()} == primary
    assert values(render("s", "__postgresql_tuned", p=PRIMARY, s=STANDBY)) == primary


def test_a_primary_that_is_not_in_the_run_is_not_asked() -> None:
    away = {name: value for name, value in PRIMARY.items() if not name.startswith("__")}
    assert render("s", "__postgresql_minima", p=away, s=STANDBY) == {}
    assert values(render("s", "__postgresql_tuned", p=away, s=STANDBY))["max_connections"] == 100


@pytest.mark.parametrize(
    ("standby", "behind"),
    [
        (STANDBY, ["max_connections"]),
        ({**STANDBY, "__postgresql_configuration": {"pending_restart": [{"name": "port"}]}}, []),
        ({**STANDBY, "postgresql_primary": "other"}, []),
        ({"postgresql_primary": "p"}, []),
    ],
)
def test_a_primary_waits_for_standbys_that_could_not_be_restarted(
    standby: dict[str, Any], behind: list[str]
) -> None:
    assert render("p", "__postgresql_standbys_behind", p=PRIMARY, s=standby) == behind


def test_standbys_are_restarted_by_the_handler_that_comes_first() -> None:
    handlers = [handler["name"] for handler in LOADER.load_from_file(str(ROLE / "handlers/main.yml"))]
    first = render("s", "__postgresql_restart_handler", p=PRIMARY, s=STANDBY)
    second = render("p", "__postgresql_restart_handler", p=PRIMARY, s=STANDBY)
    assert handlers.index(first) < handlers.index(second)
