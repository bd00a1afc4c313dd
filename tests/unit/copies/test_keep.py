# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A copy's own retention, by a model that knows nothing of the plan's arithmetic: after any number of expiries what the
policy promises can be walked from a kept backup through WAL that is still there."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.keep import plan_keep, prove_keep
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.lived import remembered
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.sheets import Kept, Sheet
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import format_utc
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.policy import Policy

SIZE = 1 << 24
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


class Past:
    """One segment an hour on one timeline (or several, by promotion), and backups now and then."""

    def __init__(self, seed: int, hours: int) -> None:
        rnd = random.Random(seed)
        self.sheets: dict[str, Sheet] = {}
        self.backups: list[dict[str, Any]] = []
        timeline, self.histories = 1, {}
        forks: list[tuple[int, int]] = []
        self.segments: dict[tuple[int, int], datetime] = {}
        objects: dict[str, dict[str, Kept]] = {}
        for hour in range(1, hours):
            if rnd.random() < 0.02:
                forks = [*forks, (timeline, hour * SIZE + 5)]
                timeline += 1
                lines = "".join(f"{old}\t{at >> 32:X}/{at & 0xFFFFFFFF:X}\tx\n" for old, at in forks)
                self.histories[f"{timeline:08X}.history"] = lines
            name = f"{timeline:08X}{hour // 256:08X}{hour % 256:08X}"
            when = BEGIN + hour * HOUR
            self.segments[timeline, hour] = when
            key = f"wal/7/{timeline:08X}/{name}.zst"
            kept = Kept(key, 9, "", 9, "", "", when.timestamp())
            objects.setdefault(f"wal/7/{timeline:08X}/{name[:16]}", {})[key] = kept
            if rnd.random() < 0.1 or hour == 1:
                self._backup(rnd, timeline, hour, when)
        for group, found in objects.items():
            self.sheets[group] = Sheet(group, "wal", "whole", {}, found)
        facts = {"histories": self.histories}
        self.sheets["wal/7/histories"] = Sheet("wal/7/histories", "wal", "whole", facts, {})

    def _backup(self, rnd: random.Random, timeline: int, hour: int, when: datetime) -> None:
        full = not self.backups or rnd.random() < 0.5
        label = f"b{hour:05}"
        facts = {
            "label": label,
            "kind": "full" if full else "incremental",
            "parent": None if full else self.backups[-1]["label"],
            "pinned": rnd.random() < 0.05,
            "system_id": "7",
            "timeline": timeline,
            "start_lsn": f"0/{hour * SIZE + 40:X}",
            "stop_lsn": f"0/{hour * SIZE + 400:X}",
            "started_at": format_utc(when),
            "stopped_at": format_utc(when + timedelta(minutes=1)),
            "wal_segment_size": SIZE,
        }
        self.backups.append({**facts, "hour": hour, "ended": when + timedelta(minutes=1)})
        group = f"base/{label}"
        self.sheets[group] = Sheet(
            group, "base", "whole", facts, {f"{group}/x": Kept(f"{group}/x", 5, "", 5, "", "", 0)}
        )

    def line(self, timeline: int, hour: int) -> int:
        """Which timeline holds the segment of an hour, seen from a timeline."""
        for old in range(1, timeline + 1):
            if (old, hour) in self.segments and all(
                (t, hour) not in self.segments for t in range(old + 1, timeline + 1)
            ):
                return old
        raise AssertionError(hour)


def apply(past: Past, policy: Policy) -> tuple[set[str], set[tuple[int, int]], Sheet]:
    """Labels and segments that are left, and what is remembered of the rest."""
    plan = plan_keep(policy, None, past.sheets, {})
    prove_keep(plan, past.sheets, {})
    labels = {str(one["label"]) for one in past.backups} - {group[5:] for group in plan.groups}
    gone = {(int(key.split("/")[2], 16), int(key.split("/")[3][16:24], 16)) for key in plan.wal}
    return labels, set(past.segments) - gone, remembered(plan.lived, plan.before)


