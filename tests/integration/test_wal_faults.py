# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Every kind of damage to an archived segment is refused, named, and told with what can still be reached."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import Target

from .harness.installation import default_installation
from .harness.sandbox import Sandbox
from .wal_archive import PlainArchive, Server, number

WHERE = 4


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    sandbox = Sandbox()
    server = Server(sandbox, "main", default_installation())
    server.cluster.start()
    server.cluster.sql("CREATE TABLE t (n int, p text)")
    server.backup()
    for step in range(9):
        for _dummy in range(5):
            server.cluster.sql("INSERT INTO t SELECT %s, repeat('x', 1000) FROM generate_series(1, 40)", step)
        server.close_segment()
    yield server
    sandbox.close()


@pytest.fixture
def archive(server: Server, tmp_path: Path) -> PlainArchive:
    return server.archive.copy(tmp_path / "archive")


def victim(server: Server, archive: PlainArchive) -> Path:
    """A segment in the middle of what follows the backup."""
    start = server.backups[0].start_lsn // server.backups[0].wal_segment_size
    return next(p for p in archive.segments() if int(p.name[16:], 16) == start + WHERE)


def neighbour(path: Path, distance: int) -> Path:
    return path.with_name(f"{path.name[:16]}{int(path.name[16:], 16) + distance:08X}")


def flip(path: Path, offset: int) -> None:
    with open(path, "r+b") as handle:
        handle.seek(offset)
        byte = handle.read(1)[0]
        handle.seek(offset)
        handle.write(bytes([byte ^ 0x10]))


def swap(path: Path) -> None:
    other = neighbour(path, 2)
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def foreign(path: Path) -> None:
    """The same segment as another system would have written it."""
    data = bytearray(path.read_bytes())
    data[24:32] = (int.from_bytes(data[24:32], sys.byteorder) + 1).to_bytes(8, sys.byteorder)
    path.write_bytes(data)


def used_bytes(path: Path) -> int:
    """How much of a segment holds records: the rest is zeros after the switch."""
    return len(path.read_bytes().rstrip(b"\0"))


DAMAGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing": (lambda p: p.unlink(), "segment-missing", "is missing"),
    "empty": (lambda p: p.write_bytes(b""), "segment-wrong-size", "0 bytes instead of 1048576"),
    "truncated": (lambda p: os.truncate(p, 700_000), "segment-wrong-size", "700000 bytes instead of"),
    "too long": (lambda p: os.truncate(p, 1_048_577), "segment-wrong-size", "1048577 bytes instead of"),
    "zeros": (lambda p: p.write_bytes(bytes(1 << 20)), "segment-zero-filled", "filled with zeros"),
    "zeros from the second page": (
        lambda p: p.write_bytes(p.read_bytes()[:8192] + bytes((1 << 20) - 8192)),
        "segment-corrupt",
        "pg_waldump says",
    ),
    "swapped": (swap, "segment-wrong-content", "the content of 0000000100000000"),
    "copied over": (
        lambda p: p.write_bytes(neighbour(p, 1).read_bytes()),
        "segment-wrong-content",
        "the content of 0000000100000000",
    ),
    "of another system": (foreign, "segment-wrong-system", "belongs to the cluster with system identifier"),
    "garbage": (lambda p: p.write_bytes(os.urandom(1 << 20)), "segment-corrupt", "WAL page"),
    "bit flipped in a record": (lambda p: flip(p, 30_000), "segment-corrupt", "pg_waldump says"),
    "bit flipped in a page header": (lambda p: flip(p, 8192 * 3 + 10), "segment-corrupt", "pg_waldump says"),
    "bit flipped in the last record": (
        lambda p: flip(p, used_bytes(p) - 12),
        "segment-corrupt",
        "",
    ),
    "unreadable": (lambda p: p.chmod(0), "segment-unreadable", "Permission denied"),
    "a directory": (lambda p: (p.unlink(), p.mkdir()), "segment-unreadable", ""),
    "a link to nowhere": (lambda p: (p.unlink(), p.symlink_to("/nonexistent")), "segment-unreadable", ""),
    "twice": (
        lambda p: p.with_name(p.name + ".copy").write_bytes(b"other"),
        "segment-duplicate",
        "stored more than once",
    ),
}


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused(
    server: Server, archive: PlainArchive, damage: str, warm: bool, tmp_path: Path
) -> None:
    act, code, text = DAMAGES[damage]
    path = victim(server, archive)
    index = f"index-{damage}-{warm}".replace(" ", "-")
    sound = server.prove(Target("latest"), archive=archive, index=index) if warm else None
    act(path)
    before = listing(archive)
    with pytest.raises(Refused) as caught:
        server.prove(Target("latest"), archive=archive, index=index)
    error = caught.value
    assert (error.code, error.details["first"]) == (code, path.name)
    assert path.name in error.happened and text in error.happened
    assert listing(archive) == before
    # The nearest choice that the refusal names works, and the segment at fault is not needed for it.
    last = error.details["last_reachable_commit"]
    assert f"target LSN {last['lsn']}" in error.remedy
    proof = server.prove(Target("lsn", number(last["lsn"])), archive=archive, index=index)
    assert proof.last_commit and proof.last_commit.xid == last["xid"]
    assert proof.segments[-1].name == neighbour(path, -1).name
    # The same from a time before it, but not from one after it.
    assert server.prove(Target("xid", last["xid"]), archive=archive, index=index).lsn == proof.lsn
    with pytest.raises(Refused) as caught:
        server.prove(
            Target("time", datetime.now(timezone.utc), allow_idle_gap=True), archive=archive, index=index
        )
    assert caught.value.code == code
    if sound:
        assert sound.newest_reachable and sound.newest_reachable.xid > last["xid"]


