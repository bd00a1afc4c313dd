# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a base backup decides: a table of states, each with its plan or its refusal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.plan import make_plan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.request import BackupRequest
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.state import Archiver, BackupState
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.postmaster import InstanceStatus
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import (
    Catalog,
    DamagedEntry,
)

from .states import CONTROL, GB, SERVER, SYSTEM, backup, config, state

HOUR = 3600


@pytest.mark.parametrize(
    ("label", "age", "code"),
    [
        ("../x", None, "label-malformed"),
        ("", None, "label-malformed"),
        ("x" * 64, None, "label-malformed"),
        (None, 0, "max-age-malformed"),
        (None, -1, "max-age-malformed"),
        ("x", 60, "request-contradictory"),
    ],
)
def test_a_request_that_cannot_be_meant(label: str | None, age: int | None, code: str) -> None:
    with pytest.raises(Refused) as caught:
        BackupRequest(label=label, max_age_seconds=age)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("request_", "there", "satisfied_by"),
    [
        (BackupRequest(), [backup("young", 0.1)], None),
        (BackupRequest(label="young"), [backup("young", 500)], "young"),
        (BackupRequest(label="young"), [backup("old", 1)], None),
        (BackupRequest(label="young"), [backup("young", 1, status="failed")], None),
        (BackupRequest(label="young"), [backup("young", 1, status="running")], None),
        (BackupRequest(max_age_seconds=24 * HOUR), [], None),
        (BackupRequest(max_age_seconds=24 * HOUR), [backup("young", 23.9)], "young"),
        (BackupRequest(max_age_seconds=24 * HOUR), [backup("young", 24)], "young"),
        (BackupRequest(max_age_seconds=24 * HOUR), [backup("old", 24.1)], None),
        (BackupRequest(max_age_seconds=24 * HOUR), [backup("old", 30), backup("young", 2)], "young"),
        (BackupRequest(max_age_seconds=24 * HOUR), [backup("young", 2, status="failed")], None),
        (BackupRequest(max_age_seconds=24 * HOUR), [backup("young", 2, status="running")], None),
        (BackupRequest(max_age_seconds=24 * HOUR), [backup("young", 2, status="expired")], None),
        (BackupRequest(max_age_seconds=24 * HOUR), [backup("foreign", 2, system_id=SYSTEM + 1)], None),
        # From the future: its age is not known (A18).
        (BackupRequest(max_age_seconds=24 * HOUR), [backup("future", -1)], None),
    ],
)
def test_what_satisfies_a_request(
    request_: BackupRequest, there: list[Any], satisfied_by: str | None
) -> None:
    plan = make_plan(request_, state(*there))
    assert plan.changes is (satisfied_by is None)
    if satisfied_by:
        assert plan.label == satisfied_by
        assert plan.steps() == [] and plan.argv == ()


def test_a_satisfied_request_needs_no_server() -> None:
    down = state(backup("young", 1), status=InstanceStatus(False, reason="down"), server=None)
    assert not make_plan(BackupRequest(max_age_seconds=24 * HOUR), down).changes


def test_the_command_line() -> None:
    plan = make_plan(BackupRequest(), state())
    assert plan.label == "20261121T050000Z-full"
    assert plan.argv == (
        "/b/pg_basebackup",
        "-D",
        "/r/main/base/20261121T050000Z-full/.incoming",
        "-F",
        "tar",
        "-X",
        "none",
        "-c",
        "fast",
        "-l",
        "dbkeeper 20261121T050000Z-full",
        "--manifest-checksums=SHA256",
        "--no-sync",
        "-P",
        "-v",
        "-w",
        "--compress=server-zstd:level=1,workers=1",
        "-h",
        "/run/s",
        "-p",
        "5432",
        "-U",
        "dbkeeper",
    )


