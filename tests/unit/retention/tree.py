# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A life as files: a repository with small files and a warm index, and an expiry that dies at any of its deeds."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.files import write_json
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.locks import owner_record
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import (
    EXPIRED,
    StoredFile,
    read_catalog,
    write_backup,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.dumps import (
    read_shelf,
    write_dump_entry,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.given_up import note_given_up
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.source import stored_wal
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.expiry import expire
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.identity import ArchiveFacts
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.segment import history_name
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.store import Store
from tests.unit.retention.dumps import DumpLife
from tests.unit.retention.history import SIZE, SYSTEM, Life

FILES = ("base.tar.zst", "backup_manifest")
NO_PROGRAMS = "/nonexistent"


class Killed(BaseException):
    """As kill -9 would: nothing catches it."""


def plant(life: Life, root: Path) -> Repository:
    """The repository of a life."""
    repository = Repository(str(root), "main")
    repository.create()
    for backup in life.backups:
        owner = (
            owner_record("test") if backup.label in life.alive else {"pid": 0, "host": os.uname().nodename}
        )
        files = tuple(StoredFile(name, 5, "00" * 32) for name in FILES)
        write_backup(repository, replace(backup, owner=owner, files=files))
        for name in FILES:
            Path(repository.backup(backup.label), name).write_text("bytes")
    shelved = shelf_of(life)
    for dump in shelved.dumps:
        alive = dump.key in shelved.alive
        owner = owner_record("test") if alive else {"pid": 0, "host": os.uname().nodename}
        write_dump_entry(repository, replace(dump, owner=owner))
        if dump.data:
            Path(dump.path(repository)).write_text("bytes")
    for lease in [*life.leases, *shelved.leases]:
        value = asdict(lease)
        del value["damaged"]
        write_json(f"{repository.leases}/{lease.id}.json", value)
    for notes in life.notes.values():
        for note in notes:
            note_given_up(repository, note)
    entries = life.entries()
    for timeline in life.archived:
        Path(repository.timeline(SYSTEM, timeline)).mkdir(parents=True, exist_ok=True)
    for child in life.forks:
        told = [life.forks[t] for t, _end in life.ancestry(child) if t in life.forks]
        lines = [f"{one}\t{at >> 32:X}/{at & 0xFFFFFFFF:X}\tx\n" for one, at in reversed(told)]
        Path(repository.wal(SYSTEM), history_name(child)).write_text("".join(lines))
    signed = {}
    for name, entry in entries.items():
        path = f"{repository.timeline(SYSTEM, int(name[:8], 16))}/{name}.zst"
        Path(path).write_text("bytes")
        signed[name] = replace(entry, signature=stored_wal(name, path).signature)
    Path(repository.index(SYSTEM)).mkdir(parents=True, exist_ok=True)
    Store(f"{repository.index(SYSTEM)}/index.jsonl", ArchiveFacts(SYSTEM, SIZE, 15)).replace(signed)
    return repository


def shelf_of(life: Life) -> DumpLife:
    """The dumps that lie beside a life's backups."""
    return DumpLife(life.seed, most=5)


def left_dumps(repository: Repository) -> set[str]:
    """The keys that are listed and not marked, after making sure that each good one is whole."""
    shelf = read_shelf(repository)
    assert not shelf.damaged, shelf.damaged
    for one in shelf.dumps:
        if one.finished:
            assert os.path.exists(one.path(repository)), f"{one.key} is listed and broken"
    return {one.key for one in shelf.dumps if one.status != EXPIRED}


def run(
    life: Life, repository: Repository, *, die_at: int | None = None
) -> tuple[int, dict[str, Any] | None]:
    """Expire, killed before the deed of that number; how many deeds there were, and the result."""
    deeds = 0

    def watch(_deed: str) -> None:
        nonlocal deeds
        if deeds == die_at:
            raise Killed
        deeds += 1

    live = (SYSTEM, life.timeline) if life.seed % 2 else None
    result = None
    with contextlib.suppress(Killed):
        dumps = shelf_of(life).policy
        result = expire(
            repository, life.policy, NO_PROGRAMS, dumps=dumps, live=live, now=life.clock, watch=watch
        )
    return deeds, result


def left(repository: Repository) -> tuple[set[str], set[tuple[int, int]]]:
    """The labels that are listed and not marked, after making sure that each is whole; and the segments."""
    catalog = read_catalog(repository)
    assert not catalog.damaged, catalog.damaged
    listed = set()
    for backup in catalog.backups:
        if backup.status == EXPIRED:
            continue
        listed.add(backup.label)
        names = os.listdir(repository.backup(backup.label))
        assert set(FILES) <= set(names), f"{backup.label} is listed and has {names}"
    present = set()
    for path in Path(repository.wal(SYSTEM)).glob("*/*.zst"):
        present.add((int(path.name[:8], 16), int(path.name[16:24], 16)))
    return listed, present


def histories(repository: Repository) -> set[str]:
    """The history files."""
    return {path.name for path in Path(repository.wal(SYSTEM)).glob("*.history")}


def nothing_of_ours(repository: Repository) -> None:
    """No marked backup, no directory put aside, no temporary file."""
    assert not [one.label for one in read_catalog(repository).backups if one.status == EXPIRED]
    assert not [name for name in os.listdir(repository.base) if name.startswith(".")]
    assert not [one.key for one in read_shelf(repository).dumps if one.status == EXPIRED]
    assert not [*Path(repository.path, "dump").glob("*/.*")]
