# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is told of a plan: JSON values, the same keys whether it was executed or not. Pure."""

from __future__ import annotations

from typing import Any

from .plan import Plan
from .pools import budgets, pool_of
from .render import without_secrets
from .request import PoolerRequest
from .settings import number
from .state import State

#: For log, sockets, console and lookups.
_SPARE_DESCRIPTORS = 100


def descriptors(request: PoolerRequest) -> int:
    """Files that the pooler may have open: a client, a server connection and a waiting cancel request each."""
    clients = number(request.settings, "max_client_conn", 1000)
    servers = sum(pool_of(database, request).cap for database in request.databases)
    return clients + 2 * servers + _SPARE_DESCRIPTORS


def result_of(request: PoolerRequest, state: State, plan: Plan, *, executed: bool) -> dict[str, Any]:
    """The result of the module."""
    acts = set(plan.steps) & {"start", "restart"}
    return {
        "changed": bool(plan.steps),
        "executed": executed,
        "plan": list(plan.steps),
        "running": request.state != "stopped" and bool(acts or state.live),
        "version": ".".join(map(str, state.version)) if state.version else None,
        "validated": state.trial is not None,
        "pending_restart": dict(plan.pending),
        "budgets": [budget.to_dict() for budget in budgets(request, state.answers.limits)],
        "file_descriptors": descriptors(request) if request.databases else 0,
        "warnings": _warnings(state, plan),
        "diff": [_diff(path, state) for path in state.changed_files],
    }


def _warnings(state: State, plan: Plan) -> list[str]:
    found = [f"PgBouncer must be restarted for {name}: it {why}" for name, why in plan.pending.items()]
    found += [f"Pools not counted, the server was not asked: {text}" for text in state.answers.silent]
    # Only in check mode is this no refusal.
    found += [f"Verifiers cannot be looked up now: {text}" for text in state.answers.refused]
    return found


def _diff(path: str, state: State) -> dict[str, str]:
    before, after = state.present[path], state.wanted[path]
    return {
        "before_header": path,
        "after_header": path,
        "before": without_secrets(before.text or "")
        + _rights(before.mode, before.uid, before.gid, before.text),
        "after": without_secrets(after.text or "") + _rights(after.mode, after.uid, after.gid, after.text),
    }


def _rights(mode: int, uid: int, gid: int, text: str | None) -> str:
    return "" if text is None else f"# mode {mode:04o}, owner {uid}:{gid}\n"