@pytest.mark.parametrize(
    ("changes", "present", "absent"),
    [
        ({"cpus": 1}, ["--compress=server-zstd:level=1"], []),
        (
            {"config": config(backup={"compression_level": 5, "max_rate_kbytes": 2048})},
            ["--compress=server-zstd:level=5,workers=1", "--max-rate=2048k"],
            [],
        ),
        (
            {"config": config(version="14"), "server": replace(SERVER, version_num=140023)},
            [],
            ["--compress=server-zstd:level=1,workers=1"],
        ),
    ],
)
def test_options(changes: dict[str, Any], present: list[str], absent: list[str]) -> None:
    argv = make_plan(BackupRequest(), state(**changes)).argv
    assert set(present) <= set(argv) and not set(absent) & set(argv)


def test_a_server_that_cannot_compress_is_compressed_afterwards() -> None:
    plan = make_plan(
        BackupRequest(), state(config=config(version="14"), server=replace(SERVER, version_num=140023))
    )
    assert plan.compress_after
    assert any(step.startswith("zstd -1") for step in plan.steps())
    # The plain archives lie there too: 4 GB and half of it compressed, a tenth and 64 MB to spare.
    assert plan.needed_bytes == 4 * GB + int(2 * GB * 1.1) + (64 << 20)


def test_a_label_is_never_taken_twice() -> None:
    there = backup("20261121T050000Z-full", 0)
    assert make_plan(BackupRequest(), state(there)).label == "20261121T050000Z-full-2"
    error = Failed("backup-entry-damaged", attempted="a", happened="b", remedy="c")
    damaged = Catalog((there,), (DamagedEntry("20261121T050000Z-full-2", error),))
    assert make_plan(BackupRequest(), state(catalog=damaged)).label == "20261121T050000Z-full-3"


def test_what_dead_runs_left_is_discarded() -> None:
    there = [backup("dead", 9, status="running"), backup("bad", 8, status="failed"), backup("good", 7)]
    plan = make_plan(BackupRequest(), state(*there))
    assert plan.discard == ("dead",)
    assert plan.steps()[0] == "remove what the unfinished backup dead left"
    # A label that is wanted again is begun anew.
    assert make_plan(BackupRequest(label="bad"), state(*there)).discard == ("dead", "bad")


@pytest.mark.parametrize(
    ("there", "needed"),
    [
        # 4 GB to read. First backup: half of it. Later: as the last one shrank. A tenth and 64 MB to spare.
        ([], int(2 * GB * 1.1) + (64 << 20)),
        ([backup("last", 1)], int(1 * GB * 1.1) + (64 << 20)),
        ([backup("last", 1, system_id=SYSTEM + 1)], int(2 * GB * 1.1) + (64 << 20)),
    ],
)
def test_the_space_that_is_needed(there: list[Any], needed: int) -> None:
    enough = replace(state().disk, free_bytes=needed)
    assert make_plan(BackupRequest(), state(*there, disk=enough)).needed_bytes == needed
    with pytest.raises(Refused) as caught:
        make_plan(BackupRequest(), state(*there, disk=replace(enough, free_bytes=needed - 1)))
    assert caught.value.code == "space-too-little"
    assert caught.value.details["needed_bytes"] == needed


