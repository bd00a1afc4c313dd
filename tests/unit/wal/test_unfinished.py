# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Unfinished segments (B15): which are told, with which refusals, and how a plan mentions them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import Target
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.proof import decide
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.unfinished import (
    mention,
    not_used,
    unused,
    used,
)

from .cases import EARLY, forked, name, straight
from .story import SIZE, Reader, at

NEXT = f"{name(10)}.partial"


def refusal(code: str) -> Refused:
    return Refused(code, attempted="a", happened="it is not there", remedy="b.")


def test_only_those_whose_whole_segment_never_came_are_told() -> None:
    archive = straight(partials=(f"{name(4)}.partial", NEXT)).archive()
    assert unused(archive) == (NEXT,)


@pytest.mark.parametrize("code", ["target-after-last-commit", "restore-point-unknown", "segment-missing"])
def test_what_more_wal_might_lift_names_them(code: str) -> None:
    told = mention(refusal(code), straight(partials=(NEXT,)).archive())
    assert NEXT in told.happened and "--use-partial" in told.remedy
    assert told.details["partial"] == [NEXT]


@pytest.mark.parametrize("code", ["target-in-future", "no-backup", "segment-corrupt", "timeline-ambiguous"])
def test_what_it_cannot_lift_is_left_as_it_is(code: str) -> None:
    told = mention(refusal(code), straight(partials=(NEXT,)).archive())
    assert (told.happened, told.remedy, told.details) == ("it is not there", "b.", {})


def test_nothing_is_said_where_there_are_none() -> None:
    assert mention(refusal("segment-missing"), straight().archive()).remedy == "b."


def test_latest_says_that_the_archive_goes_on() -> None:
    story = straight(partials=(NEXT,))
    [words] = not_used(story.decide(Target("latest"), EARLY), story.archive())
    assert NEXT in words and "--use-partial" in words
    # A target that lies before it does not care, nor one of another timeline.
    assert not_used(story.decide(Target("time", at(30.5)), EARLY), story.archive()) == ()
    other = forked(partials=(NEXT,))
    assert not_used(other.decide(Target("latest", timeline=3), EARLY), other.archive()) == ()


def test_an_unfinished_segment_counts_up_to_its_end() -> None:
    """The archive as it is with consent: segment 9 ends behind its commit, which still can be reached."""
    story = straight()
    archive = story.archive()
    end = 9 * SIZE + 6440
    entry = replace(archive.entries[name(9)], last_lsn=9 * SIZE + 6400, tail_lsn=9 * SIZE + 6400, end_lsn=end)
    cut = replace(archive, entries={**archive.entries, name(9): entry})
    proof = decide([EARLY], Target("latest"), cut, Reader(story))
    assert (proof.lsn, proof.end_lsn, proof.inclusive) == (9 * SIZE + 6400, end, True)
    assert proof.last_commit and proof.last_commit.xid == 109
    [one] = proof.unfinished
    assert (one["name"], one["segment"], one["commits"]) == (f"{name(9)}.partial", name(9), 1)
    assert entry.stored_name == f"{name(9)}.partial"
    # What lies behind its end is not in the archive.
    with pytest.raises(Refused) as caught:
        decide([EARLY], Target("lsn", end), cut, Reader(story))
    assert caught.value.code == "lsn-out-of-range"
    assert used(()) == ()
