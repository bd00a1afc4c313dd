# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Generations of dumps: random lives against their calendar, and the decisions one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.dumps import (
    Dump,
    Shelf,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.selection import Selection
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.generations import (
    DumpState,
    plan_dumps,
    prove_dumps,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.policy import (
    DumpPolicy,
    Generations,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.words import _WORDS
from tests.unit.retention.dumps import DumpLife

CHUNK = 500
NONE = {"daily": 0, "weekly": 0, "monthly": 0}


def judge(seeds: Iterable[int], *, odd: bool) -> int:
    """Expire so many lives; how many lost something."""
    changed = 0
    for seed in seeds:
        life = DumpLife(seed, odd=odd)
        plan = plan_dumps(life.policy, life.state())
        prove_dumps(plan, life.policy)
        try:
            life.check({one.dump.key for one in plan.verdicts if one.keep})
        except AssertionError as error:
            raise AssertionError(f"life {seed}, odd={odd}: {error}") from error
        assert {one.why for one in plan.verdicts} <= set(_WORDS)
        changed += bool(plan.doomed)
    return changed


@pytest.mark.parametrize("odd", [False, True], ids=["sane-clocks", "odd-clocks"])
@pytest.mark.parametrize("chunk", range(2))
def test_lives(chunk: int, odd: bool) -> None:
    assert judge(range(chunk * CHUNK, (chunk + 1) * CHUNK), odd=odd) > CHUNK // 3


@pytest.mark.matrix
@pytest.mark.parametrize("odd", [False, True], ids=["sane-clocks", "odd-clocks"])
@pytest.mark.parametrize("chunk", range(20))
def test_ten_thousand_lives(chunk: int, odd: bool) -> None:
    judge(range(10_000 + chunk * CHUNK, 10_000 + (chunk + 1) * CHUNK), odd=odd)


@pytest.mark.parametrize("seed", range(60))
def test_expired_after_every_dump_or_once_at_the_end_is_the_same(seed: int) -> None:
    """What will be the newest of its day, week, month or year is never deleted before that is known."""
    life = DumpLife(seed)
    life.leases.clear()
    life.alive.clear()
    dumps = [replace(one, pinned=False, unsound=None) for one in life.dumps if one.verified]
    here: list[Dump] = []
    for one in dumps:
        here.append(one)
        plan = plan_dumps(life.policy, life.state(here))
        here = [verdict.dump for verdict in plan.verdicts if verdict.keep]
    once = plan_dumps(life.policy, life.state(dumps))
    assert {one.key for one in here} == {one.dump.key for one in once.verdicts if one.keep}


def shelf(*days: int) -> Shelf:
    """A dump on each of these days of 2026."""
    begin = datetime(2026, 1, 1, 3, tzinfo=timezone.utc)
    return Shelf(
        tuple(
            Dump(
                database="app",
                series="app",
                status="verified",
                format="custom",
                selection=Selection(),
                label=f"d{number}",
                sequence=number,
                started_at=begin + timedelta(days=day),
                stopped_at=begin + timedelta(days=day, minutes=1),
            )
            for number, day in enumerate(days)
        )
    )


def kept(rules: Generations, found: Shelf) -> list[str]:
    """The labels of those that stay."""
    plan = plan_dumps(DumpPolicy(rules), DumpState(found))
    return [one.dump.label for one in plan.verdicts if one.keep]


@pytest.mark.parametrize(
    ("rules", "days", "expected"),
    [
        # Two on a day are one generation, and its newest stays.
        (Generations(**{**NONE, "daily": 2}), (0, 0, 1, 1, 2, 2), ["d3", "d5"]),
        # Silence makes nothing old: the last three days that have one, however far apart.
        (Generations(**{**NONE, "daily": 3}), (0, 50, 100, 150), ["d1", "d2", "d3"]),
        # A clock that leapt ahead for one dump takes one place, and goes like any other.
        (Generations(**{**NONE, "daily": 3}), (0, 1, 400, 2, 3), ["d2", "d3", "d4"]),
        (Generations(**{**NONE, "daily": 2}), (0, 1, 400, 2, 3), ["d3", "d4"]),
        # The newest is what was taken last, not what claims to be.
        (Generations(**NONE), (0, 400, 1), ["d2"]),
        (Generations(**NONE, minimum=2), (0, 400, 1), ["d1", "d2"]),
        (Generations(**NONE, age_seconds=86400), (0, 1, 2, 3), ["d2", "d3"]),
        # 2026-01-01 is a Thursday: days 3 and 4 are in different ISO weeks.
        (Generations(**{**NONE, "weekly": 2}), (0, 3, 4, 5), ["d1", "d3"]),
        (Generations(**{**NONE, "monthly": 2}), (0, 30, 31, 40), ["d1", "d3"]),
        (Generations(**NONE, count=3), (0, 0, 0, 0), ["d1", "d2", "d3"]),
    ],
)
def test_generations(rules: Generations, days: tuple[int, ...], expected: list[str]) -> None:
    assert kept(rules, shelf(*days)) == expected


def test_without_a_policy_nothing_goes_but_what_was_begun() -> None:
    found = shelf(0, 1, 2).dumps
    half = Shelf((found[0].changed(status="expired"), *found[1:]))
    plan = plan_dumps(None, DumpState(half))
    assert [(one.dump.label, one.keep, one.why) for one in plan.verdicts] == [
        ("d0", False, "unfinished"),
        ("d1", True, "no-policy"),
        ("d2", True, "no-policy"),
    ]


def test_the_proof_does_not_believe_the_choice() -> None:
    policy = DumpPolicy(Generations(**NONE, minimum=2))
    plan = plan_dumps(policy, DumpState(shelf(0, 1, 2)))
    wrong = replace(plan, verdicts=tuple(replace(one, keep=one.dump.label == "d2") for one in plan.verdicts))
    with pytest.raises(Refused) as caught:
        prove_dumps(wrong, policy)
    assert caught.value.code == "expiry-unsafe" and "dump/app/d1" in caught.value.happened


@pytest.mark.parametrize("rules", [{"minimum": 0}, {"daily": -1}, {"weekly": True}, {"age_seconds": -1}])
def test_rules_that_cannot_be_meant(rules: dict[str, int]) -> None:
    with pytest.raises(Refused) as caught:
        Generations(**rules)
    assert caught.value.code == "retention-invalid"
