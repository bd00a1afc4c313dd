# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Faults of a repository on another host (E01, E02, E04 to E06): a full disk, a way that is cut, a dead client."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness.cluster import Cluster
from .harness.disk import SmallDisk
from .harness.elsewhere import Elsewhere
from .harness.keeper import Running
from .harness.sandbox import Sandbox
from .harness.template import Kind
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, World
from .test_door import Client, code

WITHOUT = {"archive_command": "false"}
CONFIRM = ("--confirm", "main")
RESTORE = ("restore", "--target-name", "here", "--skip-backup", *CONFIRM)
#: What zstd makes little of.
RANDOM = f"SELECT {' || '.join(['md5(random()::text)'] * 20)} AS t FROM generate_series(1, %s)"


@pytest.fixture
def vault(sandbox: Sandbox) -> Iterator[Elsewhere]:
    """Another host."""
    place = Elsewhere(sandbox).start()
    yield place
    place.stop()


@pytest.fixture
def small(sandbox: Sandbox) -> Iterator[tuple[Elsewhere, SmallDisk]]:
    """Another host with a disk of 120 MB."""
    disk = SmallDisk(sandbox.root / "disk", 120)
    place = Elsewhere(sandbox, disk=disk).start()
    yield place, disk
    place.stop()
    sandbox.stop_all()
    disk.close()


@pytest.fixture
def way(vault: Elsewhere) -> Path:
    """What happens on the way there, see :meth:`Elsewhere.roughen`; 20 kB are less than a segment."""
    return vault.roughen(20_000)


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param("echo welcome; exec ", id="before it"),
        pytest.param("echo welcome; : ", id="instead", marks=pytest.mark.matrix),
    ],
)
def test_what_answers_there_is_no_door(sandbox: Sandbox, vault: Elsewhere, noise: str) -> None:
    """E02: a profile that writes, or a key without the forced command."""
    cluster = Cluster(sandbox, elsewhere=vault).start()
    cluster.archive_all()
    vault.around = noise
    vault.admit("append", "append")
    # The connection that the push has left behind is of before.
    for pid in vault.sessions():
        os.kill(pid, 9)
    with cluster.unchanged():
        cluster.keeper("info").failed(
            "door-protocol", "is no door of dbkeeper", "welco", "run the backup role again"
        )
        cluster.keeper("backup").failed("door-protocol")


def test_a_full_disk_there_keeps_the_wal_here(sandbox: Sandbox, small: tuple[Elsewhere, SmallDisk]) -> None:
    """E05: told to the server as to a repository of its own; nothing half is left, and it goes on by itself."""
    vault, disk = small
    cluster = Cluster(sandbox, elsewhere=vault).start()
    cluster.archive_all()
    before = sorted(path.name for path in (vault.archive / "wal").rglob("*.zst"))

    def fails_on_a_full_disk() -> Any:
        disk.fill(leave_bytes=0)
        cluster.switch_wal()
        return cluster.value("SELECT last_failed_wal FROM pg_stat_archiver")

    name = wait_for(fails_on_a_full_disk, "a failure of the archiver", interval=0.5)
    ballast = disk.fill(leave_bytes=0)
    assert (cluster.archive_status / f"{name}.ready").exists()
    assert "repository-full" in cluster.log() and "sent again" in cluster.log()
    stored = sorted(path.name for path in (vault.archive / "wal").rglob("*") if path.is_file())
    assert [one for one in stored if one.endswith(".zst") and one[:24] < name][: len(before)] == before
    assert not [one for one in stored if one.startswith(f"{name}.")]
    # Each try of the archiver has one for a moment.
    wait_for(lambda: not list((vault.archive / "wal").rglob(".tmp-*")), "nothing half")
    ballast.unlink()
    wait_for((cluster.archive_status / f"{name}.done").exists, "the segment's second chance", timeout=240)
    assert list((vault.archive / "wal").rglob(f"{name}.zst"))


