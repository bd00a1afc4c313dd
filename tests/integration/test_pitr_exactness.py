# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Point-in-time recovery is exact: for any target, what comes back is what was committed before it, and no more.

Every case is a random target on a cluster whose workers committed, rolled back, set savepoints, prepared
and made tables at the same time. What must be there is worked out from the server's own WAL (harness/world).
A failure prints the seed; DBKEEPER_TEST_SEED repeats its choices (the workload's timing is new each time).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from .harness.cluster import Cluster
from .harness.installation import Installation, installations
from .harness.sandbox import Sandbox
from .harness.side import Beside
from .harness.targets import Chooser
from .harness.template import Kind
from .harness.world import SETTINGS, World

#: Of each past: in the matrix, and at every run.
TARGETS_EACH, TARGETS_NOW = 24, 8
ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe")
SEED = int(os.environ.get("DBKEEPER_TEST_SEED") or time.time_ns() % 1_000_000_000)


@dataclass(frozen=True)
class Past:
    """How a cluster got its history."""

    name: str
    make: Callable[[World], World]
    kind: Kind = Kind()


def mixed(world: World) -> World:
    """Two backups, everything in between."""
    world.work().backup().work().point("alpha").work(20).backup().work().point("beta").work(20)
    return world


def savepoints(world: World) -> World:
    """Nearly every transaction has subtransactions; one in three is rolled back."""
    options = ("--savepoints=0.9", "--rollbacks=0.35")
    return world.backup().work(25, *options).point("alpha").work(25, *options, workers=8)


def prepared(world: World) -> World:
    """Half of the transactions are committed in two phases, and tables come and go."""
    options = ("--prepared=0.5", "--ddl=0.3", "--rollbacks=0.1")
    return world.backup().work(20, *options).point("alpha").backup().work(20, *options).point("beta")


def crashes(world: World) -> World:
    """The server is killed while the workers run, and comes back."""
    world.work().backup().work()
    for _dummy in range(2):
        process = world.workload.start("--savepoints=0.3", "--rollbacks=0.1", "--prepared=0.1")
        world.wait_for_work()
        world.cluster.crash()
        world.cluster.start()
        world.workload.stop(process)
        world.point(f"after crash {len(world.points)}").work()
    return world


def restored(world: World) -> World:
    """A restore in the middle, without a new backup: what follows lies on a second timeline, and on a third."""
    world.work().backup().work().point("fork 1").work().finish()
    for timeline in (1, 2):
        name = f"fork {timeline}"
        options = ("--target-name", name, "--skip-backup", "--confirm", "main")
        world.cluster.keeper("restore", *options).expect(0)
        world = World.after_restore(world, world.points[name])
        world.work(8).point(f"fork {timeline + 1}").work(8).finish()
    assert world.timeline == 3
    return world


PASTS = [
    Past("mixed", mixed),
    Past("savepoints", savepoints),
    Past("prepared", prepared),
    Past("crashes", crashes),
]
PASTS += [Past("restored", restored), Past("mixed, 16 MB", mixed, Kind(segment_mb=16))]
PASTS += [Past("mixed, 4 MB, no checksums", mixed, Kind(segment_mb=4, checksums=False))]


#: As many at every run, each with a version of its own; the others belong to the matrix.
EVERY_RUN = (3, 4)


def _cases() -> Iterator[Any]:
    found = list(installations().values())
    for number in range(len(PASTS) + 2):
        # The pasts go round slower than the majors, so that in time each meets each.
        past, installation = PASTS[number % len(PASTS)], found[number % len(found)]
        yield pytest.param(past, installation, TARGETS_EACH, marks=pytest.mark.matrix)
        if number in EVERY_RUN:
            yield pytest.param(past, installation, TARGETS_NOW)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("past", "installation", "targets"),
    list(_cases()),
    ids=lambda value: str(getattr(value, "name", None) or getattr(value, "major", value)),
)
def test_every_random_target_brings_back_exactly_what_was_committed(
    sandbox: Sandbox, past: Past, installation: Installation, targets: int
) -> None:
    chance = random.Random(f"{SEED}/{past.name}/{installation.major}")
    # Neither the server's zone nor the one of its log may matter.
    zones = {"timezone": chance.choice(ZONES), "log_timezone": chance.choice(ZONES)}
    cluster = Cluster(sandbox, installation=installation, kind=past.kind, settings=SETTINGS | zones).start()
    world = past.make(World.begin(cluster)).finish()
    chooser, beside = Chooser(world, chance), Beside(cluster)
    wrong = []
    with cluster.unchanged():
        for _dummy in range(targets):
            case = chooser.choose()
            recovered = beside.restore(beside.plan(**case.target))
            missing, extra = case.rows - recovered.rows, recovered.rows - case.rows
            if missing or extra or not recovered.balances_equal:
                wrong.append(f"{case}: missing {missing}, extra {extra}, balances {recovered.balances}")
    assert not wrong, f"DBKEEPER_TEST_SEED={SEED}: {len(wrong)} of {targets} targets\n" + "\n".join(wrong)


def test_the_random_targets_are_enough() -> None:
    """At least 200 in the matrix."""
    assert (len(PASTS) + 2) * TARGETS_EACH >= 200
