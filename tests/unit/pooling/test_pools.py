# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Do the pools fit? Sums done by hand, and a bound that holds for whatever is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.pools import (
    Limits,
    Pool,
    budgets,
    check_budgets,
    pool_of,
)

from .requests import database, request

HERE = ("192.0.2.1", 5432)


@pytest.mark.parametrize(
    ("options", "settings", "pool"),
    [
        ({}, {}, Pool(20, 5, 26)),
        ({"pool_size": 10, "reserve_pool_size": 0}, {}, Pool(10, 0, 11)),
        ({"users": 3}, {"default_pool_size": 4, "reserve_pool_size": 1}, Pool(4, 1, 16)),
        ({"users": 3, "max_connections": 9}, {}, Pool(20, 5, 9)),
        ({"reserve_pool_size": 0}, {"reserve_pool_size": 7}, Pool(20, 0, 21)),
    ],
)
def test_sizes_of_one_database(options: dict[str, Any], settings: dict[str, Any], pool: Pool) -> None:
    wish = request([database("app", **options)], settings=settings)
    assert pool_of(wish.databases[0], wish) == pool


def test_nothing_is_added_for_lookups_where_there_are_none() -> None:
    verifier = "SCRAM-SHA-256$4096:c2FsdA==$" + "A" * 43 + "=:" + "B" * 43 + "="
    wish = request([database("app")], lookup_role="", userlist={"alice": verifier})
    assert pool_of(wish.databases[0], wish).cap == 25


def test_the_sum_in_the_message() -> None:
    wish = request(
        [
            database("app", pool_size=10, poolers=2),
            database("shop", users=2, pool_size=8),
            database("far", host="192.0.2.2"),
        ],
        settings={"reserve_pool_size": 2},
        kept_connections=7,
    )
    # 10 + 2 + 1 and 2 x (8 + 2) + 1, twice.
    limits = {HERE: Limits(80, 3, 2)}
    found = budgets(wish, limits)
    assert [(budget.wanted, budget.available) for budget in found] == [(68, 68)]
    check_budgets(found)
    with pytest.raises(Refused) as caught:
        check_budgets(budgets(wish, {HERE: Limits(79, 3, 2)}))
    error = caught.value
    assert error.code == "pools-exceed-server"
    assert "2 x (app 13 + shop 21) = 68 connections to 192.0.2.1:5432, which has 67" in error.happened
    assert "(max_connections 79 - 5 reserved - 7 kept for others)" in error.happened
    assert "Take 1 away" in error.remedy and "max_connections to 80" in error.remedy
    assert error.details["databases"] == {"app": 13, "shop": 21}


def test_a_database_with_several_hosts_may_be_wholly_on_one() -> None:
    wish = request([database("app", host="192.0.2.1, 192.0.2.2")])
    limits = {HERE: Limits(100), ("192.0.2.2", 5432): Limits(30)}
    assert [budget.wanted for budget in budgets(wish, limits)] == [26, 26]
    with pytest.raises(Refused) as caught:
        check_budgets(budgets(wish, limits))
    assert "192.0.2.2:5432" in caught.value.happened


@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 50), st.integers(0, 20), st.integers(1, 5)), min_size=1, max_size=5
    ),
    poolers=st.integers(1, 4),
    kept=st.integers(0, 50),
    most=st.integers(1, 2000),
)
def test_what_passes_can_never_need_more_than_there_is(
    sizes: list[tuple[int, int, int]], poolers: int, kept: int, most: int
) -> None:
    databases = [
        database(f"d{number}", pool_size=size, reserve_pool_size=reserve, users=users, poolers=poolers)
        for number, (size, reserve, users) in enumerate(sizes)
    ]
    wish = request(databases, kept_connections=kept)
    worst = poolers * sum(users * (size + reserve) + 1 for size, reserve, users in sizes)
    fits = worst + kept + 3 <= most
    found = budgets(wish, {HERE: Limits(most)})
    if fits:
        check_budgets(found)
    else:
        with pytest.raises(Refused):
            check_budgets(found)
