# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The last segment is there as ``.partial`` only (B15): told, and used only where somebody says so.

PostgreSQL alone ignores such files: what only they hold is lost without a word.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .harness.cluster import Cluster
from .harness.installation import Installation, an_installation_a_day
from .harness.sandbox import Sandbox
from .harness.template import BACKUP_USER
from .harness.waiting import wait_for
from .harness.workload import recovered_rows, server_commits
from .harness.world import SETTINGS, World, lsn_number, record_positions

CONFIRM = ("--confirm", "main")
SEGMENT_BYTES = 1 << 20


class Receiver:
    """The server's own pg_receivewal, as a backup host runs it."""

    def __init__(self, cluster: Cluster) -> None:
        self.directory = cluster.root / "received"
        self.directory.mkdir()
        self._cluster = cluster
        argv = ["-D", str(self.directory), "-h", str(cluster.socket_directory), "-p", str(cluster.port)]
        self._process = subprocess.Popen(
            [
                cluster.installation.program("pg_receivewal"),
                *argv,
                "-U",
                BACKUP_USER,
                "--no-loop",
                "--synchronous",
            ],
            env=cluster.installation.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait_for(self, lsn: str) -> None:
        """Until everything up to a position has been written."""
        query = "SELECT count(*) FROM pg_stat_replication WHERE write_lsn >= %s::pg_lsn"
        wait_for(lambda: self._cluster.value(query, lsn) == 1, f"pg_receivewal at {lsn}")

    def end(self) -> list[Path]:
        """After its server is gone: its unfinished segments."""
        self._process.communicate(timeout=240)
        return sorted(self.directory.glob("*.partial"))


class Lost:
    """A host that is gone: its cluster was killed, its disk is away, and pg_receivewal had the last WAL."""

    def __init__(self, sandbox: Sandbox, installation: Installation | None = None) -> None:
        self.cluster = Cluster(sandbox, settings=SETTINGS, installation=installation).start()
        self.world = World.begin(self.cluster).work().backup().work().finish()
        self.archived = self.world.all_rows()
        directory = self.cluster.wal_directory
        receiver = Receiver(self.cluster)
        wait_for(lambda: self.cluster.value("SELECT count(*) FROM pg_stat_replication") == 1, "pg_receivewal")
        self.world.work().point("last")
        receiver.wait_for(self.cluster.value("SELECT pg_current_wal_flush_lsn()::text"))
        self.ends = server_commits(self.cluster, self.world.since)
        self.records = record_positions(self.cluster, self.world.since)
        self.cluster.crash()
        self.acknowledged = set().union(*self.world.workload.committed().values())
        [received] = receiver.end()
        self.name = received.name[:24]
        self.stored = directory / received.name
        shutil.copyfile(received, self.stored)
        assert not (directory / f"{self.name}.zst").exists()
        self.cluster.data_directory.rename(self.cluster.root / "lost")

    def plan(self, *options: str) -> dict[str, Any]:
        """What ``dbkeeper plan`` answers, which changes nothing."""
        with self.cluster.unchanged():
            plan = self.cluster.keeper("plan", *options).expect(0)["plan"]
        assert isinstance(plan, dict)
        return plan


@pytest.fixture
def lost(sandbox: Sandbox) -> Lost:
    return Lost(sandbox)


def notes(plan: dict[str, Any]) -> dict[str, Any]:
    """What a plan says beside: key -> values."""
    return {note["key"]: note["values"] for note in plan["notes"]}


def test_an_unfinished_segment_is_told_and_used_only_with_consent(lost: Lost) -> None:
    """B15."""
    told(lost)
    damaged(lost)
    used(lost)


def told(lost: Lost) -> None:
    """Without consent it is not used, and never without a word; with it the plan says what it gains."""
    cluster, partial = lost.cluster, lost.stored.name
    without = lost.plan("--latest")
    assert any(partial in warning and "use_partial" in warning for warning in without["proof"]["warnings"])
    assert without["proof"]["wal"]["unfinished"] == []
    with cluster.unchanged():
        for verb in (("plan",), ("restore", *CONFIRM)):
            answer = cluster.keeper(*verb, "--target-name", "last")
            answer.refused("restore-point-unknown", partial, "--use-partial", "never came")
    assert partial in cluster.keeper("info").expect(0)["archive"]["partial"]
    # With it the plan says what it gains, in the server's own figures.
    plan = lost.plan("--latest", "--use-partial")
    first = int(lost.name[16:], 16) * SEGMENT_BYTES
    gained = [end for end in lost.ends if end.committed and end.lsn >= first]
    [used] = plan["proof"]["wal"]["unfinished"]
    assert (used["name"], used["segment"], used["ragged"]) == (partial, lost.name, False)
    assert used["commits"] == len(gained) > 0
    assert plan["proof"]["last_commit"]["xid"] == gained[-1].xid
    assert plan["id"] != without["id"]
    said = notes(plan)["note_unfinished"]
    assert (said["name"], said["commits"]) == (partial, len(gained))
    assert said["newest_commit"] == plan["proof"]["last_commit"]["time"]


def damaged(lost: Lost) -> None:
    """It ends before the damage. Nothing tells that from its end but what follows, and that is said."""
    sound = lost.plan("--latest", "--use-partial")["proof"]
    content = lost.stored.read_bytes()
    begin = int(lost.name[16:], 16) * SEGMENT_BYTES
    middle = next(end.lsn for end in lost.ends[-6:]) - begin
    lost.stored.write_bytes(
        content[: middle + 30] + bytes([content[middle + 30] ^ 1]) + content[middle + 31 :]
    )
    plan = lost.plan("--latest", "--use-partial")
    [used] = plan["proof"]["wal"]["unfinished"]
    assert used["ragged"] is True and notes(plan)["note_ragged"]["name"] == lost.stored.name
    assert 0 < used["commits"] < sound["wal"]["unfinished"][0]["commits"]
    assert (
        lsn_number(used["end_lsn"]) <= begin + middle < lsn_number(sound["wal"]["unfinished"][0]["end_lsn"])
    )
    # Nothing of it is sound: it is left out, and that is said.
    lost.stored.write_bytes(bytes(SEGMENT_BYTES))
    plan = lost.plan("--latest", "--use-partial")
    assert plan["proof"]["wal"]["unfinished"] == []
    assert any(lost.stored.name in warning and "zeros" in warning for warning in plan["proof"]["warnings"])
    # Changed after the plan: what was proven is not there any more, and replay stops.
    lost.stored.write_bytes(content)
    cluster = lost.cluster
    running = cluster.keeper_start("restore", "--latest", "--use-partial", *CONFIRM, pause_at="replay:begun")
    running.wait_paused()
    lost.stored.write_bytes(bytes([*content[:9000], content[9000] ^ 1, *content[9001:]]))
    running.resume()
    running.wait().failed("segment-changed", lost.name, "nothing was swapped")
    assert not cluster.data_directory.exists()
    lost.stored.write_bytes(content)


def used(lost: Lost) -> None:
    """All that was acknowledged comes back, and the new timeline is archived beside the unfinished one."""
    cluster = lost.cluster
    cluster.keeper("restore", "--latest", "--use-partial", *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == lost.acknowledged > lost.archived
    assert cluster.keeper("info").expect(0)["conflicts"] == []


@pytest.mark.matrix
@pytest.mark.parametrize("installation", an_installation_a_day())
def test_every_major_takes_in_an_unfinished_segment(
    sandbox: Sandbox, installation: Installation, cell: Callable[..., None]
) -> None:
    cell(fault="B15", major=installation.major)
    test_an_unfinished_segment_is_told_and_used_only_with_consent(Lost(sandbox, installation))


@pytest.mark.matrix
@pytest.mark.parametrize("installation", an_installation_a_day())
def test_what_a_promoted_server_leaves_of_its_old_timeline(
    sandbox: Sandbox, installation: Installation, cell: Callable[..., None]
) -> None:
    """Its archive command was given the unfinished segment; the child repeats what is in it, up to the fork."""
    cluster = Cluster(sandbox, settings=SETTINGS, installation=installation).start()
    world = World.begin(cluster).work().backup().work().finish()
    archived = world.all_rows()
    world.work()
    world.ends = server_commits(cluster, world.since)
    cluster.crash()
    (cluster.data_directory / "standby.signal").touch()
    cluster.start()
    cluster.program("pg_ctl", "promote", "-w", "-s", "-D", str(cluster.data_directory))
    cluster.archive_all()
    [partial] = cluster.timeline_directory(1).glob("*.partial.zst")
    name = partial.name.removesuffix(".zst")
    options = ("--latest", "--timeline", "1")
    with cluster.unchanged():
        plan = cluster.keeper("plan", *options).expect(0)["plan"]
        assert any(name in warning for warning in plan["proof"]["warnings"])
        last = [end for end in world.ends if end.committed][-1]
        plan = cluster.keeper("plan", *options, "--use-partial").expect(0)["plan"]
        assert plan["proof"]["last_commit"]["xid"] == last.xid
    cluster.keeper("restore", *options, "--use-partial", *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.all_rows() > archived
    cell(fault="B15", major=installation.major, promoted=True)


@pytest.mark.matrix
def test_wherever_it_is_cut_every_whole_commit_before_it_counts(
    lost: Lost, cell: Callable[..., None]
) -> None:
    """The end of an unfinished segment is anywhere: what the server committed before it is all there, and no more."""
    content, begin = lost.stored.read_bytes(), int(lost.name[16:], 16) * SEGMENT_BYTES
    here = [end for end in lost.ends if end.committed and end.lsn >= begin]
    # The beginning of the record that follows a commit: by then its own bytes are written.
    after = {end.lsn: min((lsn for lsn in lost.records if lsn > end.lsn), default=None) for end in here}
    cuts = random.Random(15).sample(range(100, here[-1].lsn - begin), 24)
    for cut in cuts:
        lost.stored.write_bytes(content[:cut] + bytes(SEGMENT_BYTES - cut))
        certain = [
            end for end in here if (following := after[end.lsn]) is not None and following <= begin + cut
        ]
        possible = [end for end in here if end.lsn < begin + cut]
        found = lost.plan("--latest", "--use-partial")["proof"]["wal"]["unfinished"]
        commits = found[0]["commits"] if found else 0
        assert len(certain) <= commits <= len(possible), cut
        assert len(possible) - len(certain) <= 1, cut
        cell(fault="B15", cut=cut, commits=commits)
