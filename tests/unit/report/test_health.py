# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The health checks over made-up facts: arithmetic by hand, and what is not known never breaks or alarms."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.finding import Finding
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.fleet import across
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.frame import Facts
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.limits import (
    NAMES,
    PROFILES,
    Limits,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.operation import CHECKS
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.request import HealthRequest
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.sessions import roots
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.storage import (
    needed_bytes,
    sequence_use,
    vacuum_threshold,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words.say import (
    FINDINGS,
    LANGUAGES,
    finding,
)

UNKNOWN: dict[str, Any] = dict.fromkeys(
    (
        "settings",
        "sessions",
        "waits",
        "locks",
        "standbys",
        "slots",
        "databases",
        "prepared",
        "archiver",
        "checkpoints",
        "tablespaces",
        "wal",
        "ready",
        "recovery",
        "subscriptions",
    )
)


def facts(
    instance: dict[str, Any] | None = None, *, settings: dict[str, str] | None = None, **more: Any
) -> Facts:
    rows = [
        {"name": name, "setting": value, "pending_restart": False} for name, value in (settings or {}).items()
    ]
    known = {**UNKNOWN, **({"settings": rows} if settings else {}), **(instance or {})}
    return Facts("7000", "n", False, known, more.pop("databases", []), more.pop("limits", Limits()), **more)


def judged(known: Facts) -> list[Finding]:
    return [item for judge in CHECKS for item in judge(known)]


def test_what_is_not_known_is_no_finding() -> None:
    assert judged(facts()) == []
    empty = {
        "name": "d",
        "tables": None,
        "widths": None,
        "sequences": None,
        "invalid": None,
        "extensions": None,
    }
    assert judged(facts(databases=[{**empty, "exact": {}}])) == []


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_are_whole_ordered_and_say_where_they_come_from(profile: str) -> None:
    limits, strict, relaxed = Limits(profile), Limits("strict"), Limits("relaxed")
    for name in NAMES:
        one = limits[name]
        assert profile in one.source
        assert one.warning is not None
        less_is_worse = name.endswith("_days")
        if one.critical is not None:
            assert (one.critical < one.warning) if less_is_worse else (one.critical > one.warning)
        ends = [strict[name].warning or 0, one.warning, relaxed[name].warning or 0]
        assert ends == sorted(ends, reverse=less_is_worse)


def test_thresholds_that_are_given_win_and_unknown_ones_are_refused() -> None:
    limits = Limits("default", {"lag_seconds": {"warning": 5}})
    assert (limits["lag_seconds"].warning, limits["lag_seconds"].critical) == (5.0, 60.0)
    assert limits["lag_seconds"].source == "option thresholds"
    with pytest.raises(Refused) as refused:
        HealthRequest("/nowhere", thresholds={"lag": {"warning": 5}})
    assert refused.value.code == "request-contradictory"
    assert "lag_seconds" in refused.value.remedy


@given(st.dictionaries(st.integers(1, 8), st.lists(st.integers(0, 8), max_size=3), max_size=8))
def test_roots_of_any_graph_are_what_nothing_blocks(graph: dict[int, list[int]]) -> None:
    for pid in graph:
        reached, front = {pid}, {pid}
        while front:
            front = {other for one in front for other in graph.get(one, [])} - reached
            reached |= front
        assert set(roots(pid, graph)) == {one for one in reached if not graph.get(one)}


def test_depth_of_a_chain_and_a_ring_that_ends() -> None:
    assert roots(4, {4: [3], 3: [2], 2: [1]}) == {1: 3}
    assert roots(1, {1: [2], 2: [1]}) == {}
    assert roots(1, {}) == {1: 0}


@pytest.mark.parametrize(
    ("row", "end", "share"),
    [
        ({"step": 1, "least": 1, "most": 100, "last": 50, "column_most": None}, 100, 0.5),
        (
            {"step": 1, "least": 1, "most": 2**63 - 1, "last": 2**31 - 1, "column_most": 2**31 - 1},
            2**31 - 1,
            1.0,
        ),
        ({"step": -1, "least": -100, "most": -1, "last": -25, "column_most": None}, -100, 0.25),
        ({"step": -1, "least": -(2**63), "most": -1, "last": -16384, "column_most": 32767}, -32768, 0.5),
        ({"step": 10, "least": 1, "most": 1, "last": 1, "column_most": None}, 1, 1.0),
    ],
)
def test_how_much_of_a_sequence_is_used(row: dict[str, Any], end: float, share: float) -> None:
    assert sequence_use(row) == (end, pytest.approx(share))


@pytest.mark.parametrize(
    ("options", "settings", "expected"),
    [
        (None, {}, 50 + 0.2 * 1000),
        ("autovacuum_vacuum_scale_factor=0.01,fillfactor=90", {}, 50 + 10),
        ("autovacuum_vacuum_threshold=500", {}, 500 + 200),
        (None, {"autovacuum_vacuum_max_threshold": "100"}, 100),
        (None, {"autovacuum_vacuum_max_threshold": "-1"}, 250),
    ],
)
def test_the_threshold_of_autovacuum(options: str | None, settings: dict[str, str], expected: float) -> None:
    known = facts(
        settings={"autovacuum_vacuum_threshold": "50", "autovacuum_vacuum_scale_factor": "0.2", **settings}
    )
    assert vacuum_threshold(known, {"options": options, "tuples": 1000.0}) == pytest.approx(expected)


def test_what_rows_need_on_pages() -> None:
    # 24 + 8 bytes and a line pointer of 4: 36; 8168 bytes of a page hold 226 of them; 1000 rows need 5 pages.
    row = {"tuples": 1000.0, "options": None}
    assert needed_bytes(facts(), row, {"width": 8.0, "columns": 2}) == 5 * 8192
    # With a fill factor of 50 only 113 are put on each: 9 pages.
    assert (
        needed_bytes(facts(), {**row, "options": "fillfactor=50"}, {"width": 8.0, "columns": 2}) == 9 * 8192
    )


def database(**more: Any) -> dict[str, Any]:
    row = {
        "name": "d",
        "xid_age": 1,
        "mxid_age": 1,
        "commits": 0,
        "rollbacks": 0,
        "temp_files": 0,
        "temp_bytes": 0,
    }
    return {**row, "deadlocks": 0, "stats_reset": None, "checksum_failures": 0, "checksum_last": None, **more}


@pytest.mark.parametrize(
    ("age", "severity"),
    [(100_000_000, None), (250_000_000, "medium"), (1_080_000_000, "medium"), (1_620_000_000, "critical")],
)
def test_wraparound_by_age(age: int, severity: str | None) -> None:
    known = facts({"databases": [database(xid_age=age)]}, settings={"autovacuum_freeze_max_age": "200000000"})
    found = [item.severity for item in judged(known) if item.name == "HC17"]
    assert found == ([severity] if severity else [])


def test_checksum_failures_are_critical() -> None:
    (found,) = judged(facts({"databases": [database(checksum_failures=2)]}))
    assert (found.name, found.severity) == ("HC26", "critical")


@pytest.mark.parametrize(
    ("days", "life", "severity"),
    [
        (40, 365, None),
        (20, 365, "medium"),
        (5, 365, "high"),
        (-1, 365, "critical"),
        (20, 25, None),
        (5, 25, "high"),
    ],
)
def test_a_certificate_that_ends(days: float, life: float, severity: str | None) -> None:
    known = {"days": days, "life_days": life, "not_after": "2026-12-01", "subject": "db", "path": "/c"}
    found = [item.severity for item in judged(facts(certificate=known))]
    assert found == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("used", "days", "severity", "key"),
    [
        (0.5, None, None, None),
        (0.8, None, "medium", "HC29"),
        (0.95, None, "critical", "HC29"),
        (0.5, 10.0, "medium", "HC29_soon"),
        (0.5, 2.0, "critical", "HC29_soon"),
        (0.5, 100.0, None, None),
    ],
)
def test_disks(used: float, days: float | None, severity: str | None, key: str | None) -> None:
    disk = {
        "path": "/d",
        "holds": ["data"],
        "used_share": used,
        "free_bytes": 1,
        "total_bytes": 2,
        "days": days,
    }
    found = [(item.severity, item.says.key) for item in judged(facts(disks=[disk]))]
    assert found == ([(severity, key)] if severity else [])


def test_errors_of_subscriptions_count_from_the_last_run() -> None:
    now = {"name": "s", "apply_errors": 7, "sync_errors": 0, "stats_reset": 1.0}

    def errors(before: dict[str, Any] | None) -> list[Any]:
        kept = {"subscriptions": [before]} if before else {}
        return [item.value["apply_errors"] for item in judged(facts({"subscriptions": [now]}, before=kept))]

    assert errors(None) == [7]
    assert errors({**now, "apply_errors": 5}) == [2]
    assert errors(now) == []
    assert errors({**now, "stats_reset": 0.5}) == [7]
    assert errors({**now, "apply_errors": 9}) == [7]


def result(role: str, *, settings: dict[str, str] | None = None, **facts_of: Any) -> dict[str, Any]:
    capacity = {"max_connections": facts_of.pop("connections", 100)}
    known = {"settings": settings or {}, "capacity": capacity, "standbys": [], **facts_of}
    return {"node": {"system_id": "7000", "role": role}, "facts": known}


def test_across_nodes() -> None:
    streaming = [
        {"application_name": "b", "state": "streaming"},
        {"application_name": "c", "state": "catchup"},
    ]
    primary = result("primary", settings={"work_mem": "1"}, standbys=streaming)
    standby = result("standby", settings={"work_mem": "1"}, receiver="streaming")
    assert across([("a", primary), ("b", standby)], ["b"]) == []
    assert [item.name for item in across([("a", primary)], ["b", "c"])] == ["HC34"]
    assert [item.says.key for item in across([("a", primary), ("b", primary)])] == ["HC33_two"]
    assert [item.says.key for item in across([("b", standby)])] == ["HC33_none"]
    (hidden,) = across([("a", None), ("b", standby)])
    assert (hidden.grade, hidden.missing[0].values["nodes"]) == ("insufficient", ["a"])
    low = result("standby", settings={}, receiver="streaming", connections=50)
    found = {item.name: item for item in across([("a", primary), ("b", low)])}
    assert set(found) == {"HC31", "HC32"}
    assert found["HC31"].value["values"] == {"a": "1", "b": None}
    assert across([]) == []
    assert across([("a", None)]) == []


def test_every_check_says_something_that_is_there() -> None:
    """Keys that the code uses and the words have; values fill every placeholder."""
    slot = {"name": "s", "temporary": False, "active": False, "database": None, "xmin_age": None}
    slot |= {"catalog_xmin_age": None, "retained_bytes": 60 << 30, "wal_status": "extended"}
    kept = {
        "total_bytes": 100 << 30,
        "free_bytes": 1,
        "used_share": 0.99,
        "path": "/",
        "holds": ["wal"],
        "days": 1,
    }
    table = {
        "oid": 1,
        "schema": "s",
        "name": "t",
        "pages": 1 << 20,
        "tuples": 10.0,
        "options": None,
        "xid_age": 9,
    }
    table |= {"mxid_age": 9, "live": 1, "dead": 9_000_000, "vacuumed_seconds": None}
    inside = {
        "name": "d",
        "tables": [table],
        "widths": [{"schema": "s", "name": "t", "width": 8.0, "columns": 2}],
        "sequences": [],
        "invalid": [
            {"schema": "s", "name": "x", "table_schema": "s", "table_name": "t", "kind": kind}
            for kind in ("index", "constraint", "trigger")
        ],
        "extensions": [{"name": "e", "version": "1", "available": "2"}],
        "exact": {},
    }
    checks = [{"name": "rpo", "state": "failed", "text": "bad", "text_ja": "不良", "measures": []}]
    known = facts(
        {
            "slots": [
                slot,
                {**slot, "name": "l", "wal_status": "lost"},
                {**slot, "name": "i", "retained_bytes": 0},
            ],
            "recovery": {
                "paused": False,
                "receiver": None,
                "unreplayed_bytes": 1,
                "replayed_seconds": 1.0,
            },
            "databases": [database(xid_age=2_000_000_000, mxid_age=2_000_000_000)],
        },
        settings={"data_checksums": "off", "autovacuum_freeze_max_age": "200000000"},
        databases=[inside],
        disks=[kept],
        keeper={"checks": checks},
        before={"idle_slots": {"i": 0.0, "s": 0.0, "l": 0.0}, "now": 1e6},
    )
    found = judged(known)
    names = {item.says.key for item in found}
    assert {
        "HC14_lost",
        "HC14_retained",
        "HC14_inactive",
        "HC17",
        "HC18",
        "HC20",
        "HC21_estimate",
        "HC23",
    } <= names
    assert {"HC24", "HC25", "HC28", "HC29_soon", "HC35", "HC37_receiver", "HC38"} <= names
    for item, language in itertools.product(found, LANGUAGES):
        assert item.says.key in FINDINGS
        texts = finding(item.says.key, item.says.values, language)
        assert all(texts.values())
    assert len({item.id for item in found}) == len(found)


def test_a_standby_is_not_blamed_for_backups_that_its_primary_takes() -> None:
    """Nothing is backed up on a standby, so its own repository is empty, as it should be."""
    checks = [
        {"name": name, "state": "failed", "text": "none", "text_ja": "なし", "measures": []}
        for name in ("backup", "full-backup", "window", "rto", "verification", "trial", "disk")
    ]
    primary = facts(keeper={"checks": checks})
    standby = replace(primary, in_recovery=True)
    assert len([one for one in judged(primary) if one.name == "HC35"]) == len(checks)
    assert [one.thing["name"] for one in judged(standby) if one.name == "HC35"] == ["disk"]
