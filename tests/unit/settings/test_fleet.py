# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A standby keeps as much as its primary has."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.fleet import (
    held_up,
    missing,
    with_lines,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.text import parse


@pytest.mark.parametrize(
    ("value", "floor", "result"),
    [("100", 200, "200"), ("200", 200, "200"), ("300", 200, "300"), ("100", 0, "100")],
)
def test_one_of_the_five(value: str, floor: int, result: str) -> None:
    text, raised = held_up(f"# said\nmax_connections = {value}\nwork_mem = 4MB\n", {"max_connections": floor})
    found = {line.name: line.value for line in parse(text)[0]}
    assert found == {"max_connections": result, "work_mem": "4MB"}
    assert raised == ({"max_connections": floor} if value != result else {})
    assert held_up(text, {"max_connections": floor}) == (text, {})


def test_settings_that_no_file_names() -> None:
    floor = {"max_wal_senders": 20, "max_connections": 100, "max_worker_processes": 9}
    more = missing(["max_worker_processes"], floor)
    assert more == {"max_wal_senders": 20}
    assert {line.name: line.value for line in parse(with_lines("", more))[0]} == {"max_wal_senders": "20"}
