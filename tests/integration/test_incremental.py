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
from .harness.installation import Installation, a_major_a_day, installations
from .harness.sandbox import Sandbox
from .harness.workload import recovered_rows
from .harness.world import World

#: Those that have incremental backups.
SUMMARIZING = {major: found for major, found in installations().items() if major >= 17}
CONFIRM = ("--confirm", "main")
ON = {"summarize_wal": "on", "wal_keep_size": "1GB"}


@pytest.mark.parametrize(
    "installation",
    [
        pytest.param(found, id=str(major), marks=() if major == 18 else pytest.mark.matrix)
        for major, found in SUMMARIZING.items()
    ],
)
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


@pytest.mark.parametrize("major", a_major_a_day(least=17))
def test_a_chain_is_combined_and_restored(sandbox: Sandbox, major: int) -> None:
    """With a tablespace, and with tables that came, changed and went between the links."""
    cluster = Cluster(sandbox, installation=installations()[major], settings=ON).start()
    place = cluster.root / "fast space"
    place.mkdir()
    cluster.sql(f"CREATE TABLESPACE fast LOCATION '{place}'")
    cluster.sql("CREATE TABLE still AS SELECT n, repeat('x', 200) AS t FROM generate_series(1, 20000) AS n")
    cluster.sql("CREATE TABLE moving TABLESPACE fast AS SELECT generate_series(1, 20000) AS n")
    world = World.begin(cluster).backup()
    cluster.sql("UPDATE still SET t = 'y' WHERE n % 1000 = 0")
    cluster.sql("CREATE TABLE coming TABLESPACE fast AS SELECT 1 AS n")
    world.work().backup()
    cluster.sql("DELETE FROM moving WHERE n > 10")
    cluster.sql("VACUUM moving")
    cluster.sql("DROP TABLE coming")
    world.work().backup().work().point("here")
    before = sums(cluster)
    world.work().finish()
    kinds = [entry["kind"] for _dummy, entry in sorted(entries(cluster).items())]
    assert kinds == ["full", "incremental", "incremental"]
    answer = cluster.keeper("restore", "--target-name", "here", *CONFIRM).expect(0)
    assert [link["label"] for link in answer["plan"]["chain"]] == [one.label for one in world.backups]
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["here"])
    assert sums(cluster) == before
    assert cluster.value("SELECT pg_relation_filepath('moving')").startswith("pg_tblspc/")
    left = [path.name.split("-")[0] for path in sorted(cluster.parent.iterdir())]
    assert left == ["data", "data.before"]
    assert sorted(path.name.split(".")[-1][:8] for path in cluster.root.glob("fast space*")) == [
        "fast spa",
        "restored",
    ]
    # The new timeline begins with a full backup, and says why.
    newest = max(entries(cluster).values(), key=lambda entry: str(entry["started_at"]))
    assert (newest["kind"], newest["timeline"]) == ("full", 2)
    cluster.program(
        "pg_amcheck",
        "--all",
        "--install-missing",
        "-h",
        str(cluster.socket_directory),
        "-p",
        str(cluster.port),
        "-U",
        "postgres",
        "--heapallindexed",
    )


def sums(cluster: Cluster) -> tuple[object, ...]:
    """What is in the tables of this test, as the server sees it."""
    return cluster.sql(
        "SELECT (SELECT md5(string_agg(n || t, ',' ORDER BY n)) FROM still), (SELECT sum(n) FROM moving)"
    )[0]


def manifest(directory: Path) -> list[str]:
    """The files that a backup holds."""
    return [item["Path"] for item in json.loads((directory / "backup_manifest").read_text())["Files"]]
