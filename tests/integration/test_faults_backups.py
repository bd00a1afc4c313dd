# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Backups that must not be trusted, and backups that need not or cannot be taken (A16, B17-B22, C20)."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .harness import damage
from .harness.cluster import Cluster
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import World

CONFIRM = ("--confirm", "main")
TARGET = ("--target-name", "beta")
#: kB/s; so slow that a backup does not end by itself while a test looks at it.
SLOW = {"compression_level": 1, "max_rate_kbytes": 32}


def newest(world: World) -> Path:
    """The directory of the newest backup, which a restore to ``beta`` needs."""
    return world.manifest(world.backups[1].label).parent


def edit_entry(backup: Path, **changes: Any) -> None:
    """Change a backup's catalog entry."""
    entry = json.loads((backup / "backup.json").read_text())
    (backup / "backup.json").write_text(json.dumps(entry | changes))


Member = tuple[tarfile.TarInfo, bytes]


def repack(backup: Path, change: Callable[[tarfile.TarInfo, bytes], Member | None], *added: str) -> None:
    """Pack the base tar again with changed members, and let the catalog believe that it was always so."""
    stored = backup / "base.tar.zst"
    target = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(damage.plain(stored))) as old,
        tarfile.open(fileobj=target, mode="w") as new,
    ):
        for member in old:
            handle = old.extractfile(member)
            changed = change(member, handle.read() if handle else b"")
            if changed:
                info, content = changed
                info.size = len(content)
                new.addfile(info, io.BytesIO(content))
        for name in added:
            info = tarfile.TarInfo(name)
            info.size, info.mode = 7, 0o600
            new.addfile(info, io.BytesIO(b"planted"))
    damage.store(stored, target.getvalue())
    entry = json.loads((backup / "backup.json").read_text())
    for item in entry["files"]:
        if item["name"] == "base.tar.zst":
            item["stored_bytes"] = stored.stat().st_size
            item["digest"] = hashlib.sha256(stored.read_bytes()).hexdigest()
    edit_entry(backup, files=entry["files"])


def relation(member: tarfile.TarInfo) -> bool:
    """A table's file that every cluster has: pg_class of template1."""
    return member.name.startswith("base/1/") and member.name.endswith("/1259")


def same(member: tarfile.TarInfo, content: bytes) -> Member:
    return member, content


def flip(member: tarfile.TarInfo, content: bytes) -> Member:
    return member, content[:5000] + bytes([content[5000] ^ 1]) + content[5001:] if relation(
        member
    ) else content


def shorten(member: tarfile.TarInfo, content: bytes) -> Member:
    return member, content[:8192] if relation(member) else content


def omit(member: tarfile.TarInfo, content: bytes) -> Member | None:
    return None if relation(member) else (member, content)


def omit_control(member: tarfile.TarInfo, content: bytes) -> Member | None:
    return None if member.name == "global/pg_control" else (member, content)


def omit_version(member: tarfile.TarInfo, content: bytes) -> Member | None:
    return None if member.name == "PG_VERSION" else (member, content)


def omit_wal_directory(member: tarfile.TarInfo, content: bytes) -> Member | None:
    return None if member.name.split("/")[0] == "pg_wal" else (member, content)


def omit_label(member: tarfile.TarInfo, content: bytes) -> Member | None:
    return None if member.name == "backup_label" else (member, content)


