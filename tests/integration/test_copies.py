# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Copies of a real repository: complete, verified, in the order that a crash may interrupt."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from tests.integration.harness.cluster import Cluster
from tests.integration.harness.elsewhere import Elsewhere
from tests.integration.harness.objectstore import ObjectStore
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.waiting import wait_for
from tests.integration.harness.workload import recovered_rows
from tests.integration.harness.world import World, lsn_text


@pytest.fixture
def vault(sandbox: Sandbox) -> Iterator[ObjectStore]:
    """An S3 server."""
    place = ObjectStore(sandbox.root / "s3")
    yield place
    place.close()


@pytest.fixture
def busy(make_cluster: Callable[..., Cluster]) -> Cluster:
    """A cluster with a backup, rows and archived WAL."""
    cluster = make_cluster()
    cluster.sql("CREATE TABLE kept (id int PRIMARY KEY, word text)")
    cluster.sql("INSERT INTO kept SELECT i, md5(i::text) FROM generate_series(1, 500) i")
    cluster.keeper("backup").expect(0)
    cluster.sql("INSERT INTO kept SELECT i, md5(i::text) FROM generate_series(501, 900) i")
    cluster.archive_all()
    return cluster


def files_of(root: Path) -> dict[str, bytes]:
    """What of a repository is to be in a copy, by path: as the layout says, not as the engine lists it."""
    found = {}
    for top in ("base", "wal", "dump", "evidence", "timelines", "rescue"):
        for path in sorted((root / top).rglob("*")):
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts):
                found[str(path.relative_to(root))] = path.read_bytes()
    return found


def describe(cluster: Cluster, **copies: Any) -> None:
    """Give the cluster copies, and make the places ready."""
    cluster.write_config(copies=copies)
    cluster.keeper("copy", "--prepare").expect(0)


def test_a_directory_gets_everything_and_the_second_run_sends_nothing(
    busy: Cluster, sandbox: Sandbox
) -> None:
    place = sandbox.root / "disk"
    place.mkdir()
    describe(busy, disk={"to": str(place)})
    planned = busy.keeper("copy", "--dry-run").expect(0)
    assert planned["changed"] and not planned["executed"]
    assert not (place / "main" / "base").exists()
    result = busy.keeper("copy").expect(0)["copies"]["disk"]
    ours = files_of(busy.repository / "main")
    assert files_of(place / "main") == ours
    assert result["sent"]["objects"] == len(ours) == planned["copies"]["disk"]["plan"]["send"]
    assert result["sent"]["checked"] == {"read-back": len(ours)}
    again = busy.keeper("copy").expect(0)
    assert again["changed"] is False
    status = json.loads((busy.state_directory / "copies" / "disk.json").read_text())
    assert status["behind_seconds"] == 0 and status["failure"] is None and status["objects"] == len(ours)


def test_a_path_that_is_not_mounted_is_refused(busy: Cluster, sandbox: Sandbox) -> None:
    place = sandbox.root / "disk"
    place.mkdir()
    describe(busy, disk={"to": str(place)})
    (place / "main").rename(sandbox.root / "elsewhere")
    answer = busy.keeper("copy").expect(3)
    assert answer["copies"]["disk"]["error"]["code"] == "copy-missing"
    assert list(place.iterdir()) == []
    assert busy.keeper("copy", "--prepare").expect(2)["error"]["code"] == "copy-missing"
    assert list(place.iterdir()) == []


def test_s3_over_tls_gets_everything(busy: Cluster, vault: ObjectStore) -> None:
    describe(busy, cloud=vault.wish())
    result = busy.keeper("copy").expect(0)["copies"]["cloud"]
    read = [path for method, path in vault.requests if method == "GET" and path.endswith(".zst")]
    ours = files_of(busy.repository / "main")
    assert {key: vault.bytes_of(f"pg/main/{key}") for key in ours} == ours
    assert result["sent"]["objects"] == len(ours)
    # The store tells SHA-256 and MD5 of what it has, so nothing is read again.
    assert result["sent"]["checked"] == {"store": len(ours)}
    assert read == []
    # What is found of the files here says nothing of the copy's, and is not sent.
    busy.keeper("verify").expect(0)
    assert busy.keeper("copy").expect(0)["changed"] is False
    assert not vault.objects("pg/main/evidence/verify")


