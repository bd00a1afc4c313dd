# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""SQL about partitioned indexes: what blocks others waits shortly, what is built concurrently as long as it takes."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.apply.plan import waits
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.creating import (
    LIMITED,
    UNLIMITED,
    briefly,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.facts import (
    Column,
    Database,
    Index,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.partitioned import (
    completed,
    taken,
)

from .index_facts import INT, database, index, table

WHOLE = "CREATE INDEX i1 ON ONLY public.t1 USING btree (c1)"
COLUMNS = {1: Column("c1", INT, False, 0), 2: Column("c2", INT, False, 0)}


def tree(*indexes: Index, columns: dict[int, Column] | None = None) -> Database:
    """A partitioned table with two partitions, and "i1" on it, which is invalid."""
    tables = {
        1: table(1, kind="p"),
        2: table(2, parent=1),
        3: table(3, parent=1),
    }
    return database(
        index(10, 1, name="i1", partitioned=True, valid=False),
        *indexes,
        tables=tables,
        columns={1: COLUMNS, 2: columns or COLUMNS, 3: COLUMNS},
    )


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], []),
        (["DROP INDEX a;"], [LIMITED, "DROP INDEX a;", UNLIMITED]),
        (["DROP INDEX CONCURRENTLY a;"], ["DROP INDEX CONCURRENTLY a;"]),
        (
            ["CREATE INDEX CONCURRENTLY a;", "ALTER INDEX a;", "ALTER INDEX b;"],
            ["CREATE INDEX CONCURRENTLY a;", LIMITED, "ALTER INDEX a;", "ALTER INDEX b;", UNLIMITED],
        ),
        (
            ["ALTER INDEX a;", "CREATE UNIQUE INDEX CONCURRENTLY a;", "REINDEX INDEX CONCURRENTLY b;"],
            [LIMITED, "ALTER INDEX a;", UNLIMITED, "CREATE UNIQUE INDEX CONCURRENTLY a;",
             "REINDEX INDEX CONCURRENTLY b;"],
        ),
        # A name decides nothing.
        (['DROP INDEX " CONCURRENTLY ";'], [LIMITED, 'DROP INDEX " CONCURRENTLY ";', UNLIMITED]),
    ],
)  # fmt: skip
def test_only_what_blocks_others_has_a_time_out(statements: list[str], expected: list[str]) -> None:
    assert briefly(statements) == expected
    assert [one for one in expected if not waits(one)] == statements


def test_what_is_missing_is_built_and_attached() -> None:
    facts = tree(index(21, 1, table=2, name="i1_2", parent=10))
    (top,) = [one for one in facts.indexes if one.oid == 10]
    assert taken(facts, top) == []
    assert completed(facts, top, WHOLE) == [
        'CREATE INDEX CONCURRENTLY "t3_c1_idx" ON "public"."t3" USING btree (c1);',
        LIMITED,
        'ALTER INDEX "public"."i1" ATTACH PARTITION "public"."t3_c1_idx";',
        UNLIMITED,
    ]


def test_an_index_that_is_alike_is_taken_and_one_that_is_not_is_not() -> None:
    """Columns count by their names: on a partition they may have other numbers."""
    turned = {1: COLUMNS[2], 2: COLUMNS[1]}
    facts = tree(
        index(21, 2, table=2, name="alike"), index(31, 1, table=3, name="unlike", unique=True), columns=turned
    )
    (top,) = [one for one in facts.indexes if one.oid == 10]
    assert [one.name for one in taken(facts, top)] == ["alike"]
    told = completed(facts, top, WHOLE) or []
    assert 'ALTER INDEX "public"."i1" ATTACH PARTITION "public"."alike";' in told
    assert [one for one in told if one.startswith("CREATE")] == [
        'CREATE INDEX CONCURRENTLY "t3_c1_idx" ON "public"."t3" USING btree (c1);'
    ]
    # What stands for an expression is known by numbers only.
    trees = [one._replace(predicate="{VAR}") for one in facts.indexes]
    placed = tree(*trees[1:], columns=turned)
    assert taken(placed, trees[0]) == []


@pytest.mark.parametrize(
    "definition", ["", "CREATE INDEX i1 ON public.t1 USING btree (c1)", "garbage USING x"]
)
def test_what_is_not_understood_is_not_acted_on(definition: str) -> None:
    facts = tree()
    assert completed(facts, facts.indexes[0], definition) is None
