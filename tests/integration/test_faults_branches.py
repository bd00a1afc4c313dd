# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""An archive with two branches: targets by plan and by restore (A12-A15), and numbers of new timelines (D13)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from .harness.cluster import Cluster
from .harness.installation import Installation, an_installation_a_day
from .harness.keeper import Answer
from .harness.sandbox import Sandbox
from .harness.spare import spare_for
from .harness.waiting import wait_for
from .harness.workload import Key, recovered_rows
from .harness.world import SETTINGS, Frozen, World, lsn_number, lsn_text, utc

CONFIRM = ("--confirm", "main")
ITS_OWN = ("beside: data.dbkeeper-", "wal: ")


@dataclass(frozen=True)
class Branches:
    """A stopped cluster on timeline 2, which left timeline 1 at ``alpha``; both went on, with backups of their own.

    ``rows`` are by the workload's books: at ``beta`` and at the end of timeline 1, at the end of timeline 2.
    """

    cluster: Cluster
    rows: dict[str, set[Key]]
    fork_lsn: int
    before_fork: datetime
    #: Labels: before the fork, after it on timeline 1, on timeline 2.
    backups: tuple[str, str, str]
    xid_of_1: int
    xid_of_2: int
    #: The last commit of timeline 1, and the time of the last but one of timeline 2.
    last_lsn_of_1: int
    moment_of_2: datetime

    def copy(self, sandbox: Sandbox, **options: Any) -> Cluster:
        """A running copy."""
        old = self.cluster
        root = options.pop("root", sandbox.root / "copy")
        return Cluster(sandbox, "main", settings=SETTINGS, root=root, origin=old, **options).start()


@pytest.fixture(scope="module")
def branches(frozen: Frozen) -> Iterator[Branches]:
    """Made by the restore of the standard past to its restore point ``alpha``."""
    sandbox = Sandbox()
    world = frozen.thaw(sandbox)
    stop = world.points["alpha"]
    made = world.cluster.keeper("restore", "--target-name", "alpha", *CONFIRM).expect(0)["record"]
    after = World.after_restore(world, stop).work(6).finish()
    forks = [end for end in world.ends if end.committed and end.lsn < stop]
    ours = {end.xid for end in after.ends}
    cluster = world.cluster
    shutil.rmtree(made["kept_directory"])
    cluster.stop()
    yield Branches(
        cluster,
        {
            "beta": world.rows_before(world.points["beta"]),
            "end of 1": world.all_rows(),
            "end of 2": after.all_rows(),
        },
        lsn_number(made["reached"]["end_lsn"]),
        forks[-1].time,
        (world.backups[0].label, world.backups[1].label, made["new_backup"]),
        max(end.xid for end in world.ends if end.committed and end.xid not in ours),
        after.ends[-1].xid,
        [end for end in world.ends if end.committed][-1].lsn,
        after.ends[-2].time,
    )
    sandbox.close()


@pytest.fixture(scope="module")
def calm(branches: Branches) -> Iterator[Cluster]:
    """One running copy for all that is refused: nothing may change it."""
    sandbox = Sandbox()
    yield branches.copy(sandbox)
    sandbox.close()


def refused(cluster: Cluster, code: str, *words: str, target: tuple[str, ...]) -> dict[str, Any]:
    """By the plan and by the restore; nothing changed but for the segment that a restore has archived first."""
    with cluster.unchanged():
        error = cluster.keeper("plan", *target).refused(code, *words)
    with cluster.unchanged("wal: "):
        cluster.keeper("restore", *target, *CONFIRM).refused(code, *words)
    assert not (cluster.state_directory / "restore.journal.json").exists()
    return error


def lose(cluster: Cluster) -> None:
    """The cluster is beyond telling which timeline it was on; its configuration is still there."""
    cluster.stop()
    (cluster.data_directory / "global" / "pg_control").unlink()


def timeline(cluster: Cluster) -> int:
    """The server's own word."""
    return int(cluster.value("SELECT timeline_id FROM pg_control_checkpoint()"))


