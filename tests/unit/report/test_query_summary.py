# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Statements out of entries: shares, rankings, coverage, windows that begin anew, names that outlive an upgrade."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.baseline import Area, Marks, Window
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query import rules, summary
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.delta import (
    Change,
    Changes,
    since_reset,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.operation import (
    curves,
    references,
    window_of,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.pull import Reading
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.regress import Gate
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.request import Limits
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.summary import (
    Known,
    Statement,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words.say import FINDINGS, finding

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
NAMES = {"1": "shop", "2": "日本"}
ROLES = {"10": "app"}


def entry(calls: float = 10, ms: float = 100, **more: float) -> dict[str, float]:
    return {"calls": calls, "exec_ms": ms, "square": ms * ms / calls, "rows": calls, **more}


def made(entries: dict[str, dict[str, float]], texts: dict[str, Known]) -> list[Statement]:
    return summary.statements(since_reset(entries, evicting=False), texts, NAMES, ROLES)


def test_entries_of_one_text_are_one_statement_and_others_stay_apart() -> None:
    texts = {"1:5": Known("f", "SELECT ?"), "1:6": Known("f", "SELECT ?"), "2:5": Known("f", "SELECT ?")}
    found = made(
        {
            "10:1:t:5": entry(),
            "10:1:t:6": entry(30, 900),
            "10:2:t:5": entry(),
            "10:1:f:5": entry(),
            "11:1:t:7": entry(),
        },
        texts,
    )
    assert found[0].queryids == ("5", "6")
    assert {(one.database, one.user, one.toplevel, one.queryids, one.change.calls) for one in found} == {
        ("shop", "app", True, ("5", "6"), 40),
        ("shop", "(11)", True, ("7",), 10),
        ("shop", "app", False, ("5",), 10),
        ("日本", "app", True, ("5",), 10),
    }
    assert summary.total(found) == 1200


def test_a_statement_s_name_outlives_another_queryid() -> None:
    """PostgreSQL 18 counts other things into the queryid than 17 did: the text's fingerprint is what stays."""
    (before,) = made({"10:1:t:5": entry()}, {"1:5": Known("f", None)})
    (after,) = made({"10:1:t:-77": entry()}, {"1:-77": Known("f", None)})
    (unknown,) = made({"10:1:t:5": entry()}, {})
    assert before.name == after.name != unknown.name


def test_shares_are_of_what_clients_sent() -> None:
    found = made({"10:1:t:1": entry(ms=300), "10:2:t:2": entry(ms=100), "10:1:f:3": entry(ms=250)}, {})
    assert summary.shares(found, lambda one: one.database) == [
        {"name": "shop", "total_ms": 300, "calls": 10, "load_share": 0.75},
        {"name": "日本", "total_ms": 100, "calls": 10, "load_share": 0.25},
    ]
    told = summary.split(found, 2.0)
    assert (told["total_ms"], told["sessions"], told["cpu_ms"]) == (400, 0.2, 400)


def test_every_ranking_ranks() -> None:
    figures = {
        **entry(100, 1000, plan_ms=5.0, read=7.0, dirtied=1.0, wal_bytes=9.0, jit_ms=1.0, temp_written=3.0),
        "read_ms": 2.0,
        "workers_wanted": 4.0,
        "workers_got": 1.0,
        "square": 100 * (10.0**2 + 5.0**2),
    }
    found = made({"10:1:t:1": figures, "10:1:t:2": entry(1, 2)}, {})
    tops = summary.ranked(found, 1)
    assert set(tops) == set(summary.RANKINGS)
    assert {one.queryids for many in tops.values() for one in many} == {("1",)}
    shown = summary.shown(found[0], 2010.0, 8192)
    assert (shown["read_bytes"], shown["deviation_ms"], shown["load_share"]) == (7 * 8192, 5.0, 0.5)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"1": (0, None)}, {"1": (200, None)}, 0.5),
        ({"1": (0, 1.0)}, {"1": (200, 2.0)}, None),
        ({}, {"1": (200, None)}, None),
        ({"1": (0, None)}, {"1": (None, None)}, None),
        ({"1": (0, None)}, {"1": (0, None)}, None),
        ({"1": (0, None)}, {"1": (50, None)}, 1.0),
    ],
)
def test_coverage(before: dict[str, Any], now: dict[str, Any], expected: float | None) -> None:
    def rows(values: dict[str, Any]) -> dict[str, Any]:
        return {oid: {"active_ms": active, "stats_reset": reset} for oid, (active, reset) in values.items()}

    found = made({"10:1:t:1": entry(ms=100)}, {})
    assert summary.coverage(found, rows(before), rows(now)) == expected


