# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What goes wrong on the way: replay and the success test, each cut or bent in the middle (D02-D11)."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery import staging
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.replay import StagedServer
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import read_catalog
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.engine import NativeEngine
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.exact import Exact
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import Target
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.identity import ArchiveFacts
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.index import WalIndex
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.proof import decide
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.waldump import WalDump

from .harness import damage
from .harness.cluster import Cluster
from .harness.disk import SmallDisk
from .harness.keeper import DELAY_GET
from .harness.processes import postmaster_pid
from .harness.sandbox import Sandbox
from .harness.side import Beside
from .harness.template import SUPERUSER
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, World, lsn_number, lsn_text
from .restore_help import (
    ITS_OWN,
    RESTORE,
    TARGET,
    finished,
    given_up,
    journal,
    leases,
    nothing_swapped,
    paused,
    staged,
    work,
)

# -- D11: promoted, but not what was planned ------------------------------------------------------------------


def stop_before(path: Path, lsn: str) -> str:
    """Somebody changes where the staged server stops: a segment before the target."""
    text = path.read_text()
    assert f"recovery_target_lsn = '{lsn}'" in text
    path.write_text(text.replace(lsn, lsn_text(lsn_number(lsn) - (1 << 20))))
    return "recovery stopped after LSN"


def stop_at_once(path: Path, lsn: str) -> str:
    """The target is lost, the end of the backup is taken for it."""
    lines = [
        line
        for line in path.read_text().splitlines()
        if not line.startswith(("recovery_target_lsn", "recovery_target_inclusive"))
    ]
    path.write_text("\n".join([*lines, "recovery_target = 'immediate'"]) + "\n")
    return "reached consistency"


def stop_without_the_record(path: Path, lsn: str) -> str:
    """Right place, and the record itself is left out."""
    text = path.read_text()
    assert "recovery_target_inclusive = 'on'" in text
    path.write_text(text.replace("recovery_target_inclusive = 'on'", "recovery_target_inclusive = 'off'"))
    return f"recovery stopped before LSN {lsn}"


@pytest.mark.parametrize(
    "bend",
    [
        stop_before,
        *(pytest.param(one, marks=pytest.mark.matrix) for one in (stop_at_once, stop_without_the_record)),
    ],
)
def test_d11_a_promotion_elsewhere_is_not_the_target(world: World, bend: Callable[[Path, str], str]) -> None:
    cluster = world.cluster
    with cluster.unchanged(*ITS_OWN):
        running = paused(world, "configure:done")
        lsn = journal(world)["plan"]["proof"]["lsn"]
        happened = bend(work(world) / "staged.conf", lsn)
        running.resume()
        answer = running.wait()
        answer.failed(
            "target-not-reached",
            f"replay up to after LSN {lsn} on timeline 1",
            happened,
            f"Keep a copy of {work(world)}",
            "dbkeeper undo --cluster main --confirm main",
        )
        nothing_swapped(world, answer)
        # Again is the same: a copy that is wrong does not become right.
        again = cluster.keeper(*RESTORE)
        again.failed("target-not-reached", happened)
        nothing_swapped(world, again)
        given_up(world)
    finished(world, cluster.keeper(*RESTORE))


