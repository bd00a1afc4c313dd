# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Decisions: targets against archives, by tables and by counting over the whole list of transactions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import format_utc
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import Target
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.lsn import format_lsn
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.proof import decide
from tests.unit.wal.cases import EARLY, LATE, S, name, straight
from tests.unit.wal.story import LENGTH, Reader, Story, at, backup, end


@pytest.mark.parametrize(
    ("target", "label", "lsn", "inclusive", "last", "following", "segments"),
    [
        (Target("time", at(30)), "early", 4 * S + 6400, False, 103, 104, range(1, 5)),
        (Target("time", at(30), inclusive=False), "early", 3 * S + 6400, False, 102, 103, range(1, 4)),
        (Target("time", at(35)), "early", 4 * S + 6400, False, 103, 104, range(1, 5)),
        (Target("time", at(44.999)), "early", 5 * S + 6400, False, 104, 105, range(1, 6)),
        (Target("time", at(45)), "late", 5 * S + 6400, False, None, 105, range(5, 6)),
        (Target("time", at(70)), "late", 8 * S + 6400, False, 107, 108, range(5, 9)),
        (Target("xid", 103), "early", 3 * S + 6400, True, 103, 104, range(1, 4)),
        (Target("xid", 103, inclusive=False), "early", 3 * S + 6400, False, 102, 103, range(1, 4)),
        (Target("xid", 2**32 + 107), "late", 7 * S + 6400, True, 107, 108, range(5, 8)),
        (Target("lsn", 3 * S + 6400), "early", 3 * S + 6400, True, 103, 104, range(1, 4)),
        (Target("lsn", 3 * S + 6401), "early", 3 * S + 6464, True, 103, 104, range(1, 4)),
        (Target("lsn", 3 * S + 6400, inclusive=False), "early", 3 * S + 6400, False, 102, 103, range(1, 4)),
        (Target("lsn", 5 * S + 640), "late", 5 * S + 640, True, None, 105, range(5, 6)),
        (Target("lsn", 5 * S + 639), "early", 5 * S + 640, True, 104, 105, range(1, 6)),
        (Target("name", "here"), "late", 7 * S + 64, True, 106, 107, range(5, 8)),
        (Target("latest"), "late", 10 * S - 64, True, 109, None, range(5, 10)),
        (Target("immediate"), "late", 5 * S + 640, False, None, 105, range(5, 6)),
        (Target("time", at(500), allow_idle_gap=True), "late", 10 * S - 64, True, 109, None, range(5, 10)),
    ],
)
def test_targets_that_are_reached(
    target: Target,
    label: str,
    lsn: int,
    inclusive: bool,
    last: int | None,
    following: int | None,
    segments: range,
) -> None:
    story = straight(points={1: [("here", 7 * S + 64)]})
    proof = story.decide(target, EARLY, LATE)
    assert (proof.backup, proof.timeline, proof.lsn, proof.inclusive) == (label, 1, lsn, inclusive)
    assert (proof.last_commit and proof.last_commit.xid) == last
    assert (proof.next_commit and proof.next_commit.xid) == following
    assert [segment.name for segment in proof.segments] == [name(n) for n in segments]
    assert [segment.digest for segment in proof.segments] == [f"digest of {name(n)}" for n in segments]
    assert proof.wal_bytes == len(segments) * S
    assert proof.newest_reachable and proof.newest_reachable.xid == 109
    assert proof.histories == () and proof.warnings == ()
    assert len(set(story.reads)) <= 2


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        (Target("time", at(4)), "target-before-oldest-backup", ["early", "2026-11-21T03:00:05.000000Z"]),
        (
            Target("time", at(90)),
            "target-after-last-commit",
            ["xid 109", format_lsn(9 * S + 6400), "idle gap"],
        ),
        (Target("time", at(91)), "target-after-last-commit", ["xid 109", "pg_switch_wal"]),
        (Target("xid", 500), "xid-not-in-archive", ["xid 109"]),
        (Target("xid", 777), "xid-not-in-archive", ["Ask for xid 106"]),
        (Target("xid", 666), "xid-aborted", ["rolled back", format_lsn(6 * S + 9600)]),
        (Target("name", "her"), "restore-point-unknown", ["Nearest name: 'here'"]),
        (Target("name", "twice"), "restore-point-ambiguous", [format_lsn(7 * S + 640), format_lsn(8 * S)]),
        (Target("name", "before"), "target-before-oldest-backup", ["early"]),
        (Target("lsn", S + 639), "lsn-out-of-range", [format_lsn(S + 640), format_lsn(10 * S - 64)]),
        (Target("lsn", 10 * S), "lsn-out-of-range", [format_lsn(10 * S - 64)]),
        (Target("lsn", 99 * S), "lsn-out-of-range", [format_lsn(10 * S - 64)]),
        (Target("latest", timeline=3), "timeline-unknown", ["Choose one of: timeline 1"]),
    ],
)
def test_targets_that_are_refused(target: Target, code: str, words: list[str]) -> None:
    points = {1: [("before", S + 64), ("here", 7 * S + 64), ("twice", 7 * S + 640), ("twice", 8 * S)]}
    story = straight(points=points)
    six = story.ends[1][5]
    story.ends[1][5] = end(six.lsn, 60, 106, sub=[776, 777])
    story.ends[1].insert(6, end(6 * S + 9600, 61, 666, committed=False))
    with pytest.raises(Refused) as caught:
        story.decide(target, EARLY, LATE)
    error = caught.value
    assert error.code == code
    for word in words:
        assert word in error.happened + error.remedy
    assert target.describe() in error.attempted
    assert error.details["target"] == target.to_dict()


