# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""An archive with a fork, and what is lost of the second timeline: its history, its segments (B11-B13).

PostgreSQL alone ignores a child whose history is gone and takes its number a second time, or replays the parent's
WAL past the fork and calls it the child's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .harness import damage
from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, Frozen, World, lsn_number, lsn_text

CONFIRM = ("--confirm", "main")
HISTORY = "00000002.history"
Hurt = Callable[[Path], None]


@pytest.fixture(scope="module")
def forked(session_sandbox: Sandbox) -> Frozen:
    """Restored to ``early``, so that timeline 2 goes on from there to ``late``. One backup, before the fork."""
    cluster = Cluster(session_sandbox, settings=SETTINGS, root=session_sandbox.root / "forked").start()
    world = World.begin(cluster).work().backup().work().point("early").work().finish()
    cluster.keeper("restore", "--target-name", "early", "--skip-backup", *CONFIRM).expect(0)
    after = World.after_restore(world, world.points["early"]).work(6)
    cluster.archive_all()
    return after.work(6).point("late").work(6).finish().freeze()


@pytest.fixture(scope="module")
def shared(forked: Frozen) -> Iterator[World]:
    """One running copy for all plans here."""
    sandbox = Sandbox()
    yield forked.thaw(sandbox)
    sandbox.close()


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """The shared copy; its archive is whole again after each test."""
    repository = shared.cluster.repository / shared.cluster.name
    aside = repository.with_name("aside")
    shutil.copytree(repository, aside, symlinks=True)
    yield shared
    damage.remove(repository)
    aside.rename(repository)


def archive(world: World) -> Path:
    """The directory of the system's archive."""
    return world.cluster.wal_directory.parent


def refused(world: World, target: tuple[str, ...], code: str, *words: str) -> None:
    """Plan and restore say no, in words and by code, and nothing has changed."""
    with world.cluster.unchanged():
        world.cluster.keeper("plan", *target).refused(code, *words)
        world.cluster.keeper("restore", *target, *CONFIRM).refused(code, *words)


def garbage(path: Path) -> None:
    path.write_text("no such line\n")


def bytes_that_are_no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def wrong_parent(path: Path) -> None:
    path.write_text("2\t0/3000000\tbefore nothing\n")


HISTORIES: list[tuple[str, Hurt, str, str]] = [
    ("B11 missing", damage.delete, "history-missing", "where it left its parent"),
    ("B13 empty", lambda path: damage.truncate(path, 0), "history-damaged", "empty"),
    ("B13 garbage", garbage, "history-damaged", "no such line"),
    ("B13 no text", bytes_that_are_no_text, "history-damaged", "not text"),
    ("B13 its own parent", wrong_parent, "history-damaged", "timeline 2"),
    ("B08 no permission", damage.unreadable, "history-unreadable", "Permission denied"),
]


#: One of each kind is tried at every run.
RARE = ("B13 no text", "B13 its own parent")


@pytest.mark.parametrize(
    ("hurt", "code", "word"),
    [
        pytest.param(*case[1:], id=case[0], marks=[pytest.mark.matrix] if case[0] in RARE else [])
        for case in HISTORIES
    ],
)
def test_without_its_history_a_timeline_is_neither_followed_nor_ignored(
    world: World, hurt: Hurt, code: str, word: str
) -> None:
    """B11, B13: also a target that might lie before the fork is refused, for nobody knows where the fork is."""
    hurt(archive(world) / HISTORY)
    refused(world, ("--latest",), code, HISTORY, word)
    for target in (("--target-name", "early"), ("--target-name", "late", "--timeline", "2")):
        with world.cluster.unchanged():
            world.cluster.keeper("plan", *target).refused(code, HISTORY, word)
    # The way out that is named: bring it back. Or say that the parent is meant.
    plan = world.cluster.keeper("plan", "--target-name", "early", "--timeline", "1").expect(0)["plan"]
    assert plan["proof"]["timeline"] == 1
    shutil.copyfile(world.cluster.data_directory / "pg_wal" / HISTORY, archive(world) / "again")
    damage.replace_by(archive(world) / HISTORY, archive(world) / "again")
    world.cluster.keeper("plan", "--latest").expect(0)