@given(
    seed=st.integers(0, 10**9),
    hours=st.integers(3, 220),
    count=st.integers(1, 4),
    window=st.one_of(st.none(), st.integers(0, 200)),
    wal=st.one_of(st.none(), st.integers(0, 200)),
)
def test_every_moment_that_is_promised_can_be_reached_and_nothing_else_lingers(
    seed: int, hours: int, count: int, window: int | None, wal: int | None
) -> None:
    past = Past(seed, hours)
    policy = Policy(count, None if window is None else window * 3600, None if wal is None else wal * 3600)
    labels, segments, lived = apply(past, policy)
    by_label = {str(one["label"]): one for one in past.backups}
    newest = max(past.segments.values())
    newest = max([newest, *(one["ended"] for one in past.backups)])
    full = [one for one in past.backups if one["kind"] == "full"]
    assert {str(one["label"]) for one in full[-count:]} <= labels
    for label in labels:
        parent = by_label[label]["parent"]
        assert parent is None or parent in labels
        assert (by_label[label]["timeline"], by_label[label]["hour"]) in segments
    if len(full) >= count:
        edge = full[-count]["ended"]
        if window is not None:
            edge = min(edge, newest - window * HOUR)
        needed = edge if wal is None else max(edge, newest - wal * HOUR)
        last = max(past.segments)
        for (timeline, hour), when in past.segments.items():
            if timeline != last[0] or when < needed:
                continue
            if not any(one["ended"] <= when and one["timeline"] <= timeline for one in past.backups):
                continue
            starts = [by_label[one] for one in labels if by_label[one]["ended"] <= when]
            reached = any(
                all((past.line(timeline, step), step) in segments for step in range(one["hour"], hour + 1))
                for one in starts
                if past.line(timeline, one["hour"]) == one["timeline"]
            )
            assert reached, f"{timeline}/{hour} cannot be reached any more"
        anchors = max([one["hour"] for one in past.backups if one["ended"] <= edge] or [0])
        old = [one for one in labels if by_label[one]["hour"] < anchors and not by_label[one]["pinned"]]
        if len(past.histories) == 0:
            chained = {str(by_label[one]["parent"]) for one in labels}
            assert all(one in chained for one in old), "what nothing needs is still there"
    # A second expiry finds nothing more to do.
    left = {name: sheet for name, sheet in past.sheets.items() if sheet.kind != "base" or name[5:] in labels}
    for name, sheet in left.items():
        keys = {key for key in sheet.objects if sheet.kind == "wal" and not _in(key, segments)}
        left[name] = sheet.without(keys)
    again = plan_keep(policy, None, {**left, lived.group: lived}, {})
    assert again.groups == () and again.wal == ()


def _in(key: str, segments: set[tuple[int, int]]) -> bool:
    parts = key.split("/")
    return (int(parts[2], 16), int(parts[3][16:24], 16)) in segments


def year_of(wrong: dict[int, timedelta], step: timedelta = 10 * 24 * HOUR) -> dict[str, Sheet]:
    """A full backup every ``step`` for a year, a segment every day; ``wrong``: backup -> how far its clock was off."""
    sheets: dict[str, Sheet] = {}
    past, days = Past(1, 2), range(1, 366)
    segments = {
        f"wal/7/00000001/00000001{day // 256:08X}{day % 256:08X}.zst": BEGIN + day * 24 * HOUR for day in days
    }
    kept = {key: Kept(key, 9, "", 9, "", "", when.timestamp()) for key, when in segments.items()}
    sheets["wal/7/00000001/0000000100000000"] = Sheet(
        "wal/7/00000001/0000000100000000", "wal", "whole", {}, kept
    )
    facts = next(sheet.facts for sheet in past.sheets.values() if sheet.kind == "base")
    for number in range(1, int(timedelta(days=360) / step) + 1):
        when = BEGIN + number * step + HOUR
        day = number * step // timedelta(days=1) + 1
        label, group = f"b{number:02}", f"base/b{number:02}"
        told = {
            **facts,
            "label": label,
            "start_lsn": f"0/{day * SIZE + 40:X}" if day < 256 else f"1/{(day - 256) * SIZE + 40:X}",
            "stop_lsn": f"0/{day * SIZE + 400:X}" if day < 256 else f"1/{(day - 256) * SIZE + 400:X}",
            "stopped_at": format_utc(when + wrong.get(number, timedelta())),
            "pinned": False,
        }
        sheets[group] = Sheet(
            group, "base", "whole", told, {f"{group}/x": Kept(f"{group}/x", 5, "", 5, "", "", 0)}
        )
    return sheets