@pytest.mark.parametrize(
    ("missing", "target", "expected"),
    [
        # Before what is needed, after what is needed: no matter.
        ([2], Target("time", at(70)), 8 * S + 6400),
        ([9], Target("time", at(60)), 7 * S + 6400),
        ([7], Target("time", at(50)), 6 * S + 6400),
        # At the very end it is just the end of the archive.
        ([9], Target("latest"), 9 * S - 64),
        ([7], Target("time", at(60)), "segment-missing"),
        ([7], Target("time", at(75)), "segment-missing"),
        ([7], Target("latest"), "segment-missing"),
        ([7], Target("xid", 108), "segment-missing"),
        ([7], Target("name", "late"), "segment-missing"),
        ([7], Target("lsn", 8 * S), "segment-missing"),
        ([5], Target("immediate"), "segment-missing"),
        ([5, 6, 7, 8, 9], Target("latest"), "segment-missing"),
    ],
)
def test_missing_segments(missing: list[int], target: Target, expected: int | str) -> None:
    story = straight(missing={name(n) for n in missing}, points={1: [("late", 8 * S + 64)]})
    if isinstance(expected, int):
        assert story.decide(target, EARLY, LATE).lsn == expected
        return
    with pytest.raises(Refused) as caught:
        story.decide(target, EARLY, LATE)
    assert caught.value.code == expected
    assert caught.value.details["first"] == name(missing[0])
    last = caught.value.details["last_reachable_commit"]
    # What is offered instead is accepted.
    if last:
        xid = last["xid"]
        assert xid == 100 + missing[0] - 1
        proof = story.decide(Target("lsn", story.ends[1][xid - 101].lsn), EARLY, LATE)
        assert proof.last_commit and proof.last_commit.xid == xid


@pytest.mark.parametrize(
    "code",
    [
        "segment-zero-filled",
        "segment-wrong-size",
        "segment-wrong-content",
        "segment-wrong-system",
        "segment-corrupt",
        "segment-unreadable",
        "segment-duplicate",
    ],
)
def test_faults_are_passed_on_by_their_own_code(code: str) -> None:
    story = straight(faults={name(7): (code, "as seen"), name(8): (code, "as seen, too")})
    with pytest.raises(Refused) as caught:
        story.decide(Target("latest"), EARLY, LATE)
    error = caught.value
    assert (error.code, error.details["first"], error.details["last"]) == (code, name(7), name(8))
    assert "as seen" in error.happened and "xid 106" in error.remedy