def history(cluster: Cluster, number: int) -> list[list[str]]:
    """The lines of an archived history file."""
    path = cluster.timeline_directory(1).parent / f"{number:08X}.history"
    return [line.split("\t") for line in path.read_text().splitlines() if line.strip()]


def restored(cluster: Cluster, answer: Answer, rows: set[Key], number: int) -> None:
    """Exactly those rows, on a new timeline of that number, archived with its history."""
    answer.expect(0)
    assert recovered_rows(cluster.dsn()) == rows
    assert timeline(cluster) == number
    assert history(cluster, number)
    assert cluster.value("SELECT failed_count FROM pg_stat_archiver") == 0


def test_a12_a_timeline_without_history_is_answered_with_those_that_are_there(
    calm: Cluster, branches: Branches
) -> None:
    error = refused(
        calm,
        "timeline-unknown",
        "timeline 7 is not in the archive",
        f"timeline 2 (from 1 at {lsn_text(branches.fork_lsn)}, after the commit of "
        f"{branches.before_fork:%Y-%m-%dT%H:%M:%S.%fZ})",
        target=("--latest", "--timeline", "7"),
    )
    assert error["details"]["timelines"] == [1, 2]


def test_a13_a_backup_of_the_other_branch_does_not_lead_there(calm: Cluster, branches: Branches) -> None:
    _before, other, _own = branches.backups
    refused(
        calm,
        "timeline-not-descendant",
        "no backup leads to timeline 2",
        f"{other} (timeline 1)",
        target=("--latest", "--timeline", "2", "--backup", other),
    )


@pytest.mark.matrix
def test_a13_latest_is_the_branch_of_the_backup_where_no_cluster_tells_its_own(
    branches: Branches, sandbox: Sandbox
) -> None:
    """PostgreSQL looks for the newest timeline and ends: it is not a child of this server's history."""
    cluster = branches.copy(sandbox)
    lose(cluster)
    _before, other, _own = branches.backups
    latest = ("restore", "--latest", "--backup", other, *CONFIRM)
    # What its last segment held, nobody can say any more.
    with cluster.unchanged():
        cluster.keeper(*latest).refused("live-wal-not-archived", "its pg_control cannot be read")
    answer = cluster.keeper(*latest, "--accept-unarchived")
    restored(cluster, answer, branches.rows["end of 1"], 3)
    assert [line[0] for line in history(cluster, 3)] == ["1"]


def test_a14_latest_of_several_branches_needs_a_timeline(branches: Branches, sandbox: Sandbox) -> None:
    """PostgreSQL follows the newest silently. Here each branch is named, and reached by its name."""
    cluster = branches.copy(sandbox)
    lose(cluster)
    before, _other, _own = branches.backups
    latest = ("--latest", "--backup", before, "--accept-unarchived")
    error = refused(
        cluster,
        "timeline-ambiguous",
        "2 branches that go on from the backup",
        "on timeline 1 it is LSN",
        "on timeline 2 it is LSN",
        "Say which timeline is meant: 1, 2",
        target=latest,
    )
    assert [row["timeline"] for row in error["details"]["branches"]] == [1, 2]
    for number, new, rows in ((1, 3, "end of 1"), (2, 4, "end of 2")):
        answer = cluster.keeper("restore", *latest, "--timeline", str(number), *CONFIRM)
        restored(cluster, answer, branches.rows[rows], new)
        assert answer.data["record"]["planned"]["timeline"] == number
        assert [line[0] for line in history(cluster, new)] == [str(one) for one in range(1, number + 1)]