@pytest.fixture
def keys(sandbox: Sandbox) -> tuple[str, Path]:
    """An age key: the public half, and the file of the private one, which lies where no cluster looks."""
    path = sandbox.root / "private.txt"
    run = subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True, text=True)
    return run.stderr.split(":", 1)[1].strip(), path


def lose_the_repository(cluster: Cluster) -> None:
    """As a fire would."""
    shutil.rmtree(cluster.repository)


def test_the_repository_is_lost_and_an_encrypted_copy_in_s3_restores(
    world: World, vault: ObjectStore, keys: tuple[str, Path], sandbox: Sandbox
) -> None:
    public, private = keys
    cluster = world.cluster
    wish = vault.wish(encryption={"tool": "age", "recipients": [public]}, storage_class="STANDARD_IA")
    describe(cluster, cloud={**wish, "server_side_encryption": "AES256"})
    cluster.keeper("copy").expect(0)
    stored = vault.objects("pg/main/")
    assert all(key.endswith(".age") or "/sheets/" in key or key.endswith("copy.json") for key in stored)
    lose_the_repository(cluster)
    cluster.keeper("copy", "cloud", "--back", str(cluster.repository)).refused("copy-identity-missing")
    stranger = sandbox.root / "stranger.txt"
    subprocess.run(["age-keygen", "-o", str(stranger)], check=True, capture_output=True)
    argv = ("cloud", "--back", str(cluster.repository), "--identity")
    cluster.keeper("copy", *argv, str(stranger)).refused("copy-sealing-failed", status=3)
    back = cluster.keeper("copy", *argv, str(private)).expect(0)
    assert back["fetched"]["objects"] > 10
    cluster.keeper("plan", "--target-name", "beta").expect(0)
    cluster.keeper("restore", "--target-name", "beta", "--confirm", "main").expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def test_only_what_a_target_needs_is_brought_back_beside_and_restored_from(
    world: World, sandbox: Sandbox
) -> None:
    """``--repository``: the restored cluster archives to its own repository, which was made anew."""
    cluster, place = world.cluster, sandbox.root / "disk"
    place.mkdir()
    describe(cluster, disk={"to": str(place)})
    everything = cluster.keeper("copy").expect(0)["copies"]["disk"]["sent"]["objects"]
    lose_the_repository(cluster)
    Repository(str(cluster.repository), "main").create()
    beside = sandbox.root / "beside"
    lsn = lsn_text(world.points["beta"])
    back = cluster.keeper("copy", "disk", "--back", str(beside), "--target-lsn", lsn).expect(0)
    assert back["fetched"]["backups"] == [world.backups[-1].label]
    assert 0 < back["fetched"]["objects"] < everything
    target = ("--target-name", "beta", "--repository", str(beside))
    cluster.keeper("plan", *target).expect(0)
    cluster.keeper("restore", *target, "--confirm", "main").expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    fresh = Repository(str(cluster.repository), "main")
    assert fresh.documents("base"), "the new timeline's backup is in the cluster's own repository"


def test_an_unencrypted_directory_is_a_repository_as_it_lies_there(world: World, sandbox: Sandbox) -> None:
    cluster, place = world.cluster, sandbox.root / "disk"
    place.mkdir()
    describe(cluster, disk={"to": str(place)})
    cluster.keeper("copy").expect(0)
    lose_the_repository(cluster)
    cluster.write_config(repository=str(place), copies={})
    cluster.keeper("restore", "--target-name", "alpha", "--confirm", "main").expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["alpha"])


