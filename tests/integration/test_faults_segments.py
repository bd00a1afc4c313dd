# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A damaged archive: seen by the plan, and when it happens after the plan, replay stops and nothing is swapped.

PostgreSQL alone promotes with exit 0 and lost rows in most of these cases (B01, B04-B08 of the catalogue).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import damage
from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.template import Kind
from .harness.workload import recovered_rows
from .harness.world import Frozen, World, lsn_text

SEGMENT_BYTES = 1 << 20
CONFIRM = ("--confirm", "main")
TARGET = ("--target-name", "beta")


class Archive:
    """The archive of a world: the segments on the way from the newest backup to ``beta``, and a foreign one."""

    def __init__(self, world: World, foreign: Path) -> None:
        self.world = world
        self.foreign = foreign

    def number(self, path: Path) -> int:
        """A segment's position in WAL, in segments."""
        return (int(path.name[8:16], 16) << 12) + int(path.name[16:24], 16)

    def on_the_way(self) -> list[Path]:
        """All that recovery needs after the backup's own."""
        first = self.world.backups[1].stop_lsn // SEGMENT_BYTES + 1
        last = self.world.points["beta"] // SEGMENT_BYTES
        return [path for path in self.world.cluster.archived_segments() if first <= self.number(path) < last]

    def middle(self) -> Path:
        """One in the middle."""
        return self.on_the_way()[3]

    def last(self) -> Path:
        """The last before the one that holds ``beta``."""
        return self.on_the_way()[-1]


@pytest.fixture(scope="session")
def foreign_segment(session_sandbox: Sandbox) -> Path:
    """A real segment of another system, written by its own server."""
    cluster = Cluster(session_sandbox, "foreign", kind=Kind(variant=1)).start()
    for _dummy in range(8):
        cluster.switch_wal()
    cluster.archive_all()
    segment = cluster.archived_segments()[-1]
    cluster.stop()
    return segment


@pytest.fixture(scope="module")
def shared(frozen: Frozen, foreign_segment: Path) -> Iterator[Archive]:
    """One running copy for all plans here."""
    sandbox = Sandbox()
    yield Archive(frozen.thaw(sandbox), foreign_segment)
    sandbox.close()


@pytest.fixture
def archive(shared: Archive) -> Iterator[Archive]:
    """The shared archive, whole again after each test."""
    wal = shared.world.cluster.repository / shared.world.cluster.name
    aside = wal.with_name("aside")
    shutil.copytree(wal, aside, symlinks=True)
    yield shared
    damage.remove(wal)
    aside.rename(wal)


@pytest.fixture
def alone(frozen: Frozen, foreign_segment: Path, sandbox: Sandbox) -> Archive:
    """A copy for one test, to be restored."""
    return Archive(frozen.thaw(sandbox), foreign_segment)


def forge(archive: Archive, path: Path) -> None:
    """The other system's own segment under this name, with this page address so that only the system differs."""
    own, other = damage.plain(path), damage.plain(archive.foreign)
    damage.store(path, other[:8] + own[8:16] + other[16:])


def other_form(archive: Archive, path: Path) -> None:
    """The segment a second time, not compressed, as another archive command stored it, and with other bytes."""
    path.with_suffix("").write_bytes(damage.flipped_inside(damage.plain(path)))


Break = Callable[[Archive, Path], None]
BREAKS: list[tuple[str, Break, str]] = [
    ("missing", lambda archive, path: damage.delete(path), "segment-missing"),
    ("zeros inside", lambda archive, path: damage.rewrite(path, damage.zeros_inside), "segment-zero-filled"),
    ("zeros stored", lambda archive, path: damage.zero_fill(path), "segment-corrupt"),
    ("half inside", lambda archive, path: damage.rewrite(path, damage.half_inside), "segment-wrong-size"),
    ("half stored", lambda archive, path: damage.truncate(path), "segment-corrupt"),
    ("nothing stored", lambda archive, path: damage.truncate(path, 0), "segment-corrupt"),
    ("of another system", forge, "segment-wrong-system"),
    ("swapped", lambda archive, path: damage.swap(path, neighbour(archive, path)), "segment-wrong-content"),
    (
        "replaced",
        lambda archive, path: damage.replace(path, neighbour(archive, path)),
        "segment-wrong-content",
    ),
    ("bit inside", lambda archive, path: damage.rewrite(path, damage.flipped_inside), "segment-corrupt"),
    ("bit stored", lambda archive, path: damage.flip_bit(path), "segment-corrupt"),
    ("no permission", lambda archive, path: damage.unreadable(path), "segment-unreadable"),
    ("twice", other_form, "segment-duplicate"),
]


