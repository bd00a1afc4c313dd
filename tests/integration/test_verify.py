# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Verification: damage is found, said, marked so that plans, checks and expiry know, and cleared when it is mended."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .harness import damage
from .harness.cluster import Cluster
from .harness.installation import installations
from .harness.waiting import wait_for
from .harness.world import World


def base(world: World, label: str) -> Path:
    """Where a backup is stored."""
    return world.cluster.repository / world.cluster.name / "base" / label


def entry(world: World, label: str) -> dict[str, Any]:
    """What the catalog says of it."""
    value: dict[str, Any] = json.loads((base(world, label) / "backup.json").read_text())
    return value


def by_label(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The backups of a result."""
    return {one["label"]: one for one in answer["verification"]["backups"]}


def test_what_is_sound_is_read_once_and_looked_at_afterwards(world: World) -> None:
    cluster = world.cluster
    old, new = (backup.label for backup in world.backups)
    with cluster.unchanged():
        planned = cluster.keeper("verify", "--check").expect(0)
    assert (planned["changed"], planned["executed"]) == (False, False)
    assert {one["label"]: (one["depth"], one["why"]) for one in planned["plan"]["backups"]} == {
        old: ("full", "new"),
        new: ("full", "new"),
    }
    first = cluster.keeper("verify").expect(0)
    assert first["changed"] is False and first["verification"]["good"] is True
    stored = sum(
        path.stat().st_size
        for label in (old, new)
        for path in base(world, label).iterdir()
        if path.name not in ("backup.json",)
    )
    wal = sum(path.stat().st_size for path in cluster.archived_segments())
    assert first["verification"]["bytes"] == stored + wal
    assert first["verification"]["segments"] == len(cluster.archived_segments())
    until = cluster.keeper("info").expect(0)["windows"][0]["until"]
    assert {one["wal"]["until"] for one in first["verification"]["backups"]} == {until}

    again = cluster.keeper("verify").expect(0)
    assert {one["depth"] for one in again["verification"]["backups"]} == {"look"}
    assert again["verification"]["bytes"] < wal
    thorough = cluster.keeper("verify", "--thorough").expect(0)
    assert {one["why"] for one in thorough["verification"]["backups"]} == {"thorough"}
    assert thorough["verification"]["bytes"] == stored + wal
    named = cluster.keeper("verify", new).expect(0)
    assert [one["label"] for one in named["verification"]["backups"]] == [new]
    assert cluster.keeper("verify", "no-such").refused("backup-unknown", old)
    runs = [run for run in cluster.keeper("history").expect(0)["runs"] if run["operation"] == "verify"]
    assert [run["result"] for run in runs][:4] == ["unchanged"] * 4


def test_rot_is_found_marked_known_everywhere_and_cleared_when_mended(world: World) -> None:
    cluster = world.cluster
    old, new = (backup.label for backup in world.backups)
    cluster.keeper("verify").expect(0)
    stored = base(world, new) / "base.tar.zst"
    sound = stored.read_bytes()
    before = stored.stat()
    damage.flip_bit(stored)
    found = cluster.keeper("verify", "--thorough")
    assert found.status == 3
    told = by_label(found.data)
    assert told[new]["result"] == "bad" and told[new]["mark"] == "marked"
    assert told[new]["fault"]["code"] == "backup-file-damaged"
    assert told[old]["result"] == "good"
    assert found.data["verification"]["bad"] == [new]
    assert stored.stat().st_size == before.st_size
    assert entry(world, new)["unsound"]["code"] == "backup-file-damaged"

    # The plan takes the other one, and the damaged one not even when it is named.
    assert cluster.keeper("plan", "--latest").expect(0)["plan"]["backup"] == old
    cluster.keeper("plan", "--latest", "--backup", new).refused("backup-not-verified", f"verify {new}")
    # Expiry neither counts it nor takes it for old.
    fates = {
        one["label"]: (one["action"], one["why"])
        for one in cluster.keeper("expire", "--dry-run", "--full-count", "1").expect(0)["plan"]["backups"]
    }
    assert fates == {old: ("keep", "count"), new: ("keep", "window")}
    # The check says it, and a backup that is asked for by age is taken.
    checks = {one["name"]: one for one in cluster.keeper("check").data["checks"]}
    assert checks["catalog"]["state"] == "failed" and new in checks["catalog"]["text"]
    # A look is not enough to clear it.
    assert by_label(cluster.keeper("verify").data)[new]["result"] == "bad"
    stored.write_bytes(sound)
    mended = cluster.keeper("verify").expect(0)
    assert mended["changed"] is True and by_label(mended)[new]["mark"] == "cleared"
    assert entry(world, new)["unsound"] is None
    assert cluster.keeper("plan", "--latest").expect(0)["plan"]["backup"] == new


@pytest.mark.parametrize("how", ["missing", "cut", "extra", "manifest"])
def test_a_cheap_run_sees_what_names_and_sizes_tell(world: World, how: str) -> None:
    cluster, label = world.cluster, world.backups[-1].label
    cluster.keeper("verify").expect(0)
    stored = base(world, label)
    if how == "missing":
        damage.delete(stored / "base.tar.zst")
    elif how == "cut":
        damage.truncate(stored / "base.tar.zst")
    elif how == "extra":
        (stored / "16999.tar.zst").write_bytes(b"not ours")
    else:
        damage.flip_bit(stored / "backup_manifest")
    found = cluster.keeper("verify")
    assert found.status == 3 and by_label(found.data)[label]["result"] == "bad"
    assert by_label(found.data)[label]["fault"]["code"].startswith("backup-file-")
    assert entry(world, label)["unsound"] is not None


def test_wal_that_rots_without_a_trace_is_found_and_the_index_told(world: World) -> None:
    cluster = world.cluster
    cluster.keeper("verify").expect(0)
    victim = cluster.archived_segments()[-2]
    facts = victim.stat()
    damage.flip_bit(victim)
    found = cluster.keeper("verify", "--thorough")
    assert found.status == 3
    (wal,) = found.data["verification"]["wal"]
    assert wal["result"] == "bad" and [one["name"] for one in wal["faulty"]] == [victim.name[:24]]
    assert victim.stat().st_size == facts.st_size
    cluster.keeper("plan", "--latest").refused(wal["faulty"][0]["code"], victim.name[:24])


def test_a_gap_is_bad_for_all_that_lie_before_it(world: World) -> None:
    cluster = world.cluster
    old, new = (backup.label for backup in world.backups)
    # The last one that the newer backup has no need of.
    number = world.backups[1].start_lsn // (1 << 20) - 1
    name = f"{1:08X}{number // 4096:08X}{number % 4096:08X}"
    victim = next(path for path in cluster.archived_segments() if path.name.startswith(name))
    cluster.keeper("verify").expect(0)
    damage.delete(victim)
    found = cluster.keeper("verify")
    assert found.status == 3
    told = by_label(found.data)
    assert told[old]["wal"]["result"] == "bad" and told[old]["wal"]["code"] == "segment-missing"
    assert told[new]["wal"]["result"] == "good"
    # Its files are sound: it can still be restored as it ended, and so is not marked.
    assert entry(world, old)["unsound"] is None


def test_a_killed_run_goes_on_where_it_was(world: World) -> None:
    cluster = world.cluster
    old, new = (backup.label for backup in world.backups)
    evidence = cluster.repository / cluster.name / "evidence"
    running = cluster.keeper_start("verify", "--thorough", "--max-rate", "1500")
    first = evidence / f"verify-{old}.json"
    wait_for(first.exists, "the first backup to be verified")
    running.process.send_signal(signal.SIGKILL)
    running.process.communicate()
    again = cluster.keeper("verify", "--thorough").expect(0)
    assert again["verification"]["resumed"] is True
    assert {one["label"]: one["why"] for one in again["verification"]["backups"]}[old] == "read-before"
    # Finished: the next one is a run of its own.
    assert cluster.keeper("verify", "--thorough").expect(0)["verification"]["resumed"] is False


def test_what_is_limited_takes_its_time(world: World) -> None:
    cluster, label = world.cluster, world.backups[0].label
    stored = sum(path.stat().st_size for path in base(world, label).iterdir() if path.name != "backup.json")
    done = cluster.keeper("verify", label, "--max-rate", str(stored // 1024)).expect(0)
    (one,) = done["verification"]["backups"]
    assert 0.6 <= one["seconds"] <= 120
    cluster.keeper("verify", "--max-rate", "0").refused("rate-malformed")


@pytest.mark.parametrize("how", ["sound", "flipped", "cut", "manifest"])
def test_the_verdict_is_that_of_pg_verifybackup(make_cluster: Any, tmp_path: Path, how: str) -> None:
    """The server's own tool as the oracle: on the same files, the same yes or no."""
    installation = installations()[18]
    cluster: Cluster = make_cluster(installation=installation)
    label = cluster.keeper("backup").expect(0)["backup"]["label"]
    stored = cluster.repository / cluster.name / "base" / label
    if how == "flipped":
        damage.rewrite(stored / "base.tar.zst", damage.flipped_inside)
    elif how == "cut":
        damage.truncate(stored / "base.tar.zst")
    elif how == "manifest":
        damage.flip_bit(stored / "backup_manifest")
    alone = tmp_path / "alone"
    shutil.copytree(stored, alone, ignore=shutil.ignore_patterns("backup.json"))
    theirs = subprocess.run(
        [installation.program("pg_verifybackup"), "-n", "-F", "t", str(alone)],
        capture_output=True,
        env=installation.environment,
        check=False,
    )
    ours = cluster.keeper("verify", label)
    assert (ours.status == 0) == (theirs.returncode == 0) == (how == "sound"), theirs.stderr


def test_a_dump_that_rots_is_marked_and_cleared_when_it_is_mended(cluster: Cluster) -> None:
    cluster.sql("CREATE TABLE kept AS SELECT i AS id, md5(i::text) AS word FROM generate_series(1, 2000) i")
    cluster.keeper("dump", "--database", "postgres").expect(0)
    first = cluster.keeper("verify").expect(0)["verification"]
    (dump,) = first["dumps"]
    assert (dump["result"], dump["depth"], dump["why"]) == ("good", "full", "new")
    assert cluster.keeper("verify").expect(0)["verification"]["dumps"][0]["depth"] == "look"
    place = cluster.repository / cluster.name / dump["name"]
    stored = place / "dump.custom"
    sound = stored.read_bytes()
    damage.flip_bit(stored)
    found = cluster.keeper("verify", dump["label"])
    assert found.status == 3
    (bad,) = found.data["verification"]["dumps"]
    assert (bad["result"], bad["mark"], bad["fault"]["code"]) == ("bad", "marked", "dump-file-damaged")
    assert json.loads((place / "dump.json").read_text())["unsound"]["code"] == "dump-file-damaged"
    # It counts as none: another one is taken although this one is young.
    assert cluster.keeper("dump", "--database", "postgres", "--max-age", "1d").expect(0)["changed"] is True
    stored.write_bytes(sound)
    mended = cluster.keeper("verify").expect(0)["verification"]["dumps"]
    assert {one["name"]: one["mark"] for one in mended}[dump["name"]] == "cleared"
    # A record that promises more than pg_restore lists is not believed, although every byte is the same.
    entry = json.loads((place / "dump.json").read_text())
    (place / "dump.json").write_text(json.dumps({**entry, "contents": entry["contents"] + 1}))
    listed = cluster.keeper("verify", dump["label"])
    assert listed.status == 3 and "pg_restore lists" in str(listed.data["verification"]["dumps"])


def test_a_young_verification_is_enough(world: World) -> None:
    cluster = world.cluster
    assert cluster.keeper("verify", "--max-age", "1h").expect(0)["executed"] is True
    again = cluster.keeper("verify", "--max-age", "1h").expect(0)
    assert (again["executed"], again["changed"]) == (False, False)
    assert cluster.keeper("verify", "--thorough", "--max-age", "1h").expect(0)["executed"] is True
