# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Random lives with a copy that is brought up to date now and then: what is sent and what is kept are judged as one.

Nothing that a run sends is removed by that run or sent again by the next one, soon there is nothing to do; and after it
what the policy promises of all that was in the repository or in the copy is restorable from the copy alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.objects import Group
from tests.unit.copies.lives import CopyPromises, copied, only_copied, proven
from tests.unit.copies.stages import Sheets, Stages, held, holding
from tests.unit.copies.test_lives import CLOCKS, promised
from tests.unit.retention.history import Life

CHUNK = 60


def live(seed: int, clocks: str) -> Stages:
    """One life, run after run."""
    life = Life(seed, odd=clocks in ("odd", "odd-here"), astray=clocks == "astray", undone=clocks == "undone")
    only_copied(life)
    stages = Stages(life, elsewhere=clocks == "odd-here")
    for now in stages.moments():
        repository = stages.repository(now)
        groups = stages.chosen(repository)
        ours, theirs = held(now, repository), held(now, stages.copy)
        before = holding(now, ours[0] | theirs[0], ours[1] | theirs[1])
        before.backups = [one for one in before.backups if one.label in copied(before)]
        if stages.dice.random() < 0.2:
            stages.send(groups, until=stages.dice.randrange(40))
            continue
        run_until_nothing_is_to_be_done(stages, repository, groups)
        promises = CopyPromises(before)
        labels, present = held(now, stages.copy)
        promises.check(labels, present)
        for lsn in promised(before, promises):
            if proven(before, promises.labels, promises.present, lsn):
                assert proven(now, labels, present, lsn), f"no proof for {lsn:X} any more"
    return stages


def run_until_nothing_is_to_be_done(stages: Stages, repository: Sheets, groups: list[Group]) -> None:
    """One run does it, but where one that removed something knows less of the past than it did: then more is kept. Of
    an archive that was moved some may even come back, once: what is remembered of their dates is a day or two apart."""
    came: set[str] = set()
    went: set[str] = set()
    for _run in range(3):
        sent, gone = stages.send(groups), stages.expire()
        assert not gone & {item.key for group in groups for item in group.items}, "sent and removed"
        assert not gone & came, "sent, and removed by the next run"
        assert not sent & went or stages.moved_at is not None, "removed, and sent again by the next run"
        came, went = came | sent, went | gone
        if not sent and not gone:
            return
        groups = stages.chosen(repository)
    raise AssertionError("there is always something to do")


def judge(seeds: Iterable[int], clocks: str) -> int:
    """So many lives; how many files were left out of what was sent."""
    left_out = 0
    for seed in seeds:
        try:
            left_out += live(seed, clocks).left_out
        except AssertionError as error:
            raise AssertionError(f"life {seed}, {clocks}: {error}") from error
    return left_out


@pytest.mark.parametrize("clocks", CLOCKS)
def test_what_is_sent_stays_and_what_is_promised_can_be_restored(clocks: str) -> None:
    assert judge(range(CHUNK), clocks) > CHUNK


@pytest.mark.matrix
@pytest.mark.parametrize("clocks", CLOCKS)
@pytest.mark.parametrize("chunk", range(20))
def test_ten_thousand_lives(chunk: int, clocks: str) -> None:
    assert judge(range(1000 + chunk * 100, 1100 + chunk * 100), clocks) > 100
