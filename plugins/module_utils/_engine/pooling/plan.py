# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The fewest steps from what is to what is wanted. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .request import PoolerRequest
from .state import Live, State


@dataclass(frozen=True)
class Plan:
    """``steps`` of place, start, reload, restart, stop, in order. ``pending`` waits for a restart: name -> why."""

    steps: tuple[str, ...]
    pending: dict[str, str]


def make_plan(request: PoolerRequest, state: State) -> Plan:
    """What is to be done. Pure."""
    live = state.live
    if request.state == "stopped":
        return Plan(("stop",) if live else (), {})
    steps = ["place"] if state.changed_files else []
    if live is None:
        return Plan((*steps, "start"), {})
    if request.state == "restarted" or (live.restart and may_restart(request, state, live)):
        return Plan((*steps, "restart"), {})
    wanted = steps or state.unfinished or live.reload or request.state == "reloaded"
    if wanted and live.seen is not None:
        steps.append("reload")
    pending = {
        name: f"runs with {before!r}, {after!r} is wanted" for name, (before, after) in live.restart.items()
    }
    return Plan(tuple(steps), pending)


def may_restart(request: PoolerRequest, state: State, live: Live) -> bool:
    """Whether clients may be disconnected for a setting. One that cannot be asked may have clients. Pure."""
    if request.restart == "allowed":
        return True
    idle = live.seen is not None and live.seen.clients == 0
    return idle and (request.restart == "when_idle" or not state.ours)
