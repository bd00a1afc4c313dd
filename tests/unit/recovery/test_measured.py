# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the evidence says a restore cost: nothing that nobody can know."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import format_utc
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.measured import rpo, rto_seconds
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.plan import RestorePlan, make_plan

from . import world

ASKED = {"asked_at": format_utc(world.NOW)}


def plan(live: dict[str, Any] | None = None, **proof: Any) -> RestorePlan:
    made = make_plan(world.request(latest=True), world.proof(**proof), world.backup(), world.state())
    target = {**made.proof["target"], "kind": "latest"}
    return replace(made, proof={**made.proof, "target": target}, live={**made.live, **(live or {})})


def test_time_counts_from_the_first_command_to_the_first_connection() -> None:
    assert rto_seconds({}) is None and rto_seconds(ASKED) is None
    opened = {"open_at": format_utc(world.NOW + timedelta(seconds=7.25))}
    assert rto_seconds({**ASKED, **opened}) == 7.25


STOPPED = {"exists": True, "stranger": None, "running": False, "unarchived_segments": []}


@pytest.mark.parametrize(
    ("live", "complete", "seconds", "at_most"),
    [
        (STOPPED, True, 180.0, 180.0),
        ({**STOPPED, "unarchived_segments": ["0" * 24]}, False, None, 600.0),
        ({**STOPPED, "stranger": "another"}, False, None, 600.0),
        ({**STOPPED, "exists": False}, False, None, 600.0),
        # It went on committing until it was stopped for the swap.
        ({**STOPPED, "running": True, "exists": True, "unarchived_segments": ["0" * 24]}, False, None, 720.0),
    ],
)
def test_work_that_is_lost(
    live: dict[str, Any], complete: bool, seconds: float | None, at_most: float
) -> None:
    """Restored up to ten minutes ago; the newest commit that is known is of seven minutes ago."""
    made = plan(live, last_commit=world.commit(10, 1000), newest_reachable=world.commit(7, 2000))
    data = {**ASKED, "down_since": (world.NOW + timedelta(minutes=2)).timestamp()}
    found = rpo(made, data)
    assert (found["complete"], found["seconds"], found["at_most_seconds"]) == (complete, seconds, at_most)
    assert (found["restored"]["xid"], found["known"]["xid"], found["by_target"]) == (1010, 1007, False)


def test_a_clock_that_was_ahead_makes_no_negative_loss() -> None:
    ahead = world.commit(-30, 1000)
    found = rpo(plan({**STOPPED, "exists": False}, last_commit=ahead, newest_reachable=ahead), ASKED)
    assert found["at_most_seconds"] == 0.0
    assert rpo(plan(STOPPED, last_commit=None, newest_reachable=None), ASKED)["seconds"] is None
