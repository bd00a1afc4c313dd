# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Ages by clocks that go wrong, held against the life itself: what is told is never older than it is."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.ages import (
    Chronicle,
    Place,
    Sign,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.memory import recall, remember

BIRTH = datetime(2026, 1, 1, tzinfo=timezone.utc)
HOUR = 3600.0
DAY = 24 * HOUR

#: Seconds from one sign of life to the next, none of them long enough to be taken for a leap.
steps = st.lists(st.sampled_from([0.0, 1.0, 60.0, HOUR, 9 * HOUR, DAY, 5 * DAY]), min_size=1, max_size=60)


def signs(moments: list[float]) -> list[Sign]:
    """In the order in which they are given."""
    return [
        (Place(7, 1 + number // 25, number * 64), BIRTH + timedelta(seconds=moment))
        for number, moment in enumerate(moments)
    ]


def ages(moments: list[float], remembered: list[Sign] | None = None, window: float = 0.0) -> list[float]:
    """What the engine tells of each sign."""
    told = signs(moments)
    life = Chronicle(told, window, remembered or [])
    return [life.age(place).seconds for place, _moment in told]


def lived(gaps: list[float]) -> list[float]:
    """The true moments of signs."""
    moments = [0.0]
    for gap in gaps:
        moments.append(moments[-1] + gap)
    return moments


@given(steps)
def test_a_clock_that_is_right_is_believed(gaps: list[float]) -> None:
    moments = lived(gaps)
    assert ages(moments) == [moments[-1] - moment for moment in moments]


@given(steps, st.data())
def test_a_clock_that_was_wrong_for_a_moment_makes_nothing_older(
    gaps: list[float], data: st.DataObject
) -> None:
    """Several times, forwards and backwards; each time one sees it jump back: going there, or coming home."""
    moments = lived(gaps)
    said = list(moments)
    number = 1
    while number < len(moments) - 1:
        number += data.draw(st.integers(1, 20))
        length = data.draw(st.integers(1, 4))
        wrong = data.draw(st.sampled_from([HOUR, 5 * HOUR, 3 * DAY, 7.9 * DAY, -HOUR, -2 * DAY, -7 * DAY]))
        if number + length >= len(moments):
            break
        # Set back, and past all that it said before while it was wrong: nobody can tell that from a silence.
        if wrong < 0 and moments[number + length - 1] + wrong >= moments[number - 1]:
            continue
        for one in range(number, number + length):
            said[one] = moments[one] + wrong
        number += length + 1
    for told, moment in zip(ages(said), moments):
        assert told <= moments[-1] - moment


@given(steps, st.lists(st.tuples(st.integers(0, 60), st.sampled_from([12, 300, 4000, -12, -300, -4000]))))
def test_a_clock_that_leaps_makes_nothing_older(gaps: list[float], leaps: list[tuple[int, int]]) -> None:
    """For good, to and fro: nothing is lived in a leap."""
    moments = lived(gaps)
    said = list(moments)
    for place, days in leaps:
        for one in range(place, len(said)):
            said[one] += days * DAY
    for told, moment in zip(ages(said), moments):
        assert told <= moments[-1] - moment


def test_a_leap_backwards_for_good_begins_anew_and_forgets_nothing() -> None:
    """A clock that was 300 days ahead from its birth is set right: life before the correction still counts."""
    moments = [300 * DAY, 301 * DAY, 302 * DAY, 2.1 * DAY, 3 * DAY, 4 * DAY]
    assert ages(moments) == pytest.approx([3.9 * DAY, 2.9 * DAY, 1.9 * DAY, 1.9 * DAY, DAY, 0])


def test_a_moment_three_days_ahead_is_no_three_days() -> None:
    moments = [0, DAY, 2 * DAY, 5.01 * DAY, 2.02 * DAY, 3 * DAY]
    assert ages(moments) == pytest.approx([3 * DAY, 2 * DAY, DAY, 0, 0, 0])


def test_what_is_written_behind_is_as_old_as_the_next_that_is_not() -> None:
    moments = [0, 5 * DAY, 3 * DAY, 3.5 * DAY, 6 * DAY, 7 * DAY]
    assert ages(moments) == pytest.approx([7 * DAY, 2 * DAY, DAY, DAY, DAY, 0])


def test_a_long_window_bears_a_long_silence() -> None:
    moments = [0, 20 * DAY, 21 * DAY]
    assert ages(moments) == [DAY, DAY, 0]
    assert ages(moments, window=90 * DAY) == [21 * DAY, DAY, 0]


def on(timeline: int, *days: float) -> list[Sign]:
    """Signs of life on a timeline."""
    return [
        (Place(7, timeline, number * 64), BIRTH + timedelta(days=day)) for number, day in enumerate(days, 1)
    ]


@pytest.mark.parametrize("silent", [3, 20])
def test_an_undo_makes_the_parent_no_older(silent: int) -> None:
    """A restore is taken back after some days; the parent goes on, and what the child has lived is not its own."""
    child = on(2, *range(101, 101 + silent))
    parent = on(1, 90, 95, 100, *range(102 + silent, 113 + silent))
    life = Chronicle([*parent, *child])
    end = parent[-1][1]
    for place, moment in parent:
        assert life.age(place).seconds <= (end - moment).total_seconds()
    # Nothing but the child's own life can be in doubt.
    assert life.age(parent[0][0]).seconds / DAY >= 20


def test_a_promotion_under_a_clock_that_was_ahead() -> None:
    """The restored host's clock is right; what the parent wrote is no older than by its own life and the child's."""
    life = Chronicle([*on(1, 400, 401, 402), *on(2, 103, 104, 120)])
    assert [life.age(place).seconds / DAY for place, _moment in on(1, 0, 0, 0)] == [2, 1, 0]
    assert [life.age(place).seconds / DAY for place, _moment in on(2, 0, 0, 0)] == [1, 0, 0]


def test_a_promotion_like_any_other() -> None:
    life = Chronicle([*on(1, 0, 1, 2), *on(2, 2.5, 3), *on(3, 4, 5)])
    assert [life.age(place).seconds / DAY for place, _moment in on(1, 0, 0, 0)] == [5, 4, 3]
    assert [life.age(place).seconds / DAY for place, _moment in on(2, 0, 0)] == [2.5, 2]


# -- what is remembered -----------------------------------------------------------------------------------


@given(
    steps, st.lists(st.tuples(st.integers(0, 60), st.sampled_from([12, 300, -300])), max_size=3), st.data()
)
def test_what_was_deleted_is_remembered(
    gaps: list[float], leaps: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Whichever signs go, those that stay are as old as they were."""
    said = lived(gaps)
    for place, days in leaps:
        for one in range(place, len(said)):
            said[one] += days * DAY
    before = ages(said)
    kept = sorted(data.draw(st.sets(st.integers(0, len(said) - 1), min_size=1)) | {len(said) - 1})
    memory = Chronicle(signs(said)).memory()
    known = signs(said)
    life = Chronicle([known[one] for one in kept], 0.0, memory)
    told = [life.age(known[one][0]).seconds for one in kept]
    assert told == pytest.approx([before[one] for one in kept])
    # And once more, from what is known then.
    again = Chronicle([known[one] for one in kept], 0.0, life.memory())
    assert [again.age(known[one][0]).seconds for one in kept] == pytest.approx(told)


def test_without_memory_quiet_times_are_taken_for_leaps() -> None:
    """Backups twelve days apart, and WAL of the last day only: it is the WAL in between that told of life."""
    moments = [hour * HOUR for hour in range(36 * 24 + 1)]
    whole = signs(moments)
    memory = Chronicle(whole).memory()
    kept = [whole[0], whole[12 * 24], whole[24 * 24], *whole[-24:]]
    forgetful, mindful = Chronicle(kept), Chronicle(kept, 0.0, memory)
    assert [forgetful.age(place).seconds / DAY for place, _moment in kept[:3]] == pytest.approx([23 / 24] * 3)
    assert [mindful.age(place).seconds / DAY for place, _moment in kept[:3]] == [36, 24, 12]


@settings(max_examples=20)
@given(st.integers(2, 300_000))
def test_memory_is_short(seconds: int) -> None:
    """A day's worth of even life on a timeline is one sign, and both of its ends."""
    moments = [float(number * seconds) for number in range(1000)]
    assert len(Chronicle(signs(moments)).memory()) <= 2 * (1000 / 25 + moments[-1] / DAY + 1)


def test_it_is_kept_in_the_repository(tmp_path: Path) -> None:
    repository = Repository(str(tmp_path), "main")
    repository.create()
    assert recall(repository) == ()
    told = signs([0.25, 3 * DAY])
    remember(repository, told)
    assert recall(repository) == tuple(told)
    for nonsense in (
        "",
        "[]",
        '{"format": 1}',
        '{"format": 1, "signs": [[1, 2]]}',
        '{"format": 2, "signs": []}',
    ):
        (tmp_path / "main" / "lived.json").write_text(nonsense)
        assert recall(repository) == ()
