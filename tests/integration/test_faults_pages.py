# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Damaged pages (B19): told by the server while it is copied, or found by pg_amcheck before the swap."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .backup_help import base, entries
from .harness import damage
from .harness.cluster import Cluster
from .harness.installation import Installation, installations
from .harness.sandbox import Sandbox
from .harness.template import Kind
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, World

CONFIRM = ("--confirm", "main")


def flip(cluster: Cluster, relation: str, *blocks: int) -> str:
    """Change bytes in the middle of pages on the disk of a stopped server; the file's path."""
    path = str(cluster.value("SELECT pg_relation_filepath(%s)", relation))
    cluster.sql("CHECKPOINT")
    cluster.stop()
    with open(cluster.data_directory / path, "r+b") as handle:
        for block in blocks:
            handle.seek(block * 8192 + 5000)
            handle.write(b"damage")
    cluster.start()
    return path


@pytest.mark.parametrize(
    "installation",
    [
        pytest.param(found, id=str(major), marks=() if major in (14, 18) else pytest.mark.matrix)
        for major, found in installations().items()
    ],
)
def test_every_major_says_which_files_and_the_copy_is_whole(
    make_cluster: Callable[..., Cluster], installation: Installation
) -> None:
    cluster = make_cluster(installation=installation)
    cluster.sql("CREATE TABLE one AS SELECT generate_series(1, 3000) AS n")
    cluster.sql("CREATE TABLE two AS SELECT 1 AS n")
    other = flip(cluster, "two", 0)
    path = flip(cluster, "one", *range(1, 9))
    error = cluster.keeper("backup").failed("page-checksum-failed", "9 damaged pages in 2 files")
    entry = next(iter(entries(cluster).values()))
    expected = [
        # The server names the first five of a file, and counts them all.
        {"path": path, "count": 8, "blocks": [1, 2, 3, 4, 5]},
        {"path": other, "count": 1, "blocks": [0]},
    ]
    assert entry["page_faults"] == {"count": 9, "files": sorted(expected, key=lambda file: str(file["path"]))}
    assert error["details"]["label"] == entry["label"] and entry["status"] == "verified"
    stored = base(cluster) / entry["label"]
    assert sorted(item.name for item in stored.iterdir()) == [
        "backup.json",
        "backup_manifest",
        "base.tar.zst",
    ]
    place = cluster.root / "unpacked"
    place.mkdir()
    subprocess.run(["tar", "-xC", str(place)], input=damage.plain(stored / "base.tar.zst"), check=True)
    cluster.program("pg_verifybackup", "-n", "-m", str(stored / "backup_manifest"), str(place))


def test_such_a_backup_is_passed_over_refused_by_name_and_taken_where_accepted(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(settings=SETTINGS)
    cluster.sql("CREATE TABLE hurt AS SELECT generate_series(1, 3000) AS n")
    world = World.begin(cluster).work().backup()
    path = flip(cluster, "hurt", 2)
    bad = cluster.keeper("backup").failed("page-checksum-failed", path)["details"]["label"]
    world.work().point("here").work().finish()
    target = ("--target-name", "here")
    with cluster.unchanged():
        plan = cluster.keeper("plan", *target).expect(0)["plan"]
        assert plan["backup"] == world.backups[0].label
        assert [note["values"] for note in plan["notes"] if note["key"] == "note_passed_over_pages"] == [
            {"label": bad}
        ]
        error = cluster.keeper("plan", *target, "--backup", bad).refused(
            "backup-page-faults", "1 damaged page in", path, "--accept-page-faults"
        )
        assert error["details"]["page_faults"][bad]["count"] == 1
        information = cluster.keeper("info").expect(0)
        assert information["page_faults"] == [{"label": bad, "faults": f"1 damaged page in {path}"}]
        [pages] = [item for item in cluster.keeper("check").expect(3)["checks"] if item["name"] == "pages"]
        assert (pages["state"], bad in pages["text"]) == ("failed", True)
        # Nor does it count as one of the full backups that are kept.
        expiry = cluster.keeper("expire", "--dry-run", "--full-count", "1").expect(0)["plan"]
        assert {one["label"]: (one["action"], one["why"]) for one in expiry["backups"]} == {
            world.backups[0].label: ("keep", "count"),
            bad: ("keep", "window"),
        }
        [noted] = [item for item in information["backups"] if item["label"] == bad]
        assert noted["page_faults"]["files"] == [{"path": path, "count": 1, "blocks": [2]}]
    answer = cluster.keeper(
        "restore", *target, "--backup", bad, "--accept-page-faults", "--skip-backup", *CONFIRM
    )
    done = answer.expect(0)
    assert done["plan"]["backup"] == bad
    told = json.loads(Path(done["evidence"]).read_text())["notes"]
    [note] = [note["values"] for note in told if note["key"] == "note_page_faults"]
    assert note["label"] == bad and path in note["faults"]
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["here"])


