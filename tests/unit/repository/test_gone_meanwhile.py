# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a listing named may be gone, renamed or only just begun when it is looked at: others work here at the same time.

The moment between listing and looking is made to last: the system's own listing is followed at once by what another
process does, so that what is looked at next is never as it was listed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.directory import DirectoryStore
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.objects import inventory
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core import files as core_files
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.files import digest, remove_tree
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.dump_state import left_behind
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import (
    EXPIRED,
    FAILED,
    RUNNING,
    VERIFIED,
    Backup,
    StoredFile,
    read_catalog,
    write_backup,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.dumps import (
    Dump,
    Shelf,
    read_shelf,
    write_dump_entry,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.evidence import (
    list_evidence,
    write_evidence,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.leases import (
    list_leases,
    take_lease,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.leftovers import leftovers
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.remote import intake
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.selection import Selection
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.source import NativeWalSource
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.check_there import _arrivals
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.verify_base import signature_of

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
SYSTEM = 42
SEGMENTS = [f"00000001000000000000000{number}" for number in (1, 2, 3)]

Between = Callable[[str, Callable[[], Any]], None]


class Listed:
    """What ``os.scandir`` gives, read to its end already."""

    def __init__(self, found: list[os.DirEntry[str]]) -> None:
        self._left = iter(found)

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self._left

    def __next__(self) -> os.DirEntry[str]:
        return next(self._left)

    def __enter__(self) -> Listed:
        return self

    def __exit__(self, *_dummy: object) -> None:
        """Nothing is held."""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(str(tmp_path), "main")
    made.create()
    return made


@pytest.fixture
def after_listing(monkeypatch: pytest.MonkeyPatch) -> Between:
    """Do something just once, right after a directory was listed, by whichever of the two means."""
    deeds: dict[str, Callable[[], Any]] = {}
    listdir, scandir = os.listdir, os.scandir

    def done(path: Any) -> None:
        deed = deeds.pop(str(path).rstrip("/"), None)
        if deed is not None:
            deed()

    def slow_listdir(path: Any = ".") -> list[str]:
        names = listdir(path)
        done(path)
        return names

    def slow_scandir(path: Any = ".") -> Any:
        if str(path).rstrip("/") not in deeds:
            return scandir(path)
        with scandir(path) as listed:
            found = list(listed)
        done(path)
        return Listed(found)

    monkeypatch.setattr(os, "listdir", slow_listdir)
    monkeypatch.setattr(os, "scandir", slow_scandir)
    return deeds.__setitem__


def backup(repository: Repository, label: str = "20261121T120000Z-full", **values: Any) -> Backup:
    facts: dict[str, Any] = {
        "status": VERIFIED,
        "started_at": NOON,
        "stopped_at": NOON,
        "system_id": SYSTEM,
        "major": 15,
        "wal_segment_size": 16 << 20,
        "timeline": 1,
        "start_lsn": 0x1000028,
        "stop_lsn": 0x1000138,
    }
    made = Backup(label=label, **(facts | values))
    write_backup(repository, made)
    return made


def archived(repository: Repository, timeline: str = "00000001") -> Path:
    directory = Path(repository.wal(SYSTEM)) / timeline
    directory.mkdir(parents=True)
    for name in SEGMENTS:
        (directory / f"{name}.zst").write_bytes(b"packed")
    return directory


def test_a_backup_that_expires_while_it_is_listed_is_not_damaged(
    repository: Repository, after_listing: Between
) -> None:
    kept, gone = backup(repository, "kept"), backup(repository, "gone")
    aside = f"{repository.base}/.expired-gone"
    after_listing(repository.base, lambda: os.rename(repository.backup("gone"), aside))
    assert gone.label not in repository.documents("base")
    os.rename(aside, repository.backup("gone"))
    read = Repository.document

    def slow_document(self: Repository, kind: str, name: str) -> bytes:
        if name == gone.label and not os.path.lexists(aside):
            os.rename(repository.backup("gone"), aside)
        return read(self, kind, name)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Repository, "document", slow_document)
        found = read_catalog(repository)
    assert ([one.label for one in found.backups], found.damaged) == ([kept.label], ())


def test_a_backup_that_begins_has_its_entry_from_the_first(repository: Repository) -> None:
    """Whatever is seen of it at any moment: it is not there, or it is there with its entry."""
    seen: list[tuple[list[str], int]] = []
    rename, mkdir = os.rename, os.mkdir

    def look() -> None:
        found = read_catalog(repository)
        seen.append(([one.label for one in found.backups], len(found.damaged)))

    def slow_rename(*arguments: Any, **more: Any) -> None:
        look()
        rename(*arguments, **more)
        look()

    def slow_mkdir(*arguments: Any, **more: Any) -> None:
        mkdir(*arguments, **more)
        look()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "rename", slow_rename)
        patched.setattr(os, "mkdir", slow_mkdir)
        made = backup(repository, status=RUNNING)
    assert len(seen) >= 4
    assert {damaged for _labels, damaged in seen} == {0}
    assert (seen[0][0], seen[-1][0]) == ([], [made.label])
    # Written again it stays where it is.
    write_backup(repository, made.changed(status=FAILED))
    assert read_catalog(repository).backups[0].status == FAILED
    assert os.listdir(repository.base) == [made.label]


def test_what_a_killed_beginning_left_is_told_and_in_nobodys_way(repository: Repository) -> None:
    left = Path(f"{repository.base}/{core_files.TEMPORARY_PREFIX}20261121T120000Z-full")
    left.mkdir()
    (left / "backup.json").write_text("{")
    assert [one["path"] for one in leftovers(repository, None, NOON.timestamp())] == [str(left)]
    assert read_catalog(repository).damaged == ()
    backup(repository)
    assert (left.exists(), len(read_catalog(repository).backups)) == (False, 1)


@pytest.mark.parametrize("kind", ["leases", "evidence"])
def test_papers_that_are_taken_away_while_they_are_listed(
    repository: Repository, after_listing: Between, kind: str
) -> None:
    for name in ("one", "two"):
        take_lease(repository, name, purpose="restore")
        write_evidence(repository, name, {"reached": "0/1"})
    directory = f"{repository.path}/{kind}"
    after_listing(directory, lambda: os.unlink(f"{directory}/one.json"))
    assert list(repository.documents(kind)) == ["two"]
    assert [one.id for one in list_leases(repository)][-1] == "two"
    assert all("error" not in one for one in list_evidence(repository))


def test_segments_histories_and_timelines_that_expire_while_they_are_listed(
    repository: Repository, after_listing: Between
) -> None:
    kept, gone = archived(repository), archived(repository, "00000002")
    history = Path(f"{repository.wal(SYSTEM)}/00000002.history")
    history.write_text("1\t0/2000000\tno recovery target specified\n")

    def expire() -> None:
        shutil.rmtree(gone)
        history.unlink()

    source = NativeWalSource(repository, SYSTEM)
    after_listing(repository.wal(SYSTEM), expire)
    after_listing(str(kept), (kept / f"{SEGMENTS[0]}.zst").unlink)
    assert [stored.name for stored in source.list_files()] == SEGMENTS[1:]


def test_an_archive_that_is_unmounted_while_it_is_listed_is_not_empty(
    repository: Repository, after_listing: Between
) -> None:
    archived(repository)
    Path(f"{repository.wal(SYSTEM)}/00000002.history").write_text("")
    after_listing(repository.wal(SYSTEM), lambda: os.rename(repository.path, f"{repository.path}.unmounted"))
    with pytest.raises(Refused) as caught:
        list(NativeWalSource(repository, SYSTEM).list_files())
    assert caught.value.code == "repository-missing"


def test_a_streamed_segment_that_is_finished_while_it_is_fetched(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in the place where it is streamed into, and in the archive when it is opened."""
    spool, archive = Path(repository.receive(SYSTEM)), Path(repository.timeline(SYSTEM, 1))
    spool.mkdir(parents=True)
    archive.mkdir(parents=True)
    name = SEGMENTS[0]
    (spool / name).write_bytes(b"plain" * 1000)
    expected = digest(str(spool / name))
    opened = os.open

    def slow_open(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path) == str(spool / name) and (spool / name).exists():
            os.rename(spool / name, archive / name)
        return opened(path, *arguments, **more)

    monkeypatch.setattr(os, "open", slow_open)
    assert NativeWalSource(repository, SYSTEM).fetch(name, str(tmp_path / "target")) == expected
    assert (tmp_path / "target").read_bytes() == b"plain" * 1000
    os.unlink(archive / name)
    with pytest.raises(Refused) as caught:
        NativeWalSource(repository, SYSTEM).fetch(name, None)
    assert caught.value.code == "segment-missing"


def test_arrivals_while_an_expiry_goes_on(repository: Repository, after_listing: Between) -> None:
    kept, gone = archived(repository), archived(repository, "00000002")
    after_listing(repository.wal(SYSTEM), lambda: shutil.rmtree(gone))
    after_listing(str(kept), (kept / f"{SEGMENTS[0]}.zst").unlink)
    assert sorted(name for _age, name in _arrivals(repository)) == SEGMENTS[1:]


def test_a_backup_that_expires_before_it_is_verified(repository: Repository, after_listing: Between) -> None:
    made = backup(repository)
    directory = Path(repository.backup(made.label))
    (directory / "base.tar.zst").write_bytes(b"x")
    before = signature_of(repository, made)
    after_listing(str(directory), (directory / "base.tar.zst").unlink)
    assert signature_of(repository, made) != before
    shutil.rmtree(directory)
    assert signature_of(repository, made) != before


def dump(repository: Repository, label: str, status: str) -> Dump:
    made = Dump(
        database="shop",
        label=label,
        series="custom",
        sequence=1,
        status=status,
        started_at=NOON,
        format="custom",
        selection=Selection(),
        system_id=SYSTEM,
        major=15,
    )
    write_dump_entry(repository, made)
    return made


def test_dumps_that_expire_or_begin_while_they_are_listed(
    repository: Repository, after_listing: Between
) -> None:
    kept, gone = dump(repository, "kept", VERIFIED), dump(repository, "gone", VERIFIED)
    above = os.path.dirname(gone.directory(repository))
    after_listing(above, lambda: os.rename(gone.directory(repository), f"{above}/.expired-gone"))
    found = read_shelf(repository)
    assert ([one.label for one in found.dumps], found.damaged) == (["kept"], ())
    # The first look misses the entry, which is there when its directory is looked at.
    entry = Path(f"{kept.directory(repository)}/dump.json")
    hidden = entry.with_name(".tmp-entry")
    entry.rename(hidden)
    assert read_shelf(repository) == Shelf((), ())
    (entry.parent / "dump.custom").write_bytes(b"PGDMP")
    after_listing(str(entry.parent), lambda: hidden.rename(entry))
    found = read_shelf(repository)
    assert ([one.label for one in found.dumps], found.damaged) == (["kept"], ())


def test_an_entry_that_is_lost_is_still_damaged(repository: Repository) -> None:
    lost = dump(repository, "lost", VERIFIED)
    Path(f"{lost.directory(repository)}/dump.custom").write_bytes(b"PGDMP")
    os.unlink(f"{lost.directory(repository)}/dump.json")
    assert [one.key for one in read_shelf(repository).damaged] == [lost.key]


def test_a_failed_dump_that_was_taken_away_is_nobodys_to_discard(repository: Repository) -> None:
    left, gone = dump(repository, "left", FAILED), dump(repository, "gone", FAILED)
    Path(f"{left.directory(repository)}/dump.custom").write_bytes(b"x")
    shutil.rmtree(gone.directory(repository))
    assert left_behind(repository, [left, gone]) == (left,)


def test_what_expires_while_it_is_listed_for_a_copy(repository: Repository, after_listing: Between) -> None:
    archived(repository)
    history = Path(f"{repository.wal(SYSTEM)}/00000002.history")
    history.write_text("1\t0/2000000\tno recovery target specified\n")
    kept, gone = (
        backup(repository, label, files=(StoredFile("base.tar.zst", 1, "0" * 64),))
        for label in ("kept", "gone")
    )
    for one in (kept, gone):
        Path(f"{repository.backup(one.label)}/base.tar.zst").write_bytes(b"x")
    write_evidence(repository, "one", {})
    write_evidence(repository, "two", {})

    after_listing(repository.wal(SYSTEM), history.unlink)
    after_listing(repository.evidence, lambda: os.unlink(f"{repository.evidence}/one.json"))
    read = Repository.document

    def slow_document(self: Repository, kind: str, name: str) -> bytes:
        text = read(self, kind, name)
        if (kind, name) == ("base", "gone") and json.loads(text)["status"] == VERIFIED:
            write_backup(repository, gone.changed(status=EXPIRED))
            os.unlink(f"{repository.backup('gone')}/base.tar.zst")
        return text

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Repository, "document", slow_document)
        found = inventory(repository)
    groups = {group.name: group for group in found.groups}
    assert found.damaged == ()
    assert "base/kept" in groups and "base/gone" not in groups
    assert [item.key for item in groups["papers/evidence"].items] == ["evidence/two.json"]
    assert f"wal/{SYSTEM}/histories" not in groups


def test_the_rest_of_a_copy_is_listed_although_one_file_went(tmp_path: Path, after_listing: Between) -> None:
    """A listing that ends at the first file that is gone would have everything behind it copied again."""
    for name in ("a/1", "b/1", "b/2", "c/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * 3)
    os.symlink("nowhere", tmp_path / "a" / "0")
    store = DirectoryStore(str(tmp_path))
    after_listing(str(tmp_path), lambda: shutil.rmtree(tmp_path / "c"))
    assert store.names("") == {"a/1": 3, "b/1": 3, "b/2": 3}
    assert store.names("d") == {}
    for name in ("a/.copying-1", "b/.copying-1"):
        (tmp_path / name).write_bytes(b"")
    after_listing(str(tmp_path / "a"), (tmp_path / "a" / ".copying-1").unlink)
    store.tidy()
    assert not list(tmp_path.glob("*/.copying-*"))


def test_a_tree_from_which_others_take_and_into_which_they_put(
    tmp_path: Path, after_listing: Between
) -> None:
    tree = tmp_path / "a.work"
    (tree / "below").mkdir(parents=True)
    for name in ("1", "2", "below/3"):
        (tree / name).write_text("")
    remove, left = os.rmdir, [2]

    def slow_rmdir(path: Any, *arguments: Any, **more: Any) -> None:
        if left[0]:
            # A last file of somebody who is being ended.
            left[0] -= 1
            (tree / f"late-{left[0]}").write_text("")
        remove(path, *arguments, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "rmdir", slow_rmdir)
        remove_tree(str(tree), made_by_us=".work")
    assert (tree.exists(), left) == (False, [0])
    remove_tree(str(tree), made_by_us=".work")


def test_a_temporary_file_that_is_swept_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another door sweeps between our opening and our locking: then it is made again, or nothing could be named."""
    lock, swept = intake.fcntl.flock, []

    def slow_flock(handle: int, kind: int) -> None:
        if not swept:
            swept.append(handle)
            for path in tmp_path.iterdir():
                path.unlink()
        lock(handle, kind)

    monkeypatch.setattr(intake.fcntl, "flock", slow_flock)
    received = intake.Received(str(tmp_path), "x")
    os.write(received.handle, b"content")
    received.link(str(tmp_path / "final"))
    received.close()
    assert (swept, (tmp_path / "final").read_bytes()) == ([received.handle], b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
