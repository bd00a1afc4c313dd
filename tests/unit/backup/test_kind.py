# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Full or incremental: every reason, as a row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.kind import choose_kind
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.pages import describe, page_faults
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.plan import make_plan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.request import BackupRequest
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.state import BackupState
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.summaries import Summaries
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

from .states import CONTROL, SERVER, backup, config, state

SEVENTEEN = replace(SERVER, version="17.2", version_num=170002, timeline=1)
#: From the start of the newest backup on, one behind the other.
RANGES = ((1, 0x2000028, 0x3000028), (1, 0x3000028, 0x5000028), (1, 0x1000000, 0x2000028))
KEPT = Summaries(True, 864000, RANGES, 0x5000028)
FULL = backup("full", 30, major=17, data_checksums=True)
CHILD = backup(
    "child", 5, major=17, kind="incremental", parent="full", data_checksums=True, start_lsn=0x3000028
)


def ready(*backups: Any, **more: Any) -> BackupState:
    known: dict[str, Any] = {"server": SEVENTEEN, "summaries": KEPT, "can_combine": True}
    return state(*(backups or (FULL, CHILD)), **{**known, "config": config(version="17"), **more})


def test_an_incremental_one_is_built_on_the_newest() -> None:
    plan = make_plan(BackupRequest(), ready())
    assert (plan.kind, plan.chain, plan.label) == (
        "incremental",
        ("full", "child"),
        "20261121T050000Z-incremental",
    )
    assert "--incremental=/r/main/base/child/backup_manifest" in plan.argv
    assert plan.to_dict()["parent"] == "child"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"server": replace(SEVENTEEN, version_num=160004), "summaries": None}, "come with 17"),
        ({"summaries": replace(KEPT, on=False)}, "summarize_wal is off"),
        ({"can_combine": False}, "pg_combinebackup"),
        ({"server": replace(SEVENTEEN, timeline=2)}, "the server is on timeline 2"),
        ({"control": replace(CONTROL, data_checksums=False)}, "checksums were switched since child"),
        ({"parent_fault": "backup full is not whole: x"}, "not whole"),
        ({"config": config(version="17", backup={"full_interval_seconds": 108000})}, "one is due every 30 h"),
        ({"summaries": replace(KEPT, ranges=RANGES[:1])}, "no WAL summary covers 0/3000028"),
        (
            {"summaries": replace(KEPT, ranges=(), summarized_lsn=0x5000028)},
            "no WAL summary covers 0/3000028",
        ),
        ({"config": config(version="17", backup={"kind": "full"})}, "asked for"),
    ],
)
def test_why_it_is_full(changes: dict[str, Any], word: str) -> None:
    found = ready(**changes)
    server = found.server
    assert server is not None
    kind = choose_kind(BackupRequest(), found, server)
    assert (kind.kind, kind.chain) == ("full", ())
    assert word in kind.why
    if found.config.backup.kind != "full":
        with pytest.raises(Refused) as caught:
            choose_kind(BackupRequest(kind="incremental"), found, server)
        assert caught.value.code == "incremental-not-possible"
        assert word in caught.value.happened


@pytest.mark.parametrize(
    "backups", [(replace(FULL, status="failed"),), (replace(FULL, page_faults={"count": 1}),)]
)
def test_nothing_is_built_on_what_is_not_fit(backups: tuple[Any, ...]) -> None:
    assert "no verified backup to build on" in choose_kind(BackupRequest(), ready(*backups), SEVENTEEN).why


def test_what_is_not_summarized_yet_is_not_missing() -> None:
    behind = replace(KEPT, ranges=((1, 0x1000000, 0x3000028),), summarized_lsn=0x3000028)
    assert choose_kind(BackupRequest(), ready(summaries=behind), SEVENTEEN).kind == "incremental"


def test_a_kind_that_is_none() -> None:
    with pytest.raises(Refused) as caught:
        BackupRequest(kind="differential")
    assert caught.value.code == "backup-kind-unknown"


def test_a_full_one_is_not_satisfied_by_an_incremental_one() -> None:
    assert not make_plan(BackupRequest(max_age_seconds=6 * 3600), ready()).changes
    assert make_plan(BackupRequest(max_age_seconds=6 * 3600, kind="full"), ready()).changes


#: As pg_basebackup 18 said it.
SAID = """WARNING:  checksum verification failed in file "./base/5/16389", block 0: calculated CA9F but expected E9A6
WARNING:  checksum verification failed in file "./base/5/16384", block 1: calculated F749 but expected 11D6
WARNING:  checksum verification failed in file "./base/5/16384", block 2: calculated 9098 but expected 2210
WARNING:  further checksum verification failures in file "./base/5/16384" will not be reported
WARNING:  file "./base/5/16384" has a total of 8 checksum verification failures
WARNING:  9 total checksum verification failures
pg_basebackup: error: checksum error occurred"""


def test_damaged_pages_are_counted_by_file() -> None:
    found = page_faults(SAID.splitlines())
    assert found == {
        "count": 9,
        "files": [
            {"path": "base/5/16384", "count": 8, "blocks": [1, 2]},
            {"path": "base/5/16389", "count": 1, "blocks": [0]},
        ],
    }
    assert describe(found) == "9 damaged pages in 2 files, base/5/16384 first"
    assert page_faults(["NOTICE:  all required WAL segments have been archived"]) is None


def test_damaged_pages_that_the_server_names_in_its_own_language_are_no_sound_ones() -> None:
    """lc_messages is the server's; what pg_basebackup itself says is asked for in C."""
    said = [
        'WARNING:  ファイル"./base/5/16389"、ブロック 0でチェックサム検証が失敗しました',
        "WARNING:  合計 1 件のチェックサム検証エラー",
        "pg_basebackup: error: checksum error occurred",
    ]
    found = page_faults(said)
    assert found is not None and (found["count"], found["files"]) == (0, [])
    assert "16389" in describe(found)
    hurt = replace(FULL, page_faults=found)
    assert "no verified backup to build on" in choose_kind(BackupRequest(), ready(hurt), SEVENTEEN).why