def test_the_segments_of_a_timeline_are_gone(world: World) -> None:
    """B12: PostgreSQL would replay the parent past the fork under the child's name."""
    fork = lsn_number((archive(world) / HISTORY).read_text().split("\t")[1])
    shutil.rmtree(world.cluster.timeline_directory(2))
    # Behind the fork it may lie on either: nobody says, and PostgreSQL would go on along the parent.
    behind = ("--target-lsn", lsn_text(fork + 8))
    refused(
        world, behind, "timeline-ambiguous", "no WAL of timeline 2 is archived yet", "timeline 1 is meant"
    )
    refused(world, ("--latest",), "segment-missing", "000000020000", "no WAL of timeline 2 is archived")
    refused(world, ("--target-name", "late", "--timeline", "2"), "segment-missing", "000000020000")
    # What the parent holds after the fork is not what anybody means who does not say so.
    error = world.cluster.keeper("plan", "--target-name", "early", "--timeline", "1").expect(0)
    assert error["plan"]["proof"]["timeline"] == 1


def test_the_forks_own_segment_is_gone(world: World) -> None:
    """B12: the parent's segment of that number holds the parent's records behind the fork."""
    first = world.cluster.archived_segments(2)[0]
    damage.delete(first)
    name = first.name.partition(".")[0]
    refused(world, ("--latest",), "segment-missing", name, "Bring it back")
    refused(world, ("--target-name", "late"), "segment-missing", name)


@pytest.mark.parametrize(
    ("hurt", "code"),
    [(damage.delete, "history-missing"), (garbage, "history-changed")],
    ids=["B11 missing", "B13 garbage"],
)
def test_a_history_that_is_lost_after_the_plan_stops_replay(
    forked: Frozen, sandbox: Sandbox, hurt: Hurt, code: str
) -> None:
    world = forked.thaw(sandbox)
    cluster, before = world.cluster, recovered_rows(world.cluster.dsn())
    running = cluster.keeper_start("restore", "--target-name", "late", *CONFIRM, pause_at="replay:begun")
    running.wait_paused()
    kept = shutil.copy2(archive(world) / HISTORY, cluster.root / "kept")
    with cluster.unchanged("beside: data.dbkeeper-"):
        hurt(archive(world) / HISTORY)
        running.resume()
        error = running.wait().failed(code, HISTORY, "nothing was swapped")
        assert error["details"]["state"]["swapped"] is False
        damage.replace_by(archive(world) / HISTORY, kept)
    assert recovered_rows(cluster.dsn()) == before
    assert cluster.keeper("restore", "--target-name", "late", *CONFIRM).expect(0)["resumes"] is True
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["late"])


@pytest.mark.parametrize(
    "hurt",
    [
        pytest.param(damage.delete, id="missing"),
        pytest.param(bytes_that_are_no_text, id="no text", marks=pytest.mark.matrix),
    ],
)
def test_a_timeline_that_lost_its_history_keeps_its_number(
    forked: Frozen, sandbox: Sandbox, hurt: Hurt
) -> None:
    """B11: the parent was asked for by number. PostgreSQL alone calls the new timeline 2, too, and archives over it."""
    world = forked.thaw(sandbox)
    cluster = world.cluster
    stored = {path.name: path.read_bytes() for path in cluster.archived_segments(2)}
    hurt(archive(world) / HISTORY)
    done = cluster.keeper("restore", "--target-name", "early", "--timeline", "1", *CONFIRM).expect(0)
    assert done["record"]["reached"]["new_timeline"] == 3
    assert recovered_rows(cluster.dsn()) == world.inherited
    # Its last segments came when the old server was stopped; what was there is as it was.
    assert stored.items() <= {path.name: path.read_bytes() for path in cluster.archived_segments(2)}.items()
    assert cluster.keeper("info").expect(0)["conflicts"] == []
    assert (archive(world) / "00000003.history").read_text().startswith("1\t")