def test_a14_a_timeline_that_only_the_catalog_knows(branches: Branches, sandbox: Sandbox) -> None:
    """B11: its history and all of its WAL are gone, and no cluster tells; a backup of it does."""
    cluster = branches.copy(sandbox)
    cluster.stop()
    (cluster.timeline_directory(1).parent / "00000002.history").unlink()
    shutil.rmtree(cluster.timeline_directory(2))
    spare = spare_for(cluster, sandbox)
    before, _other, own = branches.backups
    latest = ("--latest", "--backup", before)
    error = refused(spare, "history-missing", own, "00000002.history", "--timeline 1", target=latest)
    assert error["details"]["timeline"] == 2
    plan = spare.keeper("plan", *latest, "--timeline", "1").expect(0)["plan"]
    assert plan["proof"]["timeline"] == 1


@pytest.mark.matrix
def test_a14_latest_of_a_living_cluster_is_its_own_branch(branches: Branches, sandbox: Sandbox) -> None:
    cluster = branches.copy(sandbox)
    answer = cluster.keeper("restore", "--latest", *CONFIRM)
    restored(cluster, answer, branches.rows["end of 2"], 3)
    assert answer.data["record"]["planned"]["branch"] == 2


def test_a15_a_target_that_another_timeline_holds(branches: Branches, calm: Cluster) -> None:
    _before, other, own = branches.backups
    end_of_1, moment_of_2 = lsn_text(branches.last_lsn_of_1), utc(branches.moment_of_2)
    for target, code, holder, backup in (
        (("--target-name", "beta", "--timeline", "2"), "restore-point-unknown", 1, other),
        (("--target-xid", str(branches.xid_of_1), "--timeline", "2"), "xid-not-in-archive", 1, other),
        (("--target-lsn", end_of_1, "--timeline", "2"), "lsn-out-of-range", 1, other),
        (("--target-time", moment_of_2, "--timeline", "1"), "target-after-last-commit", 2, own),
    ):
        error = refused(
            calm, code, f"timeline {holder} holds it", f"Ask for timeline {holder}", target=target
        )
        [held] = error["details"]["held_by"]
        assert (held["timeline"], held["backup"]) == (holder, backup)


def test_a15_without_a_timeline_the_branch_that_holds_the_target_is_found(
    branches: Branches, sandbox: Sandbox
) -> None:
    cluster = branches.copy(sandbox)
    answer = cluster.keeper("restore", "--target-name", "beta", *CONFIRM)
    restored(cluster, answer, branches.rows["beta"], 3)
    assert answer.data["record"]["planned"]["timeline"] == 1
    assert [line[0] for line in history(cluster, 3)] == ["1"]
    assert answer.data["record"]["lost"]["wal_bytes"] is None  # not on the old cluster's timeline


# -- D13: the number of the new timeline ----------------------------------------------------------------------


def reservations(cluster: Cluster) -> dict[int, str]:
    """Number -> holder."""
    directory = cluster.repository / cluster.name / "timelines" / cluster.system_id
    return {int(path.stem, 16): json.loads(path.read_text())["holder"] for path in directory.glob("*.json")}


@pytest.mark.matrix
def test_d13_two_restores_from_one_branch_one_after_another(branches: Branches, sandbox: Sandbox) -> None:
    cluster = branches.copy(sandbox)
    beta = ("restore", "--target-name", "beta", *CONFIRM, "--skip-backup")
    restored(cluster, cluster.keeper(*beta), branches.rows["beta"], 3)
    restored(cluster, cluster.keeper(*beta, "--again"), branches.rows["beta"], 4)
    assert [line[0] for line in history(cluster, 3)] == [line[0] for line in history(cluster, 4)] == ["1"]
    assert sorted(reservations(cluster)) == [2, 3, 4]  # the second of the fixture


def test_d13_two_hosts_at_the_same_time(branches: Branches, sandbox: Sandbox) -> None:
    """Neither sees the other's history: only the reservation tells that a number is taken."""
    first = branches.copy(sandbox)
    second = branches.copy(sandbox, root=sandbox.root / "other", repository=first.repository)
    beta = ("restore", "--target-name", "beta", *CONFIRM, "--skip-backup")
    running = first.keeper_start(*beta, pause_at="settle:done")
    running.wait_paused()
    assert sorted(reservations(first)) == [2, 3]
    restored(second, second.keeper(*beta), branches.rows["beta"], 4)
    running.resume()
    restored(first, running.wait(), branches.rows["beta"], 3)
    holders = reservations(first)
    assert str(first.data_directory) in holders[3] and str(second.data_directory) in holders[4]