FAILING = Archiver(
    archived_count=5,
    last_archived_wal="000000010000000000000008",
    last_archived_at="2026-11-21T04:00:00+00:00",
    failed_count=7,
    last_failed_wal="000000010000000000000009",
    last_failed_at="2026-11-21T04:59:00+00:00",
    failing=True,
)
RUNNING_ELSEWHERE = backup("other", 0, status="running", owner={"pid": 7, "host": "db2", "since": "03:00"})


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (
            {"status": InstanceStatus(False, reason="no pid file"), "server": None},
            "server-not-running",
            ["no pid file"],
        ),
        ({"server": None}, "server-not-ready", ["takes no connections"]),
        ({"server": replace(SERVER, system_id=1)}, "server-other-cluster", [str(SYSTEM), "system 1 "]),
        ({"server": replace(SERVER, version_num=160004, version="16.4")}, "version-mismatch", ["16.4", "15"]),
        ({"server": replace(SERVER, in_recovery=True)}, "server-in-recovery", ["standby"]),
        ({"server": replace(SERVER, archive_mode="off")}, "archiving-off", ["archive_mode is off"]),
        ({"server": replace(SERVER, archive_command="")}, "archiving-off", ["empty"]),
        ({"server": replace(SERVER, archive_command="(disabled)")}, "archiving-off", ["(disabled)"]),
        (
            {"server": replace(SERVER, archiver=FAILING), "ready_segments": 3},
            "archiving-failing",
            ["000000010000000000000009", "3 segments wait"],
        ),
        ({"server": replace(SERVER, max_wal_senders=0)}, "no-wal-senders", ["max_wal_senders is 0"]),
        (
            {"server": replace(SERVER, backup_role_fit=None)},
            "backup-role-missing",
            ["dbkeeper does not exist"],
        ),
        (
            {"server": replace(SERVER, backup_role_fit=False)},
            "backup-role-missing",
            ["lacks LOGIN or REPLICATION"],
        ),
        ({"repository_writable": False}, "repository-not-writable", ["/r/main/base"]),
        (
            {"catalog": Catalog((RUNNING_ELSEWHERE,), ()), "live_owners": frozenset({"other"})},
            "busy",
            ["backup other", "process 7 on db2"],
        ),
    ],
)
def test_refusals(changes: dict[str, Any], code: str, words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        make_plan(BackupRequest(), state(**changes))
    assert caught.value.code == code
    for word in words:
        assert word in caught.value.happened
    assert caught.value.remedy.endswith(".")


def test_an_archive_library_is_archiving_too() -> None:
    server = replace(SERVER, archive_command="", archive_library="basic_archive")
    assert make_plan(BackupRequest(), state(server=server)).changes


@pytest.mark.parametrize(
    "wrong",
    [
        {"page_faults": {"count": 1, "files": [{"path": "base/5/1259", "count": 1, "blocks": [0]}]}},
        {"unsound": {"at": "2026-11-21T00:00:00Z", "text": "base.tar.zst is damaged"}},
        {"kind": "incremental", "parent": "nobody"},
    ],
)
def test_a_label_is_not_satisfied_by_what_no_restore_takes(wrong: dict[str, Any]) -> None:
    """The run that made it failed, and the next one must not say that all is well."""
    with pytest.raises(Refused) as caught:
        make_plan(BackupRequest(label="hurt"), state(backup("hurt", 1, **wrong)))
    assert caught.value.code == "label-taken"
    assert make_plan(BackupRequest(label="hurt"), state(backup("hurt", 1))).backup is not None


@pytest.mark.parametrize("status", ["expired"])
def test_a_label_of_the_past_is_not_given_again(status: str) -> None:
    with pytest.raises(Refused) as caught:
        make_plan(BackupRequest(label="gone"), state(backup("gone", 99, status=status)))
    assert caught.value.code == "label-taken"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, None),
        ({"same_device": True}, "one lost disk loses both"),
        ({"control": replace(CONTROL, data_checksums=False)}, "data checksums are off"),
        ({"catalog": Catalog((backup("future", -1),), ())}, "in the future"),
    ],
)
def test_warnings(change: dict[str, Any], word: str | None) -> None:
    warnings = make_plan(BackupRequest(), state(**change)).warnings
    assert [word in warning for warning in warnings] == ([True] if word else [])


def test_the_plan_has_the_same_keys_either_way() -> None:
    satisfied: BackupState = state(backup("young", 1))
    plans = make_plan(BackupRequest(label="young"), satisfied), make_plan(BackupRequest(), satisfied)
    assert plans[0].to_dict().keys() == plans[1].to_dict().keys()