def test_a_backup_onto_a_full_disk_there(sandbox: Sandbox, small: tuple[Elsewhere, SmallDisk]) -> None:
    """E05."""
    vault, disk = small
    cluster = Cluster(sandbox, elsewhere=vault).start()
    cluster.sql(f"CREATE TABLE big AS {RANDOM % 10000}")
    cluster.keeper("backup", "--label", "first").expect(0)
    cluster.archive_all()
    # The plan looks whether there is room; it is gone afterwards.
    running = cluster.keeper_start("backup", "--label", "big", pause_at="copy:begun")
    running.wait_paused()
    ballast = disk.fill(leave_bytes=2 << 20)
    with cluster.unchanged("wal: ", "base: big"):
        running.resume()
        running.wait().failed("repository-full", "removed")
    entry = vault.archive / "base" / "big" / "backup.json"
    wait_for(lambda: json.loads(entry.read_text())["status"] == "failed", "the entry of the one that failed")
    assert [path.name for path in entry.parent.iterdir()] == ["backup.json"]
    ballast.unlink()
    made = cluster.keeper("backup", "--label", "big").expect(0)["backup"]
    for file in made["files"]:
        content = (vault.archive / "base" / "big" / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["digest"]


def past(cluster: Cluster) -> World:
    """A backup of some MB, segments that are no smaller than what passes before the way is cut, a restore point."""
    cluster.sql(f"CREATE TABLE big AS {RANDOM % 4000}")
    world = World.begin(cluster).work().backup()
    cluster.sql(f"INSERT INTO big {RANDOM % 4000}")
    return world.work().point("here").work().finish()


@pytest.mark.parametrize(
    ("step", "most_bytes"), [pytest.param("stage", 400_000, marks=pytest.mark.matrix), ("replay", 20_000)]
)
def test_a_restore_goes_on_where_its_way_was_cut(
    sandbox: Sandbox, vault: Elsewhere, step: str, most_bytes: int
) -> None:
    """E04: three times in the middle of a file, sshd's process killed each time."""
    way = vault.roughen(most_bytes)
    cluster = Cluster(sandbox, elsewhere=vault, settings=SETTINGS).start()
    world = past(cluster)
    running = cluster.keeper_start(*RESTORE, pause_at=f"{step}:begun")
    running.wait_paused()
    way.write_text("cut cut cut")
    running.resume()
    running.wait().expect(0)
    assert way.read_text() == ""
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["here"])
    assert cluster.steps().count("stage:begun") == 1


@pytest.mark.parametrize("step", [pytest.param("stage", marks=pytest.mark.matrix), "replay"])
def test_a_way_that_stays_cut_ends_a_restore_and_harms_nothing(
    sandbox: Sandbox, vault: Elsewhere, way: Path, step: str
) -> None:
    """E01, E04: never a shorter recovery; with the host back, the same command goes to its end."""
    cluster = Cluster(sandbox, elsewhere=vault, settings=SETTINGS).start()
    world = past(cluster)
    running = cluster.keeper_start(*RESTORE, pause_at=f"{step}:begun")
    running.wait_paused()
    with cluster.unchanged("beside: ", "wal: "):
        # Shut at once: a way that is cut later may have let through all that was needed.
        way.write_text("shut")
        running.resume()
        answer = running.wait()
    assert answer.status == 3, str(answer)
    assert "repository-unreachable" in json.dumps(answer.data), str(answer)
    assert answer.error["details"]["state"]["swapped"] is False
    assert way.read_text() == "shut"
    assert recovered_rows(cluster.dsn()) == world.all_rows()
    way.write_text("")
    assert cluster.keeper(*RESTORE).expect(0)["resumes"]
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["here"])


