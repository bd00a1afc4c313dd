# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Decisions between branches of history: what settles them, and what needs a timeline."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import format_utc
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import Target
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.lsn import format_lsn
from tests.unit.wal.cases import EARLY, SECOND, S, forked, name
from tests.unit.wal.story import at


@pytest.mark.parametrize(
    ("target", "timeline", "lsn", "names"),
    [
        (Target("latest", timeline=1), 1, 10 * S - 64, [name(n) for n in range(1, 10)]),
        (
            Target("latest", timeline=2),
            2,
            9 * S - 64,
            [name(n) for n in range(1, 4)] + [name(n, 2) for n in range(4, 9)],
        ),
        (
            Target("latest", timeline=3),
            3,
            9 * S - 64,
            [name(n) for n in range(1, 4)] + [name(n, 2) for n in (4, 5)] + [name(n, 3) for n in (6, 7, 8)],
        ),
        # Before the fork it is the parent's own line, whichever branch is asked.
        (Target("time", at(20), timeline=3), 1, 3 * S + 6400, [name(n) for n in range(1, 4)]),
        (Target("time", at(30)), 1, 4 * S + 6400, [name(n) for n in range(1, 5)]),
        (Target("xid", 306), 3, 6 * S + 9600, None),
        (Target("xid", 109), 1, 9 * S + 6400, None),
        (Target("xid", 205), 2, 4 * S + 9600, None),
        (Target("lsn", 2 * S), 1, 2 * S, [name(1), name(2)]),
        (Target("lsn", 4 * S + 9600, timeline=2), 2, 4 * S + 9600, None),
    ],
)
def test_branches(target: Target, timeline: int, lsn: int, names: list[str] | None) -> None:
    proof = forked().decide(target, EARLY)
    assert (proof.timeline, proof.lsn) == (timeline, lsn)
    if names:
        assert [segment.name for segment in proof.segments] == names
    assert proof.histories == tuple(f"{t:08X}.history" for t in range(2, timeline + 1))


@pytest.mark.parametrize(
    ("target", "timelines"),
    [
        (Target("latest"), [1, 2, 3]),
        (Target("time", at(60)), [1, 2, 3]),
        (Target("time", at(105)), [1, 2, 3]),
        (Target("time", at(207)), [1, 2, 3]),
        (Target("lsn", 5 * S), [1, 2, 3]),
        (Target("lsn", 9 * S + 640), [1, 2, 3]),
    ],
)
def test_what_differs_between_branches_needs_a_timeline(target: Target, timelines: list[int]) -> None:
    with pytest.raises(Refused) as caught:
        forked().decide(target, EARLY)
    assert caught.value.code == "timeline-ambiguous"
    assert [row["timeline"] for row in caught.value.details["branches"]] == timelines
    assert "Say which timeline is meant: 1, 2, 3" in caught.value.remedy


def test_a_backup_after_the_fork_settles_the_branch() -> None:
    story = forked()
    story.segments.pop(3)
    story.ends.pop(3)
    story.forks.pop(3)
    proof = story.decide(Target("latest"), EARLY, SECOND)
    assert (proof.backup, proof.timeline) == ("second", 2)
    proof = story.decide(Target("time", at(103)), EARLY, SECOND)
    assert (proof.backup, proof.timeline) == ("second", 2)
    # For an older time the older backup counts, and there both branches are possible.
    with pytest.raises(Refused) as caught:
        story.decide(Target("time", at(60)), EARLY, SECOND)
    assert caught.value.code == "timeline-ambiguous"
    with pytest.raises(Refused) as caught:
        story.decide(Target("latest", timeline=1), SECOND)
    assert caught.value.code == "timeline-not-descendant"


