# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The native archive as a source: two forms of one segment, files that cannot be read, what is no WAL."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import KeeperError, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.archive import push
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.source import NativeWalSource

from .harness import damage
from .harness.installation import default_installation
from .harness.sandbox import Sandbox
from .stored import Wal, make_repository, make_wal


@pytest.fixture(scope="module")
def wal() -> Iterator[Wal]:
    sandbox = Sandbox()
    yield make_wal(sandbox, default_installation(), count=3)
    sandbox.close()


@pytest.fixture
def repository(tmp_path: Path, wal: Wal) -> Repository:
    made = make_repository(tmp_path / "repository")
    for path in wal.segments:
        push(made, str(path), system_id=wal.system_id)
    return made


@pytest.fixture
def victim(repository: Repository, wal: Wal) -> Path:
    return Path(repository.timeline(wal.system_id, 1)) / f"{wal.segments[1].name}.zst"


def fault(repository: Repository, wal: Wal, target: Path) -> KeeperError:
    """The error of fetching the victim, which must leave no file."""
    with pytest.raises(KeeperError) as caught:
        NativeWalSource(repository, wal.system_id).fetch(wal.segments[1].name, str(target))
    assert not target.exists()
    return caught.value


def test_the_same_segment_twice_is_listed_twice(
    repository: Repository, wal: Wal, victim: Path, tmp_path: Path
) -> None:
    source = NativeWalSource(repository, wal.system_id)
    twin = victim.with_suffix("")
    shutil.copyfile(wal.segments[1], twin)
    assert [file.name for file in source.list_files()].count(wal.segments[1].name) == 2
    assert source.fetch(wal.segments[1].name, str(tmp_path / "out")) == wal.digest(1)
    (tmp_path / "out").unlink()
    shutil.copyfile(wal.segments[2], twin)
    error = fault(repository, wal, tmp_path / "out")
    assert error.code == "segment-duplicate" and str(twin) in error.happened and str(victim) in error.happened


def test_other_compressions_are_seen_though_not_read(repository: Repository, wal: Wal, victim: Path) -> None:
    for suffix in (".gz", ".lz4"):
        shutil.copyfile(victim, victim.with_suffix(suffix))
    names = [file.name for file in NativeWalSource(repository, wal.system_id).list_files()]
    assert names.count(wal.segments[1].name) == 3


def test_a_missing_segment(repository: Repository, wal: Wal, victim: Path, tmp_path: Path) -> None:
    victim.unlink()
    assert fault(repository, wal, tmp_path / "out").code == "segment-missing"
    assert len(list(NativeWalSource(repository, wal.system_id).list_files())) == 2


def test_a_repository_that_is_gone_is_not_an_empty_one(
    repository: Repository, wal: Wal, tmp_path: Path
) -> None:
    shutil.rmtree(repository.path)
    source = NativeWalSource(repository, wal.system_id)
    assert fault(repository, wal, tmp_path / "out").code == "repository-missing"
    with pytest.raises(Refused, match="not mounted"):
        list(source.list_files())
    with pytest.raises(Refused, match="not mounted"):
        source.read_history(2)


@pytest.mark.parametrize("kind", [damage.flip_bit, damage.truncate, damage.zero_fill])
def test_stored_bytes_that_cannot_be_unpacked(
    repository: Repository, wal: Wal, victim: Path, tmp_path: Path, kind: Callable[[Path], None]
) -> None:
    kind(victim)
    error = fault(repository, wal, tmp_path / "out")
    assert error.code == "segment-corrupt" and str(victim) in error.happened


@pytest.mark.parametrize("compressed", [True, False])
def test_a_full_target_is_not_taken_for_a_damaged_segment(
    repository: Repository, wal: Wal, victim: Path, tmp_path: Path, compressed: bool
) -> None:
    if not compressed:
        victim.unlink()
        shutil.copyfile(wal.segments[1], victim.with_suffix(""))
    (tmp_path / "out").symlink_to("/dev/full")
    error = fault(repository, wal, tmp_path / "out")
    assert error.code == "staging-full" and "No space left on device" in error.happened


def test_a_segment_that_may_not_be_read(
    repository: Repository, wal: Wal, victim: Path, tmp_path: Path
) -> None:
    damage.unreadable(victim)
    error = fault(repository, wal, tmp_path / "out")
    assert error.code == "segment-unreadable" and "Permission denied" in error.happened
    directory = victim.parent
    directory.chmod(0)
    try:
        with pytest.raises(KeeperError) as caught:
            list(NativeWalSource(repository, wal.system_id).list_files())
    finally:
        directory.chmod(0o700)
    assert caught.value.code == "repository-unreadable"


def test_what_may_not_be_looked_for_is_not_missing(
    repository: Repository, wal: Wal, victim: Path, tmp_path: Path
) -> None:
    """B08: also for the door, which says "none" of a history that is not there, and not of one that it cannot see."""
    source = NativeWalSource(repository, wal.system_id)
    name, archive = wal.segments[1].name, victim.parent.parent
    history = Path(repository.history(wal.system_id, 2))
    assert source.paths("00000002.history") == []
    history.write_text("1\t0/3000000\tx\n")
    for closed in (victim.parent, archive):
        closed.chmod(0)
        try:
            error = fault(repository, wal, tmp_path / "out")
            with pytest.raises(PermissionError):
                source.paths(name)
            if closed == archive:
                with pytest.raises(PermissionError):
                    source.paths(history.name)
        finally:
            closed.chmod(0o700)
        assert error.code == "segment-unreadable" and "Permission denied" in error.happened
    assert source.paths(history.name) == [str(history)]


def test_a_target_that_cannot_be_written(repository: Repository, wal: Wal, tmp_path: Path) -> None:
    error = fault(repository, wal, tmp_path / "nowhere" / "out")
    assert error.code == "segment-write-failed"


def test_what_is_no_wal_is_not_listed(repository: Repository, wal: Wal, victim: Path) -> None:
    for name in (".tmp-x", ".conflict-x.zst", "README", f"{wal.segments[0].name}.part", "0" * 23):
        (victim.parent / name).write_bytes(b"")
    # A segment of another timeline's name lies in the wrong directory.
    shutil.copyfile(victim, victim.with_name(f"00000002{wal.segments[0].name[8:]}.zst"))
    (victim.parent.parent / "notes.txt").write_text("")
    names = [file.name for file in NativeWalSource(repository, wal.system_id).list_files()]
    assert names == [path.name for path in wal.segments]


def test_a_history_that_is_no_text_or_may_not_be_read(repository: Repository, wal: Wal) -> None:
    path = Path(repository.history(wal.system_id, 2))
    path.write_bytes(b"\xff\xfe")
    source = NativeWalSource(repository, wal.system_id)
    with pytest.raises(Refused) as caught:
        source.read_history(2)
    assert caught.value.code == "history-damaged"
    path.chmod(0)
    with pytest.raises(Refused) as caught:
        source.read_history(2)
    assert caught.value.code == "history-unreadable"
