# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Names of tables in a record, and comparing two records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.rows import (
    TableRows,
    compare,
    from_record,
    known_level,
    split_key,
    table_key,
    to_record,
)

NAMES = st.text(min_size=1, max_size=63)


@given(NAMES, NAMES)
def test_a_key_means_one_table_only(schema: str, table: str) -> None:
    assert split_key(table_key(schema, table)) == (schema, table)


@pytest.mark.parametrize(
    ("schema", "table", "key"),
    [
        ("public", "orders", "public.orders"),
        ("public", "Orders", 'public."Orders"'),
        ("a.b", 'c"d', '"a.b"."c""d"'),
        ("日本", "x\ny", '"日本"."x\ny"'),
    ],
)
def test_keys(schema: str, table: str, key: str) -> None:
    assert table_key(schema, table) == key


@pytest.mark.parametrize("key", ["", "a", "a.b.c", 'a."b', "A.b", '"".b'])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="is no table's key"):
        split_key(key)


@pytest.mark.parametrize(
    ("was", "now", "agree"),
    [
        (TableRows(1), TableRows(1), True),
        (TableRows(1), TableRows(2), False),
        (TableRows(1), None, False),
        (TableRows(1, "h2:01"), TableRows(1), True),
        (TableRows(1), TableRows(1, "h2:01"), True),
        (TableRows(1, "h2:01"), TableRows(1, "h2:02"), False),
        (TableRows(1, "h2:01"), TableRows(2, "h2:01"), False),
        # Made by a version that digested otherwise: only the number says something.
        (TableRows(1, "h1:01"), TableRows(1, "h2:02"), True),
    ],
)
def test_what_agrees(was: TableRows, now: TableRows | None, agree: bool) -> None:
    assert was.agrees(now) is agree


def test_what_can_be_proven() -> None:
    full, number, old = TableRows(1, "h2:01"), TableRows(1), TableRows(1, "h1:01")
    assert [known_level(one) for one in ([], [full], [full, number], [old], [number])] == [
        "none",
        "digest",
        "count",
        "count",
        "count",
    ]


def test_comparing() -> None:
    was = {
        "public.a": TableRows(1, "h2:01"),
        "public.b": TableRows(2, "h2:02"),
        "public.c": TableRows(3, "h2:03"),
    }
    now = {
        "public.a": TableRows(1, "h2:01"),
        "public.b": TableRows(2, "h2:ff"),
        "public.d": TableRows(0, "h2:00"),
    }
    assert [(item.table, item.found) for item in compare(was, now)] == [
        ("public.b", TableRows(2, "h2:ff")),
        ("public.c", None),
    ]
    assert compare(was, now, only=["public.a", "public.d"]) == []
    assert from_record(to_record(was)) == was