def reading(
    at: datetime, reset: datetime | None, dealloc: int | None = 0, **entries: dict[str, float]
) -> Reading:
    info = {"dealloc": dealloc, "stats_reset": reset.timestamp() if reset else None}
    return Reading(
        "1.10", "1.10", "postgres", dict(entries), 0, info, {}, {}, {}, at.timestamp(), "f", ["calls"]
    )


def stored(area: Area, marks: Marks, at: datetime, dealloc: int = 0) -> None:
    area.restart(
        marks,
        at,
        "reading",
        names=["calls", "exec_ms"],
        entries={"k": [5.0, 50.0]},
        dealloc=dealloc,
        databases={},
    )


MARKS = Marks("7", in_recovery=False, stats_reset="x", server_version_num=150001)


@pytest.mark.parametrize(
    ("marks", "at", "why", "seconds", "calls"),
    [
        (MARKS, NOW, "stored", 3600, 3),
        (Marks("7", in_recovery=False, stats_reset="y", server_version_num=150001), NOW, "reset", 1800, 8),
        (Marks("7", in_recovery=True, stats_reset="x", server_version_num=150001), NOW, "promotion", 1800, 8),
        (Marks("7", in_recovery=False, stats_reset="x", server_version_num=180001), NOW, "upgrade", 1800, 8),
        (Marks("8", in_recovery=False, stats_reset="x", server_version_num=150001), NOW, "system", 1800, 8),
    ],
)
def test_where_a_window_begins(marks: Marks, at: datetime, why: str, seconds: float, calls: float) -> None:
    area = Area()
    stored(area, MARKS, NOW - HOUR)
    read = reading(at, NOW - HOUR / 2, k={"calls": 8.0, "exec_ms": 80.0})
    window, found = window_of(area, marks, read, at)
    assert window is not None
    assert (window.why, window.seconds, found.entries["k"].calls) == (why, seconds, calls)


def test_a_clock_that_went_back_makes_no_negative_window() -> None:
    area = Area()
    stored(area, MARKS, NOW)
    early = NOW - HOUR
    window, found = window_of(area, MARKS, reading(early, NOW, k={"calls": 8.0}), early)
    assert window is None
    assert found.entries["k"].calls == 8
    window, found = window_of(area, MARKS, reading(early, early - HOUR, k={"calls": 8.0}), early)
    assert window is not None and (window.why, window.seconds) == ("clock", 3600)
    assert window_of(Area(), MARKS, reading(NOW, None), NOW)[0] is None


def seen(statements: list[Statement], **more: Any) -> rules.Seen:
    whole = summary.total(statements)
    return rules.Seen("7", "n", None, more.pop("seconds", 3600.0), statements, whole, 8192, **more)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({}, set()),
        ({"temp_written": 200_000.0}, {"QY04"}),
        ({"square": 100 * (100.0**2 + 400.0**2)}, {"QY05"}),
        ({"plan_ms": 20_000.0}, {"QY06"}),
        ({"jit_ms": 2_000.0}, {"QY07"}),
        ({"workers_wanted": 10.0, "workers_got": 7.0}, {"QY08"}),
        ({"read_ms": 3_000.0, "write_ms": 3_000.0}, {"QY09"}),
    ],
)
def test_findings_of_one_statement(figures: dict[str, float], expected: set[str]) -> None:
    one = {**entry(100, 10_000), "square": 100 * 100.0**2, **figures}
    rest = {f"10:1:t:{number}": entry(100, 10_000) for number in range(2, 9)}
    found = rules.findings(seen(made({"10:1:t:1": one, **rest}, {})), Limits(dominant_share=0.9), Gate())
    assert {item.name for item in found} == expected
    for item in found:
        for language in ("en", "ja"):
            assert all(finding(item.says.key, item.says.values, language).values())


