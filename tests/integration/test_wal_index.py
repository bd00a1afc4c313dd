# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The index under kill -9, under two at once, and over WAL of crashed servers and of every segment size."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal import reader
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.archive import Archive
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import Target
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.index import WalIndex

from .harness.cluster import Cluster
from .harness.installation import default_installation, installations
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .wal_archive import PlainArchive, Server, all_records

REFRESH = """
import sys
from tests.integration.wal_archive import PlainArchive
from pathlib import Path
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.index import WalIndex
source = PlainArchive(Path(sys.argv[1]))
def progress(done, total):
    print(done, flush=True)
    if len(sys.argv) > 4:
        sys.stdin.readline()
print(WalIndex(sys.argv[2]).refresh(source, sys.argv[3], progress=progress).indexed)
"""


def filled(sandbox: Sandbox, *, segments: int = 70, segment_mb: int = 1) -> Server:
    """A server with that many archived segments, more than two batches."""
    server = Server(sandbox, "main", default_installation(), segment_mb=segment_mb)
    server.cluster.start()
    server.cluster.sql("CREATE TABLE t (n int, p text)")
    server.backup()
    with server.cluster.connect() as connection:
        while len(server.archive.segments()) < segments:
            connection.execute("INSERT INTO t SELECT n, repeat('x', 900) FROM generate_series(1, 900) n")
    server.close_segment()
    return server


