# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which actions bring a server into a wanted state, and when it may be restarted."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.desired import (
    Server,
    actions,
    may_restart,
)

STOPPED = Server(running=False)
RUNNING = Server(running=True)


@pytest.mark.parametrize(
    ("wanted", "server", "expected"),
    [
        ("started", STOPPED, ["start"]),
        ("started", RUNNING, []),
        ("stopped", STOPPED, []),
        ("stopped", RUNNING, ["stop"]),
        ("reloaded", STOPPED, ["start"]),
        ("reloaded", RUNNING, ["reload"]),
        ("restarted", STOPPED, ["start"]),
        ("restarted", RUNNING, ["restart"]),
    ],
)
def test_actions(wanted: str, server: Server, expected: list[str]) -> None:
    assert actions(wanted, server) == expected


@pytest.mark.parametrize(
    ("policy", "pending", "clients", "expected"),
    [
        ("never", ("archive_mode",), 0, False),
        ("when_idle", ("archive_mode",), 0, True),
        ("when_idle", ("archive_mode",), 1, False),
        ("when_idle", (), 0, False),
        ("always", ("archive_mode",), 7, True),
        ("always", (), 7, False),
    ],
)
def test_a_restart_needs_a_reason_and_a_permission(
    policy: str, pending: tuple[str, ...], clients: int, expected: bool
) -> None:
    assert may_restart(policy, Server(running=True, pending=pending, clients=clients)) is expected