def breaks(*every_run: str) -> list[Any]:
    """Parameters: all ways, of which those not named belong to the matrix."""
    return [
        pytest.param(*case[1:], id=case[0], marks=() if case[0] in every_run else pytest.mark.matrix)
        for case in BREAKS
    ]


def neighbour(archive: Archive, path: Path) -> Path:
    """The segment before."""
    segments = archive.world.cluster.archived_segments()
    return segments[segments.index(path) - 1]


@pytest.mark.parametrize(("hurt", "code"), breaks(*(case[0] for case in BREAKS)))
@pytest.mark.parametrize(
    "indexed", [True, pytest.param(False, marks=pytest.mark.matrix)], ids=["known to the index", "index lost"]
)
def test_the_plan_names_the_segment_and_the_last_reachable_commit(
    archive: Archive, hurt: Break, code: str, indexed: bool
) -> None:
    """B01, B02 missing; B03 half; B04 zeros; B05 swapped; B06 bit; B07 system; B08 permission; B14 twice."""
    cluster, world = archive.world.cluster, archive.world
    if indexed:
        cluster.keeper("plan", *TARGET).expect(0)
    else:
        shutil.rmtree(cluster.repository / cluster.name / "index")
    path = archive.middle()
    name = path.name.partition(".")[0]
    number = archive.number(path)
    hurt(archive, path)
    if code == "segment-wrong-content" and neighbour_is_hurt(hurt):
        name, number = neighbour(archive, path).name.partition(".")[0], number - 1
    with cluster.unchanged():
        error = cluster.keeper("plan", *TARGET).refused(code, name)
        cluster.keeper("restore", *TARGET, *CONFIRM).refused(code, name)
    if code == "segment-wrong-content":
        # Whose content it is.
        held = neighbour(archive, path).name if not neighbour_is_hurt(hurt) else path.name
        assert held.partition(".")[0] in error["happened"]
    if code == "segment-wrong-system":
        stranger = int.from_bytes(damage.plain(archive.foreign)[24:32], "little")
        assert str(stranger) in error["happened"]
    # What is still reachable is said, is true, and can be planned.
    last = world.commit_before(number * SEGMENT_BYTES)
    assert error["details"]["first"] == name
    assert error["details"]["last_reachable_commit"]["xid"] == last.xid
    assert error["details"]["last_reachable_commit"]["lsn"] == lsn_text(last.lsn)
    plan = cluster.keeper("plan", "--target-lsn", lsn_text(last.lsn)).expect(0)["plan"]
    assert plan["proof"]["last_commit"]["xid"] == last.xid


def neighbour_is_hurt(hurt: Break) -> bool:
    """Whether the first damaged segment is the one before."""
    return hurt is next(case[1] for case in BREAKS if case[0] == "swapped")


def later_code(hurt: Break, code: str) -> str:
    """What replay calls it: of what can be unpacked it knows only that it is not what was proven."""
    name = next(case[0] for case in BREAKS if case[1] is hurt)
    sound = "inside" in name or name in ("of another system", "swapped", "replaced")
    return "segment-changed" if sound else code


def test_a_run_of_missing_segments_is_told_with_both_ends(archive: Archive) -> None:
    first, second, third = archive.on_the_way()[2:5]
    for path in (first, second, third):
        damage.delete(path)
    names = [path.name.partition(".")[0] for path in (first, third)]
    error = archive.world.cluster.keeper("plan", *TARGET).refused("segment-missing", *names)
    assert [error["details"]["first"], error["details"]["last"]] == names


def test_a_hole_behind_the_target_does_not_matter(archive: Archive) -> None:
    """B02: but it is told, for what follows it can never be reached from here."""
    behind = archive.world.points["beta"] // SEGMENT_BYTES + 1
    victim, *after = (
        path for path in archive.world.cluster.archived_segments() if archive.number(path) >= behind
    )
    assert after, "a hole has two sides"
    damage.delete(victim)
    plan = archive.world.cluster.keeper("plan", *TARGET).expect(0)["plan"]
    name = victim.name.partition(".")[0]
    assert any(name in warning and "segment-missing" in warning for warning in plan["proof"]["warnings"])
    with archive.world.cluster.unchanged():
        archive.world.cluster.keeper("plan", "--latest").refused("segment-missing", name)


