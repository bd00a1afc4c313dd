# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Base backups of real servers: what is stored is whole, and the catalog says what the server says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from .backup_help import SLOWLY, base, entries, stored, wait_for_copier
from .harness.cluster import Cluster
from .harness.installation import Installation, an_installation_a_day
from .harness.template import Kind
from .harness.waiting import wait_for


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def with_tablespaces(cluster: Cluster) -> dict[int, Path]:
    """Two tablespaces with a table each; oid -> directory."""
    found = {}
    for name in ("one", "two"):
        path = cluster.root / f"tablespace {name}"
        path.mkdir()
        cluster.sql(f"CREATE TABLESPACE {name} LOCATION '{path}'")
        cluster.sql(f"CREATE TABLE in_{name} TABLESPACE {name} AS SELECT generate_series(1, 1000) AS n")
        found[cluster.value("SELECT oid FROM pg_tablespace WHERE spcname = %s", name)] = path
    return found


def unpack(directory: Path, target: Path) -> None:
    """With tar and zstd alone, as somebody would without our programs."""
    for archive in directory.glob("*.tar.zst"):
        name = archive.name.partition(".")[0]
        place = target if name == "base" else target / "pg_tblspc" / name
        if name != "base":
            place.unlink(missing_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["tar", "--zstd", "-xf", str(archive), "-C", str(place)], check=True)


@pytest.mark.parametrize("installation", an_installation_a_day())
def test_a_backup_of_every_major_is_whole(
    make_cluster: Callable[..., Cluster], installation: Installation, tmp_path: Path
) -> None:
    cluster = make_cluster(installation=installation)
    places = with_tablespaces(cluster)
    before = cluster.value("SELECT clock_timestamp()")
    result = cluster.keeper("backup").expect(0)
    after = cluster.value("SELECT clock_timestamp()")
    assert (result["changed"], result["executed"]) == (True, True)
    entry = result["backup"]
    directory = base(cluster) / entry["label"]
    assert json.loads((directory / "backup.json").read_text()) == entry
    assert entry["status"] == "verified"
    names = {"base.tar.zst", "backup_manifest"} | {f"{oid}.tar.zst" for oid in places}
    assert {item["name"] for item in entry["files"]} == names
    assert {item["name"]: (item["stored_bytes"], item["digest"]) for item in entry["files"]} == stored(
        directory
    )
    assert {item["oid"]: item["path"] for item in entry["tablespaces"]} == {
        k: str(v) for k, v in places.items()
    }
    manifest = json.loads((directory / "backup_manifest").read_text())
    assert entry["plain_bytes"] == sum(item["Size"] for item in manifest["Files"])
    assert entry["stored_bytes"] == sum(item["stored_bytes"] for item in entry["files"])
    assert (entry["system_id"], entry["major"]) == (cluster.system_id, installation.major)
    assert entry["settings"]["max_connections"] == cluster.value("SHOW max_connections")
    assert before <= moment(entry["started_at"]) <= moment(entry["stopped_at"]) <= after
    assert set(entry["seconds"]) == {"copy", "wal", "seal"}

    # The backup history file is PostgreSQL's own account of the same backup.
    history = next(cluster.wal_directory.glob("*.backup")).read_text()
    said = dict(line.split(": ", 1) for line in history.splitlines())
    assert said["START WAL LOCATION"].split()[0] == entry["start_lsn"]
    assert said["STOP WAL LOCATION"].split()[0] == entry["stop_lsn"]
    assert said["LABEL"] == f"dbkeeper {entry['label']}"
    assert int(said["START TIMELINE"]) == entry["timeline"]

    # Every segment from start to stop is there.
    first, last = (said[f"{when} WAL LOCATION"].split("file ")[1].rstrip(")") for when in ("START", "STOP"))
    there = {path.name.partition(".")[0] for path in cluster.archived_segments()}
    assert {first, last} <= there

    unpack(directory, tmp_path / "copy")
    (tmp_path / "copy" / "backup_manifest").write_bytes((directory / "backup_manifest").read_bytes())
    cluster.program("pg_verifybackup", "-n", str(tmp_path / "copy"))

    progress = json.loads((cluster.state_directory / "progress.json").read_text())
    assert (progress["state"], progress["identity"]) == ("done", entry["label"])


