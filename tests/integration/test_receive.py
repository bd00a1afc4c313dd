# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""WAL streamed by ``dbkeeper receive`` from real servers: what it stores, what ends it, what it survives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from .harness.cluster import Cluster
from .harness.damage import plain
from .harness.receiver import SLOT, Receiver
from .harness.sandbox import Sandbox
from .harness.spare import spare_for
from .harness.template import Kind
from .harness.waiting import wait_for
from .harness.workload import Workload, recovered_rows
from .harness.world import World, lsn_number


def stored(cluster: Cluster, name: str, timeline: int = 1) -> Path:
    return cluster.timeline_directory(timeline) / f"{name}.zst"


def test_what_is_streamed_is_what_is_archived(cluster: Cluster) -> None:
    """Both ways at once, then each alone: the same bytes under the same names, and no conflict."""
    receiver = Receiver(cluster).start().wait_streaming()
    both = [cluster.archive_all() for _dummy in range(3)]
    cluster.set(archive_command="")
    cluster.reload()
    alone = [cluster.switch_wal() for _dummy in range(3)]
    wait_for(lambda: stored(cluster, alone[-1]).exists(), "segments that only streaming brings")
    for name in (*both, *alone):
        assert plain(stored(cluster, name)) == (cluster.data_directory / "pg_wal" / name).read_bytes()
    assert cluster.value("SELECT failed_count FROM pg_stat_archiver") == 0
    # Nothing but the unfinished one, and what is needed to go on, stays beside the archive.
    directory = receiver.directory(cluster.system_id)
    wait_for(
        lambda: len([path for path in directory.iterdir() if len(path.name) == 24]) <= 1, "finished ones gone"
    )
    assert receiver.stop() == 0
    assert "ended as asked" in receiver.words()
    # The server brings the same once more: success.
    command = f"{cluster.command} archive-push --config {cluster.config_path} %p"
    cluster.set(archive_command=command)
    cluster.reload()
    cluster.archive_all()
    assert cluster.value("SELECT failed_count FROM pg_stat_archiver") == 0
    assert cluster.keeper("info").expect(0)["conflicts"] == []
    assert (
        cluster.value("SELECT slot_type FROM pg_replication_slots WHERE slot_name = %s", SLOT) == "physical"
    )


def unfinished(receiver: Receiver, system_id: str) -> list[Path]:
    return sorted(receiver.directory(system_id).glob("*.partial"))


def test_a_killed_receiver_goes_on_where_it_was(cluster: Cluster) -> None:
    """kill -9 of the command: the program that it left behind is ended by the next one, and nothing is missing."""
    cluster.set(archive_command="")
    cluster.reload()
    receiver = Receiver(cluster).start().wait_streaming()
    first = cluster.switch_wal()
    wait_for(lambda: stored(cluster, first).exists(), f"{first} in the archive")
    receiver.kill()
    # Nobody pushes now; the orphan goes on receiving, as long as it has nothing to say.
    between = [cluster.switch_wal() for _dummy in range(3)]
    receiver.start()
    last = cluster.switch_wal()
    wait_for(lambda: stored(cluster, last).exists(), f"{last} in the archive")
    for name in (first, *between, last):
        assert plain(stored(cluster, name)) == (cluster.data_directory / "pg_wal" / name).read_bytes()
    second = Receiver(cluster).start()
    assert second.process is not None and second.process.wait(timeout=240) == 2
    assert "busy" in second.words()
    receiver.kill()


@pytest.mark.matrix
def test_a_server_that_crashes_and_returns_is_followed(cluster: Cluster) -> None:
    receiver = Receiver(cluster).start().wait_streaming()
    cluster.crash()
    wait_for(lambda: "server-unreachable" in receiver.words(), "the receiver's word on it")
    cluster.start()
    receiver.wait_streaming()
    name = cluster.archive_all()
    wait_for(lambda: receiver.directory(cluster.system_id).joinpath(name).exists() is False, "it moved on")
    assert stored(cluster, name).exists()
    assert cluster.value("SELECT failed_count FROM pg_stat_archiver") == 0
    assert receiver.stop() == 0


