# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A restore from end to end by the host command: the live cluster is replaced, kept, archived and backed up again."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from .harness.cluster import Cluster
from .harness.installation import a_major_a_day, installations
from .harness.processes import postmaster_pid
from .harness.sandbox import Sandbox
from .harness.workload import recovered_rows
from .harness.world import SETTINGS, Frozen, World, lsn_number, lsn_text, standard_past, utc

CONFIRM = ("--confirm", "main")


def expected_at(world: World, mark: str) -> Any:
    """Rows that a restore to a mark must bring back."""
    stop = world.stop_at_time(world.marks[mark], inclusive=True)
    assert stop is not None
    return world.rows_before(stop)


def rows(world: World) -> Any:
    """Rows that are there now."""
    return recovered_rows(world.cluster.dsn())


def evidence(world: World) -> list[dict[str, Any]]:
    """All evidence in the repository, oldest first."""
    directory = world.cluster.repository / world.cluster.name / "evidence"
    return [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]


def test_restore_to_a_time_replaces_keeps_archives_and_backs_up(world: World) -> None:
    cluster = world.cluster
    before = rows(world)
    control = cluster.control()
    target = world.marks["after work 4"]
    answer = cluster.keeper("restore", "--target-time", utc(target), *CONFIRM).expect(0)
    assert answer["changed"] and answer["executed"]

    # The data are those of the target, by WAL order, by the book and by the balances.
    assert rows(world) == expected_at(world, "after work 4") < before
    assert world.workload.verify("--target-time", utc(target), "--inclusive")["exact"]

    # It stopped where the plan said, on a new timeline of the same system.
    record = answer["record"]
    assert record["reached"]["lsn"] == record["planned"]["lsn"]
    assert record["reached"]["inclusive"] == record["planned"]["inclusive"]
    after = cluster.control()
    assert after["Database system identifier"] == control["Database system identifier"]
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 2

    # What was, is kept under a name that says so, shut down cleanly.
    kept = cluster.parent / record["kept_directory"].rsplit("/", 1)[1]
    assert kept.name.startswith("data.before-")
    state = cluster.program("pg_controldata", "-D", str(kept))
    assert "shut down" in state and "TimeLineID:       1" in state
    assert sorted(path.name for path in cluster.parent.iterdir()) == ["data", kept.name]

    # The new timeline is in the archive, and a base backup of it.
    archive = cluster.timeline_directory(2)
    assert (archive.parent / "00000002.history").exists()
    assert (archive / f"{record['archived_segment']}.zst").exists()
    backups = {item["label"]: item for item in cluster.keeper("info").expect(0)["backups"]}
    assert backups[record["new_backup"]]["timeline"] == 2
    assert backups[record["new_backup"]]["status"] == "verified"
    assert cluster.value("SELECT failed_count FROM pg_stat_archiver") == 0

    # Evidence is in the repository and says the same.
    [kept_record] = evidence(world)
    assert kept_record["result"] == "restored"
    assert kept_record["reached"] == record["reached"]
    assert 0 < kept_record["downtime_seconds"] < 30
    for phase in ("stage", "replay", "verify"):
        assert kept_record["seconds"][phase] >= 0


def test_the_same_restore_again_changes_nothing(world: World) -> None:
    cluster = world.cluster
    options = ("--target-name", "alpha", *CONFIRM)
    assert cluster.keeper("restore", *options).expect(0)["changed"]
    found = rows(world)
    with cluster.unchanged():
        answer = cluster.keeper("restore", *options).expect(0)
        assert (answer["changed"], answer["executed"]) == (False, False)
        shown = cluster.keeper("plan", *options[:2]).expect(0)
        assert (shown["changed"], shown["executed"]) == (False, False)
    assert rows(world) == found
    assert len(evidence(world)) == 1


def test_check_mode_is_the_plan_and_touches_nothing(world: World) -> None:
    cluster = world.cluster
    with cluster.unchanged():
        plan = cluster.keeper("plan", "--target-name", "beta").expect(0)
        check = cluster.keeper("restore", "--check", "--target-name", "beta").expect(0)
    for answer in (plan, check):
        assert (answer["changed"], answer["executed"]) == (True, False)
    moving = {"made_at", "kept_directory", "disk", "estimate"}
    assert {name: value for name, value in plan["plan"].items() if name not in moving} == {
        name: value for name, value in check["plan"].items() if name not in moving
    }
    assert plan["plan"]["backup"] == world.backups[1].label
    assert not (cluster.state_directory / "restore.journal.json").exists()


@pytest.mark.parametrize("given", [(), ("--confirm", "other")])
def test_without_the_clusters_name_nothing_happens(world: World, given: tuple[str, ...]) -> None:
    with world.cluster.unchanged():
        world.cluster.keeper("restore", "--target-name", "beta", *given).refused(
            "confirmation-missing", "confirm=main"
        )


