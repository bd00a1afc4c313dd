# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Findings that need counters, sizes and time, at their thresholds: one step below there is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.baseline import Area, Marks, Window
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.definitions import (
    _with_tablespace,
    concurrently,
    literal,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.draft import Draft
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.facts import (
    Collation,
    Column,
    Database,
    Key,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.history import Past, compare
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.limits import Limits
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import judged
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words import say
from tests.unit.report.index_facts import DAY, INT, NOW, database, foreign_key, index, table

AT = datetime.fromtimestamp(NOW, timezone.utc)
LARGE = 40_000  # pages: more than 256 MB
BOOLEAN, ARRAY = 16, 2277


def past(days: float = 10, **changes: Any) -> Past:
    """A baseline that has watched for some days."""
    plain = Past(
        window=Window(AT - timedelta(days=days), AT, "stored"),
        idle={},
        scans={},
        writes={},
        updates={},
        best_bytes_per_row={},
        invalid_before=frozenset(),
    )
    return replace(plain, **changes)


def found(facts: Database, about: Past, limits: Limits | None = None) -> dict[str, Draft]:
    """Key of the words -> draft; every one is said in both languages without a value that is missing."""
    drafts = judged(facts, about, limits or Limits())
    for one in drafts:
        for language in say.LANGUAGES:
            said = say.finding(one.finding.says.key, one.finding.says.values, language)
            assert all(said.values())
            for word in one.finding.missing:
                assert say.missing(word.key, word.values, language)
    return {one.finding.says.key: one for one in drafts}


@pytest.mark.parametrize(
    ("days", "scans", "writes", "expected"),
    [
        (10, 5, 5000, True),
        (6.9, 5, 5000, False),
        (10, 0, 5000, False),
        (10, 101, 5000, False),
        (10, 5, 99, False),
    ],
    ids=["costly", "too-young", "not-scanned-at-all", "a-tenth-of-the-scans", "not-written"],
)
def test_seldom_scanned_by_differences(days: float, scans: int, writes: int, expected: bool) -> None:
    facts = database(index(1, 1, pages=5000), index(2, 2))
    about = past(days, scans={1: scans, 2: 900}, writes={1: writes})
    assert ("IX05" in found(facts, about)) is expected


def test_a_unique_index_is_never_seldom() -> None:
    facts = database(index(1, 1, pages=5000, unique=True), index(2, 2))
    assert "IX05" not in found(facts, past(scans={1: 5, 2: 900}, writes={1: 5000}))


def widths(width: int | None) -> dict[int, dict[int, Column]]:
    return {1: {number: Column(f"c{number}", INT, False, 0, width) for number in range(1, 4)}}


@pytest.mark.parametrize(
    ("rows", "width", "expected"),
    [(5_000_000.0, 4, "IX06"), (15_000_000.0, 4, None), (5_000_000.0, None, None), (5_000_000.0, 40, None)],
    ids=["half-empty", "full", "width-unknown", "wide-entries"],
)
def test_bloat_is_estimated_from_what_entries_need(
    rows: float, width: int | None, expected: str | None
) -> None:
    facts = database(index(1, 1, pages=LARGE, rows=rows), columns=widths(width))
    keys = {key for key in found(facts, past()) if key.startswith("IX06")}
    assert keys == ({expected} if expected else set())


def test_bloat_by_its_own_best() -> None:
    facts = database(index(1, 1, method="gist", pages=LARGE, rows=5e6))
    assert "IX06_growth" in found(facts, past(best_bytes_per_row={1: 30.0}))
    assert "IX06_growth" not in found(facts, past(best_bytes_per_row={1: 35.0}))


def test_writes_that_indexes_pay_for_and_updates_that_are_not_hot() -> None:
    facts = database(index(1, 1, pages=1500), tables={1: table(pages=900)})
    assert "IX11" in found(facts, past(writes={1: 5000}))
    assert "IX11" not in found(facts, past(writes={1: 50}))
    lean = database(index(1, 1, pages=10), tables={1: table(pages=900)})
    assert "IX11_hot" in found(lean, past(writes={1: 5000}, updates={1: (5000, 2000)}))
    assert "IX11_hot" not in found(lean, past(writes={1: 5000}, updates={1: (5000, 2600)}))


def test_kinds_that_do_not_fit() -> None:
    boolean = index(1, 1, keys=(Key(1, None, 424, BOOLEAN, 0),))
    array = index(2, 2, keys=(Key(2, None, 397, ARRAY, 0),))
    always = index(
        3,
        3,
        predicate="{NULLTEST :arg {VAR :varno 1 :varattno 3 :vartype 23} :nulltesttype 1 :argisrow false}",
    )
    columns = {1: {number: Column(f"c{number}", INT, number == 3, 0) for number in range(1, 4)}}
    keys = set(found(database(boolean, array, always, columns=columns), past()))
    assert {"IX12_boolean", "IX12_array", "IX12_predicate"} <= keys
    nullable = {1: {number: Column(f"c{number}", INT, False, 0) for number in range(1, 4)}}
    assert "IX12_predicate" not in found(database(always, columns=nullable), past())


def test_unique_ones_are_told_of_and_never_dropped() -> None:
    facts = database(index(1, 1, unique=True, pages=5000))
    about = compare(Area(), facts, Marks("7"), AT)
    drafts = found(facts, about)
    assert {"IX14_unread", "IX14_nullable"} <= set(drafts)
    assert all(drafts[key].deed == "none" for key in ("IX14_unread", "IX14_nullable"))
    assert "IX14_nullable" not in found(database(index(1, 1, unique=True, nulls_not_distinct=True)), past())


def test_collations_that_changed_name_their_indexes() -> None:
    text = Key(1, None, 1994, 25, 100)
    facts = database(index(1, keys=(text,), options=(0,)), collations=(Collation(0, "", "", "2.31", "2.36"),))
    draft = found(facts, past())["IX15_database"]
    assert (draft.finding.severity, draft.finding.value["indexes"]) == ("critical", 1)
    assert draft.finding.action == (
        'REINDEX INDEX CONCURRENTLY "public"."i1";',
        'ALTER DATABASE "shop" REFRESH COLLATION VERSION;',
    )
    numbers = database(index(1, 1), collations=(Collation(0, "", "", "2.31", "2.36"),))
    assert "IX15_database" not in found(numbers, past())


def test_many_indexes_and_large_ones() -> None:
    many = database(*(index(oid, 1 + oid % 9, 10) for oid in range(1, 17)))
    assert "IX16_count" in found(many, past())
    few = database(*(index(oid, 1 + oid % 9, 10) for oid in range(1, 16)))
    assert "IX16_count" not in found(few, past())
    large = database(index(1, 1, pages=5000), tables={1: table(pages=2000)})
    assert "IX16_bytes" in found(large, past())


@pytest.mark.parametrize("name", ["x_ccnew", "x_ccnew1", "x_ccold"])
def test_what_reindex_left_is_dropped_and_what_is_being_built_is_not_told_of(name: str) -> None:
    broken = index(1, 1, name=name, valid=False)
    assert found(database(broken), past())["IX01_leftover"].deed == "drop"
    assert not found(database(broken, building=frozenset({1})), past())
    assert found(database(broken, index(2, 1)), past())["IX01"].deed == "drop"
    first = found(database(index(1, 1, valid=False)), past())["IX01_rebuild"]
    assert (first.deed, first.finding.grade) == ("rebuild", "insufficient")


def test_the_time_an_index_is_idle_is_what_was_watched() -> None:
    area, marks = Area(), Marks("7", in_recovery=False, stats_reset="a")
    later = AT + timedelta(days=40)

    def look(at: datetime, marks: Marks, **changes: Any) -> float:
        facts = database(index(1, 1, **changes), taken_at=at.timestamp())
        return compare(area, facts, marks, at).idle[1].since

    assert look(AT, marks) == NOW
    assert look(later, marks) == NOW
    assert look(later + timedelta(days=1), marks, scans=1) == NOW + 41 * DAY
    assert look(later + timedelta(days=2), marks, scans=1) == NOW + 41 * DAY
    assert look(later + timedelta(days=3), replace(marks, in_recovery=True), scans=1) == NOW + 43 * DAY
    assert look(later + timedelta(days=5), replace(marks, in_recovery=True), scans=0) == NOW + 45 * DAY
    # The server's own word reaches further back than we have watched (version 16).
    said = look(
        later + timedelta(days=6), replace(marks, in_recovery=True), scans=0, last_scan=NOW - 90 * DAY
    )
    assert said == NOW - 90 * DAY


def test_definitions_are_built_without_blocking_in_their_tablespace() -> None:
    assert concurrently("CREATE UNIQUE INDEX a ON b (c)") == "CREATE UNIQUE INDEX CONCURRENTLY a ON b (c)"
    assert concurrently("CREATE INDEX a ON b (c)") == "CREATE INDEX CONCURRENTLY a ON b (c)"
    made = _with_tablespace("CREATE INDEX a ON b (c) WHERE (t = ' WHERE x')", "(t = ' WHERE x')", "slow")
    assert made == "CREATE INDEX a ON b (c) TABLESPACE slow WHERE (t = ' WHERE x')"
    assert (
        _with_tablespace("CREATE INDEX a ON b (c)", None, "slow") == "CREATE INDEX a ON b (c) TABLESPACE slow"
    )
    assert literal("it's") == "'it''s'"
    assert literal("a\\b'") == "E'a\\\\b'''"


def test_a_longer_index_is_dearer_where_rows_lie_in_order() -> None:
    """Only where the one that goes is scanned, and the planner would count less of that order for the other one."""
    in_order = {1: {1: Column("c1", INT, False, 0, correlation=-0.97), 2: Column("c2", INT, False, 0)}}
    for scans, columns, key in ((5, in_order, "IX03_ordered"), (0, in_order, "IX03"), (5, None, "IX03")):
        facts = database(
            index(10, 1, scans=scans), index(11, 1, 2), **({"columns": columns} if columns else {})
        )
        (one,) = [one for one in judged(facts, past(), Limits()) if one.finding.name == "IX03"]
        assert one.finding.says.key == key
        assert one.finding.grade == ("heuristic" if key == "IX03_ordered" else "measured")


def test_statistics_of_its_own_are_not_dropped_unseen() -> None:
    for own, other, key in (((1, 500), None, "IX03_statistics"), ((1, 500), (1, 500), "IX03")):
        gone = index(10, 1, statistics=(own,))
        by = index(11, 1, 2, statistics=(other,) if other else ())
        assert key in found(database(gone, by), past())


def _not_null(column: int) -> str:
    about = f"{{VAR :varno 1 :varattno {column} :vartype 25 :varlevelsup 0}}"
    return f"{{NULLTEST :arg {about} :nulltesttype 1 :argisrow false}}"


def test_a_column_that_the_predicate_keeps_from_being_null_is_not_called_nullable() -> None:
    """As published: UNIQUE (artist, locale) WHERE primary_for_locale AND locale IS NOT NULL."""
    columns = {1: {number: Column(f"c{number}", INT, number == 1, 0) for number in range(1, 4)}}
    flag = "{VAR :varno 1 :varattno 3 :vartype 16 :varlevelsup 0}"
    both = f"{{BOOLEXPR :boolop and :args ({flag} {_not_null(2)})}}"
    either = both.replace("boolop and", "boolop or")
    for predicate, told in ((both, False), (_not_null(2), False), (flag, True), (either, True), (None, True)):
        facts = database(index(1, 1, 2, unique=True, predicate=predicate), columns=columns)
        assert ("IX14_nullable" in found(facts, past())) is told, predicate
    # Of three columns one is left.
    three = database(index(1, 1, 2, 3, unique=True, predicate=both), columns=columns)
    assert found(three, past())["IX14_nullable"].finding.says.values["columns"] == ["c3"]


def test_one_value_in_nearly_all_rows_is_said_of_the_only_key() -> None:
    """As published: (source, object, objectid, clock), where nearly all events are of one source."""
    columns = {1: {number: Column(f"c{number}", INT, True, 0, common_share=0.93) for number in (1, 2)}}
    alone, leading = index(1, 1, rows=2e5), index(2, 1, 2, rows=2e5)
    assert "IX09_common" in found(database(alone, columns=columns), past())
    assert "IX09_common" not in found(database(leading, columns=columns), past())


def test_what_deletes_parents_is_what_makes_an_unbacked_key_urgent() -> None:
    """Updates that cannot be HOT are no changes of the key: nothing is read for them."""
    child = table(1, pages=10_000)
    keys = {"columns": {oid: {1: Column("c1", INT, True, 0)} for oid in (1, 2)}}
    for deletes, severity in ((0, "medium"), (3, "high")):
        parent = table(2, deletes=deletes, updates=5000, hot_updates=10)
        facts = database(tables={1: child, 2: parent}, constraints=(foreign_key(1, target=2),), **keys)
        assert found(facts, past())["IX07"].finding.severity == severity
