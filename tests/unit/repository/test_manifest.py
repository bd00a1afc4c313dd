# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Backup manifests: the format of the manual, and every way in which one can be wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.manifest import (
    ManifestFile,
    WalRange,
    read_manifest,
)

EMPTY = hashlib.sha256(b"").hexdigest()
FILE = {
    "Path": "PG_VERSION",
    "Size": 3,
    "Last-Modified": "2026-11-21 03:15:00 GMT",
    "Checksum-Algorithm": "SHA256",
    "Checksum": "AB" * 32,
}
RANGE = {"Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "1/100"}


def write(path: Path, *, files: list[dict[str, Any]], version: int = 1, **extra: Any) -> Path:
    """A manifest in the server's way: its last line is the checksum of all the others."""
    head = json.dumps(
        {"PostgreSQL-Backup-Manifest-Version": version, **extra, "Files": files, "WAL-Ranges": [RANGE]}
    )
    body = head[:-1] + ",\n"
    path.write_text(f'{body}"Manifest-Checksum": "{hashlib.sha256(body.encode()).hexdigest()}"}}\n')
    return path


def test_what_a_manifest_says(tmp_path: Path) -> None:
    encoded = FILE | {"Checksum": EMPTY, "Size": 0, "Encoded-Path": b"base/\xff".hex()}
    del encoded["Path"]
    plain = {"Path": "x", "Size": 5, "Last-Modified": ""}
    manifest = read_manifest(str(write(tmp_path / "m", files=[FILE, encoded, plain])), attempted="test")
    assert manifest.files == {
        "PG_VERSION": ManifestFile("PG_VERSION", 3, "sha256", "ab" * 32),
        "base/\udcff": ManifestFile("base/\udcff", 0, "sha256", EMPTY),
        "x": ManifestFile("x", 5, None, None),
    }
    assert manifest.wal_ranges == (WalRange(1, 0x2000028, 0x1_00000100),)
    assert manifest.plain_bytes == 8
    assert manifest.system_id is None


def test_version_2_knows_the_system(tmp_path: Path) -> None:
    path = write(tmp_path / "m", files=[FILE], version=2, **{"System-Identifier": 7512345678901234567})
    assert read_manifest(str(path), attempted="test").system_id == 7512345678901234567


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("PG_VERSION", "PG_VERSIOM"), "its own checksum does not match"),
        (lambda text: text[: len(text) // 2], "JSONDecodeError"),
        (lambda text: "", "JSONDecodeError"),
        (lambda text: "[]", "TypeError"),
        (lambda text: "{}", "KeyError"),
    ],
)
def test_damage_is_told(tmp_path: Path, change: Any, words: str) -> None:
    path = write(tmp_path / "m", files=[FILE])
    path.write_text(change(path.read_text()))
    with pytest.raises(Failed) as caught:
        read_manifest(str(path), attempted="fetch")
    assert caught.value.code == "backup-file-damaged"
    assert words in caught.value.happened


def test_a_version_of_the_future_is_not_guessed_at(tmp_path: Path) -> None:
    path = write(tmp_path / "m", files=[FILE], version=3)
    with pytest.raises(Failed, match="version 3 is unknown"):
        read_manifest(str(path), attempted="fetch")


def test_checksums_that_cannot_be_calculated_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m", files=[FILE | {"Checksum-Algorithm": "CRC32C"}])
    with pytest.raises(Failed) as caught:
        read_manifest(str(path), attempted="fetch")
    assert caught.value.code == "manifest-unsupported"


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        read_manifest(str(tmp_path / "m"), attempted="fetch")
    assert caught.value.code == "backup-file-missing"