def test_undo_brings_back_all_that_was_and_a_later_restore_still_works(world: World) -> None:
    cluster = world.cluster
    before = rows(world)
    cluster.keeper("restore", "--target-name", "alpha", *CONFIRM).expect(0)
    assert rows(world) == world.rows_before(world.points["alpha"])
    shown = cluster.keeper("undo", "--check").expect(0)
    assert shown["changed"] and not shown["executed"]
    answer = cluster.keeper("undo", *CONFIRM).expect(0)
    assert answer["changed"] and answer["executed"]
    assert rows(world) == before
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 1
    beside = sorted(path.name.split("-")[0] for path in cluster.parent.iterdir())
    assert beside == ["data", "data.undone"]
    with cluster.unchanged():
        again = cluster.keeper("undo", *CONFIRM).expect(0)
        assert not again["changed"]
    # The old timeline goes on, and can be restored from: the branch of the undone restore is not followed.
    world.work()
    cluster.archive_all()
    latest = rows(world)
    cluster.keeper("restore", "--latest", *CONFIRM).expect(0)
    assert rows(world) == latest > before


def test_undo_without_a_restore_is_refused(world: World) -> None:
    with world.cluster.unchanged():
        world.cluster.keeper("undo", *CONFIRM).refused("nothing-to-undo")
        world.cluster.keeper("undo").refused("confirmation-missing")


def test_restores_of_restores_follow_the_right_line(world: World) -> None:
    cluster = world.cluster
    # Now: xids are used again on the next timeline, and the book knows rows by their xid.
    all_of_first, until_beta = world.all_rows(), world.rows_before(world.points["beta"])
    cluster.keeper("restore", "--target-name", "beta", *CONFIRM).expect(0)
    on_first = rows(world)
    assert on_first == until_beta
    world.work().point("on second line").work()
    on_second = rows(world)
    cluster.archive_all()
    # Forward again on the second timeline ...
    cluster.keeper("restore", "--target-name", "on second line", *CONFIRM).expect(0)
    third = rows(world)
    assert on_first < third < on_second
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 3
    # ... and back to what only the first one has.
    end = max(end.lsn for end in world.ends if end.committed)
    cluster.keeper("restore", "--target-lsn", lsn_text(end), "--timeline", "1", *CONFIRM).expect(0)
    assert rows(world) == all_of_first
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 4
    assert cluster.value("SELECT failed_count FROM pg_stat_archiver") == 0


def test_latest_loses_nothing_that_was_committed(world: World) -> None:
    cluster = world.cluster
    world.work()  # not archived yet
    before = rows(world)
    answer = cluster.keeper("restore", "--latest", *CONFIRM).expect(0)
    assert rows(world) == before
    assert not answer["record"]["lost"]["unarchived_segments"]


def test_a_target_that_is_not_archived_yet_is_archived_first(world: World) -> None:
    cluster = world.cluster
    world.point("just now").work(3)
    cluster.keeper("restore", "--target-name", "just now", *CONFIRM).expect(0)
    assert rows(world) == world.all_rows()


@pytest.mark.parametrize("control", ["whole", "unreadable"])
def test_latest_of_a_crashed_cluster_asks_first(world: World, control: str) -> None:
    """Also where nobody can say whether it crashed: its last segment holds commits all the same."""
    cluster = world.cluster
    archived = rows(world)
    world.work()
    cluster.crash()
    if control == "unreadable":
        (cluster.data_directory / "global/pg_control").write_bytes(bytes(8192))
    with cluster.unchanged():
        cluster.keeper("restore", "--latest", *CONFIRM).refused(
            "live-wal-not-archived", "--accept-unarchived"
        )
    cluster.keeper("restore", "--latest", "--accept-unarchived", *CONFIRM).expect(0)
    assert rows(world) >= archived


def test_a_lost_data_directory_comes_back(sandbox: Sandbox) -> None:
    """Not on a thawed world: without a live directory the backup's configuration is used, with its paths."""
    cluster = Cluster(sandbox, settings=SETTINGS).start()
    world = World.begin(cluster).work().backup().work().point("beta").work().finish()
    cluster.crash()
    shutil.rmtree(cluster.data_directory)
    answer = cluster.keeper("restore", "--target-name", "beta", *CONFIRM).expect(0)
    assert answer["record"]["kept_directory"] is None
    assert rows(world) == world.rows_before(world.points["beta"])
    assert cluster.data_directory.stat().st_mode & 0o777 in (0o700, 0o750)


