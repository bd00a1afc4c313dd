# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The archives that the decisions are tried against."""

from __future__ import annotations

from tests.unit.wal.story import SIZE, Story, backup, end

S = SIZE


def straight(**changes: object) -> Story:
    """One timeline, segments 1 to 9, a commit in the middle of each at second 10 times its number."""
    story = Story({1: [end(n * S + 6400, 10 * n, 100 + n) for n in range(1, 10)]}, {1: range(1, 10)})
    for name, value in changes.items():
        setattr(story, name, value)
    return story


EARLY = backup(1 * S + 40, 1 * S + 640, 5, label="early")
LATE = backup(5 * S + 40, 5 * S + 640, 45, label="late")


def name(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}00000000{number:08X}"


def forked(**changes: object) -> Story:
    """Timeline 1 to segment 9; 2 leaves it in segment 4 (after 104) and goes to 8; 3 leaves 2 in 6."""
    fork, second = 4 * S + 8000, 6 * S + 8000
    story = Story(
        {
            1: [end(n * S + 6400, 10 * n, 100 + n) for n in range(1, 10)],
            2: [end(4 * S + 9600, 101, 205)] + [end(n * S + 6400, 100 + n, 201 + n) for n in range(5, 9)],
            3: [end(n * S + 9600, 200 + n, 300 + n) for n in range(6, 9)],
        },
        {1: range(1, 10), 2: range(4, 9), 3: range(6, 9)},
        {2: [(1, fork)], 3: [(1, fork), (2, second)]},
    )
    for key, value in changes.items():
        setattr(story, key, value)
    return story


SECOND = backup(5 * S + 40, 5 * S + 640, 102, timeline=2, label="second")