def test_the_receiver_follows_a_restore_to_its_new_timeline_and_back(world: World) -> None:
    """A restore begins a timeline in the past of what was streamed, undoing it goes back to the first."""
    cluster = world.cluster
    receiver = Receiver(cluster).start().wait_streaming()
    world.work()
    receiver.wait_received()
    system_id = cluster.system_id
    # Between two segments there is none for a moment.
    [partial] = wait_for(lambda: unfinished(receiver, system_id), "an unfinished segment")
    cluster.keeper("restore", "--target-name", "beta", "--confirm", "main").expect(0)
    receiver.wait_streaming()
    name = cluster.archive_all()
    assert name.startswith("00000002")
    new = wait_for(
        lambda: [path.name for path in unfinished(receiver, system_id) if path.name.startswith("00000002")],
        "an unfinished segment of the new timeline",
    )
    assert len(new) == 1
    # What the old branch had not finished is kept: only a whole segment in the archive takes its place.
    place = receiver.directory(system_id)
    kept = (partial, place / "aside" / partial.name, stored(cluster, partial.name[:24]))
    # It moves from one to the next.
    wait_for(lambda: any(path.exists() for path in kept), "what the old branch had not finished")
    assert cluster.value("SELECT failed_count FROM pg_stat_archiver") == 0
    cluster.keeper("undo", "--confirm", "main").expect(0)
    receiver.wait_streaming()
    world.work()
    name = cluster.archive_all()
    assert name.startswith("00000001")
    wait_for(lambda: stored(cluster, name).exists(), f"{name} in the archive")
    assert cluster.value("SELECT failed_count FROM pg_stat_archiver") == 0
    assert cluster.keeper("info").expect(0)["conflicts"] == []
    assert receiver.stop() == 0


@pytest.mark.matrix
def test_a_slot_that_the_server_gave_up_is_made_anew(cluster: Cluster) -> None:
    """The guard that keeps the primary's disk from filling up: what it costs is said, and the archive has the rest."""
    cluster.set(max_slot_wal_keep_size="2MB", wal_keep_size="0")
    cluster.reload()
    receiver = Receiver(cluster).start().wait_streaming()
    assert receiver.stop() == 0
    for _dummy in range(8):
        cluster.archive_all()
        cluster.sql("CHECKPOINT")
    wait_for(
        lambda: cluster.value("SELECT wal_status FROM pg_replication_slots") == "lost", "the end of the slot"
    )
    receiver.start().wait_streaming()
    assert cluster.value("SELECT wal_status FROM pg_replication_slots") == "reserved"
    assert "begun anew" in receiver.words()
    cluster.archive_all()
    assert receiver.stop() == 0
    assert cluster.keeper("info").expect(0)["gaps"] == []


def test_a_slot_whose_beginning_is_not_on_the_server_is_made_anew(cluster: Cluster) -> None:
    """As of a server that has just been restored: its slot begins at a checkpoint before its timeline."""
    cluster.sql("SELECT pg_create_physical_replication_slot(%s, true)", SLOT)
    name = cluster.value("SELECT pg_walfile_name(restart_lsn) FROM pg_replication_slots")
    cluster.archive_all()
    cluster.sql("CHECKPOINT")
    cluster.stop()
    system_id = cluster.system_id
    (cluster.data_directory / "pg_wal" / name).unlink()
    cluster.start()
    receiver = Receiver(cluster).start()
    wait_for(lambda: unfinished(receiver, system_id), "an unfinished segment")
    next_one = cluster.archive_all()
    wait_for(lambda: stored(cluster, next_one).exists(), f"{next_one} in the archive")
    # 14 begins at the end of the server's WAL, whatever its slot says.
    assert ("begun anew" in receiver.words()) == (cluster.installation.major > 14)
    assert receiver.stop() == 0
    assert cluster.keeper("info").expect(0)["gaps"] == []


@pytest.mark.parametrize(
    ("connection", "code"),
    [
        ("host=db1 user=dbkeeper password=secret", "connection-password"),
        ("postgresql://dbkeeper@db1", "connection-malformed"),
    ],
)
def test_a_connection_that_would_tell_a_password_is_refused(
    cluster: Cluster, connection: str, code: str
) -> None:
    receiver = Receiver(cluster, connection=connection).start()
    assert receiver.process is not None and receiver.process.wait(timeout=240) == 2
    assert code in receiver.words() and "secret" not in receiver.words()


def test_the_server_of_another_system_is_not_received(world: World, sandbox: Sandbox) -> None:
    stranger = Cluster(sandbox, "stranger", kind=Kind(variant=1), archiving=False).start()
    connection = f"host={stranger.socket_directory} port={stranger.port} user=dbkeeper"
    receiver = Receiver(world.cluster, connection=connection)
    with world.cluster.unchanged():
        receiver.start()
        assert receiver.process is not None and receiver.process.wait(timeout=240) == 2
    assert "system-mismatch" in receiver.words() and stranger.system_id in receiver.words()
    assert stranger.sql("SELECT 1 FROM pg_replication_slots") == []


def lose(cluster: Cluster) -> None:
    """kill -9 of every process of the host at once, and its disk is gone; the repository is elsewhere."""
    cluster.crash()
    for path in (cluster.parent, cluster.config_path.parent, cluster.state_directory):
        shutil.rmtree(path)


