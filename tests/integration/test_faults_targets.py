# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Targets that cannot be meant or cannot be reached: refused, with the nearest choice that does work (A01-A16)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.side import Beside
from .harness.template import Kind
from .harness.world import Frozen, World, lsn_number, lsn_text, utc

#: Of a restore that doesn't find its target: the live cluster's current segment is archived, and looked at.
ARCHIVED_FIRST = ("wal: ",)


@pytest.fixture(scope="module")
def calm(frozen: Frozen) -> Iterator[World]:
    """One running copy for all tests here: none of them may change it."""
    sandbox = Sandbox()
    yield frozen.thaw(sandbox)
    sandbox.close()


def json_time(moment: datetime) -> str:
    """A time as all JSON has it."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def newest_commit(world: World) -> dict[str, object]:
    """The last commit of all, as errors tell it."""
    end = [end for end in world.ends if end.committed][-1]
    return {"timeline": 1, "lsn": lsn_text(end.lsn), "time": json_time(end.time), "xid": end.xid}


Options = Callable[[World], list[str]]


def fixed(*options: str) -> Options:
    """The same options in every world."""
    return lambda world: list(options)


def in_an_hour(world: World) -> list[str]:
    return ["--target-time", utc(datetime.now(timezone.utc) + timedelta(hours=1))]


def just_now(world: World) -> list[str]:
    return ["--target-time", utc(world.cluster.value("SELECT clock_timestamp()"))]


def before_all_backups(world: World) -> list[str]:
    return ["--target-time", utc(world.marks["after work 0"])]


def before_the_pinned_backup(world: World) -> list[str]:
    return ["--target-time", utc(world.backups[1].asked_at), "--backup", world.backups[1].label]


def rolled_back(world: World) -> list[str]:
    end = next(end for end in world.ends if not end.committed and end.lsn > world.backups[0].stop_lsn)
    return ["--target-xid", str(end.xid)]


def subtransaction(world: World, committed: bool = True) -> list[str]:
    after = (end for end in world.ends if end.subxids and end.lsn > world.backups[0].stop_lsn)
    return ["--target-xid", str(next(end for end in after if end.committed is committed).subxids[0])]


def subtransaction_rolled_back(world: World) -> list[str]:
    return subtransaction(world, committed=False)


def before_the_oldest_stop(world: World) -> list[str]:
    return ["--target-lsn", lsn_text(world.backups[0].start_lsn)]


REFUSED: list[tuple[str, Options, str, tuple[str, ...]]] = [
    ("A05 naive time", fixed("--target-time", "2026-11-21 03:04:05"), "time-without-zone", ("Asia/Tokyo",)),
    ("A07 a word", fixed("--target-time", "yesterday"), "time-malformed", ("date, time and zone",)),
    ("A06 abbreviation", fixed("--target-time", "2026-11-21 03:04:05 CET"), "time-malformed", ("CET",)),
    (
        "A06 unknown zone",
        fixed("--target-time", "2026-11-21 03:04:05 Asia/Tokio"),
        "zone-unknown",
        ("Asia/Tokio",),
    ),
    (
        "A06 twice a year",
        fixed("--target-time", "2026-10-25 02:30:00 Europe/Paris"),
        "time-ambiguous",
        ("2026-10-25T00:30:00.000000Z", "2026-10-25T01:30:00.000000Z"),
    ),
    (
        "A06 never",
        fixed("--target-time", "2026-03-29 02:30:00 Europe/Paris"),
        "time-nonexistent",
        ("2026-03-29T00:30:00.000000Z", "2026-03-29T01:30:00.000000Z"),
    ),
    ("A07 no date", fixed("--target-time", "2026-02-30 03:04:05Z"), "time-malformed", ("calendar",)),
    ("A03 future", in_an_hour, "target-in-future", ("latest",)),
    ("A03 after the last commit", just_now, "target-after-last-commit", ("latest", "target LSN")),
    ("A04 idle gap", just_now, "target-after-last-commit", ("idle gap", "--allow-idle-gap")),
    ("A01 before the oldest backup", before_all_backups, "target-before-oldest-backup", ("earliest",)),
    ("A02 before the pinned backup", before_the_pinned_backup, "target-before-oldest-backup", ("earliest",)),
    ("A08 two targets", fixed("--target-name", "alpha", "--latest"), "targets-conflict", ("name, latest",)),
    (
        "A08 three targets",
        fixed("--target-xid", "9", "--target-lsn", "0/1", "--latest"),
        "targets-conflict",
        ("3",),
    ),
    ("A07 no target", fixed(), "target-missing", ("exactly one",)),
    ("A09 point misspelt", fixed("--target-name", "alhpa"), "restore-point-unknown", ("'alpha'", "'beta'")),
    ("A09 point given twice", fixed("--target-name", "twice"), "restore-point-ambiguous", ("2 times", "LSN")),
    ("A07 empty name", fixed("--target-name", ""), "target-malformed", ("63 bytes",)),
    ("A10 rolled back", rolled_back, "xid-aborted", ("rolled back", "LSN")),
    ("A10 subtransaction", subtransaction, "xid-not-in-archive", ("subtransaction", "top-level")),
    ("A10 subtransaction rolled back", subtransaction_rolled_back, "xid-aborted", ("rolled back", "LSN")),
    ("A10 xid unknown", fixed("--target-xid", "4000000000"), "xid-not-in-archive", ("4000000000",)),
    ("A07 xid is a word", fixed("--target-xid", "last"), "target-malformed", ("whole number",)),
    ("A07 lsn is a word", fixed("--target-lsn", "end"), "lsn-malformed", ("end",)),
    ("A11 lsn in the backup", before_the_oldest_stop, "lsn-out-of-range", ("range",)),
    ("A11 lsn beyond", fixed("--target-lsn", "FFFF/0"), "lsn-out-of-range", ("range",)),
    ("A12 timeline unknown", fixed("--latest", "--timeline", "7"), "timeline-unknown", ("7",)),
    ("A07 timeline zero", fixed("--latest", "--timeline", "0"), "target-malformed", ("timeline 0",)),
    ("A07 exclusive point", fixed("--target-name", "alpha", "--exclusive"), "target-malformed", ("exclu",)),
]


@pytest.mark.parametrize(
    ("options", "code", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refused_before_anything_is_touched(
    calm: World, options: Options, code: str, words: tuple[str, ...]
) -> None:
    cluster = calm.cluster
    with cluster.unchanged():
        error = cluster.keeper("plan", *options(calm)).refused(code, *words)
        assert error["touched"] is False
    with cluster.unchanged(*ARCHIVED_FIRST):
        cluster.keeper("restore", *options(calm), "--confirm", "main").refused(code, *words)
    assert not (cluster.state_directory / "restore.journal.json").exists()


def test_an_idle_gap_is_refused_and_can_be_allowed_by_name(calm: World) -> None:
    """A04: all data is there, and PostgreSQL ends with a FATAL error."""
    cluster = calm.cluster
    gap = ("--target-time", utc(calm.cluster.value("SELECT clock_timestamp()")))
    with cluster.unchanged():
        error = cluster.keeper("plan", *gap).refused("target-after-last-commit", "idle gap")
        assert error["details"]["last_reachable_commit"] == newest_commit(calm)
        plan = cluster.keeper("plan", *gap, "--allow-idle-gap").expect(0)["plan"]
        assert plan["proof"]["last_commit"] == newest_commit(calm)
        assert plan["proof"]["next_commit"] is None
        beside = Beside(cluster)
        moment = calm.cluster.value("SELECT clock_timestamp()")
        recovered = beside.restore(beside.plan(time=utc(moment), allow_idle_gap=True))
    assert recovered.rows == calm.all_rows()


def test_the_nearest_choices_that_are_named_do_work(calm: World) -> None:
    cluster = calm.cluster
    error = cluster.keeper("plan", *before_all_backups(calm)).refused("target-before-oldest-backup")
    details = error["details"]
    assert details["oldest_backup"] == calm.backups[0].label
    assert lsn_number(details["earliest_lsn"]) == calm.backups[0].stop_lsn
    cluster.keeper("plan", "--target-time", details["earliest_time"]).expect(0)
    cluster.keeper("plan", "--immediate", "--backup", details["oldest_backup"]).expect(0)

    error = cluster.keeper("plan", "--target-lsn", "FFFF/0").refused("lsn-out-of-range")
    cluster.keeper("plan", "--target-lsn", error["details"]["first_lsn"]).expect(0)
    cluster.keeper("plan", "--target-lsn", error["details"]["last_lsn"]).expect(0)

    error = cluster.keeper("plan", "--target-name", "twice").refused("restore-point-ambiguous")
    for lsn in error["details"]["lsns"]:
        cluster.keeper("plan", "--target-lsn", lsn).expect(0)

    error = cluster.keeper("plan", *subtransaction(calm)).refused("xid-not-in-archive")
    cluster.keeper("plan", "--target-xid", str(error["details"]["top_level_xid"])).expect(0)

    error = cluster.keeper("plan", *rolled_back(calm)).refused("xid-aborted")
    cluster.keeper("plan", "--target-lsn", error["details"]["lsn"], "--exclusive").expect(0)


def test_a_zone_by_name_means_the_same_moment_as_its_offset(calm: World) -> None:
    moment = calm.marks["after work 4"].astimezone(timezone(timedelta(hours=9)))
    text = moment.strftime("%Y-%m-%d %H:%M:%S.%f")
    plans = [
        calm.cluster.keeper("plan", "--target-time", target).expect(0)["plan"]
        for target in (f"{text} Asia/Tokyo", f"{text}+09:00", utc(moment))
    ]
    assert len({plan["id"] for plan in plans}) == 1
    assert {plan["proof"]["target"]["value"] for plan in plans} == {json_time(moment)}


def test_a_target_inside_a_backups_window_uses_the_backup_before(calm: World) -> None:
    """A02."""
    second = calm.backups[1]
    plan = calm.cluster.keeper("plan", "--target-lsn", lsn_text(second.stop_lsn - 1)).expect(0)["plan"]
    assert plan["backup"] == calm.backups[0].label


def test_backups_of_two_systems_and_no_cluster_to_tell_which_is_meant(world: World, sandbox: Sandbox) -> None:
    """A16: a repository that was used for a second cluster by mistake."""
    cluster = world.cluster
    stranger = Cluster(
        sandbox, cluster.name, kind=Kind(variant=1), root=sandbox.root / "x", repository=cluster.repository
    ).start()
    stranger.keeper("backup").expect(0)
    stranger.stop()
    # With its own cluster there, nothing is in doubt.
    cluster.keeper("plan", "--target-name", "beta").expect(0)
    system_ids = sorted([cluster.system_id, stranger.system_id])
    cluster.stop()
    (cluster.data_directory / "global" / "pg_control").unlink()
    with cluster.unchanged():
        for command in (("plan",), ("restore", "--confirm", "main")):
            error = cluster.keeper(*command, "--target-name", "beta").refused(
                "system-ambiguous", "backups of 2 systems", "Name a backup"
            )
            assert error["details"]["system_ids"] == system_ids
        label = world.backups[1].label
        plan = cluster.keeper("plan", "--target-name", "beta", "--backup", label).expect(0)["plan"]
        assert plan["system_id"] != stranger.system_id


def test_the_text_of_a_refusal_has_all_four_parts(calm: World) -> None:
    """A person without --json gets code, attempted, happened and remedy on standard error."""
    from .harness.keeper import Running

    argv = [
        part for part in calm.cluster.keeper_argv("plan", "--target-time", "yesterday") if part != "--json"
    ]
    answer = Running(argv, {"PATH": "/usr/bin:/bin"}, None).wait()
    assert answer.status == 2
    assert (
        "time-malformed" in answer.err and "yesterday" in answer.err and "date, time and zone" in answer.err
    )
    assert answer.out == ""
