# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Candidates of what pg_qualstats has seen."""

from __future__ import annotations

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.draft import Create
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.missing.predicates import (
    Seen,
    judged,
)
from tests.unit.report.index_facts import database, index, table

EQUAL, LESS = 3, 1


FACTS = database(index(10, 1), tables={1: table(1, rows=50_000.0), 2: table(2, rows=500.0)})


def of(*seen: Seen) -> dict[Create, float]:
    return {wish: one.sample_share for wish, one in judged(FACTS, seen, 0.01, 10_000).items()}


def test_comparisons_of_one_statement_are_one_candidate() -> None:
    found = of(Seen("q", "g", 1, 2, EQUAL, 5, 250_000, 249_000), Seen("q", "g", 1, 3, LESS, 5, 1000, 10))
    assert found == {Create(1, (2,)): 0.01, Create(1, (2, 3)): 0.01}


def test_what_keeps_most_rows_is_worth_nothing() -> None:
    assert of(Seen("q", "g", 1, 2, EQUAL, 5, 250_000, 50_000)) == {}
    assert of(Seen("q", "g", 1, 2, EQUAL, 5, 2_000, 1_900)) == {}


def test_what_is_indexed_or_small_is_left_out() -> None:
    assert of(Seen("q", "g", 1, 1, EQUAL, 5, 250_000, 249_000)) == {}
    assert of(Seen("q", "g", 2, 2, EQUAL, 5, 250_000, 249_000)) == {}


def test_statements_add_up() -> None:
    found = judged(
        FACTS,
        [Seen("q", "g", 1, 2, EQUAL, 5, 250_000, 249_000), Seen("r", "g", 1, 2, EQUAL, 2, 90_000, 89_000)],
        0.5,
        10_000,
    )
    one = found[Create(1, (2,))]
    assert (one.queryids, one.occurrences, one.filtered) == (("q", "r"), 7, 338_000)
