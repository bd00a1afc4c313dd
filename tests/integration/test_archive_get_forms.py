# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""archive-get where a segment lies in another form than it was proven in."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository import compression
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.prefetch import stop_prefetcher

from .get_help import COUNT, World
from .harness import damage
from .harness.installation import default_installation
from .harness.sandbox import Sandbox
from .stored import Wal, make_wal


@pytest.fixture(scope="module")
def wal() -> Iterator[Wal]:
    sandbox = Sandbox()
    yield make_wal(sandbox, default_installation(), count=COUNT)
    sandbox.close()


@pytest.fixture
def world(sandbox: Sandbox, wal: Wal) -> Iterator[World]:
    world = World(sandbox.root, wal)
    yield world
    stop_prefetcher(world.spool)


def pack_otherwise(world: World, position: int) -> None:
    """The same WAL in other bytes, and sound."""
    before = world.packed(position)
    plain = world.wal.segments[position].read_bytes()
    done = subprocess.run(["zstd", "-q", "-c", "-9"], input=plain, capture_output=True, check=True)
    world.stored(position).write_bytes(done.stdout)
    assert world.packed(position) != before


def unpack(world: World, position: int) -> None:
    """As somebody does who means well: only the plain form is left."""
    world.stored(position).with_suffix("").write_bytes(world.wal.segments[position].read_bytes())
    world.stored(position).unlink()


@pytest.mark.parametrize("exchange", [pack_otherwise, unpack])
def test_the_same_wal_in_another_form(world: World, exchange: Callable[[World, int], None]) -> None:
    """Known by its plain bytes it is the same; known by its packed ones nobody can say so, and it is not believed."""
    kept = world.stored(3).read_bytes()
    exchange(world, 3)
    world.delivers(3)
    stop_prefetcher(world.spool)
    world.stored(3).write_bytes(kept)
    world.write_packed()
    world.stored(3).with_suffix("").unlink(missing_ok=True)
    exchange(world, 3)
    for _dummy in range(2):
        world.faults(
            world.names[3], "segment-changed", world.names[3], "of the packed bytes", "not the one that"
        )
    # Brought back, and all is well.
    world.stored(3).with_suffix("").unlink(missing_ok=True)
    world.stored(3).write_bytes(kept)
    world.delivers(3)


@pytest.mark.parametrize("known_by", ["plain", "packed"])
def test_a_second_form_beside_the_proven_one(world: World, known_by: str) -> None:
    if known_by == "packed":
        world.write_packed()
    twin = world.stored(3).with_suffix("")
    twin.write_bytes(world.wal.segments[3].read_bytes())
    world.delivers(3)
    stop_prefetcher(world.spool)
    shutil.rmtree(world.spool_path)
    twin.write_bytes(world.wal.segments[4].read_bytes())
    world.faults(world.names[3], "segment-duplicate", world.names[3])


@pytest.mark.parametrize("known_by", ["plain", "packed"])
def test_without_the_library_the_same_is_delivered_and_refused(
    world: World, known_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "library", lambda: None)
    if known_by == "packed":
        world.write_packed()
    # Before anything is fetched ahead.
    damage.rewrite(world.stored(6), damage.flipped_inside)
    damage.flip_bit(world.stored(7))
    world.delivers(2)
    world.faults(world.names[6], "segment-changed", world.names[6])
    world.faults(world.names[7], "segment-corrupt", world.names[7])