def swap_entries(path: Path) -> None:
    """Two line pointers of an index's first leaf change places: every byte is sound, the order is not."""
    content = bytearray(path.read_bytes())
    at = 8192 + 24 + 4 * 5
    content[at : at + 4], content[at + 8 : at + 12] = content[at + 8 : at + 12], content[at : at + 4]
    path.write_bytes(content)


def test_amcheck_finds_an_index_that_no_checksum_could(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(kind=Kind(checksums=False), settings=SETTINGS)
    cluster.sql("CREATE TABLE sorted AS SELECT n FROM generate_series(1, 1000) AS n")
    cluster.sql("CREATE INDEX by_n ON sorted (n)")
    cluster.sql('CREATE DATABASE "other-one"')
    path = cluster.value("SELECT pg_relation_filepath('by_n')")
    world = World.begin(cluster).work().backup().work().point("sound").finish()
    cluster.stop()
    swap_entries(cluster.data_directory / path)
    cluster.start()
    cluster.keeper("backup").expect(0)
    world.work().point("unsound").finish()
    with cluster.unchanged("beside: "):
        error = cluster.keeper("restore", "--target-name", "unsound", "--amcheck", *CONFIRM).failed(
            "restored-copy-unfit", "by_n", "item order invariant", "nothing was swapped"
        )
    assert error["details"]["amcheck"]["passed"] is False
    evidence = [
        json.loads(file.read_text()) for file in (cluster.repository / "main/evidence").glob("*.json")
    ]
    assert [(one["result"], one["amcheck"]["findings"]) for one in evidence] == [("failed", 1)]
    cluster.keeper("undo", *CONFIRM).expect(0)
    done = cluster.keeper("restore", "--target-name", "sound", "--amcheck", "--skip-backup", *CONFIRM).expect(
        0
    )
    assert done["record"]["amcheck"]["passed"] is True
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["sound"])
    for database in ("postgres", "other-one", "template1"):
        assert extensions(cluster, database) == ["plpgsql"]


def test_amcheck_that_cannot_be_installed(sandbox: Sandbox) -> None:
    """Somebody's event trigger is not asked; one that fires always stands in the way, and then nothing is swapped."""
    cluster = Cluster(sandbox, installation=installations()[16], settings=SETTINGS).start()
    cluster.sql(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'no % here', tg_tag; END$$"
    )
    cluster.sql(
        "CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('CREATE EXTENSION', 'DROP EXTENSION') "
        "EXECUTE FUNCTION no()"
    )
    cluster.sql("ALTER EVENT TRIGGER no DISABLE")
    world = World.begin(cluster).work().backup()
    cluster.sql("ALTER EVENT TRIGGER no ENABLE")
    world.work(4).point("asked")
    cluster.sql("ALTER EVENT TRIGGER no ENABLE ALWAYS")
    world.work(4).point("always").finish()
    with cluster.unchanged("beside: "):
        error = cluster.keeper("restore", "--target-name", "always", "--amcheck", *CONFIRM).failed(
            "amcheck-failed", "no CREATE EXTENSION here", "nothing was swapped"
        )
    assert error["details"]["state"]["swapped"] is False
    assert recovered_rows(cluster.dsn()) == world.all_rows()
    cluster.keeper("undo", *CONFIRM).expect(0)
    done = cluster.keeper("restore", "--target-name", "asked", "--amcheck", "--skip-backup", *CONFIRM)
    assert done.expect(0)["record"]["amcheck"]["passed"] is True
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["asked"])
    assert extensions(cluster, "postgres") == ["plpgsql"]


def extensions(cluster: Cluster, database: str) -> list[Any]:
    """What is installed in a database."""
    return [name for (name,) in cluster.sql("SELECT extname FROM pg_extension", database=database)]


def test_without_amcheck_on_the_host_its_use_is_refused(cluster: Cluster) -> None:
    cluster.keeper("backup").expect(0)
    place = cluster.root / "some" / "bin"
    place.mkdir(parents=True)
    for program in cluster.installation.bin_directory.iterdir():
        if program.name != "pg_amcheck":
            (place / program.name).symlink_to(program)
    cluster.write_config(bin_directory=str(place))
    with cluster.unchanged():
        cluster.keeper("plan", "--immediate", "--amcheck").refused(
            "amcheck-missing", str(place / "pg_amcheck"), "Install it"
        )
        cluster.keeper("plan", "--immediate").expect(0)