def test_the_configuration_is_the_hosts_not_the_backups(world: World) -> None:
    cluster = world.cluster
    cluster.set(max_connections="57", work_mem="5MB")
    hba = cluster.data_directory / "pg_hba.conf"
    hba.write_text(hba.read_text() + "# changed after the backup\n")
    cluster.sql("ALTER SYSTEM SET maintenance_work_mem = '17MB'")
    cluster.restart()
    cluster.keeper("restore", "--target-name", "beta", *CONFIRM).expect(0)
    assert cluster.value("SHOW max_connections") == "57"
    assert cluster.value("SHOW work_mem") == "5MB"
    assert cluster.value("SHOW maintenance_work_mem") == "17MB"
    assert cluster.value("SHOW archive_mode") == "on"
    assert cluster.value("SHOW fsync") == "off", "the setting of the live cluster, not of the staged server"
    assert "# changed after the backup" in hba.read_text()


def test_a_configuration_outside_of_the_data_directory_stays_there(sandbox: Sandbox) -> None:
    cluster = Cluster(sandbox, settings=SETTINGS, external_config=True).start()
    world = World.begin(cluster).work().backup().work().point("alpha").work().finish()
    assert cluster.config_file is not None
    text = cluster.config_file.read_text()
    cluster.keeper("restore", "--target-name", "alpha", *CONFIRM).expect(0)
    assert rows(world) == world.rows_before(world.points["alpha"])
    assert cluster.config_file.read_text() == text
    assert cluster.value("SHOW config_file") == str(cluster.config_file)


def test_tablespaces_go_to_new_directories_and_the_live_ones_stay(sandbox: Sandbox) -> None:
    cluster = Cluster(sandbox, settings=SETTINGS).start()
    places = [cluster.root / "spaces" / name for name in ("first", "second")]
    for place in places:
        place.mkdir(parents=True)
        cluster.sql(f"CREATE TABLESPACE {place.name} LOCATION '{place}'")
    cluster.sql("CREATE TABLE elsewhere TABLESPACE first AS SELECT generate_series(1, 1000) AS n")
    world = World.begin(cluster).work().backup().work().point("early")
    cluster.sql("INSERT INTO elsewhere VALUES (0)")
    world.point("alpha")
    cluster.sql("TRUNCATE elsewhere")
    world.work().finish()
    mapped = cluster.root / "mapped"
    mapped.mkdir(mode=0o700)
    mapping = ("--tablespace", f"{places[1]}={mapped}")
    cluster.keeper("restore", "--target-name", "alpha", *mapping, *CONFIRM).expect(0)
    assert cluster.value("SELECT count(*) FROM elsewhere") == 1001
    located = dict(cluster.sql("SELECT spcname, pg_tablespace_location(oid) FROM pg_tablespace"))
    assert located["second"] == str(mapped)
    assert located["first"].startswith(f"{places[0]}.restored-")
    # What is live now is not free for another restore, be it mapped by name (C02) …
    for options in (mapping, ("--tablespace", f"{places[1]}={located['first']}")):
        answer = cluster.keeper("restore", "--target-name", "early", *options, *CONFIRM)
        assert (answer.status, answer.error["code"]) == (2, "tablespace-target-forbidden"), str(answer)
        assert cluster.value("SELECT count(*) FROM elsewhere") == 1001
    # The old cluster can still come back: its tablespaces were not touched.
    cluster.keeper("undo", *CONFIRM).expect(0)
    assert cluster.value("SELECT count(*) FROM elsewhere") == 0
    assert dict(cluster.sql("SELECT spcname, pg_tablespace_location(oid) FROM pg_tablespace"))[
        "second"
    ] == str(places[1])
    # … or by the same plan again: what the undone restore has left belongs to a directory that is kept.
    left = sorted(str(path) for path in mapped.rglob("*"))
    assert left
    again = ("--tablespace", f"{places[1]}={cluster.root / 'again'}")
    answer = cluster.keeper("restore", "--target-name", "alpha", *again, *CONFIRM)
    assert (answer.status != 0, answer.error["code"]) == (True, "directory-not-empty"), str(answer)
    assert sorted(str(path) for path in mapped.rglob("*")) == left
    assert cluster.value("SELECT count(*) FROM elsewhere") == 0
    cluster.keeper("undo", *CONFIRM)
    cluster.keeper("restore", "--target-name", "early", *CONFIRM).expect(0)
    assert cluster.value("SELECT count(*) FROM elsewhere") == 1000
    assert sorted(str(path) for path in mapped.rglob("*")) == left


@pytest.mark.slow
@pytest.mark.parametrize("major", a_major_a_day())
def test_every_major_is_restored(sandbox: Sandbox, major: int) -> None:
    cluster = Cluster(sandbox, installation=installations()[major], settings=SETTINGS).start()
    world = World.begin(cluster).work().backup().work().point("alpha").work().finish()
    answer = cluster.keeper("restore", "--target-name", "alpha", *CONFIRM).expect(0)
    assert rows(world) == world.rows_before(world.points["alpha"])
    assert answer["record"]["versions"]["major"] == major
    world.work()
    cluster.keeper("undo", *CONFIRM).expect(0)
    assert rows(world) >= world.rows_before(world.points["alpha"])


