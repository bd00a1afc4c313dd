# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Faults of chains of incremental backups (A17): each ends in another backup or in a refusal, and nothing is lost."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from .backup_help import base, entries
from .harness import damage
from .harness.cluster import Cluster
from .harness.installation import a_major_a_day, installations
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, Frozen, World

TARGET = ("--target-name", "here")
RESTORE = ("restore", *TARGET, "--confirm", "main")
ON = {**SETTINGS, "summarize_wal": "on"}


@pytest.fixture(scope="session")
def frozen_chain(session_sandbox: Sandbox) -> Frozen:
    """A stopped cluster with a full backup and two incremental ones on it, then the restore point ``here``."""
    cluster = Cluster(
        session_sandbox, root=session_sandbox.root / "chain", installation=installations()[17], settings=ON
    )
    world = World.begin(cluster.start()).work().backup().work().backup().work().backup()
    return world.work().point("here").work().finish().freeze()


@pytest.fixture
def chain(frozen_chain: Frozen, sandbox: Sandbox) -> World:
    """A running copy of it."""
    world = frozen_chain.thaw(sandbox)
    world.cluster.set(**ON)
    world.cluster.restart()
    return world


def entry(world: World, number: int, **changes: Any) -> None:
    """Change what the catalog says of a backup."""
    path = base(world.cluster) / world.backups[number].label / "backup.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def restored(world: World) -> None:
    """The rows are those of the target, and nothing of ours is left beside."""
    cluster = world.cluster
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["here"])
    assert sorted(path.name.split("-")[0] for path in cluster.parent.iterdir()) == ["data", "data.before"]


@pytest.mark.parametrize(
    "how",
    ["missing", "another", *(pytest.param(one, marks=pytest.mark.matrix) for one in ("expired", "failed"))],
)
def test_a_chain_that_lost_a_link_is_passed_over_and_refused_by_name(chain: World, how: str) -> None:
    cluster, full = chain.cluster, chain.backups[0].label
    middle, last = (backup.label for backup in chain.backups[1:])
    if how == "missing":
        shutil.move(base(cluster) / middle, cluster.root / "elsewhere")
    elif how == "another":
        entry(chain, 2, parent_manifest="0" * 64)
    else:
        entry(chain, 1, status=how)
    with cluster.unchanged():
        error = cluster.keeper("plan", *TARGET, "--backup", last).refused("chain-broken", middle)
        assert error["details"]["link"] == middle
        cluster.keeper(*RESTORE, "--backup", last).refused("chain-broken", middle)
        plan = cluster.keeper("plan", *TARGET).expect(0)["plan"]
        lines = cluster.keeper("check").data["checks"]
    chosen = middle if how == "another" else full
    assert plan["backup"] == chosen
    assert [note["values"]["label"] for note in plan["notes"] if note["key"] == "note_passed_over"] == [
        label for label in (middle, last) if label > chosen and not (label == middle and how != "another")
    ]
    assert [item["state"] for item in lines if item["name"] == "catalog"] == ["warning"]
    if how == "missing":
        cluster.keeper(*RESTORE).expect(0)
        restored(chain)


@pytest.mark.parametrize("where", ["base.tar.zst", pytest.param("backup_manifest", marks=pytest.mark.matrix)])
def test_a_damaged_link_is_found_before_anything_is_combined(chain: World, where: str) -> None:
    cluster = chain.cluster
    stored = base(cluster) / chain.backups[1].label / where
    kept = stored.read_bytes()
    damage.flip_bit(stored)
    # What the manifest says is needed by the plan already.
    planned = where == "backup_manifest"
    with cluster.unchanged(*(() if planned else ("beside: ",))):
        cluster.keeper(*RESTORE).refused("backup-file-damaged", where, status=2 if planned else 3)
    assert not list(cluster.parent.glob("*/combined"))
    stored.write_bytes(kept)
    assert cluster.keeper(*RESTORE).expect(0)["resumes"] is not planned
    restored(chain)