def ask_staged(world: World, query: str) -> list[tuple[Any, ...]]:
    """As the staged server's own user on its private socket, which nobody else can enter."""
    cluster = world.cluster
    dsn = f"host={work(world)}/socket port={cluster.port} dbname=postgres user={SUPERUSER}"
    with psycopg.connect(dsn, autocommit=True, connect_timeout=60) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def test_d11_a_copy_that_archived_something_is_unfit(world: World) -> None:
    cluster = world.cluster
    with cluster.unchanged(*ITS_OWN):
        running = paused(world, "verify:begun")
        ask_staged(world, "ALTER SYSTEM SET archive_command = '/bin/true'")
        with open(work(world) / "staged.conf", "a") as handle:
            handle.write("archive_command = '/bin/true'\n")
        ask_staged(world, "SELECT pg_reload_conf()")
        count = "SELECT archived_count FROM pg_stat_archiver"
        wait_for(lambda: ask_staged(world, count)[0][0] > 0, "a file archived by the staged server")
        running.resume()
        answer = running.wait()
        answer.failed(
            "restored-copy-unfit",
            "archived segments is ",
            "files marked as archived is ['00000002.history.done'",
            str(work(world) / "server.log"),
            "dbkeeper undo --cluster main --confirm main",
        )
        nothing_swapped(world, answer)
        # The server forgets what it counted when it is killed, its files do not.
        pid = postmaster_pid(staged(world))
        assert pid is None
        shutil.rmtree(staged(world) / "pg_stat")
        (staged(world) / "pg_stat").mkdir()
        answer = cluster.keeper(*RESTORE)
        answer.failed("restored-copy-unfit", "files marked as archived")
        nothing_swapped(world, answer)
        given_up(world)
    finished(world, cluster.keeper(*RESTORE))


@pytest.mark.matrix
def test_d11_a_copy_whose_server_dies_before_it_is_verified_is_verified_again(world: World) -> None:
    cluster = world.cluster
    with cluster.unchanged(*ITS_OWN):
        running = paused(world, "verify:begun")
        pid = postmaster_pid(staged(world))
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        running.resume()
        answer = running.wait()
        answer.failed("restored-copy-unfit", "the staged server ", "nothing was swapped")
        nothing_swapped(world, answer)
    finished(world, cluster.keeper(*RESTORE))
    assert cluster.steps().count("stage:done") == 1


# -- D09: no progress -----------------------------------------------------------------------------------------


def test_d09_replay_without_progress_is_given_up_and_goes_on_later(world: World) -> None:
    cluster = world.cluster
    segments = cluster.keeper("plan", *TARGET).expect(0)["plan"]["segments"]
    # Longer than any one segment takes on a busy machine.
    cluster.write_config(restore={"stalled_after_seconds": 6})
    with cluster.unchanged(*ITS_OWN):
        running = cluster.keeper_start(*RESTORE, hold_get=segments[-2][0])
        running.wait_paused()
        answer = running.wait()
        answer.failed(
            "replay-stalled", "for 6 s", segments[-2][0], "whether the repository answers", "server.log"
        )
        nothing_swapped(world, answer)
        assert postmaster_pid(staged(world)) is None
    running.resume()
    finished(world, cluster.keeper(*RESTORE))
    assert cluster.steps().count("stage:done") == 1


@pytest.mark.matrix
def test_d09_replay_that_is_slow_is_not_given_up(world: World) -> None:
    """Longer than the limit as a whole; never so long without a byte."""
    cluster = world.cluster
    cluster.write_config(restore={"stalled_after_seconds": 2})
    answer = cluster.keeper(*RESTORE, environment={DELAY_GET: "1.2"})
    finished(world, answer)
    assert answer.data["record"]["seconds"]["replay"] > 2


# -- D02, D04: killed -----------------------------------------------------------------------------------------


def test_d02_a_staged_server_that_does_not_end_is_told_and_not_killed(world: World) -> None:
    cluster = world.cluster
    config = ClusterConfig.load(str(cluster.config_path))
    repository = Repository(config.repository, config.cluster)
    with cluster.unchanged(*ITS_OWN):
        plan = Beside(cluster).plan(name="beta")
        staging.stage(plan, NativeEngine(repository), lambda done: None)
        staging.configure(plan, config, "a test")
        with StagedServer(plan, config) as server:
            wait_for(lambda: staging.staged_pid(plan) == server.pid, "the staged server's pid file")
            os.kill(server.pid, signal.SIGSTOP)
            try:
                with pytest.raises(Failed) as caught:
                    staging.stop_left_behind(plan, patience=0.3)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            error = caught.value
            assert error.code == "staged-server-stuck"
            assert f"process {server.pid} in {plan.staging} does not end" in error.happened
            assert f"end process {server.pid}" in error.remedy and staging.log_path(plan) in error.remedy
        staging.discard(plan)


