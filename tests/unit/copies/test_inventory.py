# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is damaged in the repository keeps nothing else from being copied, and is never left out in silence."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.objects import inventory
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import (
    EXPIRED,
    RUNNING,
    VERIFIED,
    Backup,
    StoredFile,
    write_backup,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
FILES = (StoredFile("base.tar.zst", 1, "0" * 64),)


def backup(label: str, status: str, **more: Any) -> Backup:
    """Of one file."""
    facts = {"system_id": 42, "major": 15, "wal_segment_size": 1 << 20, "stopped_at": NOON}
    return Backup(label, status, NOON, files=FILES, **facts, **more)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """With a full backup, an incremental one that is built on it, and one beside."""
    made = Repository(str(tmp_path), "main")
    made.create()
    for label, parent in (("full", None), ("incremental", "full"), ("beside", None)):
        kind = "incremental" if parent else "full"
        write_backup(made, backup(label, VERIFIED, kind=kind, parent=parent))
        Path(made.backup(label), "base.tar.zst").write_bytes(b"x")
    return made


def told(repository: Repository) -> tuple[set[str], set[str]]:
    """What is copied of its backups, and what is told."""
    found = inventory(repository)
    assert all(error.code == "copy-source-damaged" for error in found.damaged)
    return {one.name for one in found.groups}, {error.details["key"] for error in found.damaged}


def test_all_is_well(repository: Repository) -> None:
    assert told(repository) == ({"base/full", "base/incremental", "base/beside"}, set())


@pytest.mark.parametrize("file", [True, False], ids=["its-file", "no-file"])
@pytest.mark.parametrize("entry", ["rot", "[]", "{}", None])
def test_an_entry_that_has_rotted_or_gone(repository: Repository, file: bool, entry: str | None) -> None:
    """With its file or without: neither is an expiry. What is built on it is as lost."""
    place = Path(repository.backup("full"))
    if entry is None:
        (place / "backup.json").unlink()
    else:
        (place / "backup.json").write_text(entry)
    if not file:
        (place / "base.tar.zst").unlink()
    assert told(repository) == ({"base/beside"}, {"base/full", "base/incremental"})


def test_a_file_that_is_missing(repository: Repository) -> None:
    os.unlink(f"{repository.backup('beside')}/base.tar.zst")
    assert told(repository) == ({"base/full", "base/incremental"}, {"base/beside"})
    os.unlink(f"{repository.backup('full')}/base.tar.zst")
    assert told(repository) == ({"base/incremental"}, {"base/full", "base/beside"})


def test_what_nobody_promised_is_not_damaged(repository: Repository) -> None:
    """One that is being taken, one that is being expired, and a directory that is no backup."""
    for label, status in (("running", RUNNING), ("expired", EXPIRED)):
        write_backup(repository, backup(label, status))
    Path(repository.base, "lost+found").mkdir()
    assert told(repository)[1] == set()


@pytest.mark.parametrize("entry", ["rot", "[]", None])
def test_a_dump_whose_entry_has_rotted_or_gone(repository: Repository, entry: str | None) -> None:
    place = Path(repository.path, "dump", "app", "20261121T120000Z-app")
    place.mkdir(parents=True)
    (place / "dump.custom").write_bytes(b"PGDMP")
    if entry is not None:
        (place / "dump.json").write_text(entry)
    copied, damaged = told(repository)
    assert "base/full" in copied and damaged == {"dump/app/20261121T120000Z-app"}