@pytest.mark.parametrize("years", [-30, -1, 1, 10, 70])
@pytest.mark.parametrize("number", [5, 33, 34, 35, 36])
def test_one_backup_of_a_clock_far_off_does_not_make_the_others_old(number: int, years: int) -> None:
    window = Policy(2, 100 * 86400)
    plan = plan_keep(window, None, year_of({number: timedelta(days=365 * years)}), {})
    kept = {int(group[6:]) for group in plan.why}
    # 36 backups, every ten days: those of the last hundred days, and one before them.
    assert set(range(26, 37)) <= kept
    # What is off is a few days of a life at most, so that two more may stay, and itself.
    assert kept - {number} <= set(range(23, 37))


@pytest.mark.parametrize(("moved_on", "first"), [(366, 1), (200, 26)])
def test_an_archive_that_was_moved_keeps_what_is_older_for_a_window_longer(moved_on: int, first: int) -> None:
    """A program that keeps no dates gives one day to all files; nothing goes too early, and in time everything goes."""
    sheets = year_of({})
    (group,) = (name for name, sheet in sheets.items() if sheet.kind == "wal")
    moment = (BEGIN + timedelta(days=moved_on)).timestamp()
    same = {
        key: replace(one, modified_at=max(one.modified_at, moment))
        for key, one in sheets[group].objects.items()
    }
    sheets[group] = replace(sheets[group], objects=same)
    plan = plan_keep(Policy(2, 100 * 86400), None, sheets, {})
    assert {int(name[6:]) for name in plan.why} == set(range(first, 37))


def test_a_quiet_time_whose_wal_is_gone_is_remembered_and_nothing_lingers() -> None:
    """A backup a month, WAL for a day: what lies between the backups is deleted, and yet they grow old."""
    policy, step = Policy(1, 90 * 86400, 86400), timedelta(days=30)
    full = year_of({}, step)
    (group,) = (name for name, sheet in full.items() if sheet.kind == "wal")
    sheets: dict[str, Sheet] = {}
    for number in range(1, 13):
        until = (BEGIN + number * step + 30 * HOUR).timestamp()
        already = sheets[group].objects if group in sheets else {}
        since = (BEGIN + (number - 1) * step + 30 * HOUR).timestamp()
        came = {key: one for key, one in full[group].objects.items() if since <= one.modified_at < until}
        sheets[group] = Sheet(group, "wal", "whole", {}, {**already, **came})
        sheets[f"base/b{number:02}"] = full[f"base/b{number:02}"]
        plan = plan_keep(policy, None, sheets, {})
        prove_keep(plan, sheets, {})
        sheets = {
            name: sheet.without(set(plan.wal)) for name, sheet in sheets.items() if name not in plan.groups
        }
        sheets["lived"] = remembered(plan.lived, plan.before)
    assert {name for name, sheet in sheets.items() if sheet.kind == "base"} == {
        f"base/b{number:02}" for number in (9, 10, 11, 12)
    }
    # From the newest backup that is a day old, and what the others need to be consistent.
    assert len(sheets[group].objects) < 36


def test_a_plan_that_takes_too_much_is_refused() -> None:
    past = Past(1, 100)
    plan = plan_keep(Policy(1), None, past.sheets, {})
    full = [str(one["label"]) for one in past.backups if one["kind"] == "full"]
    with pytest.raises(Refused) as caught:
        prove_keep(replace(plan, groups=(*plan.groups, f"base/{full[-1]}")), past.sheets, {})
    assert caught.value.code == "expiry-unsafe"
    every = tuple(key for sheet in past.sheets.values() if sheet.kind == "wal" for key in sheet.objects)
    with pytest.raises(Refused):
        prove_keep(replace(plan, wal=every), past.sheets, {})


def test_a_backup_that_cannot_be_understood_holds_everything() -> None:
    past = Past(2, 150)
    group = next(name for name in past.sheets if name.startswith("base/"))
    past.sheets[group] = Sheet(group, "base", "whole", {"label": "b00001"}, {})
    plan = plan_keep(Policy(1), None, past.sheets, {})
    assert group not in plan.groups and plan.wal == ()
