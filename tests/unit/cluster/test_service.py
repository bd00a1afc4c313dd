# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which commands start and stop a server, with each manager and with and without root."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.service import (
    check_powers,
    start_commands,
    stop_commands,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

UNIT = "postgresql@15-main.service"


def config(manager: str, **more: Any) -> ClusterConfig:
    return ClusterConfig.from_dict(
        {
            "format": 1,
            "cluster": "main",
            "version": "15",
            "data_directory": "/d/main",
            "bin_directory": "/b",
            "socket_directory": "/run/s",
            "state_directory": "/s",
            "service": {"manager": manager, "unit": UNIT},
            **more,
        },
        source="a test",
    )


def lines(commands: list[Any]) -> list[tuple[str, bool]]:
    return [(" ".join(command.argv), command.privileged) for command in commands]


def test_systemd_starts_also_after_too_many_failures() -> None:
    assert lines(start_commands(config("systemd"), 60)) == [
        (f"systemctl reset-failed {UNIT}", True),
        (f"systemctl start {UNIT}", True),
    ]


def test_a_unit_that_believes_its_dead_server_alive_is_restarted() -> None:
    assert lines(start_commands(config("systemd"), 60, unit_active=True))[-1] == (
        f"systemctl restart {UNIT}",
        True,
    )


@pytest.mark.parametrize("root", [True, False])
def test_pg_ctlcluster_never_goes_through_systemd(root: bool) -> None:
    assert lines(start_commands(config("pg_ctlcluster"), 60, root=root)) == [
        ("pg_ctlcluster --skip-systemctl-redirect 15 main start", root)
    ]
    assert lines(stop_commands(config("pg_ctlcluster"), "fast", 60, root=root)) == [
        ("pg_ctlcluster --skip-systemctl-redirect -m fast 15 main stop -- -t 60", root)
    ]


def test_pg_ctl_gives_the_log_and_quotes_the_settings_file() -> None:
    commands = start_commands(config("pg_ctl", config_file="/etc/my conf/it's.conf"), 60)
    assert len(commands) == 1 and not commands[0].privileged
    argv = commands[0].argv
    assert argv[:2] == ("/b/pg_ctl", "start")
    assert argv[argv.index("-l") + 1] == "/s/server.log"
    # pg_ctl hands the options to a shell.
    assert shlex.split(argv[argv.index("-o") + 1]) == ["-c", "config_file=/etc/my conf/it's.conf"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("fast", [(f"systemctl stop {UNIT}", True)]),
        (
            "immediate",
            [("/b/pg_ctl stop -D /d/main -s -m immediate -W", False), (f"systemctl stop {UNIT}", True)],
        ),
        ("smart", [("/b/pg_ctl stop -D /d/main -s -m smart -W", False), (f"systemctl stop {UNIT}", True)]),
    ],
)
def test_systemd_learns_of_every_stop(mode: str, expected: list[tuple[str, bool]]) -> None:
    assert lines(stop_commands(config("systemd"), mode, 60)) == expected


@pytest.mark.parametrize("mode", ["fast", "immediate", "smart"])
def test_pg_ctl_stops_as_the_owner(mode: str) -> None:
    assert lines(stop_commands(config("pg_ctl"), mode, 60)) == [
        (f"/b/pg_ctl stop -D /d/main -s -m {mode} -W", False)
    ]


def test_a_unit_needs_root_and_nothing_else_does() -> None:
    check_powers(config("systemd"), "stop it", root=True)
    check_powers(config("pg_ctl"), "stop it", root=False)
    check_powers(config("pg_ctlcluster"), "stop it", root=False)
    with pytest.raises(Refused) as caught:
        check_powers(config("systemd"), "stop it", root=False)
    assert caught.value.code == "needs-root"
    assert UNIT in caught.value.happened and "as root" in caught.value.remedy