def restore_command(world: World, name: str) -> int:
    """The pid of the archive-get that the staged server waits for: a child of its startup process.

    (Its prefetcher has the same command line; another test's segment, the same name.)
    """
    plan = str(world.cluster.root)

    def found() -> list[int]:
        pids = [
            int(path.name)
            for path in Path("/proc").glob("[0-9]*")
            if name in (argv := _argv(path.name)) and any(word.startswith(plan) for word in argv)
        ]
        return [pid for pid in pids if "startup" in " ".join(_argv(_status(pid).get("PPid", "0")))]

    [pid] = wait_for(found, f"the restore_command for {name}")
    return int(pid)


def _argv(pid: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _dummy, value in (line.partition(":") for line in lines)}


def _catches(pid: int, number: signal.Signals) -> bool:
    return bool(int(_status(pid).get("SigCgt", "0"), 16) >> (number - 1) & 1)


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        pytest.param(signal.SIGKILL, "replay-server-died", "signal 9", marks=pytest.mark.matrix),
        (signal.SIGTERM, "archive-get-failed", "signal 15"),
    ],
    ids=["KILL", "TERM"],
)
def test_d04_a_restore_command_that_is_killed_ends_nothing_silently(
    world: World, number: signal.Signals, code: str, words: str
) -> None:
    """PostgreSQL would take its own status for the archive's end, were it between 1 and 125 (D03)."""
    cluster = world.cluster
    name = cluster.keeper("plan", *TARGET).expect(0)["plan"]["segments"][-2][0]
    with cluster.unchanged(*ITS_OWN):
        running = cluster.keeper_start(*RESTORE, hold_get=name)
        running.wait_paused()
        pid = restore_command(world, name)
        wait_for(lambda: _catches(pid, signal.SIGTERM), "archive-get at work")
        os.kill(pid, number)
        answer = running.wait()
        answer.failed(code, words)
        nothing_swapped(world, answer)
    running.resume()
    finished(world, cluster.keeper(*RESTORE))
    assert cluster.steps().count("stage:done") == 1


@pytest.mark.matrix
def test_d04_a_restore_command_that_is_ended_before_it_can_answer(world: World) -> None:
    """As by a host that shuts down: PostgreSQL ends with status 1 and says nothing of it."""
    cluster = world.cluster
    flag = cluster.root / "archive-answers"
    slow = cluster.root / "bin" / "slow"
    slow.write_text(f'#!/bin/sh\n[ -e {flag} ] && exec {cluster.command} "$@"\nwhile :; do sleep 0.1; done\n')
    slow.chmod(0o755)
    cluster.write_config(command=str(slow))
    segments = cluster.keeper("plan", *TARGET).expect(0)["plan"]["segments"]
    with cluster.unchanged(*ITS_OWN):
        running = paused(world, "replay:begun")
        running.resume()
        os.kill(restore_command(world, segments[0][0]), signal.SIGTERM)
        answer = running.wait()
        answer.failed(
            "replay-server-died",
            "ended with status 1",
            "shutting down due to startup process failure",
            "run the same command again to continue",
        )
        nothing_swapped(world, answer)
    flag.touch()
    finished(world, cluster.keeper(*RESTORE))
    assert cluster.steps().count("stage:done") == 1


# -- D05: the archive changes ---------------------------------------------------------------------------------


def test_d05_what_a_restore_needs_is_leased_until_it_is_done_or_given_up(world: World) -> None:
    cluster = world.cluster
    assert leases(world) == []
    running = paused(world, "stage:begun")
    plan = journal(world)["plan"]
    [lease] = leases(world)
    assert (lease["label"], lease["first_segment"]) == (plan["backup"], plan["segments"][0][0])
    assert (str(lease["system_id"]), lease["keep"]) == (cluster.system_id, True)
    running.kill()
    [kept] = leases(world)
    assert kept["first_segment"] == plan["segments"][0][0]
    given_up(world)