def process(server: Server, index: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", REFRESH, str(server.archive.path), str(index), server.bin_directory, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def same(left: Archive, right: Archive) -> bool:
    return dict(left.entries) == dict(right.entries)


def test_a_killed_refresh_is_finished_by_the_next(sandbox: Sandbox) -> None:
    server = filled(sandbox)
    index = sandbox.root / "killed" / server.cluster.system_id
    running = process(server, index, "stop at the first batch")
    assert running.stdout
    assert int(running.stdout.readline()) > 0
    assert any(name.startswith("scratch.") for name in os.listdir(index))
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    lines = len((index / "index.jsonl").read_bytes().splitlines())
    archive = WalIndex(str(index)).refresh(server.archive, server.bin_directory)
    assert 0 < archive.indexed <= len(archive.entries) - lines + 1
    assert sorted(os.listdir(index)) == ["index.jsonl", "lock"]
    whole = server.index("whole").refresh(server.archive, server.bin_directory)
    assert same(archive, whole)


def test_two_at_once_do_the_work_once(sandbox: Sandbox) -> None:
    server = filled(sandbox)
    index = sandbox.root / "both" / server.cluster.system_id
    running = [process(server, index) for _dummy in range(3)]
    said = [one.communicate()[0].split() for one in running]
    assert [one.returncode for one in running] == [0, 0, 0]
    total = len(server.archive.segments())
    assert sorted(int(words[-1]) for words in said) == [0, 0, total]
    archive = WalIndex(str(index)).refresh(server.archive, server.bin_directory)
    assert archive.indexed == 0 and len(archive.entries) == total


def test_pushes_and_refreshes_side_by_side(sandbox: Sandbox) -> None:
    server = filled(sandbox, segments=40)
    index = server.index("side")
    source = PlainArchive(sandbox.root / "arriving")
    source.path.mkdir()
    errors: list[BaseException] = []

    def refresh() -> None:
        try:
            while not done.is_set():
                server.index("side").refresh(source, server.bin_directory)
        except BaseException as error:
            errors.append(error)

    done = threading.Event()
    refresher = threading.Thread(target=refresh)
    refresher.start()
    try:
        for path in server.archive.segments():
            shutil.copy(path, source.path / f".{path.name}")
            (source.path / f".{path.name}").rename(source.path / path.name)
            stored = next(one for one in source.list_files() if one.name == path.name)
            digest = subprocess.check_output(["sha256sum", path], text=True).split()[0]
            index.add_from_push(str(path), stored, digest, server.bin_directory)
    finally:
        done.set()
        refresher.join()
    assert not errors
    archive = index.refresh(source, server.bin_directory)
    whole = server.index("whole").refresh(source, server.bin_directory)
    assert same(archive, whole)
    assert not any(entry.fault for entry in archive.entries.values())


def test_a_push_never_fails_for_the_index(sandbox: Sandbox) -> None:
    server = filled(sandbox, segments=3)
    first = server.archive.segments()[0]
    stored = next(iter(server.archive.list_files()))
    blocked = sandbox.root / "blocked"
    blocked.write_text("a file where the directory should be")
    assert not WalIndex(str(blocked)).add_from_push(str(first), stored, "x", server.bin_directory)
    assert not WalIndex(str(blocked / "deeper")).add_from_push(str(first), stored, "x", server.bin_directory)
    good = server.index("good")
    assert not good.add_from_push(str(first), stored, "x", "/nonexistent")
    assert not good.add_from_push(str(first) + ".gone", stored, "x", server.bin_directory)
    damaged = sandbox.root / first.name
    data = bytearray(first.read_bytes())
    data[20_000] ^= 1
    damaged.write_bytes(data)
    assert not good.add_from_push(str(damaged), stored, "x", server.bin_directory)
    assert good.refresh(server.archive, server.bin_directory).indexed == len(server.archive.segments())


@pytest.mark.parametrize("majors", [(15, 17), (17, 15), (15, 18)])
def test_the_wrong_pg_waldump_is_refused_and_nothing_is_called_damaged(
    sandbox: Sandbox, majors: tuple[int, int]
) -> None:
    found = installations()
    if not set(majors) <= set(found):
        pytest.fail(f"needs PostgreSQL {majors}, found {sorted(found)}")
    server = Server(sandbox, "main", found[majors[0]])
    server.cluster.start()
    server.close_segment()
    index = server.index()
    with pytest.raises(Refused) as caught:
        index.refresh(server.archive, str(found[majors[1]].bin_directory))
    assert caught.value.code == "version-mismatch" and f"PostgreSQL {majors[0]}" in caught.value.happened
    archive = index.refresh(server.archive, server.bin_directory)
    assert not any(entry.fault for entry in archive.entries.values())


def crash_in_the_middle_of_a_record(cluster: Cluster) -> None:
    """Kill the server while large records are written, and start it again."""

    def write() -> None:
        with cluster.connect() as connection:
            while True:
                connection.execute("SELECT pg_logical_emit_message(false, 'test', repeat('z', 700000))")

    def run(action: Callable[[], None]) -> None:
        # The server dies under it.
        import psycopg

        with pytest.raises(psycopg.Error):
            action()

    writer = threading.Thread(target=run, args=(write,))
    writer.start()
    begin = cluster.value("SELECT pg_current_wal_insert_lsn() - '0/0'")
    wait_for(
        lambda: cluster.value("SELECT pg_current_wal_insert_lsn() - '0/0'") > begin + (5 << 20), "some WAL"
    )
    cluster.crash()
    writer.join()
    cluster.start()


def test_wal_of_a_server_that_crashed_again_and_again(sandbox: Sandbox) -> None:
    server = Server(sandbox, "main", default_installation())
    server.cluster.start()
    server.cluster.sql("CREATE TABLE t (n int)")
    server.backup()
    for n in range(6):
        server.cluster.sql("INSERT INTO t VALUES (%s)", n)
        crash_in_the_middle_of_a_record(server.cluster)
    server.cluster.sql("INSERT INTO t VALUES (100)")
    server.close_segment()
    records = all_records(server)
    overwritten = [line for line in records if line.description.startswith("OVERWRITE_CONTRECORD")]
    proof = server.prove(Target("latest"))
    assert proof.lsn == records[-1].lsn
    archive = server.index().refresh(server.archive, server.bin_directory)
    assert not any(entry.fault for entry in archive.entries.values())
    commits = [line for line in records if line.description.startswith("COMMIT")]
    assert sum(entry.commits for entry in archive.entries.values()) == len(commits)
    # The server reaches the end with these segments, over all the places where it crashed.
    settings = {"recovery_target_lsn": f"{proof.lsn >> 32:X}/{proof.lsn & 0xFFFFFFFF:X}"}
    with server.recover(proof, settings) as recovery:
        assert sorted(recovery.sql("SELECT n FROM t")) == [(0,), (1,), (2,), (3,), (4,), (5,), (100,)]
    # Each segment alone and in any order gives the same.
    source = PlainArchive(sandbox.root / "mixed")
    source.path.mkdir()
    names = [path.name for path in server.archive.segments()]
    for name in random.Random(5).sample(names, len(names)):
        shutil.copy2(server.archive.path / name, source.path / name)
        mixed = server.index("mixed").refresh(source, server.bin_directory)
    assert {n: (e.tail_lsn, e.joined, e.commits, e.fault) for n, e in mixed.entries.items()} == {
        n: (e.tail_lsn, e.joined, e.commits, e.fault) for n, e in archive.entries.items()
    }
    assert overwritten


@pytest.mark.parametrize("spoilt", [None, 3, 9], ids=["sound", "one damaged", "the covered one damaged"])
def test_however_few_are_read_at_a_time_the_same_is_found(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, spoilt: int | None
) -> None:
    """Also where a record covers whole segments: its beginning is kept until its end is read."""
    server = Server(sandbox, "main", default_installation())
    server.cluster.start()
    server.cluster.sql("CREATE TABLE t (n int, p text)")
    server.backup()
    for n in range(3):
        server.cluster.sql("INSERT INTO t SELECT n, repeat('x', 900) FROM generate_series(1, 3000) n")
        server.cluster.sql("SELECT pg_logical_emit_message(true, 'large', repeat('y', %s))", 2_500_000 + n)
    server.close_segment()
    names = [path.name for path in server.archive.segments()]
    assert len(names) > 14
    if spoilt is not None:
        with open(server.archive.path / names[spoilt], "r+b") as handle:
            handle.seek(500_000)
            handle.write(b"damage")
    whole = server.index("whole").refresh(server.archive, server.bin_directory)
    assert (spoilt is None) is not any(entry.fault for entry in whole.entries.values())
    covered = [name for name, entry in whole.entries.items() if entry.first_lsn is None]
    assert covered
    for count in (1, 2, 3, 5):
        monkeypatch.setattr(reader, "GROUP_BYTES", count << 20)
        few = server.index(f"few-{count}").refresh(server.archive, server.bin_directory)
        assert same(whole, few)


@pytest.mark.parametrize("segment_mb", [16, 64])
def test_larger_segments(sandbox: Sandbox, segment_mb: int) -> None:
    server = Server(sandbox, "main", default_installation(), segment_mb=segment_mb)
    server.cluster.start()
    server.cluster.sql("CREATE TABLE t (n int)")
    server.backup()
    xids = []
    for n in range(4):
        with server.cluster.connect() as connection, connection.transaction():
            connection.execute("INSERT INTO t VALUES (%s)", [n])
            xids.append(connection.execute("SELECT txid_current()").fetchall()[0][0])
        server.close_segment()
    for n, xid in enumerate(xids):
        proof = server.prove(Target("xid", xid))
        assert proof.last_commit and proof.last_commit.xid == xid
        assert proof.segments[0].plain_bytes == segment_mb << 20
        settings = {"recovery_target_lsn": f"{proof.lsn >> 32:X}/{proof.lsn & 0xFFFFFFFF:X}"}
        if n in (0, 3):
            with server.recover(proof, settings) as recovery:
                assert sorted(recovery.sql("SELECT n FROM t")) == [(m,) for m in range(n + 1)]


def closed(path: Path) -> None:
    path.chmod(0)


def of_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def of_another_system(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[24] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("hurt", "words"),
    [
        (closed, "Permission denied"),
        (of_zeros, "does not begin as a WAL segment does"),
        (of_another_system, "is of system"),
    ],
)
def test_an_archive_of_which_nothing_can_be_read_is_not_an_empty_one(
    sandbox: Sandbox, hurt: Callable[[Path], None], words: str
) -> None:
    """B08: with nothing known of it yet, "no WAL" would be the answer to expiry, to info and to restore points."""
    server = filled(sandbox, segments=3)
    archive = server.archive.copy(sandbox.root / "hurt")
    known = server.index("known").refresh(archive, server.bin_directory)
    newest = max(known.entries)
    for path in archive.segments():
        hurt(path)
    with pytest.raises(Refused) as caught:
        server.index("new").refresh(archive, server.bin_directory)
    assert caught.value.code == "segment-unreadable" and words in caught.value.happened
    assert f"none of its {len(known.entries)} segments" in caught.value.happened
    assert newest in caught.value.happened
    # Whoever knew it, or has a backup of it, is told of each.
    again = server.index("known").refresh(archive, server.bin_directory)
    assert again.entries.keys() == known.entries.keys()
    assert all(entry.fault for entry in again.entries.values())
    # One that can be read speaks for all.
    good = next(path for path in server.archive.segments() if path.name == min(known.entries))
    (archive.path / good.name).chmod(0o600)
    shutil.copyfile(good, archive.path / good.name)
    told = server.index("new").refresh(archive, server.bin_directory).entries
    assert [name for name, entry in told.items() if entry.fault is None] == [good.name]
    assert told.keys() == known.entries.keys()


def test_an_archive_without_segments_is_an_empty_one(sandbox: Sandbox) -> None:
    server = filled(sandbox, segments=1)
    empty = PlainArchive(sandbox.root / "empty")
    empty.path.mkdir()
    (empty.path / "00000002.history").write_text("1\t0/3000000\tx\n")
    archive = server.index("empty").refresh(empty, server.bin_directory)
    assert archive.entries == {} and archive.report == {
        **archive.report,
        "segments": 0,
        "indexed": 0,
        "faults": 0,
    }