def reseal(backup: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest, and let the manifest and the catalog believe that it was always so."""
    path = backup / "backup_manifest"
    value = json.loads(path.read_text())
    change(value)
    del value["Manifest-Checksum"]
    head = json.dumps(value, indent=1).rpartition("\n}")[0] + ",\n"
    path.write_text(f'{head}"Manifest-Checksum": "{hashlib.sha256(head.encode()).hexdigest()}"}}\n')
    entry = json.loads((backup / "backup.json").read_text())
    for item in entry["files"]:
        if item["name"] == path.name:
            item.update(
                stored_bytes=path.stat().st_size, digest=hashlib.sha256(path.read_bytes()).hexdigest()
            )
    edit_entry(backup, files=entry["files"])


def other_checksums(value: dict[str, Any]) -> None:
    """What pg_basebackup writes when nobody asks it for anything else."""
    for item in value["Files"]:
        item["Checksum-Algorithm"], item["Checksum"] = "CRC32C", "00000000"


def tomorrow(value: dict[str, Any]) -> None:
    value["PostgreSQL-Backup-Manifest-Version"] = 99


def unlisted(backup: Path) -> None:
    """The entry does not know of the backup's main file."""
    entry = json.loads((backup / "backup.json").read_text())
    edit_entry(backup, files=[item for item in entry["files"] if item["name"] != "base.tar.zst"])


DAMAGES: list[tuple[str, Callable[[Path], None], str]] = [
    ("stored bit", lambda backup: damage.flip_bit(backup / "base.tar.zst"), "backup-file-damaged"),
    ("stored half", lambda backup: damage.truncate(backup / "base.tar.zst"), "backup-file-damaged"),
    ("stored file gone", lambda backup: damage.delete(backup / "base.tar.zst"), "backup-file-missing"),
    ("no permission", lambda backup: damage.unreadable(backup / "base.tar.zst"), "backup-file-unreadable"),
    ("manifest gone", lambda backup: damage.delete(backup / "backup_manifest"), "backup-file-missing"),
    ("manifest bit", lambda backup: damage.flip_bit(backup / "backup_manifest"), "backup-file-damaged"),
    (
        "manifest unreadable",
        lambda backup: damage.unreadable(backup / "backup_manifest"),
        "backup-file-unreadable",
    ),
    ("manifest with CRC32C", lambda backup: reseal(backup, other_checksums), "manifest-unsupported"),
    ("manifest of tomorrow", lambda backup: reseal(backup, tomorrow), "backup-file-damaged"),
    ("not in the entry", unlisted, "backup-entry-damaged"),
    ("bit in a table", lambda backup: repack(backup, flip), "backup-file-damaged"),
    ("table cut", lambda backup: repack(backup, shorten), "backup-file-damaged"),
    ("table gone", lambda backup: repack(backup, omit), "backup-file-missing"),
    ("pg_control gone", lambda backup: repack(backup, omit_control), "backup-file-missing"),
    ("PG_VERSION gone", lambda backup: repack(backup, omit_version), "backup-file-missing"),
    ("pg_wal gone", lambda backup: repack(backup, omit_wal_directory), "backup-file-missing"),
    ("backup_label gone", lambda backup: repack(backup, omit_label), "backup-file-missing"),
    ("extra file", lambda backup: repack(backup, same, "base/1/99999"), "backup-file-extra"),
    ("file outside", lambda backup: repack(backup, same, "../outside"), "backup-file-damaged"),
]


#: What only reading all of the data tells; everything else is seen by the plan already.
WHILE_STAGED = (
    "stored bit",
    "bit in a table",
    "table cut",
    "table gone",
    "pg_control gone",
    "PG_VERSION gone",
    "pg_wal gone",
    "backup_label gone",
    "extra file",
    "file outside",
)


#: Of these, what belongs to the matrix: each costs a staging, and is found as its neighbours are.
IN_MATRIX = ("table cut", "pg_control gone", "PG_VERSION gone", "pg_wal gone", "file outside")


@pytest.mark.parametrize(
    ("name", "hurt", "code"),
    [
        pytest.param(*case, id=case[0], marks=pytest.mark.matrix if case[0] in IN_MATRIX else ())
        for case in DAMAGES
    ],
)
def test_a_damaged_backup_is_found_before_staging_ends(
    world: World, name: str, hurt: Callable[[Path], None], code: str
) -> None:
    """B17 (manifest), B18 (files), B20 (backup_label), B21 (pg_control, PG_VERSION, pg_wal)."""
    cluster, label = world.cluster, world.backups[1].label
    hurt(newest(world))
    with cluster.unchanged("beside: data.dbkeeper-" if name in WHILE_STAGED else "nothing"):
        plan = cluster.keeper("plan", *TARGET)
        answer = cluster.keeper("restore", *TARGET, *CONFIRM)
        if name in WHILE_STAGED:
            plan.expect(0)
            answer.failed(code, label, "choose another backup")
            assert answer.error["details"]["state"]["swapped"] is False
        else:
            plan.refused(code, label)
            answer.refused(code, label)
    assert not (cluster.parent / "outside").exists()
    assert "stage:done" not in cluster.steps()
    assert recovered_rows(cluster.dsn()) == world.all_rows()
    # The way out that the message names: take the backup before it, after abandoning what was begun.
    older = (*TARGET, "--backup", world.backups[0].label)
    if answer.status == 2:
        cluster.keeper("plan", *older).expect(0)
        return
    cluster.keeper("undo", *CONFIRM).expect(0)
    cluster.keeper("restore", *older, *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


@pytest.mark.parametrize("status", ["running", "failed", "expired"])
def test_a_backup_that_is_not_verified_is_never_chosen(world: World, status: str) -> None:
    """B22."""
    cluster = world.cluster
    edit_entry(newest(world), status=status)
    plan = cluster.keeper("plan", *TARGET).expect(0)["plan"]
    assert plan["backup"] == world.backups[0].label
    with cluster.unchanged():
        cluster.keeper("plan", *TARGET, "--backup", world.backups[1].label).refused(
            "backup-not-verified", status, world.backups[1].label
        )
    edit_entry(world.manifest(world.backups[0].label).parent, status=status)
    with cluster.unchanged():
        cluster.keeper("plan", *TARGET).refused("no-backup", "dbkeeper backup")
        cluster.keeper("restore", *TARGET, *CONFIRM).refused("no-backup")


def test_an_entry_that_cannot_be_read_is_passed_over_and_told(world: World) -> None:
    """B17: nobody knows what that backup is, so it is no choice; the plan says that it passed it over."""
    cluster, (older, newer) = world.cluster, world.backups
    (newest(world) / "backup.json").write_text("{")
    with cluster.unchanged():
        plan = cluster.keeper("plan", *TARGET).expect(0)["plan"]
        assert plan["backup"] == older.label
        assert {"key": "note_damaged", "values": {"labels": newer.label}} in plan["notes"]
        cluster.keeper("plan", *TARGET, "--backup", newer.label).failed("backup-entry-damaged", newer.label)
    [check] = (item for item in cluster.keeper("check").expect(3)["checks"] if item["name"] == "catalog")
    assert check["state"] == "failed" and newer.label in check["text"]


def test_an_unknown_label_is_refused_with_those_there_are(world: World) -> None:
    with world.cluster.unchanged():
        world.cluster.keeper("plan", *TARGET, "--backup", "20200101T000000Z-full").refused(
            "backup-unknown", world.backups[1].label
        )


def statuses(cluster: Cluster) -> dict[str, str]:
    """Label -> status, from the catalog's own files."""
    base = cluster.repository / cluster.name / "base"
    return {path.parent.name: json.loads(path.read_text())["status"] for path in base.glob("*/backup.json")}


def test_a_killed_backup_is_known_as_such_and_cleaned_up_by_the_next(world: World) -> None:
    """B22."""
    cluster = world.cluster
    known = statuses(cluster)
    cluster.write_config(backup=SLOW)
    running = cluster.keeper_start("backup")
    wait_for(lambda: len(statuses(cluster)) == len(known) + 1, "the entry of the running backup")
    [label] = statuses(cluster).keys() - known.keys()
    assert statuses(cluster)[label] == "running"
    streamed = "SELECT 1 FROM pg_stat_progress_basebackup WHERE backup_streamed > 100000"
    wait_for(lambda: cluster.sql(streamed), "its first bytes")
    running.kill_group()
    assert cluster.keeper("plan", "--latest").expect(0)["plan"]["backup"] == world.backups[1].label
    cluster.write_config(backup={"compression_level": 1, "max_rate_kbytes": None})
    done = cluster.keeper("backup").expect(0)
    assert done["changed"]
    after = statuses(cluster)
    assert after[label] == "failed"
    assert after[done["backup"]["label"]] == "verified"
    left = [path.name for path in (cluster.repository / cluster.name / "base" / label).iterdir()]
    assert left == ["backup.json"]
    # The server sees that nobody listens any more when it sends the next bytes.
    wait_for(
        lambda: not cluster.sql("SELECT * FROM pg_stat_progress_basebackup"), "the end of what was killed"
    )


def test_a_second_backup_at_the_same_time_is_told_who_is_busy(world: World) -> None:
    """C20."""
    cluster = world.cluster
    cluster.write_config(backup=SLOW)
    running = cluster.keeper_start("backup")
    wait_for(lambda: "running" in statuses(cluster).values(), "the running backup")
    known = statuses(cluster)
    error = cluster.keeper("backup").refused("busy", str(running.pid))
    assert error["details"]["holder"]["pid"] == running.pid
    assert statuses(cluster) == known
    running.kill_group()


def test_a_backup_that_is_young_enough_is_not_taken_again(world: World) -> None:
    cluster = world.cluster
    with cluster.unchanged():
        answer = cluster.keeper("backup", "--max-age", "1d").expect(0)
        assert (answer["changed"], answer["executed"]) == (False, False)
        assert answer["backup"]["label"] == world.backups[1].label
        check = cluster.keeper("backup", "--check").expect(0)
        assert (check["changed"], check["executed"]) == (True, False)
    answer = cluster.keeper("backup", "--max-age", "1s").expect(0)
    assert answer["changed"]


def test_a_label_that_is_there_is_not_taken_again(world: World) -> None:
    cluster = world.cluster
    first = cluster.keeper("backup", "--label", "before-the-upgrade").expect(0)
    assert first["changed"] and first["backup"]["label"] == "before-the-upgrade"
    with cluster.unchanged():
        again = cluster.keeper("backup", "--label", "before-the-upgrade").expect(0)
        assert not again["changed"]
    cluster.keeper("backup", "--label", "../escape").refused("label-malformed")


def test_a_backup_is_what_pg_verifybackup_expects(world: World) -> None:
    """The server's own tool agrees with what is stored."""
    backup = newest(world)
    place = world.cluster.root / "unpacked"
    place.mkdir()
    subprocess.run(["tar", "-xC", str(place)], input=damage.plain(backup / "base.tar.zst"), check=True)
    world.cluster.program("pg_verifybackup", "-n", "-m", str(backup / "backup_manifest"), str(place))
    assert b"SHA256" in (backup / "backup_manifest").read_bytes()


def test_without_a_running_server_there_is_no_backup(world: World) -> None:
    world.cluster.stop()
    with world.cluster.unchanged():
        world.cluster.keeper("backup").refused("server-not-running")


def test_without_archiving_a_backup_would_be_worth_nothing(world: World) -> None:
    cluster = world.cluster
    cluster.set(archive_mode="off")
    cluster.restart()
    with cluster.unchanged():
        cluster.keeper("backup").refused("archiving-off", "archive_mode")


def test_while_archiving_fails_no_backup_is_taken(world: World) -> None:
    cluster = world.cluster
    cluster.set(archive_command="false")
    cluster.reload()
    cluster.switch_wal()
    wait_for(
        lambda: cluster.value("SELECT failed_count FROM pg_stat_archiver") > 0, "a failure of the archiver"
    )
    with cluster.unchanged():
        cluster.keeper("backup").refused("archiving-failing")


def test_a_repository_without_permission_is_an_error_that_keeps_wal(world: World) -> None:
    cluster = world.cluster
    base = cluster.repository / cluster.name / "base"
    base.chmod(0o500)
    try:
        with cluster.unchanged():
            cluster.keeper("backup").refused("repository-not-writable")
    finally:
        base.chmod(0o700)
    wal = cluster.wal_directory
    wal.chmod(0o500)
    try:
        name = cluster.switch_wal()
        wait_for(
            lambda: cluster.value("SELECT failed_count FROM pg_stat_archiver") > 0,
            "a failure of the archiver",
        )
        assert (cluster.data_directory / "pg_wal" / "archive_status" / f"{name}.ready").exists()
        assert "repository-not-writable" in cluster.log()
    finally:
        wal.chmod(0o700)
    cluster.archive_all(timeout=240)
