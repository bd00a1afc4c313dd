# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which index does another one's work: properties that hold for any set of indexes on a table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.cover import (
    backs,
    covers,
    drops,
    needed,
    settled,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.facts import (
    Index,
    plain_tree,
    split_trees,
)
from tests.unit.report.index_facts import database, foreign_key, index


@st.composite
def indexes(draw: Any) -> tuple[Index, ...]:
    """Up to seven indexes on three columns, with all that decides about cover."""
    made = []
    for oid in range(1, draw(st.integers(2, 7)) + 1):
        columns = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True))
        made.append(
            index(
                oid,
                *columns,
                options=tuple(draw(st.sampled_from([0, 3])) for _column in columns),
                include=tuple(draw(st.lists(st.integers(1, 3), max_size=1))),
                predicate=draw(st.sampled_from([None, None, "{P}"])),
                unique=draw(st.booleans()),
                immediate=draw(st.sampled_from([True, True, False])),
                nulls_not_distinct=draw(st.booleans()),
                valid=draw(st.sampled_from([True, True, True, False])),
                identity=draw(st.sampled_from([False, False, False, True])),
                owned=draw(st.sampled_from([False, False, False, True])),
            )
        )
    return tuple(made)


def does_the_work(by: Index, gone: Index) -> bool:
    """Said another way than the rule: every prefix that ``gone`` finds, orders or enforces, ``by`` does as well."""
    keys = [(key.column, option) for key, option in zip(gone.keys, gone.options)]
    theirs = [(key.column, option) for key, option in zip(by.keys, by.options)]
    turned = [(column, 3 - option) for column, option in theirs]
    stored = {key.column for key in by.keys} | set(by.include)
    reads = theirs[: len(keys)] == keys or turned[: len(keys)] == keys
    enforces = not gone.unique or (
        by.unique
        and len(by.keys) == len(gone.keys)
        and (by.immediate or not gone.immediate)
        and (by.nulls_not_distinct or not gone.nulls_not_distinct)
    )
    return bool(
        by.valid and by.predicate == gone.predicate and reads and enforces and set(gone.include) <= stored
    )


@given(indexes())
def test_the_set_is_safe_as_a_whole(made: tuple[Index, ...]) -> None:
    facts = database(*made)
    found = settled(drops(facts))
    gone = {cover.gone.oid for cover in found}
    assert len(gone) == len(found)
    assert not gone & set(needed(facts))
    for cover in found:
        assert cover.by.oid not in gone, "what covers it goes itself"
        assert does_the_work(cover.by, cover.gone)


@given(indexes())
def test_what_is_left_has_nothing_that_could_still_go(made: tuple[Index, ...]) -> None:
    """A second look at what remains proposes nothing: one run is enough."""
    facts = database(*made)
    gone = {cover.gone.oid for cover in drops(facts)}
    assert drops(database(*(one for one in made if one.oid not in gone))) == []


@given(indexes())
def test_cover_is_transitive(made: tuple[Index, ...]) -> None:
    for one in made:
        for two in made:
            for three in made:
                if one.oid != three.oid and covers(two, one) and covers(three, two):
                    assert covers(three, one)


@given(indexes(), st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True))
def test_no_foreign_key_loses_its_support(made: tuple[Index, ...], columns: list[int]) -> None:
    facts = database(*made, constraints=(foreign_key(*columns),))
    (constraint,) = facts.constraints
    gone = {cover.gone.oid for cover in drops(facts)}
    before = [one for one in made if backs(facts, one, constraint)]
    assert not before or [one for one in before if one.oid not in gone]


@pytest.mark.parametrize(
    ("changes", "backed"),
    [
        ({}, True),
        ({"method": "hash"}, True),
        ({"method": "brin"}, False),
        ({"valid": False}, False),
        ({"predicate": "{OPEXPR}"}, False),
        (
            {
                "predicate": "{NULLTEST :arg {VAR :varno 1 :varattno 1 :varnullingrels (b) :varlevelsup 0}"
                " :nulltesttype 1 :argisrow false}"
            },
            True,
        ),
        (
            {
                "predicate": "{NULLTEST :arg {VAR :varno 1 :varattno 2 :vartype 23 :varlevelsup 0}"
                " :nulltesttype 1 :argisrow false}"
            },
            False,
        ),
    ],
)
def test_what_backs_a_foreign_key(changes: dict[str, Any], backed: bool) -> None:
    facts = database(index(1, 1, **changes), constraints=(foreign_key(1),))
    assert backs(facts, facts.indexes[0], facts.constraints[0]) is backed


def test_trees_are_cut_where_their_members_end() -> None:
    trees = (
        r"({FUNCEXPR :args ({VAR :varattno 1}) :location 30} {CONST :name a\}b\ c :location -1} {X :y (1 2)})"
    )
    assert split_trees(trees) == [
        "{FUNCEXPR :args ({VAR :varattno 1}) :location 30}",
        r"{CONST :name a\}b\ c :location -1}",
        "{X :y (1 2)}",
    ]
    assert plain_tree("{A :relabelformat 2 :location 12}") == plain_tree("{A :relabelformat 1 :location -1}")
    assert plain_tree("{A :opno 96 :location 1}") != plain_tree("{A :opno 97 :location 1}")
