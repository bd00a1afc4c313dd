# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Segments known by their packed bytes: what is exchanged is told, what stayed is not read anew, nothing is misread."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import KeeperError
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository import compression
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.archive import push
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.source import (
    NativeWalSource,
    stored_wal,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.archive import Archive
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.content import CHEAPEST, PACKED, PLAIN
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.entry import Entry
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.index import WalIndex

from .harness.installation import default_installation
from .harness.sandbox import Sandbox
from .stored import Wal, make_repository, make_wal

COUNT = 8


@pytest.fixture(scope="module")
def wal() -> Iterator[Wal]:
    sandbox = Sandbox()
    yield make_wal(sandbox, default_installation(), count=COUNT)
    sandbox.close()


class World:
    """A repository with all segments, and an index of it that knows nothing yet."""

    def __init__(self, root: Path, wal: Wal) -> None:
        self.wal = wal
        self.repository = make_repository(root / "repository")
        self.stored = []
        for path in wal.segments:
            self.stored.append(Path(push(self.repository, str(path), system_id=wal.system_id)["path"]))
        self.names = [path.name for path in wal.segments]
        self.source = NativeWalSource(self.repository, wal.system_id)
        self.directory = root / "index" / str(wal.system_id)
        self.bin = str(default_installation().bin_directory)

    def refresh(self) -> Archive:
        """As another process would. Sound, and every segment joined to the one before it."""
        archive = WalIndex(str(self.directory)).refresh(self.source, self.bin)
        assert sorted(archive.entries) == self.names
        entries = [archive.entries[name] for name in self.names]
        assert [entry.fault for entry in entries] == [None] * COUNT
        assert [entry.joined for entry in entries[1:]] == [entry.digest for entry in entries[:-1]]
        return archive

    def add(self, position: int) -> None:
        """Into the index as archive push does it, from the server's own file."""
        path = self.wal.segments[position]
        found = stored_wal(path.name, str(self.stored[position]))
        index = WalIndex(str(self.directory))
        assert index.add_from_push(str(path), found, self.wal.digest(position), self.bin)

    def packed(self, position: int) -> str:
        """The identity by stored bytes, as they are now."""
        return f"zstd:{hashlib.sha256(self.stored[position].read_bytes()).hexdigest()}"

    def kinds(self, archive: Archive) -> str:
        """One letter a segment: by its plain or by its packed bytes."""
        found = ""
        for position, name in enumerate(self.names):
            kinds = {self.wal.digest(position): "p", self.packed(position): "z"}
            found += kinds[str(archive.entries[name].digest)]
        return found

    def pack_otherwise(self, position: int) -> None:
        """The same WAL in other bytes."""
        before = self.stored[position].read_bytes()
        plain = self.wal.segments[position].read_bytes()
        packed = subprocess.run(["zstd", "-q", "-c", "-9"], input=plain, capture_output=True, check=True)
        assert packed.stdout != before
        self.stored[position].write_bytes(packed.stdout)


@pytest.fixture
def world(sandbox: Sandbox, wal: Wal) -> World:
    return World(sandbox.root, wal)


def test_what_is_read_from_the_archive_is_known_by_its_packed_bytes(world: World) -> None:
    archive = world.refresh()
    assert world.kinds(archive) == "z" * COUNT and archive.indexed == COUNT
    assert world.refresh().indexed == 0
    assert world.kinds(WalIndex(str(world.directory)).rebuild(world.source, world.bin)) == "z" * COUNT


def test_without_the_library_the_same_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def facts(archive: Archive) -> list[Entry]:
        return [
            Entry(**{**entry.__dict__, "digest": None, "joined": None}) for entry in archive.entries.values()
        ]

    with_library = world.refresh()
    shutil.rmtree(world.directory)
    monkeypatch.setattr(compression, "library", lambda: None)
    archive = world.refresh()
    assert world.kinds(archive) == "p" * COUNT
    assert facts(archive) == facts(with_library)
    # An index from a host with the library is held against what this one reads, in its own kind.
    shutil.rmtree(world.directory)
    monkeypatch.undo()
    world.refresh()
    monkeypatch.setattr(compression, "library", lambda: None)
    os.utime(world.stored[3])
    again = world.refresh()
    assert (world.kinds(again), again.indexed) == ("z" * COUNT, 1)


def test_what_was_pushed_is_known_by_its_plain_bytes_and_stays_so(world: World) -> None:
    for position in range(COUNT):
        world.add(position)
    assert world.kinds(world.refresh()) == "p" * COUNT
    # Brought back from a copy, or touched: read again, and what follows is not.
    os.utime(world.stored[2])
    world.pack_otherwise(5)
    archive = world.refresh()
    assert (world.kinds(archive), archive.indexed) == ("p" * COUNT, 2)


def test_the_same_wal_packed_otherwise_is_read_again_with_its_neighbour_and_no_more(world: World) -> None:
    world.refresh()
    world.pack_otherwise(3)
    archive = world.refresh()
    assert (world.kinds(archive), archive.indexed) == ("z" * COUNT, 2)
    assert world.refresh().indexed == 0


def test_pushed_and_read_ones_side_by_side(world: World) -> None:
    """Pushes that the index missed: both kinds in one chain, and it stays at rest."""
    for position in (0, 1, 4, 5):
        world.add(position)
    archive = world.refresh()
    # Three and seven segments are new; the fifth had been joined to what the server had.
    assert (world.kinds(archive), archive.indexed) == ("ppzzppzz", 5)
    assert world.refresh().indexed == 0
    os.utime(world.stored[1])
    os.utime(world.stored[2])
    assert world.refresh().indexed == 2
    WalIndex(str(world.directory)).doubt(world.names[4])
    archive = world.refresh()
    assert (world.kinds(archive), archive.indexed) == ("ppzzzpzz", 2)
    assert world.refresh().indexed == 0


def test_a_push_after_a_read_is_joined_to_it(world: World) -> None:
    kept = world.stored[-1].rename(world.repository.root + "/kept")
    archive = WalIndex(str(world.directory)).refresh(world.source, world.bin)
    assert len(archive.entries) == COUNT - 1
    kept.rename(world.stored[-1])
    world.add(COUNT - 1)
    archive = world.refresh()
    assert (world.kinds(archive), archive.indexed) == ("z" * (COUNT - 1) + "p", 0)


def test_an_index_of_before_is_thrown_away_and_all_is_proven_anew(world: World) -> None:
    """Format 2, and whatever it says: its digests meant something else."""
    path = world.directory / "index.jsonl"
    world.refresh()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["format"] = 2
    for line in lines[1:]:
        line.update(commits=4711)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    index = WalIndex(str(world.directory))
    found = stored_wal(world.names[1], str(world.stored[1]))
    assert not index.add_from_push(str(world.wal.segments[1]), found, world.wal.digest(1), world.bin)
    archive = world.refresh()
    assert archive.indexed == COUNT and not any(entry.commits == 4711 for entry in archive.entries.values())
    assert json.loads(path.read_text().splitlines()[0])["format"] == 3


def other_wal(world: World) -> bytes:
    return world.wal.segments[4].read_bytes()


def one_byte(world: World) -> bytes:
    content = bytearray(world.wal.segments[3].read_bytes())
    content[30_000] ^= 1
    return bytes(content)


@pytest.mark.parametrize("kind", [PLAIN, PACKED, CHEAPEST])
def test_two_forms_that_hold_the_same_are_one(world: World, kind: str, tmp_path: Path) -> None:
    twin, target = world.stored[3].with_suffix(""), tmp_path / "target"
    twin.write_bytes(world.wal.segments[3].read_bytes())
    expected = world.wal.digest(3) if kind == PLAIN else world.packed(3)
    assert world.source.fetch(world.names[3], str(target), kind) == expected
    assert target.read_bytes() == world.wal.segments[3].read_bytes()
    assert world.source.fetch(world.names[3], None, kind) == expected


@pytest.mark.parametrize("kind", [PLAIN, PACKED, CHEAPEST])
@pytest.mark.parametrize("other", [other_wal, one_byte])
def test_two_forms_that_differ_are_refused(
    world: World, kind: str, other: Callable[[World], bytes], tmp_path: Path
) -> None:
    twin, target = world.stored[3].with_suffix(""), tmp_path / "target"
    twin.write_bytes(other(world))
    for place in (str(target), None):
        with pytest.raises(KeeperError) as caught:
            world.source.fetch(world.names[3], place, kind)
        assert caught.value.code == "segment-duplicate" and not target.exists()


@pytest.mark.parametrize("kind", [PLAIN, PACKED, CHEAPEST])
def test_a_second_form_that_cannot_be_read_leaves_nothing(world: World, kind: str, tmp_path: Path) -> None:
    twin, target = world.stored[3].with_suffix(""), tmp_path / "target"
    twin.write_bytes(b"")
    twin.chmod(0)
    with pytest.raises(KeeperError) as caught:
        world.source.fetch(world.names[3], str(target), kind)
    assert caught.value.code == "segment-unreadable" and not target.exists()