def test_the_report_s_own_statements_and_small_ones_are_no_findings() -> None:
    figures = {"10:1:t:1": entry(100, 999), "10:1:t:2": entry(100, 50_000)}
    texts = {"1:2": Known("g", "SELECT ?", ours=True)}
    assert rules.findings(seen(made(figures, texts)), Limits(), Gate()) == []


def test_a_new_statement_is_new_only_when_there_was_a_run_before() -> None:
    one = made({"10:1:t:1": entry(100, 10_000)}, {})
    names = {
        compared: [item.name for item in rules.findings(seen(one, compared=compared), Limits(), Gate())]
        for compared in (True, False)
    }
    assert names == {True: ["QY01", "QY16"], False: ["QY01"]}


def test_what_the_extension_cannot_tell_is_told() -> None:
    settings = {
        "pg_stat_statements.max": "5000",
        "pg_stat_statements.track": "none",
        "track_io_timing": "off",
    }
    known = seen(
        made({"10:1:t:1": entry()}, {}),
        evictions=3,
        coverage=0.5,
        settings=settings,
        without_text=1,
        entries=4,
        extension="1.9",
        default_version="1.10",
        place="postgres",
    )
    found = rules.findings(known, Limits(), Gate())
    assert [item.name for item in found] == ["QY10", "QY11", "QY12", "QY12", "QY13", "QY14"]
    assert len({item.id for item in found}) == 6
    assert found[0].action == ("ALTER SYSTEM SET pg_stat_statements.max = 10000",)
    assert {item.says.key for item in found} <= set(FINDINGS)


def test_certainty_grades_a_finding() -> None:
    changes = Changes({"10:1:t:1": Change(entry(100, 10_000), "restarted", "at-least")})
    (found,) = rules.findings(seen(summary.statements(changes, {}, NAMES, ROLES)), Limits(), Gate())
    assert (found.name, found.grade) == ("QY01", "heuristic")


def test_one_that_got_worse_stays_compared_with_how_it_was_until_that_is_long_ago() -> None:
    good, bad = made({"10:1:t:1": entry(100, 100)}, {}), made({"10:1:t:1": entry(100, 900)}, {})
    name = good[0].name

    def after(kept: dict[str, Any], statements: list[Statement], day: int, *regressed: str) -> dict[str, Any]:
        until = NOW + timedelta(days=day)
        return references(kept, statements, set(regressed), Window(until - HOUR, until, "stored"), 30)

    first = after({}, good, 0)
    assert (first[name]["figures"]["exec_ms"], first[name]["seconds"]) == (100, 3600)
    assert after(first, bad, 1, name) == first
    assert after(first, bad, 1)[name]["figures"]["exec_ms"] == 900
    assert after(first, [], 30) == first
    assert after(first, bad, 36, name)[name]["figures"]["exec_ms"] == 900
    assert after(first, [], 36) == {}
    assert after({}, made({"10:1:t:1": entry(29)}, {}), 0) == {}


def test_curves_hold_a_point_for_each_window_and_forget_what_is_long_gone() -> None:
    def listed(name: str, calls: int, mean: float, *, toplevel: bool = True) -> dict[str, Any]:
        return {
            "database": "d",
            "user": "u",
            "id": name,
            "calls": calls,
            "mean_ms": mean,
            "toplevel": toplevel,
        }

    kept = curves({}, [listed("a", 600, 1.23456), listed("inner", 1, 1.0, toplevel=False)], 60.0)
    assert kept == {"d\nu\na": [[10.0, 1.235]]}
    kept = curves(kept, [listed("b", 60, 2.0)], 60.0)
    assert kept == {"d\nu\nb": [None, [1.0, 2.0]], "d\nu\na": [[10.0, 1.235], None]}
    for _run in range(19):
        kept = curves(kept, [listed("b", 60, 2.0)], 60.0)
    assert list(kept) == ["d\nu\nb"]
    assert kept["d\nu\nb"] == [[1.0, 2.0]] * 20