@pytest.mark.parametrize("segment_mb", [16, 64])
def test_other_segment_sizes(make_cluster: Callable[..., Cluster], segment_mb: int) -> None:
    cluster = make_cluster(kind=Kind(segment_mb=segment_mb))
    entry = cluster.keeper("backup").expect(0)["backup"]
    assert entry["wal_segment_size"] == segment_mb << 20
    assert entry["status"] == "verified"


def test_twice_is_two_backups_and_max_age_or_label_is_one(cluster: Cluster) -> None:
    first = cluster.keeper("backup").expect(0)["backup"]["label"]
    second = cluster.keeper("backup").expect(0)["backup"]["label"]
    assert sorted(entries(cluster)) == sorted({first, second})
    with cluster.unchanged():
        answer = cluster.keeper("backup", "--max-age", "1h").expect(0)
    assert (answer["changed"], answer["backup"]["label"]) == (False, second)
    named = cluster.keeper("backup", "--label", "before-upgrade").expect(0)
    assert (named["changed"], named["backup"]["label"]) == (True, "before-upgrade")
    with cluster.unchanged():
        again = cluster.keeper("backup", "--label", "before-upgrade").expect(0)
        assert (again["changed"], again["executed"], again["backup"]) == (False, False, named["backup"])
        cluster.keeper("backup", "--label", "../x").refused("label-malformed")
        # With the server down as well.
        assert cluster.keeper("backup", "--max-age", "1h", "--check").expect(0)["changed"] is False


def test_check_mode_plans_and_touches_nothing(cluster: Cluster) -> None:
    with cluster.unchanged():
        answer = cluster.keeper("backup", "--check").expect(0)
    assert (answer["changed"], answer["executed"], answer["backup"]) == (True, False, {})
    plan = answer["plan"]
    assert plan["argv"][0] == str(cluster.installation.bin_directory / "pg_basebackup")
    assert plan["plain_bytes"] == cluster.value("SELECT sum(pg_tablespace_size(oid)) FROM pg_tablespace")
    assert not (cluster.state_directory / "backup.journal.json").exists()
    made = cluster.keeper("backup").expect(0)
    assert made["plan"].keys() == plan.keys()
    assert [step for step in made["plan"]["steps"] if "pg_basebackup" in step]


def test_progress_can_be_read_meanwhile(cluster: Cluster) -> None:
    cluster.write_config(**SLOWLY)
    running = cluster.keeper_start("backup")
    wait_for_copier(cluster)

    def part_done() -> bool:
        record = json.loads((cluster.state_directory / "progress.json").read_text())
        return record["phase"] == "backup" and 0 < record["done"] < record["total"]

    wait_for(part_done, "a copy that is partly done")
    # So that it is there still when it is asked for.
    os.kill(running.pid, signal.SIGSTOP)
    progress = cluster.keeper("info").expect(0)["progress"]
    os.kill(running.pid, signal.SIGCONT)
    assert (progress["state"], progress["operation"]) == ("running", "backup")
    assert progress["total"] == pytest.approx(23 << 20, rel=0.5)
    assert running.wait().status == 0


def test_what_a_restore_must_know_is_recorded_without_secrets(cluster: Cluster) -> None:
    cluster.sql("CREATE EXTENSION IF NOT EXISTS plpgsql")
    cluster.sql("CREATE DATABASE shop TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    cluster.sql("ALTER SYSTEM SET primary_conninfo = 'host=x password=hidden'")
    cluster.reload()
    wait_for(lambda: "hidden" in cluster.value("SHOW primary_conninfo"), "the setting")
    settings = cluster.keeper("backup").expect(0)["backup"]["settings"]
    shop = next(item for item in settings["databases"] if item["name"] == "shop")
    assert (shop["encoding"], shop["collate"]) == ("SQL_ASCII", "C")
    assert "plpgsql" in shop["extensions"]
    assert settings["changed"]["max_connections"] == "40"
    assert settings["changed"]["primary_conninfo"] == "(not recorded)"
    assert "hidden" not in json.dumps(settings)
