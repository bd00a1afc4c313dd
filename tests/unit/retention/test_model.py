# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Random lives against promises: whatever happened, what was promised is restorable and nothing else lingers."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import Catalog
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.plan import ExpiryPlan, make_plan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.state import (
    RetentionState,
    SystemState,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.survivors import prove_survivors
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.archive import Archive
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.history import Fork, History, Timelines
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.source import StoredWal
from tests.unit.retention.history import SIZE, SYSTEM, Life
from tests.unit.retention.promises import Promises

CHUNK = 250
CLOCKS = ("sane", "odd", "astray", "undone", "noted", "noted-odd", "noted-astray")


def state_of(life: Life) -> RetentionState:
    """What the engine would be told of it."""
    entries = life.entries()
    histories = {}
    for child in life.forks:
        forks = [
            Fork(one, position, "")
            for one, position in reversed(
                [life.forks[t] for t, _end in life.ancestry(child) if t in life.forks]
            )
        ]
        histories[child] = History(child, tuple(forks))
    archive = Archive(entries, Timelines(histories, frozenset(life.archived)), SIZE)
    files = tuple(StoredWal(name, 1000, "signature", f"/{name}") for name in sorted(entries))
    return RetentionState(
        now=life.clock,
        catalog=Catalog(tuple(sorted(life.backups, key=lambda one: (one.started_at, one.label))), ()),
        systems=(SystemState(SYSTEM, archive, files),),
        leases=tuple(life.leases),
        live=(SYSTEM, life.timeline) if life.seed % 2 else None,
        alive=frozenset(life.alive),
        given_up=life.notes,
    )


def left(plan: ExpiryPlan, life: Life) -> tuple[set[str], set[tuple[int, int]]]:
    """The labels and segments that stay."""
    gone = {stored.name for one in plan.wal for stored in one.doomed}
    present = {one for one in life.present() if life.name(*one) not in gone}
    return {one.label for one in plan.verdicts if one.keep}, present


def judge(seeds: Iterable[int], clocks: str) -> int:
    """Expire so many lives; how many lost something."""
    changed = 0
    for seed in seeds:
        life = Life(
            seed,
            odd="odd" in clocks,
            astray="astray" in clocks,
            undone="undone" in clocks or "noted" in clocks,
            noted="noted" in clocks,
        )
        plan = make_plan(life.policy, state_of(life))
        prove_survivors(plan)
        labels, present = left(plan, life)
        promises = Promises(life)
        try:
            promises.check(labels, present)
            if clocks == "sane" and not life.silent():
                promises.nothing_lingers(labels, present)
        except AssertionError as error:
            raise AssertionError(f"life {seed}, {clocks}: {error}") from error
        changed += plan.changes
    return changed


@pytest.mark.parametrize("clocks", CLOCKS)
@pytest.mark.parametrize("chunk", range(4))
def test_lives(chunk: int, clocks: str) -> None:
    assert judge(range(chunk * CHUNK, (chunk + 1) * CHUNK), clocks) > CHUNK // 3


@pytest.mark.matrix
@pytest.mark.parametrize("clocks", CLOCKS)
@pytest.mark.parametrize("chunk", range(20))
def test_ten_thousand_lives(chunk: int, clocks: str) -> None:
    judge(range(1000 + chunk * 500, 1500 + chunk * 500), clocks)
