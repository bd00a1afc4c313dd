# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The plan as a table: one thing wrong with the host, one refusal; nothing wrong, every path and figure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.postmaster import InstanceStatus
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.plan import RestorePlan, make_plan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.state import LiveCluster, Measured

from . import world

MIB = 1 << 20


def plan(
    taken: Any = None, *, options: dict[str, Any] | None = None, proof: Any = None, **host: Any
) -> RestorePlan:
    taken = taken or world.backup()
    return make_plan(
        world.request(**(options or {})), proof or world.proof(), taken, world.state(taken, **host)
    )


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"config": world.config(version="16")}, "version-mismatch", "PostgreSQL 15"),
    (
        {"live": LiveCluster(True, InstanceStatus(running=True), world.control(system_id=7))},
        "system-mismatch",
        "another database lives here",
    ),
    ({"running_as": "root"}, "wrong-owner", "belongs to postgres"),
    ({"may_control_service": False}, "needs-root", "postgresql@15-main.service"),
    ({"parent_writable": False}, "parent-not-writable", "/var/lib/postgresql/15"),
    ({"renamable": False}, "data-directory-not-renamable", "mount point or a symbolic link"),
    (
        {"disks": {"/var/lib/postgresql/15": world.disk("/var/lib/postgresql/15", free=3 * 10**9)}},
        "disk-too-small",
        "2.8 GB free",
    ),
]


