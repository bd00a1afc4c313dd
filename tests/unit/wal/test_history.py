# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Timeline histories: files as servers write them, damaged ones, and the lines that follow from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.branch import Branch
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.content import PLAIN
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.history import (
    Fork,
    History,
    Span,
    Timelines,
    parse_history,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.proof import history_digests
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.segment import Segment
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.source import StoredWal

MB = 1 << 20


def test_a_file_as_a_server_writes_it() -> None:
    text = "1\t0/3000060\tno recovery target specified\n\n2\t0/5000000\tbefore 2026-11-21 03:04:05.1+00\n"
    assert parse_history(3, text) == History(
        3,
        (
            Fork(1, 0x3000060, "no recovery target specified"),
            Fork(2, 0x5000000, "before 2026-11-21 03:04:05.1+00"),
        ),
    )


def test_comments_and_missing_reasons_are_read_as_postgresql_reads_them() -> None:
    assert parse_history(2, "# a comment\n  1 0/30000A0\n").forks == (Fork(1, 0x30000A0, ""),)


@pytest.mark.parametrize(
    ("timeline", "text", "word"),
    [
        (2, "", "empty"),
        (2, "\n# nothing\n", "empty"),
        (2, "garbage\n", "line 1"),
        (2, "1\t0/30000A0\tx\n\0\0\0", "line 2"),
        (2, "1\t0-30000A0\tx\n", "line 1"),
        (4, "2\t0/1\tx\n1\t0/2\tx\n", "timeline 1 after 2"),
        (4, "2\t0/1\tx\n2\t0/2\tx\n", "timeline 2 after 2"),
        (2, "2\t0/1\tx\n", "ancestor of 2"),
        (2, "0\t0/1\tx\n", "ancestor of 2"),
        (10, "16\t0/1\tx\n", "timeline 16"),
    ],
)
def test_damage_is_told(timeline: int, text: str, word: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_history(timeline, text)
    assert caught.value.code == "history-damaged"
    assert word in caught.value.happened and f"{timeline:08X}.history" in caught.value.happened


def timelines(*rows: tuple[int, list[tuple[int, int]]]) -> Timelines:
    histories = {
        timeline: History(timeline, tuple(Fork(parent, lsn, "") for parent, lsn in forks))
        for timeline, forks in rows
    }
    return Timelines(histories, frozenset({1, *histories}))


# 1 ── 2 (at 100) ── 3 (at 200) ── 10 (at 300) ── 11 (at 400)
#   └─ 4 (at 150)           └─ 5 (at 210, from 3)
FAMILY = timelines(
    (2, [(1, 100)]),
    (3, [(1, 100), (2, 200)]),
    (4, [(1, 150)]),
    (5, [(1, 100), (2, 200), (3, 210)]),
    (10, [(1, 100), (2, 200), (3, 300)]),
    (11, [(1, 100), (2, 200), (3, 300), (10, 400)]),
)


def test_lines_of_forks_of_forks() -> None:
    assert FAMILY.lineage(1) == (Span(1, 0, None),)
    assert FAMILY.lineage(11) == (
        Span(1, 0, 100),
        Span(2, 100, 200),
        Span(3, 200, 300),
        Span(10, 300, 400),
        Span(11, 400, None),
    )
    assert FAMILY.children(1) == ((2, 100), (4, 150))
    assert FAMILY.children(3) == ((5, 210), (10, 300))
    assert FAMILY.leaves((1, 2, 3, 4, 5, 10, 11)) == (4, 5, 11)
    assert FAMILY.describe(10) == "timeline 10 (from 3 at 0/12C)"


@pytest.mark.parametrize(
    ("ancestor", "stop", "expected"),
    [
        (1, 90, (1, 2, 3, 4, 5, 10, 11)),
        (1, 100, (1, 2, 3, 4, 5, 10, 11)),
        (1, 101, (1, 4)),
        (1, 151, (1,)),
        (2, 150, (2, 3, 5, 10, 11)),
        (3, 250, (3, 10, 11)),
        (10, 401, (10,)),
    ],
)
def test_a_backup_leads_where_its_stop_lies_before_the_fork(
    ancestor: int, stop: int, expected: tuple[int, ...]
) -> None:
    assert FAMILY.descendants(ancestor, stop) == expected


def test_a_recovery_that_stopped_before_an_ancestors_fork() -> None:
    # PostgreSQL writes such a history when the target lies before the fork of the chosen timeline.
    odd = timelines((2, [(1, 500)]), (3, [(1, 500), (2, 300)]))
    assert odd.lineage(3) == (Span(1, 0, 300), Span(3, 300, None))
    assert odd.descendants(1, 400) == (1, 2)
    assert odd.descendants(2, 600) == (2,)


def test_a_missing_history_is_refused_when_needed() -> None:
    some = Timelines({}, frozenset({1, 3}))
    assert some.without_history == {3}
    assert some.lineage(1)
    with pytest.raises(Refused) as caught:
        some.lineage(3)
    assert caught.value.code == "history-missing" and "00000003.history" in caught.value.happened


@st.composite
def families(draw: st.DrawFn) -> dict[int, list[tuple[int, int]]]:
    """Histories as promotions make them: each child copies its parent's forks and adds one after them."""
    made: dict[int, list[tuple[int, int]]] = {1: []}
    number = 1
    for _dummy in range(draw(st.integers(0, 12))):
        number += draw(st.integers(1, 9))
        parent = draw(st.sampled_from(sorted(made)))
        begin = made[parent][-1][1] if made[parent] else 0
        made[number] = [*made[parent], (parent, begin + draw(st.integers(1, 3 * MB)))]
    return made


@given(families(), st.sampled_from([MB, 16 * MB]), st.integers(0, 40 * MB))
def test_lines_are_whole_and_segments_follow_them(
    family: dict[int, list[tuple[int, int]]], size: int, lsn: int
) -> None:
    every = timelines(*[(number, forks) for number, forks in family.items() if number != 1])
    for number in family:
        # Through the text that a server would write, decimal timelines and all.
        text = "".join(f"{parent}\t{at >> 32:X}/{at & 0xFFFFFFFF:X}\twhy\n" for parent, at in family[number])
        if number != 1:
            assert parse_history(number, text).forks == tuple(Fork(p, at, "why") for p, at in family[number])
        spans = every.lineage(number)
        assert spans[0].begin == 0 and spans[-1] == Span(number, spans[-1].begin, None)
        for left, right in zip(spans, spans[1:]):
            assert left.end == right.begin and left.timeline < right.timeline
        branch = Branch(spans, size)
        # Whose record it is, counted from the newest ancestor back.
        owner = number
        for parent, at in reversed(family[number]):
            if lsn < at:
                owner = parent
        assert branch.timeline_at(lsn) == owner
        # At a fork the child's segment is taken: the newest timeline that has begun in that segment or before.
        begun = [1] + [
            child
            for child, (_dummy, at) in zip(_line(family, number), family[number])
            if at // size <= lsn // size
        ]
        assert branch.segment(lsn // size) == Segment(begun[-1], lsn // size)


def _line(family: dict[int, list[tuple[int, int]]], number: int) -> list[int]:
    """The timelines that each fork leads to."""
    return [parent for parent, _dummy in family[number]][1:] + [number]


@pytest.mark.parametrize(
    ("numbers", "last"),
    [
        ({1: [1, 2, 3], 2: [3, 4, 5]}, 5),
        ({1: [1, 2, 3, 9], 2: []}, 2),
        ({1: [1, 2, 3, 9], 2: [2]}, 2),
        ({1: [4]}, None),
        ({}, None),
    ],
)
def test_the_last_segment_of_a_line(numbers: dict[int, list[int]], last: int | None) -> None:
    # Timeline 2 leaves 1 in the middle of segment 3.
    branch = Branch(timelines((2, [(1, 3 * MB + 100)])).lineage(2), MB)
    assert branch.last_present(numbers) == last


class Vanishing:
    """An archive out of which histories are taken while somebody plans."""

    def __init__(self, texts: dict[int, str]) -> None:
        self.texts = texts

    def list_files(self) -> list[StoredWal]:
        """Not asked."""
        return []

    def fetch(self, name: str, target_path: str, kind: str = PLAIN) -> str:
        """Not asked."""
        raise NotImplementedError(f"{name} {target_path} {kind}")

    def read_history(self, timeline: int) -> str | None:
        """What is there now."""
        return self.texts.get(timeline)


def test_a_history_that_is_gone_by_now_is_not_handed_out_unproven() -> None:
    """B13: without a digest in the plan, whatever lies under its name at the restore would be believed."""
    source = Vanishing({2: "1\t0/3000060\tx\n"})
    assert list(history_digests(["00000002.history"], source)) == ["00000002.history"]
    with pytest.raises(Refused) as caught:
        history_digests(["00000002.history", "00000003.history"], source)
    assert caught.value.code == "archive-changed" and "00000003.history" in caught.value.attempted