def test_clocks_that_go_back() -> None:
    """The first LATER end in the order of WAL counts; a backup that held one inside is passed over (A18)."""
    story = straight()
    story.ends[1][3] = end(4 * S + 6400, 65, 104)
    proof = story.decide(Target("time", at(60)), EARLY, LATE)
    assert (proof.backup, proof.lsn) == ("late", 7 * S + 6400)
    story.ends[1].insert(4, end(5 * S + 320, 66, 200))
    proof = story.decide(Target("time", at(60)), EARLY, LATE)
    assert (proof.backup, proof.lsn) == ("early", 4 * S + 6400)
    [warning] = [one for one in proof.warnings if "passed over" in one]
    assert "late" in warning and "set back" in warning
    for moment in (at(66), at(60), LATE.stopped_at):
        assert format_utc(moment) in warning


def test_a_commit_of_the_asked_time_that_comes_after_the_stop_is_told() -> None:
    """With both times, for nobody sees it otherwise (A18)."""
    story = straight()
    story.ends[1][6] = end(7 * S + 6400, 95, 107)  # the clock was a little ahead, and set back then
    for moment, told in ((at(80), 108), (at(81), 108), (at(79), None)):
        proof = story.decide(Target("time", moment), EARLY, LATE)
        assert proof.lsn == 7 * S + 6400
        warnings = [one for one in proof.warnings if "A18" in one]
        assert len(warnings) == (1 if told else 0)
        for warning in warnings:
            assert (
                f"xid {told}" in warning and format_utc(at(80)) in warning and format_utc(at(95)) in warning
            )
    assert not story.decide(Target("time", at(80), inclusive=False), EARLY, LATE).warnings
    assert story.decide(Target("xid", 108), EARLY, LATE).warnings == ()


def test_a_record_that_ends_in_the_next_segment_needs_it() -> None:
    story = straight()
    story.ends[1].insert(3, end(4 * S - 8, 33, 300))
    for target in (Target("xid", 300), Target("xid", 300, inclusive=False), Target("time", at(31))):
        proof = story.decide(target, EARLY)
        assert (proof.lsn, proof.end_lsn) == (4 * S - 8, 4 * S - 8 + LENGTH)
        assert proof.segments[-1].name == name(4)
    assert story.decide(Target("xid", 103), EARLY).segments[-1].name == name(3)


commit_times = st.lists(st.integers(0, 40), min_size=1, max_size=24)