def test_checksums_that_were_switched_inside_a_chain(chain: World) -> None:
    """Told by the catalog: nothing is begun. Told by the control files only: nothing is swapped. And taken in full."""
    cluster, last = chain.cluster, chain.backups[2].label
    entry(chain, 2, data_checksums=False)
    with cluster.unchanged():
        cluster.keeper("plan", *TARGET, "--backup", last).refused("chain-checksums-changed", "off", "on")
    entry(chain, 2, data_checksums=True)
    cluster.stop()
    cluster.program("pg_checksums", "--disable", "-D", str(cluster.data_directory))
    cluster.start()
    plan = cluster.keeper("backup", "--check").expect(0)["plan"]
    assert (plan["kind"], plan["chain"]) == ("full", [])
    assert f"data checksums were switched since {last}" in plan["reason"]
    # A catalog that says otherwise: what is in the files counts.
    for number in range(3):
        entry(chain, number, data_checksums=False)
    mixed = cluster.keeper("backup").expect(0)["backup"]
    assert mixed["kind"] == "incremental"
    with cluster.unchanged("beside: "):
        cluster.keeper("restore", "--immediate", "--backup", mixed["label"], "--confirm", "main").failed(
            "chain-checksums-changed", "on in", f"off in {mixed['label']}"
        )
    cluster.keeper("undo", "--confirm", "main").expect(0)


def test_what_begins_a_chain_anew(chain: World) -> None:
    """Each with its reason; and an incremental one that is insisted on is refused with the same."""
    cluster = chain.cluster

    def told(*words: str, kind: str = "full") -> None:
        with cluster.unchanged("wal: "):
            plan = cluster.keeper("backup", "--check").expect(0)["plan"]
            assert plan["kind"] == kind, plan["reason"]
            for word in words:
                assert word in plan["reason"]
            if kind == "full":
                asked = cluster.keeper("backup", "--check", "--kind", "incremental")
                asked.refused("incremental-not-possible", *words)

    last = chain.backups[2].label
    told(last, "is whole", kind="incremental")
    assert cluster.keeper("backup", "--check", "--kind", "full").expect(0)["plan"]["kind"] == "full"
    cluster.write_config(backup={"full_interval_seconds": 1})
    told(chain.backups[0].label, "one is due every")
    cluster.write_config(backup={})
    shutil.move(base(cluster) / last / "base.tar.zst", cluster.root / "aside")
    told(f"backup {last} is not whole", "base.tar.zst")
    shutil.move(cluster.root / "aside", base(cluster) / last / "base.tar.zst")
    entry(chain, 2, page_faults={"count": 1, "files": [{"path": "base/5/1", "count": 1, "blocks": [0]}]})
    told(chain.backups[1].label, kind="incremental")
    entry(chain, 2, page_faults=None)
    # Summaries that are gone: the server is past the place, and cannot say what happened there.
    cluster.sql("CHECKPOINT")
    cluster.sql("CREATE TABLE much AS SELECT generate_series(1, 50000) AS n")
    cluster.sql("CHECKPOINT")
    wait_for(
        lambda: cluster.value("SELECT max(end_lsn) > %s FROM pg_available_wal_summaries()", start(chain)),
        "a summary after the last backup",
    )
    for path in (cluster.data_directory / "pg_wal" / "summaries").iterdir():
        path.unlink()
    told("no WAL summary covers", "wal_summary_keep_time")
    cluster.set(summarize_wal="off")
    cluster.reload()
    wait_for(lambda: cluster.value("SHOW summarize_wal") == "off", "the setting")
    told("summarize_wal is off")


