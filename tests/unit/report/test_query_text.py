# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What may be shown of a statement, and that one statement has one fingerprint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.text import (
    fingerprint,
    is_single,
    normalised,
    shown,
    tokens,
)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("SELECT 1", "SELECT ?"),
        ("select  a,\n\tb from t -- secret\n where x = $1", "select a, b from t where x = ?"),
        (
            "SELECT /* se /* nested */ cret */ 'it''s' || E'a\\'b' || $$x$$ || $q$ $$ $q$",
            "SELECT ? || ? || ? || ?",
        ),
        ('SELECT * FROM "It\'s" WHERE "a""b" IN (1, 2,3)', 'SELECT * FROM "It\'s" WHERE "a""b" IN (?)'),
        ("SELECT * FROM t WHERE a IN ($1 /*, ... */)", "SELECT * FROM t WHERE a IN (?)"),
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b'), ($3, $4)", "INSERT INTO t VALUES (?)"),
        ("SELECT ARRAY[1,2], t1.c2, x::text, -1.5e-3, 0xFF, .5", "SELECT ARRAY[?], t1.c2, x::text, -?, ?, ?"),
        ("SELECT U&'\\0441' , N'x', B'01', X'1F'", "SELECT ? , ?, ?, ?"),
        ("SELECT 'never ended", "SELECT ?"),
        ("SELECT $tag$ never ended", "SELECT ?"),
        ("SELECT a->>'k' FROM 表 WHERE 列 = '値'", "SELECT a->>? FROM 表 WHERE 列 = ?"),
        ("SELECT a--b\n", "SELECT a"),
        ("(SELECT 1) UNION (SELECT 2)", "(SELECT ?) UNION (SELECT ?)"),
    ],
)
def test_values_and_comments_are_gone_and_names_stay(given_text: str, expected: str) -> None:
    assert normalised(given_text) == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("CREATE ROLE bob LOGIN PASSWORD 'hunter2'", "CREATE ROLE …"),
        ("alter user bob with password 'hunter2'", "ALTER USER …"),
        ("SET app.hunter2 TO hunter2", "SET …"),
        ("DO $$ hunter2 $$", "DO …"),
        ("CREATE SUBSCRIPTION s CONNECTION 'password=hunter2'", "CREATE SUBSCRIPTION …"),
        ("CREATE USER MAPPING FOR bob SERVER s OPTIONS (password 'hunter2')", "CREATE USER MAPPING …"),
        ("/* hunter2 */ COPY t FROM PROGRAM 'hunter2'", "COPY …"),
        ("COMMENT ON TABLE t IS 'hunter2'", "COMMENT …"),
        ("EXPLAIN SELECT 'hunter2'", "EXPLAIN …"),
        ("hunter2", "utility statement …"),
        ("", "utility statement …"),
        ('"hunter2"', "utility statement …"),
        (";", "utility statement …"),
    ],
)
@pytest.mark.parametrize("level", ["normalised", "sample"])
def test_of_a_utility_statement_only_its_keywords_are_shown(
    given_text: str, expected: str, level: str
) -> None:
    assert shown(given_text, level, 200) == expected


def test_levels_and_length() -> None:
    raw = " SELECT 'x' AS a "
    assert shown(raw, "none", 100) is None
    assert shown(raw, "normalised", 100) == "SELECT ? AS a"
    assert shown(raw, "sample", 100) == "SELECT 'x' AS a"
    assert shown("SELECT " + "a, " * 40000, "normalised", 50) == ("SELECT " + "a, " * 20)[:49] + "…"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("SELECT 1", "select\n  $1 ;", True),
        ("SELECT a FROM t WHERE b IN (1,2,3)", "SELECT a FROM t WHERE b IN ($1 /*, ... */)", True),
        ("INSERT INTO t VALUES (1,2)", "INSERT INTO t VALUES ($1,$2),($3,$4)", True),
        ("SELECT a||b", "SELECT a || b", True),
        ('SELECT "A"', 'SELECT "a"', False),
        ("SELECT a FROM t", "SELECT b FROM t", False),
        ("SELECT a+b", "SELECT a-b", False),
    ],
)
def test_one_statement_has_one_fingerprint(one: str, other: str, same: bool) -> None:
    assert (fingerprint(one) == fingerprint(other)) is same
    assert fingerprint(one) != fingerprint(one, more="cut")


@given(st.text(max_size=80))
def test_any_text_is_read_to_its_end_and_no_literal_survives(text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    found = tokens(f"SELECT {quoted} FROM t")
    assert [part.kind for part in found] == ["word", "literal", "word", "word"]
    assert normalised(f"SELECT {quoted} FROM t") == "SELECT ? FROM t"
    tokens(text)
    fingerprint(text)


@pytest.mark.parametrize(
    ("text", "single"),
    [
        ("SELECT 1", True),
        ("SELECT 1;", True),
        ("SELECT ';'", True),
        ("SELECT 1; DROP TABLE t", False),
        ("a;;b", False),
    ],
)
def test_two_statements_are_never_planned(text: str, single: bool) -> None:
    assert is_single(text) is single
