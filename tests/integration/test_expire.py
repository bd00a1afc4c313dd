# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Expiry on a real archive: what is promised afterwards is restored, what is not wanted is gone."""

from __future__ import annotations

import json
import os
from datetime import timedelta

from .harness.digest import listing
from .harness.keeper import Answer, Running
from .harness.waiting import wait_for
from .harness.workload import recovered_rows
from .harness.world import World, utc

CONFIRM = ("--confirm", "main")


def stored(world: World) -> dict[str, str]:
    """Every backup and every archived file, by its path."""
    root = world.cluster.repository / world.cluster.name
    return {**listing(root / "base"), **{f"wal/{path}": said for path, said in listing(root / "wal").items()}}


def segments(world: World) -> list[str]:
    """The names of the archived segments of the first timeline."""
    return sorted(path.name[:24] for path in world.cluster.wal_directory.glob("*.zst"))


def bare(world: World, command: str, *argv: str) -> Answer:
    """The host command on a host that knows the cluster by its repository only."""
    return Running([str(world.cluster.command), command, "--json", *argv], dict(os.environ), None).wait()


def three_backups(world: World) -> list[str]:
    """The two of the standard past, work, and one more with some WAL after it; their labels."""
    world.work().backup().work().finish()
    return [backup.label for backup in world.backups]


def test_the_window_can_be_restored_to_its_first_moment(world: World) -> None:
    cluster = world.cluster
    old, middle, new = three_backups(world)
    before = stored(world)
    with cluster.unchanged():
        plan = cluster.keeper("expire", "--dry-run", "--full-count", "2").expect(0)
    assert (plan["changed"], plan["executed"]) == (True, False)
    fates = {one["label"]: (one["action"], one["why"]) for one in plan["plan"]["backups"]}
    assert fates == {old: ("expire", "outside"), middle: ("keep", "count"), new: ("keep", "count")}

    done = cluster.keeper("expire", "--full-count", "2").expect(0)
    assert done["executed"] and done["deleted"]["backups"] == [old]
    assert {**done["plan"], "freed_bytes": 0} == {**plan["plan"], "freed_bytes": 0}
    after = stored(world)
    assert after.keys() < before.keys()
    assert {path: after[path] for path in after} == {path: before[path] for path in after}
    # The segment in which the oldest kept backup starts is the oldest that is left (names sort as positions do).
    start = world.backups[1].start_lsn // (1 << 20)
    assert segments(world)[0] == f"{1:08X}{start // 4096:08X}{start % 4096:08X}"
    with cluster.unchanged():
        assert cluster.keeper("expire", "--full-count", "2").expect(0)["changed"] is False

    known = cluster.keeper("info").expect(0)
    assert [one["label"] for one in known["backups"]] == [middle, new]
    assert known["gaps"] == [] and len(known["windows"]) == 1
    moment = world.backups[1].done_at + timedelta(microseconds=1)
    cluster.keeper("plan", "--target-time", utc(world.backups[1].asked_at)).refused(
        "target-before-oldest-backup", middle
    )
    stop = world.stop_at_time(moment, inclusive=True)
    assert stop is not None
    restored = cluster.keeper("restore", "--target-time", utc(moment), *CONFIRM).expect(0)
    assert restored["plan"]["backup"] == middle
    assert recovered_rows(cluster.dsn()) == world.rows_before(stop)


def test_leases_and_pins_are_respected_and_said(world: World) -> None:
    cluster = world.cluster
    old, middle, new = three_backups(world)
    assert cluster.keeper("pin", old).expect(0) == {"changed": True, "label": old, "pinned": True}
    assert cluster.keeper("pin", old).expect(0)["changed"] is False
    done = cluster.keeper("expire", "--full-count", "1").expect(0)
    assert done["deleted"]["backups"] == [middle]
    assert done["plan"]["blocked"] == [{"what": old, "why": "pinned", "by": []}]
    # A pinned backup keeps what it needs to become consistent, and nothing else from its time.
    cluster.keeper("plan", "--backup", old, "--immediate").expect(0)
    cluster.keeper("plan", "--backup", old, "--latest").refused("segment-missing")
    cluster.keeper("unpin", old).expect(0)
    leases = cluster.repository / cluster.name / "leases"
    told = cluster.keeper("info").expect(0)["retention"]
    assert (told["pinned"], told["leases"]) == ([], [])
    assert told["last"]["deleted"]["backups"] == [middle]
    lease = {
        "id": "a-restore",
        "purpose": "restore",
        "label": old,
        "system_id": cluster.system_id,
        "first_segment": None,
        "keep": True,
        "owner": {},
    }
    (leases / "a-restore.json").write_text(json.dumps(lease))
    held = cluster.keeper("expire", "--full-count", "1").expect(0)
    assert held["changed"] is False
    assert held["plan"]["blocked"] == [{"what": old, "why": "leased", "by": ["a-restore"]}]
    told = cluster.keeper("info").expect(0)["retention"]
    assert [one["id"] for one in told["leases"]] == ["a-restore"]
    said = {one["name"]: one for one in cluster.keeper("check").data["checks"]}
    assert said["expiry"]["state"] == "warning" and old in said["expiry"]["text"]
    (leases / "a-restore.json").unlink()
    assert cluster.keeper("expire", "--full-count", "1").expect(0)["deleted"]["backups"] == [old]
    cluster.keeper("plan", "--latest").expect(0)
    assert [one["label"] for one in cluster.keeper("info").expect(0)["backups"]] == [new]


