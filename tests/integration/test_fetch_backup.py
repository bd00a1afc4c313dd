# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Stored backups into directories: every byte proven, every damage found before a server could start."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import (
    Failed,
    KeeperError,
    Refused,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import (
    EXPIRED,
    FAILED,
    RUNNING,
    Backup,
    read_backup,
    read_catalog,
    write_backup,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.engine import NativeEngine
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

from .harness import damage
from .harness.cluster import Cluster
from .harness.digest import listing
from .harness.disk import SmallDisk
from .harness.installation import a_major_a_day, default_installation, installations
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .stored import ENGINE, engine_process, enter, make_repository, take_backup

LABEL = "20261121T031500Z-full"
CONTROL = "global/pg_control"
FETCH = f"""
import sys, time
from {ENGINE}.core.errors import KeeperError
from {ENGINE}.repository.engine import NativeEngine
from {ENGINE}.repository.layout import Repository
root, label, directory, oid, tablespace, pause = sys.argv[1:]
def progress(done):
    if pause == "yes" and done > 5_000_000:
        print(done, flush=True)
        time.sleep(600)
try:
    NativeEngine(Repository(root, "main")).fetch_backup(
        label, directory, tablespace_map={{int(oid): tablespace}}, progress=progress
    )
except KeeperError as error:
    print(error.code, error.happened)
    sys.exit(3)
"""


@dataclass
class Stored:
    """A repository with one backup that has a tablespace; copied for each test that damages it."""

    repository: Repository
    backup: Backup
    bin_directory: Path

    @property
    def directory(self) -> Path:
        return Path(self.repository.backup(LABEL))

    @property
    def oid(self) -> int:
        return self.backup.tablespaces[0].oid

    @property
    def engine(self) -> NativeEngine:
        return NativeEngine(self.repository)

    def copy(self, root: Path) -> Stored:
        shutil.copytree(self.repository.root, root)
        return Stored(Repository(str(root), "main"), self.backup, self.bin_directory)


def make_stored(sandbox: Sandbox, major: int) -> Stored:
    cluster = Cluster(sandbox, f"origin{major}", installation=installations()[major], archiving=False).start()
    place = sandbox.root / f"tablespace{major}"
    place.mkdir()
    cluster.sql(f"CREATE TABLESPACE fast LOCATION '{place}'")
    cluster.sql("CREATE TABLE here AS SELECT n, md5(n::text) AS t FROM generate_series(1, 60000) n")
    cluster.sql(
        "CREATE TABLE there TABLESPACE fast AS SELECT n, md5(n::text) AS t FROM generate_series(1, 9000) n"
    )
    cluster.sql("CREATE TABLE empty (n int)")
    repository = make_repository(sandbox.root / f"repository{major}")
    stored = Stored(repository, take_backup(cluster, repository, LABEL), cluster.installation.bin_directory)
    cluster.stop()
    return stored


@pytest.fixture(scope="module")
def origin() -> Iterator[Stored]:
    sandbox = Sandbox()
    yield make_stored(sandbox, default_installation().major)
    sandbox.close()


@pytest.fixture
def stored(origin: Stored, tmp_path: Path) -> Stored:
    return origin.copy(tmp_path / "repository")


@pytest.mark.parametrize("major", a_major_a_day())
def test_backups_of_every_major(sandbox: Sandbox, tmp_path: Path, major: int) -> None:
    """The same files as tar extracts, and PostgreSQL's own pg_verifybackup agrees."""
    stored = make_stored(sandbox, major)
    seen: list[int] = []
    staged, mapped = tmp_path / "staged", tmp_path / "mapped"
    fetched = stored.engine.fetch_backup(
        LABEL, str(staged), tablespace_map={stored.oid: str(mapped)}, progress=seen.append
    )
    by_tar, mapped_by_tar = tmp_path / "tar", tmp_path / "tar-mapped"
    for name, target in (("base", by_tar), (str(stored.oid), mapped_by_tar)):
        target.mkdir(mode=0o700)
        content = damage.plain(stored.directory / f"{name}.tar.zst")
        subprocess.run(["tar", "-x", "-C", str(target)], input=content, check=True)
    assert listing(mapped) == listing(mapped_by_tar)
    ours, tars = listing(staged), listing(by_tar)
    assert (staged / "tablespace_map").read_text() == f"{stored.oid} {mapped}\n"
    assert os.readlink(staged / "pg_tblspc" / str(stored.oid)) == str(mapped)
    for name in ("tablespace_map", f"pg_tblspc/{stored.oid}"):
        ours.pop(name, None)
        tars.pop(name, None)
    assert ours == tars
    modes = {stat.S_IMODE(path.lstat().st_mode) for path in staged.rglob("*") if path.is_file()}
    assert modes == {0o600} and stat.S_IMODE(staged.stat().st_mode) == 0o700
    assert seen == sorted(seen) and seen[-1] == fetched.plain_bytes == stored.backup.plain_bytes
    files = [path for path in stored.directory.iterdir() if path.name != "backup.json"]
    assert fetched.stored_bytes == sum(path.stat().st_size for path in files)
    # The one file that we wrote anew is the only one that differs for PostgreSQL.
    shutil.copy(stored.directory / "backup_manifest", staged)
    said = subprocess.run(
        [stored.bin_directory / "pg_verifybackup", "-n", "-i", "tablespace_map", str(staged)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert stored.engine.verify_backup(LABEL) == fetched


def test_tablespaces_that_are_not_mapped_go_where_they_were(stored: Stored, tmp_path: Path) -> None:
    place = tmp_path / "as before"
    spaces = tuple(type(space)(space.oid, str(place), space.name) for space in stored.backup.tablespaces)
    write_backup(stored.repository, stored.backup.changed(tablespaces=spaces))
    stored.engine.fetch_backup(LABEL, str(tmp_path / "staged"))
    assert os.readlink(tmp_path / "staged" / "pg_tblspc" / str(stored.oid)) == str(place)
    assert [path.name[:3] for path in place.iterdir()] == ["PG_"]


def test_the_tablespace_map_escapes_as_the_server_reads(stored: Stored, tmp_path: Path) -> None:
    odd = tmp_path / "back\\slash and\nnewline"
    stored.engine.fetch_backup(LABEL, str(tmp_path / "staged"), tablespace_map={stored.oid: str(odd)})
    text = (tmp_path / "staged" / "tablespace_map").read_text()
    # read_tablespace_map (xlogrecovery.c): a backslash takes the next character as it is.
    value, escaped = "", False
    for character in text.removesuffix("\n").partition(" ")[2]:
        if character == "\\" and not escaped:
            escaped = True
            continue
        value, escaped = value + character, False
    assert value == str(odd)


def repack(path: Path, change: Callable[[dict[str, tuple[tarfile.TarInfo, bytes]]], None]) -> None:
    """Pack an archive again with changed members."""
    members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(damage.plain(path))) as old:
        for info in old:
            handle = old.extractfile(info) if info.isfile() else None
            members[info.name] = (info, handle.read() if handle else b"")
    change(members)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as new:
        for info, content in members.values():
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    damage.store(path, target.getvalue())


def add(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[..., None]:
    def change(members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = kind, link, 0o600
        members[f"added {name}"] = (info, b"" if kind != tarfile.REGTYPE else b"surprise")

    return change


def remove(name: str) -> Callable[..., None]:
    def change(members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
        del members[name]

    return change


def alter(name: str, how: Callable[[bytes], bytes]) -> Callable[..., None]:
    def change(members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
        info, content = members[name]
        members[name] = (info, how(content))

    return change


def twice(members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    members["again"] = members["PG_VERSION"]


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def no_server_could_start(tmp_path: Path) -> None:
    assert not (tmp_path / "staged" / CONTROL).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) in (
        ["repository"],
        ["repository", "staged"],
        ["mapped", "repository", "staged"],
    )


def fails(stored: Stored, tmp_path: Path, code: str, *words: str) -> None:
    """Fetch and verification find the same, and nothing was written but below the two directories."""
    for attempt in ("fetch", "verify"):
        with pytest.raises(KeeperError) as caught:
            if attempt == "fetch":
                stored.engine.fetch_backup(
                    LABEL, str(tmp_path / "staged"), tablespace_map={stored.oid: str(tmp_path / "mapped")}
                )
            else:
                stored.engine.verify_backup(LABEL)
        assert caught.value.code == code, caught.value.to_text()
        assert isinstance(caught.value, Failed)
        for word in words:
            assert word in caught.value.happened
        assert "copy of the repository" in caught.value.remedy
    no_server_could_start(tmp_path)


@pytest.mark.parametrize("name", ["base.tar.zst", "tablespace", "backup_manifest"])
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (damage.delete, "backup-file-missing"),
        (damage.truncate, "backup-file-damaged"),
        (damage.flip_bit, "backup-file-damaged"),
        (lambda path: damage.flip_bit(path, path.stat().st_size - 20), "backup-file-damaged"),
        (damage.zero_fill, "backup-file-damaged"),
        (damage.unreadable, "backup-file-unreadable"),
    ],
)
def test_damage_to_stored_files(
    stored: Stored, tmp_path: Path, name: str, kind: Callable[[Path], None], code: str
) -> None:
    file = f"{stored.oid}.tar.zst" if name == "tablespace" else name
    kind(stored.directory / file)
    fails(stored, tmp_path, code, file)


def test_an_extra_stored_file(stored: Stored, tmp_path: Path) -> None:
    shutil.copy(stored.directory / "base.tar.zst", stored.directory / "99999.tar.zst")
    fails(stored, tmp_path, "backup-file-extra", "99999.tar.zst")


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        (remove("PG_VERSION"), "backup-file-missing", "PG_VERSION"),
        (remove("backup_label"), "backup-file-missing", "backup_label"),
        (remove(CONTROL), "backup-file-missing", CONTROL),
        (alter("PG_VERSION", flipped), "backup-file-damaged", "PG_VERSION: its checksum"),
        (alter("PG_VERSION", lambda content: content + b"x"), "backup-file-damaged", "the manifest says"),
        (alter(CONTROL, flipped), "backup-file-damaged", CONTROL),
        (add("base/surprise"), "backup-file-extra", "base/surprise"),
        (twice, "backup-file-extra", "PG_VERSION"),
        (add("../outside"), "backup-file-damaged", "leads out of the directory"),
        (add("/outside"), "backup-file-damaged", "leads out of the directory"),
        (add("base/../../outside"), "backup-file-damaged", "leads out of the directory"),
        (add("base/link", tarfile.SYMTYPE, "/etc"), "backup-file-damaged", "symbolic link"),
        (add("pg_tblspc/../x", tarfile.SYMTYPE, "/etc"), "backup-file-damaged", "leads out"),
        (add("hard", tarfile.LNKTYPE, "PG_VERSION"), "backup-file-damaged", "does not write"),
        (add("pipe", tarfile.FIFOTYPE), "backup-file-damaged", "does not write"),
    ],
)
def test_damage_inside_an_archive_that_the_catalog_believes(
    stored: Stored, tmp_path: Path, change: Callable[..., None], code: str, word: str
) -> None:
    repack(stored.directory / "base.tar.zst", change)
    enter(stored.repository, stored.backup)
    fails(stored, tmp_path, code, word)


def test_the_largest_file_with_one_wrong_bit(stored: Stored, tmp_path: Path) -> None:
    manifest = json.loads((stored.directory / "backup_manifest").read_text())
    largest = max(
        (file for file in manifest["Files"] if not file["Path"].startswith("pg_tblspc")),
        key=lambda file: file["Size"],
    )["Path"]
    repack(stored.directory / "base.tar.zst", alter(largest, damage.flipped_inside))
    enter(stored.repository, stored.backup)
    fails(stored, tmp_path, "backup-file-damaged", largest)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('"PG_VERSION"', '"PG_VERSIOM"'), "its own checksum"),
        (lambda text: text[: len(text) // 2], "JSONDecodeError"),
        (lambda text: "", "JSONDecodeError"),
    ],
)
def test_a_manifest_that_the_catalog_believes(
    stored: Stored, tmp_path: Path, change: Callable[[str], str], words: str
) -> None:
    path = stored.directory / "backup_manifest"
    path.write_text(change(path.read_text()))
    enter(stored.repository, stored.backup)
    fails(stored, tmp_path, "backup-file-damaged", words)


def test_a_truncated_stream_in_a_whole_container(stored: Stored, tmp_path: Path) -> None:
    path = stored.directory / "base.tar.zst"
    damage.rewrite(path, damage.half_inside)
    enter(stored.repository, stored.backup)
    fails(stored, tmp_path, "backup-file-damaged", "base.tar.zst", "ends too early")


def test_a_manifest_without_backup_label(stored: Stored, tmp_path: Path) -> None:
    """B20: such a backup starts from the wrong checkpoint; a manifest that agrees does not make it better."""
    path = stored.directory / "backup_manifest"
    lines = [line for line in path.read_text().splitlines() if '"backup_label"' not in line]
    body = "\n".join(lines[:-1]) + "\n"
    path.write_text(f'{body}"Manifest-Checksum": "{hashlib.sha256(body.encode()).hexdigest()}"}}\n')
    repack(stored.directory / "base.tar.zst", remove("backup_label"))
    enter(stored.repository, stored.backup)
    fails(stored, tmp_path, "backup-file-missing", "backup_label")


def refuses(stored: Stored, code: str, *arguments: Any, **options: Any) -> KeeperError:
    with pytest.raises(Refused) as caught:
        stored.engine.fetch_backup(*arguments, **options)
    assert caught.value.code == code
    return caught.value


@pytest.mark.parametrize("status", [RUNNING, FAILED, EXPIRED])
def test_backups_that_are_not_verified(stored: Stored, tmp_path: Path, status: str) -> None:
    write_backup(stored.repository, stored.backup.changed(status=status))
    refuses(stored, "backup-not-verified", LABEL, str(tmp_path / "staged"))
    assert not (tmp_path / "staged").exists()
    assert read_catalog(stored.repository).usable() == []


def test_requests_that_cannot_be_meant(stored: Stored, tmp_path: Path) -> None:
    staged, oid = str(tmp_path / "staged"), stored.oid
    refuses(stored, "backup-unknown", "other", staged)
    refuses(stored, "tablespace-unknown", LABEL, staged, tablespace_map={1: "/x"})
    refuses(stored, "tablespace-overlap", LABEL, staged, tablespace_map={oid: f"{staged}/inside"})
    refuses(stored, "tablespace-overlap", LABEL, staged, tablespace_map={oid: staged})
    refuses(stored, "tablespace-overlap", LABEL, f"{staged}/in", tablespace_map={oid: staged})
    assert not (tmp_path / "staged").exists()
    for full in ("staged", "mapped"):
        (tmp_path / full).mkdir()
        (tmp_path / full / "precious").write_text("data")
        refuses(stored, "directory-not-empty", LABEL, staged, tablespace_map={oid: str(tmp_path / "mapped")})
        assert (tmp_path / full / "precious").read_text() == "data"
        shutil.rmtree(tmp_path / full)


def test_a_directory_that_may_not_be_written(stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(Failed) as caught:
        mapped = {stored.oid: str(tmp_path / "mapped")}
        stored.engine.fetch_backup(LABEL, str(tmp_path / "locked" / "staged"), tablespace_map=mapped)
    assert caught.value.code == "staging-not-writable" and "Permission denied" in caught.value.happened


def run_fetch(
    stored: Stored, tmp_path: Path, staged: Path, pause: str, **options: Any
) -> subprocess.Popen[str]:
    mapped = tmp_path / "mapped"
    return engine_process(FETCH, stored.repository.root, LABEL, staged, stored.oid, mapped, pause, **options)


def test_a_really_full_disk_in_the_middle(stored: Stored, tmp_path: Path, sandbox: Sandbox) -> None:
    disk = SmallDisk(sandbox.root / "disk", 12)
    try:
        process = run_fetch(stored, tmp_path, disk.mountpoint / "staged", "", enter=disk.enter)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 3 and err == ""
        assert out.startswith("staging-full ") and "No space left on device" in out
        assert (disk.view / "staged" / "base").is_dir()
        assert not (disk.view / "staged" / CONTROL).exists()
    finally:
        disk.close()


def test_kill_in_the_middle(stored: Stored, tmp_path: Path) -> None:
    process = run_fetch(stored, tmp_path, tmp_path / "staged", "yes")
    assert process.stdout is not None and int(process.stdout.readline()) > 5_000_000
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=240)
    wait_for(lambda: not os.path.exists(f"/proc/{process.pid}"), "its end")
    no_server_could_start(tmp_path)
    shutil.rmtree(tmp_path / "staged")
    shutil.rmtree(tmp_path / "mapped", ignore_errors=True)
    again = run_fetch(stored, tmp_path, tmp_path / "staged", "")
    assert (again.communicate(timeout=240), again.returncode) == (("", ""), 0)
    assert (tmp_path / "staged" / CONTROL).exists()
    assert not (tmp_path / "staged" / f"{CONTROL}.unproven").exists()


def test_nothing_is_left_running(stored: Stored, tmp_path: Path) -> None:
    """A fetch that fails has ended its zstd and its threads."""
    repack(stored.directory / "base.tar.zst", alter("PG_VERSION", flipped))
    enter(stored.repository, stored.backup)
    before = set(threading.enumerate())
    fails(stored, tmp_path, "backup-file-damaged", "PG_VERSION")
    assert set(threading.enumerate()) == before
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in children]
    assert "zstd" not in commands


def test_the_entry_is_the_one_that_was_written(stored: Stored) -> None:
    assert read_backup(stored.repository, LABEL) == stored.backup
