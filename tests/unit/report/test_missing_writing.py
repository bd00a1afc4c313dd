# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What writing statements are run with on a copy, what is not run there, and what an index costs them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.draft import Create
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.facts import Column
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.missing.candidates import Run, Trial
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.missing.measuring import (
    figures,
    literal,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.missing.writing import (
    assigned,
    inserted,
    of_types,
    reaches_out,
    target,
)

from .index_facts import INT, database, table

SALES = table(1, name="sales")
_NAMES = ("id", "customer", "Spalte 1")
_COLUMNS = {number: Column(name, INT, False, 0) for number, name in enumerate(_NAMES, 1)}
FACTS = database(tables={1: SALES}, columns={1: _COLUMNS})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("UPDATE sales SET customer = $1 WHERE id = $2", {1: 2}),
        ('update sales s set customer=$3, "Spalte 1" = $1 from x where customer = $2', {3: 2, 1: 3}),
        ("UPDATE sales SET customer = customer + $1 WHERE id = $2", {}),
        ("UPDATE sales SET customer = $1 + $2, id = $3", {3: 1}),
        ("UPDATE sales SET (customer, id) = ($1, $2)", {}),
        ("UPDATE sales SET customer = (SELECT max(id) FROM t WHERE id = $1), id = $2 RETURNING id", {2: 1}),
        ("INSERT INTO sales VALUES ($1) ON CONFLICT (id) DO UPDATE SET customer = $2", {2: 2}),
        ("DELETE FROM sales WHERE customer = $1", {}),
        ("UPDATE sales SET unknown = $1", {}),
    ],
)
def test_what_a_parameter_is_assigned_to(text: str, expected: dict[int, int]) -> None:
    assert assigned(text, SALES, FACTS) == expected


def plan(operation: str, *output: str, **more: Any) -> dict[str, Any]:
    return {
        "Node Type": "ModifyTable",
        "Operation": operation,
        "Schema": "public",
        "Relation Name": "sales",
        "Plans": [{"Node Type": "Result", "Output": list(output)}],
        **more,
    }


def test_what_an_insert_puts_where() -> None:
    said = ("$2", "($1)::character varying(10)", "NULL::integer", "lower($3)", "(($4))::text")
    assert inserted(plan("Insert", *said)) == {2: 1, 1: 2, 4: 5}
    assert inserted(plan("Update", "$1")) == {}


def test_the_table_that_is_changed() -> None:
    assert target(plan("Delete"), FACTS) == SALES
    assert target({"Node Type": "Seq Scan", "Schema": "public", "Relation Name": "sales"}, FACTS) is None
    assert target(plan("Delete", **{"Relation Name": "other"}), FACTS) is None


def test_nothing_is_asked_of_another_server() -> None:
    near = {"Node Type": "Append", "Plans": [{"Node Type": "Seq Scan"}]}
    far = {"Node Type": "Append", "Plans": [{"Node Type": "Foreign Scan"}]}
    pruned = {**near, "Subplans Removed": 2}
    assert not reaches_out(near, distant=True) and not reaches_out(pruned, distant=False)
    assert reaches_out(far, distant=False) and reaches_out(pruned, distant=True)


def test_values_by_type_where_no_column_tells_one() -> None:
    rows = [("N", "int4", None), ("E", "mood", "すごく 'good'"), ("U", "uuid", None), ("U", "odd", None)]
    assert of_types(rows) == {1: "1", 2: "すごく 'good'", 3: "00000000-0000-4000-8000-000000000000"}
    assert literal(None) == "NULL"


def test_what_a_run_wrote_is_read_from_its_plan() -> None:
    root = {"Shared Hit Blocks": 7, "Shared Read Blocks": 1, "WAL Bytes": 300}
    below = {"Plans": [{"Actual Rows": 1.50, "Actual Loops": 2}]}
    assert figures({"Plan": {**root, **below}, "Execution Time": 0.1234}) == Run(8, 0.123, 300, 3)
    del root["WAL Bytes"]
    assert figures({"Plan": root, "Execution Time": 1}) == Run(8, 1.0)


def test_what_writes_pay_is_a_cost_and_twice_as_much_is_worse() -> None:
    costs = {"insert": (1.0, 1.0), "hot": (2.0, 2.0), "read": (100.0, 10.0)}
    runs = {
        "insert": {"common": (Run(5, 0.1, 200, 1), Run(30, 0.1, 300, 1))},
        "hot": {"rare": (Run(5, 0.1, 100, 2), Run(9, 0.1, 500, 2))},
        "read": {"common": (Run(100, 1.0), Run(5, 0.1))},
    }
    trial = Trial(Create(1, (1,)), 8192, costs, runs)
    assert (trial.writing(), trial.worse(), trial.better(0.5)) == (["insert", "hot"], ["hot"], ["read"])
    assert trial.written() == (300 / 3, 800 / 3)
    assert Trial(Create(1, (1,)), 8192, costs, {"read": runs["read"]}).written() is None
    # One that changed nothing tells nothing of what a change costs.
    idle = {"hot": {"rare": (Run(5, 0.1, 0, 0), Run(5, 0.1, 90, 0))}}
    assert Trial(Create(1, (1,)), 8192, costs, idle).written() is None
