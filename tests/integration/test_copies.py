# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Copies of a real repository: complete, verified, in the order that a crash may interrupt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness.cluster import Cluster
from tests.integration.harness.objectstore import ObjectStore
from tests.integration.harness.sandbox import Sandbox


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
    ours = files_of(busy.repository / "main")
    assert {key: vault.bytes_of(f"pg/main/{key}") for key in ours} == ours
    assert result["sent"]["objects"] == len(ours)
    assert busy.keeper("copy").expect(0)["changed"] is False
