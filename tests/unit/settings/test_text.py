# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The language of postgresql.conf. Expected values are those of the manual (20.1.2) and of guc-file.l."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.text import Line, parse, quote


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("work_mem = 4MB", "work_mem", "4MB"),
        ("work_mem=4MB# said", "work_mem", "4MB"),
        ("work_mem 4MB", "work_mem", "4MB"),
        ("work_mem'4MB'", "work_mem", "4MB"),
        ("  Work_Mem\t=\t'4MB'  # said", "work_mem", "4MB"),
        ("search_path = '\"$user\", public'", "search_path", '"$user", public'),
        ("a = 'it''s'", "a", "it's"),
        (r"a = 'it\'s'", "a", "it's"),
        (r"a = 'tab\tnew\nline\\'", "a", "tab\tnew\nline\\"),
        (r"a = '\101\x'", "a", "Ax"),
        ("a = 0x1F", "a", "0x1F"),
        ("a = -1", "a", "-1"),
        ("a = .9", "a", ".9"),
        ("a = 1e3", "a", "1e3"),
        ("a = 15min", "a", "15min"),
        ("pg_stat_statements.track = all", "pg_stat_statements.track", "all"),
        ("timezone = Asia/Tokyo", "timezone", "Asia/Tokyo"),
        ("a = on\r", "a", "on"),
        ("a = '#'", "a", "#"),
    ],
)
def test_lines_that_mean_something(line: str, name: str, value: str) -> None:
    assert parse(line) == ([Line(1, name, value)], [])


@pytest.mark.parametrize("line", ["", "  ", "# work_mem = 4MB", "\t# x", "\r"])
def test_lines_that_mean_nothing(line: str) -> None:
    assert parse(line) == ([], [])


@pytest.mark.parametrize(
    "line", ["work mem 4 MB", "work_mem = 'open", "= 4MB", "work_mem", "work_mem =", "a = b c", "1a = 2"]
)
def test_lines_that_make_no_sense(line: str) -> None:
    assert parse(f"a = 1\n{line}\n") == ([Line(1, "a", "1")], [2])


def test_inclusions_are_told_from_settings() -> None:
    found, _malformed = parse("include 'a.conf'\nInclude_Dir = 'conf.d'\nincluded = 1\n")
    assert [line.includes for line in found] == [True, True, False]


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",))))
def test_what_is_quoted_is_read_as_it_was(value: str) -> None:
    assert parse(f"a = {quote(value)}\n") == ([Line(1, "a", value)], [])
