# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What statements set, as they are written in pg_stat_statements."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.facts import Key
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.hot import holds, sets
from tests.unit.report.index_facts import index


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE Sales SET note = $1, R = r + $2 WHERE id = $3", [(None, "sales", {"note", "r"})]),
        (
            "update only shop.sales as s set a = f(b, c), d = $1 from x where x.d = $2",
            [("shop", "sales", {"a", "d"})],
        ),
        ('UPDATE "ス"."表 ""x""" SET "列 1" = $1 RETURNING id', [("ス", '表 "x"', {"列 1"})]),
        (
            "UPDATE t SET (a, r) = (SELECT x, y FROM u WHERE z = $1), c[1] = $2",
            [(None, "t", {"a", "r", "c"})],
        ),
        (
            "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = excluded.b",
            [(None, "t", {"b"})],
        ),
        (
            "WITH x AS (UPDATE t SET a = $1 RETURNING a) UPDATE u SET b = $2",
            [(None, "t", {"a"}), (None, "u", {"b"})],
        ),
        ("SELECT * FROM t WHERE a = $1 FOR UPDATE", []),
        ("SELECT 'UPDATE t SET a = 1'", []),
        ("/* UPDATE t SET z = 1 */ SELECT 1", []),
    ],
)
def test_what_a_statement_sets(statement: str, expected: list[tuple[str | None, str, set[str]]]) -> None:
    assert [(one.schema, one.table, set(one.columns)) for one in sets(statement)] == expected


def test_an_index_holds_columns_wherever_it_has_them() -> None:
    tree = "({OPEXPR :args ({VAR :varno 1 :varattno 4 :vartype 23})})"
    expression = Key(0, tree, 1, 23, 0)
    one = index(10, 1)
    one = one._replace(
        keys=(*one.keys, expression), include=(7,), predicate="{NULLTEST :arg {VAR :varno 1 :varattno 9 } }"
    )
    assert holds(one) == {1, 4, 7, 9}
