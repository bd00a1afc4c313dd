# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Stored segments that go bad while nobody looks, and a repository that goes away in the middle of replay (B06, B08).

A warm index believes in a segment as long as its size, times and inode stay the same. That saves reading the archive
for every plan, and is never the last word: what is handed to recovery is held against the proven bytes.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .harness import damage
from .harness.cluster import Cluster
from .harness.disk import SmallDisk
from .harness.sandbox import Sandbox
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, World, lsn_text

SEGMENT_BYTES = 1 << 20
CONFIRM = ("--confirm", "main")
TARGET = ("--target-name", "beta")


class Away:
    """A world whose repository lies on a disk of its own, in memory."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.disk = SmallDisk(sandbox.root / "disk", 200)
        repository = self.disk.mountpoint / "repository"
        self.cluster = Cluster(
            sandbox, settings=SETTINGS, repository=repository, disk=self.disk, disk_holds="repository"
        ).start()
        self.world = World.begin(self.cluster).work().backup()
        for _dummy in range(4):
            self.world.work(6)
            self.cluster.switch_wal()
        self.world.point("beta").work().finish()


def segment(world: World, back: int) -> Path:
    """So many segments before the one that holds ``beta``, as this process sees it."""
    number = world.points["beta"] // SEGMENT_BYTES - back
    directory = world.cluster.seen(world.cluster.wal_directory)
    return directory / f"00000001{number >> 12:08X}{number & 0xFFF:08X}.zst"


@pytest.fixture
def away(sandbox: Sandbox) -> Iterator[Away]:
    place = Away(sandbox)
    yield place
    sandbox.stop_all()
    place.disk.close()


def rot(path: Path) -> None:
    """Flip a bit as a bad disk does: size, times and inode stay. (Memory mapped from tmpfs is not stamped.)"""
    before = path.stat()
    with open(path, "r+b") as handle, mmap.mmap(handle.fileno(), 0) as memory:
        memory[len(memory) // 2] ^= 0x10
    after = path.stat()
    for name in ("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino"):
        assert getattr(before, name) == getattr(after, name), name


def test_a_segment_that_rots_unseen_never_shortens_a_restore(away: Away) -> None:
    """B06: the plan of a warm index cannot see it; replay does, before a single row is lost."""
    cluster, world = away.cluster, away.world
    cluster.keeper("plan", *TARGET).expect(0)
    victim = segment(world, 2)
    name, whole = victim.name.partition(".")[0], victim.read_bytes()
    rot(victim)
    # Nothing about the file tells it; this is what reading 0.6 GB/s for each plan would cost, and is documented.
    cluster.keeper("plan", *TARGET).expect(0)
    before = recovered_rows(cluster.dsn())
    with cluster.unchanged("beside: data.dbkeeper-"):
        error = cluster.keeper("restore", *TARGET, *CONFIRM).failed(
            "segment-corrupt", name, "nothing was swapped", "dbkeeper index --rebuild", "dbkeeper undo"
        )
        assert error["details"]["state"] == {**error["details"]["state"], "swapped": False, "running": True}
    [staged] = cluster.parent.glob("data.dbkeeper-*/data")
    assert (staged / "recovery.signal").exists(), "the copy was promoted"
    assert recovered_rows(cluster.dsn()) == before
    # What was found out is not forgotten: the next plan reads it again, and says what is left.
    cluster.keeper("undo", *CONFIRM).expect(0)
    with cluster.unchanged():
        refusal = cluster.keeper("plan", *TARGET).refused("segment-corrupt", name, "Bring it back")
        cluster.keeper("restore", *TARGET, *CONFIRM).refused("segment-corrupt", name)
    number = int(name[8:16], 16) * 4096 + int(name[16:], 16)
    last = world.commit_before(number * SEGMENT_BYTES)
    assert refusal["details"]["last_reachable_commit"]["lsn"] == lsn_text(last.lsn)
    # Others may have gone bad unseen, too: reading all of it anew tells.
    other = segment(world, 1)
    kept = other.read_bytes()
    rot(other)
    assert cluster.keeper("index").expect(0)["changed"] is False
    [report] = cluster.keeper("index", "--rebuild").expect(0)["archives"].values()
    assert report["faults"] == 2
    for path, content in ((victim, whole), (other, kept)):
        path.write_bytes(content)
    cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def fails_to_read(world: World, path: Path) -> None:
    """A read error of the kernel's own, as from a failing disk: EIO."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


def gone(world: World, path: Path) -> None:
    """What is left of a file system that went away: an empty mount point."""
    repository = world.cluster.repository / world.cluster.name
    repository.rename(repository.with_name("elsewhere"))
    repository.mkdir()


def no_permission(world: World, path: Path) -> None:
    damage.unreadable(path)


@pytest.mark.parametrize(
    ("hurt", "code", "words"),
    [
        pytest.param(fails_to_read, "segment-unreadable", ("Input/output error",), id="read error"),
        pytest.param(gone, "repository-missing", ("not mounted",), id="mount gone"),
        pytest.param(
            no_permission,
            "segment-unreadable",
            ("Permission denied",),
            id="no permission",
            marks=pytest.mark.matrix,
        ),
    ],
)
def test_what_cannot_be_read_in_the_middle_of_replay_stops_it(
    world: World, hurt: Callable[[World, Path], None], code: str, words: tuple[str, ...]
) -> None:
    """B08: the server has replayed some, asks for the next, and gets 255."""
    cluster, before = world.cluster, recovered_rows(world.cluster.dsn())
    victim = segment(world, 1)
    name, whole = victim.name.partition(".")[0], victim.read_bytes()
    with cluster.unchanged("beside: data.dbkeeper-", "wal: ", "base: "):
        running = cluster.keeper_start("restore", *TARGET, *CONFIRM, hold_get=name)
        running.wait_paused()
        hurt(world, victim)
        running.resume()
        error = running.wait().failed(code, *words, "nothing was swapped")
        # A repository that is gone is gone for whichever was being fetched.
        planned = {segment(world, back).name.partition(".")[0] for back in range(-1, 12)}
        assert error["details"]["fault"]["name"] in (planned if hurt is gone else {name})
        assert error["details"]["state"]["swapped"] is False
    [log] = cluster.parent.glob("data.dbkeeper-*/server.log")
    assert "could not restore file" in log.read_text() and (log.parent / "data" / "recovery.signal").exists()
    assert recovered_rows(cluster.dsn()) == before
    # It is there again, and the same command goes on.
    repository = cluster.repository / cluster.name
    if (aside := repository.with_name("elsewhere")).exists():
        damage.remove(repository)
        aside.rename(repository)
    victim.unlink()
    victim.write_bytes(whole)
    assert cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)["resumes"] is True
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