@pytest.mark.matrix
def test_d13_a_number_stays_taken_when_its_restore_is_given_up(branches: Branches, sandbox: Sandbox) -> None:
    """Somebody may have a copy of what was promoted under it; and the hole is none for the next promotion."""
    cluster = branches.copy(sandbox)
    beta = ("restore", "--target-name", "beta", *CONFIRM, "--skip-backup")
    cluster.keeper(*beta, kill_at="settle:done")
    cluster.keeper("undo", *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == branches.rows["end of 2"]
    assert sorted(reservations(cluster)) == [2, 3]
    restored(cluster, cluster.keeper(*beta), branches.rows["beta"], 4)
    assert not (cluster.timeline_directory(1).parent / "00000003.history").exists()
    # Undone after the swap, too.
    cluster.keeper("undo", *CONFIRM).expect(0)
    restored(cluster, cluster.keeper(*beta, "--again"), branches.rows["beta"], 5)


def test_d13_a_server_that_is_promoted_meanwhile_and_takes_the_number(
    branches: Branches, sandbox: Sandbox
) -> None:
    """It asks nobody. The copy could never be archived, so it is not swapped in, and is made again."""
    cluster = branches.copy(sandbox)
    standby = branches.copy(sandbox, root=sandbox.root / "standby", repository=cluster.repository)
    standby.stop()
    (standby.data_directory / "standby.signal").touch()
    standby.start()
    beta = ("restore", "--target-name", "beta", *CONFIRM, "--skip-backup")
    with cluster.unchanged(*ITS_OWN):
        running = cluster.keeper_start(*beta, pause_at="settle:done")
        running.wait_paused()
        standby.sql("SELECT pg_promote()")
        assert standby.value("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)") == "00000003"
        path = cluster.timeline_directory(1).parent / "00000003.history"
        wait_for(path.exists, "the promoted server's history in the archive")
        running.resume()
        answer = running.wait()
        error = answer.failed(
            "timeline-taken",
            "on timeline 3",
            "another server has archived a timeline 3",
            "nothing was swapped",
            "second primary",
        )
        assert error["details"]["state"]["swapped"] is False
    assert recovered_rows(cluster.dsn()) == branches.rows["end of 2"]
    restored(cluster, cluster.keeper(*beta), branches.rows["beta"], 4)
    assert cluster.steps().count("stage:done") == 2
    assert [line[0] for line in history(cluster, 3)] == ["1", "2"]
    assert [line[0] for line in history(cluster, 4)] == ["1"]


@pytest.mark.matrix
@pytest.mark.parametrize("installation", an_installation_a_day())
def test_d13_a14_on_every_major(make_cluster: Callable[..., Cluster], installation: Installation) -> None:
    """Each server asks for histories in its own way: it must take the number that it is told is free."""
    cluster = make_cluster(installation=installation, settings=SETTINGS)
    world = World.begin(cluster).work().backup().work().point("alpha").work().finish()
    alpha = ("restore", "--target-name", "alpha", *CONFIRM, "--skip-backup", "--again")
    for number in (2, 3, 4):
        restored(cluster, cluster.keeper(*alpha), world.rows_before(world.points["alpha"]), number)
        if number == 2:
            # A lost history does not free its number.
            (cluster.timeline_directory(1).parent / "00000002.history").rename(cluster.root / "lost")
            cluster.keeper("plan", "--latest").refused("history-missing", "00000002.history")
            (cluster.root / "lost").rename(cluster.timeline_directory(1).parent / "00000002.history")
    assert sorted(reservations(cluster)) == [2, 3, 4]
    lose(cluster)
    cluster.keeper("plan", "--latest").refused("timeline-ambiguous", "Say which timeline is meant")
