# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How deep things are verified, and when: by examples, and by living through weeks."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.gentle import Throttle
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.verify_plan import (
    DIGEST,
    FULL,
    LOOK,
    Item,
    Known,
    make_plan,
    sweep,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.verify_record import record_name

NOW = datetime(2026, 11, 21, 3, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def known(result: str = "good", signature: str = "s", days: float = 0.5, full: bool = True) -> Known:
    """A record that is so many days old."""
    at = NOW - days * DAY
    return Known(result, signature, at, at if full else None)


@pytest.mark.parametrize(
    ("record", "asked", "since", "expected"),
    [
        (None, False, None, (FULL, "new")),
        (known(full=False), False, None, (FULL, "new")),
        (known(), False, None, (LOOK, "known")),
        (known(), True, None, (FULL, "asked")),
        (known(signature="other"), False, None, (FULL, "changed")),
        (known(result="bad"), False, None, (FULL, "was-bad")),
        (known(days=8), False, None, (DIGEST, "turn")),
        (known(days=-1), False, None, (DIGEST, "turn")),
        (known(days=3), False, NOW - DAY, (FULL, "thorough")),
        (known(days=0.5), False, NOW - DAY, (LOOK, "read-before")),
        (known(days=-1), False, NOW - DAY, (FULL, "thorough")),
        (known(result="bad"), False, NOW - DAY, (FULL, "was-bad")),
    ],
)
def test_one_item(
    record: Known | None, asked: bool, since: datetime | None, expected: tuple[str, str]
) -> None:
    records = {"a": record} if record else {}
    (step,) = make_plan([Item("a", 100, "s")], records, now=NOW, asked=asked, thorough_since=since)
    assert (step.depth, step.why) == expected


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.integers(10, 40))
def test_everything_is_read_in_turn_and_no_day_reads_much(sizes: list[int], days: int) -> None:
    """A month of cheap runs: nothing stays unread for longer than two rounds, no day reads far beyond its share."""
    items = [Item(str(number), size, "s") for number, size in enumerate(sizes)]
    records: dict[str, Known] = {}
    for day in range(days):
        now = NOW + day * DAY
        steps = make_plan(items, records, now=now)
        read = [step for step in steps if step.depth != LOOK]
        if day:
            # A share of a seventh, and the one thing that goes beyond it.
            assert sum(step.item.stored_bytes for step in read) <= sum(sizes) / 7 + max(sizes)
        for step in read:
            records[step.item.identity] = Known("good", "s", now, now)
        ages = [now - (record.read_at or now) for record in records.values()]
        assert max(ages) <= 14 * DAY


@given(st.integers(1, 200), st.integers(0, 5), st.integers(8, 30))
def test_segments_are_read_when_they_come_and_then_in_turn(count: int, daily: int, days: int) -> None:
    sizes = {f"00000001{0:08X}{number:08X}": 10 for number in range(count)}
    cursor: str | None = None
    high: dict[str, str] = {}
    read_on: dict[str, int] = {}
    for day in range(days):
        for _more in range(daily):
            sizes[f"00000001{0:08X}{len(sizes):08X}"] = 10
        plan = sweep(sizes, cursor, high, thorough=False)
        assert len(set(plan.names)) == len(plan.names)
        for name in plan.names:
            read_on[name] = day
            high[name[:8]] = max(high.get(name[:8], ""), name)
        if len(plan.names) > plan.fresh:
            cursor = plan.names[-1]
        assert read_on.keys() == sizes.keys()
        assert day - min(read_on.values()) <= 9


def test_a_thorough_sweep_goes_on_after_the_cursor() -> None:
    sizes = dict.fromkeys(["a" * 24, "b" * 24, "c" * 24], 1)
    assert sweep(sizes, None, {}, thorough=True).names == tuple(sizes)
    assert sweep(sizes, "a" * 24, {}, thorough=True).names == ("b" * 24, "c" * 24)


@given(st.lists(st.integers(1, 1 << 20), max_size=50), st.integers(1, 1 << 20))
def test_a_throttle_never_lets_more_through_than_its_rate(counts: list[int], rate: int) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    throttle = Throttle(rate, clock=lambda: now, sleep=sleep)
    for count in counts:
        throttle.took(count)
    assert throttle.total == sum(counts)
    assert now == pytest.approx(sum(counts) / rate)


def test_names_of_records_are_files_and_tell_dumps_apart() -> None:
    names = [
        record_name("dump", f"dump/{database}/{label}")
        for database, label in (
            ("a", "b-c"),
            ("a-b", "c"),
            ("%E3%83%86" * 21, "x" * 63),
            ("%E3%83%86" * 21, "y" * 63),
        )
    ]
    assert len(set(names)) == len(names)
    assert all("/" not in name and len(name) <= 200 for name in names)
    assert record_name("base", "20261121T031500Z-full") == "verify-20261121T031500Z-full"


def test_what_is_stored_may_be_large() -> None:
    """Terabytes: a share of them is no length of time (999,999,999 days are the longest)."""
    terabyte = 10**12
    items = [Item(str(number), 3 * terabyte, "s") for number in range(14)]
    records = {one.identity: known(days=8 + number) for number, one in enumerate(items)}
    steps = make_plan(items, records, now=NOW)
    assert [step.item.identity for step in steps if step.depth == DIGEST] == ["12", "13"]
    sizes = {f"{number:024X}": terabyte for number in range(70)}
    first = sweep(sizes, None, {"00000000": f"{69:024X}"}, thorough=False)
    assert first.names == tuple(f"{number:024X}" for number in range(10))