def test_a_hole_in_the_backups_own_window_is_seen(archive: Archive) -> None:
    """B10: the consistency of the newest backup needs it; the older backup is no way around the hole either."""
    needed = archive.world.backups[1].start_lsn // SEGMENT_BYTES
    path = next(path for path in archive.world.cluster.archived_segments() if archive.number(path) == needed)
    damage.delete(path)
    cluster, name = archive.world.cluster, path.name.partition(".")[0]
    with cluster.unchanged():
        cluster.keeper("plan", *TARGET).refused("segment-missing", name, "Bring it back")
        cluster.keeper("restore", *TARGET, *CONFIRM).refused("segment-missing", name)


def test_an_archive_that_is_not_mounted_is_not_an_empty_one(archive: Archive) -> None:
    """B09: nothing is written below an empty mount point."""
    cluster = archive.world.cluster
    repository = cluster.repository / cluster.name
    hidden = repository.with_name("unmounted")
    with cluster.unchanged():
        repository.rename(hidden)
        try:
            repository.mkdir()
            for command in (("plan", *TARGET), ("restore", *TARGET, *CONFIRM), ("backup",), ("info",)):
                cluster.keeper(*command).refused("repository-missing", "not mounted", "Mount the file system")
            assert list(repository.iterdir()) == []
        finally:
            damage.remove(repository)
            hidden.rename(repository)


def test_an_archive_that_may_not_be_entered_is_not_an_empty_one(archive: Archive) -> None:
    """B08, B09: the marker is there, and nobody can say what the archive holds."""
    cluster = archive.world.cluster
    wal = cluster.wal_directory.parent
    wal.chmod(0)
    try:
        with cluster.unchanged():
            for command in (("plan", *TARGET), ("restore", *TARGET, *CONFIRM)):
                cluster.keeper(*command).failed("repository-unreadable", str(wal), "mend its mount")
    finally:
        wal.chmod(0o700)
    cluster.keeper("plan", *TARGET).expect(0)


def test_an_archive_that_holds_nothing_is_told_by_the_first_segment(archive: Archive) -> None:
    """B09: the marker is there, the WAL is not. PostgreSQL alone says that it cannot locate a checkpoint record."""
    cluster = archive.world.cluster
    number = archive.world.backups[1].start_lsn // SEGMENT_BYTES
    [first] = (path for path in cluster.archived_segments() if archive.number(path) == number)
    for path in cluster.archived_segments():
        damage.delete(path)
    with cluster.unchanged():
        for command in (("plan", *TARGET), ("restore", *TARGET, *CONFIRM), ("plan", "--immediate")):
            cluster.keeper(*command).refused("segment-missing", first.name.partition(".")[0], "Bring it back")


@pytest.mark.parametrize(
    ("hurt", "code"), breaks("missing", "zeros inside", "half stored", "swapped", "bit stored")
)
def test_damage_after_the_plan_stops_replay_and_swaps_nothing(alone: Archive, hurt: Break, code: str) -> None:
    """B01 to B08 and B14 once more, in the middle: archive-get says 255, which is no end of recovery (D03, D05)."""
    cluster, world = alone.world.cluster, alone.world
    plan = cluster.keeper("plan", *TARGET).expect(0)["plan"]
    path = alone.last()
    name = path.name.partition(".")[0]
    rescue = cluster.root / "rescue"
    shutil.copytree(cluster.repository / cluster.name / "wal", rescue)
    before = recovered_rows(cluster.dsn())
    with cluster.unchanged("beside: data.dbkeeper-", "wal: "):
        # Staged and about to be replayed; nothing of the archive has been fetched ahead.
        running = cluster.keeper_start("restore", *TARGET, *CONFIRM, pause_at="replay:begun")
        running.wait_paused()
        hurt(alone, path)
        running.resume()
        answer = running.wait()
        answer.failed(later_code(hurt, code), "nothing was swapped", "run the same command again")
        named = name if not neighbour_is_hurt(hurt) else neighbour(alone, path).name.partition(".")[0]
        assert named in answer.error["happened"], str(answer)
        assert answer.error["details"]["state"]["swapped"] is False
        assert answer.error["details"]["state"]["running"] is True
    assert recovered_rows(cluster.dsn()) == before
    # With the segment back, the same command finishes with the same result.
    damage.remove(cluster.repository / cluster.name / "wal")
    rescue.rename(cluster.repository / cluster.name / "wal")
    done = cluster.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert done["resumes"] is True
    assert done["plan"]["id"] == plan["id"]
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