@pytest.mark.parametrize("major", a_major_a_day(least=17))
def test_a_promotion_begins_a_chain_anew(sandbox: Sandbox, major: int) -> None:
    """A failover: what its first incremental backup would hold, servers before 17.7 and 18.1 get wrong."""
    cluster = Cluster(sandbox, installation=installations()[major], settings=ON).start()
    world = World.begin(cluster).work().backup().work().backup().finish()
    root, child = (backup.label for backup in world.backups)
    assert entries(cluster)[child]["parent"] == root
    cluster.stop()
    (cluster.data_directory / "standby.signal").touch()
    cluster.start()
    cluster.program("pg_ctl", "promote", "-w", "-s", "-D", str(cluster.data_directory))
    words = ("the server is on timeline 2 since a promotion or a restore", f"{child} is of timeline 1")
    with cluster.unchanged("wal: "):
        plan = cluster.keeper("backup", "--check").expect(0)["plan"]
        assert (plan["kind"], plan["chain"]) == ("full", [])
        for word in words:
            assert word in plan["reason"]
        cluster.keeper("backup", "--kind", "incremental").refused("incremental-not-possible", *words)
    first = cluster.keeper("backup").expect(0)["backup"]
    assert (first["kind"], first["timeline"]) == ("full", 2)
    # And goes on from there, on the new timeline.
    after = World.after_restore(world, 1 << 62).work()
    second = cluster.keeper("backup").expect(0)["backup"]
    assert (second["kind"], second["parent"], second["timeline"]) == ("incremental", first["label"], 2)
    after.point("on 2").work().finish()
    done = cluster.keeper("restore", "--target-name", "on 2", "--skip-backup", "--confirm", "main").expect(0)
    assert [link["label"] for link in done["plan"]["chain"]] == [first["label"], second["label"]]
    assert recovered_rows(cluster.dsn()) == after.rows_before(after.points["on 2"])


def start(world: World) -> str:
    """Where the last backup began."""
    return str(entries(world.cluster)[world.backups[2].label]["start_lsn"])


def test_below_17_every_backup_is_full_and_says_why(sandbox: Sandbox) -> None:
    cluster = Cluster(sandbox, installation=installations()[16]).start()
    with cluster.unchanged():
        plan = cluster.keeper("backup", "--check").expect(0)["plan"]
        assert plan["kind"] == "full"
        assert "PostgreSQL 16 has no incremental backups: they come with 17" in plan["reason"]
        cluster.keeper("backup", "--check", "--kind", "incremental").refused("incremental-not-possible")


def with_another(cluster: Cluster, program: str, script: str) -> str:
    """From now on a shell script, which knows the real one as ``$real``, is that program; the directory before."""
    place = cluster.root / "programs"
    place.mkdir()
    for one in cluster.installation.bin_directory.iterdir():
        if one.name != program:
            (place / one.name).symlink_to(one)
    (place / program).write_text(
        f"#!/bin/bash\nreal={shlex.quote(cluster.installation.program(program))}\n{script}\n"
    )
    (place / program).chmod(0o755)
    good = str(cluster.config["bin_directory"])
    cluster.write_config(bin_directory=str(place))
    return good


#: The real program under a limit for files; and on a disk that gives back other bytes than it was given.
LIMITED = 'trap "" XFSZ; ulimit -f 32; exec "$real" "$@"'
ROTTEN = """
"$real" "$@" || exit
while [ "$1" != -o ]; do shift; done
file=$(find "$2/base" -type f -size +40k | sort | head -n 1)
printf 'damage' | dd of="$file" bs=1 seek=20000 conv=notrunc status=none
"""


@pytest.mark.parametrize(
    ("code", "script", "words", "staged"),
    [
        ("combine-failed", LIMITED, ("could not write to file", "--backup"), 1),
        ("combined-copy-unfit", ROTTEN, ("checksum mismatch for file", "fetches the backups anew"), 2),
    ],
    ids=["combine-failed", "combined-copy-unfit"],
)
def test_combining_that_fails(
    chain: World, code: str, script: str, words: tuple[str, ...], staged: int
) -> None:
    """A17: told with the program's own words; the live cluster is not touched, and the next run goes on."""
    cluster = chain.cluster
    good = with_another(cluster, "pg_combinebackup", script)
    with cluster.unchanged("beside: "):
        error = cluster.keeper(*RESTORE).failed(code, *words, "nothing that is in use was touched")
    assert not error["details"]["state"]["swapped"]
    # Under its own name it would be taken for a data directory that can be started.
    assert not list(cluster.parent.glob("data.dbkeeper-*/data"))
    assert recovered_rows(cluster.dsn()) == chain.all_rows()
    cluster.write_config(bin_directory=good)
    assert cluster.keeper(*RESTORE).expect(0)["resumes"]
    assert cluster.steps().count("stage:done") == staged
    restored(chain)