def test_the_second_at_once_is_told_who_is_at_it(world: World) -> None:
    cluster = world.cluster
    old, _middle, _new = three_backups(world)
    running = cluster.keeper_start("expire", "--full-count", "1", pause_at="confirm:begun")
    running.wait_paused()
    with cluster.unchanged():
        error = cluster.keeper("expire", "--full-count", "1").refused("busy", "expiry", str(running.pid))
        assert error["details"]["holder"]["pid"] == running.pid
    # What is marked is not chosen any more, before anything of it is gone.
    cluster.keeper("plan", "--backup", old, "--immediate").refused("backup-not-verified", "expired")
    running.resume()
    running.wait().expect(0)


def test_a_restore_that_took_its_lease_in_time_keeps_its_backup(world: World) -> None:
    cluster = world.cluster
    old, _middle, _new = three_backups(world)
    asked = ("--backup", old, "--target-name", "alpha", *CONFIRM)
    restore = cluster.keeper_start("restore", *asked, pause_at="lease:begun")
    restore.wait_paused()
    expiry = cluster.keeper_start("expire", "--full-count", "1", pause_at="mark:done")
    expiry.wait_paused()
    restore.resume()
    wait_for(lambda: list((cluster.repository / cluster.name / "leases").glob("*.json")), "the lease")
    expiry.resume()
    done = expiry.wait().expect(0)
    assert old in done["deleted"]["spared"]
    answer = restore.wait()
    # It saw the mark and touched nothing, or it came after the backup was spared; the next run goes to the end.
    if answer.status != 0:
        assert cluster.running
        cluster.keeper("restore", *asked).expect(0)
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["alpha"])


def test_on_the_repositorys_host_neither_description_nor_programs_are_needed(world: World) -> None:
    cluster = world.cluster
    old, middle, new = three_backups(world)
    cluster.keeper("index").expect(0)
    root = ("--root", str(cluster.repository), "--cluster", cluster.name)
    done = bare(world, "expire", *root, "--full-count", "2").expect(0)
    assert done["deleted"]["backups"] == [old]
    bare(world, "expire", *root).refused("retention-not-set", "--full-count")
    assert bare(world, "pin", middle, *root).expect(0)["changed"]
    assert bare(world, "expire", *root, "--full-count", "1").expect(0)["plan"]["blocked"]
    assert [one["label"] for one in cluster.keeper("info").expect(0)["backups"]] == [middle, new]


def test_what_nobody_has_read_is_not_judged(world: World) -> None:
    """An index that is not warm, and no programs to warm it: nothing goes."""
    cluster = world.cluster
    three_backups(world)
    for path in (cluster.repository / cluster.name / "index").glob("*/index.jsonl"):
        path.unlink()
    before = stored(world)
    root = ("--root", str(cluster.repository), "--cluster", cluster.name)
    answer = bare(world, "expire", *root, "--full-count", "1").expect(3)
    assert (answer["changed"], answer["plan"]["held"][0]["error"]["code"]) == (False, "program-missing")
    assert stored(world) == before


def test_what_an_undo_gave_up_goes_after_its_window_and_its_number_is_never_taken_again(world: World) -> None:
    cluster = world.cluster
    archive = cluster.wal_directory.parent
    kept = {backup.label for backup in world.backups}
    done = cluster.keeper("restore", "--target-name", "beta", *CONFIRM).expect(0)
    theirs = done["record"]["new_backup"]
    cluster.sql("CREATE TABLE of_the_other_timeline (n int)")
    cluster.sql("SELECT pg_switch_wal()")
    wait_for(lambda: list((archive / "00000002").glob("*.zst")), "WAL of the restored cluster")
    undone = cluster.keeper("undo", *CONFIRM).expect(0)
    assert undone["given_up"]["timeline"] == 2 and undone["given_up"]["resumed_timeline"] == 1
    cluster.keeper("undo", *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.all_rows()

    # Life goes on, longer than the other timeline's was; within the promise all of that one stays.
    for number in range(4):
        cluster.sql(f"CREATE TABLE afterwards_{number} (n int)")
        cluster.sql("SELECT pg_switch_wal()")
    mine = cluster.keeper("backup").expect(0)["backup"]["label"]
    for policy in (("--full-count", "1", "--window", "1h"), ("--full-count", "4")):
        plan = cluster.keeper("expire", "--dry-run", *policy).expect(0)["plan"]
        assert {one["label"] for one in plan["backups"] if one["action"] == "keep"} == {*kept, theirs, mine}
        assert [one["timeline"] for one in plan["given_up"]] == [2]
        assert not [one for one in plan["wal"] if one["action"] == "expire" and one["timeline"] == 2]

    expired = cluster.keeper("expire", "--full-count", "1").expect(0)
    assert set(expired["deleted"]["backups"]) == {*kept, theirs}
    assert not list(archive.glob("00000002/*"))
    assert (archive / "00000002.history").exists()
    assert [path.name for path in (archive.parent.parent / "timelines").glob("*/*")] == ["00000002.json"]
    known = cluster.keeper("info").expect(0)
    assert [one["label"] for one in known["backups"]] == [mine] and known["gaps"] == []
    assert cluster.keeper("expire", "--full-count", "1").expect(0)["changed"] is False

    again = cluster.keeper("restore", "--immediate", "--skip-backup", *CONFIRM).expect(0)
    assert again["record"]["reached"]["new_timeline"] == 3