@pytest.mark.parametrize(("host", "code", "words"), REFUSED)
def test_a_host_that_does_not_fit_is_refused(host: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        plan(**host)
    assert caught.value.code == code
    assert words in caught.value.happened
    assert caught.value.remedy


def test_everything_is_beside_the_live_directory() -> None:
    made = plan()
    assert made.work_directory == f"{world.DATA}.dbkeeper-{made.id}"
    assert made.staging == f"{made.work_directory}/data"
    assert made.kept_directory == f"{world.DATA}.before-20261121T033000Z-{made.id}"
    assert (made.timeline, made.lsn, made.inclusive, made.immediate) == (
        1,
        5 * world.SEGMENT + 0x200,
        False,
        False,
    )
    assert [name for name, _dummy in made.segments] == [f"00000001000000000000000{n}" for n in (2, 3, 4, 5)]
    assert made.settings == {name: value for name, value in world.SETTINGS.items() if name != "wal_level"}


def test_a_plan_survives_a_journal() -> None:
    made = plan(
        world.with_tablespace(),
        disks={"/var/lib/postgresql/15": world.disk("/"), "/mnt/fast": world.disk("/mnt")},
    )
    assert RestorePlan.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_the_same_is_the_same_plan_and_another_target_another() -> None:
    assert plan().id == plan().id
    assert plan().id != plan(proof=world.proof(lsn=5 * world.SEGMENT + 0x300)).id
    assert plan().id != plan(proof=world.proof(inclusive=True)).id
    assert (
        plan().id
        != plan(config=world.config(data_directory="/srv/main"), disks={"/srv": world.disk("/srv")}).id
    )


def test_disk_is_counted_for_each_file_system() -> None:
    taken = world.with_tablespace(size=10**9)
    disks = {
        "/var/lib/postgresql/15": world.disk("/var", device=1),
        "/mnt/fast": world.disk("/mnt/fast", device=2),
    }
    made = plan(taken, disks=disks)
    # By hand: 2 GB outside the tablespace, 4 segments of WAL kept, 12 more for prefetch and the running one; 10 % more.
    assert [item["needed_bytes"] for item in made.disk] == [
        round((2 * 10**9 + (4 + 12) * 16 * MIB) * 1.1),
        round(10**9 * 1.1),
    ]
    together = plan(taken, disks={path: world.disk(path, device=1) for path in disks})
    assert len(together.disk) == 1
    assert together.disk[0]["needed_bytes"] == sum(item["needed_bytes"] for item in made.disk)


def test_a_tablespace_goes_beside_itself_however_often_it_was_restored() -> None:
    made = plan(world.with_tablespace("/mnt/fast/space"), disks=_two_disks())
    assert made.tablespaces == [
        {"oid": 16400, "source": "/mnt/fast/space", "target": f"/mnt/fast/space.restored-{made.id}"}
    ]
    again = plan(
        world.with_tablespace(made.tablespaces[0]["target"]),
        disks=_two_disks(),
        proof=world.proof(inclusive=True),
    )
    assert again.tablespaces[0]["target"] == f"/mnt/fast/space.restored-{again.id}"
    assert again.id != made.id


def _two_disks() -> dict[str, Any]:
    return {path: world.disk(path) for path in ("/var/lib/postgresql/15", "/mnt/fast", "/elsewhere")}


MAPS = [
    ({"/mnt/other": "/elsewhere/x"}, "tablespace-unknown"),
    ({"/mnt/fast/space": "/mnt/fast/space"}, "tablespace-target-forbidden"),
    ({"/mnt/fast/space": f"{world.DATA}/inside"}, "tablespace-target-forbidden"),
]


@pytest.mark.parametrize(("mapping", "code"), MAPS)
def test_a_tablespace_is_never_put_where_something_lives(mapping: dict[str, str], code: str) -> None:
    disks = {**_two_disks(), world.DATA: world.disk(world.DATA)}
    with pytest.raises(Refused) as caught:
        plan(
            world.with_tablespace(),
            options={"time": "2026-11-21T03:20:00Z", "tablespace_map": mapping},
            disks=disks,
        )
    assert caught.value.code == code


def test_a_tablespace_is_never_put_where_something_lies() -> None:
    """C02: it may be what an earlier restore was mapped to, and live."""
    mapping = {"/mnt/fast/space": "/mnt/fast/other"}
    options = {"time": "2026-11-21T03:20:00Z", "tablespace_map": mapping}
    disks = {**_two_disks(), world.DATA: world.disk(world.DATA)}
    assert (
        plan(world.with_tablespace(), options=options, disks=disks).tablespaces[0]["target"]
        == "/mnt/fast/other"
    )
    with pytest.raises(Refused, match="in which something lies") as caught:
        plan(world.with_tablespace(), options=options, disks=disks, occupied=frozenset({"/mnt/fast/other"}))
    assert caught.value.code == "tablespace-target-forbidden"


@pytest.mark.parametrize(
    ("real", "code"),
    [
        ("/mnt/other/place", None),
        (f"{world.DATA}/inside", "tablespace-target-forbidden"),
        ("/really/data/inside", "tablespace-target-forbidden"),
        ("/really/data", "tablespace-target-forbidden"),
        ("/really/database", None),
    ],
)
def test_a_map_is_followed_through_links(real: str, code: str | None) -> None:
    """C02: what counts is where the path leads to, on both sides."""
    mapping = {"/mnt/fast/space": "/elsewhere/x"}
    real_paths = {"/elsewhere/x": real}
    if real.startswith("/really"):
        real_paths[world.DATA] = "/really/data"
    options = {"time": "2026-11-21T03:20:00Z", "tablespace_map": mapping}
    if code is None:
        assert plan(world.with_tablespace(), options=options, disks=_two_disks(), real_paths=real_paths)
        return
    with pytest.raises(Refused) as caught:
        plan(world.with_tablespace(), options=options, disks=_two_disks(), real_paths=real_paths)
    assert caught.value.code == code


def test_latest_stops_a_running_cluster_first_and_says_what_that_costs() -> None:
    latest = world.request(latest=True)
    made = plan(
        options={"latest": True}, proof=world.proof(target=latest.target, inclusive=True, next_commit=None)
    )
    assert made.stop_first
    assert made.estimate["downtime_seconds"] > made.estimate["stage_seconds"]
    assert made.lost["from"] is None
    stopped = LiveCluster(True, InstanceStatus(running=False), world.control(state="shut down"))
    assert not plan(
        options={"latest": True}, proof=world.proof(target=latest.target), live=stopped
    ).stop_first


def test_estimates_come_from_the_last_restore() -> None:
    made = plan(measured=Measured(300e6, 64e6, 0.4, "20261101T000000Z-restore-x"))
    assert made.estimate["stage_seconds"] == 10.0
    assert made.estimate["replay_seconds"] == round(4 * world.SEGMENT / 64e6, 1)
    assert made.estimate["downtime_seconds"] == 0.4
    assert made.estimate["source"] == "20261101T000000Z-restore-x"


def test_what_will_be_lost_is_said() -> None:
    made = plan(live=replace(world.state().live, ready_segments=("00000001000000000000000A",)))
    assert made.lost["from"] == "2026-11-21T03:21:00.000000Z"
    assert made.lost["until"] == "2026-11-21T03:29:00.000000Z"
    assert made.lost["archived_wal_bytes"] == 4 * world.SEGMENT - 0x200
    assert made.lost["unarchived_segments"] == ["00000001000000000000000A"]
    assert made.lost["since_the_archive_ends"]