@given(
    commit_times,
    st.lists(st.booleans(), min_size=24, max_size=24),
    st.integers(0, 42),
    st.booleans(),
    st.lists(st.integers(0, 23), max_size=3, unique=True),
)
def test_times_by_counting(
    times: list[int], committed: list[bool], moment: int, inclusive: bool, places: list[int]
) -> None:
    """Any order of times: the decision is what PostgreSQL's rule gives over the whole list."""
    ends = [
        end(S + index * (S // 3) + 640, second, 100 + index, committed=committed[index])
        for index, second in enumerate(times)
    ]
    story = Story({1: ends}, {1: range(1, 10)})
    backups = [
        backup(S + place * (S // 3) + 64, S + place * (S // 3) + 128, times[place] - 0.5, label=f"b{place}")
        for place in places
        if place < len(times)
    ]
    possible = []
    for one in backups:
        later = (
            e
            for e in ends
            if e.lsn >= one.start_lsn and (e.time > at(moment) or (not inclusive and e.time == at(moment)))
        )
        stop = next(later, None)
        if one.stopped_at <= at(moment):
            possible.append((one.stop_lsn, one, stop))
    target = Target("time", at(moment), inclusive=inclusive)
    if not possible:
        with pytest.raises(Refused) as caught:
            story.decide(target, *backups) if backups else story.decide(target, backup(S, S + 64, 99))
        assert caught.value.code == "target-before-oldest-backup"
        return
    _dummy, chosen, stop = max(possible, key=lambda item: item[0])
    if stop is None:
        with pytest.raises(Refused) as caught:
            story.decide(target, *backups)
        assert caught.value.code == "target-after-last-commit"
        return
    proof = story.decide(target, *backups)
    assert (proof.backup, proof.lsn, proof.inclusive) == (chosen.label, stop.lsn, False)
    before = [e for e in ends if e.committed and chosen.start_lsn <= e.lsn < stop.lsn]
    after = [e for e in ends if e.committed and e.lsn >= stop.lsn]
    assert (proof.last_commit and proof.last_commit.xid) == (before[-1].xid if before else None)
    assert (proof.next_commit and proof.next_commit.xid) == (after[0].xid if after else None)
    assert proof.segments[-1].name == name((stop.end_lsn - 1) // S)
    assert proof.segments[0].name == name(chosen.start_lsn // S)


def test_targets_that_make_no_sense_cannot_be_made() -> None:
    wrong: list[Any] = [("time", "x"), ("lsn", "0/1"), ("xid", None), ("name", 7), ("latest", 1)]
    for kind, value in wrong:
        with pytest.raises(TypeError):
            Target(kind, value)
    with pytest.raises(TypeError):
        Target("time", at(0).replace(tzinfo=None))


def test_a_proof_as_json() -> None:
    proof = straight().decide(Target("time", at(30) + timedelta(microseconds=1)), EARLY)
    assert proof.to_dict() == {
        "backup": "early",
        "target": {
            "kind": "time",
            "value": "2026-11-21T03:00:30.000001Z",
            "inclusive": True,
            "timeline": None,
            "allow_idle_gap": False,
        },
        "timeline": 1,
        "branch": 1,
        "lsn": "0/401900",
        "inclusive": False,
        "end_lsn": "0/401928",
        "first_commit": {"timeline": 1, "lsn": "0/101900", "time": "2026-11-21T03:00:10.000000Z", "xid": 101},
        "last_commit": {"timeline": 1, "lsn": "0/301900", "time": "2026-11-21T03:00:30.000000Z", "xid": 103},
        "next_commit": {"timeline": 1, "lsn": "0/401900", "time": "2026-11-21T03:00:40.000000Z", "xid": 104},
        "newest_reachable": {
            "timeline": 1,
            "lsn": "0/901900",
            "time": "2026-11-21T03:01:30.000000Z",
            "xid": 109,
        },
        "wal": {
            "segments": 4,
            "first": name(1),
            "last": name(4),
            "plain_bytes": 4 << 20,
            "stored_bytes": 4000,
            "histories": [],
            "history_digests": {},
            "unfinished": [],
        },
        "timelines": [1],
        "warnings": [],
    }


def test_a_backup_that_ends_after_the_archive_does() -> None:
    story = straight()
    unfinished = backup(9 * S + 40, 11 * S + 640, 95, label="unfinished")
    with pytest.raises(Refused) as caught:
        story.decide(Target("latest"), EARLY, unfinished)
    assert (caught.value.code, caught.value.details["first"]) == ("segment-missing", name(11))
    assert "unfinished" in caught.value.happened


def test_a_chain_that_was_not_checked_across_a_boundary_is_not_believed() -> None:
    story = straight()
    archive = story.archive()
    archive = replace(
        archive, entries={**archive.entries, name(7): replace(archive.entries[name(7)], joined=None)}
    )
    with pytest.raises(Refused) as caught:
        decide([EARLY], Target("latest"), archive, Reader(story))
    assert (caught.value.code, caught.value.details["first"]) == ("segment-corrupt", name(7))
    assert name(6) in caught.value.happened
    assert decide([EARLY], Target("time", at(40)), archive, Reader(story)).lsn == 5 * S + 6400
