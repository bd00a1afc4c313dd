# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Incremental base backups of real servers (17 and later): chains that are taken, and what begins one anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .backup_help import base, entries, stored
from .harness.cluster import Cluster
from .harness.installation import Installation, installations

#: Those that have incremental backups.
SUMMARIZING = {major: found for major, found in installations().items() if major >= 17}
ON = {"summarize_wal": "on", "wal_keep_size": "1GB"}


@pytest.mark.parametrize("installation", SUMMARIZING.values(), ids=lambda found: str(found.major))
def test_an_incremental_backup_is_built_on_the_one_before(
    make_cluster: Callable[..., Cluster], installation: Installation
) -> None:
    cluster = make_cluster(installation=installation, settings=ON)
    first = cluster.keeper("backup").expect(0)
    assert (first["plan"]["kind"], first["plan"]["chain"]) == ("full", [])
    assert "no verified backup to build on" in first["plan"]["reason"]
    cluster.sql("CREATE TABLE more AS SELECT generate_series(1, 1000) AS n")
    second = cluster.keeper("backup").expect(0)
    root, entry = first["backup"]["label"], second["backup"]
    assert second["plan"]["chain"] == [root]
    assert (entry["kind"], entry["parent"], entry["label"].rpartition("-")[2]) == (
        "incremental",
        root,
        "incremental",
    )
    assert entry["stored_bytes"] < first["backup"]["stored_bytes"] / 3
    third = cluster.keeper("backup").expect(0)
    assert third["plan"]["chain"] == [root, entry["label"]]
    for label, value in entries(cluster).items():
        assert {item["name"]: (item["stored_bytes"], item["digest"]) for item in value["files"]} == stored(
            base(cluster) / label
        )
    assert [path for path in manifest(base(cluster) / entry["label"]) if "INCREMENTAL." in path]


def manifest(directory: Path) -> list[str]:
    """The files that a backup holds."""
    return [item["Path"] for item in json.loads((directory / "backup_manifest").read_text())["Files"]]
