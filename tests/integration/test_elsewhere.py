# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A repository on another host: push, backup, plan and restore through a real sshd and the real door."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.home import repository_named_by
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import KeeperError
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.engine import NativeEngine
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.opening import wal_source
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.content import CHEAPEST, PACKED, PLAIN
from tests.integration.harness import damage
from tests.integration.harness.cluster import Cluster
from tests.integration.harness.elsewhere import Elsewhere
from tests.integration.harness.installation import Installation, an_installation_a_day
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.waiting import wait_for
from tests.integration.harness.workload import recovered_rows
from tests.integration.harness.world import SETTINGS, World


@pytest.fixture
def vault(sandbox: Sandbox) -> Iterator[Elsewhere]:
    """Another host."""
    place = Elsewhere(sandbox).start()
    yield place
    place.stop()


@pytest.fixture
def away(make_cluster: Callable[..., Cluster], vault: Elsewhere) -> Cluster:
    """A cluster whose repository is there."""
    return make_cluster(settings=SETTINGS, elsewhere=vault)


def test_push_backup_plan_and_restore_are_the_same_through_the_door(away: Cluster, vault: Elsewhere) -> None:
    world = World.begin(away).work().backup().work().point("alpha").work().finish()
    assert not (away.root / "repository" / "main" / "base").exists()
    label = world.backups[0].label
    assert {path.name for path in (vault.archive / "base" / label).iterdir()} == {
        "backup.json",
        "backup_manifest",
        "base.tar.zst",
    }
    may_add, may_read = away.config["ssh"], vault.config("read")["ssh"]
    away.write_config(ssh=may_read)
    told = away.keeper("plan", "--target-name", "alpha").expect(0)["plan"]["notes"]
    assert {"key": "note_read_only", "values": {}} in told
    away.write_config(ssh=may_add)
    told = away.keeper("plan", "--target-name", "alpha").expect(0)["plan"]["notes"]
    assert "note_read_only" not in [note["key"] for note in told]
    away.keeper("restore", "--target-name", "alpha", "--confirm", "main").expect(0)
    assert recovered_rows(away.dsn()) == world.rows_before(world.points["alpha"])


def test_files_there_that_nobody_uses_are_told_here(away: Cluster, vault: Elsewhere) -> None:
    """B16, at the door, also to a key that may only read; a door of an older release is no clean repository."""
    away.archive_all()
    assert away.keeper("info").expect(0)["leftovers"] == []
    left = vault.archive / "wal" / str(away.system_id) / "notes.txt"
    left.write_text("mine")
    moment = left.stat().st_mtime - 7200
    os.utime(left, (moment, moment))
    away.write_config(ssh=vault.config("read")["ssh"])
    (told,) = away.keeper("info").expect(0)["leftovers"]
    assert (told["path"], told["bytes"]) == (str(left), 4) and 7200 <= told["age_seconds"] < 7800
    checks = {item["name"]: item for item in away.keeper("check").data["checks"]}
    assert checks["leftovers"]["state"] == "warning" and str(left) in checks["leftovers"]["text"]


def test_a_key_and_an_address_are_told_when_they_are_wrong(away: Cluster, vault: Elsewhere) -> None:
    """E01: nobody answers, the wrong key, another host's key: three different things to do."""
    path = str(away.data_directory / "pg_wal" / away.switch_wal())
    right = dict(away.config["ssh"])
    away.write_config(ssh={**right, "identity_file": str(vault.root / "stranger")})
    away.keeper("info").failed("repository-unreachable", "does not take the key", "stranger")
    wrong = vault.root / "wrong_hosts"
    wrong.write_text(vault.known_hosts.read_text()[:-20] + "AAAAAAAAAAAAAAAAAAA\n")
    away.write_config(ssh={**right, "known_hosts_file": str(wrong)})
    away.keeper("info").failed("repository-unreachable", "its key is not the one")
    away.write_config(ssh=right)
    vault.stop()
    away.keeper("info").failed("repository-unreachable", "nothing listens there")
    argv = [str(away.command), "archive-push", "--config", str(away.config_path), path]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=240)
    assert 1 <= done.returncode <= 125 and "repository-unreachable" in done.stderr
    vault.start()