def test_the_callers_environment_does_not_lead_astray(world: World) -> None:
    other = {
        "PGPORT": "1",
        "PGHOST": "/nowhere",
        "PGDATA": "/nowhere",
        "PGUSER": "nobody",
        "PGOPTIONS": "-c x=y",
    }
    other |= {
        "TZ": "America/New_York",
        "LC_ALL": "tr_TR.UTF-8",
        "PYTHONPATH": "/nowhere",
        "PGTZ": "Asia/Tokyo",
    }
    cluster = world.cluster
    target = ("--target-time", utc(world.marks["after work 2"]))
    cluster.keeper("restore", *target, *CONFIRM, environment=other).expect(0)
    assert rows(world) == expected_at(world, "after work 2")


def test_progress_can_be_read_by_another_process(world: World) -> None:
    cluster = world.cluster
    running = cluster.keeper_start("restore", "--target-name", "beta", *CONFIRM, pause_at="replay:begun")
    running.wait_paused()
    progress = json.loads((cluster.state_directory / "progress.json").read_text())
    assert (progress["operation"], progress["phase"], progress["state"]) == ("restore", "replay", "running")
    assert progress["total"] > 0 and progress["unit"] == "bytes"
    assert progress["owner"]["pid"] == running.pid
    running.resume()
    running.wait().expect(0)
    progress = json.loads((cluster.state_directory / "progress.json").read_text())
    assert progress["state"] == "done"


def test_the_new_timeline_is_never_archived_before_the_swap(world: World) -> None:
    cluster = world.cluster
    running = cluster.keeper_start("restore", "--target-name", "beta", *CONFIRM, pause_at="stop-live:begun")
    running.wait_paused()
    assert not (cluster.timeline_directory(1).parent / "00000002.history").exists()
    assert not cluster.timeline_directory(2).exists()
    # Until here nobody noticed: the live cluster runs and takes writes.
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 1
    world.work(2)
    cluster.set(log_checkpoints="on")
    cluster.reload()
    said = len(cluster.server_log.read_text(errors="replace"))
    running.resume()
    running.wait().expect(0)
    assert (cluster.timeline_directory(1).parent / "00000002.history").exists()
    # What it had in memory it wrote while it still served.
    before_stop, stopped, _dummy = cluster.server_log.read_text(errors="replace")[said:].partition(
        "received fast shutdown request"
    )
    assert stopped and "checkpoint starting:" in before_stop and "checkpoint complete:" in before_stop


def test_a_live_server_that_takes_no_connections_is_stopped_as_it_is(world: World) -> None:
    """It cannot be asked to write what it has in memory; that is no reason not to replace it."""
    cluster = world.cluster
    running = cluster.keeper_start("restore", "--target-name", "beta", *CONFIRM, pause_at="stop-live:begun")
    running.wait_paused()
    (cluster.socket_directory / f".s.PGSQL.{cluster.port}").unlink()
    running.resume()
    running.wait().expect(0)
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 2


def test_a_plan_says_what_will_be_lost(world: World) -> None:
    plan = world.cluster.keeper("plan", "--target-name", "alpha").expect(0)["plan"]
    following = next(end for end in world.ends if end.committed and end.lsn > world.points["alpha"])
    newest = [end for end in world.ends if end.committed][-1]
    before = [end for end in world.ends if end.committed and end.lsn < world.points["alpha"]][-1]
    proof = plan["proof"]
    assert lsn_number(proof["last_commit"]["lsn"]) == before.lsn
    assert lsn_number(proof["next_commit"]["lsn"]) == following.lsn
    assert proof["next_commit"]["xid"] == following.xid
    assert plan["lost"]["from"] == following.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert plan["lost"]["until"] == newest.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert plan["backup"] == world.backups[0].label


def test_a_frozen_world_can_be_thawed_twice(frozen: Frozen, sandbox: Sandbox) -> None:
    """Nothing in a repository or a data directory binds it to one place."""
    first, second = frozen.thaw(sandbox, "one"), frozen.thaw(sandbox, "two")
    assert rows(first) == rows(second) == first.all_rows()
    first.cluster.keeper("restore", "--target-name", "beta", *CONFIRM).expect(0)
    assert rows(first) < rows(second)
    assert postmaster_pid(second.cluster.data_directory) == second.cluster.pid


def test_standard_past_is_what_it_says(world: World) -> None:
    assert len(world.backups) == 2 and set(world.points) == {"alpha", "beta", "twice"}
    newest = world.backups[1]
    assert world.points["alpha"] < newest.start_lsn < world.points["beta"]
    assert (world.points["beta"] - newest.stop_lsn) >> 20 >= 8
    assert standard_past.__doc__