def test_a_parent_without_commits_after_the_fork_is_no_branch() -> None:
    """A planned switchover: the old timeline ends where the new one begins."""
    story = forked()
    story.segments = {1: range(1, 5), 2: range(4, 9)}
    story.ends[1] = story.ends[1][:4]
    story.forks.pop(3)
    proof = story.decide(Target("latest"), EARLY)
    assert proof.timeline == 2
    assert [segment.name for segment in proof.segments][2:5] == [name(3), name(4, 2), name(5, 2)]


def test_a_timeline_without_history_stops_everything_that_it_might_change() -> None:
    story = forked()
    story.forks.pop(3)
    for target in (
        Target("latest"),
        Target("time", at(20)),
        Target("xid", 205),
        Target("latest", timeline=3),
    ):
        with pytest.raises(Refused) as caught:
            story.decide(target, EARLY)
        assert caught.value.code == "history-missing"
    assert story.decide(Target("latest", timeline=2), EARLY).timeline == 2


def test_a_fault_on_a_branch_is_no_reason_to_take_another() -> None:
    story = forked(missing={name(5)})
    with pytest.raises(Refused) as caught:
        story.decide(Target("time", at(207)), EARLY)
    assert caught.value.code == "timeline-ambiguous"


def test_a_child_whose_wal_has_not_arrived() -> None:
    story = forked()
    story.segments = {1: range(1, 10)}
    for target in (Target("latest"), Target("time", at(70)), Target("xid", 108)):
        with pytest.raises(Refused) as caught:
            story.decide(target, EARLY)
        assert caught.value.code == "timeline-ambiguous"
        assert "no WAL of timeline 2 is archived yet" in caught.value.happened
    assert story.decide(Target("time", at(20)), EARLY).lsn == 3 * S + 6400
    assert story.decide(Target("time", at(70), timeline=1), EARLY).lsn == 8 * S + 6400
    with pytest.raises(Refused) as caught:
        story.decide(Target("latest", timeline=2), EARLY)
    assert (caught.value.code, caught.value.details["first"]) == ("segment-missing", name(4, 2))


def test_a_child_that_was_given_up_is_no_question_when_nothing_of_it_is_left() -> None:
    story = forked()
    story.segments = {1: range(1, 10)}
    assert story.decide(Target("time", at(70)), EARLY, given_up=(2,)).lsn == 8 * S + 6400
    assert story.decide(Target("time", at(20)), EARLY, given_up=(2,)).lsn == 3 * S + 6400
    with pytest.raises(Refused) as caught:
        story.decide(Target("time", at(70)), EARLY, given_up=(3,))
    assert caught.value.code == "timeline-ambiguous"


def test_a_parent_whose_wal_after_the_fork_is_damaged_may_have_been_meant() -> None:
    story = forked(faults={name(5): ("segment-corrupt", "why")})
    story.segments = {1: range(1, 6), 2: range(4, 9)}
    story.forks.pop(3)
    with pytest.raises(Refused) as caught:
        story.decide(Target("latest"), EARLY)
    assert caught.value.code == "timeline-ambiguous"
    assert [row["timeline"] for row in caught.value.details["branches"]] == [1, 2]


def test_the_childs_copy_of_the_forks_segment_serves_when_the_parents_is_not_there() -> None:
    story = forked()
    story.segments = {1: range(1, 4), 2: range(4, 9)}
    story.forks.pop(3)
    proof = story.decide(Target("xid", 104), EARLY)
    assert (proof.timeline, proof.lsn) == (2, 4 * S + 6400)
    assert [segment.name for segment in proof.segments] == [name(n) for n in (1, 2, 3)] + [name(4, 2)]
    assert proof.last_commit and proof.last_commit.timeline == 1
    # As soon as the parent's is there it is taken.
    story.segments[1] = range(1, 5)
    assert story.decide(Target("xid", 104), EARLY).timeline == 1