def test_what_a_key_may_do_is_asked_of_its_line_and_not_of_an_old_connection(
    away: Cluster, vault: Elsewhere
) -> None:
    """The first ssh leaves a connection behind, which sshd let in with what the key was allowed then."""
    away.keeper("info").expect()
    vault.admit("append", "read")
    away.keeper("backup").refused("door-closed", "authorized_keys")
    away.keeper("backup").refused("repository-not-writable")
    away.keeper("info").expect()
    vault.admit("append", "append")
    away.keeper("backup").refused("door-closed")
    away.keeper("backup").expect()
    vault.keep_out("append")
    away.keeper("info").refused("door-closed")
    away.keeper("info").failed("repository-unreachable", "Permission denied")
    assert "door-closed" in vault.log()


def test_the_server_keeps_its_wal_while_the_host_is_away(away: Cluster, vault: Elsewhere) -> None:
    vault.stop()
    name = away.switch_wal()
    query = "SELECT failed_count > 0 FROM pg_stat_archiver"
    wait_for(lambda: away.value(query), "the archiver's failure")
    vault.start()
    # A new segment wakes the archiver.
    away.switch_wal()
    away.archive_all()
    assert list((vault.archive / "wal").rglob(f"{name}.zst"))


@pytest.mark.parametrize("whom", ["door", "sshd"])
def test_a_backup_whose_way_is_cut_is_failed_and_the_next_one_is_whole(
    away: Cluster, vault: Elsewhere, whom: str
) -> None:
    away.sql(
        "CREATE TABLE big AS SELECT i, repeat(md5(i::text), 20) AS t FROM generate_series(1, 60000) AS i"
    )
    away.write_config(backup={"compression_level": 1, "max_rate_kbytes": 1024})
    running = away.keeper_start("backup", "--label", "cut")
    incoming = vault.archive / "base" / "cut" / ".incoming"
    wait_for(lambda: any(path.stat().st_size for path in incoming.glob("*")), "the first bytes", timeout=240)
    for pid in vault.doors() if whom == "door" else vault.sessions():
        os.kill(pid, 9)
    answer = running.wait()
    assert answer.status == 3 and answer.error["code"] == "repository-unreachable", str(answer)
    assert not list((away.state_directory / "incoming").iterdir())
    away.write_config(backup={"compression_level": 1, "max_rate_kbytes": None})
    away.keeper("backup", "--label", "cut").expect(0)
    entry = json.loads((vault.archive / "base" / "cut" / "backup.json").read_text())
    assert entry["status"] == "verified"
    for file in entry["files"]:
        content = (vault.archive / "base" / "cut" / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["digest"]


def test_the_keeper_killed_in_a_backup_leaves_a_failed_entry(away: Cluster, vault: Elsewhere) -> None:
    assert away.keeper("backup", "--label", "dead", kill_at="wal:begun").status == -9
    entry = vault.archive / "base" / "dead" / "backup.json"
    wait_for(lambda: json.loads(entry.read_text())["status"] == "failed", "the door's giving up")
    assert [path.name for path in entry.parent.iterdir()] == ["backup.json"]
    away.keeper("backup", "--label", "dead").expect(0)


def test_fetching_ahead_hides_the_way(away: Cluster, vault: Elsewhere, sandbox: Sandbox) -> None:
    """Eight at a time against one at a time, with a second for each answer (a delay around the door)."""
    for _dummy in range(8):
        away.sql("SELECT pg_logical_emit_message(false, 'test', 'x')")
        away.switch_wal()
    away.archive_all()
    vault.delay(1.0)
    config = ClusterConfig.load(str(away.config_path))
    system_id = int(next((vault.archive / "wal").iterdir()).name)
    names = sorted(path.name[:24] for path in (vault.archive / "wal").rglob("*.zst"))[:8]

    def fetch(at_once: int, names: list[str]) -> float:
        repository = repository_named_by(config)
        source = wal_source(repository, system_id)
        source.read_history(7)
        begun = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            digests = list(pool.map(lambda name: source.fetch(name, str(sandbox.root / name)), names))
        assert len(digests) == len(names)
        seconds = time.monotonic() - begun
        repository.line.close()
        return seconds / len(names)

    alone, ahead = fetch(1, names[:3]), fetch(8, names)
    print(f"one at a time {alone:.2f} s each, eight {ahead:.2f} s each: {alone / ahead:.1f} x")
    assert alone >= 3 * ahead


def test_a_segment_through_the_door_has_the_identity_that_it_has_there(
    away: Cluster, vault: Elsewhere, sandbox: Sandbox
) -> None:
    away.switch_wal()
    away.archive_all()
    repository = repository_named_by(ClusterConfig.load(str(away.config_path)))
    stored = max((vault.archive / "wal").rglob("*.zst"))
    name, target = stored.name[:24], sandbox.root / "target"
    source = wal_source(repository, int(stored.parent.parent.name))
    plain = subprocess.run(["zstd", "-dqc", str(stored)], capture_output=True, check=True).stdout
    by_plain, by_stored = (hashlib.sha256(content).hexdigest() for content in (plain, stored.read_bytes()))
    for kind, known in ((PLAIN, by_plain), (PACKED, f"zstd:{by_stored}"), (CHEAPEST, by_plain)):
        assert source.fetch(name, str(target), kind) == known
        assert target.read_bytes() == plain
    # Two forms: told by the first, once both hold the same.
    twin = stored.with_suffix("")
    twin.write_bytes(plain)
    assert source.fetch(name, str(target), PACKED) == f"zstd:{by_stored}"
    twin.write_bytes(plain[:-1] + b"?")
    for kind in (PLAIN, PACKED):
        with pytest.raises(KeeperError) as caught:
            source.fetch(name, str(target), kind)
        assert caught.value.code == "segment-duplicate" and not target.exists()
    twin.unlink()
    damage.flip_bit(stored)
    with pytest.raises(KeeperError) as caught:
        source.fetch(name, str(target), PACKED)
    assert caught.value.code == "segment-corrupt" and not target.exists()
    repository.line.close()


@pytest.mark.matrix
@pytest.mark.parametrize("installation", an_installation_a_day())
def test_backups_of_every_version_with_a_tablespace(
    make_cluster: Callable[..., Cluster], vault: Elsewhere, installation: Installation
) -> None:
    """Below 15 they are compressed on the way; from 17 on an incremental one follows."""
    summaries = {"summarize_wal": "on"} if installation.major >= 17 else {}
    cluster = make_cluster(installation=installation, elsewhere=vault, settings=SETTINGS | summaries)
    place = cluster.root / "space"
    place.mkdir()
    cluster.sql(f"CREATE TABLESPACE away LOCATION '{place}'")
    cluster.sql("CREATE TABLE there TABLESPACE away AS SELECT generate_series(1, 1000) AS i")
    cluster.keeper("backup", "--label", "whole").expect(0)
    labels = ["whole"]
    if summaries:
        cluster.sql("INSERT INTO there SELECT generate_series(1001, 2000)")
        cluster.keeper("backup", "--label", "after", "--kind", "incremental").expect(0)
        labels.append("after")
    assert not list((cluster.state_directory / "incoming").iterdir())
    for label in labels:
        directory = vault.archive / "base" / label
        entry = json.loads((directory / "backup.json").read_text())
        assert entry["status"] == "verified" and len(entry["files"]) == 3 and len(entry["tablespaces"]) == 1
        for file in entry["files"]:
            assert hashlib.sha256((directory / file["name"]).read_bytes()).hexdigest() == file["digest"]
        engine = NativeEngine(repository_named_by(ClusterConfig.load(str(cluster.config_path))))
        assert engine.verify_backup(label).files == entry["manifest"]["files"]
