# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Request and facts in, settings out, each with its reason; and what they add up to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import Refused
from ..core.sizes import format_bytes
from .case import GROUPS, Case, Choice, Rule
from .facts import HostFacts
from .memory import (
    LEAST_PER_CONNECTION,
    active_connections,
    autovacuum_bytes,
    huge_pages_needed,
    limit_bytes,
    promised_bytes,
    room_for_connections,
)
from .request import OFF, Request
from .rules import BY_NAME, FLEET_DEFAULTS, RULES
from .words import reason, warning

FORMAT = 1


def tune(
    request: Request,
    facts: HostFacts,
    previous: Mapping[str, Any] | None = None,
    *,
    language: str = "en",
) -> dict[str, Any]:
    """Settings for one cluster.

    ``previous`` are the ``inputs`` of the configuration that is there (None: there is none): facts within a
    fifth of those count as those, so that the same host gives the same result for ever.

    ============ ==========================================================================================
    ``settings`` list of name, value (text for postgresql.conf), group, reason, source, takes_effect, pinned
    ``budget``   what the settings add up to, in bytes, and as a share of memory
    ``inputs``   what the values came from; to be handed in as ``previous`` next time
    ``warnings`` sentences about what was given by hand and does not go together
    ============ ==========================================================================================

    Raises :class:`Refused`: ``connections-exceed-memory``, ``setting-malformed``.
    """
    before = previous.get("facts") if isinstance(previous, Mapping) else None
    steady = facts.steadied(
        before if isinstance(before, Mapping) else None,
        lambda host: promised_bytes(Case(request, host, BY_NAME)) if request.intent != OFF else 0,
    )
    case = Case(request, steady, BY_NAME)
    _refuse_too_many_connections(case)
    chosen = _chosen(case)
    known = {name: value for name, value in request.pinned.items() if name in BY_NAME}
    return {
        "settings": [_setting(rule, choice, case, language) for rule, choice in chosen],
        "budget": _budget(case) if request.intent != OFF else {},
        "inputs": {
            "format": FORMAT,
            "facts": steady.deciding(),
            # Other given values are no business of ours, and may hold what is nobody's.
            "request": {**request.to_dict(), "pinned": dict(sorted(known.items()))},
        },
        "warnings": [warning(key, about, language) for key, about in _warnings(case, facts)],
    }


def _chosen(case: Case) -> list[tuple[Rule, Choice]]:
    """By group. With the intent off only what a primary demands, where PostgreSQL's default is less."""
    request = case.request
    if request.intent != OFF:
        rules = sorted(RULES, key=lambda rule: GROUPS.index(rule.group))
        return [(rule, choice) for rule in rules if (choice := case.choice(rule.name))]
    demanded = [
        name
        for name, least in request.minima.items()
        if name not in request.pinned and least > FLEET_DEFAULTS[name]
    ]
    return [(rule, Choice(request.minima[rule.name], "primary")) for rule in RULES if rule.name in demanded]


def _setting(rule: Rule, choice: Choice, case: Case, language: str) -> dict[str, Any]:
    pinned = rule.name in case.request.pinned
    return {
        "name": rule.name,
        "value": case.request.pinned[rule.name] if pinned else rule.text(choice.value),
        "group": rule.group,
        "reason": reason(choice.reason, choice.about, language),
        "source": rule.source,
        "takes_effect": rule.takes_effect(case.facts.version),
        "pinned": pinned,
    }


def _refuse_too_many_connections(case: Case) -> None:
    request = case.request
    if not request.connections or request.intent == OFF or "max_connections" in request.pinned:
        return
    room = room_for_connections(case)
    most = room // LEAST_PER_CONNECTION
    # Where nothing is left it is what was given by hand that takes too much: that wins, with a warning.
    if request.connections <= most or most == 0:
        return
    raise Refused(
        "connections-exceed-memory",
        attempted=f"find memory for {request.connections} connections",
        happened=f"even with 1 MB of work_mem each they take more than the"
        f" {format_bytes(room)} that are left of {format_bytes(case.available)}",
        remedy=f"Ask for {most} connections or fewer, and put PgBouncer in front for the rest.",
        details={"connections": request.connections, "most": most},
    )


def _budget(case: Case) -> dict[str, Any]:
    connections, each = case.number("max_connections"), case.number("work_mem")
    autovacuum = autovacuum_bytes(case)
    buffers = case.number("shared_buffers")
    total = buffers + connections * each + autovacuum
    page = case.facts.huge_page_bytes
    return {
        "memory_bytes": case.facts.memory_bytes,
        "other_clusters_bytes": case.facts.other_clusters_memory_bytes,
        "available_bytes": case.available,
        "shared_buffers_bytes": buffers,
        "connections": connections,
        "active_connections": active_connections(case),
        "work_mem_bytes": each,
        "connections_bytes": connections * each,
        "autovacuum_bytes": autovacuum,
        "total_bytes": total,
        "limit_bytes": limit_bytes(case),
        "share": round(total / case.available, 3),
        "huge_pages": {"page_bytes": page, "needed": huge_pages_needed(case)}
        if page and buffers >= 2 << 30
        else {},
    }


def _warnings(case: Case, facts: HostFacts) -> list[tuple[str, dict[str, Any]]]:
    """What was given by hand wins, and what comes of it is said."""
    request, found = case.request, []
    for name, least in sorted(request.minima.items()):
        pinned = case.pinned(name)
        if isinstance(pinned, int) and pinned < least:
            found.append(("below_primary", {"name": name, "value": pinned, "least": least}))
    if request.intent == OFF:
        return found
    budget = _budget(case)
    if budget["total_bytes"] > budget["limit_bytes"]:
        found.append(("over_budget", {"total": budget["total_bytes"], "memory": case.available}))
    if case.facts.other_clusters_memory_bytes > case.facts.memory_bytes * 3 // 4:
        found.append(("crowded", {"others": case.facts.other_clusters_memory_bytes}))
    if "work_mem" not in request.pinned and budget["work_mem_bytes"] < 4 << 20:
        about = {"size": budget["work_mem_bytes"], "connections": budget["connections"]}
        found.append(("little_work_mem", about))
    method = request.pinned.get("io_method", "").strip("' ")
    if method == "io_uring" and not facts.io_uring_usable:
        found.append(("io_uring", {"obstacle": facts.io_uring_obstacle or "not looked at"}))
    if request.data_bytes and facts.data_bytes and facts.data_bytes > request.data_bytes * 5 // 4:
        found.append(("data_outgrown", {"data": facts.data_bytes, "said": request.data_bytes}))
    return found
