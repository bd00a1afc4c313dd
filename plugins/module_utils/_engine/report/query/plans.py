# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Generic plans of the worst statements, on request: planned, never executed (PostgreSQL 16 and later)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..session import Look
from . import text

FROM_VERSION = 160000
#: How long planning one statement may take.
SECONDS = 2
#: What may be planned; of a utility statement there is no plan, or it holds what must not be shown.
_PREPARE = (
    f"SET statement_timeout = '{SECONDS}s'",
    'SET search_path = "$user", public',
)


def generic_plan(look: Look, statement: str, name: str) -> dict[str, Any] | None:
    """The plan's shape of a statement as pg_stat_statements has it, in the database that is connected; or None.

    Only nodes, relations, indexes, estimated rows and costs are kept: conditions may hold values.
    """
    parts = text.tokens(statement)
    if not parts or text.is_utility(parts) or not text.is_single(statement) or len(statement) >= text.LONGEST:
        return None
    what = f"the generic plan of statement {name}"
    for prepared in _PREPARE:
        look.ask(prepared, what=what)
    rows = look.ask("EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + statement, what=what)
    if not rows:
        return None
    found = rows[0][0]
    root = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    nodes = list(_nodes(root, 0))
    shape = "\n".join(
        f"{depth} {kind} {relation} {index}" for depth, kind, relation, index, _rows, _cost in nodes
    )
    return {
        "shape": hashlib.sha256(shape.encode()).hexdigest()[:12],
        "cost": root.get("Total Cost"),
        "nodes": [
            {"depth": depth, "node": kind, "relation": relation, "index": index, "rows": rows_, "cost": cost}
            for depth, kind, relation, index, rows_, cost in nodes
        ],
    }


def _nodes(
    plan: Mapping[str, Any], depth: int
) -> Iterator[tuple[int, str, str | None, str | None, Any, Any]]:
    kind = str(plan.get("Node Type"))
    if plan.get("Join Type") not in (None, "Inner"):
        kind = f"{kind} ({plan['Join Type']})"
    relation = plan.get("Relation Name")
    if relation and plan.get("Schema"):
        relation = f"{plan['Schema']}.{relation}"
    yield depth, kind, relation, plan.get("Index Name"), plan.get("Plan Rows"), plan.get("Total Cost")
    for child in plan.get("Plans", ()):
        yield from _nodes(child, depth + 1)