def test_no_segment_is_acknowledged_that_a_required_place_does_not_have(
    make_cluster: Callable[..., Cluster], sandbox: Sandbox
) -> None:
    """One of two places goes away: the server keeps its WAL, and both have everything when it is back."""
    disk, lazy = sandbox.root / "disk", sandbox.root / "lazy"
    disk.mkdir()
    lazy.mkdir()
    cluster = make_cluster()
    describe(cluster, disk={"to": str(disk), "required": True}, lazy={"to": str(lazy)})
    first = cluster.archive_all()

    def stored(root: Path) -> set[str]:
        return {path.name for path in root.glob("main/wal/*/*/*.zst")}

    assert f"{first}.zst" in stored(cluster.repository) & stored(disk)
    (disk / "main").rename(sandbox.root / "unplugged")
    second = cluster.switch_wal()
    wait_for(lambda: cluster.value("SELECT failed_count > 0 FROM pg_stat_archiver"), "the archiver's failure")
    assert not (cluster.archive_status / f"{second}.done").exists()
    assert stored(disk) == set()
    (sandbox.root / "unplugged").rename(disk / "main")
    third = cluster.archive_all(timeout=240)
    wanted = {f"{name}.zst" for name in (first, second, third)}
    assert wanted <= stored(cluster.repository) and wanted <= stored(disk)
    # What archive-push has stored there is looked at, not sent again; the other place catches up.
    result = cluster.keeper("copy").expect(0)["copies"]
    assert result["disk"]["sent"]["adopted"] >= 3 and not result["disk"]["failures"]
    assert wanted <= stored(lazy)


def test_wal_that_only_archive_push_has_put_into_a_copy_comes_back_too(
    world: World, sandbox: Sandbox
) -> None:
    cluster, place = world.cluster, sandbox.root / "disk"
    place.mkdir()
    describe(cluster, disk={"to": str(place), "required": True})
    cluster.keeper("copy").expect(0)
    world.work(6).point("late")
    rows = recovered_rows(cluster.dsn())
    world.work(6)
    name = cluster.archive_all()
    cluster.archive_all()
    lose_the_repository(cluster)
    back = cluster.keeper("copy", "disk", "--back", str(cluster.repository)).expect(0)
    assert back["fetched"]["unlisted"] >= 1
    assert list((cluster.repository / "main" / "wal").glob(f"*/*/{name}.zst"))
    cluster.keeper("restore", "--target-name", "late", "--confirm", "main").expect(0)
    assert recovered_rows(cluster.dsn()) == rows


@pytest.fixture
def box(sandbox: Sandbox) -> Iterator[Elsewhere]:
    """Another host whose sshd lets a key use file transfer, and nothing of ours is there."""
    place = Elsewhere(sandbox, "box")
    public = (place.root / "stranger.pub").read_text()
    (place.root / "authorized_keys").write_text(f"restrict {public}")
    place.start()
    yield place
    place.stop()


def test_a_host_with_nothing_but_sftp(world: World, box: Elsewhere, sandbox: Sandbox) -> None:
    cluster = world.cluster
    ssh = {"identity_file": str(box.root / "stranger"), "known_hosts_file": str(box.known_hosts)}
    to = f"sftp://{box.user}@127.0.0.1:{box.port}{box.root}/space"
    describe(cluster, box={"to": to, "ssh": ssh, "retention": {"full_count": 1}})
    ours = files_of(cluster.repository / "main")
    cluster.keeper("copy").expect(0)
    theirs = files_of(box.root / "space" / "main")
    old, new = world.backups[0].label, world.backups[-1].label
    assert theirs and all(ours[key] == content for key, content in theirs.items())
    assert [path.name for path in (box.root / "space" / "main" / "base").iterdir()] == [new]
    assert not any(old in key for key in theirs), "what its own retention would remove is not sent"
    assert cluster.keeper("copy").expect(0)["changed"] is False
    lose_the_repository(cluster)
    cluster.keeper("copy", "box", "--back", str(cluster.repository)).expect(0)
    cluster.keeper("restore", "--target-name", "beta", "--confirm", "main").expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    wrong = {**ssh, "identity_file": str(box.root / "read")}
    cluster.write_config(copies={"box": {"to": to, "ssh": wrong}})
    assert cluster.keeper("copy").expect(3)["copies"]["box"]["error"]["code"] == "copy-denied"


