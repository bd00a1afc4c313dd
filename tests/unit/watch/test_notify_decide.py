# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is worth a message, and that nothing is told too often or not at all."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.notify_decide import (
    MOST_A_DAY,
    Event,
    Problem,
    decide,
)

NOW = datetime(2026, 11, 21, 3, 15, tzinfo=timezone.utc)
KEY = "run:backup"


class Story:
    """One key through time."""

    def __init__(self) -> None:
        self.state: dict[str, dict[str, Any]] = {}
        self.told: list[tuple[str, float]] = []

    def at(self, hours: float, code: str | None) -> list[Event]:
        now = NOW + timedelta(hours=hours)
        problems = {} if code is None else {KEY: Problem(KEY, code, {"happened": "x"})}
        events, self.state = decide(self.state, problems, {KEY} if code is None else set(), now)
        self.told += [(event.kind, hours) for event in events]
        return events


def test_a_failure_is_told_once_and_again_each_day_until_it_is_gone() -> None:
    story = Story()
    for hour in range(0, 60):
        story.at(hour, "disk-full")
    (recovery,) = story.at(60, None)
    assert story.told == [("failure", 0), ("still", 24), ("still", 48), ("recovery", 60)]
    assert (recovery.since, recovery.count, recovery.code) == (NOW, 60, "disk-full")


def test_what_works_is_not_spoken_of() -> None:
    story = Story()
    for hour in range(100):
        story.at(hour, None)
    assert story.told == [] and story.state == {}


def test_another_reason_is_told_but_not_each_minute() -> None:
    story = Story()
    story.at(0, "disk-full")
    story.at(0.1, "server-not-running")
    assert story.told == [("failure", 0)]
    story.at(1.2, "server-not-running")
    assert story.told == [("failure", 0), ("failure", 1.2)]
    story.at(2.5, "server-not-running")
    assert len(story.told) == 2


def test_what_flaps_is_not_told_for_ever() -> None:
    story = Story()
    for minute in range(0, 24 * 60, 5):
        story.at(minute / 60, "x" if minute % 10 == 0 else None)
    assert len(story.told) == MOST_A_DAY


def test_a_key_that_was_not_looked_at_stays_as_it_was() -> None:
    state: dict[str, dict[str, Any]] = {}
    _events, state = decide(state, {KEY: Problem(KEY, "x", {})}, set(), NOW)
    events, state = decide(state, {}, {"check:rpo"}, NOW + timedelta(hours=1))
    assert events == [] and state[KEY]["open"]


def test_an_event_comes_back_from_its_json() -> None:
    event = Event("still", KEY, NOW, "x", NOW - timedelta(days=2), 7, {"happened": "日本語"}, {"a": [1]})
    assert Event.from_dict(event.to_dict()) == event


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 600), st.sampled_from([None, "a", "b"])), max_size=80))
def test_of_any_story(steps: list[tuple[int, str | None]]) -> None:
    """Never more than the limit in any day; never two of a kind without a reason; a lasting failure is always told
    within a day, and who heard of a failure hears of its end within a day of looks."""
    story = Story()
    minute = 0
    known_bad = False
    for wait, code in steps:
        minute += wait
        for event in story.at(minute / 60, code):
            assert event.kind in ("failure", "still", "recovery")
            if event.kind == "recovery":
                assert known_bad and code is None
            else:
                assert code is not None
            known_bad = event.kind != "recovery"
    for _kind, hour in story.told:
        assert sum(hour <= other < hour + 24 for _other, other in story.told) <= MOST_A_DAY
    # Looked at once more after two quiet days of failing, it is known to have failed.
    for later in (48, 73):
        story.at(minute / 60 + later, "a")
    assert story.told[-1][0] in ("failure", "still") and story.told[-1][1] >= minute / 60 + 48