def listing(archive: PlainArchive) -> list[tuple[str, int, int]]:
    return [(p.name, p.lstat().st_size, p.lstat().st_mtime_ns) for p in sorted(archive.path.iterdir())]


def test_what_is_mended_is_believed_again(server: Server, archive: PlainArchive) -> None:
    path = victim(server, archive)
    good = path.read_bytes()
    sound = server.prove(Target("latest"), archive=archive, index="mend")
    for act in (lambda: path.chmod(0), lambda: flip(path, 30_000), path.unlink):
        act()
        with pytest.raises(Refused):
            server.prove(Target("latest"), archive=archive, index="mend")
        if path.exists():
            path.chmod(0o600)
        path.write_bytes(good)
        assert server.prove(Target("latest"), archive=archive, index="mend") == sound


def test_several_missing_segments_are_named_from_first_to_last(server: Server, archive: PlainArchive) -> None:
    path = victim(server, archive)
    for distance in range(3):
        neighbour(path, distance).unlink()
    with pytest.raises(Refused) as caught:
        server.prove(Target("latest"), archive=archive, index="several")
    details = caught.value.details
    assert (details["first"], details["last"]) == (path.name, neighbour(path, 2).name)


def test_every_flipped_bit_is_seen(server: Server, archive: PlainArchive) -> None:
    """One flip in each of many places of the used part, page headers and record headers included."""
    path = victim(server, archive)
    good = path.read_bytes()
    used = used_bytes(path)
    seen = 0
    for place in range(64, used, used // 40):
        flip(path, place)
        try:
            server.prove(Target("latest"), archive=archive, index="flips")
        except Refused as error:
            assert error.code.startswith("segment-")
            assert error.details["first"] in (path.name, neighbour(path, 1).name)
            seen += 1
        else:
            # Only what no record covers may go unseen: the padding between records.
            assert padding(server, path, good, place)
        path.write_bytes(good)
    assert seen > 30


def padding(server: Server, path: Path, good: bytes, place: int) -> bool:
    """Whether the server's own reader finds the damaged file sound, too."""
    program = server.cluster.installation.program("pg_waldump")
    done = subprocess.run([program, "-q", str(path)], check=False, capture_output=True, text=True)
    return "error" not in done.stderr or "past the end" in done.stderr


def test_a_backup_whose_own_wal_is_broken_is_no_way(server: Server, archive: PlainArchive) -> None:
    start = server.backups[0].start_lsn // (1 << 20)
    path = next(p for p in archive.segments() if int(p.name[16:], 16) == start)
    path.unlink()
    with pytest.raises(Refused) as caught:
        server.prove(Target("immediate"), archive=archive, index="own")
    assert caught.value.code == "segment-missing" and path.name in caught.value.happened
    assert caught.value.details["last_reachable_commit"] is None


def test_an_empty_archive(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused) as caught:
        server.prove(Target("latest"), archive=PlainArchive(tmp_path / "empty"), index="empty")
    assert caught.value.code == "segment-missing"


def test_no_backup(server: Server) -> None:
    backups, server.backups = server.backups, []
    try:
        with pytest.raises(Refused) as caught:
            server.prove(Target("latest"), index="none")
    finally:
        server.backups = backups
    assert caught.value.code == "no-backup"