def test_summaries_that_go_when_the_backup_has_begun(chain: World) -> None:
    """A17: the plan saw them, the server does not find them any more: no backup, and the next one is full."""
    cluster = chain.cluster
    cluster.sql("CHECKPOINT")
    cluster.sql("CREATE TABLE much AS SELECT generate_series(1, 50000) AS n")
    cluster.sql("CHECKPOINT")
    summarized = "SELECT max(end_lsn) > %s FROM pg_available_wal_summaries()"
    wait_for(lambda: cluster.value(summarized, start(chain)), "a summary after the last backup")
    running = cluster.keeper_start("backup", pause_at="copy:begun")
    running.wait_paused()
    begun = max(entries(cluster))
    for path in (cluster.data_directory / "pg_wal" / "summaries").iterdir():
        path.unlink()
    with cluster.unchanged("wal: ", f"base: {begun}"):
        running.resume()
        running.wait().failed("wal-summaries-missing", "WAL summaries are required", "--kind full")
    entry = entries(cluster)[begun]
    assert (entry["kind"], entry["status"]) == ("incremental", "failed")
    assert [path.name for path in (base(cluster) / begun).iterdir()] == ["backup.json"]
    assert cluster.keeper("plan", *TARGET).expect(0)["plan"]["backup"] == chain.backups[2].label
    again = cluster.keeper("backup").expect(0)
    assert "no WAL summary covers" in again["plan"]["reason"]
    assert (again["backup"]["kind"], again["backup"]["status"]) == ("full", "verified")


@pytest.mark.parametrize("status", [pytest.param("begun", marks=pytest.mark.matrix), "done"])
def test_killed_at_the_edges_of_combining(chain: World, status: str) -> None:
    chain.cluster.keeper(*RESTORE, kill_at=f"combine:{status}")
    assert chain.cluster.keeper(*RESTORE).expect(0)["resumes"]
    assert chain.cluster.steps().count("stage:done") == 1
    restored(chain)


def test_killed_in_the_middle_of_combining(chain: World) -> None:
    """The keeper is killed, pg_combinebackup goes on: the next run ends it before it begins anew."""
    cluster = chain.cluster
    wait = f"{sys.executable} -c 'import time; time.sleep(600)'"
    # It has written everything, and is not done.
    good = with_another(cluster, "pg_combinebackup", f'"$real" "$@"\nexec -a pg_combinebackup {wait} "$@"')
    running = cluster.keeper_start(*RESTORE)
    pid = wait_for(lambda: stranger(cluster), "pg_combinebackup at work")
    running.kill_group()
    assert os.path.exists(f"/proc/{pid}")
    cluster.write_config(bin_directory=good)
    assert cluster.keeper(*RESTORE).expect(0)["resumes"]
    assert not os.path.exists(f"/proc/{pid}")
    assert cluster.steps().count("stage:done") == 1
    restored(chain)


def test_a_chain_whose_new_timeline_was_taken_is_staged_and_combined_again(chain: World) -> None:
    """D13: its copy could never be archived; the next run makes another one, out of all of the chain."""
    cluster = chain.cluster
    running = cluster.keeper_start(*RESTORE, pause_at="settle:done")
    running.wait_paused()
    (cluster.timeline_directory(1).parent / "00000002.history").write_text("1\t0/9000000\tsomebody else\n")
    running.resume()
    running.wait().failed("timeline-taken", "on timeline 2", "nothing was swapped")
    assert cluster.keeper(*RESTORE).expect(0)["resumes"]
    assert cluster.steps().count("combine:done") == 2
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 3
    restored(chain)


def stranger(cluster: Cluster) -> int | None:
    """The process number of what stands in for pg_combinebackup."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                arguments = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if arguments[0] == b"pg_combinebackup" and any(
                os.fsencode(cluster.root) in one for one in arguments
            ):
                return int(name)
    return None
