# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Exactness over versions x segment sizes x time zones x timelines: every cell a real server with real forks.

In each cell workers fill a ledger, history forks by real promotions (our own restores, and plain ones for timelines
beyond 9), and random targets on random branches are recovered: one by the whole restore beside the cluster, the others
in sequence (harness/sequence). What comes back is compared with the ledger, row for row.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import pytest

from .harness.cluster import Cluster
from .harness.installation import installations
from .harness.sandbox import Sandbox
from .harness.sequence import Sequence
from .harness.side import Beside
from .harness.targets import Case, Chooser
from .harness.template import Kind
from .harness.world import SETTINGS, World

SEED = int(os.environ.get("DBKEEPER_TEST_SEED") or time.time_ns() % 1_000_000_000)
SIZES_MB = (1, 16, 64)
#: One zone without, one with daylight saving time, one nine hours ahead.
ZONES = ("UTC", "America/New_York", "Asia/Tokyo")
SHAPES = ("one timeline", "fork", "fork of fork")
HIGH = "timelines 0A and 0B"
SIBLINGS = "two forks of one"
IN_SEQUENCE = 8
IN_SLICE = 3


@dataclass(frozen=True)
class Cell:
    """One combination."""

    major: int
    segment_mb: int
    zone: str
    shape: str

    def __str__(self) -> str:
        return f"{self.major}-{self.segment_mb}MB-{self.zone}-{self.shape}".replace(" ", "_")


def all_cells() -> Iterator[Cell]:
    """Every combination; timelines beyond 9, and siblings, with every version and size, the zones in turn."""
    for major, size, zone, shape in product(installations(), SIZES_MB, ZONES, SHAPES):
        yield Cell(major, size, zone, shape)
    for number, (major, size) in enumerate(product(installations(), SIZES_MB)):
        yield Cell(major, size, ZONES[number % len(ZONES)], HIGH)
        yield Cell(major, size, ZONES[(number + 1) % len(ZONES)], SIBLINGS)


def slice_of_cells() -> Iterator[Cell]:
    """A cell for each version, so that each size, zone and shape appears; what costs most, large segments, once."""
    shapes, sizes = (*SHAPES, HIGH), (16, 64, 1, 16, 1)
    for number, major in enumerate(installations()):
        yield Cell(major, sizes[number % len(sizes)], ZONES[number % 3], shapes[(number + 2) % len(shapes)])


def one_timeline(world: World) -> list[World]:
    """Two backups and a restore point; nothing forks."""
    return [world.backup().work(8).point("alpha").backup().work(8).point("beta").work(4).finish()]


def fork(world: World) -> list[World]:
    """A restore in the middle: timeline 1 goes on beside timeline 2."""
    return _restored([world.backup().work(4).point("early").work(4).point("fork 1").work(8).finish()])


def fork_of_fork(world: World) -> list[World]:
    """Two of them: timeline 3 leaves 2, which left 1."""
    return _restored(fork(world))


def high(world: World) -> list[World]:
    """Nine plain promotions, most of them within one segment, and a restore from timeline 0A to 0B."""
    first = world.backup().work(8).point("alpha").work(4).finish()
    cluster = first.cluster
    for _dummy in range(2, 11):
        promote(cluster)
    last = World.after_restore(first, 1 << 62)
    last.timeline = 10
    last.work(8).point("fork 10").work(8).finish()
    return _restored([first, last])


def siblings(world: World) -> list[World]:
    """Timelines 2 and 3 both leave 1: the second must not take the number of the first."""
    worlds = fork(world)
    return _restored(worlds, worlds[0], "early")


def _restored(worlds: list[World], origin: World | None = None, point: str = "") -> list[World]:
    """All worlds, and the one that follows from restoring one of them (the last) to a point (its fork)."""
    last = origin or worlds[-1]
    name = point or f"fork {last.timeline}"
    options = (
        "--target-name",
        name,
        "--timeline",
        str(last.timeline),
        "--skip-backup",
        "--confirm",
        "main",
    )
    last.cluster.keeper("restore", *options).expect(0)
    after = World.after_restore(last, last.points[name], worlds[-1].timeline + 1)
    return [*worlds, after.work(8).point(f"fork {after.timeline}").work(8).finish()]


def promote(cluster: Cluster) -> None:
    """A failover without a standby: the server itself begins a new timeline where it stands."""
    cluster.stop()
    (cluster.data_directory / "standby.signal").touch()
    cluster.start()
    cluster.program("pg_ctl", "promote", "-w", "-s", "-D", str(cluster.data_directory))


MAKERS: dict[str, Callable[[World], list[World]]] = dict(
    zip((*SHAPES, HIGH, SIBLINGS), (one_timeline, fork, fork_of_fork, high, siblings))
)


def check(
    sandbox: Sandbox, cell: Cell, targets: int, say: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make the cell's history, and recover random targets of it."""
    monkeypatch.setenv("TZ", cell.zone)
    time.tzset()
    chance = random.Random(f"{SEED}/{cell}")
    zones = {"timezone": cell.zone, "log_timezone": cell.zone}
    kind = Kind(segment_mb=cell.segment_mb)
    installation = installations()[cell.major]
    cluster = Cluster(sandbox, installation=installation, kind=kind, settings=SETTINGS | zones).start()
    worlds = MAKERS[cell.shape](World.begin(cluster))
    cases = [choose(worlds, chance, cell.zone) for _dummy in range(targets)]
    beside = Beside(cluster)
    with cluster.unchanged():
        plans = [beside.plan(**case.target) for case in cases]
        found = Sequence(cluster).rows(plans[1:])
        recovered = [beside.restore(plans[0]).rows, *(found[plan.id] for plan in plans[1:])]
    wrong = [
        f"{case}: missing {case.rows - rows}, extra {rows - case.rows}"
        for case, rows in zip(cases, recovered)
        if case.rows != rows
    ]
    timelines = sorted(world.timeline for world in worlds)
    say(
        **{"major": cell.major, "segment_mb": cell.segment_mb, "zone": cell.zone, "shape": cell.shape},
        timelines=timelines,
        targets=len(cases),
        exact=len(cases) - len(wrong),
    )
    assert not wrong, f"DBKEEPER_TEST_SEED={SEED}: {len(wrong)} of {len(cases)}\n" + "\n".join(wrong)


def choose(worlds: list[World], chance: random.Random, zone: str) -> Case:
    """A random target on a random branch."""
    world = chance.choice(worlds)
    return Chooser(world, chance, zone=zone, always_timeline=len(worlds) > 1).choose()


@pytest.mark.slow
@pytest.mark.parametrize("combination", list(slice_of_cells()), ids=str)
def test_a_slice_of_the_matrix(
    sandbox: Sandbox, combination: Cell, cell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(sandbox, combination, IN_SLICE, cell, monkeypatch)


@pytest.mark.matrix
@pytest.mark.parametrize("combination", list(all_cells()), ids=str)
def test_every_cell_recovers_random_targets_exactly(
    sandbox: Sandbox, combination: Cell, cell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(sandbox, combination, IN_SEQUENCE, cell, monkeypatch)


def test_the_slice_has_each_value_and_the_whole_has_a_thousand_targets() -> None:
    chosen = list(slice_of_cells())
    if len(installations()) == 5:
        assert {cell.segment_mb for cell in chosen} == {*SIZES_MB}
        assert {cell.zone for cell in chosen} == {*ZONES}
        assert {cell.shape for cell in chosen} == {*SHAPES, HIGH}
        assert len(list(all_cells())) * IN_SEQUENCE >= 1000
