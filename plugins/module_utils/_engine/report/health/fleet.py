# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What shows only across the nodes of one cluster: settings that differ, roles, standbys that are missing. Pure.

Runs on the controller, over the results of pg_health_info of the nodes of one cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..finding import CRITICAL, HIGH, INSUFFICIENT, LOW, MEASURED, Finding, Says

#: A standby with less of them than its primary does not start, or stops (manual, "Hot Standby", parameters).
_NOT_LESS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)


def across(
    results: Sequence[tuple[str, Mapping[str, Any] | None]], expected: Sequence[str] = ()
) -> list[Finding]:
    """Findings HC31 to HC34. ``results``: (name of the node, its result, or None where it could not be asked).

    ``expected``: names of standbys that must be there; each must be streaming, by its application name, or be one of
    the nodes that were asked.
    """
    seen = [(name, result) for name, result in results if result is not None]
    if not seen:
        return []
    blind = tuple(name for name, result in results if result is None)
    system_id = str(seen[0][1]["node"]["system_id"])
    return [
        *_roles(seen, blind, system_id),
        *_drift(seen, system_id),
        *_less(seen, system_id),
        *_missing(seen, system_id, expected),
    ]


def _role(result: Mapping[str, Any]) -> str:
    return str(result["node"]["role"])


def _roles(
    seen: Sequence[tuple[str, Mapping[str, Any]]], blind: tuple[str, ...], system_id: str
) -> list[Finding]:
    primaries = [name for name, result in seen if _role(result) == "primary"]
    if len(primaries) == 1:
        return []
    sure = bool(primaries) or not blind
    return [
        Finding(
            "HC33",
            system_id,
            CRITICAL,
            MEASURED if sure else INSUFFICIENT,
            "",
            {"kind": "cluster"},
            Says(
                "HC33_two" if primaries else "HC33_none",
                {"nodes": primaries or [name for name, _one in seen]},
            ),
            nodes=tuple(primaries) or tuple(name for name, _one in seen),
            value={"primaries": len(primaries)},
            missing=() if sure else (Says("nodes", {"nodes": list(blind)}),),
        )
    ]


def _drift(seen: Sequence[tuple[str, Mapping[str, Any]]], system_id: str) -> list[Finding]:
    """Settings that are not the same on all nodes; what belongs to a host or a role is not in the facts."""
    names = sorted({name for _node, result in seen for name in result["facts"].get("settings", {})})
    found = []
    for name in names:
        values = {node: result["facts"].get("settings", {}).get(name) for node, result in seen}
        if len(set(values.values())) > 1 and len(seen) > 1:
            shown = [f"{node}: {'(default)' if value is None else value}" for node, value in values.items()]
            found.append(
                Finding(
                    "HC31",
                    system_id,
                    LOW,
                    MEASURED,
                    "",
                    {"kind": "setting", "name": name},
                    Says("HC31", {"name": name, "values": shown}),
                    nodes=tuple(values),
                    value={"values": values},
                )
            )
    return found


def _less(seen: Sequence[tuple[str, Mapping[str, Any]]], system_id: str) -> list[Finding]:
    primaries = [(name, result) for name, result in seen if _role(result) == "primary"]
    found = []
    for name, result in seen:
        if _role(result) == "primary" or len(primaries) != 1:
            continue
        needed, has = primaries[0][1]["facts"]["capacity"], result["facts"]["capacity"]
        for setting in _NOT_LESS:
            if (has.get(setting) or 0) < (needed.get(setting) or 0):
                value = {"here": has.get(setting), "primary": needed.get(setting)}
                thing = {"kind": "setting", "name": setting, "node": name}
                says = Says("HC32", {"name": setting, "node": name, **value})
                found.append(
                    Finding("HC32", system_id, HIGH, MEASURED, "", thing, says, nodes=(name,), value=value)
                )
    return found


def _missing(
    seen: Sequence[tuple[str, Mapping[str, Any]]], system_id: str, expected: Sequence[str]
) -> list[Finding]:
    streaming = {
        str(standby.get("application_name"))
        for _name, result in seen
        for standby in result["facts"].get("standbys") or []
        if standby.get("state") == "streaming"
    }
    asked = {name for name, result in seen if _role(result) == "standby" and result["facts"].get("receiver")}
    primaries = {name for name, result in seen if _role(result) == "primary"}
    return [
        Finding(
            "HC34",
            system_id,
            CRITICAL,
            MEASURED,
            "",
            {"kind": "standby", "name": name},
            Says("HC34", {"name": name}),
            nodes=tuple(sorted(primaries)),
        )
        for name in expected
        if name not in streaming | asked | primaries
    ]
