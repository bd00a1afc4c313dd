# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Decisions of an expiry one by one, and how long a large archive takes."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import format_utc
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import (
    Backup,
    Catalog,
    DamagedEntry,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.leases import Lease
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.plan import ExpiryPlan, make_plan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.policy import Policy
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.state import (
    RetentionState,
    SystemState,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.survivors import prove_survivors
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.words import _WORDS, lines
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.archive import Archive
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.entry import Entry, Mark
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.history import Timelines
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.segment import Segment, segment_name
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.source import StoredWal
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.waldump import time_text

SIZE = 1 << 20
SYSTEM = 42
FIRST = datetime(2026, 11, 1, tzinfo=timezone.utc)
HOUR = 3600


def at(hours: float) -> datetime:
    return FIRST + timedelta(hours=hours)


def archive(count: int, per_hour: int = 1, earlier: int = 0) -> Archive:
    """A straight archive, ``per_hour`` segments an hour, with a commit in each; all of it so many hours earlier."""
    entries = {}
    for number in range(1, count + 1):
        name = segment_name(Segment(1, number), SIZE)
        mark = Mark(number * SIZE + 100, time_text(at(number / per_hour - earlier)), number)
        entries[name] = Entry(
            name,
            "s",
            10,
            f"d{number}",
            joined=f"d{number - 1}" if number > 1 else None,
            first_lsn=number * SIZE + 40,
            last_lsn=number * SIZE + 900,
            tail_lsn=number * SIZE + 900,
            commits=1,
            first_commit=mark,
            last_commit=mark,
            min_time=mark.time,
            max_time=mark.time,
        )
    return Archive(entries, Timelines({}), SIZE)


def backup(number: int, per_hour: int = 1, **more: Any) -> Backup:
    """A backup that ends in the middle of a segment, half an hour after its commit."""
    facts: dict[str, Any] = {
        "label": f"b{number}",
        "status": "verified",
        "started_at": at(number / per_hour),
        "stopped_at": at((number + 0.5) / per_hour),
        "system_id": SYSTEM,
        "major": 15,
        "wal_segment_size": SIZE,
        "timeline": 1,
        "start_lsn": number * SIZE + 200,
        "stop_lsn": number * SIZE + 800,
    }
    return Backup(**(facts | more))


def state(*backups: Backup, wal: Archive | None = None, **more: Any) -> RetentionState:
    wal = wal or archive(100)
    files = tuple(StoredWal(name, 10, "s", f"/{name}") for name in wal.entries)
    facts: dict[str, Any] = {
        "now": at(101),
        "catalog": Catalog(backups, ()),
        "systems": (SystemState(SYSTEM, wal, files),),
        "live": (SYSTEM, 1),
    }
    return RetentionState(**(facts | more))


def planned(policy: Policy, known: RetentionState) -> ExpiryPlan:
    plan = make_plan(policy, known)
    prove_survivors(plan)
    return plan


def fates(plan: ExpiryPlan) -> dict[str, str]:
    return {one.label: one.why if one.keep else f"-{one.why}" for one in plan.verdicts}


def first_kept(plan: ExpiryPlan) -> int:
    """The smallest number of the segments that stay."""
    return min(run.first.number for run in plan.wal[0].runs if run.why)


FOUR = tuple(backup(n) for n in (10, 40, 70, 90))


@pytest.mark.parametrize(
    ("policy", "expected", "first"),
    [
        (Policy(1), {"b10": "-outside", "b40": "-outside", "b70": "-outside", "b90": "count"}, 90),
        (Policy(2), {"b10": "-outside", "b40": "-outside", "b70": "count", "b90": "count"}, 70),
        (Policy(4), dict.fromkeys(("b10", "b40", "b70", "b90"), "count"), 10),
        (Policy(5), dict.fromkeys(("b10", "b40", "b70", "b90"), "count"), 10),
        # The last commit is at hour 100, b70 ended at 70.5: 29 hours back lies after it, 30 before.
        (Policy(1, 29 * HOUR), {"b10": "-outside", "b40": "-outside", "b70": "anchor", "b90": "count"}, 70),
        (Policy(1, 30 * HOUR), {"b10": "-outside", "b40": "anchor", "b70": "window", "b90": "count"}, 40),
        (Policy(1, 1000 * HOUR), {"b10": "window", "b40": "window", "b70": "window", "b90": "count"}, 10),
    ],
)
def test_policies(policy: Policy, expected: dict[str, str], first: int) -> None:
    plan = planned(policy, state(*FOUR))
    assert fates(plan) == expected
    assert first_kept(plan) == first
    assert plan.freed_bytes == 10 * (first - 1)


HURT = {"count": 1, "files": [{"path": "base/5/1259", "count": 1, "blocks": [0]}]}


def test_a_backup_with_damaged_pages_is_none_of_those_that_are_counted() -> None:
    """B19: it is kept while it is young, and the sound ones before it are not given up for it."""
    newest = backup(90, page_faults=HURT)
    plan = planned(Policy(2), state(*FOUR[:3], newest))
    assert fates(plan) == {"b10": "-outside", "b40": "count", "b70": "count", "b90": "window"}
    assert first_kept(plan) == 40
    # Built on one that is damaged is damaged.
    child = backup(95, kind="incremental", parent="b90")
    plan = planned(Policy(1), state(*FOUR[:3], newest, child))
    assert fates(plan) == {
        "b10": "-outside",
        "b40": "-outside",
        "b70": "count",
        "b90": "window",
        "b95": "window",
    }
    # The only ones that there are stay, and all WAL with them.
    plan = planned(Policy(1), state(*(one.changed(page_faults=HURT) for one in FOUR)))
    assert fates(plan) == dict.fromkeys(("b10", "b40", "b70", "b90"), "few")
    assert not plan.changes
    # Old and damaged goes as any other does.
    plan = planned(Policy(1), state(FOUR[0].changed(page_faults=HURT), *FOUR[1:]))
    assert fates(plan)["b10"] == "-outside"


def test_wal_for_a_shorter_time_leaves_what_backups_need_to_become_consistent() -> None:
    plan = planned(Policy(4, None, 15 * HOUR), state(*FOUR))
    runs = [(run.first.number, run.last.number, run.why) for run in plan.wal[0].runs]
    assert runs == [
        (1, 9, None),
        (10, 10, "backup"),
        (11, 39, None),
        (40, 40, "backup"),
        (41, 69, None),
        (70, 100, "window"),
    ]


@pytest.mark.parametrize("days", [-4000, -1, 0, 1, 4000])
def test_the_clock_of_this_host_makes_nothing_older(days: int) -> None:
    plan = planned(Policy(1, 30 * HOUR), state(*FOUR, now=at(101) + timedelta(days=days)))
    assert [one.label for one in plan.doomed] == ["b10"]


def test_a_clock_that_was_ahead_for_a_moment_makes_nothing_older() -> None:
    """Three days ahead from hour 80 on, and right again at hour 82: the window is as long as ever."""
    whole = archive(100)
    entries = dict(whole.entries)
    for number in (80, 81):
        name = segment_name(Segment(1, number), SIZE)
        mark = Mark(number * SIZE + 100, time_text(at(number + 72)), number)
        entries[name] = replace(
            entries[name], first_commit=mark, last_commit=mark, min_time=mark.time, max_time=mark.time
        )
    plan = planned(Policy(1, 50 * HOUR), state(*FOUR, wal=replace(whole, entries=entries)))
    assert fates(plan) == {"b10": "-outside", "b40": "anchor", "b70": "window", "b90": "count"}


def test_everything_after_the_oldest_counted_backup_also_where_the_clock_stood_still() -> None:
    """Both ends of backups say the same, and so does all between: what is counted is a place, and not a time."""
    first, second = at(100), at(99)
    entries = dict(archive(70).entries)
    for number in range(71, 101):
        name = segment_name(Segment(1, number), SIZE)
        entries[name] = replace(
            archive(100).entries[name],
            first_commit=None,
            last_commit=None,
            min_time=None,
            max_time=None,
            commits=0,
        )
    backups = (backup(20), backup(75, stopped_at=first), backup(90, stopped_at=second))
    plan = planned(Policy(2), state(*backups, wal=Archive(entries, Timelines({}), SIZE)))
    assert fates(plan) == {"b20": "-outside", "b75": "count", "b90": "count"}
    assert first_kept(plan) == 75


def test_a_backup_from_the_future_pushes_nobody_out() -> None:
    strange = backup(90, stopped_at=at(90) + timedelta(days=3000), started_at=at(90) + timedelta(days=3000))
    plan = planned(Policy(1, 30 * HOUR), state(*FOUR[:3], strange))
    assert fates(plan) == {"b10": "-outside", "b40": "anchor", "b70": "window", "b90": "count"}


def test_chains_live_as_long_as_somebody_is_built_on_them() -> None:
    one = backup(45, label="i45", kind="incremental", parent="b40")
    two = backup(95, label="i95", kind="incremental", parent="b90")
    lost = backup(96, label="i96", kind="incremental", parent="nobody")
    plan = planned(Policy(1), state(*FOUR, one, two, lost))
    assert fates(plan) | {"i96": ""} == {
        "b10": "-outside",
        "b40": "-outside",
        "i45": "-outside",
        "b70": "-outside",
        "b90": "count",
        "i95": "window",
        "i96": "",
    }
    assert [verdict.label for verdict in plan.doomed][0] == "i45"
    pinned = planned(Policy(1), state(*FOUR, one.changed(pinned=True), two))
    assert (fates(pinned)["i45"], fates(pinned)["b40"]) == ("pinned", "chain")
    taken = backup(99, label="r", status="running", kind="incremental", parent="b70", stopped_at=None)
    running = planned(Policy(1), state(*FOUR, taken, alive=frozenset({"r"})))
    assert (fates(running)["r"], fates(running)["b70"]) == ("running", "chain")


def test_what_cannot_be_judged_stays() -> None:
    broken = Failed("backup-entry-damaged", attempted="a", happened="b", remedy="c")
    catalog = Catalog(FOUR, (DamagedEntry("odd", broken),))
    plan = planned(Policy(1), state(catalog=catalog))
    assert plan.wal[0].doomed == () and plan.wal[0].runs[0].why == "damaged"
    assert {"what": f"wal {SYSTEM}", "why": "damaged", "by": []} in plan.blocked
    lease = Lease("torn", "unknown", None, None, None, True, {}, damaged="not JSON")
    plan = planned(Policy(1), state(*FOUR, leases=(lease,)))
    assert not plan.changes and fates(plan)["b10"] == "leased"
    assert plan.wal[0].runs[0].why == "lease-unread"
    assert {"what": f"wal {SYSTEM}", "why": "lease-unread", "by": []} in plan.blocked
    said = lines({"plan": plan.to_dict(), "deleted": {}, "changed": False, "executed": False}, "en")
    assert [one for one in said if "a lease cannot be read" in one] and not [
        one for one in said if ": )" in one
    ]
    plan = planned(Policy(1), state(*FOUR, systems=(SystemState(SYSTEM, None, (), broken),)))
    assert not plan.changes and set(fates(plan).values()) == {"held"}
    lost = replace(archive(100), timelines=Timelines({}, frozenset({1, 7})))
    plan = planned(Policy(1), state(*FOUR, wal=lost))
    assert not plan.changes and plan.to_dict()["held"][0]["error"]["code"] == "history-missing"


def test_a_backup_that_lost_its_wal_is_not_counted() -> None:
    whole = archive(100)
    entries = {name: entry for name, entry in whole.entries.items() if not name.endswith("5A")}
    plan = planned(Policy(1), state(*FOUR, wal=replace(whole, entries=entries)))
    assert fates(plan) == {"b10": "-outside", "b40": "-outside", "b70": "count", "b90": "window"}


def test_a_system_of_the_past_goes_when_the_present_has_what_it_needs() -> None:
    wal = archive(20, earlier=20)
    past = SystemState(7, wal, tuple(StoredWal(n, 10, "s", f"/{n}") for n in wal.entries))
    old = backup(5, label="old", system_id=7, started_at=at(-15), stopped_at=at(-14.5))
    now = SystemState(SYSTEM, archive(100), ())
    plan = planned(Policy(4), state(old, *FOUR, systems=(past, now)))
    assert fates(plan)["old"] == "-outside" and len(plan.wal[0].doomed) == 20
    plan = planned(Policy(5), state(old, *FOUR, systems=(past, now)))
    assert fates(plan)["old"] == "few" and len(plan.wal[0].doomed) == 4


def test_nothing_to_count_from_means_that_all_wal_stays() -> None:
    plan = planned(Policy(1), state())
    assert not plan.changes and plan.wal[0].runs[0].why == "no-backup"


def test_a_plan_that_breaks_a_promise_is_refused() -> None:
    plan = make_plan(Policy(2), state(*FOUR))
    name = segment_name(Segment(1, 80), SIZE)
    cut = replace(plan.wal[0], doomed=(*plan.wal[0].doomed, StoredWal(name, 10, "s", f"/{name}")))
    with pytest.raises(Refused) as caught:
        prove_survivors(replace(plan, wal=(cut,)))
    assert caught.value.code == "expiry-unsafe" and "nothing was deleted" in caught.value.happened
    gone = tuple(replace(one, keep=False) if one.label == "b90" else one for one in plan.verdicts)
    with pytest.raises(Refused) as caught:
        prove_survivors(replace(plan, verdicts=gone))
    assert caught.value.code == "expiry-unsafe" and "b90" in caught.value.happened


@pytest.mark.parametrize(("count", "window", "wal"), [(0, None, None), (1, -1, None), (1, None, -1)])
def test_policies_that_make_no_sense(count: int, window: int | None, wal: int | None) -> None:
    with pytest.raises(Refused) as caught:
        Policy(count, window, wal)
    assert caught.value.code == "retention-invalid"


def test_every_reason_has_words_in_both_languages() -> None:
    plan = planned(Policy(1, None, HOUR), state(*FOUR, backup(50, label="p", pinned=True)))
    result = {"changed": True, "executed": False, "plan": plan.to_dict(), "deleted": {}}
    english, japanese = lines(result, "en"), lines(result, "ja")
    assert len(english) == len(japanese) and any("pinned" in line for line in english)
    assert all(any(ord(letter) > 0x3000 for letter in pair[1]) for pair in _WORDS.values())


def test_a_hundred_thousand_segments_are_planned_in_seconds() -> None:
    backups = [backup(n, per_hour=200) for n in range(1000, 100000, 4000)]
    known = state(*backups, wal=archive(100_000, per_hour=200))
    begun = time.process_time()
    plan = planned(Policy(3, 5 * 86400), known)
    seconds = time.process_time() - begun
    assert len(plan.wal[0].doomed) > 50_000
    # Five times what it takes.
    assert seconds < 15, f"{seconds:.1f} s"


def came(number: int, hours: float, **more: Any) -> Backup:
    """One that a door took in at an hour of its own clock."""
    owner = {"door": "db1", "since": format_utc(at(hours)), "host": "vault", "pid": 7}
    return backup(number, owner=owner, **more)


def test_what_a_client_says_of_time_makes_nothing_older_that_came_by_a_door() -> None:
    """Somebody with a key lives through months in an hour: what came before him stays as long as was promised."""
    good = (came(10, 10), came(40, 40), came(70, 70))
    leaps = [came(80 + n, 100 + n / 10, stopped_at=at(70 + 150 * (n + 1))) for n in range(4)]
    wal = archive(100)
    for name in sorted(wal.entries)[79:]:
        wal.entries[name] = replace(wal.entries[name], first_commit=None, last_commit=None)
    plan = planned(Policy(2, 50 * HOUR), state(*good, *leaps, wal=wal))
    # 70 came 31 hours ago, 40 is the last before the window.
    expected = {"b10": "-outside", "b40": "anchor", "b70": "window"}
    assert {label: why for label, why in fates(plan).items() if label in expected} == expected
    assert first_kept(plan) == 40
    # What came through no door, or before the clock was set back, has no other age than what it says.
    local = [one.changed(owner={}) for one in (*good, *leaps)]
    assert fates(planned(Policy(2, 50 * HOUR), state(*local, wal=wal)))["b70"] == "-outside"
    ahead = [came(n, 4000) for n in (10, 40, 70)]
    assert fates(planned(Policy(1, 20 * HOUR), state(*ahead, came(90, 90))))["b10"] == "-outside"