def test_a_door_takes_backups_and_wal_and_never_gives_them_up(world: World, sandbox: Sandbox) -> None:
    """The copy is a repository on another host, used as it is when the first one is lost."""
    cluster, other = world.cluster, Elsewhere(sandbox).start()
    try:
        there = other.config("append")
        describe_door = {"to": there["repository"], "ssh": there["ssh"]}
        cluster.write_config(copies={"door": describe_door})
        result = cluster.keeper("copy").expect(0)["copies"]["door"]
        assert result["sent"]["checked"] == {"door": result["sent"]["objects"]}
        ours, theirs = files_of(cluster.repository / "main"), files_of(other.archive)
        names = {key for key in ours if key.startswith(("base/", "wal/")) and not key.endswith("backup.json")}
        assert names <= set(theirs)
        assert all(ours[key] == theirs[key] for key in names if key.startswith("base/"))
        assert cluster.keeper("copy").expect(0)["changed"] is False
        # Dumps go along; one that does not is no success to be silent about.
        dumps = [{"label": "all", "database": "postgres"}]
        cluster.write_config(copies={"door": describe_door}, dumps=dumps)
        label = cluster.keeper("dump").expect(0)["dumps"][0]["dump"]["label"]
        result = cluster.keeper("copy").expect(0)["copies"]["door"]
        assert (result["sent"]["left_out"], result["sent"]["groups"]) == ([], [f"dump/postgres/{label}"])
        ours, theirs = files_of(cluster.repository / "main"), files_of(other.archive)
        names = {key for key in ours if key.startswith("dump/") and not key.endswith("dump.json")}
        assert names and all(ours[key] == theirs[key] for key in names)
        assert cluster.keeper("copy").expect(0)["changed"] is False
        second = cluster.keeper("dump", "--database", "postgres", "--label", "unsound").expect(0)
        entry = cluster.repository / "main" / "dump" / "postgres" / "unsound" / "dump.json"
        fault = {
            "code": "dump-file-damaged",
            "text": "it rots",
            "at": second["dumps"][0]["dump"]["stopped_at"],
        }
        entry.write_text(json.dumps({**json.loads(entry.read_text()), "unsound": fault}))
        cluster.keeper("copy").expect(0)
        found = {item["name"]: item for item in cluster.keeper("check").data["checks"]}["copies"]
        assert found["state"] == "warning" and "door has none of 1 dump," in found["text"], found
        lose_the_repository(cluster)
        cluster.write_config(**there, copies={})
        cluster.keeper("restore", "--target-name", "beta", "--confirm", "main").expect(0)
        assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    finally:
        other.stop()


def test_dumps_go_along_with_generations_of_the_copys_own(cluster: Cluster, sandbox: Sandbox) -> None:
    """A database whose name is Japanese, quotes and a slash; the copy keeps the newest day, the repository all."""
    name = "会計 \"x\"/'y'"
    cluster.sql('CREATE DATABASE "会計 ""x""/\'y\'"')
    place = sandbox.root / "disk"
    place.mkdir()
    dumps = [{"label": "books", "database": name}]
    copies = {"disk": {"to": str(place), "retention": {"daily": 1, "weekly": 0, "monthly": 0}}, "all": {}}
    copies["all"] = {"to": str(sandbox.root / "all")}
    (sandbox.root / "all").mkdir()
    cluster.write_config(dumps=dumps, copies=copies)
    cluster.keeper("copy", "--prepare").expect(0)
    for _dummy in range(2):
        cluster.keeper("dump").expect(0)
    cluster.keeper("copy").expect(0)
    ours = {
        key: text for key, text in files_of(cluster.repository / "main").items() if key.startswith("dump/")
    }
    everything = files_of(sandbox.root / "all" / "main")
    assert ours and {key: text for key, text in everything.items() if key.startswith("dump/")} == ours
    entries = sorted(cluster.repository.glob("main/dump/*/[!.]*/dump.json"))
    newest = max(entries, key=lambda path: json.loads(path.read_text())["sequence"])
    kept = list(place.glob("main/dump/*/[!.]*/dump.json"))
    assert len(entries) == 2 and [path.parent.name for path in kept] == [newest.parent.name]
    back = cluster.keeper("copy", "disk", "--back", str(sandbox.root / "back")).expect(0)
    assert back["fetched"]["objects"] > 0
    same = sandbox.root / "back" / newest.relative_to(cluster.repository)
    assert same.read_bytes() == newest.read_bytes()
    listed = cluster.keeper("copy", "--list").expect(0)["copies"]["disk"]["dumps"]
    assert [one["database"] for one in listed] == [name]