@pytest.mark.parametrize(
    ("live", "moment", "timeline"),
    [(2, 107, 2), (1, 107, None), (None, 107, None), (2, 60, None), (1, 60, None)],
)
def test_what_the_live_cluster_settles(live: int | None, moment: int, timeline: int | None) -> None:
    """The live line reaches the target, the branch that a restore left behind ended before: no question."""
    story = forked()
    story.segments.pop(3)
    story.forks.pop(3)
    target = Target("time", at(moment))
    if timeline:
        assert story.decide(target, EARLY, live=live).timeline == timeline
        return
    with pytest.raises(Refused) as caught:
        story.decide(target, EARLY, live=live)
    assert caught.value.code == "timeline-ambiguous"


def test_a_timeline_that_nobody_knows_is_answered_with_all_forks_and_their_times() -> None:
    """A12: a history knows no time; the last commit before the fork is what the WAL can tell."""
    with pytest.raises(Refused) as caught:
        forked().decide(Target("latest", timeline=7), EARLY)
    error = caught.value
    assert error.code == "timeline-unknown" and "timeline 7 is not in the archive" in error.happened
    assert error.details["timelines"] == [1, 2, 3]
    facts = [(one.get("parent"), one.get("fork_lsn")) for one in error.details["forks"]]
    assert facts == [(None, None), (1, format_lsn(4 * S + 8000)), (2, format_lsn(6 * S + 8000))]
    for timeline, before in ((2, at(40)), (3, at(106))):
        commit = error.details["forks"][timeline - 1]["last_commit_before"]
        assert commit["time"] == format_utc(before)
        assert f"timeline {timeline} (from {timeline - 1} at " in error.remedy
        assert f"after the commit of {format_utc(before)}" in error.remedy


def test_the_time_of_a_fork_is_found_over_segments_without_commits_and_never_invented() -> None:
    story = forked()
    story.ends[1] = [one for one in story.ends[1] if one.time not in (at(30), at(40))]
    story.missing = {name(3)}
    with pytest.raises(Refused) as caught:
        story.decide(Target("latest", timeline=7), EARLY)
    assert caught.value.details["forks"][1]["last_commit_before"] is None
    assert "timeline 2 (from 1 at " in caught.value.remedy
    story.missing = set()
    with pytest.raises(Refused) as caught:
        story.decide(Target("latest", timeline=7), EARLY)
    assert caught.value.details["forks"][1]["last_commit_before"]["time"] == format_utc(at(20))


@pytest.mark.parametrize(
    ("target", "code", "held"),
    [
        (Target("xid", 306, timeline=1), "xid-not-in-archive", [(3, 6 * S + 9600)]),
        (Target("xid", 205, timeline=1), "xid-not-in-archive", [(2, 4 * S + 9600)]),
        (Target("xid", 107, timeline=3), "xid-not-in-archive", [(1, 7 * S + 6400)]),
        (Target("xid", 999, timeline=3), "xid-not-in-archive", []),
        (Target("lsn", 9 * S + 640, timeline=2), "lsn-out-of-range", [(1, 9 * S + 640)]),
        (Target("time", at(207), timeline=2), "target-after-last-commit", [(3, 8 * S + 9600)]),
        (
            Target("time", at(105), timeline=1),
            "target-after-last-commit",
            [(2, 6 * S + 6400)],
        ),
    ],
)
def test_a_target_on_another_timeline_is_told_with_that_timeline(
    target: Target, code: str, held: list[tuple[int, int]]
) -> None:
    """A15."""
    with pytest.raises(Refused) as caught:
        forked().decide(target, EARLY)
    error = caught.value
    assert error.code == code
    found = [(one["timeline"], one["lsn"]) for one in error.details.get("held_by", [])]
    assert found == [(timeline, format_lsn(lsn)) for timeline, lsn in held]
    for timeline, lsn in held:
        assert f"timeline {timeline} holds it (LSN {format_lsn(lsn)}, from backup early)" in error.happened
    if held:
        assert f"Ask for timeline {' or '.join(str(timeline) for timeline, _dummy in held)} " in error.remedy