def lost_under_load(cluster: Cluster) -> Workload:
    """A backup, a receiver, clients at work; then the host is gone. The receiver's last word is on its disk."""
    workload = Workload(cluster, accounts=200)
    cluster.keeper("backup").expect(0)
    receiver = Receiver(cluster).start().wait_streaming()
    if cluster.settings.get("synchronous_standby_names"):
        cluster.reload()
        question = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_for(lambda: cluster.sql(question), "a receiver that commits wait for")
    before = workload.lines()
    running = workload.start()
    wait_for(lambda: workload.lines() > before + 300, "the workload's progress")
    lose(cluster)
    workload.stop(running)
    assert receiver.stop() == 0
    return workload


def test_a_lost_host_costs_nothing_that_was_acknowledged(cluster: Cluster, sandbox: Sandbox) -> None:
    """Commits wait for the receiver: what a client was told is there on the spare; the archive alone has less."""
    cluster.set(synchronous_standby_names=SLOT)
    workload = lost_under_load(cluster)
    acknowledged = set().union(*workload.committed().values())
    sent = set().union(*workload.committed(sent=True).values())
    spare = spare_for(cluster, sandbox)
    without = spare.keeper("plan", "--latest").expect(0)["plan"]
    assert any("use_partial" in warning for warning in without["warnings"])
    plan = spare.keeper("plan", "--latest", "--use-partial").expect(0)["plan"]
    assert lsn_number(plan["proof"]["end_lsn"]) > lsn_number(without["proof"]["end_lsn"])
    spare.keeper("restore", "--latest", "--use-partial", "--confirm", "main").expect(0)
    found = recovered_rows(spare.dsn())
    assert acknowledged <= found <= sent

    # The spare is received from in its turn.
    connection = f"host={spare.socket_directory} port={spare.port} user=dbkeeper"
    again = Receiver(spare, connection=connection).start().wait_streaming()
    name = spare.archive_all()
    assert name.startswith("00000002")
    assert again.stop() == 0
    assert spare.keeper("info").expect(0)["conflicts"] == []
    assert spare.value("SELECT failed_count FROM pg_stat_archiver") == 0


@pytest.mark.matrix
def test_what_an_asynchronous_receiver_costs(
    cluster: Cluster, sandbox: Sandbox, cell: Callable[..., None]
) -> None:
    """Every acknowledged transaction up to the last streamed one is there; how much was behind it is measured."""
    workload = lost_under_load(cluster)
    acknowledged = workload.committed()
    spare = spare_for(cluster, sandbox)
    plan = spare.keeper("plan", "--latest", "--use-partial").expect(0)["plan"]
    spare.keeper("restore", "--latest", "--use-partial", "--confirm", "main").expect(0)
    found = recovered_rows(spare.dsn())
    there = {xid for xid, rows in acknowledged.items() if rows <= found}
    told = [json.loads(line) for line in workload.book.read_text().splitlines()]
    known = {
        line["xid"]: line
        for line in told
        if line["kind"] == "transaction" and line["state"] == "committed" and line.get("committed_at")
    }
    end = lsn_number(plan["proof"]["end_lsn"])
    streamed = {xid for xid, line in known.items() if lsn_number(line["lsn_after"]) <= end}
    assert streamed and streamed <= there
    times = {xid: datetime.fromisoformat(line["committed_at"]) for xid, line in known.items()}
    lost = max(times.values()) - max(times[xid] for xid in there & times.keys())
    cell(rpo_seconds=max(0.0, lost.total_seconds()), lost_transactions=len(acknowledged) - len(there))
    assert lost.total_seconds() < 5


def test_check_says_how_the_receiver_is(cluster: Cluster) -> None:
    def said() -> dict[str, str]:
        checks = cluster.keeper("check").data["checks"]
        return next((item for item in checks if item["name"] == "receive"), {})

    assert said() == {}
    cluster.write_config(receive={"slot": SLOT})
    assert said()["state"] == "failed" and "no replication slot" in said()["text"]
    receiver = Receiver(cluster).start().wait_streaming()
    assert said()["state"] == "warning" and "max_slot_wal_keep_size" in said()["text"]
    cluster.set(max_slot_wal_keep_size="1GB")
    cluster.reload()
    receiver.wait_received()
    told = wait_for(lambda: (now := said())["state"] == "ok" and now, "all being well")
    assert "streams" in told["text"]
    assert receiver.status(cluster.system_id)["slot"] == SLOT
    assert receiver.stop() == 0
    wait_for(
        lambda: not cluster.value("SELECT active FROM pg_replication_slots"), "the end of the connection"
    )
    assert said()["state"] == "failed" and "nobody streams" in said()["text"]