def test_d05_a_segment_that_changes_between_index_and_proof(world: World) -> None:
    """The index has found it sound, and the bytes that are read for the exact answer are others."""
    cluster = world.cluster
    config = ClusterConfig.load(str(cluster.config_path))
    repository = Repository(config.repository, config.cluster)
    backups = [backup.facts() for backup in read_catalog(repository).usable()]
    system_id, bytes_each = backups[0].system_id, backups[0].wal_segment_size
    index = WalIndex(repository.index(system_id))
    source = NativeEngine(repository).wal_source(system_id)
    facts = ArchiveFacts(system_id, bytes_each, backups[0].major)
    archive = index.refresh(source, config.bin_directory, facts=facts)
    moment = next(end for end in world.ends if end.lsn > world.points["beta"]).time
    target = Target("time", moment, inclusive=False)
    dump = WalDump(config.bin_directory, facts.major, facts.segment_bytes)
    proof = decide(backups, target, archive, Exact(dump, source, index.directory))
    path = cluster.wal_directory / f"{proof.segments[-1].name}.zst"
    whole = path.read_bytes()
    damage.rewrite(path, damage.flipped_inside)
    with cluster.unchanged(), pytest.raises(Refused) as caught:
        decide(backups, target, archive, Exact(dump, source, index.directory))
    error = caught.value
    assert error.code == "archive-changed"
    assert f"read {proof.segments[-1].name} again" in error.attempted
    assert "not those that were indexed" in error.happened
    assert "who writes into the archive" in error.remedy and "dbkeeper index --rebuild" in error.remedy
    path.write_bytes(whole)
    assert decide(backups, target, archive, Exact(dump, source, index.directory)).lsn == proof.lsn


def test_d03_a_file_outside_of_the_plan_is_not_handed_out(world: World) -> None:
    """The plan is all that archive-get knows: what it does not prove is no end, and no WAL either."""
    cluster = world.cluster
    with cluster.unchanged(*ITS_OWN):
        running = paused(world, "replay:begun")
        path = work(world) / "plan.json"
        plan = json.loads(path.read_text())
        name, _dummy = plan["segments"].pop(3)
        path.write_text(json.dumps(plan))
        running.resume()
        answer = running.wait()
        answer.failed("file-not-planned", f"hand {name} to recovery", "does not prove that it is not needed")
        nothing_swapped(world, answer)
        given_up(world)
    finished(world, cluster.keeper(*RESTORE))


# -- D10: the disk is full, and has room again ----------------------------------------------------------------


@pytest.fixture
def small(sandbox: Sandbox) -> Iterator[tuple[World, SmallDisk]]:
    """A world whose data directory lies on a small disk, with a long way from the backup to the target."""
    disk = SmallDisk(sandbox.root / "disk", 300)
    cluster = Cluster(
        sandbox, settings=SETTINGS | {"wal_keep_size": "64MB"}, external_config=True, disk=disk
    ).start()
    world = World.begin(cluster).work().backup()
    for _dummy in range(6):
        world.work(6)
        cluster.switch_wal()
    yield world.point("beta").work().finish(), disk
    sandbox.stop_all()
    disk.close()


def test_d10_a_disk_that_is_full_in_replay_goes_on_where_it_was(small: tuple[World, SmallDisk]) -> None:
    world, disk = small
    cluster = world.cluster
    name = cluster.keeper("plan", *TARGET).expect(0)["plan"]["segments"][-3][0]
    with cluster.unchanged("beside: data.dbkeeper-", "wal: ", "beside: ballast"):
        running = cluster.keeper_start(*RESTORE, hold_get=name)
        running.wait_paused()
        ballast = disk.fill(leave_bytes=0)
        running.resume()
        answer = running.wait()
        assert answer.status == 3, str(answer)
        assert answer.error["code"] in ("disk-full", "staging-full", "segment-write-failed"), str(answer)
        assert (
            "No space left on device" in answer.error["happened"]
            or " bytes are free" in answer.error["happened"]
        )
        assert "nothing was swapped" in answer.error["happened"]
        assert "space" in answer.error["remedy"]
        assert answer.error["details"]["state"]["running"] is True
        ballast.unlink()
    assert recovered_rows(cluster.dsn()) == world.all_rows()
    cluster.keeper(*RESTORE).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    assert cluster.steps().count("stage:done") == 1