@pytest.mark.parametrize("whom", ["keeper", pytest.param("all", marks=pytest.mark.matrix)])
def test_a_client_that_is_killed_in_a_push_leaves_nothing_half(
    sandbox: Sandbox, vault: Elsewhere, way: Path, whom: str
) -> None:
    """E04: its ssh may live on or die with it; the door sees the end, and the next push of the file works."""
    cluster = Cluster(sandbox, elsewhere=vault, kind=Kind(segment_mb=16), settings=WITHOUT).start()
    # More than all the buffers on the way take.
    cluster.sql(f"CREATE TABLE big AS {RANDOM % 60000}")
    name = sorted(
        path.name for path in (cluster.data_directory / "pg_wal").iterdir() if len(path.name) == 24
    )[1]
    cluster.switch_wal()
    segment = cluster.data_directory / "pg_wal" / name
    argv = [str(cluster.command), "archive-push", "--config", str(cluster.config_path), str(segment)]
    way.write_text("hold")
    running = Running(argv, dict(os.environ), None)
    half = wait_for(lambda: list((vault.archive / "wal").rglob(".tmp-door-*")), "the first bytes there")
    assert half and running.process.poll() is None
    running.kill() if whom == "keeper" else running.kill_group()
    assert not list((vault.archive / "wal").rglob("*.zst"))
    way.write_text("")
    wait_for(lambda: not list((vault.archive / "wal").rglob(".tmp-door-*")), "the door's tidying up")
    assert not list((vault.archive / "wal").rglob("*.zst"))
    wait_for(lambda: "REFUSED" in vault.log().splitlines()[-1], "the door's word on it")
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    [stored] = (vault.archive / "wal").rglob("*.zst")
    plain = subprocess.run(["zstd", "-dcq", str(stored)], check=True, capture_output=True).stdout
    assert stored.name == f"{name}.zst" and plain == segment.read_bytes()


def test_what_a_stolen_key_can_add_is_bounded(sandbox: Sandbox, vault: Elsewhere) -> None:
    """E06: of other content under a name that is there sixteen are kept aside; the refusal is the same for all."""
    cluster = Cluster(sandbox, elsewhere=vault).start()
    cluster.archive_all()
    system_id, segment = cluster.system_id, sorted((vault.archive / "wal").rglob("*.zst"))[0]
    name = segment.name[:24]
    plain = subprocess.run(["zstd", "-dcq", str(segment)], check=True, capture_output=True).stdout
    told = []
    for number in range(18):
        changed = plain[:-1] + bytes([(plain[-1] + 1 + number) % 256])
        packed = subprocess.run(["zstd", "-cq"], input=changed, check=True, capture_output=True).stdout
        client = Client(vault)
        put = {"verb": "wal-put", "system_id": system_id, "name": name}
        answer = client.put(put, packed, end={"digest": hashlib.sha256(changed).hexdigest()})
        client.close()
        assert code(answer) == "archive-conflict"
        told.append(answer["error"]["details"]["kept"])
    aside = sorted(segment.parent.glob(".conflict-*"))
    assert len(aside) == 16 and sorted(told[:16]) == [str(path) for path in aside]
    assert all("only on the server" in one for one in told[16:])


def test_the_log_does_not_grow_for_ever(vault: Elsewhere) -> None:
    """E06: at 16 MB it gets another name, in place of the one before; every line stands in one of the two."""
    log = vault.archive / "door.log"
    Client(vault).close()
    wait_for(log.exists, "the first line")
    older = log.with_name("door.log.1")
    older.write_text("of long ago\n")
    with open(log, "a") as handle:
        handle.write("x" * (16 << 20))
    doors = [Client(vault) for _dummy in range(3)]
    for number, client in enumerate(doors):
        assert code(client.ask({"verb": f"none-{number}"})) == "door-refused"
        client.close()

    def told() -> int:
        # Under its other name, and not made anew yet.
        texts = [path.read_text() for path in (log, older) if path.exists()]
        return "".join(texts).count("there is no verb")

    wait_for(lambda: log.exists() and told() == 3, "all lines")
    assert "of long ago" not in older.read_text() and older.stat().st_size > 16 << 20
    assert log.stat().st_size < 1 << 20
    assert sorted(path.name for path in vault.archive.glob("door.log*")) == ["door.log", "door.log.1"]
